"""What the fuzzer calls, one function a parser: any octets in, and nothing but our own typed errors may come out.

The first octet chooses the way in: the whole parser (`cryptography` first, then ours) or one of our own decoders, which
otherwise only see what `cryptography` has let through. What is accepted must agree with `cryptography`'s reading.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from cryptography.x509 import ocsp as cryptography_ocsp

from ca_bridge.asn1 import certificate as certificates
from ca_bridge.asn1 import checked_extensions
from ca_bridge.asn1 import crl as crls
from ca_bridge.asn1 import ocsp as responses
from ca_bridge.asn1.general_names import DIRECTORY, DNS, IP, MAIL, URI, GeneralName, NameConstraints
from ca_bridge.asn1.names import parse_name
from ca_bridge.crypto import cms as signed_data
from ca_bridge.crypto import signatures, sm2
from ca_bridge.crypto.challenge import Challenge
from ca_bridge.errors import CrosshallError
from ca_bridge.path.budget import Budget
from ca_bridge.path.constraints import Constraints, check, narrow
from ca_bridge.revocation.crl import CrlSet, Query, crl_status
from ca_bridge.revocation.ocsp import single_status
from ca_bridge.revocation.status import Kind
from ca_bridge.verdict.supplied import Supplied, validate
from tests import pki
from tests.conformance.resign import sm2_key
from tests.deep.chains import Link, build

AT = datetime(2026, 6, 1, tzinfo=UTC)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class _Nobody:
    """No key may sign CRLs: only scopes and times are looked at."""

    def keys(self, name: object, issuer_spki: bytes) -> tuple[tuple[bytes, str, object], ...]:
        return ()

    def trusted(self, token: object, at: datetime) -> bool:
        return False


_NOBODY = _Nobody()
_NAME = bytes.fromhex("300d310b300906035504061302434e")
_BINDING = narrow(
    Constraints(),
    NameConstraints(
        (
            GeneralName(DNS, text="example.cn"),
            GeneralName(MAIL, text=".example.cn"),
            GeneralName(URI, text=".example.cn"),
            GeneralName(IP, octets=bytes.fromhex("0a000000ff000000")),
        ),
        (GeneralName(DIRECTORY, name=parse_name(_NAME)),),
    ),
)


def certificate(data: bytes) -> None:
    """Certificates, every extension's decoder, and the validation of whatever is a certificate."""
    way, body = data[:1], data[1:]
    if way and way[0] % 2:
        decoders = list(checked_extensions._DECODERS.values())
        with suppress(CrosshallError):
            decoders[way[0] // 2 % len(decoders)][1](body)
        return
    try:
        found = certificates.parse_certificate(body)
    except CrosshallError:
        return
    theirs = x509.load_der_x509_certificate(body)
    assert found.serial == theirs.serial_number
    assert (found.not_before, found.not_after) == (theirs.not_valid_before_utc, theirs.not_valid_after_utc)
    with suppress(CrosshallError):
        check(_BINDING, found, Budget())
    with suppress(CrosshallError):
        signatures.key_kind(found.spki)
    validate(Supplied(leaf=found, anchors=(found,), pool=(found,), at=AT, anchor_constraints=True))


def crl(data: bytes) -> None:
    """CRLs, their own decoder, and look-ups of every entry."""
    way, body = data[:1], data[1:]
    if way and way[0] % 4 == 1:
        with suppress(CrosshallError):
            crls.issuing_distribution_point(body)
        return
    try:
        found = crls.parse_crl(body)
    except CrosshallError:
        return
    theirs = x509.load_der_x509_crl(body)
    assert found.count == len(theirs)
    assert (found.this_update, found.next_update) == (theirs.last_update_utc, theirs.next_update_utc)
    for at in (AT, _LAST):
        status = crl_status(Query(holder(national=False), b"", at), CrlSet.of([found]), _NOBODY, verified={})
        assert status.kind is Kind.UNKNOWN
    for number, revoked in enumerate(theirs):
        if number == 50:
            break
        with suppress(CrosshallError):
            entry = found.find(found.issuer, revoked.serial_number)
            assert found.point is not None or found.unusable or entry is not None
            assert entry is None or entry.serial == revoked.serial_number


def ocsp(data: bytes) -> None:
    """OCSP responses, and what `cryptography` says of their first answer."""
    body = data[1:]
    try:
        found = responses.parse_ocsp(body)
    except CrosshallError:
        return
    theirs = cryptography_ocsp.load_der_ocsp_response(body)
    assert found.produced_at == theirs.produced_at_utc
    assert [single.serial for single in found.singles] == [one.serial_number for one in theirs.responses]
    for single in found.singles:
        for at in (_FIRST, AT, _LAST):
            single_status(single, at)


@cache
def holder(*, national: bool) -> certificates.Certificate:
    """The holder of the CMS target: an SM2 key or a P-256 key, always the same."""
    made = build(Link(pki.name("Holder"), 30, pki.name("CA"), 31, is_ca=False, serial=7))
    old = certificates.parse_certificate(made)
    return certificates.parse_certificate(made.replace(old.spki, sm2_key(b"holder").spki)) if national else old


@cache
def asked(*, national: bool) -> Challenge:
    """What that holder was asked to sign."""
    return Challenge("https://hall.gd.localhost:8443", "A" * 22, "B" * 22, holder(national=national).spki_sha256, AT)


def cms(data: bytes) -> None:
    """CMS SignedData by a known holder over a known challenge; the first octet chooses P-256 or SM2."""
    national = bool(data[:1] and data[0] % 2)
    expected = signed_data.content(asked(national=national))
    with suppress(CrosshallError):
        signed_data.verify(data[1:], holder(national=national), expected, sm2.DEFAULT_ID)


TARGETS: Mapping[str, Callable[[bytes], None]] = {"certificate": certificate, "crl": crl, "ocsp": ocsp, "cms": cms}
