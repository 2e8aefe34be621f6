"""`crosshall federation recover`: a province that was restored from a backup takes what a node mirrored since."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from ca_bridge.errors import CrosshallError
from ca_bridge.settings import load_settings
from ca_bridge.trust.bundle import read_bundle, refresh_manifest
from crosshall.agents import own_role
from nodes import recovery
from nodes.publish import Publisher
from nodes.recovery import BEFORE, DECIDED, STAGED
from nodes.register import GAP
from tests.unit.crosshall.land import CITY, OTHER, Land, clock_of_commands, found_in, inside
from tests.unit.nodes.web import Web, certificate, folder
from tests.unit.nodes.world import NOW, Clock

NEW = "gd/zhuhai"
DENY = b'[[deny]]\nwhy = "test"\ndomain = "mo"\n'


def deny(land: Land, name: str = "x") -> None:
    """The province refuses something, at once."""
    file = land.province / "bundle" / "denials" / f"{name}.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(DENY.replace(b"test", name.encode()))
    refresh_manifest(land.province / "bundle", land.clock())
    land.office("federation", "publish", "bundle")
    land.clock.pass_(seconds=61)


def restored(land: Land) -> Path:
    """The machine is gone and its backup is back; what was published since lies in a city's mirror."""
    land.bring_in(CITY)
    land.bring_in(OTHER)
    land.office("backup", land.folder / "file", "--passphrase-file", "secret")
    deny(land)
    land.office("node", "remove", CITY)
    land.bring_in(NEW)
    land.sync(OTHER)
    back(land)
    return land.node(OTHER) / "federation" / "public"


def back(land: Land) -> None:
    """Restored from the backup; what holders have of their own is theirs still."""
    own = land.folder / "holders"
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    for path in [*land.province.glob("*.pem*"), land.province / "secret"]:
        path.rename(own / path.name)
    shutil.rmtree(land.province)
    land.at(land.folder, "restore", "file", land.province, "--passphrase-file", own / "secret")
    for path in own.iterdir():
        path.rename(land.province / path.name)


def seen(land: Land) -> dict[str, bytes]:
    """What counts of the province's state, once whoever takes its lock has done what was decided."""
    with Publisher(land.home, land.clock).alone():
        folders = (land.public / "metadata", land.province / "bundle", land.home / "drafts")
        files = [path for place in folders for path in place.rglob("*") if path.is_file() and path.name[0] != "."]
        return {str(path): path.read_bytes() for path in [*files, land.home / "register.json"]}


def code_of(step: Callable[[], object]) -> str:
    """The code under which the step is refused."""
    with pytest.raises(CrosshallError) as caught:
        step()
    return caught.value.code


def test_a_restored_province_goes_on(land: Land) -> None:
    """What was published since the backup is there, in the source bundle too; nodes take what comes next."""
    mirror = restored(land)
    assert land.row(CITY) is not None
    land.office("federation", "stamp")  # why recovery is needed: nodes take nothing older than what they have
    assert "federation.rollback" in land.sync(OTHER, code=1)
    told = land.office("federation", "recover", mirror)
    assert f"removed since the backup: {CITY}" in told
    bundle = read_bundle(land.province / "bundle")
    assert bundle.roster.find(CITY) is None
    assert bundle.roster.find(NEW) is not None
    assert len(bundle.denials) == 1
    assert read_bundle(land.home / BEFORE).roster.find(CITY) is not None
    assert "nothing that a key holder must sign" in land.office("federation", "publish", "bundle")
    land.clock.pass_(seconds=61)
    deny(land, "y")
    for name in (OTHER, NEW):
        land.sync(name)
        assert len(read_bundle(land.node(name) / "bundle").denials) == 2
    assert not list(land.home.glob(f"{STAGED}*"))
    assert not (land.home / DECIDED).exists()


def test_epochs_and_keys_of_before_do_not_come_back(land: Land) -> None:
    """Who was removed since the backup: other keys, an epoch above all that may have been given out in between."""
    mirror = restored(land)
    land.office("federation", "recover", mirror)
    assert code_of(lambda: land.admit(CITY, land.request(CITY))) == "node.spent"
    root = land.admit(CITY, land.request(CITY, "--new-keys"))
    row, new = land.row(CITY), land.row(NEW)
    assert row is not None
    assert new is not None
    assert (row.epoch, new.epoch) == (GAP + 2, 1)
    land.sign()
    land.join(CITY, root, "--replace-person-key")


def test_a_removed_citys_role_stays_in_the_snapshot(land: Land) -> None:
    """No mirror keeps its metadata; a snapshot without it would be refused by every node."""
    land.bring_in(CITY)
    land.bring_in(OTHER)
    refuse(land, CITY)
    land.office("federation", "collect", f"file:{land.node(CITY) / 'federation' / 'public'}/")
    land.office("backup", land.folder / "file", "--passphrase-file", "secret")
    refuse(land, CITY, "again")
    land.office("federation", "collect", f"file:{land.node(CITY) / 'federation' / 'public'}/")
    land.office("node", "remove", CITY)
    land.sign()
    land.sync(OTHER)
    back(land)
    land.office("federation", "recover", land.node(OTHER) / "federation" / "public")
    land.clock.pass_(seconds=61)
    deny(land)
    assert "changed" in land.sync(OTHER)


