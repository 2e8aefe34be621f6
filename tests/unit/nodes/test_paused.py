"""A paused machine's counting clock stands still: the wall clock betrays it, and can do no more than age the data."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca_bridge.policy.rungs import Rung, rung_of
from ca_bridge.policy.trusted_time import LOST_SECONDS, Reading, reckon
from nodes import clock
from nodes.sync import Agent, AgentSettings
from tests.unit.nodes.test_agent import Machine
from tests.unit.nodes.world import NOW, Clock, World

BOOT = "boot-1"


def looked(seconds: float, wall: datetime, boot: str = BOOT) -> tuple[clock.Machine, datetime]:
    """What a look shows."""
    return (seconds, boot), wall


@pytest.mark.parametrize("passed", [0.0, 30.0, 45.0, 3600.0])
@pytest.mark.parametrize("ahead", [-86400.0, -1.0, 0.0, 4.9])
def test_what_slewing_explains_is_no_gap(passed: float, ahead: float):
    """Nor a wall clock that runs behind: nothing ever makes the data younger."""
    assert clock.gap(looked(9.0, NOW), looked(9.0 + passed, NOW + timedelta(seconds=passed + ahead))) == 0


def test_an_hours_quickest_slewing_is_no_gap():
    """500 parts in a million."""
    wall = NOW + timedelta(seconds=86400 * (1 + clock.SLEW) + clock.STEP - 0.1)
    assert clock.gap(looked(0.0, NOW), looked(86400.0, wall)) == 0


def test_a_pause_is_a_gap():
    """Wholly, once it is more than slewing explains."""
    assert clock.gap(looked(9.0, NOW), looked(39.0, NOW + timedelta(seconds=630))) == 600


def test_sleep_is_none():
    """CLOCK_BOOTTIME runs through it."""
    assert clock.gap(looked(9.0, NOW), looked(36009.0, NOW + timedelta(hours=10))) == 0


def test_a_reboot_is_none():
    """It costs a rung by itself."""
    assert clock.gap(looked(9.0, NOW), looked(9.0, NOW + timedelta(days=9), "boot-2")) == 0


class Paused:
    """A city with its agent, a counting clock and a wall clock."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder, self.machine, self.wall = world, folder, Machine(), Clock()
        settings = AgentSettings("gd/guangzhou", folder / "state", folder / "bundle", (f"file:{world.public}",))
        self.agent = Agent(settings, machine=self.machine, wall=self.wall, chance=lambda: 0.5)
        self.agent._client.folder.start(world.root)

    def run(self, seconds: float, *, connected: bool = False) -> Rung:
        """Time goes by with rounds of the agent; then the rung."""
        for _ in range(round(seconds / 30)):
            self.machine.seconds += 30
            self.wall.pass_(seconds=30)
            self.world.clock.pass_(seconds=30)
            if connected:
                self.world.publisher.stamp()
            self.agent.round()
        return self.rung()

    def rung(self) -> Rung:
        """What the bridge says."""
        known = clock.load(self.folder / "state" / clock.FILE)
        assert known is not None
        return reckon(known, self.machine.seconds, self.machine.boot).rung

    def pause(self, **passed: float) -> None:
        """The hypervisor stops the machine; the wall clock is set right when it goes on."""
        self.wall.pass_(**passed)
        self.world.clock.pass_(**passed)


@pytest.fixture
def paused(world: World, tmp_path: Path) -> Paused:
    """A city that has fetched."""
    made = Paused(world, tmp_path / "city")
    world.publisher.stamp()
    made.agent.round()
    assert made.rung() is Rung.FRESH
    return made


@pytest.mark.parametrize(("hours", "rung"), [(1, Rung.NEAR), (10, Rung.DAY), (48, Rung.DAYS), (80, Rung.CLOSED)])
def test_paused_without_a_line(paused: Paused, hours: float, rung: Rung):
    """The data is as old as it is: stopping the machine must not pay."""
    paused.run(60)
    paused.pause(hours=hours)
    assert paused.run(30) is Rung.FRESH  # noticed; a connected node is about to fetch
    assert paused.run(LOST_SECONDS + 30) is rung
    paused.wall.pass_(hours=-hours)
    assert paused.run(60) is rung, "a wall clock set back gives nothing back"
    assert paused.run(60, connected=True) is Rung.FRESH


