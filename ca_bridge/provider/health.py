"""`/health`: whether this node can sign people in and is told the truth about trust; if not why, in stable codes."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ca_bridge.ceremony.services import Services
from ca_bridge.errors import CrosshallError
from ca_bridge.policy.rungs import Rung
from ca_bridge.policy.trusted_time import TrustedTime
from ca_bridge.provider.keys import SigningKeys
from ca_bridge.provider.watcher import EVERY
from ca_bridge.verdict.currency import Currency, currencies
from ca_bridge.verdict.snapshot import Snapshot
from ca_bridge.version import VERSION

UNWATCHED = timedelta(seconds=60)
"""How late the watcher may be before the node is red, besides two rounds: a dead one's lease has to run out."""
SKEW = timedelta(seconds=60)
"""How far the machine's clock and trusted time may be apart."""
PROBE_EVERY = timedelta(seconds=5)
"""The database is written to at most so often, however often somebody asks."""
FEDERATION = Path("federation", "status.json")
"""What the sync agent tells of the federation's roles, below the state folder (docs/contracts.md)."""
SILENT = timedelta(minutes=5)
"""The agent writes at least every 45 s, line or no line."""
SUSPENDED = "federation.suspended"
"""What the province suspended is no fault of the node."""
BELOW_FLOOR = "node.below_floor"
"""This software is older than the province lets stand."""
MAX_OCTETS = 1 << 20
_CODE = re.compile(r"[a-z]+\.[a-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Roles:
    """What the agent told last."""

    at: datetime | None
    """Trusted now of its last round; None: it has fetched nothing yet."""
    expires: Mapping[str, datetime]
    failing: tuple[str, ...]
    """Codes of what is refused, or of the machine's own fault: not of a line that is cut."""


def read_roles(file: Path) -> Roles | None:
    """The agent's word; None when there is none that can be read."""
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_OCTETS + 1)
        raw: Any = json.loads(data) if len(data) <= MAX_OCTETS else None
        at = _moment(raw["at"]) if raw["at"] else None
        expires = {str(role): _moment(text) for role, text in raw["expires"].items()}
        codes = {*raw["failing"].values(), raw["codes"].get("here", "")} - {SUSPENDED}
        return Roles(at, expires, tuple(sorted(code for code in codes if _CODE.fullmatch(code))))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return moment


class Health:
    """The node's health as one process sees it. Thread safe."""

    def __init__(self, services: Services, keys: SigningKeys, version: str = "") -> None:
        """`version`: of Crosshall; empty: this one."""
        self._services = services
        self._version = version or VERSION
        self._keys = keys
        self._lock = threading.Lock()
        self._probed: tuple[datetime, str] | None = None
        self._current: tuple[str, tuple[Currency, ...]] | None = None

    def reasons(self) -> list[str]:
        """Why the node is red, each code once; empty when it is well. Never raises for what it looks at."""
        time = self._services.trusted()
        found: list[str] = []
        for look in (self._trust, self._time, self._roles, self._store, self._signing):
            found += _codes(lambda look=look: look(time))  # type: ignore[misc]
        return list(dict.fromkeys(found))

    def crls(self, snapshot: Snapshot) -> tuple[Currency, ...]:
        """How current each CA's CRLs are; worked out once per snapshot."""
        known = self._current
        if known is None or known[0] != snapshot.hash:
            known = self._current = (snapshot.hash, currencies(snapshot))
        return known[1]

    def roles(self) -> Roles | None:
        """What the sync agent told last."""
        return read_roles(self._services.settings.node.state / FEDERATION)

    def _trust(self, time: TrustedTime) -> Iterator[str]:
        snapshot = self._services.snapshots.current()
        if not snapshot.bundle.anchors:
            yield "trust.no_anchors"
        if self._services.snapshots.problem:
            # the snapshot before it stays in force, but what is new – refusals above all – is not
            yield "trust.bundle"
        if snapshot.compiled.book.problems:
            # an older CRL may be in force in the place of one that nobody could read
            yield "trust.crl"
        if any(currency.stale(time.now) for currency in self.crls(snapshot)):
            yield "trust.stale_crl"
        if snapshot.bundle.roster.software.below(self._version):
            yield BELOW_FLOOR

    def _time(self, time: TrustedTime) -> Iterator[str]:
        if time.code:
            yield time.code
            return
        if time.rung not in (Rung.FRESH, Rung.NEAR):
            yield "trust.offline"
        if abs(time.now - self._services.clock()) > SKEW:
            yield "trust.skew"

    def _roles(self, time: TrustedTime) -> Iterator[str]:
        told = self.roles()
        if told is None:
            file = self._services.settings.node.state / FEDERATION
            if file.exists() or self._services.settings.node.role != "province":
                yield "trust.roles_unknown"
            return
        if told.at is None or abs(time.now - told.at) > SILENT:
            yield "trust.roles_unknown"
        if any(moment <= time.now for moment in told.expires.values()):
            yield "trust.role_expired"
        yield from told.failing

    def _store(self, _time: TrustedTime) -> Iterator[str]:
        services = self._services
        if code := self._probe():
            yield code
            return
        rounds = 2 * timedelta(seconds=services.settings.bridge.rejudge_seconds)
        if services.sessions.unjudged(services.clock() - EVERY - rounds - UNWATCHED):
            yield "run.watcher"

    def _probe(self) -> str:
        """The code of the last attempt to write; one process writes one probe at a time."""
        now = self._services.clock()
        known = self._probed
        if known is not None and abs(now - known[0]) < PROBE_EVERY:
            return known[1]
        with self._lock:
            if self._probed is known:
                code = ""
                try:
                    self._services.store.probe()
                except CrosshallError as error:
                    code = error.code
                self._probed = (now, code)
            assert self._probed is not None
            return self._probed[1]

    def _signing(self, _time: TrustedTime) -> Iterator[str]:
        self._keys.ring().signing(self._services.clock())
        self._services.windows()
        yield from ()


def _codes(look: Callable[[], Iterator[str]]) -> list[str]:
    found = []
    try:
        for code in look():
            found.append(code)  # noqa: PERF402 - what was found before a fault counts
    except CrosshallError as error:
        found.append(error.code)
    return found
