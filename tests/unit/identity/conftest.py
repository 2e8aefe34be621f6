"""Leaf certificates with any subject, extensions and alternative names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import pytest
from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ca_bridge.asn1.certificate import Certificate, parse_certificate

OIDS = {"CN": "2.5.4.3", "serialNumber": "2.5.4.5", "O": "2.5.4.10", "OU": "2.5.4.11", "title": "2.5.4.12"}
OIDS["organizationIdentifier"] = "2.5.4.97"
Leaf = Callable[..., Certificate]


@pytest.fixture(scope="session")
def leaf() -> Leaf:
    """Makes a leaf: subject as pairs, extensions as OID → value octets, san as general names."""
    key = ec.generate_private_key(ec.SECP256R1())

    def make(
        subject: list[tuple[str, str]] | None = None,
        extensions: Mapping[str, bytes] | None = None,
        san: list[x509.GeneralName] | None = None,
    ) -> Certificate:
        names = [x509.NameAttribute(x509.ObjectIdentifier(OIDS[kind]), value) for kind, value in subject or []]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(names))
            .issuer_name(x509.Name([x509.NameAttribute(x509.ObjectIdentifier("2.5.4.3"), "CA")]))
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
        )
        for oid, value in (extensions or {}).items():
            builder = builder.add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), critical=False
            )
        if san:
            builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
        return parse_certificate(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))

    return make


@pytest.fixture(scope="session")
def utf8() -> Callable[[str], bytes]:
    """The DER of a UTF8String."""
    return lambda text: bytes(core.UTF8String(text).dump())
