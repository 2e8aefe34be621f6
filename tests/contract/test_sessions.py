"""Sessions, people, releases and logouts: the same on every database, also when two do the same at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from ca_bridge.errors import StoreError
from ca_bridge.store import Box, Store, open_store
from ca_bridge.store.logouts import GIVEN_UP, Logouts
from ca_bridge.store.people import People, Standing
from ca_bridge.store.releases import KEPT_DAYS, Releases
from ca_bridge.store.sessions import Recheck, Sessions, SignIn
from ca_bridge.types import Capacity, Identifier, IdentifierType, Identity, Organisation, Way
from tests.contract.conftest import START, Hand
from tests.contract.test_items import at_once

PERSON = "p1:" + "a" * 52
SUBJECT = "s1:" + "b" * 52
NUMBER = "440105199001011239"


def signin(person: str = PERSON, **changes: Any) -> SignIn:
    """What a ceremony hands over."""
    identity = Identity(
        "张三",
        (Identifier(IdentifierType.CN_ID, "CN", NUMBER),),
        Organisation("某公司", Identifier(IdentifierType.USCC, "CN", "91440101MA9W0Y0A0A")),
        (Capacity.CITIZEN, Capacity.OPERATOR),
    )
    values: dict[str, Any] = {
        "person": person,
        "capacity": Capacity.CITIZEN,
        "level": 3,
        "way": Way.TLS,
        "domain": "gd",
        "ca": "gd-public",
        "certificate_key": "ab:1",
        "leaf": b"leaf " + NUMBER.encode(),
        "identity": identity,
        "auth_time": START,
        "checked_at": START,
        "status_issued_at": None,
        "subjects": {"police": SUBJECT},
    }
    return SignIn(**values | changes)


@pytest.fixture
def sessions(store: Store) -> Sessions:
    """Sessions of an hour."""
    return Sessions(store, 3600)


def test_a_session_is_found_by_secret_sid_and_subject(sessions: Sessions):
    """Each gives the same session; the holder comes back as it was."""
    opened = sessions.open(signin())
    for found in (
        sessions.find(opened.secret),
        sessions.by_sid(opened.session.sid),
        sessions.by_subject("police", SUBJECT),
    ):
        assert found == opened.session
    holder = sessions.holder(opened.session.sid)
    assert holder is not None
    assert (holder.leaf, holder.identity) == (signin().leaf, signin().identity)


@pytest.mark.parametrize("secret", ["", "x", "x" * 43])
def test_another_secret_finds_nothing(sessions: Sessions, secret: str):
    """Neither an empty nor a guessed cookie."""
    sessions.open(signin())
    assert sessions.find(secret) is None


def test_a_subject_of_another_sector_finds_nothing(sessions: Sessions):
    """The index is by sector and subject together."""
    sessions.open(signin())
    assert sessions.by_subject("environment", SUBJECT) is None
    assert sessions.by_subject("police", SUBJECT[:-1]) is None


def test_the_latest_session_of_a_subject_is_found(sessions: Sessions, clock: Hand):
    """Two browsers: the one that signed in last."""
    sessions.open(signin())
    clock.forward(5)
    later = sessions.open(signin(auth_time=clock()))
    found = sessions.by_subject("police", SUBJECT)
    assert found is not None
    assert found.sid == later.session.sid


def test_renewing_keeps_the_sid_and_kills_the_old_secret(sessions: Sessions, clock: Hand):
    """Everything else is of the new sign-in: level, certificate, subjects, holder, end."""
    old = sessions.open(signin())
    clock.forward(60)
    again = signin(level=4, certificate_key="cd:2", leaf=b"other", auth_time=clock(), subjects={})
    new = sessions.open(again, old.secret)
    assert new.session.sid == old.session.sid
    assert new.session.created == old.session.created
    assert (new.session.level, new.session.certificate_key, new.session.auth_time) == (4, "cd:2", clock())
    assert new.session.expires == clock() + timedelta(hours=1)
    assert sessions.find(old.secret) is None
    assert sessions.find(new.secret) == new.session
    assert sessions.by_subject("police", SUBJECT) is None
    holder = sessions.holder(new.session.sid)
    assert holder is not None
    assert holder.leaf == b"other"


def test_a_dead_cookie_gives_a_new_sid(sessions: Sessions, clock: Hand):
    """Unknown, ended or over: a session of its own."""
    old = sessions.open(signin())
    clock.forward(3600)
    assert sessions.open(signin(), old.secret).session.sid != old.session.sid
    assert sessions.open(signin(), "x" * 43).session.sid != old.session.sid


def test_another_persons_cookie_is_refused(sessions: Sessions):
    """One browser session is one person's; nothing changes."""
    old = sessions.open(signin())
    with pytest.raises(StoreError) as refused:
        sessions.open(signin("p1:" + "z" * 52), old.secret)
    assert refused.value.code == "store.other_person"
    assert sessions.find(old.secret) == old.session
    assert len(sessions.due("h", "fresh", START)) == 1


