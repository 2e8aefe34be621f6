"""A sign-in's transaction: bound to its browser, ten minutes, ended once; and what waits in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ca_bridge.ceremony import codes, pending, transaction
from ca_bridge.ceremony.codes import Proven
from ca_bridge.ceremony.pending import Claim, Pending
from ca_bridge.ceremony.transaction import SignInRequest, Transaction, begin, finish, mark_done, mark_refused, resume
from ca_bridge.errors import CeremonyError
from ca_bridge.store import Store
from ca_bridge.types import Capacity, Way

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
BROWSER = "b" * 43
FULL = SignInRequest(
    "keycloak",
    "https://sso.test/cb",
    "state",
    "nonce",
    "c" * 43,
    level=3,
    fresh_after=NOW - timedelta(seconds=30),
    languages=("zh-HK", "pt"),
)


@pytest.fixture
def tx(store: Store) -> Transaction:
    """A transaction that has just begun."""
    return begin(store, FULL, BROWSER, NOW)


def refused(code: str) -> pytest.RaisesExc[CeremonyError]:
    """The code that must come."""
    return pytest.RaisesExc(CeremonyError, check=lambda error: error.code == code)


def test_comes_back_as_it_was(store: Store, tx: Transaction) -> None:
    """Everything asked survives the store; the cookie itself is not kept."""
    assert resume(store, tx.id, BROWSER, NOW) == tx
    assert tx.request == FULL
    assert BROWSER not in repr(tx)


def test_needs_a_browser(store: Store) -> None:
    """A sign-in of no browser could be finished by any."""
    with refused("ceremony.no_browser"):
        begin(store, FULL, "", NOW)


@pytest.mark.parametrize("cookie", ["", "x", "b" * 42, "B" * 43, transaction.browser_hash(BROWSER)])
def test_belongs_to_its_browser(store: Store, tx: Transaction, cookie: str) -> None:
    """Another cookie, none, or the hash that the store keeps: refused, by each function that takes a cookie."""
    for step in (resume, finish):
        with refused("ceremony.other_browser"):
            step(store, tx.id, cookie, NOW)


@pytest.mark.parametrize("tx_id", ["", "x", "A" * 43, "A" * 10000, "../../x", "\x00" * 43])
def test_unknown(store: Store, tx_id: str) -> None:
    """What was never begun reads as expired: nobody learns which ids exist."""
    with refused("ceremony.expired"):
        resume(store, tx_id, BROWSER, NOW)


@pytest.mark.parametrize(("seconds", "lives"), [(0, True), (599, True), (600, False), (6000, False)])
def test_lives_ten_minutes(store: Store, tx: Transaction, seconds: int, lives: bool) -> None:
    """To the second."""
    later = NOW + timedelta(seconds=seconds)
    if lives:
        assert resume(store, tx.id, BROWSER, later) == tx
        return
    with refused("ceremony.expired"):
        resume(store, tx.id, BROWSER, later)


def test_is_handed_on_once(store: Store, tx: Transaction) -> None:
    """Done, then finished, then gone."""
    mark_done(store, tx, "sid", NOW)
    assert finish(store, tx.id, BROWSER, NOW).sid == "sid"
    with refused("ceremony.expired"):
        finish(store, tx.id, BROWSER, NOW)


def test_is_not_handed_on_before_its_end(store: Store, tx: Transaction) -> None:
    """And asking too early does not end it."""
    with refused("ceremony.unfinished"):
        finish(store, tx.id, BROWSER, NOW)
    assert resume(store, tx.id, BROWSER, NOW) == tx


def test_ends_once(store: Store, tx: Transaction) -> None:
    """Of two ends the first counts, whichever they are."""
    mark_refused(store, tx, "login_required", NOW)
    with refused("ceremony.expired"):
        mark_done(store, tx, "sid", NOW)


def test_an_end_that_nobody_knows(store: Store, tx: Transaction) -> None:
    """Only OpenID Connect's own reasons go back to a client."""
    with pytest.raises(ValueError, match="no such end"):
        mark_refused(store, tx, "because", NOW)


def test_what_waits_comes_back(store: Store, tx: Transaction) -> None:
    """Proof, choice, claims and level, and nothing once dropped."""
    kept = Pending(Proven(b"\x30\x00", Way.TOKEN, NOW), Capacity.OPERATOR, (Claim("p1:a", "gz-ca-01"),), 2)
    pending.keep(store, tx, kept)
    assert pending.load(store, tx) == kept
    pending.drop(store, tx)
    assert pending.load(store, tx) == Pending()
    with refused("ceremony.no_proof"):
        pending.proof(Pending())


def test_a_code_is_taken_even_by_the_wrong_transaction(store: Store, tx: Transaction) -> None:
    """A code that turns up in the wrong place is worth nothing afterwards either."""
    other = begin(store, FULL, BROWSER, NOW)
    code = codes.issue(store, tx, Proven(b"\x30\x00", Way.TLS, NOW), NOW)
    for wrong in (other, tx):
        with refused("ceremony.code"):
            codes.redeem(store, wrong, code)


def test_a_second_end_does_not_destroy_the_first(store: Store, tx: Transaction) -> None:
    """A double click: the second end is refused, and the sign-in that the first one ended can still go on."""
    mark_done(store, tx, "sid-1", NOW)
    for again in (lambda: mark_done(store, tx, "sid-2", NOW), lambda: mark_refused(store, tx, "login_required", NOW)):
        with refused("ceremony.expired"):
            again()
    assert finish(store, tx.id, BROWSER, NOW).sid == "sid-1"
