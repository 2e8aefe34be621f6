"""With filters in the place of CRLs every status is what the CRLs say, or waits for the CRL that decides it.

Thousands of sets of generated CRLs: numbers that are missing, zero or fall, reasons, all scopes, partitions, deltas,
removeFromCRL, namesakes, lists from the future and stale ones; filters whose hits are true and false.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ca_bridge.asn1.certificate import Certificate, parse_certificate
from ca_bridge.asn1.crl import Crl, parse_crl
from ca_bridge.asn1.names import Name
from ca_bridge.errors import RevocationError
from ca_bridge.revocation.crl import CrlSet, Query, crl_status
from ca_bridge.revocation.status import Kind, Status
from ca_bridge.trust.filter import build, parse_filter
from ca_bridge.verdict.supplied import Supplied, validate
from tests.pki import DAY, NOW, Authority, der, usage

CASES = 4_000
OWN, SIBLING, STRANGER = Authority.create("Twin"), Authority.create("Twin"), Authority.create("Twin")
SERIALS = (1000, 1001)
REASONS = (
    None,
    x509.ReasonFlags.key_compromise,
    x509.ReasonFlags.certificate_hold,
    x509.ReasonFlags.remove_from_crl,
)
SOME = (
    frozenset({x509.ReasonFlags.key_compromise}),
    frozenset(set(x509.ReasonFlags) - {x509.ReasonFlags.unspecified, x509.ReasonFlags.remove_from_crl}),
    frozenset({x509.ReasonFlags.certificate_hold, x509.ReasonFlags.superseded}),
)
URLS = ("http://a.example/1.crl", "http://a.example/2.crl")


@dataclass(frozen=True)
class _Word:
    """The publisher's word of who signed, as a filter carries it; it may hold everything."""

    whole: str
    key: str
    sm2_id: str = "id"
    every: bool = True
    count: int = 0

    def may_hold(self, serial: int) -> bool:
        return self.every


class _Signers:
    """The issuer's own key, and a sibling that is trusted on some days."""

    def keys(self, name: Name, issuer_spki: bytes) -> Iterable[tuple[bytes, str, object]]:
        return [(issuer_spki, "id", None), (SIBLING.spki, "id", "sibling")]

    def trusted(self, token: object, at: datetime) -> bool:
        return token is None or at.day % 2 == 0


def _names(*urls: str) -> list[x509.GeneralName]:
    return [x509.UniformResourceIdentifier(url) for url in urls]


def _leaf(serial: int, points: list[x509.DistributionPoint] | None, *, ca: bool) -> Certificate:
    extra: list[Any] = [(x509.CRLDistributionPoints(points), False)] if points else []
    if ca:
        extra.append((x509.BasicConstraints(ca=True, path_length=None), True))
        extra.append(usage("key_cert_sign", "crl_sign"))
    else:
        extra.append(usage("digital_signature"))
    return parse_certificate(der(OWN.issue("x", serial=serial, extensions=extra)))


def _points() -> list[list[x509.DistributionPoint] | None]:
    other = [x509.DirectoryName(STRANGER.subject)]
    return [
        None,
        [x509.DistributionPoint(_names(URLS[0]), None, None, None)],
        [x509.DistributionPoint(_names(URLS[0]), None, SOME[0], None)],
        [x509.DistributionPoint(_names(url), None, some, None) for url, some in zip(URLS, SOME, strict=False)],
        [x509.DistributionPoint(_names(*URLS), None, None, None)],
        [x509.DistributionPoint(None, None, None, other)],
    ]


LEAVES = [_leaf(serial, points, ca=ca) for serial in SERIALS for points in _points() for ca in (False, True)]


def _scope(chance: random.Random) -> x509.IssuingDistributionPoint | None:
    if chance.random() < 0.5:
        return None
    flag = chance.choice(["", "user", "ca", "attribute"])
    named = chance.choice([_names(URLS[0]), _names(URLS[1])])
    return x509.IssuingDistributionPoint(
        full_name=named if not flag or chance.random() < 0.5 else None,
        relative_name=None,
        only_contains_user_certs=flag == "user",
        only_contains_ca_certs=flag == "ca",
        only_some_reasons=chance.choice([None, None, *SOME]),
        indirect_crl=chance.random() < 0.15,
        only_contains_attribute_certs=flag == "attribute",
    )


