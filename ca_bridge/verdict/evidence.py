"""The files of replay: records, their keys, and the bundles they were judged under.

    evidence/records/2026-11-23.jsonl   one record a line, only ever appended to
    evidence/keys/2026-11-23.keys       `id key` a line; a line that is taken out is a person forgotten
    evidence/bundles/<hash>/            whole bundles, and status/<hash>/ the status data that lay beside them;
    evidence/objects/<hash>             what they share is one file (hard links)

Folders are 0700, files 0600, days are of the verdict's time in UTC. A key is on the disk before its record.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from filelock import FileLock

from ca_bridge.errors import InputError, PathError, RevocationError, StoreError
from ca_bridge.files import write_atomically
from ca_bridge.revocation.overlay import LIST, read_overlay
from ca_bridge.store.box import KEY_BYTES
from ca_bridge.trust.bundle import MANIFEST, read_bundle
from ca_bridge.types import Verdict
from ca_bridge.verdict.compiled import with_status
from ca_bridge.verdict.replay import Record, parse, record
from ca_bridge.verdict.snapshot import Snapshot, compile_bundle

_LOCK_SECONDS = 10
_SNAPSHOTS = 4


class Evidence:
    """Kept verdicts in a folder; several processes may write at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._snapshots: dict[str, Snapshot] = {}
        self._keys: dict[str, dict[str, bytes]] = {}

    def keep(self, snapshot: Snapshot, leaf: bytes, verdict: Verdict, random: Callable[[int], bytes]) -> Record:
        """Write a verdict of `leaf` (DER), key first. Raises StoreError `store.full`, `store.unavailable`."""
        made, key = record(snapshot, leaf, verdict, random)
        day = _day(made.at)
        with self._locked():
            _append(self.folder / "keys" / f"{day}.keys", f"{made.id} {b64encode(key).decode()}")
            _append(self.folder / "records" / f"{day}.jsonl", made.line())
        return made

    def lines(self, day: str = "*") -> Iterator[str]:
        """Every kept line, oldest day first, or those of one day (UTC, ISO 8601)."""
        for file in sorted((self.folder / "records").glob(f"{day}.jsonl")):
            with file.open(encoding="utf-8", errors="replace") as lines:
                yield from (line.rstrip("\n") for line in lines if line.strip())

    def key(self, kept: Record) -> bytes | None:
        """The key of a record; None when it has been destroyed."""
        day = _day(kept.at)
        if day not in self._keys:
            self._keys = {day: dict(_read_keys(self.folder / "keys" / f"{day}.keys"))}
        return self._keys[day].get(kept.id)

    def shred(self, name: str) -> bool:
        """Destroy the key of the record called `name`; whether there was one. What was sealed can be read no more."""
        with self._locked():
            for file in sorted((self.folder / "keys").glob("*.keys")):
                lines = file.read_text("ascii").splitlines()
                rest = [line for line in lines if line.partition(" ")[0] != name]
                if rest != lines:
                    _replace(file, "".join(f"{line}\n" for line in rest).encode())
                    self._keys.clear()
                    return True
        return False

    def open_days(self) -> Iterator[tuple[str, dict[str, bytes]]]:
        """Days (UTC, ISO 8601) that still have keys, oldest first, each with its keys by the record's name."""
        for file in sorted((self.folder / "keys").glob("*.keys")):
            if found := dict(_read_keys(file)):
                yield file.stem, found

    def shred_all(self, day: str, names: Set[str]) -> None:
        """Destroy the keys of all these records of a day at once; the day goes with its last key. Raises StoreError."""
        file = self.folder / "keys" / f"{day}.keys"
        with self._locked():
            lines = file.read_text("ascii", errors="replace").splitlines() if file.is_file() else []
            rest = [line for line in lines if line.partition(" ")[0] not in names]
            if not rest:  # first: keys without records are found again after a crash, records without keys are not
                (self.folder / "records" / f"{day}.jsonl").unlink(missing_ok=True)
            if len(rest) < len(lines):
                _replace(file, "".join(f"{line}\n" for line in rest).encode())
            if not rest:
                file.unlink(missing_ok=True)
            self._keys.clear()

    def tidy(self, before: date) -> None:
        """Remove what a crash left: halves of key files, and of days before `before` (UTC) what has no key any more."""
        if not any(self._files()):
            return
        with self._locked():
            for half in [path for path in self._files() if path.suffix not in {".keys", ".jsonl"}]:
                half.unlink()  # it may hold keys that are to be destroyed
            keyed = {day for day, _ in self.open_days()}
            for file in self._files():
                if file.stem < before.isoformat() and file.stem not in keyed:
                    file.unlink()

    def _files(self) -> list[Path]:
        folders = (self.folder / "keys", self.folder / "records")
        return [path for folder in folders if folder.is_dir() for path in folder.iterdir()]

    def shred_before(self, day: date) -> int:
        """Destroy the keys of all days before `day` (UTC); returns how many keys there were."""
        count = 0
        with self._locked():
            for file in sorted((self.folder / "keys").glob("*.keys")):
                if file.stem < day.isoformat():
                    count += sum(1 for _ in _read_keys(file))
                    _replace(file, b"")
                    file.unlink()
            self._keys.clear()
        return count

    def prune(self, before: date, keep: Set[str], in_force: Set[tuple[str, str]]) -> None:
        """Remove records of days before `before` (UTC) but those named in `keep`, and every bundle nothing is left for.

        `in_force`: bundles with their status data that stay although no record is of them. Stopped at any moment, what
        is left is whole: the rest goes the next time. Raises StoreError.
        """
        with self._locked():
            for file in sorted((self.folder / "records").glob("*.jsonl")):
                if file.stem < before.isoformat():
                    self._thin(file, keep)
            used = set(in_force)
            for line in self.lines():
                with suppress(InputError):
                    found = parse(line)
                    used.add((found.bundle, found.overlay))
            self._sweep("bundles", {bundle for bundle, _ in used})
            self._sweep("status", {overlay for _, overlay in used})
            for path in (self.folder / "objects").glob("*"):
                if path.stat().st_nlink == 1:
                    path.unlink()
            self._keys.clear()
            self._snapshots.clear()

    def _thin(self, file: Path, keep: Set[str]) -> None:
        """Leave of one day what is named in `keep`; keys go first, so that nothing stays readable on the way."""
        keys = self.folder / "keys" / f"{file.stem}.keys"
        lines = [line for line in self.lines(file.stem) if _name(line) in keep]
        if keys.is_file():
            rest = [line for line in keys.read_text("ascii", "replace").splitlines() if line.partition(" ")[0] in keep]
            _replace(keys, "".join(f"{line}\n" for line in rest).encode())
        if lines:
            write_atomically(file, "".join(f"{line}\n" for line in lines).encode(), mode=0o600)
        else:
            file.unlink()
            keys.unlink(missing_ok=True)

    def _sweep(self, kind: str, keep: Set[str]) -> None:
        """Remove folders but those named, and what a crash left of others; each leaves its name first, so is whole."""
        for path in sorted((self.folder / kind).glob("*")):  # hidden ones, which a crash left, come first
            if path.name not in keep:
                aside = path if path.name.startswith(".") else path.rename(path.with_name(f".old-{path.name}"))
                shutil.rmtree(aside)

    def archive(self, bundle: Path, status: Path | None = None) -> tuple[str, str]:
        """Keep a folder's bundle, and the status data beside it, under their hashes, which are returned.

        The second is empty when there is no status data. Raises PathError `trust.*`, RevocationError, StoreError.
        """
        overlay = "" if status is None else read_overlay(status).hash
        name = read_bundle(bundle).hash
        with self._locked():
            if not self.has(name):
                self._copy(bundle, MANIFEST, "bundles", name)
            if overlay and status is not None and not self.has(name, overlay):
                self._copy(status, LIST, "status", overlay)
        return name, overlay

    def has(self, bundle: str, overlay: str = "") -> bool:
        """Whether bundle and status data of these hashes are in the archive."""
        return (self.folder / "bundles" / bundle).is_dir() and (
            not overlay or (self.folder / "status" / overlay).is_dir()
        )

    def snapshot(self, bundle: str, overlay: str = "") -> Snapshot:
        """The snapshot of archived data. Raises PathError `trust.*`: not there, or not what its name says."""
        name = f"{bundle} {overlay}"
        if name not in self._snapshots:
            if not self.has(bundle, overlay):
                raise PathError("trust.bundle", f"no bundle {bundle} (status data {overlay or 'none'}) in the archive")
            while len(self._snapshots) >= _SNAPSHOTS:
                self._snapshots.pop(next(iter(self._snapshots)))
            self._snapshots[name] = self._compile(bundle, overlay)
        return self._snapshots[name]

    def of(self, kept: Record) -> Snapshot:
        """The snapshot that a record was judged under. Raises as `snapshot`."""
        return self.snapshot(kept.bundle, kept.overlay)

    def _compile(self, bundle: str, overlay: str) -> Snapshot:
        made = compile_bundle(read_bundle(self.folder / "bundles" / bundle))
        if made.hash != bundle:
            raise PathError("trust.bundle", f"bundle {bundle} in the archive has another hash")
        if not overlay:
            return made
        laid = read_overlay(self.folder / "status" / overlay)
        if laid.hash != overlay:
            raise PathError("trust.bundle", f"status data {overlay} in the archive has another hash")
        return replace(made, compiled=with_status(made.compiled, made.bundle, laid), overlay=laid.hash)

    def _copy(self, source: Path, listing: str, kind: str, name: str) -> None:
        """Each file by its hash, once in the archive; the folder gets its name when it is whole."""
        parent = _folder(self.folder / kind)
        objects = _folder(self.folder / "objects")
        fresh = Path(tempfile.mkdtemp(dir=parent, prefix=".new-"))
        try:
            listed = (source / listing).read_bytes()
            if hashlib.sha256(listed).hexdigest() != name:
                raise PathError("trust.bundle", "the bundle changed while it was copied")
            for path, sha256 in json.loads(listed)["files"].items():
                data = (source / path).read_bytes()
                if hashlib.sha256(data).hexdigest() != sha256:
                    raise PathError("trust.bundle", "the bundle changed while it was copied")
                if not (objects / sha256).exists():
                    write_atomically(objects / sha256, data, mode=0o400)
                (fresh / path).parent.mkdir(parents=True, exist_ok=True)
                os.link(objects / sha256, fresh / path)
            write_atomically(fresh / listing, listed, mode=0o400)
            fresh.rename(parent / name)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with FileLock(_folder(self.folder) / ".lock", timeout=_LOCK_SECONDS, mode=0o600):
                yield
        except OSError as error:  # filelock's Timeout is one
            raise _fault(error) from error


