"""Trusted time, written: what `ca_bridge.policy.trusted_time` reads (design §6).

The newest signed `issued` is the only word of time from outside; between two of them a clock counts that runs through
sleep. It is counted a little slow, by more than such clocks err, so that trusted now never runs away from the signed
time and stays ahead of it: a node whose clock is fast is set right by each fresh timestamp, without ever taking an old
one for new. What that clock may have missed (`gap`) is age until the next newer signed time, as a reboot costs a rung
until then; the wall clock that shows it raises nothing else.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ca_bridge.errors import PathError
from ca_bridge.files import write_atomically
from ca_bridge.policy.trusted_time import FILE, FORMAT, MAX_OCTETS, Reading, read_time

__all__ = ["FILE", "Machine", "Reading", "advance", "at", "load", "machine", "store"]

SLOW = 1e-4
"""Ours: the part by which counted time is shortened; quartz errs by less than 50 parts in a million."""
STEP = 5.0
"""Ours: seconds by which the wall clock may run ahead between two looks beside SLEW; quick slewing stays below it."""
SLEW = 5e-4
"""The most that kernels slew a clock by themselves (500 parts in a million)."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

Machine = tuple[float, str]
"""CLOCK_BOOTTIME in seconds, and the id of this boot."""


def machine() -> Machine:
    """This machine's counting clock, now."""
    return time.clock_gettime(time.CLOCK_BOOTTIME), _BOOT_ID.read_text("ascii").strip()


def gap(before: tuple[Machine, datetime], now: tuple[Machine, datetime]) -> float:
    """Seconds by which the wall clock ran ahead of the counting one between two looks, 0 for what slewing explains.

    A virtual machine was paused, or somebody set the clock: nobody can tell. Across a reboot 0: a rung is lost.
    """
    ((one, boot), early), ((other, same), late) = before, now
    if boot != same:
        return 0.0
    ahead = (late - early).total_seconds() - (other - one)
    return ahead if ahead > STEP + SLEW * max(0.0, other - one) else 0.0


def load(path: Path) -> Reading | None:
    """The record in `trusted-time.json`, None when there is none. Raises PathError `trust.time`."""
    try:
        with path.open("rb") as file:
            return read_time(file.read(MAX_OCTETS + 1))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PathError("trust.time", f"{FILE}: {error.strerror}") from error


def store(path: Path, record: Reading) -> None:
    """Write the record, atomically."""
    body = {
        "format": FORMAT,
        "issued": record.issued.isoformat(),
        "now": record.now.isoformat(),
        "boottime": record.boottime,
        "boot": record.boot,
        "rebooted": record.rebooted,
    }
    if record.lost:  # else as every version reads it
        body |= {"lost": record.lost, "lost_at": record.lost_at}
    write_atomically(path, (json.dumps(body) + "\n").encode())


def at(record: Reading, now: Machine) -> datetime:
    """Trusted now at a reading of the machine's clock, aware UTC; never before the record's."""
    boottime, boot = now
    passed = boottime - record.boottime if boot == record.boot else boottime
    return record.now + timedelta(seconds=max(0.0, passed) * (1 - SLOW))


def advance(record: Reading | None, now: Machine, issued: datetime | None, lost: float = 0.0) -> Reading | None:
    """The record to write now; `issued`: of the newest applied timestamp. None as long as there was none.

    `lost`: what `gap` found since the record; it adds up until a newer signed time comes.

    Trusted now becomes the later of what was counted and `issued`: a timestamp that was held back on its way is as old
    as it is. Only one that is newer than the last ends the mark of a reboot.
    """
    boottime, boot = now
    if record is None:
        return None if issued is None else Reading(_utc(issued), _utc(issued), boottime, boot, rebooted=False)
    counted = at(record, now)
    newer = issued is not None and issued > record.issued
    newest = _utc(issued) if issued is not None and newer else record.issued
    rebooted = not newer and (record.rebooted or boot != record.boot)
    total = 0.0 if newer else record.lost + lost
    since = boottime if lost and not record.lost else record.lost_at
    if boot != record.boot:
        since = 0.0  # of another boot: it has been waited for long enough
    return Reading(newest, max(counted, newest), boottime, boot, rebooted, total, since if total else 0.0)


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
