"""Trusted time (design §6): a node's now and the age of its trust data, from signed times and a clock that only counts.

    agent ──▶ state/trusted-time.json: newest signed `issued`, trusted now when written, CLOCK_BOOTTIME then, boot id
    bridge ─▶ TrustedTime(now, age, rung), at most a second behind the file

Trusted now = what was written + CLOCK_BOOTTIME since then: it runs through sleep, and no setting of the wall clock
moves it. After a reboot nobody knows how long the machine was off: it goes on from what was written, one rung lower.

A virtual machine that is paused stops CLOCK_BOOTTIME too. When the wall clock then runs ahead of it the agent writes by
how much (`lost`), and unless a newer signed time comes at once it counts as age: never as time, and never back again.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ca_bridge.errors import PathError
from ca_bridge.policy.rungs import Rung, lower, rung_of
from ca_bridge.types import Clock

FILE = "trusted-time.json"
"""Name below the node's state folder."""
FORMAT = 1
MAX_OCTETS = 4096
LOOK_SECONDS = 1.0
SPARE_SECONDS = 60.0
"""How long a process goes on with what it read last when the file cannot be read: the agent writes it again by then."""
MISSING = "trust.time_missing"
BROKEN = "trust.time"
LOST_SECONDS = 90.0
"""Ours: a connected node has a newer signed time by then, so that setting its clock right ends nobody's session."""
LATE = timedelta(minutes=3)
"""A connected node's data is younger (renewed each minute, fetched within 45 s): what is older is of a cut."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_FIELDS = {"format", "issued", "now", "boottime", "boot", "rebooted"}
_LOST = {"lost", "lost_at"}


@dataclass(frozen=True, slots=True)
class TrustedTime:
    """What a node may know of the time: certificates are judged at `now`, and `rung` says what is still allowed."""

    now: datetime
    age: timedelta
    """Of the trust data: `now` − the newest signed `issued`, and what a pause has lost; `timedelta.max`: unknown."""
    rung: Rung
    code: str = ""
    """Why there is no trusted time: `trust.time_missing`, `trust.time`; empty when there is. Else `closed`."""
    rebooted: bool = False
    """No signed time came since the machine started: the rung is one lower than the age says."""

    @property
    def late(self) -> bool:
        """Whether the line seems to be cut: what is signed in now has to be judged again when it is back."""
        return self.age > LATE or self.rung is not Rung.FRESH


@dataclass(frozen=True, slots=True)
class Reading:
    """The file, read and checked."""

    issued: datetime
    now: datetime
    boottime: float
    boot: str
    rebooted: bool
    lost: float = 0.0
    """Seconds by which the wall clock has run ahead of the counting one since `issued`; absent in the file when 0."""
    lost_at: float = 0.0
    """CLOCK_BOOTTIME when it was first noticed."""


def read_time(data: bytes) -> Reading:
    """The file's content. Raises PathError `trust.time`: not of this format, a value missing or impossible."""
    try:
        raw: Any = json.loads(data) if len(data) <= MAX_OCTETS else None
        if not isinstance(raw, dict) or set(raw) not in (_FIELDS, _FIELDS | _LOST) or raw["format"] != FORMAT:
            raise ValueError("not of this format")
        boottime, lost, lost_at = (_seconds(raw.get(name, 0)) for name in ("boottime", "lost", "lost_at"))
        if not isinstance(raw["boot"], str) or not raw["boot"] or not isinstance(raw["rebooted"], bool):
            raise ValueError("boot or rebooted")
        moments = _moment(raw["issued"]), _moment(raw["now"])
        return Reading(*moments, boottime, raw["boot"], raw["rebooted"], lost, lost_at)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise PathError(BROKEN, f"{FILE}: {error}") from error


def reckon(known: Reading, boottime: float, boot: str) -> TrustedTime:
    """The trusted time at CLOCK_BOOTTIME `boottime` (seconds) of boot `boot`. Raises PathError `trust.time`."""
    same = known.boot == boot
    passed = boottime - known.boottime if same else boottime
    if passed < 0:
        raise PathError(BROKEN, "written later in this boot than now")
    counts = not same or boottime - known.lost_at >= LOST_SECONDS
    try:
        now = known.now + timedelta(seconds=passed)
        age = now - known.issued + timedelta(seconds=known.lost if counts else 0)
    except OverflowError as error:
        raise PathError(BROKEN, "beyond the calendar") from error
    rebooted = known.rebooted or not same
    rung = lower(rung_of(age)) if rebooted else rung_of(age)
    return TrustedTime(now, age, rung, rebooted=rebooted)


class TimeSource:
    """The node's trusted time; the file is looked at no more than once a second. Thread safe: it swaps one value."""

    def __init__(
        self,
        file: Path,
        clock: Clock,
        *,
        own: bool,
        boottime: Callable[[], float] | None = None,
        boot: str | None = None,
    ) -> None:
        """`own`: the node is its own source (the province), so that without a file `clock` says the time, always fresh.

        `boottime`: seconds since the machine started, sleep included; `boot`: the id of this boot.
        """
        self._file = file
        self._clock = clock
        self._own = own
        self._boottime = boottime or _boottime
        self._boot = boot if boot is not None else _boot()
        self._held: _Held | None = None

    def __call__(self) -> TrustedTime:
        """The trusted time, never raising: without one the rung is `closed` and `code` says why."""
        seconds = self._boottime()
        held = self._held
        if held is None or not 0 <= seconds - held.looked < LOOK_SECONDS:
            held = self._held = self._look(seconds, held)
        try:
            if held.reading is not None:
                return reckon(held.reading, seconds, self._boot)
        except PathError:
            return self._closed(BROKEN)
        if held.code == MISSING and self._own:
            return TrustedTime(self._clock(), timedelta(0), Rung.FRESH)
        return self._closed(held.code)

    def _look(self, seconds: float, held: _Held | None) -> _Held:
        code = BROKEN
        try:
            with self._file.open("rb") as file:
                reading = read_time(file.read(MAX_OCTETS + 1))
            reckon(reading, seconds, self._boot)
            return _Held(reading, "", seconds, seconds)
        except FileNotFoundError:
            code = MISSING
        except (OSError, PathError):
            pass
        if held is not None and held.reading is not None and 0 <= seconds - held.read < SPARE_SECONDS:
            return _Held(held.reading, "", seconds, held.read)
        return _Held(None, code, seconds, seconds)

    def _closed(self, code: str) -> TrustedTime:
        return TrustedTime(self._clock(), timedelta.max, Rung.CLOSED, code)


@dataclass(frozen=True, slots=True)
class _Held:
    """What was seen at the last look; `looked` and `read` in seconds of CLOCK_BOOTTIME."""

    reading: Reading | None
    code: str
    looked: float
    read: float


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError("seconds")
    return float(value)


def _moment(text: object) -> datetime:
    if not isinstance(text, str):
        raise TypeError("a time that is no text")
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return moment.astimezone(UTC)


def _boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _boot() -> str:
    """This boot's id; where the kernel tells none every start counts as a reboot, which is the lower rung."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return f"unknown-{time.time_ns()}"