def refuse(land: Land, name: str, why: str = "once") -> None:
    """A city refuses something of its own namespace."""
    with inside(land.node(name)):
        role = own_role(load_settings(Path("node.toml")))
        assert role is not None
        role.refuse({"x.toml": DENY.replace(b"test", why.encode()).replace(b'"mo"', f'"{name}"'.encode())})


def test_drafts_of_before_are_gone(land: Land) -> None:
    """A draft that waited when the backup was made, and was published since, is not put together again."""
    land.bring_in(OTHER)
    land.admit(CITY, land.request(CITY))
    land.office("backup", land.folder / "file", "--passphrase-file", "secret")
    land.sign()
    land.sync(OTHER)
    back(land)
    assert land.drafts()
    land.office("federation", "recover", land.node(OTHER) / "federation" / "public")
    assert land.drafts() == {}


def test_a_rotated_root_is_followed(land: Land) -> None:
    """From the backup's own root, through those that the mirror has."""
    land.bring_in(OTHER)
    land.office("backup", land.folder / "file", "--passphrase-file", "secret")
    land.key("root-4")
    land.holders["root"] = ["root-1", "root-2", "root-4"]
    keys = [word for name in land.holders["root"] for word in ("--key", f"{name}.pem.pub")]
    land.office("federation", "rotate", "root", *keys, "--threshold", "2")
    land.sign()
    land.sync(OTHER)
    back(land)
    land.office("federation", "recover", land.node(OTHER) / "federation" / "public")
    assert Publisher(land.home, land.clock).repository.newest("root") == 2


@pytest.fixture(scope="session")
def lost_day(first_day: Path, tmp_path_factory: pytest.TempPathFactory) -> Land:
    """A restored province, and a city's good mirror; not to be changed."""
    place = tmp_path_factory.mktemp("lost") / "land"
    shutil.copytree(first_day, place)
    land = Land(place, Clock(NOW + timedelta(hours=1)))
    with clock_of_commands(land.clock):
        restored(land)
    return land


@pytest.fixture
def ready(lost_day: Land, tmp_path: Path) -> Iterator[tuple[Land, Path]]:
    """A restored province of the test's own, and the mirror; its nodes fetch from another place: none is asked."""
    shutil.copytree(lost_day.folder, tmp_path / "land")
    land = Land(tmp_path / "land", Clock(lost_day.clock.now))
    with clock_of_commands(land.clock):
        yield land, land.node(OTHER) / "federation" / "public"


class TestRefused:
    """Mirrors that are not taken, and what is here stays."""

    def check(self, land: Land, mirror: Path) -> str:
        """Refused, and nothing has changed; the code."""
        before = seen(land)
        code = code_of(lambda: land.office("federation", "recover", mirror))
        assert seen(land) == before
        assert not (land.home / DECIDED).exists()
        assert not list(land.home.glob(f"{STAGED}*"))
        return code

    def test_one_that_is_behind(self, ready: tuple[Land, Path]) -> None:
        """Older than the backup: a node that was cut off, or an attacker's old copy."""
        land, mirror = ready
        old = land.folder / "old"
        shutil.copytree(mirror, old)
        land.office("federation", "recover", mirror)
        land.clock.pass_(seconds=61)
        deny(land, "z")
        assert self.check(land, old) == "federation.rollback"

    def test_another_federations(self, ready: tuple[Land, Path], tmp_path: Path) -> None:
        """However well it is signed by its own keys."""
        land, _ = ready
        found_in(tmp_path / "stranger")
        with clock_of_commands(land.clock):
            assert self.check(land, tmp_path / "stranger" / "gd" / "federation" / "public") == "federation.threshold"

    @pytest.mark.parametrize("role", ["targets", "snapshot", "status", "timestamp"])
    def test_a_signature_that_is_wrong(self, ready: tuple[Land, Path], role: str) -> None:
        """One bit of one signature, wherever."""
        land, mirror = ready
        path = max((mirror / "metadata").glob(f"*{role}.json"), key=lambda found: found.stat().st_mtime_ns)
        text = path.read_text()
        at = text.index('"sig"') + 10
        at = next(i for i in range(at, len(text)) if text[i].isalnum())
        path.write_text(text[:at] + ("1" if text[at] == "0" else "0") + text[at + 1 :])
        assert self.check(land, mirror) in ("federation.threshold", "federation.hash", "federation.length")

    @pytest.mark.parametrize(
        "pattern", ["metadata/*.snapshot.json", "metadata/timestamp.json", "targets/*.roster.json"]
    )
    def test_one_that_is_cut(self, ready: tuple[Land, Path], pattern: str) -> None:
        """A file without its end, or without all of it."""
        land, mirror = ready
        for path in mirror.glob(pattern):
            path.write_bytes(path.read_bytes()[:-7])
        assert self.check(land, mirror) in ("federation.hash", "federation.length", "federation.format")
        for path in mirror.glob(pattern):
            path.unlink()
        assert self.check(land, mirror) == "federation.absent"

    def test_no_mirror_at_all(self, ready: tuple[Land, Path], tmp_path: Path) -> None:
        """An empty folder."""
        assert self.check(ready[0], tmp_path / "nothing") == "federation.absent"


