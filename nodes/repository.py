"""A published folder, as any web server or a carried disk holds it: written and read by who publishes.

    metadata/timestamp.json   metadata/<n>.<role>.json   targets/<dir>/<sha256>.<name>
    lane/index.json           lane/<n>.<role>.json       packs/index.json   packs/<sha256>.pack
    deltas/<n>.<role>.<older>.json

Files are named by version or content and never changed, but for `timestamp.json` and the two indexes, which are
replaced last.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from tuf.api.metadata import Metadata, TargetFile, Targets

from ca_bridge.errors import FederationError
from ca_bridge.files import write_atomically
from nodes import delta, roles
from nodes.files import pack, target_path
from nodes.filters import filter_path
from nodes.lane import hint_of
from nodes.metadata import HINT, NO_LANE, ROOT_HINT, S, digest, parse

DELTAS = 4
"""Older versions from which a delta is published."""
_NAME = re.compile(r"([1-9][0-9]*)\.([a-z0-9.-]+)\.json")


class Repository:
    """One published folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def newest(self, role: str, *, lane: bool = False) -> int:
        """The highest published version of a role, 0 when there is none."""
        return max(self._versions("lane" if lane else "metadata").get(role, []), default=0)

    def published(self, *, lane: bool = False) -> Mapping[str, int]:
        """Every role's highest version."""
        return {role: max(found) for role, found in self._versions("lane" if lane else "metadata").items()}

    def octets(self, role: str, version: int, *, lane: bool = False) -> bytes:
        """Published metadata. Raises FederationError `federation.absent`."""
        path = self.folder / ("lane" if lane else "metadata") / f"{version}.{role}.json"
        try:
            return path.read_bytes()
        except OSError as error:
            raise FederationError("federation.absent", f"{path.name}: {error.strerror}") from error

    def metadata(self, role: str, kind: type[S], *, lane: bool = False) -> Metadata[S]:
        """A role's newest metadata. Raises FederationError `federation.absent`, and as `parse`."""
        return parse(self.octets(role, self.newest(role, lane=lane), lane=lane), role, kind)

    def put_metadata(self, role: str, version: int, data: bytes, *, lane: bool = False) -> None:
        """Publish metadata under its version; the same version twice must be the same. `federation.draft` else."""
        path = self.folder / ("lane" if lane else "metadata") / f"{version}.{role}.json"
        if path.exists() and path.read_bytes() != data:
            raise FederationError("federation.draft", f"{path.name} is published already, with another content")
        if path.exists():
            return
        if not lane:
            self._put_deltas(role, version, data)
        write_atomically(path, data)

    def _put_deltas(self, role: str, version: int, data: bytes) -> None:
        """From each of the last versions to this one; before the metadata, so that who is told of it finds them."""
        for old in (self.folder / "deltas").glob(f"*.{role}.*.json"):
            if old.name.split(".", 1)[1].rsplit(".", 2)[0] == role:
                old.unlink()
        if len(data) < delta.WORTH or role == roles.ROOT:
            return
        for number in sorted(self._versions("metadata").get(role, []))[-DELTAS:]:
            before = self.octets(role, number)
            made = delta.make(before, data) if number < version else None
            if made is not None:
                write_atomically(self.folder / delta.delta_path(role, version, digest(before)), made)

    def put_file(self, path: str, data: bytes) -> TargetFile:
        """Publish a file under its content; what metadata says of it."""
        roles.owner(path)
        if len(data) > roles.file_cap(path):
            raise FederationError("federation.size", f"{path}: larger than its cap")
        name = digest(data)
        place = self.folder / target_path(path, name)
        if not place.exists():
            write_atomically(place, data)
        return TargetFile(len(data), {"sha256": name}, path)

    def file(self, file: TargetFile) -> bytes:
        """A published file. Raises FederationError `federation.absent`."""
        try:
            return (self.folder / target_path(file.path, file.hashes["sha256"])).read_bytes()
        except OSError as error:
            raise FederationError("federation.absent", f"{file.path}: {error.strerror}") from error

    def put_timestamp(self, data: bytes) -> None:
        """Publish a timestamp, with hints of lane and root beside its signed part; the last step of everything."""
        table = json.loads(data)
        index = self.folder / "lane" / "index.json"
        table[HINT] = hint_of(index.read_bytes()) if index.is_file() else NO_LANE
        table[ROOT_HINT] = self.newest(roles.ROOT)
        write_atomically(self.folder / "metadata" / "timestamp.json", _compact(table))

    def timestamp(self) -> bytes:
        """The published timestamp. Raises FederationError `federation.absent`."""
        try:
            return (self.folder / "metadata" / "timestamp.json").read_bytes()
        except OSError as error:
            raise FederationError("federation.absent", f"timestamp.json: {error.strerror}") from error

    def put_lane_index(self) -> None:
        """The lane's index over what lies in `lane/`; the timestamp's hint follows."""
        write_atomically(self.folder / "lane" / "index.json", _compact(dict(self.published(lane=True))))
        if (self.folder / "metadata" / "timestamp.json").is_file():
            self.put_timestamp(self.timestamp())

    def put_pack(self, listed: Iterable[Targets], metadata: Iterable[bytes]) -> None:
        """One file with all that a new node needs (`nodes.files`)."""
        files = [
            file
            for targets in listed
            for path, file in sorted(targets.targets.items())
            if filter_path(path) not in targets.targets
        ]
        data = pack([*metadata, *(self.file(file) for file in files)])
        folder = self.folder / "packs"
        name = digest(data)
        write_atomically(folder / f"{name}.pack", data)
        write_atomically(folder / "index.json", _compact({"sha256": name, "length": len(data)}))
        for old in folder.glob("*.pack"):
            if old.stem != name:
                old.unlink()

    def remove_lane(self, role: str, up_to: int) -> None:
        """Lane metadata that the snapshot has reached."""
        for version in self._versions("lane").get(role, []):
            if version <= up_to:
                (self.folder / "lane" / f"{version}.{role}.json").unlink(missing_ok=True)

    def _versions(self, folder: str) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        place = self.folder / folder
        for path in place.iterdir() if place.is_dir() else ():
            match = _NAME.fullmatch(path.name)
            if match is not None:
                found.setdefault(match[2], []).append(int(match[1]))
        return found


def _compact(table: object) -> bytes:
    return json.dumps(table, sort_keys=True, separators=(",", ":")).encode()
