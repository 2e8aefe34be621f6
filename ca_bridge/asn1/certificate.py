"""`Certificate`: one X.509 certificate, read strictly once, every field the validator needs decoded.

`cryptography` is the first reader: it refuses BER, duplicate extensions, wrong versions and tail bytes. Then our own
reader takes the fields out of the bytes already accepted, so that keys which it cannot load (SM2) are read as well.
"""

from __future__ import annotations

import binascii
import functools
import hashlib
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeVar

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning

from ca_bridge.asn1 import der
from ca_bridge.asn1.checked_extensions import checked_extensions
from ca_bridge.asn1.extensions import (
    AuthorityKeyIdentifier,
    BasicConstraints,
    DistributionPoint,
    Extension,
    PolicyConstraints,
)
from ca_bridge.asn1.general_names import GeneralName, NameConstraints
from ca_bridge.asn1.names import Name, parse_name, read_name
from ca_bridge.errors import CrosshallError, InputError

MAX_CERTIFICATE_OCTETS = 1 << 20
MAX_SERIAL_OCTETS = 20
T = TypeVar("T")

# Negative serial numbers and NULL parameters are reported by `cryptography` as warnings; our own rules decide on both.
warnings.filterwarnings(
    "ignore", category=CryptographyDeprecationWarning, message="(Parsed a serial|The parsed certificate)"
)


@dataclass(frozen=True, eq=False, init=False)
class Certificate:
    """A certificate whose every known extension could be decoded. Two are equal when their bytes are.

    Only `parse_certificate` makes one. It has no slots: to fill those one by one would take a tenth of reading it.
    """

    der: bytes = field(repr=False)
    tbs: bytes = field(repr=False)
    sha256: str
    """Of the whole certificate, hexadecimal: for people and paths, never an identity (signatures can be rewritten)."""
    version: int
    """1, 2 or 3."""
    serial: int
    issuer: Name = field(repr=False)
    subject: Name = field(repr=False)
    not_before: datetime
    not_after: datetime
    spki: bytes = field(repr=False)
    spki_sha256: str
    signature_algorithm: str
    """Dotted."""
    signature_parameters: bytes | None = field(repr=False)
    """DER of the algorithm's parameters; None when absent."""
    signature: bytes = field(repr=False)
    extensions: Mapping[str, Extension] = field(repr=False)
    """By dotted type, in the certificate's order."""
    basic_constraints: BasicConstraints | None = None
    key_usage: frozenset[int] | None = None
    """Bits of `extensions.KeyUsage`; None: no keyUsage extension."""
    extended_key_usage: tuple[str, ...] | None = None
    policies: tuple[str, ...] | None = None
    policy_mappings: tuple[tuple[str, str], ...] = ()
    policy_constraints: PolicyConstraints | None = None
    inhibit_any_policy: int | None = None
    name_constraints: NameConstraints | None = field(default=None, repr=False)
    alt_names: tuple[GeneralName, ...] | None = field(default=None, repr=False)
    subject_key_identifier: bytes | None = None
    authority_key_identifier: AuthorityKeyIdentifier | None = field(default=None, repr=False)
    distribution_points: tuple[DistributionPoint, ...] | None = field(default=None, repr=False)
    freshest_crl: tuple[DistributionPoint, ...] | None = field(default=None, repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.sha256)

    @property
    def tbs_sha256(self) -> str:
        """Of the part that is signed, hexadecimal: the same however the signature is written."""
        return hashlib.sha256(self.tbs).hexdigest()

    @property
    def self_issued(self) -> bool:
        """Issuer and subject are one name (RFC 5280 §6.1: not the same as self-signed)."""
        return self.issuer.normalised == self.subject.normalised

    @property
    def is_ca(self) -> bool:
        """basicConstraints says cA."""
        return self.basic_constraints is not None and self.basic_constraints.ca

    def extension(self, oid: str) -> bytes | None:
        """DER value of an extension, None when absent."""
        found = self.extensions.get(oid)
        return None if found is None else found.value

    def public_key(self) -> Any:
        """`cryptography`'s key object. Raises InputError for keys it does not know (SM2): use `crypto` with `spki`."""
        try:
            return x509.load_der_x509_certificate(self.der).public_key()
        except Exception as error:
            raise InputError("asn1.key", f"public key: {error}") from error


def parse_certificate(data: bytes) -> Certificate:
    """The certificate that `data` is, in strict DER with nothing after it. Raises InputError `asn1.*`, nothing else."""
    found = parse_anchor(data)
    if found.serial == 0 or found.serial.bit_length() > 8 * MAX_SERIAL_OCTETS:
        raise InputError("asn1.serial", "serial number is zero or longer than 20 octets")
    return found


def parse_anchor(data: bytes) -> Certificate:
    """As `parse_certificate`, whatever the serial number: some old roots have 0, and an anchor is its name and key."""
    if not 0 < len(data) <= MAX_CERTIFICATE_OCTETS:
        raise InputError("asn1.too_large", f"{len(data)} octets")
    try:
        loaded = quietly(lambda: x509.load_der_x509_certificate(data))
        return _decode(bytes(data), loaded)
    except CrosshallError:
        raise
    except x509.DuplicateExtension as error:
        raise InputError("asn1.duplicate_extension", error.oid.dotted_string) from error
    except Exception as error:  # the parser's own faults must look like any other bad input
        raise InputError("asn1.certificate", f"{type(error).__name__}: {error}") from error


