"""What a node holds of the trust bundle, `state/federation/`: verified metadata and files, swapped by one rename.

    metadata/root.json      the root that came by the ceremony; never changed
    metadata/trusted.json   which metadata is in force, by SHA-256; replaced last, with a copy beside it
    objects/<SHA-256>       metadata and files, by content
    pending/<SHA-256>       half-fetched

Whatever moment the machine stops at, `trusted.json` names objects that are whole; an object that is not what its name
says is not there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from ca_bridge.errors import FederationError
from ca_bridge.files import write_atomically
from nodes import roles
from nodes.metadata import S, digest, moment, parse, time_text, verify

FORMAT = 1
_CODE = "federation.state"
_MAX_INDEX = 1 << 20


@dataclass(frozen=True, slots=True)
class RoleRef:
    """Verified metadata of one role."""

    sha256: str
    version: int
    expires: str


@dataclass(frozen=True, slots=True)
class Held:
    """What is in force. A node role that fails keeps its last good metadata and is named in `failing`."""

    root: str
    timestamp: str = ""
    snapshot: str = ""
    roles: Mapping[str, RoleRef] = field(default_factory=dict)
    lane: Mapping[str, tuple[RoleRef, ...]] = field(default_factory=dict)
    """Metadata newer than the snapshot's: counts for refusals only."""
    failing: Mapping[str, str] = field(default_factory=dict)
    """Code by role; `lane:<role>` for what came by the lane."""
    checked: str = ""
    """The root under which the snapshot and all below it were verified."""
    restart: bool = False
    """The online keys were replaced since the last update: versions that the old ones signed bind no more."""
    since: str = ""
    """No timestamp before this is taken (given at join)."""

    def expires(self, role: str) -> datetime:
        """When the role's metadata stops counting."""
        return moment(self.roles[role].expires)


class Folder:
    """`state/federation/` of a node."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.objects = path / "objects"
        self.pending = path / "pending"
        self._metadata = path / "metadata"

    def start(self, root: bytes, since: datetime | None = None) -> None:
        """Pin the first root. Raises FederationError: not a root signed by its own keys, or another is pinned."""
        parsed = parse(root, roles.ROOT, Root)
        verify(parsed.signed, roles.ROOT, parsed)
        pinned = self._metadata / "root.json"
        if pinned.exists():
            if pinned.read_bytes() != root:
                raise FederationError(_CODE, "another root is pinned already")
            return
        self.put(root)
        self.keep_root(parsed.signed.version, root)
        write_atomically(self._metadata / "since", (time_text(since) if since is not None else "").encode())
        write_atomically(pinned, root)

    def load(self) -> Held:
        """What is in force. Raises FederationError `federation.state` when no root is pinned."""
        for name in ("trusted.json", "trusted.backup.json"):
            try:
                data = (self._metadata / name).read_bytes()
                held = _read(data)
            except (OSError, FederationError):
                continue
            if self._whole(held):
                return held
        try:
            root = (self._metadata / "root.json").read_bytes()
            parse(root, roles.ROOT, Root)
            since = (self._metadata / "since").read_text("ascii")
        except (OSError, ValueError, FederationError) as error:
            raise FederationError(_CODE, "no root is pinned: the node has not joined") from error
        self.put(root)
        return Held(digest(root), since=since)

    def commit(self, held: Held) -> None:
        """Make `held` what is in force, whole or not at all."""
        body = {**asdict(held), "format": FORMAT}
        text = json.dumps(body, sort_keys=True)
        data = json.dumps({"sha256": digest(text.encode()), "held": text}).encode()
        write_atomically(self._metadata / "trusted.json", data)
        write_atomically(self._metadata / "trusted.backup.json", data)

    def sweep(self, wanted: Iterable[str]) -> None:
        """Remove objects that nothing names, and halves."""
        keep = set(wanted)
        for folder in (self.objects, self.pending):
            for entry in os.scandir(folder) if folder.is_dir() else ():
                if entry.name not in keep or folder is self.pending:
                    Path(entry.path).unlink(missing_ok=True)

    def put(self, data: bytes) -> str:
        """Keep `data`; its SHA-256."""
        name = digest(data)
        if self.get(name) is None:
            write_atomically(self.objects / name, data)
        return name

    def get(self, name: str) -> bytes | None:
        """An object, or None when it is missing or not what its name says (it is removed then)."""
        path = self.objects / name
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if digest(data) != name:
            path.unlink(missing_ok=True)
            return None
        return data

    def keep_root(self, version: int, data: bytes) -> None:
        """Keep a verified root for who follows the chain at this node's mirror."""
        write_atomically(self._metadata / f"{version}.root.json", data)

    def roots(self) -> list[tuple[int, bytes]]:
        """Verified roots that were seen."""
        found = [(int(path.name.partition(".")[0]), path) for path in self._metadata.glob("[0-9]*.root.json")]
        return [(version, path.read_bytes()) for version, path in sorted(found)]

    def metadata(self, name: str, role: str, kind: type[S]) -> Metadata[S]:
        """Metadata in force. Raises FederationError `federation.object` when the disk has lost it."""
        data = self.get(name)
        if data is None:
            raise FederationError("federation.object", f"{role}: metadata is missing or damaged")
        return parse(data, role, kind)

    def _whole(self, held: Held) -> bool:
        """Whether the metadata without which nothing can be checked is there."""
        kinds: tuple[tuple[str, str, Any], ...] = (
            (held.root, roles.ROOT, Root),
            (held.timestamp, roles.TIMESTAMP, Timestamp),
            (held.snapshot, roles.SNAPSHOT, Snapshot),
        )
        try:
            for name, role, kind in kinds:
                if name:
                    self.metadata(name, role, kind)
        except FederationError:
            return False
        return bool(held.root)


def targets_of(folder: Folder, held: Held, role: str) -> Targets:
    """Metadata in force of a role that lists files. Raises FederationError `federation.object`."""
    return folder.metadata(held.roles[role].sha256, role, Targets).signed


def _read(data: bytes) -> Held:
    try:
        if len(data) > _MAX_INDEX:
            raise ValueError("too large")
        outer = json.loads(data)
        if digest(outer["held"].encode()) != outer["sha256"]:
            raise ValueError("damaged")
        table = json.loads(outer["held"])
        if table.pop("format") != FORMAT:
            raise ValueError("format")
        table["roles"] = {role: RoleRef(**ref) for role, ref in table["roles"].items()}
        table["lane"] = {role: tuple(RoleRef(**ref) for ref in refs) for role, refs in table["lane"].items()}
        return Held(**table)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FederationError(_CODE, f"trusted.json: {error}") from error
