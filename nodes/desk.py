"""Where nodes' outboxes arrive at the province: sign-ins into the inbox, verdicts of a pilot to its shadow, and a word
back of what was taken.

A copy that cannot be read, or is another node's, is counted and logged; it does not hold up those behind it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from ca_bridge.ceremony import journal
from ca_bridge.crypto import between
from ca_bridge.crypto.between import NodeKeys
from ca_bridge.errors import CryptoError, FederationError, StoreError
from ca_bridge.files import write_atomically
from ca_bridge.trust.roster import Roster, RosterNode
from ca_bridge.types import Clock
from nodes.outbox import BATCH_LIMIT, BATCH_TYP, FOLDER, HEAD, HEAD_LIMIT, TAKEN_TYP, city_of, taken_path
from nodes.shadow import Shadow, when
from nodes.transport import Source, read

_HASH = re.compile(rb"[0-9a-f]{64}")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Arrived:
    """A batch as fetched; `data` is None when it had been taken before."""

    sha256: str
    data: bytes | None


class Desk:
    """The province's side of every outbox. `fetch` from any thread, the rest from one."""

    def __init__(
        self,
        inbox: Path,
        public: Path,
        *,
        keys: Callable[[], NodeKeys],
        shadow: Shadow,
        clock: Clock,
    ) -> None:
        self._inbox = inbox
        self._public = public
        self._keys = keys
        self._shadow = shadow
        self._clock = clock
        self._told: dict[str, dict[str, str]] = {}

    def open(self, roster: Roster) -> None:
        """Before a round: remember what is in force while a node is in pilot. Raises CrosshallError, OSError."""
        try:
            self._shadow.prune(roster.nodes)
        except (StoreError, OSError) as error:  # what stays too long hinders nobody
            _log.warning("federation.prune", error=str(error))
        if any(node.stage == journal.PILOT for node in roster.nodes):
            self._shadow.remember()

    def fetch(self, source: Source, node: RosterNode, deadline: float) -> Arrived | None:
        """What lies in the node's folder; None when nothing does. Raises FederationError, StoreError."""
        try:
            head = read(source, HEAD, HEAD_LIMIT, deadline)
        except FederationError as error:
            if error.code == "federation.absent":
                return None
            raise
        if _HASH.fullmatch(head) is None:
            raise FederationError("node.batch", f"{node.name}: no hash at the head of its outbox")
        name = head.decode()
        if self._shadow.tally(node).batch == name:
            return Arrived(name, None)
        data = read(source, f"{FOLDER}/{name}.jwe", BATCH_LIMIT, deadline)
        if hashlib.sha256(data).hexdigest() != name:
            raise FederationError("node.batch", f"{node.name}: the batch is not what its head says")
        return Arrived(name, data)

    def take(self, roster: Roster, node: RosterNode, arrived: Arrived) -> int:
        """Take a batch in and say so in the published folder; the number of copies in it, 0 when it was taken before.

        Raises FederationError `node.batch`, StoreError, PathError, OSError: nothing is acknowledged.
        """
        copies = {} if arrived.data is None else self._read(node, arrived.data)
        if arrived.data is not None:
            self._sort(roster, node, arrived.sha256, copies)
        self._acknowledge(roster, node)
        return len(copies)

    def _read(self, node: RosterNode, data: bytes) -> Mapping[str, str]:
        try:
            raw = json.loads(between.unseal(data.decode("ascii"), self._keys().box, BATCH_TYP, BATCH_LIMIT))
            copies = raw["copies"]
            if raw["node"] != node.name or not all(isinstance(text, str) for text in copies.values()):
                raise ValueError("another node's")
        except (CryptoError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise FederationError("node.batch", f"{node.name}: {type(error).__name__}") from error
        return dict(copies)

    def _sort(self, roster: Roster, node: RosterNode, sha256: str, copies: Mapping[str, str]) -> None:
        began, own = self._shadow.tally(node).began, 0
        told: list[dict[str, Any]] = []
        refused = 0
        for name, sealed in sorted(copies.items()):
            try:
                signer, claims = journal.open_copy(self._keys(), roster, name, sealed)
                if signer != node.name:
                    raise FederationError("abroad.form", "another node's copy")
                if claims.get("kind") == journal.VERDICT:
                    told.append(claims)
                    continue
                known = (self._inbox / node.name / name).exists()
                journal.take_in(self._inbox, self._keys(), roster, name, sealed)
                at = when(claims)
                own += not known and not claims.get("source") and at is not None and at >= began
            except (FederationError, CryptoError):
                refused += 1
        if node.stage != journal.PILOT:
            told = []
        self._shadow.take(node, sha256, own, told)
        if refused:
            _log.warning("federation.outbox", node=node.name, refused=refused)

    def _acknowledge(self, roster: Roster, node: RosterNode) -> None:
        city = city_of(node.name)
        below = [other for other in roster.nodes if other.role != "province" and city_of(other.name) == city]
        tallies = {other.name: self._shadow.tally(other).batch for other in below}
        taken = {name: batch for name, batch in tallies.items() if batch}
        if self._told.get(city) == taken:
            return
        keys = self._keys()
        claims = {"at": self._clock().isoformat(timespec="seconds"), "taken": taken}
        text = between.sign(keys.sign, keys.sign.thumbprint(), TAKEN_TYP, claims)
        write_atomically(self._public / taken_path(node.name), text.encode())
        self._told[city] = taken
