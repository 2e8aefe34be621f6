"""The node's side of the bundle: takes what a source offers only when every rule of TUF and ours holds.

    roots ──▶ timestamp ──▶ snapshot ──▶ targets ──▶ status, border, nodes' roles ──▶ files ──▶ one commit

Trusted time is an argument; the wall clock is never asked. Nothing that is refused changes what is in force, but for
root metadata, which is verified by itself. A fault of `border` or of one node's role takes down that role alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from ca_bridge.errors import FederationError
from nodes import delta, lane, roles
from nodes.files import Files
from nodes.filters import unfit
from nodes.held import Folder, Held, RoleRef, targets_of
from nodes.metadata import (
    check_bytes,
    check_fresh,
    digest,
    issued_of,
    moment,
    parse,
    root_hint,
    time_text,
    verify,
)
from nodes.refusals import check_refusals
from nodes.transport import Source, Ticks, fetch, read
from nodes.view import FileRef, Trusted, cut_off, delegators, view

LEAP = timedelta(hours=24)
"""Ours: how far a signed time may run ahead of counted time in one boot: a stolen key shall not end certificates."""
MAX_ROOTS = 64
"""Roots followed in one round."""
UPDATE_SECONDS = 600.0

Accept = Callable[[Trusted], None]


@dataclass(frozen=True, slots=True)
class Update:
    """What one round brought."""

    changed: bool
    """Whether anything but the timestamp is new."""
    issued: datetime
    versions: Mapping[str, int]
    failing: Mapping[str, str]
    restarted: bool = False
    """The timestamp's keys were replaced: its time and versions count afresh."""


