"""After a restore: the province takes what was published since its backup from a node's mirror.

    mirror ─▶ .recovering-…/ (verified by our own root; no lock) ─▶ lock, compare ─▶ recovered/ ─▶ public/, bundle/

One rename, to `recovered/`, decides: killed before it, the home is as it was; after it, whoever takes the home's lock
next completes what it holds first. Readers of `public/` follow its timestamp, which is replaced last.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout
from tuf.api.metadata import Metadata, Snapshot, Targets

from ca_bridge.errors import FederationError
from ca_bridge.files import write_atomically
from ca_bridge.trust.bundle import MANIFEST, manifest_of, parse_bundle
from ca_bridge.trust.roster import Roster
from nodes import roles
from nodes.bundle import Composed, compose, write
from nodes.client import Client
from nodes.mirror import publish_mirror
from nodes.register import FILE as REGISTER
from nodes.register import Register
from nodes.repository import Repository
from nodes.roster import LOCK_SECONDS, read_roster
from nodes.transport import Source

DECIDED, BEFORE = "recovered", "bundle.before"
STAGED = ".recovering-"
_PLAN = "plan.json"
_LAST = {"metadata/timestamp.json", "lane/index.json"}


class Province(Protocol):
    """What is needed of `nodes.publish.Publisher`."""

    home: Path
    repository: Repository

    @property
    def domain(self) -> str:
        """The province's own."""

    def root(self) -> bytes:
        """Its newest root."""

    def alone(self) -> AbstractContextManager[None]:
        """Nobody else changes the home."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was found, and what became of the source bundle."""

    version: int
    issued: datetime
    gone: tuple[str, ...]
    """Nodes of the backup that the recovered roster does not hold: they were removed since."""
    bundle: bool
    """Whether there was a source bundle, which is now what is published."""


def recover(province: Province, source: Source, bundle: Path) -> Recovered:
    """The home, restored from a backup, is what the mirror at `source` has of it; whole, or as before.

    `bundle`: the source bundle, brought up too when it is there; what it was lies in the home as `bundle.before`.
    The next epoch of every node lies above all that may have been given out. Raises FederationError: as
    `Client.update` for a mirror that our root does not vouch for, `federation.rollback` for one that is behind,
    `federation.busy` while another recovery runs.
    """
    with _only(province.home), tempfile.TemporaryDirectory(dir=province.home, prefix=STAGED) as folder:
        stage = Path(folder) / DECIDED
        found, files = _fetch(province, source, Path(folder), Repository(stage / "public"))
        after = _roster(files)
        with province.alone():
            _check(province.repository, Repository(stage / "public"))
            _fill(province.repository, Repository(stage / "public"))
            before = read_roster(bundle) if _is_bundle(bundle) else Roster()
            if _is_bundle(bundle):
                _stage_bundle(found, files, bundle, stage)
            write_atomically(stage / REGISTER, Register(province.home).recovered(before, after).data(), mode=0o600)
            plan = {"bundle": os.path.relpath(bundle.resolve(), province.home.resolve())}
            write_atomically(stage / _PLAN, json.dumps(plan).encode())
            stage.rename(province.home / DECIDED)
            complete(province.home)
    names = {row.name for row in after.nodes}
    gone = tuple(row.name for row in before.nodes if row.name not in names)
    return Recovered(found.version, found.issued, gone, _is_bundle(bundle))


