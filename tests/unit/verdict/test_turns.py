"""What is remembered of CA certificates' status is never older than the dates that it rests on."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from ca_bridge.asn1.certificate import parse_certificate
from ca_bridge.revocation.status import Kind
from tests.pki import NOW, Authority, der, pem
from tests.unit.verdict.conftest import Federation
from tests.unit.verdict.test_crl_issuers import crl_issuer

HOUR = timedelta(hours=1)
BEFORE, GOOD_TIME, LATER = NOW - 6 * HOUR, NOW, NOW + 12 * HOUR
BEGIN, END = NOW - 2 * HOUR, NOW + 2 * HOUR
Made = Callable[[Federation], None]


def keys(*authorities: Authority) -> list[str]:
    """Their keys' hashes."""
    return [hashlib.sha256(authority.spki).hexdigest() for authority in authorities]


def listed(federation: Federation) -> None:
    """The root's CRLs are signed by a listed CRL issuer, whose certificate is short."""
    signer = crl_issuer(federation.anchor, "Root", not_before=BEGIN, not_after=END)
    federation.write("cross/signer.pem", pem(signer.certificate))
    federation.profile("root", federation.root, status={"crl_issuers": keys(signer)})
    federation.write("crls/root.crl", der(signer.crl()))


def rolled_over(federation: Federation) -> None:
    """The root's CRLs are signed by its next key, whose certificate is short."""
    sibling = federation.anchor.subordinate("Root", not_before=BEGIN, not_after=END)
    federation.write("cross/sibling.pem", pem(sibling.certificate))
    federation.profile("root", federation.root, keys=keys(federation.root, sibling))
    federation.write("crls/root.crl", der(sibling.crl()))


def above_the_sibling(federation: Federation) -> None:
    """All certificates are long, but the CRL of the CA above the next key, which makes it good, is short."""
    sibling, middle = Authority.create("Root"), federation.anchor.subordinate("Middle")
    federation.profile("root", federation.root, keys=keys(federation.root, sibling))
    federation.write("cross/middle.pem", pem(middle.certificate))
    federation.write("cross/sibling.pem", pem(middle.certify(sibling)))
    federation.write("crls/middle.crl", der(middle.crl(issued=BEGIN, until=END)))
    federation.write("crls/root.crl", der(sibling.crl()))


def short_list(federation: Federation) -> None:
    """The root's own CRL is in force for a few hours."""
    federation.write("crls/root.crl", der(federation.root.crl(issued=BEGIN, until=END)))


def with_grace(federation: Federation) -> None:
    """The root's own CRL counts for an hour after its nextUpdate."""
    federation.profile("root", federation.root, status={"grace_seconds": 3600})
    federation.write("crls/root.crl", der(federation.root.crl(issued=BEGIN, until=END - HOUR)))


@pytest.mark.parametrize("order", list(itertools.permutations((BEFORE, GOOD_TIME, LATER))))
@pytest.mark.parametrize("made", [listed, rolled_over, above_the_sibling, short_list, with_grace])
def test_a_ca_is_good_only_while_everything_behind_it_is(
    federation: Federation, made: Made, order: Sequence[datetime]
) -> None:
    """RFC 5280 §6.3.3 (f): whichever time was asked about first, a replay's too; the same snapshot answers all."""
    made(federation)
    leaf, snapshot = federation.leaf(), federation.snapshot()
    for at in order:
        code = snapshot.judge(der(leaf), at).code
        assert (code == "ok") is (at == GOOD_TIME), (at, code)
        assert at == GOOD_TIME or code.startswith("revocation.ca_"), code


@pytest.mark.parametrize("made", [listed, rolled_over, above_the_sibling, short_list, with_grace])
def test_the_last_moment_still_counts(federation: Federation, made: Made) -> None:
    """§4.1.2.5, §5.1.2.5: dates are inclusive, and the second after is outside, asked after one that was inside."""
    made(federation)
    leaf, snapshot = der(federation.leaf()), federation.snapshot()
    for end, inwards in ((END, -1), (BEGIN, 120)):  # a CRL may begin a minute ahead
        times = (end + timedelta(seconds=inwards), end, end - timedelta(seconds=inwards))
        assert [snapshot.judge(leaf, at).code == "ok" for at in times] == [True, True, False]


def test_a_key_that_may_sign_crls_lends_nothing_to_one_that_may_not(federation: Federation) -> None:
    """§6.3.3 (f): the same issuing key under a certificate without cRLSign has no CRLs of its own."""
    compiled = federation.snapshot().compiled
    root = parse_certificate(der(federation.root.certificate))
    (state,) = compiled.graph.states[root.subject.normalised]
    authority = parse_certificate(der(federation.issuing.certificate))
    assert compiled.book.authority(authority, state, NOW).kind is Kind.GOOD
    assert compiled.book.authority(authority, replace(state, can_sign_crls=False), NOW).kind is Kind.UNKNOWN