class Client:
    """Brings `state/federation` up to a source, and says what is in force."""

    def __init__(self, state: Path, *, ticks: Ticks = time.monotonic, seconds: float = UPDATE_SECONDS) -> None:
        """`seconds`: the longest that one update takes, however slow the source."""
        self.folder = Folder(state)
        self._ticks = ticks
        self._seconds = seconds

    def update(
        self,
        source: Source,
        now: datetime | None,
        *,
        accept: Accept | None = None,
        leap: timedelta | None = LEAP,
        repair: bool = False,
    ) -> Update:
        """Take what is newer at `source`. Raises FederationError; what was in force stays so.

        `now`: trusted time (aware), None before the first update. `accept` may refuse the whole, by raising. `leap`
        None: after a reboot, when counted time is behind. `repair`: look for damaged objects too.
        """
        held = self.folder.load()
        run = _Run(self.folder, source, self._ticks() + self._seconds)
        data = run.stamp()
        held, root = run.roots(held, data)
        stamp, hint = run.timestamp(held, root, data)
        issued = issued_of(stamp)
        reference = issued if now is None else max(now, issued)
        if now is not None and leap is not None and issued > now + leap:
            raise FederationError("federation.future", f"issued {issued.isoformat()}")
        check_fresh(root, roles.ROOT, reference)
        check_fresh(stamp, roles.TIMESTAMP, reference)
        new = replace(held, timestamp=self.folder.put(data), restart=False)
        listed = (stamp.snapshot_meta.hashes or {})["sha256"]
        whole = listed != held.snapshot or held.checked != held.root or repair
        if whole:
            new = run.snapshot(held, new, root, stamp.snapshot_meta, reference)
        for role in (roles.SNAPSHOT, roles.TARGETS, roles.STATUS):
            if new.expires(role) <= reference:
                raise FederationError("federation.expired", f"{role}: since {new.roles[role].expires}")
        if whole:
            trusted = view(self.folder, new, reference)
            run.files.bring(trusted.wanted())
            run.files.bring(unfit(self.folder.get, trusted))
            if accept is not None:
                accept(trusted)
        self.folder.commit(new)
        changed = replace(new, timestamp="") != replace(held, timestamp="")
        lanes = self._lane(run, new, reference, hint)
        if changed or lanes:
            self._sweep(reference)
        final = self.folder.load()
        versions = {role: ref.version for role, ref in final.roles.items()}
        return Update(changed or lanes, issued, versions, final.failing, held.restart)

    def trusted(self, now: datetime) -> Trusted:
        """What is in force at trusted time `now`. FederationError `federation.state`, `.empty`, `.object`."""
        return view(self.folder, self.folder.load(), now)

    def issued(self) -> datetime | None:
        """The newest signed time in force, None when there is none."""
        held = self.folder.load()
        if not held.timestamp:
            return None
        return issued_of(self.folder.metadata(held.timestamp, roles.TIMESTAMP, Timestamp).signed)

    def missing_whole(self, now: datetime) -> tuple[FileRef, ...]:
        """CRLs for which filters stand and which are not at hand, at trusted time `now`."""
        return tuple(ref for ref in self.trusted(now).whole if self.folder.get(ref.sha256) is None)

    def bring(self, source: Source, ref: FileRef, seconds: float | None = None) -> None:
        """Have one listed file at hand. Raises FederationError; what came of it stays for the next try."""
        ends = self._ticks() + (self._seconds if seconds is None else seconds)
        Files(self.folder, source, ends).bring([ref])

    def bring_whole(self, source: Source, now: datetime) -> None:
        """Have every CRL at hand, at trusted time `now`. FederationError `federation.absent`: `source` lacks one."""
        for ref in self.missing_whole(now):
            self.bring(source, ref)

    def follow_lane(self, source: Source, now: datetime) -> bool:
        """Only the lane of a source, for refusals. `now`: trusted time."""
        held = self.folder.load()
        if not held.snapshot:
            return False
        return self._lane(_Run(self.folder, source, self._ticks() + self._seconds), held, now, "")

    def _lane(self, run: _Run, held: Held, now: datetime, hint: str) -> bool:
        """Refusals newer than the snapshot; a fault of the lane never undoes the rest."""
        new = lane.Lane(self.folder, run.files, run.source, now, run.deadline).follow(held, hint)
        if new != held:
            self.folder.commit(new)
        return new.lane != held.lane

    def _sweep(self, now: datetime) -> None:
        held = self.folder.load()
        trusted = view(self.folder, held, now)
        own = {held.root, held.timestamp, held.snapshot, *(ref.sha256 for ref in held.roles.values())}
        lanes = {ref.sha256 for refs in held.lane.values() for ref in refs}
        files = {ref.sha256 for ref in (*trusted.wanted(), *trusted.whole)}
        self.folder.sweep(own | lanes | files)


