"""Trusted time: signed times and a clock that only counts; everything else is `closed`, with a code."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ca_bridge.errors import PathError
from ca_bridge.policy.rungs import LIMITS, Rung, lower, rung_of
from ca_bridge.policy.trusted_time import (
    BROKEN,
    LOST_SECONDS,
    MAX_OCTETS,
    MISSING,
    SPARE_SECONDS,
    Reading,
    TimeSource,
    read_time,
    reckon,
)

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
GOOD = {
    "format": 1,
    "issued": NOW.isoformat(),
    "now": (NOW + timedelta(seconds=30)).isoformat(),
    "boottime": 1000.5,
    "boot": "one",
    "rebooted": False,
}


@dataclass
class Machine:
    """A machine's clocks, and the file as its agent writes it."""

    file: Path
    wall: datetime = NOW
    up: float = 1000.5
    boot: str = "one"
    own: bool = False
    source: TimeSource = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Another process of the bridge."""
        self.source = TimeSource(self.file, lambda: self.wall, own=self.own, boottime=lambda: self.up, boot=self.boot)

    def write(self, **changes: object) -> None:
        """What the agent writes; None leaves a field out."""
        body = {name: value for name, value in (GOOD | changes).items() if value is not None}
        self.file.write_text(json.dumps(body))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A city's machine whose agent has just written the time."""
    made = Machine(tmp_path / "trusted-time.json")
    made.write()
    return made


def test_now_runs_on_with_the_counting_clock_alone(machine: Machine):
    """Trusted now = `now` + CLOCK_BOOTTIME since; the wall clock moves neither it nor the age (design §6)."""
    machine.up += 600
    for wall in (NOW - timedelta(days=400), NOW + timedelta(days=400)):
        machine.wall = wall
        found = machine.source()
        assert found.now == NOW + timedelta(seconds=630)
        assert found.age == timedelta(seconds=630)
        assert (found.rung, found.code) == (Rung.FRESH, "")


@pytest.mark.parametrize(("rung", "limit"), LIMITS)
def test_the_rungs_begin_and_end_where_the_ladder_says(machine: Machine, rung: Rung, limit: timedelta):
    """15 min, 4 h, 24 h, 72 h, to the second; beyond is the next rung."""
    machine.up = 1000.5 + limit.total_seconds() - 30
    assert machine.source().rung is rung
    machine.up += 1
    assert machine.source().rung is lower(rung)


def test_the_province_is_its_own_source(tmp_path: Path):
    """Without a file the province's clock is the trusted time, fresh; a city's or county's is nothing: closed."""
    province = Machine(tmp_path / "none", own=True)
    assert province.source().rung is Rung.FRESH
    assert province.source().now == province.wall
    found = Machine(tmp_path / "none").source()
    assert (found.rung, found.code, found.age) == (Rung.CLOSED, MISSING, timedelta.max)


def test_a_reboot_without_a_signed_time_is_one_rung_lower(machine: Machine):
    """Nobody knows how long the machine was off: from `now` on, one rung lower, until the agent has a signed time."""
    machine.boot, machine.up = "two", 60.0
    machine.restart()
    found = machine.source()
    assert found.now == NOW + timedelta(seconds=30 + 60)
    assert (found.rung, found.rebooted) == (Rung.NEAR, True)
    machine.write(boot="two", boottime=60.0, now=found.now.isoformat(), rebooted=True)
    machine.up += 1
    assert machine.source().rung is Rung.NEAR, "the agent wrote again without a signed time"
    machine.write(boot="two", boottime=61.0, issued=NOW.isoformat(), now=NOW.isoformat())
    machine.up += 1
    assert (machine.source().rung, machine.source().rebooted) == (Rung.FRESH, False)


def test_days_after_a_reboot_is_closed(machine: Machine):
    """One lower than `days` is `closed`."""
    machine.write(now=(NOW + timedelta(hours=30)).isoformat(), boot="zero")
    machine.up = 10
    assert machine.source().rung is Rung.CLOSED


def test_old_times_written_again_never_look_fresh(machine: Machine):
    """A replayed `issued` (an old disk) makes the age greater: trusted now comes from the clock that counts."""
    machine.write(issued=(NOW - timedelta(hours=30)).isoformat())
    assert machine.source().rung is Rung.DAYS


def test_an_issue_time_from_the_future_is_closed(machine: Machine):
    """More than 60 s ahead of trusted now: a clock that runs behind makes stale data look fresh."""
    machine.write(issued=(NOW + timedelta(seconds=91)).isoformat())
    assert machine.source().rung is Rung.CLOSED
    machine.up += 1
    machine.write(issued=(NOW + timedelta(seconds=89)).isoformat())
    assert machine.source().rung is Rung.FRESH


SPOILT = [
    {"format": 2},
    {"format": None},
    {"issued": None},
    {"issued": "2026-11-23T08:00:00"},
    {"issued": 5},
    {"now": "yesterday"},
    {"now": "9999-12-31T23:59:59+00:00"},
    {"boottime": "1000"},
    {"boottime": True},
    {"boottime": -1},
    {"boottime": float("nan")},
    {"boottime": float("inf")},
    {"boottime": 5000.0},
    {"boot": ""},
    {"boot": 7},
    {"rebooted": "no"},
    {"rebooted": None},
    {"more": 1},
]


