"""Compact revocation: never a false no, few needless look-ups, the CRL's own head, none but a whole file is read."""

from __future__ import annotations

import hashlib
import random
import struct
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given, settings
from hypothesis import strategies as st

from ca_bridge.asn1.crl import Crl, head_of, parse_crl
from ca_bridge.errors import RevocationError
from ca_bridge.revocation.crl import signed
from ca_bridge.trust.filter import build, parse_filter
from tests.pki import NOW, Authority, der

CA = Authority.create("Filtered")
KEY = hashlib.sha256(CA.spki).hexdigest()
_SERIALS = st.sets(st.integers(1, 2**159 - 1), max_size=300)


def crl(serials: Any = (), **more: Any) -> Crl:
    """A CRL of the CA."""
    return parse_crl(der(CA.crl(serials, **more)))


def made(serials: Any = (), **more: Any) -> bytes:
    """The filter of such a CRL."""
    return build(crl(serials, **more), KEY, "id")


@settings(max_examples=60, deadline=None)
@given(_SERIALS)
def test_what_was_put_in_is_held(serials: set[int]) -> None:
    """Every serial number of the CRL is held, and the head is that of the CRL."""
    whole = crl(serials)
    found = parse_filter(build(whole, KEY, "id"))
    assert all(found.may_list(found.issuer, serial) for serial in serials)
    assert found.summary is not None
    assert (found.summary.whole, found.summary.key, found.summary.sm2_id) == (whole.sha256, KEY, "id")
    assert (found.this_update, found.next_update, found.number) == (whole.this_update, whole.next_update, whole.number)
    assert dict(found.extensions) == dict(whole.extensions)


def test_few_others_are_held_and_entries_are_small() -> None:
    """Of serial numbers that are not in the CRL hardly one is looked up; at most 2.5 octets an entry with the head."""
    chance = random.Random(1)
    serials = {chance.getrandbits(127) | 1 for _ in range(3_000)}
    data = made(serials)
    found = parse_filter(data)
    others = [chance.getrandbits(126) | 1 << 127 for _ in range(10_000)]
    assert sum(found.may_list(found.issuer, serial) for serial in others) <= 2
    assert len(data) < 2.5 * len(serials)


def test_a_filter_is_signed_by_the_key_that_it_names_alone() -> None:
    """Key and SM2 ID must be those that the publisher found; the head by itself is signed by nobody."""
    whole = crl([1, 2])
    found = parse_filter(build(whole, KEY, "id"))
    assert signed(found, CA.spki, "id")
    assert not signed(found, CA.spki, "other")
    assert not signed(found, Authority.create("Filtered").spki, "id")
    assert not signed(parse_crl(head_of(whole.der)), CA.spki, "id")
    assert found.sha256 != whole.sha256


def test_the_same_crl_makes_the_same_octets() -> None:
    """Two publishers of one CRL make one file."""
    whole = der(CA.crl([3, 1, 2]))
    assert build(parse_crl(whole), KEY, "id") == build(parse_crl(whole), KEY, "id")


def test_an_empty_crl_holds_nothing() -> None:
    """Nobody is revoked: every look-up is a miss."""
    found = parse_filter(made())
    assert not any(found.may_list(found.issuer, serial) for serial in range(100))


_POINT: dict[str, Any] = {
    "full_name": [x509.UniformResourceIdentifier("http://a.example/1.crl")],
    "relative_name": None,
    "only_contains_user_certs": False,
    "only_contains_ca_certs": False,
    "only_some_reasons": None,
    "indirect_crl": False,
    "only_contains_attribute_certs": False,
}


@pytest.mark.parametrize(
    "more",
    [
        {"delta_of": 1, "number": 2},
        {"extensions": [(x509.IssuingDistributionPoint(**{**_POINT, "indirect_crl": True}), True)]},
        {"extensions": [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)]},
    ],
)
def test_what_must_be_used_whole_has_no_filter(more: Any) -> None:
    """Deltas, indirect CRLs, and those with a critical extension that nobody knows."""
    with pytest.raises(RevocationError) as caught:
        made([1], **more)
    assert caught.value.code == "revocation.filter"