class _Run:
    """One update from one source."""

    def __init__(self, folder: Folder, source: Source, deadline: float) -> None:
        self.folder = folder
        self.source = source
        self.deadline = deadline
        self.files = Files(folder, source, deadline)
        self.known: Mapping[str, str] = {}
        """SHA-256 by role of the metadata in force, from which deltas begin."""

    def stamp(self) -> bytes:
        """The source's timestamp, unread."""
        return read(self.source, "metadata/timestamp.json", roles.metadata_cap(roles.TIMESTAMP), self.deadline)

    def roots(self, held: Held, stamp: bytes) -> tuple[Held, Root]:
        """Follow the chain of roots (TUF §5.3), each signed by the one before and by itself; each is kept at once."""
        root = self.folder.metadata(held.root, roles.ROOT, Root).signed
        if root_hint(stamp) == root.version:
            return held, root
        for _ in range(MAX_ROOTS):
            try:
                data = read(
                    self.source,
                    f"metadata/{root.version + 1}.root.json",
                    roles.metadata_cap(roles.ROOT),
                    self.deadline,
                )
            except FederationError as error:
                if error.code == "federation.absent":
                    return held, root
                raise
            found = parse(data, roles.ROOT, Root)
            verify(root, roles.ROOT, found)
            verify(found.signed, roles.ROOT, found)
            if found.signed.version != root.version + 1:
                raise FederationError("federation.rollback", "root: not the next version")
            # TUF §5.3.11: when these keys are replaced, what the old ones said of versions no longer binds.
            replaced = any(_keys(root, role) != _keys(found.signed, role) for role in (roles.TIMESTAMP, roles.SNAPSHOT))
            root = found.signed
            held = replace(held, root=self.folder.put(data), restart=held.restart or replaced)
            self.folder.keep_root(root.version, data)
            self.folder.commit(held)
        raise FederationError("federation.rollback", "root: too many versions at once")

    def timestamp(self, held: Held, root: Root, data: bytes) -> tuple[Timestamp, str]:
        """The source's timestamp, not older than the one in force (TUF §5.4), and the lane's hint."""
        found = parse(data, roles.TIMESTAMP, Timestamp)
        verify(root, roles.TIMESTAMP, found)
        if held.timestamp and not held.restart:
            _check_newer(self.folder.metadata(held.timestamp, roles.TIMESTAMP, Timestamp), found)
        elif not held.restart and held.since and issued_of(found.signed) < moment(held.since):
            raise FederationError("federation.rollback", "timestamp: before the node was admitted")
        hint = found.unrecognized_fields.get("lane")
        return found.signed, hint if isinstance(hint, str) else ""

    def snapshot(self, held: Held, new: Held, root: Root, meta: MetaFile, now: datetime) -> Held:
        """Everything that a new snapshot names (TUF §5.5, §5.6), verified."""
        self.known = {role: ref.sha256 for role, ref in held.roles.items()}
        data = self._metadata(roles.SNAPSHOT, meta)
        found = parse(data, roles.SNAPSHOT, Snapshot)
        verify(root, roles.SNAPSHOT, found)
        _check_version(found.signed, meta, roles.SNAPSHOT)
        check_fresh(found.signed, roles.SNAPSHOT, now)
        if held.snapshot and not held.restart:
            _check_versions(self.folder.metadata(held.snapshot, roles.SNAPSHOT, Snapshot).signed, found.signed)
        first = {roles.SNAPSHOT: _ref(found, data)}
        new = replace(new, snapshot=digest(data), checked=held.root, roles=first, failing={}, lane={})
        self.folder.put(data)
        new, targets = self._core(new, root, roles.TARGETS, found.signed, now)
        if targets.delegations is None or roles.STATUS not in (targets.delegations.roles or {}):
            raise FederationError("federation.missing", "targets delegates no status")
        new, _ = self._core(new, targets, roles.STATUS, found.signed, now)
        taken: dict[str, Targets] = {}
        for role, above in delegators(targets, taken.get):
            if cut_off(targets, role):
                continue
            known = found.signed.meta.get(f"{role}.json")
            if known is not None and role != roles.STATUS:
                new = self._side(held, new, above, role, known)
            if role in new.roles:
                taken[role] = targets_of(self.folder, new, role)
            new = self._lane_kept(held, new, above, role)
        return new

    def _lane_kept(self, held: Held, new: Held, above: Targets, role: str) -> Held:
        """The role's lane goes on as far as the snapshot has not reached it and its keys still count."""
        reached = new.roles[role].version if role in new.roles else 0
        kept = tuple(ref for ref in held.lane.get(role, ()) if ref.version > reached and self._good(above, role, ref))
        return replace(new, lane={**new.lane, role: kept}) if kept else new

    def _good(self, above: Targets, role: str, ref: RoleRef) -> bool:
        try:
            verify(above, role, self.folder.metadata(ref.sha256, role, Targets))
        except FederationError:
            return False
        return True

    def _core(
        self, held: Held, above: Root | Targets, role: str, snapshot: Snapshot, now: datetime
    ) -> tuple[Held, Targets]:
        """A role without which nothing newer is taken."""
        meta = snapshot.meta.get(f"{role}.json")
        if meta is None:
            raise FederationError("federation.missing", f"snapshot: no {role}")
        data = self._metadata(role, meta)
        found = parse(data, role, Targets)
        verify(above, role, found)
        _check_version(found.signed, meta, role)
        check_fresh(found.signed, role, now)
        if role == roles.STATUS:
            check_refusals(found.signed, self.files.one)
        self.folder.put(data)
        return replace(held, roles={**held.roles, role: _ref(found, data)}), found.signed

    def _side(self, held: Held, new: Held, above: Targets, role: str, meta: MetaFile) -> Held:
        """Border or a node's role: what is wrong with what its signers made takes down this role alone."""
        data = self._metadata(role, meta)
        try:
            found = parse(data, role, Targets)
            verify(above, role, found)
            _check_version(found.signed, meta, role)
            if role != roles.BORDER:
                check_refusals(found.signed, self.files.one)
        except FederationError as error:
            failing = {**new.failing, role: error.code}
            kept = held.roles.get(role) if role != roles.BORDER else None
            if kept is None or not self._good(above, role, kept):
                return replace(new, failing=failing)
            return replace(new, failing=failing, roles={**new.roles, role: kept})
        self.folder.put(data)
        return replace(new, roles={**new.roles, role: _ref(found, data)})

    def _metadata(self, role: str, meta: MetaFile) -> bytes:
        """Metadata that is listed with length and hash, from here or from the source."""
        if (meta.length or 0) > roles.metadata_cap(role):
            raise FederationError("federation.size", f"{role}: larger than its cap")
        name = (meta.hashes or {})["sha256"]
        known = self.folder.get(name)
        if known is not None:
            return known
        data = self._by_delta(role, meta)
        if data is not None:
            return data
        half = self.folder.pending / name
        data = fetch(self.source, f"metadata/{meta.version}.{role}.json", meta.length or 0, half, self.deadline)
        check_bytes(data, meta)
        return data

    def _by_delta(self, role: str, meta: MetaFile) -> bytes | None:
        """Made from what is in force and the source's delta; None without one, or when it makes another content."""
        known, length = self.known.get(role, ""), meta.length or 0
        old = self.folder.get(known) if known and length >= delta.WORTH else None
        if old is None:
            return None
        try:
            found = read(self.source, delta.delta_path(role, meta.version, known), length, self.deadline)
        except FederationError as error:
            if error.code in ("federation.absent", "federation.size"):
                return None
            raise
        data = delta.apply(old, found, length)
        return data if data is not None and digest(data) == (meta.hashes or {})["sha256"] else None


