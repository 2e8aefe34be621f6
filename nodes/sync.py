"""The sync agent: every half minute it asks its sources in order, applies what is newer, and writes trusted time.

    source ─▶ Client.update ─▶ bundle/ ─▶ trusted-time.json ─▶ mirror for counties ─▶ status.json

What fails is written down and tried again; nothing that fails ever makes the node trust more, and time goes on being
counted, so that the ladder closes by itself when no newer word comes.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path

import structlog

from ca_bridge.errors import CrosshallError, FederationError, PathError
from ca_bridge.files import write_atomically
from ca_bridge.settings import Settings
from nodes import clock
from nodes.bundle import compose, write
from nodes.client import LEAP, Client, Update
from nodes.held import Folder
from nodes.metadata import time_text
from nodes.mirror import publish_mirror
from nodes.transport import FileSource, Source, Ticks, open_source
from nodes.view import Trusted

MOST_SECONDS = 45.0
"""The longest between two checks: with a minute's work elsewhere a refusal is everywhere within 60 s."""
JITTER = 0.2
STATUS = "status.json"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Where a node's files and sources are."""

    name: str
    """The node's domain, `gd/guangzhou`."""
    state: Path
    """The node's state folder."""
    bundle: Path
    sources: tuple[str, ...]
    interval_seconds: float = 30.0
    ca_file: str = ""
    public: Path | None = None
    """Folder of the mirror with the node's own lane; None for a node that nobody stands below."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did; `state/federation/status.json` is this."""

    at: str
    """Trusted now, RFC 3339; empty before the first timestamp."""
    good: str
    """Trusted now at the last round in which a source gave a good answer."""
    source: str
    """Of that round: scheme and host."""
    issued: str
    version: int
    versions: Mapping[str, int] = field(default_factory=dict)
    failing: Mapping[str, str] = field(default_factory=dict)
    """Code by role (`lane:<role>`: of its lane)."""
    codes: Mapping[str, str] = field(default_factory=dict)
    """Code by source that gave no good answer in this round; `here`: this machine's own fault."""
    changed: bool = False
    bundle: str = ""
    """SHA-256 of `bundle.json`."""
    expires: Mapping[str, str] = field(default_factory=dict)
    """By role, RFC 3339: of its metadata in force."""


