"""The strict reader of certificates, names and CRLs: what is read, and that bad bytes give our errors only."""

from __future__ import annotations

import contextlib

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from ca_bridge.asn1 import der as reader
from ca_bridge.asn1.certificate import load_certificate, parse_certificate, parse_pem
from ca_bridge.asn1.crl import parse_crl
from ca_bridge.asn1.general_names import name_constraints
from ca_bridge.asn1.names import normalise, parse_name
from ca_bridge.errors import InputError
from tests.pki import DAY, NOW, Authority, ca, der, pem, policies, unknown

ROOT = Authority.create("根 CA", extensions=[*ca(2), policies("1.2.3.4"), unknown(critical=False)])
DER = der(ROOT.certificate)
CRL = der(ROOT.crl([5, 7], reason=x509.ReasonFlags.key_compromise))


def test_fields_are_those_of_the_certificate() -> None:
    """Every field that validation uses is what the issuer wrote."""
    found = parse_certificate(DER)
    assert found.subject.get("CN") == "根 CA"
    assert found.self_issued
    assert found.basic_constraints is not None
    assert (found.basic_constraints.ca, found.basic_constraints.path_length) == (True, 2)
    assert found.key_usage == {5, 6}
    assert found.policies == ("1.2.3.4",)
    assert (found.not_before, found.not_after) == (NOW - 30 * DAY, NOW + 365 * DAY)
    assert found.spki == ROOT.spki
    assert found.version == 3


@pytest.mark.parametrize("letter", "@_*&")
def test_a_name_in_characters_that_its_type_cannot_hold_is_refused(letter: str) -> None:
    """X.680 §41.4, docs/adr/0008: refused as PrintableString, also after the same name was read as UTF8String."""
    text = f"A{letter}b"
    utf8 = der(Authority.create(text).certificate)
    assert parse_certificate(utf8).subject.get("CN") == text
    printable = utf8.replace(b"\x0c\x03" + text.encode(), b"\x13\x03" + text.encode())
    assert printable != utf8
    with pytest.raises(InputError, match=r"asn1\.certificate"):
        parse_certificate(printable)


@pytest.mark.parametrize("cut", range(0, len(DER), 7))
def test_truncated_certificates_are_refused(cut: int) -> None:
    """A certificate cut anywhere gives an asn1 error, never another exception."""
    with pytest.raises(InputError) as caught:
        parse_certificate(DER[:cut])
    assert caught.value.code.startswith("asn1.")


def test_no_mutation_raises_anything_else() -> None:
    """One octet changed at every position: accepted as another certificate, or an InputError."""
    for position in range(len(DER)):
        for value in (0x00, 0xFF, DER[position] ^ 0x01, DER[position] ^ 0x80):
            mutated = DER[:position] + bytes([value]) + DER[position + 1 :]
            with contextlib.suppress(InputError):
                parse_certificate(mutated)


def test_no_mutated_crl_raises_anything_else() -> None:
    """The same for CRLs, entries looked up as well."""
    for position in range(len(CRL)):
        for value in (0x00, 0xFF, CRL[position] ^ 0x01):
            with contextlib.suppress(InputError):
                found = parse_crl(CRL[:position] + bytes([value]) + CRL[position + 1 :])
                found.find(found.issuer, 5)


@given(st.binary(max_size=300))
def test_arbitrary_octets_are_refused(data: bytes) -> None:
    """Octets that are no certificate give an asn1 error, as certificate, as CRL and as name constraints."""
    for parse in (parse_certificate, parse_crl):
        with pytest.raises(InputError):
            parse(data)


@given(st.binary(max_size=60))
def test_name_constraints_never_fail_otherwise(data: bytes) -> None:
    """Any octets as an extension's value are read, or refused by an InputError."""
    with contextlib.suppress(InputError):
        name_constraints(data)


def test_bytes_after_the_certificate_are_refused() -> None:
    """DER is one value with nothing after it."""
    with pytest.raises(InputError):
        parse_certificate(DER + b"\x00")


def test_a_certificate_of_no_size_or_too_large_is_refused() -> None:
    """The size is looked at before anything is parsed."""
    for data in (b"", b"\x30" * ((1 << 20) + 1)):
        with pytest.raises(InputError) as caught:
            parse_certificate(data)
        assert caught.value.code == "asn1.too_large"


