"""A CRL that a filter cannot stand for is asked for, waited for, and never taken for granted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ca_bridge.fetch.whole import REST, SECONDS, WholeCrls
from ca_bridge.policy.rungs import Rung
from ca_bridge.policy.trusted_time import TrustedTime
from ca_bridge.verdict.cuts import Cuts
from ca_bridge.verdict.snapshot import Snapshot
from tests.pki import NOW, Authority, der
from tests.unit.verdict.conftest import Federation, federation
from tests.unit.verdict.test_filtered import filtered

__all__ = ["federation"]


class Line:
    """A node whose bundle has a filter; time passes only while somebody sleeps."""

    def __init__(self, federation: Federation, folder: Path) -> None:
        self.federation = federation
        federation.crls([77])
        self.data = (federation.folder / "crls" / "issuing.crl").read_bytes()
        self.sha256 = filtered(federation, "issuing", federation.issuing)
        self.folder = folder / "wanted"
        self.before = self.current = federation.snapshot()
        self.now = 100.0
        self.code = ""
        self.asleep: Callable[[], None] = lambda: None
        self.whole = WholeCrls(self.folder, lambda: self.current, self.time, ticks=lambda: self.now, sleep=self.sleep)

    def time(self) -> TrustedTime:
        return TrustedTime(NOW, timedelta(0), Rung.FRESH, self.code)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.asleep()

    def bring(self) -> None:
        """What the sync agent does."""
        (self.federation.folder / "filters" / "issuing.gcs").unlink(missing_ok=True)
        self.federation.write("crls/issuing.crl", self.data)
        self.current = self.federation.snapshot()

    def look(self, serial: int = 77, **more: Any) -> Snapshot:
        return self.whole(self.before, der(self.federation.leaf(serial=serial, **more)))

    def wishes(self) -> list[str]:
        return [path.name for path in self.folder.glob("*")]


@pytest.fixture
def line(federation: Federation, tmp_path: Path) -> Line:
    """With one revoked certificate, 77."""
    return Line(federation, tmp_path)


def test_who_is_not_hit_waits_for_nothing(line: Line) -> None:
    """The snapshot as it is, and no wish."""
    assert line.look(78) is line.before
    assert (line.wishes(), line.now) == ([], 100.0)


def test_a_hit_is_answered_by_the_crl_as_soon_as_it_is_there(line: Line) -> None:
    """The verdict is the CRL's, date and reason included."""
    line.asleep = line.bring
    found = line.look()
    assert line.wishes() == [line.sha256]
    assert line.now < 100.0 + SECONDS
    verdict = found.judge(der(line.federation.leaf(serial=77)), NOW)
    assert verdict.code == "revocation.revoked"
    assert verdict.detail.startswith("revoked 2026-")


def test_a_newer_snapshot_that_is_there_already_is_taken_at_once(line: Line) -> None:
    """A watcher that goes on with an older snapshot does not wait."""
    line.bring()
    assert line.look() is line.current
    assert line.now == 100.0


def test_what_does_not_come_is_waited_for_once(line: Line) -> None:
    """Five seconds, then nobody waits for it for half a minute; the verdict stays a refusal."""
    found = line.look()
    assert line.now >= 100.0 + SECONDS
    assert found.judge(der(line.federation.leaf(serial=77)), NOW).code == "revocation.unknown"
    rested = line.now
    line.look()
    assert line.now == rested
    line.now += REST
    line.look()
    assert line.now >= rested + REST + SECONDS
    assert line.wishes() == [line.sha256]


def test_another_snapshot_that_does_not_hold_it_either_is_no_end(line: Line) -> None:
    """News of something else: the wait goes on to its end."""
    line.federation.write("denials/x.toml", b'[[deny]]\nwhy = "x"\ndomain = "zz"\n')
    line.current = line.federation.snapshot()
    assert line.look() is line.current
    assert line.now >= 100.0 + SECONDS


def test_nobody_is_asked_for_who_proves_nothing(line: Line) -> None:
    """A forged certificate with a revoked number, or no certificate: no wish, no wait."""
    forger = Authority.create("Forger")
    forged = forger.issue([("C", "CN"), ("OU", "Person"), ("CN", "x")], serial=77)
    namesake = Authority(line.federation.issuing.subject, forger.certificate, forger.key)
    for leaf in (der(forged), der(line.federation.leaf(namesake, serial=77)), b"x", b""):
        assert line.whole(line.before, leaf) is line.before
    assert (line.wishes(), line.now) == ([], 100.0)


def test_without_trusted_time_nothing_is_asked(line: Line) -> None:
    """The node is closed: nobody is judged."""
    line.code = "trust.time_missing"
    assert line.look() is line.before
    assert line.wishes() == []


def test_a_disk_that_takes_no_wish_stops_nobody(line: Line, tmp_path: Path) -> None:
    """It is logged; the verdict stays unknown."""
    line.whole = WholeCrls(
        tmp_path / "bundle" / "bundle.json", lambda: line.current, line.time, ticks=lambda: line.now, sleep=line.sleep
    )
    assert line.look().judge(der(line.federation.leaf(serial=77)), NOW).code == "revocation.unknown"


def test_a_bundle_without_filters_is_not_judged_twice(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most nodes: the answer is the snapshot, at once."""
    line.bring()
    monkeypatch.setattr(Snapshot, "judge", lambda *_: pytest.fail("judged"))
    assert line.whole(line.current, b"x") is line.current


def test_ocsp_is_laid_beside_the_newest_snapshot(line: Line) -> None:
    """Who is asked is what the CRL's snapshot says, with the caller's own wish."""
    asked: list[tuple[Snapshot, bool]] = []

    def answered(snapshot: Snapshot, leaf: bytes, *, ask: bool = True) -> Snapshot:
        asked.append((snapshot, ask))
        return snapshot

    line.bring()
    leaf = der(line.federation.leaf(serial=77))
    assert line.whole.beside(answered)(line.before, leaf, ask=False) is line.current
    assert asked == [(line.current, False)]
    assert hashlib.sha256(line.data).hexdigest() == line.sha256


def test_a_leaf_is_looked_up_at_the_time_that_is_asked_about(line: Line) -> None:
    """A sign-in of a cut, or a corpus, is judged at its own time: a certificate that is over now was not then."""
    line.asleep = line.bring
    over = {"not_before": NOW - timedelta(days=9), "not_after": NOW - timedelta(hours=1)}
    leaf = der(line.federation.leaf(serial=77, **over))
    assert line.whole(line.before, leaf) is line.before
    found = line.whole(line.before, leaf, NOW - timedelta(hours=2))
    assert found.judge(leaf, NOW - timedelta(hours=2)).code == "revocation.revoked"


def test_a_sign_in_of_a_cut_is_judged_again_by_the_crl(line: Line, tmp_path: Path) -> None:
    """What was revoked meanwhile is reported as revoked, not as unknown."""
    cuts = Cuts(tmp_path / "cuts", lambda size: b"r" * size, line.whole)
    leaf = der(line.federation.leaf(serial=77))
    good = line.before.judge(der(line.federation.leaf(serial=78)), NOW)
    cuts.note(line.before, leaf, good)
    line.asleep = line.bring
    assert cuts.settle(line.before, NOW).refused == 1
    assert [row.code for row in cuts.rows()] == ["revocation.revoked"]
