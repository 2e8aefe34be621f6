"""Tokens for a new person are handed out one after the other; nobody else waits."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ca_bridge.provider.newcomers import LONGEST, NEW, SPACING, wait_turn
from ca_bridge.store import Box, Store, migrate, open_store
from ca_bridge.store.people import People

PERSON, OTHER = "p1:" + "a" * 52, "p1:" + "b" * 52


@dataclass
class Time:
    """A clock that only sleeping moves."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    slept: float = 0.0
    stands: bool = field(default=False)

    def clock(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        if not self.stands:
            self.now += timedelta(seconds=seconds)


@pytest.fixture(name="time")
def _time() -> Time:
    return Time()


@pytest.fixture(name="store")
def _store(tmp_path: Path, time: Time):
    url = f"sqlite:///{tmp_path}/bridge.sqlite"
    migrate(url)
    store = open_store(url, Box(bytes(32)), time.clock)
    yield store
    store.close()


def test_the_second_waits_for_the_first(store: Store, time: Time) -> None:
    """Two answers for one new person are `SPACING` apart, three twice that."""
    people = People(store)
    people.prove(PERSON, "gd-ca-01")
    for turn in range(3):
        wait_turn(store, people, PERSON, sleep=time.sleep)
        assert time.slept == pytest.approx(turn * SPACING.total_seconds(), abs=0.06)


def test_two_new_people_do_not_wait_for_each_other(store: Store, time: Time) -> None:
    """The order is kept for each person alone."""
    people = People(store)
    for person in (PERSON, OTHER):
        people.prove(person, "gd-ca-01")
        wait_turn(store, people, person, sleep=time.sleep)
    assert time.slept == 0


def test_a_known_person_never_waits(store: Store, time: Time) -> None:
    """Seen longer ago than `NEW`, or never: no wait, however many at once."""
    people = People(store)
    people.prove(PERSON, "gd-ca-01")
    time.now += NEW + timedelta(seconds=1)
    for person in (PERSON, PERSON, PERSON, OTHER, OTHER):
        wait_turn(store, people, person, sleep=time.sleep)
    assert time.slept == 0


def test_nobody_waits_for_ever(store: Store, time: Time) -> None:
    """An answer waits `LONGEST` at the most: Keycloak would give up after five seconds."""
    people = People(store)
    people.prove(PERSON, "gd-ca-01")
    time.stands = True
    wait_turn(store, people, PERSON, sleep=time.sleep)
    wait_turn(store, people, PERSON, sleep=time.sleep)
    assert time.slept == pytest.approx(LONGEST, abs=0.06)
    assert LONGEST < 5


def test_first_seen(store: Store, time: Time) -> None:
    """The time is that of the first certificate, whatever came after; None for nobody."""
    people = People(store)
    began = time.now
    people.prove(PERSON, "gd-ca-01")
    time.now += timedelta(hours=1)
    people.prove(PERSON, "gz-ca-01")
    assert people.first_seen(PERSON) == began
    assert people.first_seen(OTHER) is None
