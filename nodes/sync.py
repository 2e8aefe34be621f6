"""The sync agent: every half minute it asks its sources in order, applies what is newer, and writes trusted time.

    source ─▶ Client.update ─▶ bundle/ ─▶ trusted-time.json ─▶ mirror for counties ─▶ status.json
    filters first; CRLs for which they stand afterwards: all at a city, at a county those that the bridge waits for

What fails is written down and tried again; nothing that fails ever makes the node trust more, and time goes on being
counted, so that the ladder closes by itself when no newer word comes.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from filelock import FileLock, Timeout

from ca_bridge.errors import CrosshallError, FederationError, PathError
from ca_bridge.fetch.whole import WANTED
from ca_bridge.files import write_atomically
from ca_bridge.settings import Settings
from ca_bridge.types import Clock, utc_now
from nodes import clock, roles
from nodes.bundle import Written, compose, write
from nodes.client import LEAP, Client, Update
from nodes.filters import dishonest
from nodes.held import Folder
from nodes.metadata import time_text
from nodes.mirror import publish_mirror
from nodes.transport import FILE, FileSource, Source, Ticks, open_source
from nodes.view import FileRef, Trusted

MOST_SECONDS = 45.0
"""The longest between two checks: with a minute's work elsewhere a refusal is everywhere within 60 s."""
JITTER = 0.2
MOST_MISSED = 366 * 86400.0
"""Ours: seconds; a longer pause is for an operator to look at."""
LOOK_SECONDS = 0.5
"""Between two looks for CRLs that the bridge waits for."""
WHOLE_SECONDS = 10.0
"""What CRLs for which filters stand may take of a round: the next check must not be late."""
STATUS = "status.json"
LOCK_SECONDS = 60.0
"""How long a round waits for another process's: a carried disk for the loop, which may hang at a dead source."""

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
    whole: bool = False
    """Bring every CRL for which a filter stands, after the rest: nodes below find here what they must look up."""


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
        wall: Clock = utc_now,
        ticks: Ticks = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._machine = machine
        self._wall = wall
        self._looked: tuple[clock.Machine, datetime] | None = None
        self._lost = 0.0
        self._ticks = ticks
        self._chance = chance
        self._client = Client(settings.state / "federation", ticks=ticks)
        self._record_file = settings.state / clock.FILE
        self._sources: dict[str, Source] = {}
        self._repair = False
        self._tried: set[str] = set()
        """Wishes that were looked at since the last round."""
        self._honest: dict[str, bool] = {}

    def run(self, stop: threading.Event) -> None:
        """Round after round until `stop`."""
        while not stop.is_set():
            done = self.round()
            if done.codes:
                _log.warning("sync", codes=dict(done.codes), failing=dict(done.failing))
            ends = self._ticks() + self.pause()
            while (left := ends - self._ticks()) > 0 and not stop.wait(min(left, LOOK_SECONDS)):
                self.look_up()

    def look_up(self) -> bool:
        """Bring the CRLs that the bridge waits for (`fetch.whole`); True when the bundle has changed. Never raises.

        What a source did not give is tried again in the next round.
        """
        if not self._wishes() - self._tried:
            return False
        try:
            with self._alone():
                record = self._record()
                if record is None:
                    return False
                now = clock.at(record, self._machine())
                return self._bring_whole(now, whole=False) and self._write_bundle(now).changed
        except (OSError, CrosshallError) as error:
            _log.warning("sync", code=error.code if isinstance(error, CrosshallError) else "federation.disk")
            return False

    def pause(self) -> float:
        """Seconds until the next round: the interval ± 20 %, never above 45."""
        spread = 1 + JITTER * (2 * self._chance() - 1)
        return min(self._settings.interval_seconds * spread, MOST_SECONDS)

    def round(self) -> Round:
        """One check of the sources, applied. Never raises for what a source or this machine's disk does wrong."""
        codes: dict[str, str] = {}
        last = self.last()
        self._tried = set()
        try:
            with self._alone():
                last = self.last()
                self._look()
                record = self._record()
                update, name = self._ask(record, codes)
                if update is not None:
                    record = None if update.restarted else record
                    record = clock.advance(record, self._machine(), update.issued, self._lost)
                else:
                    record = clock.advance(record, self._machine(), None, self._lost)
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

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process's round comes between reading what is held and writing it: else the older word could win.

        Raises FederationError `federation.busy` after LOCK_SECONDS, OSError.
        """
        folder = self._settings.state / "federation"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=LOCK_SECONDS, mode=0o600)
        try:
            lock.acquire()
        except Timeout as error:
            raise FederationError("federation.busy", "another process of this node syncs") from error
        try:
            yield
        finally:
            lock.release()

    def _look(self) -> None:
        """Notice what the counting clock has missed; kept until a record with it is written."""
        now = self._machine(), self._wall()
        lost = clock.gap(self._looked, now) if self._looked is not None else 0.0
        if lost:
            _log.warning("trusted time: the wall clock ran ahead", seconds=round(lost))
        self._looked, self._lost = now, self._lost + lost

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
        # a signed time may be ahead by what the counting clock has missed: else a long pause would never end
        missed = timedelta(seconds=min(self._lost + (record.lost if record is not None else 0.0), MOST_MISSED))
        for url in self._settings.sources:
            try:
                source = self._source(url)
                leap = LEAP + missed if known else None
                update = self._client.update(source, now, accept=self._accept, leap=leap, repair=self._repair)
            except FederationError as error:
                codes[url] = error.code
                continue
            self._repair = False
            return update, source.name
        return None, ""

    def _source(self, url: str) -> Source:
        if url not in self._sources:
            self._sources[url] = open_source(url, ca_file=self._settings.ca_file, ticks=self._ticks)
        return self._sources[url]

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
        written = self._write_bundle(now)
        # Only now: who reads the time must find the bundle that it speaks of.
        clock.store(self._record_file, record)
        self._lost = 0.0
        self._mirror()
        if self._bring_whole(now, whole=self._settings.whole or name == FILE):  # a disk may go again
            written = replace(self._write_bundle(now), changed=True)
            self._mirror()
        done = Round(
            time_text(now),
            time_text(now) if update is not None else last.good,
            name or last.source,
            time_text(record.issued),
            trusted.version,
            dict(trusted.versions),
            {**trusted.failing, **written.failing, **self._checked_filters(trusted)},
            codes,
            written.changed,
            written.hash,
            dict(trusted.expires),
        )
        self._write(done)
        return done

    def _write_bundle(self, now: datetime) -> Written:
        composed = compose(self._client.trusted(now), self._client.folder, self._settings.name)
        return write(composed, self._settings.bundle)

    def _mirror(self) -> None:
        if self._settings.public is not None:
            publish_mirror(self._client.folder, self._settings.public)

    def _bring_whole(self, now: datetime, *, whole: bool) -> bool:
        """CRLs for which filters stand, all or those that are waited for; True when one came.

        From the sources in order, each for a few seconds: what is left goes on in the next round.
        """
        wishes, missing = self._wishes(), self._client.missing_whole(now)
        wanted = [ref for ref in missing if whole or ref.sha256 in wishes]
        left = wanted
        for url in self._settings.sources:
            if left:
                left = self._bring(url, left)
        for name in wishes - {ref.sha256 for ref in left}:  # at hand now, or not listed any more
            (self._settings.state / WANTED / name).unlink(missing_ok=True)
        self._tried |= wishes
        return len(left) < len(wanted)

    def _bring(self, url: str, refs: Sequence[FileRef]) -> list[FileRef]:
        """What of `refs` this source did not give."""
        left: list[FileRef] = []
        ends = self._ticks() + WHOLE_SECONDS
        for number, ref in enumerate(refs):
            try:
                self._client.bring(self._source(url), ref, ends - self._ticks())
            except FederationError as error:
                _log.warning("sync", source=url, code=error.code, crl=ref.sha256[:16])
                if error.code != "federation.absent":
                    return [*left, *refs[number:]]
                left.append(ref)
        return left

    def _checked_filters(self, trusted: Trusted) -> dict[str, str]:
        """A city holds filters against their CRLs, for the counties that have filters only."""
        if self._settings.whole and dishonest(self._client.folder.get, trusted, self._honest):
            return {roles.STATUS: "revocation.filter"}
        return {}

    def _wishes(self) -> set[str]:
        """SHA-256 of the CRLs that the bridge waits for."""
        try:
            return {entry.name for entry in os.scandir(self._settings.state / WANTED)}
        except OSError:
            return set()

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
            whole=node.role == "city",
        )
    )
    if root is not None:
        Folder(node.state / "federation").start(root)
    return agent