class Recorder:
    """Keeps the verdicts of sign-ins: what `Services.recorder` is when `bridge.evidence` is on."""

    def __init__(self, evidence: Evidence, bundle: Path, status: Path, random: Callable[[int], bytes]) -> None:
        self._evidence = evidence
        self._bundle = bundle
        self._status = status
        self._random = random

    def __call__(self, snapshot: Snapshot, leaf: bytes, verdict: Verdict) -> None:
        """Keep one verdict, and its bundle when it is the first under it. Raises StoreError: no evidence, no sign-in.

        A bundle that was replaced in the second between the two looks cannot be kept any more: its records then
        replay as `no-bundle`, and are counted.
        """
        if not self._evidence.has(snapshot.bundle.hash, snapshot.overlay):
            # bad or changing files in the folder: the snapshot in force is judged by all the same
            with suppress(PathError, RevocationError):
                self._evidence.archive(self._bundle, self._status)
        self._evidence.keep(snapshot, leaf, verdict, self._random)


def _name(line: str) -> str:
    try:
        return parse(line).id
    except InputError:
        return ""


def _day(at: datetime) -> str:
    return at.astimezone(UTC).date().isoformat()


def _folder(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def append_line(file: Path, line: str) -> None:
    """Add one line to a file and wait until it is on the disk. Raises StoreError `store.full`, `store.unavailable`."""
    try:
        _append(file, line)
    except OSError as error:
        raise _fault(error) from error


def _append(file: Path, line: str) -> None:
    """Add one line and wait until it is on the disk; a half line that a crash left is closed first."""
    _folder(file.parent)
    handle = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "r+b") as target:
        size = target.seek(0, os.SEEK_END)
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        target.write((b"\n" if torn else b"") + line.encode() + b"\n")
        target.flush()
        os.fsync(handle)


def _replace(file: Path, data: bytes) -> None:
    """Put `data` in the place of a key file, then overwrite what stood there.

    Whether overwriting reaches the medium is the disk's affair (flash copies, snapshots, backups): docs/replay.md.
    """
    with file.open("r+b") as old:
        size = old.seek(0, os.SEEK_END)
        write_atomically(file, data, mode=0o600)
        old.seek(0)
        old.write(bytes(size))
        old.flush()
        os.fsync(old.fileno())


def _read_keys(file: Path) -> Iterator[tuple[str, bytes]]:
    if not file.is_file():
        return
    for line in file.read_text("ascii", errors="replace").splitlines():
        name, _, text = line.partition(" ")
        with suppress(ValueError):  # a line torn by a crash belongs to no record: the record is written after it
            key = b64decode(text, validate=True)
            if len(key) == KEY_BYTES:
                yield name, key


def _fault(error: OSError) -> StoreError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return StoreError("store.full" if full else "store.unavailable", f"evidence: {error.strerror or error}")
