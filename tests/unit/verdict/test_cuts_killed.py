"""Rejudging after a cut, killed at any step, or cut off again meanwhile: each sign-in is reported just once."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ca_bridge.types import Verdict
from ca_bridge.verdict import cuts as module
from ca_bridge.verdict import evidence
from ca_bridge.verdict.cuts import REPORT, Cuts, Settled
from ca_bridge.verdict.snapshot import Snapshot
from tests.pki import der
from tests.unit.verdict.conftest import NOW, Federation, federation

__all__ = ["federation"]
DAYS = 2
EACH = 3
BEGAN = NOW - timedelta(days=DAYS + 1)
LATER = NOW + timedelta(hours=1)
MOST_STEPS = 80


class Cut:
    """Some days without a line: people sign in on each, and the middle one of each is revoked when it is back."""

    def __init__(self, folder: Path, federation: Federation) -> None:
        self.folder = folder
        self.federation = federation
        self.revoked: list[int] = []
        before = federation.snapshot()
        for day in range(DAYS):
            at = BEGAN + timedelta(days=day)
            for number in range(EACH):
                leaf = federation.leaf()
                verdict = before.judge(der(leaf), NOW)
                assert verdict.accepted
                self.cuts().note(before, der(leaf), replace(verdict, at=at))
                if number == 1:
                    self.revoked.append(leaf.serial_number)
        federation.crls(self.revoked)
        self.after = federation.snapshot()

    def cuts(self) -> Cuts:
        """The journal as a new process has it."""
        return Cuts(self.folder, secrets.token_bytes)

    def reported(self) -> list[int]:
        """Serial numbers, in the order of the report."""
        return [int(row.certificate_key.partition(":")[2], 16) for row in self.cuts().rows()]

    def lines(self) -> int:
        """Of the report, as it stands on the disk."""
        file = self.folder / REPORT
        return len(file.read_text().splitlines()) if file.is_file() else 0


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Whether `work`, in a process of its own, was killed before its `step`-th change of the disk."""
    child = os.fork()
    if child == 0:  # nothing of the test runner may run here
        try:
            left = step

            def dying(real: Callable[..., Any]) -> Callable[..., Any]:
                def run(*words: Any, **named: Any) -> Any:
                    nonlocal left
                    left -= 1
                    if left < 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return real(*words, **named)

                return run

            for owner, name in ((os, "fsync"), (os, "replace"), (Path, "unlink"), (os, "open")):
                setattr(owner, name, dying(getattr(owner, name)))
            module.append_line = dying(module.append_line)  # type: ignore[attr-defined]
            evidence._replace = dying(evidence._replace)  # type: ignore[assignment]
            work()
            os._exit(0)
        finally:
            os._exit(3)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def test_killed_at_every_step(tmp_path: Path, federation: Federation):
    """Each time the next process finishes: everybody judged, each refused one told once, no certificate readable."""
    folder = tmp_path / "cut"
    done = Cut(folder, federation)
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for step in range(MOST_STEPS):
        cut = object.__new__(Cut)
        cut.__dict__ = {**done.__dict__, "folder": tmp_path / f"cut-{step}"}
        for path, data in before.items():
            (cut.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (cut.folder / path).write_bytes(data)
        died = killed_at(step, lambda cut=cut: cut.cuts().settle(cut.after, LATER))  # type: ignore[misc]
        cut.cuts().settle(cut.after, LATER)
        assert cut.reported() == cut.revoked, step
        assert cut.lines() <= len(cut.revoked) * 2, step
        assert cut.cuts().waiting() == 0, step
        assert cut.cuts().settle(cut.after, LATER) == Settled(), step
        assert not any((cut.folder / "keys").iterdir()), step
        assert not any((cut.folder / "records").iterdir()), step
        if not died:
            assert step > 10
            return
    pytest.fail("it never ended by itself")


def test_killed_again_and_again(tmp_path: Path, federation: Federation):
    """A machine that dies at every round still comes to its end, and the report stays as long as it is."""
    cut = Cut(tmp_path / "cut", federation)
    rounds = 0
    while killed_at(9, lambda: cut.cuts().settle(cut.after, LATER, 1)):
        rounds += 1
        assert rounds < MOST_STEPS
    while cut.cuts().settle(cut.after, LATER, 1).judged:
        pass
    assert cut.reported() == cut.revoked
    assert cut.cuts().waiting() == 0


def test_killed_while_it_is_noted(tmp_path: Path, federation: Federation):
    """A sign-in that never was: nothing of it is judged or reported, and its key goes with its day."""
    cut = Cut(tmp_path / "cut", federation)
    leaf = federation.leaf()
    verdict = replace(cut.after.judge(der(leaf), NOW), at=BEGAN)
    step = 0
    while killed_at(step, lambda: cut.cuts().note(cut.after, der(leaf), verdict)):
        step += 1
    assert step > 2
    cut.cuts().settle(cut.after, LATER)
    assert cut.reported() == cut.revoked
    assert cut.cuts().waiting() == 0
    assert not any((cut.folder / "keys").iterdir())


class Cutting:
    """A snapshot of after the cut; while it judges for the first time the line goes again and somebody signs in."""

    def __init__(self, below: Snapshot, sign_in: Callable[[], None]) -> None:
        self._below = below
        self._sign_in: Callable[[], None] | None = sign_in

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)

    def judge(self, leaf: bytes, at: Any) -> Verdict:
        if self._sign_in is not None:
            sign_in, self._sign_in = self._sign_in, None
            sign_in()
        return self._below.judge(leaf, at)


