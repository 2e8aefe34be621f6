"""What the pilot keeps is bounded; an open difference and all that replays it stays."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ca_bridge.settings import Pilot
from ca_bridge.verdict import evidence as evidence_files
from ca_bridge.verdict.replay import Outcome
from ca_bridge.verdict.replay import replay as judge_again
from tests.pki import der
from tests.unit.nodes.pilots import Line, begun, tally
from tests.unit.verdict.conftest import NOW


@pytest.fixture
def line(tmp_path: Path) -> Line:
    """A city in pilot; what is in force has been so for an hour."""
    return begun(tmp_path)


class Killed:
    """Ends the process before the step of that number which changes the disk."""

    def __init__(self, patch: pytest.MonkeyPatch, step: int) -> None:
        self._left = step
        for owner, name in ((Path, "unlink"), (Path, "rename"), (shutil, "rmtree"), (evidence_files, "_replace")):
            patch.setattr(owner, name, self._before(getattr(owner, name)))

    def _before(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def run(*words: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise KeyboardInterrupt
            return real(*words, **named)

        return run


def differing(line: Line) -> bytes:
    """One more difference: good at the node, revoked at the province since long."""
    line.clock.pass_(hours=1)
    line.shadow.remember()
    line.clock.pass_(hours=1)
    leaf = line.trust.leaf()
    line.decide(der(leaf))
    line.trust.crls([leaf.serial_number])
    line.clock.pass_(minutes=-30)
    line.shadow.remember()
    line.clock.pass_(minutes=30)
    line.there_and_back()
    line.trust.crls()
    return der(leaf)


def shots(line: Line) -> int:
    """Archived bundles."""
    return sum(1 for path in (line.shadow.evidence.folder / "bundles").iterdir() if path.is_dir())


def publications(line: Line, days: int) -> None:
    """Something new each day."""
    for _ in range(days):
        line.clock.pass_(days=1)
        line.trust.crls()
        line.shadow.remember()


def later(line: Line, **passed: float) -> None:
    """Time goes by; the office prunes."""
    line.clock.pass_(**passed)
    line.new_shadow().prune(line.roster.nodes)


def test_an_open_difference_stays(line: Line):
    """However old it is: with its certificate, and with the bundle that replays it."""
    leaf = differing(line)
    publications(line, 3)
    later(line, days=400)
    shadow = line.new_shadow()
    (row,) = shadow.differences(line.row())
    assert list(shadow.leaves([row.id])) == [(row.id, leaf)]
    (kept,) = shadow.evidence.lines()
    assert judge_again(kept, shadow.evidence.key, shadow.evidence.of).outcome is Outcome.SAME
    assert shots(line) == 2  # its own, and what is in force


@pytest.mark.parametrize("stage", ["live", "trial"])
def test_a_closed_one_goes_when_it_is_old(line: Line, stage: str):
    """Certificate, key, line and bundle; before its time nothing does."""
    leaf = differing(line)
    line.stage = stage
    later(line, days=29)
    assert len(list(line.new_shadow().differences(line.row()))) == 1
    later(line, days=3)
    shadow = line.new_shadow()
    assert list(shadow.differences(line.row())) == list(shadow.evidence.lines()) == []
    assert not any((shadow.evidence.folder / "keys").iterdir())
    octets = b"".join(p.read_bytes() for p in shadow.folder.rglob("*") if p.is_file())
    assert leaf not in octets
    assert shots(line) == 1


def test_after_a_restart_nothing_is_open(line: Line):
    """What was before the pilot began anew is closed."""
    differing(line)
    line.shadow.restart(line.row())
    later(line, days=32)
    assert list(line.new_shadow().evidence.lines()) == []


def test_a_node_that_was_cut_off(line: Line):
    """It is in no roster: its differences are closed."""
    differing(line)
    line.clock.pass_(days=32)
    line.new_shadow().prune(())
    assert list(line.new_shadow().evidence.lines()) == []


def test_what_was_in_force_is_kept_for_late_sign_ins(line: Line):
    """The agreed days, by age, and what held when they began."""
    line.shadow = line.new_shadow(Pilot(keep_days=10))
    publications(line, 20)
    line.shadow.prune(line.roster.nodes)
    assert shots(line) == 11
    leaf = line.trust.leaf()
    line.decide(der(leaf))
    line.there_and_back()
    assert tally(line).equal == 1


def test_and_bounded_by_number(line: Line):
    """The newest stay; files that nobody needs any more go with their bundles."""
    line.shadow = line.new_shadow(Pilot(keep_snapshots=3))
    publications(line, 12)
    before = len(list((line.shadow.evidence.folder / "objects").iterdir()))
    line.shadow.prune(line.roster.nodes)
    assert shots(line) == 3
    objects = list((line.shadow.evidence.folder / "objects").iterdir())
    assert len(objects) < before
    for found in line.shadow.history.around(line.clock()):
        assert found.judge(der(line.trust.leaf()), NOW).accepted


def test_so_many_differences_are_recorded(line: Line):
    """A broken node fills no disk: the rest is counted alone, and says so still."""
    line.shadow = line.new_shadow(Pilot(keep_differences=2))
    line.desk = line.new_desk()
    for _ in range(4):
        differing(line)
    found = tally(line)
    assert (found.compared, found.different, found.alone) == (4, 4, 4)
    assert len(list(line.shadow.differences(line.row()))) == 2
    assert len(list(line.shadow.evidence.lines())) == 2


@pytest.mark.parametrize("step", range(12))
def test_killed_in_the_middle(line: Line, step: int, monkeypatch: pytest.MonkeyPatch):
    """What is left is whole; the next time finishes, and the open difference is replayed."""
    differing(line)
    line.decide(b"x")
    publications(line, 5)
    line.shadow.restart(line.row())
    differing(line)
    publications(line, 1)
    line.clock.pass_(days=40)
    with monkeypatch.context() as patch:
        Killed(patch, step)
        with pytest.raises(KeyboardInterrupt):
            line.new_shadow().prune(line.roster.nodes)
    line.new_shadow().prune(line.roster.nodes)
    shadow = line.new_shadow()
    (kept,) = shadow.evidence.lines()
    assert judge_again(kept, shadow.evidence.key, shadow.evidence.of).outcome is Outcome.SAME
    names = [path.name for path in shadow.evidence.folder.rglob("*")]
    assert not [name for name in names if name.startswith((".old-", ".new-"))]
    assert shots(line) == 2


def test_once_an_hour(line: Line):
    """The office asks each round."""
    differing(line)
    line.stage = "live"
    line.clock.pass_(days=40)
    shadow = line.new_shadow(Pilot(keep_days=60))
    shadow.prune(line.roster.nodes)
    line.clock.pass_(days=30, minutes=-31)
    shadow._pruned = line.clock()
    line.clock.pass_(minutes=30)
    shadow.prune(line.roster.nodes)
    assert len(list(shadow.evidence.lines())) == 1
    line.clock.pass_(minutes=31)
    shadow.prune(line.roster.nodes)
    assert list(shadow.evidence.lines()) == []


def test_what_cannot_be_pruned_stops_nothing(line: Line, monkeypatch: pytest.MonkeyPatch):
    """The office goes on taking what nodes tell."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(line.shadow.evidence, "prune", full)
    line.decide()
    line.there_and_back()
    assert tally(line).equal == 1