def test_paused_with_a_line(paused: Paused):
    """The next signed time is there before anything is counted: nobody's session ends."""
    paused.run(60, connected=True)
    paused.pause(hours=10)
    for _ in range(8):
        assert paused.run(30, connected=True) is Rung.FRESH


def test_a_forged_wall_clock_with_a_line(paused: Paused):
    """Set ahead by years, again and again: the node stays open, and its trusted time where it was."""
    for years in (1, 5, -3, 20):
        paused.wall.pass_(days=365 * years)
        for _ in range(5):
            assert paused.run(30, connected=True) is Rung.FRESH
    known = clock.load(paused.folder / "state" / clock.FILE)
    assert known is not None
    assert known.lost == 0
    assert abs(known.now - paused.world.clock.now) < timedelta(seconds=2)


def test_a_forged_wall_clock_without_a_line_closes_not_for_good(paused: Paused):
    """It can age the data, as whoever cuts the line can; the next signed time ends it."""
    paused.wall.pass_(days=365)
    assert paused.run(LOST_SECONDS + 60) is Rung.CLOSED
    assert paused.run(60, connected=True) is Rung.FRESH


def test_a_loss_outlives_the_agent_and_the_disks_full_round(paused: Paused, monkeypatch: pytest.MonkeyPatch):
    """What was noticed in a round that could not be written is in the next one's record; and in the file, after."""
    paused.run(60)
    paused.pause(hours=10)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(clock, "store", full)
        paused.run(30)
    paused.run(30)
    paused.agent = Agent(paused.agent._settings, machine=paused.machine, wall=paused.wall, chance=lambda: 0.5)
    assert paused.run(LOST_SECONDS + 30) is Rung.DAY


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["run", "pause", "set", "reboot", "time"]), st.integers(-400_000, 400_000), st.integers(0, 200)
    ),
    max_size=60,
)


@given(STEPS)
def test_the_wall_clock_only_ages(steps: list[tuple[str, int, int]]):
    """Whatever it does: the same trusted now and no better rung than without it, and a newer signed time clears it."""
    up, boot, wall, true = 1000.0, 1, NOW, NOW
    heard = deaf = Reading(NOW, NOW, up, str(boot), rebooted=False)
    before = looked(up, wall, str(boot))
    for what, jump, seconds in steps:
        up, wall, true = up + seconds, wall + timedelta(seconds=seconds), true + timedelta(seconds=seconds)
        if what in {"pause", "set"}:
            wall += timedelta(seconds=jump)
            true += timedelta(seconds=max(0, jump) if what == "pause" else 0)
        if what == "reboot":
            up, boot = 0.0, boot + 1
        issued = true if what == "time" else None
        now = looked(up, wall, str(boot))
        old = heard
        made = clock.advance(heard, now[0], issued, clock.gap(before, now)), clock.advance(deaf, now[0], issued)
        assert made[0] is not None
        assert made[1] is not None
        heard, deaf, before = *made, now
        assert (heard.issued, heard.now, heard.rebooted) == (deaf.issued, deaf.now, deaf.rebooted)
        assert deaf.lost == 0
        if heard.issued > old.issued:
            assert heard == deaf
        else:
            assert heard.lost >= old.lost
        for later in (0.0, LOST_SECONDS, 5000.0):
            found, bare = (reckon(one, up + later, str(boot)) for one in (heard, deaf))
            assert found.now == bare.now
            assert found.age >= bare.age
            assert list(Rung).index(found.rung) >= list(Rung).index(bare.rung)
        if not heard.rebooted:
            assert reckon(heard, up + LOST_SECONDS, str(boot)).rung is rung_of(
                heard.now + timedelta(seconds=LOST_SECONDS + heard.lost) - heard.issued
            )