def _ref(found: Metadata[Snapshot] | Metadata[Targets], data: bytes) -> RoleRef:
    return RoleRef(digest(data), found.signed.version, time_text(found.signed.expires))


def _keys(root: Root, role: str) -> tuple[frozenset[str], int]:
    found = root.roles[role]
    return frozenset(found.keyids), found.threshold


def _check_version(signed: Snapshot | Targets, meta: MetaFile, role: str) -> None:
    if signed.version != meta.version:
        raise FederationError("federation.mixed", f"{role}: another version than is listed")


def _check_newer(old: Metadata[Timestamp], new: Metadata[Timestamp]) -> None:
    before, after = old.signed, new.signed
    lower = after.version < before.version or issued_of(after) < issued_of(before)
    if lower or after.snapshot_meta.version < before.snapshot_meta.version:
        raise FederationError("federation.rollback", "timestamp: older than the one in force")
    if after.version == before.version and old.signed_bytes != new.signed_bytes:
        raise FederationError("federation.rollback", "timestamp: another content under the same version")


def _check_versions(old: Snapshot, new: Snapshot) -> None:
    if new.version < old.version:
        raise FederationError("federation.rollback", "snapshot: older than the one in force")
    for name, meta in old.meta.items():
        if name not in new.meta or new.meta[name].version < meta.version:
            raise FederationError("federation.rollback", f"snapshot: {name} older than the one in force")
