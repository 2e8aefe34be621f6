"""What is in force at a time: which files count, whose refusals, and which roles fail.

Decided for each role (docs/federation.md): an expired `border` or one that is suspended drops its files; an expired
node's role keeps its refusals – a no stays a no – and loses its candidates; nothing newer is taken under an expired
core role, so that the node goes down the ladder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from ca_bridge.errors import FederationError
from nodes import roles
from nodes.filters import filter_path
from nodes.held import Folder, Held, targets_of
from nodes.metadata import CUT_OFF, SUSPENDED, issued_of, names_in, time_text

EXPIRED = "federation.expired"
SUSPENDED_CODE = "federation.suspended"


@dataclass(frozen=True, slots=True, order=True)
class FileRef:
    """One file: where it lies in the bundle's source, and its content."""

    path: str
    sha256: str
    length: int


@dataclass(frozen=True, slots=True)
class Trusted:
    """The bundle in force."""

    version: int
    """Of the snapshot role."""
    issued: datetime
    """Of the newest timestamp: the age of the bundle is counted from it."""
    signed: datetime
    """When the snapshot was signed."""
    files: tuple[FileRef, ...]
    """Of targets, status and border, sorted by path."""
    refusals: Mapping[str, tuple[FileRef, ...]]
    """By role: of its metadata and of all its lane."""
    versions: Mapping[str, int]
    failing: Mapping[str, str]
    """Code by role; `lane:<role>` for what came by the lane."""
    expires: Mapping[str, str] = field(default_factory=dict)
    """By role, RFC 3339: of its metadata in force."""
    spare: tuple[FileRef, ...] = ()
    """Of a border that is not in force now: at hand for the day it is again, and for mirrors."""
    whole: tuple[FileRef, ...] = ()
    """CRLs for which a filter stands in `files`: brought when a certificate must be looked up in one."""

    def wanted(self) -> tuple[FileRef, ...]:
        """Every file that must be at hand."""
        return (*self.files, *self.spare, *(ref for refs in self.refusals.values() for ref in refs))


def view(folder: Folder, held: Held, now: datetime) -> Trusted:
    """The bundle that `held` is at trusted time `now`. FederationError `federation.empty` before the first update."""
    if not held.snapshot or roles.TARGETS not in held.roles:
        raise FederationError("federation.empty", "nothing has been fetched yet")
    snapshot = folder.metadata(held.snapshot, roles.SNAPSHOT, Snapshot).signed
    stamp = folder.metadata(held.timestamp, roles.TIMESTAMP, Timestamp).signed if held.timestamp else None
    targets, status = targets_of(folder, held, roles.TARGETS), targets_of(folder, held, roles.STATUS)
    root = folder.metadata(held.root, roles.ROOT, Root).signed
    ends = {roles.ROOT: root.expires, **{role: held.expires(role) for role in held.roles}}
    if stamp is not None:
        ends[roles.TIMESTAMP] = stamp.expires
    failing = {**{role: EXPIRED for role, end in ends.items() if end <= now}, **held.failing}
    lanes = {role: [folder.metadata(r.sha256, role, Targets).signed for r in refs] for role, refs in held.lane.items()}
    listed_status = _refs(status)
    there = {ref.path for ref in listed_status}
    whole = tuple(sorted(ref for ref in listed_status if filter_path(ref.path) in there))
    files = [*_refs(targets), *(ref for ref in listed_status if ref not in whole)]
    suspended = any(roles.BORDER in names_in(s, SUSPENDED) for s in (status, *lanes.get(roles.STATUS, ())))
    if suspended and roles.BORDER in held.roles:
        failing.setdefault(roles.BORDER, SUSPENDED_CODE)
    border = _refs(targets_of(folder, held, roles.BORDER)) if roles.BORDER in held.roles else []
    in_force = roles.BORDER not in failing
    refusals: dict[str, tuple[FileRef, ...]] = {}
    for role in sorted({*held.roles, *held.lane}):
        listed = role in held.roles and roles.is_node_role(role)
        own = [targets_of(folder, held, role)] if listed else []
        found = {ref for signed in (*own, *lanes.get(role, ())) for ref in _refs(signed) if is_refusal(ref.path)}
        if found:
            refusals[role] = tuple(sorted(found))
    return Trusted(
        snapshot.version,
        issued_of(stamp if stamp is not None else snapshot),
        issued_of(snapshot),
        tuple(sorted([*files, *border] if in_force else files)),
        refusals,
        {role: ref.version for role, ref in held.roles.items()},
        failing,
        {role: time_text(end) for role, end in ends.items()},
        () if in_force else tuple(border),
        whole,
    )


def is_refusal(path: str) -> bool:
    """Whether a file refuses: denials and CRLs, of a node or of the status role."""
    return path.startswith(("refusals/", "denials/", "crls/"))


def delegators(targets: Targets, find: Callable[[str], Targets | None]) -> Iterator[tuple[str, Targets]]:
    """Every delegated role with the metadata that delegates it, each city before its counties, each role once.

    The province's word on a county goes before its city's.
    `find`: metadata of a role that was looked at before, None when it has none that counts.
    """
    waiting = [(name, targets) for name in sorted(_names(targets))]
    seen: set[str] = set()
    while waiting:
        role, above = waiting.pop(0)
        if role in seen:
            continue
        seen.add(role)
        yield role, above
        found = find(role) if roles.is_node_role(role) else None
        if found is not None:
            waiting += [(name, found) for name in sorted(_names(found))]


def cut_off(targets: Targets, role: str) -> bool:
    """Whether the province has ended this role, or one above it."""
    return any(role == name or role.startswith(f"{name}.") for name in names_in(targets, CUT_OFF))


def _names(targets: Targets) -> list[str]:
    return list(targets.delegations.roles or {}) if targets.delegations is not None else []


def _refs(targets: Targets) -> list[FileRef]:
    return [FileRef(path, file.hashes["sha256"], file.length) for path, file in targets.targets.items()]