def test_of_a_filter_no_filter_is_made() -> None:
    """A head has no entries: a filter of it would say that nobody is revoked."""
    with pytest.raises(RevocationError):
        build(parse_filter(made([1])), KEY, "id")


GOOD = made(range(1, 500))
_SIZE = struct.calcsize(">16s32s32sBIII")


@pytest.mark.parametrize("cut", [0, 1, 15, 16, 80, _SIZE - 1, _SIZE, 130, 300, len(GOOD) - 1])
def test_a_cut_file_is_refused(cut: int) -> None:
    """Not one octet may be missing."""
    with pytest.raises(RevocationError) as caught:
        parse_filter(GOOD[:cut])
    assert caught.value.code == "revocation.filter"


@pytest.mark.parametrize("more", [b"\0", b"\xff", b"x" * 1000])
def test_a_longer_file_is_refused(more: bytes) -> None:
    """Nothing may follow."""
    with pytest.raises(RevocationError):
        parse_filter(GOOD + more)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_changed_octet_never_breaks_the_reader(at: int, by: int) -> None:
    """Any change is refused with the code, or read; no other fault, no look-up without an answer."""
    data = bytearray(GOOD)
    data[at] ^= by
    codes = []
    try:
        found = parse_filter(bytes(data))
        answer = found.may_list(found.issuer, 1)
    except RevocationError as error:
        codes.append(error.code)
    else:
        codes.append(str(answer))
    assert codes[0] in ("revocation.filter", "True", "False")


@pytest.mark.parametrize("name", [b"\0" * 16, b"crosshall-gcs-1\n", b"crosshall-gcs-3\n"])
def test_another_format_is_refused(name: bytes) -> None:
    """A format that this version does not know."""
    with pytest.raises(RevocationError):
        parse_filter(name + GOOD[16:])


def test_a_head_that_promises_much_allocates_nothing() -> None:
    """Counts are held against the file's length before anything is made of them."""
    data = bytearray(GOOD)
    data[_SIZE - 8 : _SIZE] = b"\xff" * 8
    with pytest.raises(RevocationError):
        parse_filter(bytes(data))


@pytest.mark.parametrize("head", ["whole", "delta", "indirect", "critical"])
def test_a_head_that_no_filter_may_have_is_refused(head: str) -> None:
    """A CRL with entries or a signature, a delta, an indirect or an unusable one in the head's place."""
    indirect = x509.IssuingDistributionPoint(**{**_POINT, "indirect_crl": True})
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    heads = {
        "whole": der(CA.crl([1])),
        "delta": head_of(der(CA.crl([1], delta_of=1, number=2))),
        "indirect": head_of(der(CA.crl([1], extensions=[(indirect, True)]))),
        "critical": head_of(der(CA.crl([1], extensions=[(unknown, True)]))),
    }
    good = made([1])
    fields = list(struct.unpack_from(">16s32s32sBIII", good))
    old = fields[4]
    shift = len(heads[head]) - old
    fields[4] += shift
    table = _SIZE + 2 + old
    offsets = [row + shift for row in struct.unpack_from(">II", good, table)]
    data = struct.pack(">16s32s32sBIII", *fields) + b"id" + heads[head] + struct.pack(">II", *offsets)
    with pytest.raises(RevocationError) as caught:
        parse_filter(data + good[table + 8 :])
    assert caught.value.code == "revocation.filter"


@pytest.mark.parametrize("day", [NOW.replace(year=1999), NOW.replace(year=2060)])
def test_the_head_of_a_list_without_extensions_reads_alike(day: Any) -> None:
    """Version 1, UTCTime and GeneralizedTime: the entries are found whatever stands around them."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(CA.subject).last_update(day)
    builder = builder.next_update(day.replace(month=12))
    entry = x509.RevokedCertificateBuilder().serial_number(77).revocation_date(day).build()
    bare = parse_crl(der(builder.add_revoked_certificate(entry).sign(CA.key, hashes.SHA256())))
    found = parse_filter(build(bare, KEY, ""))
    assert (found.this_update, found.next_update, found.number, found.count) == (day, bare.next_update, None, 1)
    assert found.may_list(found.issuer, 77)