def test_over_tls_with_the_nodes_own_ca(ready: tuple[Land, Path], tmp_path: Path) -> None:
    """`--ca-file`; without it the address is not believed, and the home's lock is free while the line is slow."""
    land, mirror = ready
    ca_file, context = certificate(tmp_path / "tls")
    free = []
    files = folder(mirror)

    def answer(*words: Any) -> bool:
        with Publisher(land.home, land.clock).alone():
            free.append(True)
        return files(*words)

    with Web(answer, context) as web:
        assert code_of(lambda: land.office("federation", "recover", web.url)) == "federation.source"
        land.office("federation", "recover", web.url, "--ca-file", ca_file)
    assert len(free) > 3
    assert land.row(CITY) is None


class TestKilled:
    """At any step: as before, or recovered."""

    def test_at_every_step(self, ready: tuple[Land, Path]) -> None:
        """A child is killed at its n-th change of the disk; what the next one sees is one of the two, never between."""
        land, mirror = ready
        before = seen(land)
        shutil.copytree(land.province, land.folder / "untouched")
        steps, _ = _killed_at(land, mirror, 1 << 30)
        after = _without_times(seen(land))
        assert _without_times(before) != after
        outcomes = []
        for step in _spread(steps, 24):
            shutil.rmtree(land.province)
            shutil.copytree(land.folder / "untouched", land.province)
            _, ended = _killed_at(land, mirror, step)
            assert not ended
            found = seen(land)
            outcomes.append(_without_times(found) == after)
            assert outcomes[-1] or found == before
        assert set(outcomes) == {True, False}
        assert outcomes == sorted(outcomes)
        land.office("federation", "recover", mirror)  # again: only the gap grows
        again = _without_times(seen(land))
        assert {name for name in after if again[name] != after[name]} <= {str(land.home / "register.json")}

    def test_two_at_once(self, ready: tuple[Land, Path]) -> None:
        """One after the other; the end is the same as of one."""
        land, mirror = ready
        context = get_context("fork")
        running = [context.Process(target=_recovers, args=(land, mirror)) for _ in range(2)]
        for process in running:
            process.start()
        for process in running:
            process.join(60)
        assert [process.exitcode for process in running] == [0, 0]
        assert land.row(NEW) is not None
        land.clock.pass_(seconds=61)
        deny(land, "y")
        land.office("federation", "export", land.folder / "disk")  # which a node's own checks have passed

    def test_one_that_waits_too_long_is_told(self, ready: tuple[Land, Path], monkeypatch: pytest.MonkeyPatch) -> None:
        """Busy, and nothing is done."""
        land, mirror = ready
        monkeypatch.setattr("nodes.recovery.LOCK_SECONDS", 0.05)
        with recovery._only(land.home):
            assert code_of(lambda: land.office("federation", "recover", mirror)) == "federation.busy"


def _recovers(land: Land, mirror: Path) -> None:
    with clock_of_commands(land.clock):
        land.office("federation", "recover", mirror)


def _spread(steps: int, number: int) -> Iterator[int]:
    yield from sorted({1 + step * (steps - 1) // (number - 1) for step in range(number)})


def _without_times(found: dict[str, bytes]) -> dict[str, bytes]:
    """Without the timestamp's hints and the bundle's manifest, which say when."""
    return {name: data for name, data in found.items() if not name.endswith(("timestamp.json", "bundle.json"))}


def _killed_at(land: Land, mirror: Path, step: int) -> tuple[int, bool]:
    """Recover in a child that ends without a word before its `step`-th change of the home; changes seen, ended well."""
    near, far = os.pipe()
    child = os.fork()
    if child == 0:
        _count_and_die(far, step)
        code = 1
        try:
            _recovers(land, mirror)
            code = 0
        finally:
            os._exit(code)
    os.close(far)
    with os.fdopen(near, "rb") as pipe:
        done = len(pipe.read())
    _, status = os.waitpid(child, 0)
    return done, os.waitstatus_to_exitcode(status) == 0


def _count_and_die(pipe: int, step: int) -> None:
    seen_so_far = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def run(*words: Any, **named: Any) -> Any:
            nonlocal seen_so_far
            seen_so_far += 1
            if seen_so_far == step:
                os._exit(9)
            os.write(pipe, b".")
            return real(*words, **named)

        return run

    for name in ("replace", "rename", "unlink", "link", "mkdir", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))