def _builder(chance: random.Random, begins: datetime) -> x509.CertificateRevocationListBuilder:
    builder = x509.CertificateRevocationListBuilder().issuer_name(OWN.subject).last_update(begins)
    for serial in {*(s for s in SERIALS if chance.random() < 0.4), *(chance.getrandbits(60) for _ in range(3))}:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(begins)
        reason = chance.choice(REASONS)
        if reason is not None:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.next_update(begins + chance.choice([1, 3, 9]) * DAY)


def _crls(chance: random.Random) -> list[tuple[Crl, Authority]]:
    """A few CRLs and who signed each."""
    found = []
    scopes = [_scope(chance) for _ in range(2)]
    for _ in range(chance.randint(1, 4)):
        number, delta = chance.choice([None, 0, 1, 2, 3]), chance.random() < 0.25
        builder = _builder(chance, NOW + chance.randint(-5, 1) * DAY)
        if number is not None:
            builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        if delta:
            builder = builder.add_extension(x509.DeltaCRLIndicator(chance.randint(0, 2)), critical=True)
        point = chance.choice(scopes)
        if point is not None:
            builder = builder.add_extension(point, critical=True)
        signer = chance.choice([OWN, OWN, OWN, SIBLING, STRANGER])
        found.append((parse_crl(der(builder.sign(signer.key, hashes.SHA256()))), signer))
    return found


def _filtered(crl: Crl, signer: Authority, *, every: bool) -> Crl:
    """The filter in the place of a CRL, when it may have one; `every`: it holds all serial numbers."""
    key = hashlib.sha256(signer.spki).hexdigest()
    try:
        made = parse_filter(build(crl, key, "id"))
    except RevocationError:
        return crl
    return replace(made, summary=_Word(crl.sha256, key)) if every else made


def _ask(query: Query, crls: Iterable[Crl]) -> Status:
    return crl_status(query, CrlSet.of(crls), _Signers(), verified={})


def test_filters_say_what_the_crls_say() -> None:
    """Equal at once or LISTED; with the CRLs that are asked for equal in the end. Never good for what is revoked."""
    chance = random.Random(6)
    seen: Counter[tuple[Kind, Kind]] = Counter()
    for _ in range(CASES):
        given = _crls(chance)
        at = NOW + timedelta(hours=chance.randint(-6 * 24, 9 * 24))
        query = Query(
            chance.choice(LEAVES), OWN.spki, at, chance.choice([timedelta(0), DAY]), numbered=chance.random() < 0.5
        )
        wholes = {crl.sha256: crl for crl, _ in given}
        expected = _ask(query, wholes.values())
        at_hand = [_filtered(crl, signer, every=chance.random() < 0.2) for crl, signer in given]
        at_hand = [crl if chance.random() < 0.8 else whole for crl, (whole, _) in zip(at_hand, given, strict=True)]
        first = status = _ask(query, at_hand)
        for _ in given:
            if status.kind is not Kind.LISTED:
                break
            brought = wholes[status.wanted]  # it lies where its filter lay, which matters between equally new ones
            at_hand = [brought if crl.summary and crl.summary.whole == brought.sha256 else crl for crl in at_hand]
            status = _ask(query, at_hand)
        assert status == expected
        assert first == expected or first.kind is Kind.LISTED
        seen[first.kind, expected.kind] += 1
    for kind in (Kind.REVOKED, Kind.GOOD, Kind.STALE, Kind.UNKNOWN):  # the cases are there that matter
        assert seen[kind, kind] > 50
        assert seen[Kind.LISTED, kind] > 5


def _crl(issuer: Authority = OWN, serials: Iterable[int] = (), **more: Any) -> Crl:
    return parse_crl(der(issuer.crl(serials, **more)))


def _one(*crls: Crl, serial: int = SERIALS[0], at: datetime = NOW) -> Status:
    return _ask(Query(LEAVES[0] if serial == SERIALS[0] else _leaf(serial, None, ca=False), OWN.spki, at), crls)


