"""What certificates of one CA share is read once; nothing passes because something like it passed before."""

from __future__ import annotations

import pytest
from cryptography import x509

from ca_bridge.asn1.certificate import parse_certificate
from ca_bridge.errors import InputError
from tests.pki import Authority, Extension, der, usage

_GOOD_ACCESS = bytes.fromhex("3018301606082b06010505073002860a687474703a2f2f612f62")
_ACCESS = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.1")
_POLICIES = x509.ObjectIdentifier("2.5.29.32")
_GOOD_POLICY = bytes.fromhex("3007300506032a0304")


def _raw(oid: x509.ObjectIdentifier, value: bytes, *, critical: bool = False) -> Extension:
    return x509.UnrecognizedExtension(oid, value), critical


def _leaf(*extensions: Extension) -> bytes:
    return der(Authority.create("Shared").issue("x", extensions=[usage("digital_signature"), *extensions]))


@pytest.mark.parametrize("last", range(24))
def test_a_broken_octet_is_refused_or_read_anew_after_a_good_one_was_read(last: int) -> None:
    """authorityInfoAccess, which only the strict parser reads: good ones before do not let a broken one pass."""
    for _ in range(3):
        parse_certificate(_leaf(_raw(_ACCESS, _GOOD_ACCESS)))
    truncated = _GOOD_ACCESS[: last + 1]
    with pytest.raises(InputError):
        parse_certificate(_leaf(_raw(_ACCESS, truncated)))


def test_a_broken_one_is_refused_each_time() -> None:
    """A refusal is never remembered as a reading."""
    bad = _leaf(_raw(_ACCESS, b"\x30\x03\x02\x01\x01"))
    for _ in range(3):
        with pytest.raises(InputError):
            parse_certificate(bad)


def test_critical_or_not_is_part_of_what_is_remembered() -> None:
    """Two encodings of one value are two things."""
    plain = parse_certificate(_leaf(_raw(_POLICIES, _GOOD_POLICY)))
    critical = parse_certificate(_leaf(_raw(_POLICIES, _GOOD_POLICY, critical=True)))
    assert not plain.extensions["2.5.29.32"].critical
    assert critical.extensions["2.5.29.32"].critical
    assert plain.policies == critical.policies == ("1.2.3.4",)


def test_an_alternative_name_is_read_by_the_strict_parser_unless_plain() -> None:
    """A subjectAltName with an address of three octets passes our reader, not the strict one."""
    parse_certificate(_leaf(_raw(x509.ObjectIdentifier("2.5.29.17"), bytes.fromhex("300382016b"))))
    with pytest.raises(InputError):
        parse_certificate(_leaf(_raw(x509.ObjectIdentifier("2.5.29.17"), bytes.fromhex("30058703010203"))))