class Agent:
    """The loop of one node."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        machine: Callable[[], clock.Machine] = clock.machine,
        ticks: Ticks = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._machine = machine
        self._ticks = ticks
        self._chance = chance
        self._client = Client(settings.state / "federation", ticks=ticks)
        self._record_file = settings.state / clock.FILE
        self._sources: dict[str, Source] = {}
        self._repair = False

    def run(self, stop: threading.Event) -> None:
        """Round after round until `stop`."""
        while not stop.is_set():
            done = self.round()
            if done.codes:
                _log.warning("sync", codes=dict(done.codes), failing=dict(done.failing))
            stop.wait(self.pause())

    def pause(self) -> float:
        """Seconds until the next round: the interval ± 20 %, never above 45."""
        spread = 1 + JITTER * (2 * self._chance() - 1)
        return min(self._settings.interval_seconds * spread, MOST_SECONDS)

    def round(self) -> Round:
        """One check of the sources, applied. Never raises for what a source or this machine's disk does wrong."""
        codes: dict[str, str] = {}
        last = self.last()
        try:
            record = self._record()
            update, name = self._ask(record, codes)
            if update is not None:
                record = None if update.restarted else record
                record = clock.advance(record, self._machine(), update.issued)
            else:
                record = clock.advance(record, self._machine(), None)
            return self._apply(record, update, name, codes, last)
        except (OSError, CrosshallError) as error:
            code = error.code if isinstance(error, CrosshallError) else "federation.disk"
            codes["here"] = code
            self._repair = True
            done = Round("", last.good, last.source, last.issued, last.version, last.versions, last.failing, codes)
            done = replace(done, expires=last.expires)
            with suppress(OSError):
                self._write(done)
            return done

    def first(self) -> Round:
        """One round that must succeed, at join. Raises FederationError with the code of what went wrong."""
        done = self.round()
        if not done.good:
            code = next(iter(done.codes.values()), "federation.source")
            raise FederationError(code, ", ".join(f"{name}: {found}" for name, found in done.codes.items()))
        return done

    def last(self) -> Round:
        """What the last round wrote; an empty one when there is none that can be read."""
        try:
            return Round(**json.loads((self._settings.state / "federation" / STATUS).read_bytes()))
        except (OSError, ValueError, TypeError):
            return Round("", "", "", "", 0)

    def _record(self) -> clock.Reading | None:
        """The record of trusted time; a damaged one is made anew from the newest signed time, as after a reboot."""
        try:
            return clock.load(self._record_file)
        except PathError:
            issued = self._client.issued()
            return None if issued is None else clock.Reading(issued, issued, 0.0, "unknown", rebooted=True)

    def _ask(self, record: clock.Reading | None, codes: dict[str, str]) -> tuple[Update | None, str]:
        """The first source that gives a good answer."""
        reading = self._machine()
        now = None if record is None else clock.at(record, reading)
        known = record is not None and record.boot == reading[1] and not record.rebooted
        for url in self._settings.sources:
            try:
                if url not in self._sources:
                    self._sources[url] = open_source(url, ca_file=self._settings.ca_file, ticks=self._ticks)
                source = self._sources[url]
                leap = LEAP if known else None
                update = self._client.update(source, now, accept=self._accept, leap=leap, repair=self._repair)
            except FederationError as error:
                codes[url] = error.code
                continue
            self._repair = False
            return update, source.name
        return None, ""

    def _accept(self, trusted: Trusted) -> None:
        compose(trusted, self._client.folder, self._settings.name)

    def _apply(
        self, record: clock.Reading | None, update: Update | None, name: str, codes: dict[str, str], last: Round
    ) -> Round:
        if record is None:  # nothing was ever fetched
            done = Round("", "", "", "", 0, codes=codes)
            self._write(done)
            return done
        now = record.now
        self._own_lane(now)
        trusted = self._client.trusted(now)
        written = write(compose(trusted, self._client.folder, self._settings.name), self._settings.bundle)
        # Only now: who reads the time must find the bundle that it speaks of.
        clock.store(self._record_file, record)
        if self._settings.public is not None:
            publish_mirror(self._client.folder, self._settings.public)
        done = Round(
            time_text(now),
            time_text(now) if update is not None else last.good,
            name or last.source,
            time_text(record.issued),
            trusted.version,
            dict(trusted.versions),
            {**trusted.failing, **written.failing},
            codes,
            written.changed,
            written.hash,
            dict(trusted.expires),
        )
        self._write(done)
        return done

    def _own_lane(self, now: datetime) -> None:
        """What this node refuses counts here at once, line or no line."""
        public = self._settings.public
        if public is None or not (public / "lane" / "index.json").is_file():
            return
        self._client.follow_lane(FileSource(public, ticks=self._ticks), now)

    def _write(self, done: Round) -> None:
        data = json.dumps(asdict(done), sort_keys=True, indent=1).encode()
        write_atomically(self._settings.state / "federation" / STATUS, data)


def agent_of(settings: Settings, *, sources: tuple[str, ...] = (), root: bytes | None = None) -> Agent:
    """The agent of a node by its settings; at join with the sources and the root of the admission, which is pinned."""
    node, sync = settings.node, settings.sync
    agent = Agent(
        AgentSettings(
            node.name,
            node.state,
            node.bundle,
            sources or sync.sources,
            sync.interval_seconds,
            str(sync.ca_file or ""),
            None if node.role == "province" else settings.front.published,
        )
    )
    if root is not None:
        Folder(node.state / "federation").start(root)
    return agent
