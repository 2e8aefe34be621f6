"""Newer metadata of nodes' roles, from a node's published folder into the province's: what the next snapshot names."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import structlog
from tuf.api.metadata import Targets

from ca_bridge.errors import FederationError
from nodes import roles
from nodes.files import Files
from nodes.held import Folder
from nodes.lane import INDEX, read_index
from nodes.metadata import check_fresh, parse, verify
from nodes.refusals import check_refusals
from nodes.repository import Repository
from nodes.transport import Source, read
from nodes.view import cut_off, delegators

_log = structlog.get_logger(__name__)


class Collector:
    """One source, collected from once."""

    def __init__(self, repository: Repository, source: Source, now: datetime, deadline: float, scratch: Path) -> None:
        """`now`: aware; `scratch`: a folder for what is half-fetched."""
        self._repository = repository
        self._source = source
        self._now = now
        self._deadline = deadline
        self._folder = Folder(scratch)
        self._files = Files(self._folder, source, deadline)

    def newer_roles(self, targets: Targets) -> tuple[str, ...]:
        """Publish what is newer in the source's lane and right; the roles that were taken.

        A role whose metadata is wrong is passed over. Raises FederationError when the source does not answer, or has
        no lane.
        """
        offered = read_index(read(self._source, INDEX, roles.LANE_INDEX_CAP, self._deadline))
        known: dict[str, Targets] = {}
        taken = []
        for role, above in delegators(targets, known.get):
            if not roles.is_node_role(role) or cut_off(targets, role):
                continue
            if offered.get(role, 0) > self._repository.newest(role) and self._take(above, role, offered[role]):
                taken.append(role)
            if self._repository.newest(role):
                known[role] = self._repository.metadata(role, Targets).signed
        self._folder.sweep(())
        return tuple(taken)

    def _take(self, above: Targets, role: str, version: int) -> bool:
        try:
            path = f"lane/{version}.{role}.json"
            data = read(self._source, path, roles.metadata_cap(role), self._deadline)
            found = parse(data, role, Targets)
            verify(above, role, found)
            if found.signed.version != version:
                raise FederationError("federation.mixed", f"{role}: another version than its name says")
            check_fresh(found.signed, role, self._now)
            check_refusals(found.signed, self._files.one)
            for _, file in sorted(found.signed.targets.items()):
                self._repository.put_file(file.path, self._files.one(file))
        except FederationError as error:
            if error.code in ("federation.source", "federation.slow"):
                raise
            _log.warning("collect", role=role, code=error.code)
            return False
        self._repository.put_metadata(role, version, data)
        return True
