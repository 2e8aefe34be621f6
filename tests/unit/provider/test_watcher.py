"""The watcher: what is refused now ends, at Keycloak too; what is still good is noted; one watcher at a time."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from ca_bridge.app import run_watcher
from ca_bridge.errors import PathError
from ca_bridge.provider.watcher import EVERY, LEASE_SECONDS, Round, Watcher
from ca_bridge.store import Box
from ca_bridge.trust.rules import Levels
from ca_bridge.types import IdentifierType, Way
from ca_bridge.verdict.cuts import Settled
from tests.parts.bridge import LEAF, Bridge, FakeSnapshot


def number_of(index: int) -> str:
    """A different person for each index."""
    return f"4401051990010{index:05}"


def sign_in(bridge: Bridge, index: int = 0, **changes: object):
    """A live session of person `index`."""
    sessions = bridge.parts.services.sessions
    return sessions.open(bridge.signin(number_of(index), **changes)).session


@pytest.fixture
def watcher(bridge: Bridge) -> Watcher:
    """The watcher of this bridge."""
    return Watcher(bridge.parts.services, bridge.parts.services.settings.bridge.keys / "signing")


def refuse(bridge: Bridge, index: int, code: str = "revocation.revoked") -> None:
    """A new snapshot, in which the certificate of person `index` is refused."""
    leaf = LEAF + number_of(index).encode()
    bridge.source.snapshot = FakeSnapshot(hash="b" * 64, refused={leaf: code})


def test_a_revoked_certificate_ends_its_session_at_the_next_tick(bridge: Bridge, watcher: Watcher):
    """A changed snapshot is judged at once: that person's sessions are over, Keycloak is told by `sub`; others stay."""
    bad, good = sign_in(bridge, 1), sign_in(bridge, 2)
    watcher.tick()
    refuse(bridge, 1)
    bridge.clock.forward(10)
    done = watcher.tick()
    assert (done.judged, done.ended, done.told) == (2, 1, 1)
    assert bridge.parts.services.sessions.by_sid(bad.sid) is None
    assert bridge.parts.services.sessions.by_sid(good.sid) is not None
    assert [bridge.claims(token)["sub"] for token in bridge.realm.logouts] == [bad.person]


def test_all_sessions_of_the_person_end(bridge: Bridge, watcher: Watcher):
    """Keycloak ends all by `sub`: a session kept here would be one that is signed in nowhere."""
    first = sign_in(bridge, 1)
    second = sign_in(bridge, 1, leaf=b"another certificate", certificate_key="cd:1")
    refuse(bridge, 1)
    watcher.tick()
    assert bridge.parts.services.sessions.by_sid(first.sid) is None
    assert bridge.parts.services.sessions.by_sid(second.sid) is None
    assert len(bridge.realm.logouts) == 1


def test_what_is_good_is_noted(bridge: Bridge, watcher: Watcher):
    """checked_at and status_issued_at are the new ones: the next token says so."""
    session = sign_in(bridge)
    watcher.tick()
    bridge.clock.forward(EVERY.total_seconds())
    watcher.tick()
    now = bridge.parts.services.sessions.by_sid(session.sid)
    assert now is not None
    assert now.checked_at == bridge.clock()
    assert now.status_issued_at == bridge.clock() - timedelta(minutes=1)
    assert now.auth_time == session.auth_time, "judging a certificate again is not signing in again"


def test_an_unchanged_snapshot_is_judged_every_five_minutes_only(bridge: Bridge, watcher: Watcher):
    """Certificates and CRLs run out without any change of data."""
    sign_in(bridge)
    assert watcher.tick().judged == 1
    rounds = []
    for _ in range(30):
        bridge.clock.forward(10)
        rounds.append(watcher.tick().judged)
    assert rounds == [0] * 29 + [1]


def test_a_level_that_fell_ends_the_session(bridge: Bridge, watcher: Watcher):
    """The province now gives this certificate less than the session says."""
    session = sign_in(bridge, level=3)
    bridge.source.snapshot = FakeSnapshot(hash="b" * 64, level=2)
    assert watcher.tick().ended == 1
    assert bridge.parts.services.sessions.by_sid(session.sid) is None


def test_a_way_that_is_worth_less_now_ends_the_session(bridge: Bridge, watcher: Watcher):
    """The province has lowered the ceiling of the ceremony: a session above it may not go on, one below it may."""
    high, low = sign_in(bridge, 1, level=3), sign_in(bridge, 2, level=2)
    bridge.source.snapshot = FakeSnapshot(hash="b" * 64, levels=Levels(ways={Way.TOKEN: 2}))
    assert watcher.tick().ended == 1
    assert bridge.parts.services.sessions.by_sid(high.sid) is None
    assert bridge.parts.services.sessions.by_sid(low.sid) is not None


