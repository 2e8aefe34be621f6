"""OCSP requests; answers signed with SM2, under a CertID of any hash (RFC 6960 §4, RFC 9654, GM/T 0009)."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from ca_bridge.asn1.certificate import parse_certificate
from ca_bridge.asn1.ocsp import parse_ocsp
from ca_bridge.crypto import sm2
from ca_bridge.crypto.der import element
from ca_bridge.errors import InputError
from ca_bridge.revocation.ocsp import OcspQuery, key_bits, ocsp_status
from ca_bridge.revocation.ocsp_request import certificate_id, request
from ca_bridge.revocation.status import Kind
from tests.pki import NOW, Authority, der

ROOT = Authority.create("Root")
LEAF = ROOT.issue("Leaf")
CERTIFICATE = parse_certificate(der(LEAF))
KEY = sm2.generate()
SM2_WITH_SM3 = bytes.fromhex("300a06082a811ccf55018375")
HASHES = ("sha1", "sha256", "sm3")


def nonce_extensions(nonce: bytes, *, critical: bool = False) -> bytes:
    """responseExtensions with a nonce."""
    oid = element(6, bytes.fromhex("2b0601050507300102"))
    flag = b"\x01\x01\xff" if critical else b""
    return element(0xA1, element(0x30, element(0x30, oid + flag + element(4, element(4, nonce)))))


def answer(
    algorithm: str = "sm3",
    *,
    status: bytes = b"\x80\x00",
    spki: bytes = KEY.spki,
    sm2_id: str = sm2.DEFAULT_ID,
    extensions: bytes = b"",
) -> bytes:
    """An answer about the leaf, as issued by `spki`, signed by the SM2 key."""
    this, until = (element(0x18, text) for text in (b"20260601110000Z", b"20260602110000Z"))
    single = element(0x30, certificate_id(CERTIFICATE, spki, algorithm) + status + this + element(0xA0, until))
    responder = element(0xA2, element(4, hashlib.sha1(key_bits(KEY.spki), usedforsecurity=False).digest()))
    tbs = element(0x30, responder + this + element(0x30, single) + extensions)
    signature = element(3, b"\x00" + sm2.sign(KEY, tbs, sm2_id))
    basic = element(0x30, tbs + SM2_WITH_SM3 + signature)
    oid = element(6, bytes.fromhex("2b0601050507300101"))
    return element(0x30, b"\x0a\x01\x00" + element(0xA0, element(0x30, oid + element(4, basic))))


def kind(data: bytes, sm2_id: str = sm2.DEFAULT_ID) -> Kind:
    """What an answer says of the leaf, as issued by the SM2 key."""
    query = OcspQuery(CERTIFICATE, KEY.spki, NOW, sm2_id, lambda _responder: False)
    return ocsp_status(query, [parse_ocsp(data)]).kind


@pytest.mark.parametrize("algorithm", HASHES)
def test_sm2_signed_answers_count_under_any_hash(algorithm: str) -> None:
    """The CertID's hash only finds the certificate; the signature is SM2 with SM3."""
    assert kind(answer(algorithm)) is Kind.GOOD
    assert kind(answer(algorithm, status=element(0xA1, element(0x18, b"20260601100000Z")))) is Kind.REVOKED
    assert kind(answer(algorithm, status=b"\x82\x00")) is Kind.UNKNOWN


def test_sm2_answers_that_do_not_count() -> None:
    """Another distinguishing ID, another key in the CertID, a changed octet."""
    assert kind(answer(sm2_id="8765432187654321")) is Kind.UNKNOWN
    assert kind(answer(), "8765432187654321") is Kind.UNKNOWN
    assert kind(answer(spki=ROOT.spki)) is Kind.UNKNOWN
    assert kind(answer(status=element(0xA1, element(0x18, b"20260601100000Z")))[:-1] + b"\x00") is Kind.UNKNOWN


@pytest.mark.parametrize("algorithm", HASHES[:2])
def test_requests_are_those_of_another_writer(algorithm: str) -> None:
    """`cryptography` builds the same octets, nonce included."""
    nonce = bytes(range(32))
    peer = ocsp.OCSPRequestBuilder().add_certificate(
        LEAF, ROOT.certificate, hashes.SHA1() if algorithm == "sha1" else hashes.SHA256()
    )
    from cryptography import x509  # noqa: PLC0415 - the one use

    built = peer.add_extension(x509.OCSPNonce(nonce), critical=False).build()
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    assert request(CERTIFICATE, ROOT.spki, nonce, algorithm) == built.public_bytes(Encoding.DER)  # type: ignore[arg-type]


def test_a_request_with_sm3_can_be_read() -> None:
    """By the strict parser of `cryptography`, serial and nonce in place."""
    loaded = ocsp.load_der_ocsp_request(request(CERTIFICATE, KEY.spki, b"x" * 32, "sm3"))
    assert loaded.serial_number == CERTIFICATE.serial
    assert loaded.extensions[0].value.nonce == b"x" * 32  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [0, 8, 31, 33])
def test_nonces_have_32_octets(size: int) -> None:
    """RFC 9654 §2.1."""
    with pytest.raises(ValueError, match="32"):
        request(CERTIFICATE, ROOT.spki, b"x" * size)


@pytest.mark.parametrize("critical", [False, True])
def test_the_nonce_of_an_answer_is_read(critical: bool) -> None:
    """1 to 128 octets; it may be critical, because it is understood."""
    assert parse_ocsp(answer()).nonce is None
    for size in (1, 32, 128):
        assert parse_ocsp(answer(extensions=nonce_extensions(b"n" * size, critical=critical))).nonce == b"n" * size


@pytest.mark.parametrize("size", [0, 129, 5000])
def test_nonces_of_other_lengths_are_refused(size: int) -> None:
    """RFC 9654 §2.1."""
    with pytest.raises(InputError):
        parse_ocsp(answer(extensions=nonce_extensions(b"n" * size)))
