"""A province, two cities and a county on machines of their own, brought in by the operators' own commands."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from typer.testing import CliRunner

from crosshall.main import app
from crosshall.supervisor import Part, Supervisor
from demo.browser import Browser, Page
from demo.personas import Persona
from demo.pki import keys
from demo.pki.authorities import Authorities, load_authorities, write_crl, write_crls
from demo.pki.bundle import write_manifest, write_origins
from demo.pki.cache import build, read_manifest
from demo.pki.description import read_federation
from tests.nodes import hongkong
from tests.nodes.making import TLS_CA, write_settings, write_tls
from tests.nodes.places import HOSTS, KEYCLOAK, MANAGEMENT, PLACES, PORT, WINDOW, Place, above_of
from tests.nodes.wires import PEOPLE, Wires
from tests.parts.previous import Tree

__all__ = ["PLACES", "Country", "Place", "status_of", "wait"]

SECRET = "a passphrase of the rehearsal"


@dataclass(slots=True)
class Country:
    """All nodes. `found` makes the federation, `start` a node."""

    root: Path
    python: str = sys.executable
    environment: dict[str, dict[str, str]] = field(default_factory=dict)
    """Further variables of a place's processes: a clock that is wrong."""
    trees: dict[str, Tree] = field(default_factory=dict)
    """Whose software is another version's."""
    wires: Wires = field(init=False)
    supervisor: Supervisor = field(init=False)
    _built: Path = field(init=False)
    _authorities: Authorities = field(init=False)
    revoked: dict[str, list[tuple[int, datetime]]] = field(default_factory=dict)
    _roots: dict[str, str] = field(default_factory=dict)
    """The root's fingerprint, as the province's operator read it to each node's."""

    def __post_init__(self) -> None:
        addresses = {place.name: place.address for place in PLACES}
        hosts = {f"{host}.{place.base}": place.address for place in PLACES for host in HOSTS}
        addresses |= {hongkong.PLACE: hongkong.ADDRESS, PEOPLE: "10.77.0.250"}
        hosts[hongkong.HOST] = hongkong.ADDRESS
        self.wires = Wires(addresses, hosts)
        self.supervisor = Supervisor(self.root / "logs", print)
        self._built = build(None, now=datetime.now(UTC), federation=read_federation())
        self._authorities = load_authorities(read_federation(), self._built / "authorities")
        for row in read_manifest(self._built)["revoked"]:
            rows = self.revoked.setdefault(row["authority"], [])
            rows.append((int(row["serial"], 16), datetime.fromisoformat(row["at"])))

    def folder(self, place: Place) -> Path:
        """A node's folder."""
        return self.root / place.name

    @property
    def bundle(self) -> Path:
        """The province's source bundle."""
        return self.folder(PLACES[0]) / "bundle"

    @property
    def old_disk(self) -> Path:
        """The federation as it was first published, on a disk."""
        return self.root / "old-disk"

    @property
    def hongkong(self) -> Path:
        """What the web server of Hong Kong's CA gives out."""
        return self.root / "hongkong"

    @property
    def built(self) -> Path:
        """The demo's PKI: people's certificates and keys, and the CAs'."""
        return self._built

    @property
    def tls_ca(self) -> Path:
        """What people's browsers trust."""
        return self.root / TLS_CA

    # the operators' commands

    def office(self, *words: str | Path) -> str:
        """A command at the province that needs no line."""
        return self.desk(PLACES[0], *words)

    def desk(self, place: Place, *words: str | Path, code: int | None = 0) -> str:
        """A command that needs no line, in the node's folder: given in this process, where it starts at once.

        `code`: how it must end; None: as it likes.
        """
        if place.name in self.trees:
            return self.run(place, *words, fails=bool(code))
        return self._here(place, *words, code=code)

    def _here(self, place: Place, *words: str | Path, code: int | None = 0) -> str:
        here = Path.cwd()
        os.chdir(self.folder(place))
        try:
            done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
        finally:
            os.chdir(here)
        assert code in (None, done.exit_code), f"{words}: {done.exit_code} {done.output}"
        return done.output

    def run(self, place: Place, *words: str | Path, fails: bool = False) -> str:
        """A command of an operator, given in the node's folder on its machine; what it printed."""
        return self._ended(self._begun(place, *words), fails=fails)

    def _begun(self, place: Place, *words: str | Path) -> subprocess.Popen[str]:
        command = [*self.wires.inside(place.name), self.python, "-m", "crosshall", *map(str, words)]
        pipe = subprocess.PIPE
        variables = {**os.environ, **self._variables(place)}
        return subprocess.Popen(command, cwd=self.folder(place), env=variables, stdout=pipe, stderr=pipe, text=True)

    def _variables(self, place: Place) -> dict[str, str]:
        tree = self.trees.get(place.name)
        return {**({"PYTHONPATH": str(tree.root)} if tree else {}), **self.environment.get(place.name, {})}

    def _ended(self, begun: subprocess.Popen[str], *, fails: bool = False) -> str:
        with begun:
            try:
                out, err = begun.communicate(timeout=120)
            except subprocess.TimeoutExpired:
                begun.kill()
                raise
        if (begun.returncode != 0) != fails:
            raise AssertionError(f"{begun.args!r}: {begun.returncode}\n{out}\n{err}")
        return out + err

    def found(self) -> None:
        """The province: settings, source bundle, keys of the federation, the first publication."""
        province = PLACES[0]
        folder = self.folder(province)
        folder.mkdir(parents=True)
        write_tls(self.root)
        write_settings(self.root, province)
        shutil.copytree(self._built / "bundle", self.bundle)
        now = datetime.now(UTC)
        write_crls(self._authorities, self.bundle / "crls", self.revoked, now)
        hongkong.name_in_profile(self.bundle)
        names = read_federation().hall_name
        origins = {place.url("hall"): names for place in PLACES}
        write_origins(self.bundle, keys.load(self._built / "origins.pem", "ecdsa-p256"), origins, now, 30)
        write_manifest(self.bundle, now)
        (folder / "secret").write_text(f"{SECRET}\n")
        for name in ("root-1", "root-2", "root-3", "targets-1", "targets-2", "border-1"):
            self._here(province, "federation", "key", f"{name}.pem", "--passphrase-file", "secret")
        roots = [word for n in (1, 2, 3) for word in ("--root-key", f"root-{n}.pem.pub")]
        targets = [word for n in (1, 2) for word in ("--targets-key", f"targets-{n}.pem.pub")]
        thresholds = ("--root-threshold", "2", "--targets-threshold", "2")
        self.office("federation", "init", "gd", *roots, *targets, "--border-key", "border-1.pem.pub", *thresholds)
        self.office("node", "province", "--title", "省厅")
        self.office("federation", "publish", "bundle")
        self.signed()
        self.office("federation", "export", self.old_disk)

    def rise(self, *places: Place) -> None:
        """The province and these places, from bare machines to people at every window; Hong Kong's CA stands first."""
        started = time.monotonic()
        self.found()
        self.launch_hongkong()
        self.launch(PLACES[0])
        self.bring_in(*places)
        for place in (PLACES[0], *places):
            self.ready(place)
            print(f"{place.name}: people at its window {time.monotonic() - started:.0f} s after bare machines")  # noqa: T201

    def launch_hongkong(self) -> None:
        """The web server of Hong Kong's CA, with a list that is good for a week."""
        self.hongkong.mkdir()
        self.publish_abroad(timedelta(days=7))
        self.supervisor.start(hongkong.server(self.wires, self.hongkong, {}))

    def publish_abroad(self, life: timedelta, *suspended: Persona) -> datetime:
        """Hong Kong's CA signs a new list, at its own machine only; returns when it ends."""
        now, built = datetime.now(UTC), read_manifest(self._built)["personas"]
        rows = [*self.revoked.get(hongkong.CA, ()), *((int(built[p.id]["serial"], 16), now) for p in suspended)]
        return hongkong.publish(self._authorities, self.hongkong, rows, now, life)

    def signed(self) -> str:
        """The key holders sign what waits, each with their own key; the province puts it together."""
        province = PLACES[0]
        holders = {"root": ("root-1", "root-3"), "targets": ("targets-1", "targets-2"), "border": ("border-1",)}
        for draft in sorted((self.folder(province) / "federation" / "drafts").glob("*.json")):
            role = draft.name.split(".")[1]
            for holder in holders[role]:
                self._here(  # on the holder's own machine
                    province,
                    "federation",
                    "sign",
                    draft,
                    "--key",
                    f"{holder}.pem",
                    "--passphrase-file",
                    "secret",
                    "--yes",
                )
        return self.office("federation", "assemble")

    def bring_in(self, *places: Place) -> None:
        """Request and admission of each, one signing for all, then they join and run: as docs/nodes.md says."""
        spoken = {place.name: self._admitted(place) for place in places}
        self.signed()
        for role in ("city", "county"):
            joining = []
            for place in (p for p in places if p.role == role):
                above = above_of(place)
                wait(120, lambda above=above: self._publishes(above))  # type: ignore[misc]
                if role == "county":
                    self.run(
                        above, "node", "delegate", self._carried(place, above), "--fingerprint", spoken[place.name]
                    )
                shutil.copy(self.folder(PLACES[0]) / f"{place.name}.admission", self.folder(place) / "admission.jws")
                root = self._roots[place.name]
                joining.append((place, self._begun(place, "node", "join", "admission.jws", "--fingerprint", root)))
            for place, begun in joining:
                self._ended(begun)
                self.launch(place)

    def _admitted(self, place: Place) -> str:
        """The node's request, taken in at the province; what its operator read aloud."""
        self.folder(place).mkdir()
        source = f"{above_of(place).url('hall')}/federation/"
        words = ("--role", place.role, "--hall", place.url("hall"), "--sso", place.url("sso"), "--title", place.name)
        told = self.desk(
            place, "node", "request", place.domain, *words, "--listen", f"{place.address}:{PORT}",
            "--keycloak-port", str(KEYCLOAK), "--management-port", str(MANAGEMENT), "--source", source,
        )  # fmt: skip
        write_settings(self.root, place)
        spoken = _spoken(told)
        told = self.office(
            "node", "admit", self._carried(place, PLACES[0]), "--fingerprint", spoken,
            "--out", f"{place.name}.admission", "--source", source,
        )  # fmt: skip
        self._roots[place.name] = _spoken(told)
        return spoken

    def _carried(self, place: Place, to: Place) -> Path:
        """The node's request, carried to another machine."""
        carried = self.folder(to) / f"{place.name}.request"
        shutil.copy(self.folder(place) / "request.jws", carried)
        return carried

    def _publishes(self, place: Place) -> bool:
        """Whether the place's front gives out the federation's files."""
        return Browser(self.tls_ca).answers(f"{place.url('hall')}/federation/metadata/timestamp.json") == 200

    def launch(self, place: Place) -> None:
        """`crosshall node run`, and a window beside it."""
        if not (self.folder(place) / "window.toml").exists():
            self._window(place)
        inside = self.wires.inside(place.name)
        wrong = self.environment.get(place.name, {})
        command = (*inside, self.python, "-m", "crosshall", "node", "run", "--workers", "1")
        log = self.root / "logs" / f"{place.name}.log"
        log.unlink(missing_ok=True)

        def ready() -> bool:
            return log.exists() and "serves at" in log.read_text("utf-8", "replace")

        folder = self.folder(place)
        self.supervisor.launch(
            Part(place.name, command, ready, self._variables(place), folder=folder, start_seconds=180, stop_seconds=40)
        )
        serving = ("gunicorn", "--bind", f"127.0.0.1:{WINDOW}", "--threads", "4", "tests.nodes.window:create_app()")
        settings = {**wrong, "CROSSHALL_RP_SETTINGS": str(folder / "window.toml")}
        root = Path(__file__).resolve().parents[2]
        window = (*inside, self.python, "-m", *serving)
        self.supervisor.launch(Part(f"{place.name}-window", window, lambda: True, settings, folder=root))

    def ready(self, place: Place) -> None:
        """Returns when people can come."""
        self.supervisor.wait_ready(place.name)

    def stop(self, place: Place, *, kill: bool = False) -> None:
        """Stop a node and its window."""
        self.supervisor.stop(f"{place.name}-window", kill=kill)
        self.supervisor.stop(place.name, kill=kill)

    # what people do

    def browser(self, persona: Persona) -> Browser:
        """A browser that holds the persona's certificate."""
        files = persona.files(self._built)
        return Browser(self.tls_ca, (files.certificate, files.key))

    def sign_in(self, place: Place, browser: Browser, path: str = "/me") -> Page:
        """Open a page of the place's window, by certificate when it asks; the page that the person ends at."""
        page = browser.get(place.url("police") + path)
        for _ in range(3):
            ways = [url for url in page.links if ".cert." in url]
            forms = [form for form in page.forms if ".cert." in form.action]
            if not ways and not forms:
                return page
            there = browser.get(ways[0]) if ways else browser.submit(page, forms[0])
            button = next((form for form in there.forms if form.method == "POST" and "/c/" in form.action), None)
            page = browser.submit(there, button) if button else there
        return page

    def revoke(self, persona: Persona) -> datetime:
        """The persona's CA revokes, the province's operator puts the CRL into the bundle; the time of it."""
        holder = read_manifest(self._built)["personas"][persona.id]
        now = datetime.now(UTC)
        self.revoked.setdefault(holder["authority"], []).append((int(holder["serial"], 16), now))
        self.renew_crl(persona)
        return now

    def serial(self, persona: Persona) -> str:
        """The serial number of the persona's certificate, hexadecimal."""
        return f"{int(read_manifest(self._built)['personas'][persona.id]['serial'], 16):x}"

    def renew_crl(self, persona: Persona) -> None:
        """The persona's CA gives out a new CRL that says the same, the province's operator puts it into the bundle."""
        authority, now = read_manifest(self._built)["personas"][persona.id]["authority"], datetime.now(UTC)
        write_crl(self._authorities, authority, self.bundle / "crls", self.revoked.setdefault(authority, []), now)
        write_manifest(self.bundle, now)

    def published(self) -> datetime:
        """When the province last gave out its signed time."""
        path = self.folder(PLACES[0]) / "federation" / "public" / "metadata" / "timestamp.json"
        return datetime.fromisoformat(json.loads(path.read_text("utf-8"))["signed"]["issued"])

    def remanifest(self) -> None:
        """`bundle.json` over what lies in the province's source bundle now."""
        write_manifest(self.bundle, datetime.now(UTC))

    def _window(self, place: Place) -> None:
        inside = f"http://127.0.0.1:{WINDOW}/oidc"
        self.desk(
            place, "window", "add", "police", "--name", "公安窗口", "--base-url", place.url("police"),
            "--attribute", "name", "--attribute", "identifiers", "--jwks-url", f"{inside}/jwks.json",
            "--backchannel-url", f"{inside}/backchannel-logout", "--ca-file", self.tls_ca, "--out", "window.toml",
        )  # fmt: skip


def wait(seconds: float, ready: Callable[[], bool]) -> float:
    """Return, as soon as `ready` holds, how long it took; fail after `seconds`."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if ready():
            return time.monotonic() - started
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s")


def status_of(country: Country, place: Place) -> Mapping[str, object]:
    """What the node's sync agent last wrote."""
    found: dict[str, object] = json.loads(
        (country.folder(place) / "state" / "federation" / "status.json").read_text("utf-8")
    )
    return found


def _spoken(told: str) -> str:
    return str(re.findall(r"(?:\d{5} ){7}\d{5}", told)[-1])
