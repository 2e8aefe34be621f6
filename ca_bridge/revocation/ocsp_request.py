"""OCSP requests (RFC 6960 §4.1) for one certificate, with a nonce of 32 octets (RFC 9654 §2.1); not signed.

Built by hand, because the issuer's key may be SM2 and the CertID's hash SM3.
"""

from __future__ import annotations

from typing import Literal

from ca_bridge.asn1 import der
from ca_bridge.asn1.certificate import Certificate
from ca_bridge.crypto.der import NULL_VALUE, element
from ca_bridge.revocation.ocsp import HASHES, key_bits

NONCE_OCTETS = 32
_OIDS = {
    "sha1": ("1.3.14.3.2.26", "2b0e03021a"),
    "sha256": ("2.16.840.1.101.3.4.2.1", "608648016503040201"),
    "sm3": ("1.2.156.10197.1.401", "2a811ccf55018311"),
}
_NONCE = element(der.OID, bytes.fromhex("2b0601050507300102"))


def request(
    certificate: Certificate, issuer_spki: bytes, nonce: bytes, algorithm: Literal["sha1", "sha256", "sm3"] = "sha1"
) -> bytes:
    """DER of a request for `certificate`, as issued by the key `issuer_spki`. `nonce` has 32 random octets."""
    if len(nonce) != NONCE_OCTETS:
        raise ValueError(f"a nonce has {NONCE_OCTETS} octets")
    wanted = element(der.SEQUENCE, element(der.SEQUENCE, certificate_id(certificate, issuer_spki, algorithm)))
    # extnValue is an OCTET STRING around the nonce's own OCTET STRING
    inner = element(der.OCTET_STRING, element(der.OCTET_STRING, nonce))
    extensions = element(der.SEQUENCE, element(der.SEQUENCE, _NONCE + inner))
    return element(der.SEQUENCE, element(der.SEQUENCE, wanted + element(0xA2, extensions)))


def certificate_id(certificate: Certificate, issuer_spki: bytes, algorithm: str) -> bytes:
    """CertID: hashes of the issuer's name and key bits, and the serial number."""
    dotted, encoded = _OIDS[algorithm]
    digest = HASHES[dotted]
    serial = certificate.serial
    octets = serial.to_bytes((serial if serial >= 0 else ~serial).bit_length() // 8 + 1, "big", signed=True)
    return element(
        der.SEQUENCE,
        element(der.SEQUENCE, element(der.OID, bytes.fromhex(encoded)) + NULL_VALUE)
        + element(der.OCTET_STRING, digest(certificate.issuer.der))
        + element(der.OCTET_STRING, digest(key_bits(issuer_spki)))
        + element(der.INTEGER, octets),
    )