def test_a_ca_that_may_not_assert_this_number_any_more(bridge: Bridge, watcher: Watcher):
    """The province takes an identifier type from a CA: whoever signed in by its word is not that person any more."""
    session = sign_in(bridge)
    bridge.source.snapshot = FakeSnapshot(hash="b" * 64, asserts=(IdentifierType.PASSPORT, IdentifierType.USCC))
    assert watcher.tick().ended == 1
    assert bridge.parts.services.sessions.by_sid(session.sid) is None


def test_one_certificate_that_breaks_the_judging_stops_nobody_else(bridge: Bridge, watcher: Watcher):
    """A fault of ours with one certificate ends its session (unknown never passes); the revoked one after it ends too.

    Else one person's certificate would keep every revocation of the node from being seen.
    """
    sessions = bridge.parts.services.sessions
    broken, revoked, good = (sign_in(bridge, index) for index in (1, 2, 3))
    refuse(bridge, 2)
    bridge.source.snapshot.faults = {LEAF + number_of(1).encode()}
    assert watcher.tick().ended == 2
    assert sessions.by_sid(broken.sid) is None
    assert sessions.by_sid(revoked.sid) is None
    assert sessions.by_sid(good.sid) is not None


def test_a_fault_in_a_tick_does_not_end_the_watching(bridge: Bridge, monkeypatch: pytest.MonkeyPatch):
    """Whatever a tick raises, the next one comes: without a watcher no revocation ends anything."""
    stop = threading.Event()
    ticks: list[int] = []

    def tick(_watcher: Watcher) -> Round:
        ticks.append(1)
        if len(ticks) > 1:
            stop.set()
        raise ValueError("not one of ours")

    monkeypatch.setattr(Watcher, "tick", tick)
    monkeypatch.setattr(stop, "wait", lambda _seconds: stop.is_set())
    run_watcher(bridge.parts.services.settings, stop)
    assert len(ticks) == 2


def test_a_step_up_meanwhile_is_not_ended_for_the_old_certificate(bridge: Bridge):
    """Judged: the old certificate. Standing now: another. The refusal is not this session's."""
    sessions = bridge.parts.services.sessions
    opened = sessions.open(bridge.signin(number_of(1)))
    old = opened.session
    sessions.open(bridge.signin(number_of(1), certificate_key="cd:1"), opened.secret)
    assert sessions.end_refused(old.sid, old.certificate_key, "revocation.revoked") == 0
    assert sessions.by_sid(old.sid) is not None
    assert bridge.realm.logouts == []


def test_more_sessions_than_a_page(bridge: Bridge, watcher: Watcher, monkeypatch: pytest.MonkeyPatch):
    """Every live session is judged, whatever the page's size."""
    monkeypatch.setattr("ca_bridge.provider.watcher.PAGE", 3)
    for index in range(10):
        sign_in(bridge, index)
    refuse(bridge, 7)
    done = watcher.tick()
    assert (done.judged, done.ended) == (10, 1)


def test_one_watcher_works_at_a_time(bridge: Bridge, watcher: Watcher):
    """The second waits; when the first is gone it takes over; the first does not work beside it."""
    other = Watcher(bridge.parts.services, bridge.parts.services.settings.bridge.keys / "signing")
    watcher.tick()
    sign_in(bridge)
    assert other.tick().judged == 0
    bridge.clock.forward(LEASE_SECONDS)
    assert other.tick().judged == 1
    sign_in(bridge, 2)
    assert watcher.tick().judged == 0, "the first has lost its lock"
    other.stop()
    assert watcher.tick().judged == 1


def test_a_sign_in_judged_by_the_old_snapshot_and_finished_after_the_change(bridge: Bridge, watcher: Watcher):
    """Revoked between the judgement and the end of the sign-in, after the watcher's round: found at the next tick."""
    before = bridge.source.snapshot.hash
    refuse(bridge, 1)
    watcher.tick()
    session = sign_in(bridge, 1, snapshot=before)
    other = sign_in(bridge, 2, snapshot=bridge.source.snapshot.hash)
    bridge.clock.forward(10)
    done = watcher.tick()
    assert (done.judged, done.ended) == (1, 1), "what the present snapshot has judged is not judged again"
    assert bridge.parts.services.sessions.by_sid(session.sid) is None
    assert bridge.parts.services.sessions.by_sid(other.sid) is not None


def test_while_keycloak_is_down_nothing_is_lost(bridge: Bridge, watcher: Watcher):
    """Revoked while Keycloak restarts: the session is over at once, Keycloak is told when it is back."""
    session = sign_in(bridge, 1)
    refuse(bridge, 1)
    bridge.realm.down = True
    assert watcher.tick().ended == 1
    assert bridge.parts.services.sessions.by_sid(session.sid) is None
    bridge.realm.down = False
    bridge.clock.forward(10)
    assert watcher.tick().told == 1


