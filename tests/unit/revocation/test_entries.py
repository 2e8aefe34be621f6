"""Entries of a CRL: the packed table finds what a dictionary would, and broken entries are refused with a code."""

from __future__ import annotations

import random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.crl import ENTRIES, build, serials
from ca_bridge.asn1 import der
from ca_bridge.asn1.crl import parse_crl
from ca_bridge.asn1.crl_entries import MAX_ISSUERS, Entries, read_entries
from ca_bridge.asn1.names import Normalised, parse_name
from ca_bridge.crypto import signatures
from ca_bridge.errors import CryptoError, InputError
from tests.pki import DAY, NOW, Authority, name
from tests.pki import der as encoded

OWNER = parse_name(name("Owner").public_bytes())
TIME = b"\x17\x0d260501000000Z"


def tlv(tag: int, body: bytes) -> bytes:
    """One value, minimal length."""
    size = len(body)
    if size < 0x80:
        return bytes([tag, size]) + body
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + body


def entry(serial: int, extensions: bytes = b"", when: bytes = TIME) -> bytes:
    """One entry."""
    number = tlv(2, serial.to_bytes((serial if serial >= 0 else ~serial).bit_length() // 8 + 1, "big", signed=True))
    return tlv(0x30, number + when + extensions)


def issuer_named(text: str) -> bytes:
    """certificateIssuer as entry extensions."""
    value = tlv(0x30, tlv(0xA4, name(text).public_bytes()))
    extension = tlv(0x30, bytes.fromhex("0603551d1d") + bytes.fromhex("0101ff") + tlv(4, value))
    return tlv(0x30, extension)


def read(*entries: bytes, indirect: bool = False, owner: Normalised = OWNER.normalised) -> Entries:
    """The table of these entries; octets stand before and after them, as in a CRL."""
    data = b"\x00" + tlv(0x30, b"".join(entries)) + b"\x00\x00"
    return read_entries(data, der.read(data, 1, len(data) - 2), owner, indirect=indirect)


def test_the_table_agrees_with_a_dictionary() -> None:
    """Serials of all lengths and signs, each found with its own entry; others are not found."""
    source = random.Random(7)
    wanted = {source.getrandbits(source.randrange(1, 170)) * source.choice((1, 1, 1, -1)) for _ in range(5000)}
    table = read(*map(entry, wanted))
    assert table.count == len(wanted)
    for serial in wanted:
        found = table.find(OWNER.normalised, serial)
        assert found is not None
        assert found.serial == serial
    others = {source.getrandbits(64) for _ in range(5000)} - wanted
    assert all(table.find(OWNER.normalised, serial) is None for serial in others)
    assert table.find(parse_name(name("Other").public_bytes()).normalised, next(iter(wanted))) is None


def test_an_empty_table_finds_nothing() -> None:
    """A CRL without revokedCertificates."""
    assert read_entries(b"", None, OWNER.normalised, indirect=False).find(OWNER.normalised, 0) is None


def test_a_serial_twice_keeps_the_first() -> None:
    """A later removeFromCRL must not hide a revocation."""
    remove = bytes.fromhex("300c300a0603551d1504030a0108")
    found = read(entry(5), entry(5, remove)).find(OWNER.normalised, 5)
    assert found is not None
    assert found.reason is None


def test_an_indirect_crl_keeps_issuers_apart() -> None:
    """certificateIssuer holds for the entries after it too (RFC 5280 §5.3.3); one serial of two issuers is two."""
    reason = bytes.fromhex("300c300a0603551d1504030a0101")
    table = read(
        entry(1), entry(2, issuer_named("A")), entry(3), entry(3, issuer_named("B")), entry(1, reason), indirect=True
    )
    a, b = (parse_name(name(text).public_bytes()).normalised for text in "AB")
    expected = {(OWNER.normalised, 1), (a, 2), (a, 3), (b, 3), (b, 1)}
    asked = {(who, serial) for who in (OWNER.normalised, a, b) for serial in (1, 2, 3)}
    assert {key for key in asked if table.find(*key) is not None} == expected
    assert not table.unusable
    assert read(entry(2, issuer_named("A"))).unusable  # in a CRL that is not indirect


def test_issuers_of_one_crl_are_counted() -> None:
    """A hostile indirect CRL cannot fill the memory with names."""
    with pytest.raises(InputError, match=r"asn1\.crl"):
        read(*(entry(i, issuer_named(str(i))) for i in range(MAX_ISSUERS + 2)), indirect=True)


@pytest.mark.parametrize(
    "broken",
    [
        b"\x30\x00",
        b"\x31" + entry(5)[1:],
        tlv(0x30, tlv(2, b"") + TIME),
        tlv(0x30, tlv(2, b"\x00\x05") + TIME),
        tlv(0x30, tlv(2, b"\xff\x85") + TIME),
        tlv(0x30, tlv(2, b"\x05" * 128) + TIME),
        tlv(0x30, tlv(4, b"\x05") + TIME),
        tlv(0x30, tlv(2, b"\x05")),
        tlv(0x30, tlv(2, b"\x05") + tlv(4, b"260501000000Z")),
        tlv(0x30, tlv(2, b"\x05") + b"\x17\x0d2605"),
        entry(5, b"\x30\x00"),
        entry(5, tlv(4, b"x")),
        entry(5, bytes.fromhex("300c300a0603551d1504030a0101") + b"\x05\x00"),
        entry(5)[:-1],
        b"\x30\x81\x05" + entry(5)[2:],
        b"\x30\x84\xff\xff\xff\xff",
    ],
)
def test_broken_entries_are_refused(broken: bytes) -> None:
    """Whatever is not an entry in strict DER refuses the list, at any place in it."""
    for entries in ((broken,), (entry(1), broken), (broken, entry(1))):
        with pytest.raises(InputError, match=r"asn1\."):
            read(*entries)


def test_long_entries_are_read_like_short_ones() -> None:
    """An entry of more than 127 octets has a long length."""
    long = tlv(0x30, tlv(0x30, bytes.fromhex("06042a030405") + tlv(4, b"x" * 300)))
    table = read(entry(1), entry(-2, long), entry(1 << 150, long))
    assert all(table.find(OWNER.normalised, serial) is not None for serial in (1, -2, 1 << 150))


def test_a_broken_time_is_found_out_when_it_is_asked_for() -> None:
    """Then with a code, so that the certificate is refused."""
    with pytest.raises(InputError, match=r"asn1\.time"):
        read(entry(5, when=b"\x17\x0d260501ABCDEFZ")).find(OWNER.normalised, 5)


def test_lists_truncated_at_any_place_are_refused() -> None:
    """A CRL cut off in flight is no CRL."""
    data = encoded(Authority.create("Root").crl(range(1, 30)))
    for size in range(0, len(data), 7):
        with pytest.raises(InputError):
            parse_crl(data[:size])


def test_a_large_list_of_another_writer_agrees() -> None:
    """20,000 entries by our generator: same answers as `cryptography` gives."""
    assert ENTRIES == 1_000_000
    data = build(20_000, ec.generate_private_key(ec.SECP256R1()))
    peer, ours = x509.load_der_x509_crl(data), parse_crl(data)
    assert ours.count == len(peer) == 20_000
    for text in serials(20_000)[::997]:
        for serial in (int.from_bytes(text, "big"), int.from_bytes(text, "big") + 1):
            theirs, found = peer.get_revoked_certificate_by_serial_number(serial), ours.find(ours.issuer, serial)
            assert (theirs is None) is (found is None)
            if theirs is not None and found is not None:
                assert found.revoked_at == theirs.revocation_date_utc


def test_what_is_signed_is_what_was_read() -> None:
    """`tbs` is the signed part, octet for octet."""
    crl = Authority.create("Root").crl([1], issued=NOW - DAY)
    assert parse_crl(encoded(crl)).tbs == crl.tbs_certlist_bytes
    assert isinstance(crl.signature_hash_algorithm, hashes.SHA256)


@pytest.mark.parametrize("kind", ["rsa", "p256", "ed25519"])
def test_what_is_signed_is_verified_without_a_copy(kind: str) -> None:
    """Every family of keys takes a view of the list's octets, and refuses another one."""
    key = {
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
    }[kind]()
    algorithm = None if kind == "ed25519" else hashes.SHA256()
    builder = x509.CertificateRevocationListBuilder().issuer_name(name("Root")).last_update(NOW).next_update(NOW + DAY)
    crl = parse_crl(encoded(builder.add_extension(x509.CRLNumber(1), critical=False).sign(key, algorithm)))
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    oid, parameters = crl.signature_algorithm, crl.signature_parameters
    signatures.verify(spki, oid, parameters, crl.tbs, crl.signature, sm2_id="x")
    with pytest.raises(CryptoError):
        signatures.verify(spki, oid, parameters, crl.tbs[:-1], crl.signature, sm2_id="x")