def test_of_renewals_at_once_one_secret_lives(sessions: Sessions):
    """Eight finished sign-ins with the same cookie: whoever was first renewed it, for the rest the cookie was dead."""
    old = sessions.open(signin())
    opened = at_once(8, lambda _: sessions.open(signin(), old.secret))
    renewed = [one for one in opened if one.session.sid == old.session.sid]
    assert len(renewed) == 1
    assert all(sessions.find(one.secret) for one in opened)


def test_a_session_past_its_end_is_gone(sessions: Sessions, clock: Hand):
    """At its end, before any purge, by every way."""
    opened = sessions.open(signin())
    clock.forward(3600)
    assert sessions.find(opened.secret) is None
    assert sessions.by_sid(opened.session.sid) is None
    assert sessions.by_subject("police", SUBJECT) is None
    assert sessions.holder(opened.session.sid) is None
    assert sessions.due("h", "fresh", clock()) == ()


def test_what_lies_in_the_database_names_nobody(sessions: Sessions, store: Store):
    """No name, number, certificate or secret in any column of any table."""
    opened = sessions.open(signin())
    with store.database.read() as connection:
        for table in sa.inspect(store.database.engine).get_table_names():
            for row in connection.execute(sa.text(f"SELECT * FROM {table}")):
                raw = b"|".join(value if isinstance(value, bytes) else str(value).encode() for value in row)
                for secret in (NUMBER, "张三", "某公司", opened.secret, "91440101MA9W0Y0A0A"):
                    assert secret.encode() not in raw


def test_the_holder_opens_with_the_attribute_key_only(sessions: Sessions, url: str, clock: Hand):
    """A stolen database without `state/keys/attributes` says nothing."""
    opened = sessions.open(signin())
    stolen = open_store(url, Box(b"x" * 32), clock)
    try:
        with pytest.raises(StoreError) as refused:
            Sessions(stolen, 3600).holder(opened.session.sid)
        assert refused.value.code == "store.sealed"
    finally:
        stolen.close()


def test_ending_ends_all_of_the_person_and_queues_one_logout(sessions: Sessions, store: Store):
    """In one transaction; ending again, or what is not there, does nothing."""
    one, two = sessions.open(signin()), sessions.open(signin())
    other = sessions.open(signin("p1:" + "z" * 52, subjects={}))
    assert sessions.end(one.session.sid, "revocation.revoked") == 2
    assert sessions.end(one.session.sid, "revocation.revoked") == 0
    assert sessions.end("unknown", "x") == 0
    assert sessions.by_sid(two.session.sid) is None
    assert sessions.by_sid(other.session.sid) is not None
    (pending,) = Logouts(store).claim()
    assert (pending.person, pending.sid, pending.reason, pending.attempts) == (PERSON, "", "revocation.revoked", 1)


