"""The province's online work, without a key holder: what its bundle refuses goes out at once, nodes' words come in.

    bundle/ crls, denials ─▶ status role        every minute ─▶ timestamp        nodes' halls ─▶ lanes, reports

A node that does not answer delays nobody: each is asked in a thread of its own, and the next round asks again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from ca_bridge.errors import CrosshallError, FederationError
from ca_bridge.files import write_atomically
from ca_bridge.trust.bundle import MANIFEST, read_bundle
from ca_bridge.trust.roster import Roster, RosterNode
from ca_bridge.types import Clock
from nodes import roles
from nodes.desk import Arrived, Desk
from nodes.publish import Publisher
from nodes.report import FILE as REPORT
from nodes.report import LIMIT as REPORT_LIMIT
from nodes.roster import read_roster
from nodes.sorting import part
from nodes.transport import Source, open_source, read

STAMP_EVERY = timedelta(seconds=60)
ASK_SECONDS = 5.0
"""The longest that one node is waited for."""
_THREADS = 16
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """What one round did."""

    stamped: bool = False
    status: bool = False
    collected: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    """Names of nodes that gave no answer."""
    codes: Mapping[str, str] = field(default_factory=dict)


class Office:
    """The loop of the province's machine."""

    def __init__(
        self,
        publisher: Publisher,
        *,
        bundle: Path,
        province: str,
        reports: Path,
        clock: Clock,
        ca_file: str = "",
        desk: Desk | None = None,
        after: Callable[[Roster], None] = lambda _roster: None,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """`bundle`: the province's source bundle; `reports`: where nodes' words are kept, `<name with dots>.jws`.

        `desk`: takes nodes' outboxes in; None: they stay where they are. `after`: called once a round, words kept.
        """
        self._desk = desk
        self._after = after
        self._publisher = publisher
        self._bundle = bundle
        self._province = province
        self._reports = reports
        self._clock = clock
        self._ca_file = ca_file
        self._ticks = ticks
        self._sources: dict[str, Source] = {}
        self._stamped: datetime | None = None
        self._seen = b""

    def run(self, stop: threading.Event, seconds: float) -> None:
        """Round after round until `stop`, `seconds` apart; what a round could not do is logged and tried again."""
        while not stop.is_set():
            done = self.round()
            if done.codes or done.collected:
                _log.info("federation.office", codes=dict(done.codes), collected=done.collected)
            stop.wait(seconds)

    def round(self) -> Done:
        """One round. Never raises for what a node, the disk or the bundle does wrong."""
        codes: dict[str, str] = {}
        status = self._try("status", self._send_status, codes) or False
        collected, silent = self._ask_nodes(codes)
        due = self._stamped is None or abs(self._clock() - self._stamped) >= STAMP_EVERY
        stamped = bool(due and self._try("stamp", self._stamp, codes))
        return Done(stamped, status, collected, silent, codes)

    def _try(self, what: str, step: Callable[[], bool], codes: dict[str, str]) -> bool:
        try:
            return step()
        except CrosshallError as error:
            codes[what] = error.code
        except OSError as error:
            codes[what] = "federation.disk"
            _log.error("federation.office", step=what, error=error.strerror)
        return False

    def _stamp(self) -> bool:
        self._publisher.stamp()
        self._stamped = self._clock()
        return True

    def _send_status(self) -> bool:
        """CRLs and denials of the bundle, when its manifest has changed; positive trust waits for its key holders."""
        if (self._bundle / MANIFEST).read_bytes() == self._seen:
            return False
        with self._publisher.alone():  # else what is read here could go out after a newer bundle's
            manifest = (self._bundle / MANIFEST).read_bytes()
            bundle = read_bundle(self._bundle)
            files = {
                path.relative_to(self._bundle).as_posix(): path.read_bytes()
                for folder in ("crls", "denials")
                for path in sorted((self._bundle / folder).glob("*"))
                if path.is_file() and not path.name.startswith(".")
            }
            self._publisher.status(part(files, bundle, self._province)[roles.STATUS])
        self._seen = manifest
        return True

    def _ask_nodes(self, codes: dict[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        try:
            roster = read_roster(self._bundle)
        except CrosshallError as error:
            codes["roster"] = error.code
            return (), ()
        nodes = [node for node in roster.nodes if node.role != "province"]
        if self._desk is not None:
            self._try("pilot", lambda: self._remember(roster), codes)
        collected, silent = self._words_of(roster, nodes, codes) if nodes else ((), ())
        self._try("page", lambda: self._shown(roster), codes)
        return collected, silent

    def _words_of(
        self, roster: Roster, nodes: list[RosterNode], codes: dict[str, str]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        with ThreadPoolExecutor(min(_THREADS, len(nodes))) as pool:
            answers = dict(zip((node.name for node in nodes), pool.map(self._answer_of, nodes), strict=True))
        collected: list[str] = []
        for node in nodes:
            code, arrived = answers[node.name]
            if code:
                codes[node.name] = code
                continue
            try:
                collected += self._publisher.collect(self._source(node), self._ticks)
            except FederationError as error:
                codes[node.name] = error.code
            if arrived is not None:
                self._try(node.name, lambda node=node, arrived=arrived: self._take(roster, node, arrived), codes)  # type: ignore[misc]
        return tuple(collected), tuple(name for name, (code, _) in answers.items() if code)

    def _remember(self, roster: Roster) -> bool:
        assert self._desk is not None
        self._desk.open(roster)
        return True

    def _shown(self, roster: Roster) -> bool:
        self._after(roster)
        return True

    def _take(self, roster: Roster, node: RosterNode, arrived: Arrived) -> bool:
        assert self._desk is not None
        return bool(self._desk.take(roster, node, arrived))

    def _answer_of(self, node: RosterNode) -> tuple[str, Arrived | None]:
        """What the node says of itself is kept, then its outbox is fetched; the code of what failed first."""
        if code := self._report_of(node):
            return code, None
        if self._desk is None:
            return "", None
        try:
            return "", self._desk.fetch(self._source(node), node, self._ticks() + ASK_SECONDS)
        except CrosshallError as error:
            _log.warning("federation.outbox", node=node.name, code=error.code)
            return "", None

    def _report_of(self, node: RosterNode) -> str:
        """Keep what the node last said of itself, unread; the code of why it could not be fetched, or empty."""
        try:
            data = read(self._source(node), REPORT, REPORT_LIMIT, self._ticks() + ASK_SECONDS)
            write_atomically(self._reports / f"{roles.domain_role(node.name)}.jws", data)
        except FederationError as error:
            return error.code
        except OSError:
            return "federation.disk"
        return ""

    def _source(self, node: RosterNode) -> Source:
        if node.hall not in self._sources:
            self._sources[node.hall] = open_source(f"{node.hall}/federation/", ca_file=self._ca_file, ticks=self._ticks)
        return self._sources[node.hall]
