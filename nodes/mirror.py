"""A mirror: the repository as this node trusts it, and the newest lanes it knows, for who stands below.

A county needs no line to the province: it checks the same signatures at its city. When the city is cut off, its lane
and its counties' go on.
"""

from __future__ import annotations

from pathlib import Path

from tuf.api.metadata import Root, Targets

from ca_bridge.errors import FederationError
from ca_bridge.files import write_atomically
from nodes import roles
from nodes.files import target_path
from nodes.filters import filter_path
from nodes.held import Folder, Held
from nodes.repository import Repository
from nodes.view import FileRef, is_refusal


def publish_mirror(folder: Folder, public: Path) -> None:
    """Bring `public` up to what the node trusts; `timestamp.json` last. Raises FederationError `federation.object`."""
    held = folder.load()
    if not held.snapshot:
        return
    repository = Repository(public)
    _roots(folder, held, repository)
    wanted: set[Path] = set()
    for role, ref in held.roles.items():
        data = _get(folder, ref.sha256, role)
        repository.put_metadata(role, ref.version, data)
        wanted.add(public / "metadata" / f"{ref.version}.{role}.json")
        if role != roles.SNAPSHOT:
            whole = role in roles.CORE | {roles.BORDER}
            wanted |= _targets(folder, public, folder.metadata(ref.sha256, role, Targets).signed, everything=whole)
    for role, refs in held.lane.items():
        for ref in refs:
            repository.put_metadata(role, ref.version, _get(folder, ref.sha256, role), lane=True)
            wanted |= _targets(folder, public, folder.metadata(ref.sha256, role, Targets).signed, everything=False)
    for role in repository.published(lane=True):
        repository.remove_lane(role, held.roles[role].version if role in held.roles else 0)
        newest = repository.newest(role, lane=True)
        if newest:  # the node's own lane may be newer than what it has taken
            own = repository.metadata(role, Targets, lane=True).signed
            wanted |= {public / target_path(path, file.hashes["sha256"]) for path, file in own.targets.items()}
    repository.put_lane_index()
    repository.put_timestamp(_get(folder, held.timestamp, roles.TIMESTAMP))
    _sweep(public, wanted)


def _roots(folder: Folder, held: Held, repository: Repository) -> None:
    """The newest root; older ones that were seen are kept, so that who joined long ago can follow."""
    data = _get(folder, held.root, roles.ROOT)
    version = folder.metadata(held.root, roles.ROOT, Root).signed.version
    repository.put_metadata(roles.ROOT, version, data)
    for version, data in folder.roots():
        repository.put_metadata(roles.ROOT, version, data)


def _get(folder: Folder, name: str, role: str) -> bytes:
    data = folder.get(name)
    if data is None:
        raise FederationError("federation.object", f"{role}: metadata is missing or damaged")
    return data


def _targets(folder: Folder, public: Path, targets: Targets, *, everything: bool) -> set[Path]:
    places = set()
    for path, file in targets.targets.items():
        if not everything and not is_refusal(path):
            continue
        ref = FileRef(path, file.hashes["sha256"], file.length)
        place = public / target_path(path, ref.sha256)
        if filter_path(path) in targets.targets and folder.get(ref.sha256) is None:
            continue  # this node has not needed it
        places.add(place)
        if not place.is_file() or place.stat().st_size != ref.length:
            write_atomically(place, _get(folder, ref.sha256, path))
    return places


def _sweep(public: Path, wanted: set[Path]) -> None:
    for path in (public / "targets").rglob("*"):
        if path.is_file() and path not in wanted:
            path.unlink()
    for path in (public / "metadata").glob("*.json"):
        if path.name != "timestamp.json" and not path.name.endswith(".root.json") and path not in wanted:
            path.unlink()