def test_an_end_that_keycloak_told_queues_nothing(sessions: Sessions, store: Store):
    """Only that session."""
    one, two = sessions.open(signin()), sessions.open(signin())
    assert sessions.end_told(one.session.sid)
    assert not sessions.end_told(one.session.sid)
    assert sessions.by_sid(two.session.sid) is not None
    assert Logouts(store).waiting() == 0


def test_a_refusal_ends_only_what_stands_on_that_certificate(sessions: Sessions):
    """The certificate was changed by a step-up meanwhile: nothing ends."""
    opened = sessions.open(signin())
    assert sessions.end_refused(opened.session.sid, "other:1", "x") == 0
    assert sessions.end_refused(opened.session.sid, "ab:1", "x") == 1


def test_a_recheck_counts_for_its_certificate_only(sessions: Sessions, clock: Hand):
    """Times move for a session on that certificate, not for one that changed it; one that is gone is no error."""
    opened = sessions.open(signin())
    clock.forward(10)
    sid = opened.session.sid
    sessions.rechecked(
        [Recheck(sid, "other:1", clock(), clock(), "day", "h"), Recheck("gone", "ab:1", clock(), None, "day", "h")]
    )
    assert sessions.by_sid(sid) == opened.session
    sessions.rechecked([Recheck(sid, "ab:1", clock(), clock(), "day", "h")])
    found = sessions.by_sid(sid)
    assert found is not None
    assert (found.checked_at, found.status_issued_at, found.rung) == (clock(), clock(), "day")


def test_due_are_those_of_another_snapshot_and_those_of_long_ago(sessions: Sessions, clock: Hand):
    """And no other: neither what the present snapshot judged just now nor what is over."""
    old = sessions.open(signin(snapshot="h1")).session
    new = sessions.open(signin(snapshot="h2")).session
    assert sessions.due("h2", "fresh", START - timedelta(seconds=1)) == (replace(old, subjects={}),)
    assert {one.sid for one in sessions.due("h2", "fresh", START)} == {old.sid, new.sid}
    clock.forward(3600)
    assert sessions.due("h3", "fresh", clock()) == ()


def test_pages_of_due_sessions_hold_each_once(sessions: Sessions):
    """The watcher's way through them."""
    sids = {sessions.open(signin()).session.sid for _ in range(7)}
    seen: list[str] = []
    while page := sessions.due("h", "fresh", START, seen[-1] if seen else "", 3):
        seen += [session.sid for session in page]
    assert len(seen) == 7
    assert set(seen) == sids


def test_purging_sessions_queues_their_logout_by_sid(sessions: Sessions, store: Store, clock: Hand):
    """What is over ends at Keycloak too; what is not stays."""
    over = sessions.open(signin())
    clock.forward(1800)
    sessions.open(signin())
    clock.forward(1800)
    assert sessions.purge(clock()) == 1
    (pending,) = Logouts(store).claim()
    assert (pending.sid, pending.reason) == (over.session.sid, "expired")
    assert len(sessions.due("h", "fresh", START)) == 1


def test_a_logout_is_one_callers_at_a_time(sessions: Sessions, store: Store, clock: Hand):
    """Of eight at once each logout goes to one; who dies with it does not lose it."""
    for letter in "cdef":
        opened = sessions.open(signin("p1:" + letter * 52, subjects={}))
        sessions.end(opened.session.sid, "x")
    claimed = at_once(8, lambda _: Logouts(store).claim(1))
    ids = [one.id for batch in claimed for one in batch]
    assert len(ids) == len(set(ids)) <= 4
    clock.forward(10)
    again = Logouts(store).claim()
    assert set(ids) <= {one.id for one in again}


def test_pauses_between_tries_grow_to_half_a_minute(sessions: Sessions, store: Store, clock: Hand):
    """2, 4, 8, 16, 30, 30 seconds; after two days it is given up."""
    sessions.end(sessions.open(signin()).session.sid, "x")
    logouts = Logouts(store)
    for pause in (2, 4, 8, 16, 30, 30):
        (pending,) = logouts.claim()
        logouts.failed(pending)
        clock.forward(pause - 1)
        assert logouts.claim() == ()
        clock.forward(1)
    assert logouts.purge(START + GIVEN_UP) == 0
    assert logouts.purge(clock() + GIVEN_UP) == 1