@pytest.mark.parametrize("changes", SPOILT, ids=str)
def test_a_file_that_is_not_what_it_must_be_is_closed(tmp_path: Path, changes: dict[str, object]):
    """A missing, mistyped, impossible or unknown value: no time, at the province too."""
    for own in (False, True):
        machine = Machine(tmp_path / "file", own=own, up=1010.0)
        machine.write(**changes)
        found = machine.source()
        assert (found.rung, found.code) == (Rung.CLOSED, BROKEN)


def test_any_damaged_octet_is_closed_or_says_the_same_kind_of_thing(tmp_path: Path):
    """The file cut anywhere, or filled with anything, never raises and never yields a time it does not hold."""
    whole = json.dumps(GOOD).encode()
    for end in range(len(whole)):
        with pytest.raises(PathError, match=r"trust\.time"):
            read_time(whole[:end])
    for data in (b"", b"[]", b"null", b"\xff" * 10, b"[" * 5000, whole + b" " * MAX_OCTETS):
        with pytest.raises(PathError):
            read_time(data)


def test_a_process_goes_on_for_a_minute_with_what_it_read(machine: Machine):
    """A file that was just damaged ends nobody's session: the agent writes it again. It never makes the age smaller."""
    machine.source()
    machine.file.write_text("{")
    machine.up += SPARE_SECONDS - 1
    assert machine.source().age == timedelta(seconds=30 + SPARE_SECONDS - 1)
    machine.up += 2
    assert (machine.source().rung, machine.source().code) == (Rung.CLOSED, BROKEN)
    machine.write()
    machine.up += 1
    assert machine.source().rung is Rung.FRESH


def test_the_file_is_looked_at_once_a_second(machine: Machine):
    """A change is seen within a second, and not sooner: every sign-in asks for the time."""
    before = machine.source()
    machine.write(issued=(NOW - timedelta(hours=1)).isoformat())
    machine.up += 0.5
    assert machine.source().age == before.age + timedelta(seconds=0.5)
    machine.up += 0.5
    assert machine.source().rung is Rung.NEAR


def test_ten_thousand_steps_of_clock_and_line():
    """Whatever the wall clock, sleep and reboots do: the rung is never better than the true age's.

    The model's true time passes while the machine is off, too; only then may the age look smaller, and then by the
    ladder's own rule the rung is one lower.
    """
    dice = random.Random(20261123)
    true, up, boot = NOW, 0.0, 0
    issued = true
    known = Reading(issued, true, up, str(boot), rebooted=False)
    for _ in range(10_000):
        step = timedelta(seconds=dice.choice((1, 40, 600, 7200, 90_000)))
        match dice.choice(("run", "sleep", "sync", "write", "reboot")):
            case "run" | "sleep":
                true, up = true + step, up + step.total_seconds()
            case "sync":
                issued = true
                known = Reading(issued, true, up, str(boot), rebooted=False)
            case "write":
                found = reckon(known, up, str(boot))
                known = Reading(issued, found.now, up, str(boot), rebooted=found.rebooted)
            case "reboot":
                true, up, boot = true + step, 0.0, boot + 1
        found = reckon(known, up, str(boot))
        assert found.now <= true, "trusted now is never ahead"
        if found.rebooted:
            assert found.rung is lower(rung_of(found.age))
        else:
            assert found.now == true
            assert found.rung is rung_of(true - issued)


LOST = {"lost": 5 * 3600.0, "lost_at": 1000.5}


def test_what_a_pause_has_lost_is_age(machine: Machine):
    """Never time: trusted now stays. It counts once a connected node would have had a newer signed time."""
    machine.write(**LOST)
    assert (machine.source().rung, machine.source().age) == (Rung.FRESH, timedelta(seconds=30))
    machine.up += LOST_SECONDS
    found = machine.source()
    assert (found.rung, found.age) == (Rung.DAY, timedelta(hours=5, seconds=30 + LOST_SECONDS))
    assert found.now == NOW + timedelta(seconds=30 + LOST_SECONDS)
    assert found.late


def test_after_a_reboot_it_counts_at_once(machine: Machine):
    """On top of the rung that the reboot costs: age never shrinks."""
    machine.write(**LOST)
    machine.up, machine.boot = 1.0, "two"
    machine.restart()
    assert machine.source().rung is Rung.DAYS


def test_a_loss_beyond_the_calendar_is_closed(machine: Machine):
    """A number that is no time closes, and raises nothing."""
    machine.write(lost=1e300, lost_at=0)
    found = machine.source()
    assert (found.rung, found.code) == (Rung.CLOSED, BROKEN)


@pytest.mark.parametrize(
    "changes",
    [
        {"lost": 5.0},
        {"lost_at": 5.0},
        {"lost": -5.0, "lost_at": 5.0},
        {"lost": 5.0, "lost_at": -5.0},
        {"lost": True, "lost_at": 5.0},
        {"lost": "5", "lost_at": 5.0},
        {"lost": float("inf"), "lost_at": 5.0},
        {"lost": float("nan"), "lost_at": 5.0},
        {"lost": 5.0, "lost_at": 5.0, "boot": None},
    ],
    ids=str,
)
def test_half_a_loss_is_closed(machine: Machine, changes: dict[str, object]):
    """Both or none, and only seconds: what cannot be read never makes the data younger."""
    machine.write(**changes)
    assert (machine.source().rung, machine.source().code) == (Rung.CLOSED, BROKEN)
