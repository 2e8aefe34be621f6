"""Links between halls and the sign-outs that wait for them, on both databases."""

from __future__ import annotations

import secrets
import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa

from ca_bridge.store import Store
from ca_bridge.store.hall_logouts import CLAIM_SECONDS, LONGEST_RETRY_SECONDS, HallQueue
from ca_bridge.store.links import Arrival, Links
from ca_bridge.store.sessions import SIGNED_OUT, Opened, Sessions, SignIn
from ca_bridge.store.tables import hall_logouts, links
from ca_bridge.types import Capacity, Identity, Way
from tests.contract.conftest import Hand

CITY, OTHER = "gd/guangzhou", "gd/shenzhen"
HANDLE = "h" * 43


@pytest.fixture
def sessions(store: Store) -> Sessions:
    """Sessions that last an hour."""
    return Sessions(store, 3600)


def opened(sessions: Sessions, clock: Hand, node: str = "", handle: str = HANDLE, previous: str = "") -> Opened:
    """A session, on evidence of `node` when given."""
    signin = SignIn(
        person="p1:a",
        capacity=Capacity.CITIZEN,
        level=3,
        way=Way.ABROAD if node else Way.TOKEN,
        domain="gd",
        ca="gd-public",
        certificate_key=f"{'a' * 64}:1",
        leaf=b"leaf",
        identity=Identity(None, (), None, (Capacity.CITIZEN,)),
        auth_time=clock() - timedelta(minutes=20),
        checked_at=clock(),
        status_issued_at=None,
        signed=None if node else {"nonce": "n"},
        arrival=Arrival(node, handle, "evidence") if node else None,
    )
    return sessions.open(signin, previous)


def test_arrival_and_session_are_one(store: Store, sessions: Sessions, clock: Hand) -> None:
    """The link is there with the session, which ends with the first proof's hour; what was signed comes back."""
    session = opened(sessions, clock, CITY).session
    (link,) = Links(store).taken(CITY, clock())
    assert (link.sid, link.level, link.ended) == (session.sid, 3, None)
    assert Links(store).evidence(link.id) == "evidence"
    assert Links(store).source(session.sid) == CITY
    assert session.expires == clock() + timedelta(minutes=40)
    own = opened(sessions, clock).session
    assert own.expires == clock() + timedelta(hours=1)
    holder = sessions.holder(own.sid)
    assert holder is not None
    assert holder.signed == {"nonce": "n"}
    assert Links(store).source(own.sid) == ""


def test_the_same_handle_twice_is_refused(store: Store, sessions: Sessions, clock: Hand) -> None:
    """And no session is left behind."""
    opened(sessions, clock, CITY)
    with pytest.raises(Exception, match=r"store\."):
        opened(sessions, clock, CITY)
    assert len(sessions.live()) == 1


def test_ending_queues_each_link_once(store: Store, sessions: Sessions, clock: Hand) -> None:
    """Two given links and one taken; ending again queues nothing."""
    first = opened(sessions, clock, CITY)
    gave = Links(store)
    for node in (OTHER, OTHER):
        gave.give(node, first.session.sid, "k:1", 3, clock())
    sessions.end(first.session.sid, SIGNED_OUT)
    queue = HallQueue(store)
    assert queue.waiting() == 3
    assert set(queue.due()) == {CITY, OTHER}
    sessions.end(first.session.sid, SIGNED_OUT)
    sessions.end_told(first.session.sid)
    assert queue.waiting() == 3


def test_who_told_us_is_not_told(store: Store, sessions: Sessions, clock: Hand) -> None:
    """No echo between halls."""
    session = opened(sessions, clock, CITY).session
    Links(store).give(OTHER, session.sid, "k:1", 3, clock())
    assert Links(store).told(CITY, [HANDLE, "x" * 43]) == (session.sid,)
    assert Links(store).told(CITY, [HANDLE]) == ()
    assert sessions.end_one(session.sid, "abroad.signed_out")
    assert not sessions.end_one(session.sid, "abroad.signed_out")
    assert HallQueue(store).due() == (OTHER,)


def test_a_failed_sign_in_tells_nobody(store: Store, sessions: Sessions, clock: Hand) -> None:
    """What did not come about is no sign-out there; nor is what expired."""
    sessions.end_told(opened(sessions, clock, CITY).session.sid, halls=False)
    opened(sessions, clock, CITY, "g" * 43)
    clock.forward(3600)
    sessions.purge(clock())
    assert HallQueue(store).waiting() == 0


def test_claimed_by_one_and_again_unless_sent(store: Store, sessions: Sessions, clock: Hand) -> None:
    """Two tellers do not tell the same; what a dead one held is told later; the pauses grow to their limit."""
    sessions.end(opened(sessions, clock, CITY).session.sid, SIGNED_OUT)
    queue = HallQueue(store)
    found = []
    threads = [threading.Thread(target=lambda: found.append(queue.claim(CITY, 100))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (claimed,) = [one for one in found if one is not None]
    assert claimed.handles == (HANDLE,)
    assert queue.due() == ()
    clock.forward(CLAIM_SECONDS)
    again = queue.claim(CITY, 100)
    assert again is not None
    assert again.attempts == 2
    queue.failed(CITY, 50)
    clock.forward(LONGEST_RETRY_SECONDS - 1)
    assert queue.claim(CITY, 100) is None
    clock.forward(1)
    last = queue.claim(CITY, 100)
    assert last is not None
    queue.sent(last.ids)
    assert queue.waiting() == 0


def test_nothing_joinable_in_clear(store: Store, sessions: Sessions, clock: Hand) -> None:
    """Handle and evidence are sealed or hashed in every row."""
    handle = secrets.token_urlsafe(32)
    session = opened(sessions, clock, CITY, handle).session
    sessions.end(session.sid, SIGNED_OUT)
    with store.database.read() as connection:
        rows = [*connection.execute(sa.select(links)), *connection.execute(sa.select(hall_logouts))]
    text = " ".join(str(value) for row in rows for value in row)
    assert handle not in text
    assert "evidence" not in text