def test_the_first_accreditation_is_first_then_known(store: Store):
    """A new person's first certificate signs in; so does the second of the same accreditation, whatever its key."""
    people = People(store)
    assert people.prove(PERSON, "gd-ca-01") is Standing.FIRST
    assert people.prove(PERSON, "gd-ca-01") is Standing.KNOWN


def test_of_two_cas_at_once_one_is_first(store: Store):
    """Eight sign-ins of one new person by eight CAs together: one first, seven held."""
    people = People(store)
    stands = at_once(8, lambda index: people.prove(PERSON, f"ca-{index}"))
    assert sorted(stands) == [Standing.FIRST] + [Standing.HELD] * 7
    assert len(people.known(PERSON)) == 1
    assert len(people.held(PERSON)) == 7


def test_another_ca_is_held_until_confirmed(store: Store):
    """Held again at each try; confirmed by the earlier credential or an officer, once."""
    people = People(store)
    people.prove(PERSON, "gd-ca-01")
    assert people.prove(PERSON, "gz-ca-01") is Standing.HELD
    assert people.prove(PERSON, "gz-ca-01") is Standing.HELD
    assert people.held(PERSON) == {"gz-ca-01"}
    for by in ("gz-ca-01", "unknown", ""):
        assert not people.confirm(PERSON, "gz-ca-01", by), "only a confirmed accreditation of the person may"
    assert people.confirm(PERSON, "gz-ca-01", "gd-ca-01")
    assert not people.confirm(PERSON, "gz-ca-01", "gd-ca-01")
    assert people.prove(PERSON, "gz-ca-01") is Standing.KNOWN
    assert people.prove(PERSON, "hk-ca-01") is Standing.HELD
    assert people.confirm(PERSON, "hk-ca-01", "officer:7")


def test_nothing_is_confirmed_that_was_not_held(store: Store):
    """Neither for an unknown person nor for a CA that never proved them."""
    people = People(store)
    assert not people.confirm(PERSON, "gd-ca-01", "officer:7")
    people.prove(PERSON, "gd-ca-01")
    assert not people.confirm(PERSON, "hk-ca-01", "officer:7")


def test_an_equivalent_ca_is_known_from_the_first(store: Store):
    """Where the province names the two equal; a held one becomes known so; equality with a held one is nothing."""
    people = People(store)
    people.prove(PERSON, "gd-ca-01")
    assert people.prove(PERSON, "mo-ca-01") is Standing.HELD
    assert people.prove(PERSON, "hk-ca-01", ["mo-ca-01"]) is Standing.HELD
    assert people.prove(PERSON, "gz-ca-01", ["gd-ca-01", "gz-ca-01"]) is Standing.EQUIVALENT
    assert people.prove(PERSON, "gz-ca-01") is Standing.KNOWN
    assert people.prove(PERSON, "mo-ca-01", ["gd-ca-01"]) is Standing.EQUIVALENT
    assert people.held(PERSON) == {"hk-ca-01"}


def test_releases_are_kept_six_months(store: Store, clock: Hand):
    """Whose, to whom, which, when; in order; gone after half a year, not before."""
    releases = Releases(store)
    releases.record(PERSON, "police", ("name", "identifiers"))
    clock.forward(86400 * KEPT_DAYS)
    releases.record(PERSON, "tax", ())
    assert [(one.window, one.attributes) for one in releases.of(PERSON)] == [
        ("police", ("name", "identifiers")),
        ("tax", ()),
    ]
    assert releases.purge(clock()) == 0
    clock.forward(1)
    assert releases.purge(clock()) == 1
    assert releases.of("p1:" + "z" * 52) == ()