def test_indefinite_and_long_lengths_are_refused() -> None:
    """BER forms of the length are no DER (X.690 §10.1)."""
    for data in (b"\x30\x80\x00\x00", b"\x02\x81\x01\x05", b"\x02\x82\x00\x01\x05", b"\x1f\x01\x00"):
        with pytest.raises(InputError):
            reader.read(data, 0, len(data))


def test_integers_and_oids_must_be_minimal() -> None:
    """X.690 §8.3.2, §8.19.2."""
    for octets in (b"", b"\x00\x01", b"\xff\x80"):
        with pytest.raises(InputError):
            reader.integer(octets)
    for octets in (b"", b"\x80\x01", b"\x2a\x80"):
        with pytest.raises(InputError):
            reader.oid(octets)


def test_zero_serial_numbers_are_refused() -> None:
    """RFC 5280 §4.1.2.2 wants a positive number; zero is refused (negative ones are handled, as PKITS asks)."""
    target = ROOT.issue("Leaf", serial=1)
    changed = der(target).replace(b"\x02\x01\x01\x30", b"\x02\x01\x00\x30", 1)
    assert changed != der(target)
    with pytest.raises(InputError) as caught:
        parse_certificate(changed)
    assert caught.value.code == "asn1.serial"


def test_a_different_algorithm_outside_is_refused() -> None:
    """RFC 5280 §4.1.1.2: inner and outer signature algorithm are the same."""
    oid = bytes.fromhex("06082a8648ce3d040302")
    head, _, tail = DER.rpartition(oid)
    with pytest.raises(InputError) as caught:
        parse_certificate(head + oid[:-1] + b"\x03" + tail)
    assert caught.value.code == "asn1.algorithm_mismatch"


def test_pem_holds_exactly_one_certificate() -> None:
    """Two, none, or broken base64 are refused."""
    text = pem(ROOT.certificate)
    assert parse_pem(text).der == DER
    assert load_certificate(text.encode()).der == load_certificate(DER).der
    for wrong in ("", text + text, text.replace("MII", "M*I"), text.replace("MII", "MI", 1)):
        with pytest.raises(InputError):
            parse_pem(wrong)


def test_two_values_of_one_attribute_are_ambiguous() -> None:
    """`get` never picks one of two: what is ambiguous is refused."""
    subject = parse_certificate(der(ROOT.issue([("OU", "A"), ("OU", "B")]))).subject
    assert subject.all("OU") == ("A", "B")
    with pytest.raises(InputError):
        subject.get("OU")


@settings(max_examples=200)
@given(st.text(max_size=40))
def test_normalising_twice_changes_nothing(text: str) -> None:
    """The comparable form is a fixed point, and blind to case and runs of spaces."""
    once = normalise(text)
    assert normalise(once) == once
    assert normalise(f"  {text}  ") == once
    assert normalise(text.replace(" ", "   ")) == once


def test_string_types_do_not_matter_but_order_does() -> None:
    """RFC 5280 §7.1: PrintableString equals UTF8String and BMPString; the order of RDNs counts."""

    def rdn(tag: int, value: bytes) -> bytes:
        pair = b"\x06\x03\x55\x04\x0a" + bytes([tag, len(value)]) + value
        inner = b"\x30" + bytes([len(pair)]) + pair
        return b"\x31" + bytes([len(inner)]) + inner

    def of(*rdns: bytes) -> bytes:
        body = b"".join(rdns)
        return b"\x30" + bytes([len(body)]) + body

    printable, utf8, bmp = rdn(0x13, b"Good CA"), rdn(0x0C, b"good  ca "), rdn(0x1E, "GOOD CA".encode("utf-16-be"))
    names = {parse_name(of(value)).normalised for value in (printable, utf8, bmp)}
    assert len(names) == 1
    other = rdn(0x13, b"Other")
    assert parse_name(of(printable, other)).normalised != parse_name(of(other, printable)).normalised


def test_crl_entries_are_found_by_serial() -> None:
    """Listed serials are found with their reason, others are not."""
    found = parse_crl(CRL)
    entry = found.find(found.issuer, 7)
    assert entry is not None
    assert entry.reason == 1
    assert found.find(found.issuer, 6) is None
    assert (found.number, found.count, found.unusable) == (1, 2, "")


def test_a_crl_with_an_unknown_critical_extension_is_unusable() -> None:
    """RFC 5280 §5.2: such a CRL must not be used."""
    assert "1.3.6.1.4.1.99999.1" in parse_crl(der(ROOT.crl(extensions=[unknown(critical=True)]))).unusable
    assert parse_crl(der(ROOT.crl(extensions=[unknown(critical=False)]))).unusable == ""
