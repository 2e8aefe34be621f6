"""A small certificate builder for tests: authorities that issue leaves, cross-certificates and CRLs, all in memory.

root = Authority.create("Root")
issuing = root.subordinate("Issuing")
leaf = issuing.issue("Somebody", extensions=[...])
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
_serials = itertools.count(1000)
Extension = tuple[x509.ExtensionType, bool]
Names = Sequence[tuple[str, str]]
_OIDS = {
    "C": x509.NameOID.COUNTRY_NAME,
    "O": x509.NameOID.ORGANIZATION_NAME,
    "OU": x509.NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": x509.NameOID.COMMON_NAME,
    "E": x509.NameOID.EMAIL_ADDRESS,
}


def name(text: str | Names) -> x509.Name:
    """A name: of a common name under O=Test, or of (type, value) pairs."""
    pairs = [("C", "CN"), ("O", "Test"), ("CN", text)] if isinstance(text, str) else text
    return x509.Name([x509.NameAttribute(_OIDS[kind], value) for kind, value in pairs])


def usage(*bits: str) -> Extension:
    """A critical keyUsage with the bits named (`digital_signature`, `key_cert_sign`, …)."""
    every = [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ]
    return x509.KeyUsage(**{bit: bit in bits for bit in every}), True


def ca(path_length: int | None = None) -> list[Extension]:
    """What makes a certificate a CA's."""
    return [(x509.BasicConstraints(ca=True, path_length=path_length), True), usage("key_cert_sign", "crl_sign")]


def policies(*oids: str) -> Extension:
    """certificatePolicies."""
    return x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(o), None) for o in oids]), False


def mappings(pairs: Iterable[tuple[str, str]]) -> Extension:
    """policyMappings, written by hand: `cryptography` has no class for it."""
    entries = b"".join(_sequence(_oid(a) + _oid(b)) for a, b in pairs)
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.33"), _sequence(entries)), True


def _oid(dotted: str) -> bytes:
    return core.ObjectIdentifier(dotted).dump()


def _sequence(body: bytes) -> bytes:
    size = len(body)
    head = (
        bytes([size])
        if size < 0x80
        else bytes([0x82]) + size.to_bytes(2, "big")
        if size > 0xFF
        else bytes([0x81, size])
    )
    return b"\x30" + head + body


def eku(*oids: str) -> Extension:
    """extKeyUsage."""
    return x509.ExtendedKeyUsage([x509.ObjectIdentifier(o) for o in oids]), False


def unknown(*, critical: bool) -> Extension:
    """An extension that nobody knows."""
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00"), critical


def der(certificate: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    """Its DER."""
    return certificate.public_bytes(Encoding.DER)


def pem(certificate: x509.Certificate | x509.CertificateRevocationList) -> str:
    """Its PEM."""
    return certificate.public_bytes(Encoding.PEM).decode()


@dataclass(frozen=True)
class Authority:
    """A name and a P-256 key, with the certificate that another authority, or itself, gave it."""

    subject: x509.Name
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @staticmethod
    def create(
        text: str | Names, *, extensions: Iterable[Extension] | None = None, not_after: datetime = NOW + 365 * DAY
    ) -> Authority:
        """A root, self-signed."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = name(text)
        made = build(
            subject, key.public_key(), subject, key, ca() if extensions is None else extensions, not_after=not_after
        )
        return Authority(subject, made, key)

    def subordinate(
        self,
        text: str | Names,
        *,
        extensions: Iterable[Extension] | None = None,
        path_length: int | None = None,
        not_before: datetime = NOW - 30 * DAY,
        not_after: datetime = NOW + 365 * DAY,
    ) -> Authority:
        """A CA under this one."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = name(text)
        wanted = [*ca(path_length), *(extensions or ())]
        made = build(
            subject, key.public_key(), self.subject, self.key, wanted, not_before=not_before, not_after=not_after
        )
        return Authority(subject, made, key)

    def certify(self, other: Authority, extensions: Iterable[Extension] = ()) -> x509.Certificate:
        """A cross-certificate for another authority's name and key."""
        return build(other.subject, other.key.public_key(), self.subject, self.key, [*ca(), *extensions])

    def issue(
        self,
        text: str | Names,
        *,
        extensions: Iterable[Extension] | None = None,
        serial: int | None = None,
        not_before: datetime = NOW - 30 * DAY,
        not_after: datetime = NOW + 365 * DAY,
    ) -> x509.Certificate:
        """A leaf, by default with digitalSignature only."""
        key = ec.generate_private_key(ec.SECP256R1())
        wanted = [usage("digital_signature")] if extensions is None else extensions
        return build(
            name(text), key.public_key(), self.subject, self.key, wanted,
            serial=serial, not_before=not_before, not_after=not_after,
        )  # fmt: skip

    def crl(
        self,
        revoked: Iterable[int] = (),
        *,
        issued: datetime = NOW - DAY,
        until: datetime = NOW + DAY,
        number: int = 1,
        delta_of: int | None = None,
        reason: x509.ReasonFlags | None = None,
        extensions: Iterable[Extension] = (),
    ) -> x509.CertificateRevocationList:
        """A CRL of this authority; `delta_of`: a delta on that base."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.subject)
        builder = builder.last_update(issued).next_update(until)
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        if delta_of is not None:
            builder = builder.add_extension(x509.DeltaCRLIndicator(delta_of), critical=True)
        for value, critical in extensions:
            builder = builder.add_extension(value, critical)
        for serial in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(issued)
            if reason is not None:
                entry = entry.add_extension(x509.CRLReason(reason), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, hashes.SHA256())

    @property
    def spki(self) -> bytes:
        """Its public key."""
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def build(
    subject: x509.Name,
    public: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    extensions: Iterable[Extension],
    *,
    serial: int | None = None,
    not_before: datetime = NOW - 30 * DAY,
    not_after: datetime = NOW + 365 * DAY,
) -> x509.Certificate:
    """Any certificate."""
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
    builder = builder.serial_number(next(_serials) if serial is None else serial)
    builder = builder.not_valid_before(not_before).not_valid_after(not_after)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    return builder.sign(key, hashes.SHA256())