def test_a_bundle_that_cannot_be_read_ends_nobody_and_keeps_nothing_from_being_told(bridge: Bridge, watcher: Watcher):
    """The fault is raised for the log; logouts that are due have been told; the next tick judges."""
    sign_in(bridge, 1)
    other = sign_in(bridge, 2)
    bridge.parts.services.sessions.end(other.sid, "signed_out")
    bridge.source.fault = PathError("trust.bundle", "hash differs")
    with pytest.raises(PathError):
        watcher.tick()
    assert len(bridge.realm.logouts) == 1
    bridge.source.fault = None
    assert watcher.tick().judged == 1


def test_a_session_that_is_over_is_logged_out_at_keycloak(bridge: Bridge, watcher: Watcher):
    """Nobody watches its certificate any more, so it must not live on there: one logout, of its sid."""
    session = sign_in(bridge)
    watcher.tick()
    bridge.clock.forward(bridge.parts.services.settings.bridge.session_seconds)
    assert watcher.tick().told == 1
    (token,) = bridge.realm.logouts
    claims = bridge.claims(token)
    assert claims["sid"] == session.sid
    assert "sub" not in claims


def test_a_session_that_cannot_be_opened_ends(bridge: Bridge, watcher: Watcher):
    """Sealed under another key (a wrong restore): it could never be judged again, so it may not go on."""
    session = sign_in(bridge)
    sessions = bridge.parts.services.sessions
    sessions._box = Box(b"x" * 32)
    assert watcher.tick().ended == 1
    assert sessions.by_sid(session.sid) is None


def test_the_watching_process_stops_when_told(bridge: Bridge):
    """run_watcher with a bundle that is absent: the fault is logged, it goes on, and ends at `stop`."""
    stop = threading.Event()
    thread = threading.Thread(target=run_watcher, args=(bridge.parts.services.settings, stop))
    thread.start()
    stop.set()
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("hours", "ended"), [(0.3, set()), (5, {"hk"}), (30, {"hk", "gd high"}), (73, {"hk", "gd high", "gd low"})]
)
def test_a_falling_rung_ends_what_it_no_longer_allows(bridge: Bridge, watcher: Watcher, hours: float, ended: set[str]):
    """At `day` sessions from across the border, at `days` those above level 2, on `closed` all; told to Keycloak."""
    sessions = bridge.parts.services.sessions
    bridge.source.snapshot = FakeSnapshot(foreign={LEAF + number_of(0).encode()})
    live = {"hk": sign_in(bridge, 0), "gd high": sign_in(bridge, 1, level=3), "gd low": sign_in(bridge, 2, level=2)}
    watcher.tick()
    assert all(sessions.by_sid(one.sid) for one in live.values())
    bridge.ladder.cut(hours=hours)
    bridge.clock.forward(10)
    watcher.tick()
    assert {name for name, one in live.items() if sessions.by_sid(one.sid) is None} == ended
    assert len(bridge.realm.logouts) == len(ended)


def test_a_live_session_has_the_rung_of_now(bridge: Bridge, watcher: Watcher):
    """It falls and rises with the node's: each change is judged at the next round, and the next token says so."""
    session = sign_in(bridge, level=2)
    for hours, rung in ((0.0, "fresh"), (2.0, "near"), (5.0, "day"), (30.0, "days"), (0.0, "fresh")):
        bridge.ladder.cut(hours=hours)
        bridge.clock.forward(10)
        watcher.tick()
        now = bridge.parts.services.sessions.by_sid(session.sid)
        assert now is not None
        assert now.rung == rung


def test_a_session_above_the_rung_opens_nothing_before_the_watcher_comes(bridge: Bridge):
    """Single sign-on asks again: a session of level 3 at a node that is cut off for a day ends when it is used."""
    client = bridge.browser()
    bridge.code(client)
    bridge.ladder.cut(hours=30)
    assert "/sign-in/" in bridge.authorize(client).location
    assert len(bridge.realm.logouts) == 1


def test_without_trusted_time_no_session_goes_on(bridge: Bridge, watcher: Watcher):
    """Nothing can be judged at no time: sessions end, with the code of the ladder."""
    session = sign_in(bridge)
    watcher.tick()
    bridge.ladder.code = "trust.time"
    bridge.clock.forward(10)
    watcher.tick()
    assert bridge.parts.services.sessions.by_sid(session.sid) is None


def test_sign_ins_of_a_cut_are_settled_when_the_line_is_back(bridge: Bridge, watcher: Watcher):
    """Not while it is cut, and by a snapshot that was looked at after the time that says so: a round later."""
    settled: list[object] = []

    class Journal:
        def settle(self, snapshot: object, at: object, limit: int) -> Settled:
            settled.append((snapshot, at))
            return Settled(1, 0)

    object.__setattr__(bridge.parts.services, "cuts", Journal())
    for hours, count in ((0, 0), (0, 1), (1, 1), (0.06, 1), (0, 1), (0, 2)):
        bridge.ladder.cut(hours=hours)
        bridge.clock.forward(10)
        watcher.tick()
        assert len(settled) == count
