"""What settles a status at a glance says what the whole procedure says, and never more than "good"."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ca_bridge.asn1.certificate import Certificate, parse_certificate
from ca_bridge.asn1.crl import Crl, parse_crl
from ca_bridge.path.state import Anchor, Inputs, State, initial_state
from ca_bridge.path.validate import DEFAULT_SM2_ID
from ca_bridge.revocation.status import Kind, Status
from ca_bridge.verdict.status import StatusBook
from tests.pki import DAY, NOW, Authority, der, usage

ISSUER, NAMESAKE = Authority.create("Settled"), Authority.create("Settled")
SERIALS = (100, 101, 102)


def _leaf(serial: int, points: Iterable[str] = ()) -> Certificate:
    names = [x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None) for url in points]
    extra = [(x509.CRLDistributionPoints(names), False)] if names else []
    return parse_certificate(der(ISSUER.issue("x", serial=serial, extensions=[usage("digital_signature"), *extra])))


LEAVES = [_leaf(serial, points) for serial in SERIALS for points in ((), ("http://a.example/1.crl",))]


def _crl(issuer: Authority, day: int, revoked: Iterable[int]) -> Crl:
    begin = NOW + day * DAY
    return parse_crl(der(issuer.crl(revoked, issued=begin, until=begin + 3 * DAY)))


def _state(authority: Authority) -> State:
    return initial_state(Anchor.of(parse_certificate(der(authority.certificate))), Inputs())


def _book(crls: Iterable[Crl]) -> StatusBook:
    return StatusBook(crls, {}, lambda _: DEFAULT_SM2_ID, {})


lists = st.lists(
    st.tuples(st.sampled_from([ISSUER, NAMESAKE]), st.integers(-4, 4), st.sets(st.sampled_from(SERIALS))), max_size=4
)
questions = st.lists(st.tuples(st.sampled_from(LEAVES), st.integers(-5 * 24, 9 * 24)), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lists, questions)
def test_a_book_that_has_answered_before_says_what_a_fresh_one_says(
    given_lists: list[tuple[Authority, int, set[int]]], asked: list[tuple[Certificate, int]]
) -> None:
    """CRLs of the issuer and of a namesake, older and newer ones, at any time, in any order of questions."""
    crls = [_crl(issuer, day, revoked) for issuer, day, revoked in given_lists]
    book, state = _book(crls), _state(ISSUER)
    for leaf, hours in asked:
        at = NOW + timedelta(hours=hours)
        assert book.leaf(leaf, state, at) == _book(crls).leaf(leaf, state, at)


def _asked(book: StatusBook, leaf: Certificate, at: datetime = NOW) -> Status:
    """The second answer, which may be one at a glance."""
    book.leaf(LEAVES[0], _state(ISSUER), NOW)
    return book.leaf(leaf, _state(ISSUER), at)


@pytest.mark.parametrize(
    ("crls", "at", "kind"),
    [
        ([_crl(ISSUER, -1, [102])], NOW, Kind.REVOKED),
        ([_crl(ISSUER, -1, [])], NOW + 3 * DAY, Kind.STALE),
        ([_crl(ISSUER, -1, [])], NOW - 2 * DAY, Kind.UNKNOWN),
        ([_crl(NAMESAKE, -1, [])], NOW, Kind.UNKNOWN),
        ([_crl(ISSUER, -1, []), _crl(ISSUER, 1, [102])], NOW + DAY, Kind.REVOKED),
        ([_crl(ISSUER, -2, [102]), _crl(ISSUER, -1, [])], NOW, Kind.GOOD),
    ],
)
def test_a_glance_is_not_longer_good_than_its_crl(crls: list[Crl], at: datetime, kind: Kind) -> None:
    """Revoked, stale, not yet in force, another key of the name, a newer CRL: asked after a good answer was learnt."""
    assert _asked(_book(crls), LEAVES[4], at).kind is kind


def test_a_state_whose_key_may_not_sign_crls_learns_nothing() -> None:
    """The same key under a certificate without cRLSign: its CRLs count for nobody (RFC 5280 §6.3.3 (f))."""
    book, state = _book([_crl(ISSUER, -1, [])]), _state(ISSUER)
    assert book.leaf(LEAVES[0], state, NOW).kind is Kind.GOOD
    assert book.leaf(LEAVES[0], replace(state, can_sign_crls=False), NOW).kind is Kind.UNKNOWN