def parse_pem(text: str | bytes, parse: Callable[[bytes], Certificate] = parse_certificate) -> Certificate:
    """The one certificate in a PEM text (RFC 7468). Raises InputError `asn1.pem` unless there is exactly one."""
    found = pem_blocks(text, "CERTIFICATE")
    if len(found) != 1:
        raise InputError("asn1.pem", f"{len(found)} certificates where one is expected")
    return parse(found[0])


def pem_blocks(text: str | bytes, label: str) -> list[bytes]:
    """Every PEM block of `label` in a text, decoded. Raises InputError `asn1.pem` when base64 is broken."""
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError("asn1.pem", "not text") from error
    blocks = re.findall(rf"-----BEGIN {label}-----([A-Za-z0-9+/=\s]*)-----END {label}-----", text)
    try:
        return [binascii.a2b_base64("".join(block.split()), strict_mode=True) for block in blocks]
    except binascii.Error as error:
        raise InputError("asn1.pem", str(error)) from error


def load_certificate(data: bytes, parse: Callable[[bytes], Certificate] = parse_certificate) -> Certificate:
    """A certificate in either form: PEM when it says so, else DER. Raises InputError `asn1.*`."""
    return parse_pem(data, parse) if b"-----BEGIN" in data[:4096] else parse(data)


def load_anchor(data: bytes) -> Certificate:
    """As `load_certificate`, for a trust anchor (`parse_anchor`)."""
    return load_certificate(data, parse_anchor)


def algorithm(data: bytes, item: der.Tlv) -> tuple[str, bytes | None]:
    """An AlgorithmIdentifier: dotted type, parameters' DER or None."""
    return _algorithm(der.raw(data, item))


@functools.lru_cache(maxsize=256)
def _algorithm(data: bytes) -> tuple[str, bytes | None]:
    parts = der.children(data, limit=2)
    if not parts:
        raise InputError("asn1.der", "AlgorithmIdentifier")
    return der.oid_at(data, parts[0]), der.raw(data, parts[1]) if len(parts) == 2 else None


def quietly(load: Callable[[], T]) -> T:
    """What `load` returns, when a warning was made an error by somebody's filter too."""
    try:
        return load()
    except Warning:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return load()


def _decode(data: bytes, loaded: x509.Certificate) -> Certificate:
    outer = der.children(data, limit=3)
    tbs = data[outer[0][1] : outer[0][3]]
    parts = der.children(tbs, limit=10)
    version = 1
    if parts[0][0] == 0xA0:
        version = _version(der.content(tbs, parts.pop(0)))
    if len(outer) != 3 or len(parts) < 6 or version not in (1, 2, 3):
        raise InputError("asn1.certificate", "shape of a certificate")
    serial, inside, issuer, validity, subject, key = parts[:6]
    encoded = data[outer[1][1] : outer[1][3]]
    if encoded != tbs[inside[1] : inside[3]]:
        raise InputError("asn1.algorithm_mismatch", "signature algorithm inside and outside differ")
    times = der.items(tbs, validity[2], validity[3], 2)
    found, values = _extensions(tbs, parts[6:], version, loaded)
    signature = der.content(data, outer[2], der.BIT_STRING)
    if not signature or signature[0] != 0 or len(times) != 2:
        raise InputError("asn1.certificate", "signature bits or validity")
    spki = tbs[key[1] : key[3]]
    values["der"] = data
    values["tbs"] = tbs
    values["sha256"] = hashlib.sha256(data).hexdigest()
    values["version"] = version
    values["serial"] = der.integer(der.content(tbs, serial, der.INTEGER))
    values["issuer"] = _issuer(tbs[issuer[1] : issuer[3]])
    values["subject"] = read_name(tbs[subject[1] : subject[3]])
    values["not_before"] = der.time(tbs, times[0])
    values["not_after"] = der.time(tbs, times[1])
    values["spki"] = spki
    values["spki_sha256"] = hashlib.sha256(spki).hexdigest()
    values["signature_algorithm"], values["signature_parameters"] = _algorithm(encoded)
    values["signature"] = signature[1:]
    values["extensions"] = MappingProxyType(found)
    return _made(values)


def _made(values: dict[str, Any]) -> Certificate:
    """The certificate of these fields; its own `__init__` would take longer than a CRL's look-up."""
    certificate = object.__new__(Certificate)
    certificate.__dict__.update(values)
    return certificate


def _version(encoded: bytes) -> int:
    start, stop = der.whole(encoded, der.INTEGER)
    return der.integer(encoded[start:stop]) + 1


def _extensions(
    tbs: bytes, rest: list[der.Tlv], version: int, loaded: x509.Certificate
) -> tuple[dict[str, Extension], dict[str, Any]]:
    tags = [item[0] for item in rest]
    if tags != [0xA3] and (tags != sorted(set(tags)) or not set(tags) <= {0x81, 0x82, 0xA3}):
        raise InputError("asn1.certificate", "fields after the key")
    if 0xA3 not in tags:
        return {}, {}
    if version != 3:
        raise InputError("asn1.certificate", f"extensions in version {version}")
    tag, _, start, stop = der.read(tbs, rest[-1][2], rest[-1][3])
    if tag != der.SEQUENCE or start == stop or stop != rest[-1][3]:
        raise InputError("asn1.extension", "extensions")
    return checked_extensions(tbs, start, stop, lambda: quietly(lambda: loaded.extensions))


def _issuer(data: bytes) -> Name:
    name = parse_name(data)
    if name.empty:
        raise InputError("asn1.name", "empty issuer (RFC 5280 §4.1.2.4)")
    return name
