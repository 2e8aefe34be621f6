"""The refusal lane: a role's metadata newer than the snapshot's, from any source, for refusals only.

It adds to what the snapshot says and never takes one away, not even one that came by the lane before: when a city is
cut off, its noes reach its counties at once, and nobody can use the lane to let somebody in. Once the snapshot has
reached a lane's version, the snapshot's word counts.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime

from tuf.api.metadata import Targets

from ca_bridge.errors import FederationError
from ca_bridge.files import write_atomically
from nodes import roles
from nodes.files import Files
from nodes.held import Folder, Held, RoleRef, targets_of
from nodes.metadata import NO_LANE, check_fresh, digest, parse, time_text, verify
from nodes.refusals import check_refusals
from nodes.transport import Source, read
from nodes.view import cut_off, delegators, is_refusal

INDEX = "lane/index.json"
HINT_DIGITS = 12
MAX_KEPT = 16
"""Versions of one role's lane beyond the snapshot whose refusals differ."""
_LANE = "federation.lane"


def hint_of(index: bytes) -> str:
    """What a timestamp says beside its signed part, so that a node asks for the lane only when it has changed."""
    return digest(index)[:HINT_DIGITS]


class Lane:
    """The lane of one source, followed once."""

    def __init__(self, folder: Folder, files: Files, source: Source, now: datetime, deadline: float) -> None:
        """`now`: trusted time, aware."""
        self._folder = folder
        self._files = files
        self._source = source
        self._now = now
        self._deadline = deadline

    def follow(self, held: Held, hint: str) -> Held:
        """`held` with what is newer in the lane. Never raises for a bad lane: its role is named in `failing`."""
        known = self._folder.path / "lane" / "hint"
        if hint == NO_LANE:
            return held
        if hint and known.is_file() and known.read_text("ascii", "replace") == f"{self._source.name} {hint}":
            return held
        failing = {role: code for role, code in held.failing.items() if role.partition(":")[0] != "lane"}
        try:
            data = read(self._source, INDEX, roles.LANE_INDEX_CAP, self._deadline)
            offered = read_index(data)
        except FederationError as error:
            if error.code in ("federation.absent", "federation.source", "federation.slow"):
                return held
            return replace(held, failing={**failing, "lane": error.code})
        held = self._all(replace(held, failing=failing), offered)
        if not any(name.startswith("lane") for name in held.failing):
            write_atomically(known, f"{self._source.name} {hint_of(data)}".encode("ascii", "replace"))
        return held

    def _all(self, held: Held, offered: dict[str, int]) -> Held:
        above = self._delegated(held)
        for role, version in sorted(offered.items()):
            if role not in above or version <= _newest(held, role):
                continue
            try:
                held = self._take(held, above[role], role, version)
            except FederationError as error:
                held = replace(held, failing={**held.failing, f"lane:{role}": error.code})
        return held

    def _delegated(self, held: Held) -> dict[str, Targets]:
        targets = targets_of(self._folder, held, roles.TARGETS)
        found = delegators(targets, lambda name: self._listed(held, name))
        return {role: above for role, above in found if role != roles.BORDER and not cut_off(targets, role)}

    def _listed(self, held: Held, role: str) -> Targets | None:
        return targets_of(self._folder, held, role) if role in held.roles else None

    def _take(self, held: Held, above: Targets, role: str, version: int) -> Held:
        data = read(self._source, f"lane/{version}.{role}.json", roles.metadata_cap(role), self._deadline)
        found = parse(data, role, Targets)
        verify(above, role, found)
        if found.signed.version != version:
            raise FederationError("federation.mixed", f"lane: {role}: another version than its name says")
        check_fresh(found.signed, role, self._now)
        check_refusals(found.signed, self._files.one)
        for path, file in sorted(found.signed.targets.items()):
            if is_refusal(path):
                self._files.one(file)
        mine = _content(found.signed)
        kept = [old for old in held.lane.get(role, ()) if not _content(self._signed(old, role)) <= mine]
        if len(kept) >= MAX_KEPT:
            raise FederationError(_LANE, f"{role}: too many versions that take back what they said")
        ref = RoleRef(self._folder.put(data), version, time_text(found.signed.expires))
        return replace(held, lane={**held.lane, role: (*kept, ref)})

    def _signed(self, ref: RoleRef, role: str) -> Targets:
        return self._folder.metadata(ref.sha256, role, Targets).signed


def _newest(held: Held, role: str) -> int:
    refs = [*held.lane.get(role, ()), *([held.roles[role]] if role in held.roles else [])]
    return max((ref.version for ref in refs), default=0)


def _content(targets: Targets) -> set[str]:
    suspended = {f"suspended {name}" for name in targets.unrecognized_fields.get("suspended", [])}
    return suspended | {f"{p} {file.hashes['sha256']}" for p, file in targets.targets.items() if is_refusal(p)}


def read_index(data: bytes) -> dict[str, int]:
    """The versions that a lane offers, by role. Raises FederationError `federation.lane`."""
    try:
        table = json.loads(data)
        if not isinstance(table, dict) or len(table) > roles.MAX_ROLES:
            raise ValueError("not a table")
        for role, version in table.items():
            if type(version) is not int or not 0 < version < 1 << 53:
                raise ValueError("version")
            if role != roles.STATUS and not roles.is_node_role(role):
                raise ValueError("role")
    except (ValueError, RecursionError) as error:
        raise FederationError(_LANE, f"index: {error}") from error
    return table
