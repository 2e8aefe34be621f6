"""A province and its cities as folders, every step by the commands that an operator types."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ca_bridge.trust.roster import RosterNode
from crosshall.main import app
from nodes.roster import read_roster
from tests.unit.crosshall.settings import write_settings
from tests.unit.nodes.world import Clock, Trust

SECRET = "a passphrase of the rehearsal"
HOLDERS = {"root": ("root-1", "root-2", "root-3"), "targets": ("targets-1", "targets-2"), "border": ("border-1",)}
CITY, OTHER, COUNTY = "gd/guangzhou", "gd/foshan", "gd/guangzhou/conghua"
THRESHOLD = {"root": 2, "targets": 2, "border": 1}


class Land:
    """`gd` is the province's folder; each node has one beside it. The clock stands still unless a test moves it."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self.clock = clock
        self.province = folder / "gd"
        self.holders = {role: list(names) for role, names in HOLDERS.items()}

    @property
    def home(self) -> Path:
        """The federation's home."""
        return self.province / "federation"

    @property
    def public(self) -> Path:
        """What it publishes."""
        return self.home / "public"

    def found(self) -> None:
        """The federation's first day: keys, first publication, no node but the province."""
        Trust().write(self.province / "bundle")
        write_settings(self.province, name="gd", role="province")
        (self.province / "secret").write_text(f"{SECRET}\n")
        for name in [name for names in self.holders.values() for name in names]:
            self.key(name)
        self.office("federation", "init", "gd", *self.initial())
        self.office("node", "province", "--title", "省厅")
        self.office("federation", "publish", "bundle")
        self.sign()

    def initial(self) -> list[str]:
        """The options of `federation init`."""
        words = []
        for role, names in self.holders.items():
            words += [word for name in names for word in (f"--{role}-key", f"{name}.pem.pub")]
            words += [f"--{role}-threshold", str(THRESHOLD[role])]
        return words

    def key(self, name: str) -> str:
        """A holder's key."""
        return self.office("federation", "key", f"{name}.pem", "--passphrase-file", "secret")

    def office(self, *words: object, code: int = 0) -> str:
        """A command at the province."""
        return self.at(self.province, *words, code=code)

    def at(self, folder: Path, *words: object, code: int = 0) -> str:
        """A command given in a folder; what it says. Its typed errors come through."""
        with inside(folder):
            done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.output

    def sign(self) -> str:
        """Each waiting draft is signed by as many holders as it takes, and put together."""
        for draft in sorted((self.home / "drafts").glob("*.json")):
            role = draft.name.split(".")[1]
            for holder in self.holders[role][: THRESHOLD[role]]:
                self.signed(draft, holder)
        self.clock.pass_(seconds=61)
        return self.office("federation", "assemble")

    def signed(self, draft: Path, holder: str) -> None:
        """One holder signs."""
        self.office("federation", "sign", draft, "--key", f"{holder}.pem", "--passphrase-file", "secret", "--yes")

    def request(self, name: str, *more: str) -> str:
        """A node's request, its fingerprint as it is read aloud."""
        short, depth = name.rpartition("/")[2], name.count("/")
        hosts = ("--hall", f"https://hall.{short}.test", "--sso", f"https://sso.{short}.test", "--title", short)
        self.node(name).mkdir(exist_ok=True)
        role = ("--role", "city" if depth == 1 else "county", "--source", f"file:{self.public}/")
        return spoken(self.at(self.node(name), "node", "request", name, *role, *hosts, *more))

    def admit(self, name: str, fingerprint: str) -> str:
        """The request is carried to the province and let in; the root's fingerprint."""
        short = name.rpartition("/")[2]
        shutil.copy(self.node(name) / "request.jws", self.province / f"{short}.request")
        words = ("--fingerprint", fingerprint, "--out", f"{short}.admission")
        told = self.office("node", "admit", f"{short}.request", *words, "--source", f"file:{self.public}/")
        return spoken(told)

    def join(self, name: str, root: str, *more: str) -> str:
        """The admission is carried to the node, which joins."""
        shutil.copy(self.province / f"{name.rpartition('/')[2]}.admission", self.node(name) / "admission.jws")
        return self.at(self.node(name), "node", "join", "admission.jws", "--fingerprint", root, *more)

    def bring_in(self, name: str, *more: str) -> None:
        """Request, admission, signatures, join."""
        root = self.admit(name, self.request(name))
        self.sign()
        self.join(name, root, *more)

    def sync(self, name: str, code: int = 0) -> str:
        """One round of a node's agent."""
        return self.at(self.node(name), "node", "sync", "--once", code=code)

    def node(self, name: str) -> Path:
        """A node's folder."""
        return self.folder / name.rpartition("/")[2]

    def person_key(self, name: str) -> bytes:
        """K_node, as the node holds it."""
        return (self.node(name) / "state" / "keys" / "master").read_bytes()

    def row(self, name: str) -> RosterNode | None:
        """The node in the province's source roster."""
        return read_roster(self.province / "bundle").find(name)

    def drafts(self) -> dict[str, bytes]:
        """What waits for signatures."""
        return {path.name: path.read_bytes() for path in (self.home / "drafts").glob("*.json")}


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)


def spoken(told: str) -> str:
    """The fingerprint that a command tells to read aloud."""
    return re.findall(r"read aloud: ([\d ]+)", told)[-1].strip()


@contextmanager
def clock_of_commands(clock: Clock) -> Iterator[None]:
    """Every command sees this clock."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "backup",
            "federation",
            "nodes",
            "province",
            "realm",
        ):  # `main` imports them when they are asked for
            import_module(f"crosshall.{name}")
        for name, module in list(sys.modules.items()):
            if name.startswith("crosshall.") and hasattr(module, "utc_now"):
                patch.setattr(module, "utc_now", clock)
        yield


def found_in(folder: Path) -> None:
    """A land on its first day in `folder`."""
    clock = Clock()
    with clock_of_commands(clock):
        Land(folder, clock).found()