@contextmanager
def _only(home: Path) -> Iterator[None]:
    """No other recovery within; what a killed one had staged is gone. The home's own lock stays free for others."""
    lock = FileLock(home / ".recover.lock", timeout=LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout as error:
        raise FederationError("federation.busy", "another recovery is under way") from error
    try:
        for left in home.glob(f"{STAGED}*"):
            shutil.rmtree(left)
        yield
    finally:
        lock.release()


def complete(home: Path) -> None:
    """Carry out a recovery that was decided; can be repeated. For who holds the home's lock. Raises OSError."""
    decided = home / DECIDED
    if not (decided / _PLAN).is_file():
        shutil.rmtree(decided, ignore_errors=True)
        return
    repository, taken = Repository(home / "public"), Repository(decided / "public")
    for path in sorted(taken.folder.rglob("*")):
        name = path.relative_to(taken.folder)
        if path.is_file() and name.as_posix() not in _LAST:
            _link(path, repository.folder / name)
    for draft in (home / "drafts").glob("*.json"):
        number, _, role = draft.name.removesuffix(".json").partition(".")
        if int(number) <= repository.newest(role):
            draft.unlink()
    if (decided / "bundle" / MANIFEST).is_file():
        bundle = home / json.loads((decided / _PLAN).read_bytes())["bundle"]
        _restore_bundle(decided / "bundle", bundle)
    _link(decided / REGISTER, home / REGISTER)
    repository.put_lane_index()
    repository.put_timestamp(taken.timestamp())
    if (decided / BEFORE).is_dir():
        shutil.rmtree(home / BEFORE, ignore_errors=True)
        (decided / BEFORE).rename(home / BEFORE)
    (decided / _PLAN).unlink()
    shutil.rmtree(decided)


def _fetch(province: Province, source: Source, scratch: Path, staged: Repository) -> tuple[_Found, Mapping[str, bytes]]:
    """The mirror, verified and written to `staged`, and the source bundle that it was published from."""
    client = Client(scratch / "client")
    client.folder.start(province.root())
    update = client.update(source, None)
    trusted = client.trusted(update.issued)
    client.bring_whole(source, update.issued)  # a county's mirror may lack some: federation.absent
    compose(trusted, client.folder, province.domain)
    publish_mirror(client.folder, staged.folder)
    files = {}
    for ref in (*trusted.files, *trusted.spare, *trusted.whole):
        if ref.path.startswith("filters/"):
            continue  # made where they are published, no part of the source
        data = client.folder.get(ref.sha256)
        if data is None:
            raise FederationError("federation.object", f"{ref.path} is missing or damaged")
        files[ref.path.removeprefix("border/")] = data
    return _Found(trusted.version, update.issued, trusted.signed), files


@dataclass(frozen=True, slots=True)
class _Found:
    version: int
    issued: datetime
    signed: datetime


def _check(own: Repository, taken: Repository) -> None:
    """Nothing here is newer than there. Raises FederationError `federation.rollback`."""
    there = {**_listed(taken), roles.ROOT: taken.newest(roles.ROOT), roles.SNAPSHOT: taken.newest(roles.SNAPSHOT)}
    for role, version in own.published().items():
        if there.get(role, 0) < version:
            raise FederationError("federation.rollback", f"{role}: {there.get(role, 0)}, here is {version}")


def _fill(own: Repository, taken: Repository) -> None:
    """A role whose metadata no mirror keeps – cut off, or signed by keys of before – stands in the next snapshot, too.

    Nodes take no snapshot that leaves a name out. What stands there is signed by nobody: the role goes on counting for
    nothing, until its node signs anew.
    """
    for role, version in _listed(taken).items():
        if max(taken.newest(role), own.newest(role)) < version:
            nobody = Metadata(Targets(version + 1, None, taken.metadata(roles.TARGETS, Targets).signed.expires))
            taken.put_metadata(role, version + 1, nobody.to_bytes())


def _listed(taken: Repository) -> dict[str, int]:
    meta = taken.metadata(roles.SNAPSHOT, Snapshot).signed.meta
    return {name.removesuffix(".json"): entry.version for name, entry in meta.items()}


def _roster(files: Mapping[str, bytes]) -> Roster:
    with tempfile.TemporaryDirectory() as folder:
        if "roster.json" in files:
            (Path(folder) / "roster.json").write_bytes(files["roster.json"])
        return read_roster(Path(folder))


def _is_bundle(bundle: Path) -> bool:
    return (bundle / MANIFEST).is_file()


def _stage_bundle(found: _Found, files: Mapping[str, bytes], bundle: Path, stage: Path) -> None:
    for path, data in files.items():
        write_atomically(stage / "bundle" / path, data)
    write_atomically(stage / "bundle" / MANIFEST, manifest_of(files, max(found.version, 1), found.signed))
    shutil.copytree(bundle, stage / BEFORE, symlinks=True)


def _restore_bundle(taken: Path, bundle: Path) -> None:
    manifest = (taken / MANIFEST).read_bytes()
    files = {
        path.relative_to(taken).as_posix(): path.read_bytes()
        for path in sorted(taken.rglob("*"))
        if path.is_file() and path != taken / MANIFEST
    }
    write(Composed(manifest, files, parse_bundle(manifest, files), {}), bundle)


def _link(path: Path, place: Path) -> None:
    """The same file at `place`, whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = place.with_name(f".{place.name}.new")
    aside.unlink(missing_ok=True)
    aside.hardlink_to(path)
    aside.replace(place)
