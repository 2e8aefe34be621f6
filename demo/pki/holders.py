"""The personas' certificates, and the files in which they hold their keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from ca_bridge.crypto.sm2 import DEFAULT_ID
from ca_bridge.files import write_atomically
from demo.personas import PIN, Persona
from demo.pki import certificates, keys
from demo.pki.authorities import Authorities, crl_url
from demo.pki.certificates import Extension, Template
from demo.pki.keys import Key

_SIGNING = ("digital_signature", "non_repudiation")


def write_holder(
    authorities: Authorities, person: Persona, folder: Path, ca_folder: Path, built: datetime
) -> tuple[Key, int]:
    """Make the persona's key, certificate and files below `folder`; returns key and serial number."""
    key, serial = keys.generate(person.key_kind), certificates.new_serial()
    leaf = issue_holder(authorities, person, key, serial, built)
    files = person.files(folder)
    above = [(ca_folder / row.file).read_text() for row in authorities.federation.root_of(person.issuer)]
    write_atomically(files.certificate, certificates.pem(leaf).encode())
    write_atomically(files.chain, "".join([certificates.pem(leaf), *above]).encode())
    if person.storage == "file":
        write_atomically(files.encrypted_key, key.pem(PIN), mode=0o600)
    if isinstance(key.private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        write_atomically(files.key, key.pem(), mode=0o600)
        write_atomically(files.pkcs12, _pkcs12(person, key.private, leaf, above), mode=0o600)
    return key, serial


def issue_holder(authorities: Authorities, person: Persona, key: Key, serial: int, built: datetime) -> bytes:
    """The persona's certificate in DER."""
    wanted, issuer = person.certificate, authorities.key(person.issuer)
    first, last = wanted.get("days", authorities.federation.leaf_days)
    template = Template(
        subject=wanted["subject"],
        issuer=authorities.row(person.issuer).subject,
        spki=key.spki,
        not_before=built + timedelta(days=first),
        not_after=built + timedelta(days=last),
        extensions=certificates.holder_extensions(
            key,
            issuer,
            usage=set(wanted.get("usage", _SIGNING)),
            extra=tuple(_extra(wanted)),
            crl_url=crl_url(person.ca),
        ),
    )
    return certificates.issue(template, issuer, serial, sm2_id=wanted.get("sm2_id", DEFAULT_ID))


def _extra(wanted: Mapping[str, Any]) -> Iterator[Extension]:
    if wanted.get("policies"):
        yield certificates.policies(wanted["policies"])
    if wanted.get("hosts"):
        yield certificates.alternative_names(wanted["hosts"])
    if wanted.get("extended_usage"):
        yield certificates.extended_usage(wanted["extended_usage"])
    for row in wanted.get("extensions", ()):
        yield certificates.private_extension(row["id"], row["value"], row.get("form", "printable"))


def _pkcs12(
    person: Persona, private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, leaf: bytes, above: list[str]
) -> bytes:
    return pkcs12.serialize_key_and_certificates(
        person.id.encode(),
        private,
        x509.load_der_x509_certificate(leaf),
        [x509.load_pem_x509_certificate(text.encode()) for text in above],
        serialization.BestAvailableEncryption(PIN.encode()),
    )