@pytest.mark.parametrize("days", [0, DAYS - 1, DAYS + 1])
def test_cut_again_while_judging(tmp_path: Path, federation: Federation, days: int):
    """Who signs in during the second cut is judged by what comes after it, not by what came after the first."""
    cut = Cut(tmp_path / "cut", federation)
    leaf = federation.leaf()

    def sign_in() -> None:
        verdict = cut.after.judge(der(leaf), NOW)
        cut.cuts().note(cut.after, der(leaf), replace(verdict, at=BEGAN + timedelta(days=days)))

    found = cut.cuts().settle(Cutting(cut.after, sign_in), LATER)  # type: ignore[arg-type]
    assert found == Settled(DAYS * EACH, DAYS)
    assert cut.cuts().waiting() == 1
    federation.crls([*cut.revoked, leaf.serial_number])
    assert cut.cuts().settle(federation.snapshot(), LATER + timedelta(hours=1)) == Settled(1, 1)
    assert cut.reported() == [*cut.revoked, leaf.serial_number]
    assert cut.cuts().waiting() == 0


def test_a_key_whose_record_is_on_its_way_stays(tmp_path: Path, federation: Federation):
    """At midnight a worker may have written the key and not yet the record: only older keys are orphans."""
    cut = Cut(tmp_path / "cut", federation)
    day = (LATER - timedelta(days=1)).date().isoformat()
    orphan = f"{'a' * 32} {'A' * 43}=\n"
    for name in (day, (LATER - timedelta(days=2)).date().isoformat()):
        with (cut.folder / "keys" / f"{name}.keys").open("a") as keys:
            keys.write(orphan)
    cut.cuts().settle(cut.after, LATER)
    assert [path.stem for path in (cut.folder / "keys").iterdir()] == [day]
    cut.cuts().settle(cut.after, LATER + timedelta(days=2))
    assert cut.cuts().waiting() == 0


def test_two_watchers_at_once(tmp_path: Path, federation: Federation):
    """One whose lease ran out while it judged, and its successor: the report tells each sign-in once."""
    cut = Cut(tmp_path / "cut", federation)
    other = cut.cuts()
    cut.cuts().settle(Cutting(cut.after, lambda: other.settle(cut.after, LATER) and None), LATER)  # type: ignore[arg-type,func-returns-value]
    assert cut.reported() == cut.revoked
    assert cut.cuts().waiting() == 0