def test_a_hit_off_line_is_no_answer_and_the_crl_gives_date_and_reason() -> None:
    """LISTED names the CRL; with it at hand the entry is told exactly."""
    whole = _crl(serials=[SERIALS[0]], reason=x509.ReasonFlags.key_compromise)
    found = _filtered(whole, OWN, every=False)
    status = _one(found)
    assert (status.kind, status.wanted) == (Kind.LISTED, whole.sha256)
    exact = _one(found, whole)
    assert exact.kind is Kind.REVOKED
    assert exact.detail.endswith("reason 1")
    assert exact == _one(whole)


def test_another_crl_than_the_one_that_is_named_does_not_take_the_filters_place() -> None:
    """An older CRL of the same scope is out of force: it answers no hit, and a hit stays one."""
    older = _crl(issued=NOW - 2 * DAY, number=1)
    newer = _crl(serials=[SERIALS[0]], number=2)
    assert _one(_filtered(newer, OWN, every=False), older).kind is Kind.LISTED


def test_a_filter_older_than_the_crl_at_hand_says_nothing() -> None:
    """The newest of a scope counts, be it filter or CRL."""
    older, newer = _crl(serials=[SERIALS[0]], issued=NOW - 2 * DAY, number=1), _crl(number=2)
    assert _one(_filtered(older, OWN, every=False), newer).kind is Kind.GOOD
    assert _one(_filtered(older, OWN, every=True), _filtered(newer, OWN, every=False)).kind is Kind.GOOD


def test_a_filter_of_a_key_that_signs_nothing_here_says_nothing() -> None:
    """The publisher's word is of a key: a stranger's CRL passes nobody, and lists nobody."""
    for every in (False, True):
        assert _one(_filtered(_crl(STRANGER), STRANGER, every=every)).kind is Kind.UNKNOWN


def test_a_delta_decides_what_it_speaks_of() -> None:
    """What the delta names needs no look-up in the base; what it does not name does."""
    base = _filtered(_crl(serials=SERIALS, number=1, reason=x509.ReasonFlags.certificate_hold), OWN, every=False)
    lift = {"issued": NOW - DAY / 2, "number": 2, "delta_of": 1, "reason": x509.ReasonFlags.remove_from_crl}
    assert _one(base, _crl(serials=[SERIALS[0]], **lift)).kind is Kind.GOOD
    assert _one(base, _crl(serials=[SERIALS[1]], **lift)).kind is Kind.LISTED
    again = {**lift, "reason": x509.ReasonFlags.key_compromise}
    assert _one(base, _crl(serials=[SERIALS[0]], **again)).kind is Kind.REVOKED


@pytest.mark.parametrize("mode", ["require", "if-available"])
def test_a_hit_refuses_whatever_is_asked_for(mode: Any) -> None:
    """Nothing known may pass where status is asked for only if there is one; a hit is not nothing."""
    leaf, good = (OWN.issue("x", serial=serial) for serial in SERIALS)
    found = _filtered(_crl(serials=[SERIALS[0]]), OWN, every=False)
    codes = []
    for certificate in (leaf, good):
        word = replace(found, summary=_Word(found.summary.whole, found.summary.key, "1234567812345678"))  # type: ignore[union-attr]
        if certificate is good:
            word = replace(word, summary=replace(word.summary, every=False))  # type: ignore[type-var, arg-type]
        made = validate(
            Supplied(
                leaf=parse_certificate(der(certificate)),
                anchors=[parse_certificate(der(OWN.certificate))],
                at=NOW,
                crls=[word],
                revocation=mode,
            )
        )
        codes.append("ok" if made.found is not None else made.refusals[0].code)
    assert codes == ["revocation.unknown", "ok"]


def test_statuses_are_ordered_so_that_no_answer_hides_a_hit() -> None:
    """Of several answers the highest is taken: good by OCSP never wins over what a CRL may list."""
    assert list(itertools.pairwise(sorted(Kind)))[2:] == [(Kind.GOOD, Kind.LISTED), (Kind.LISTED, Kind.REVOKED)]
