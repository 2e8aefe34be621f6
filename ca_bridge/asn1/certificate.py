"""`Certificate`: one X.509 certificate, read strictly once, every field the validator needs decoded.

`cryptography` is the first reader: it refuses BER, duplicate extensions, wrong versions and tail bytes. Then our own
reader takes the fields out of the bytes already accepted, so that keys which it cannot load (SM2) are read as well.
"""

from __future__ import annotations

import binascii
import contextlib
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

from ca_bridge.asn1 import der, oids
from ca_bridge.asn1 import extensions as ext
from ca_bridge.asn1.extensions import (
    AuthorityKeyIdentifier,
    BasicConstraints,
    DistributionPoint,
    Extension,
    PolicyConstraints,
)
from ca_bridge.asn1.general_names import GeneralName, NameConstraints, name_constraints
from ca_bridge.asn1.names import Name, parse_name, read_name
from ca_bridge.errors import CrosshallError, InputError

MAX_CERTIFICATE_OCTETS = 1 << 20
MAX_SERIAL_OCTETS = 20
T = TypeVar("T")

# Negative serial numbers and NULL parameters are reported by `cryptography` as warnings; our own rules decide on both.
warnings.filterwarnings(
    "ignore", category=CryptographyDeprecationWarning, message="(Parsed a serial|The parsed certificate)"
)


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """A certificate whose every known extension could be decoded. Two are equal when their bytes are."""

    der: bytes = field(repr=False)
    tbs: bytes = field(repr=False)
    sha256: str
    """Of the whole certificate, hexadecimal: for people and paths, never an identity (signatures can be rewritten)."""
    tbs_sha256: str
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


def parse_pem(text: str | bytes) -> Certificate:
    """The one certificate in a PEM text (RFC 7468). Raises InputError `asn1.pem` unless there is exactly one."""
    found = pem_blocks(text, "CERTIFICATE")
    if len(found) != 1:
        raise InputError("asn1.pem", f"{len(found)} certificates where one is expected")
    return parse_certificate(found[0])


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


def load_certificate(data: bytes) -> Certificate:
    """A certificate in either form: PEM when it says so, else DER. Raises InputError `asn1.*`."""
    return parse_pem(data) if b"-----BEGIN" in data[:4096] else parse_certificate(data)


def algorithm(data: bytes, item: der.Tlv) -> tuple[str, bytes | None]:
    """An AlgorithmIdentifier: dotted type, parameters' DER or None."""
    return _algorithm(der.raw(data, item))


@functools.lru_cache(maxsize=256)
def _algorithm(data: bytes) -> tuple[str, bytes | None]:
    parts = der.children(data, limit=2)
    if not parts:
        raise InputError("asn1.der", "AlgorithmIdentifier")
    return der.oid_at(data, parts[0]), der.raw(data, parts[1]) if len(parts) == 2 else None


def read_extensions(data: bytes, item: der.Tlv) -> dict[str, Extension]:
    """Extensions in order, each type once. `item` is the SEQUENCE OF."""
    if item[0] != der.SEQUENCE or item[2] == item[3]:
        raise InputError("asn1.extension", "extensions")
    found: dict[str, Extension] = {}
    for _, begin, _, stop in der.items(data, item[2], item[3], 256):
        oid, extension = _extension(data[begin:stop])
        if oid in found:
            raise InputError("asn1.duplicate_extension", oid)
        found[oid] = extension
    return found


def _extension(data: bytes) -> tuple[str, Extension]:
    parts = der.children(data, limit=3)
    if len(parts) < 2:
        raise InputError("asn1.extension", "extension")
    critical = len(parts) == 3
    if critical and not der.boolean(der.content(data, parts[1], der.BOOLEAN)):
        raise InputError("asn1.extension", "a default value is encoded (X.690 §11.5)")
    return der.oid_at(data, parts[0]), Extension(critical, der.content(data, parts[-1], der.OCTET_STRING))


def quietly(load: Callable[[], T]) -> T:
    """What `load` returns, when a warning was made an error by somebody's filter too."""
    try:
        return load()
    except Warning:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return load()


_SHARED = frozenset(
    {
        oids.KEY_USAGE,
        oids.BASIC_CONSTRAINTS,
        oids.EXTENDED_KEY_USAGE,
        oids.CERTIFICATE_POLICIES,
        oids.AUTHORITY_KEY_IDENTIFIER,
        oids.CRL_DISTRIBUTION_POINTS,
        oids.AUTHORITY_INFO_ACCESS,
    }
)
"""The same in all leaves of one CA, and they say nothing of a person."""
_KEPT = 4096
_accepted: dict[bytes, tuple[str, Extension]] = {}
"""Encodings of `_SHARED` extensions that `cryptography` has read without fault, each as our reader has it."""
_PLAIN_NAMES = frozenset({0x81, 0x82, 0x86})


def _checked_extensions(tbs: bytes, item: der.Tlv, loaded: x509.Certificate) -> dict[str, Extension]:
    """`read_extensions`, each type checked by `cryptography` too: now, or in an earlier certificate, octet by octet."""
    found: dict[str, Extension] = {}
    fresh: dict[bytes, tuple[str, Extension]] = {}
    sure = True
    for _, begin, _, stop in der.items(tbs, item[2], item[3], 256):
        encoded = tbs[begin:stop]
        known = _accepted.get(encoded)
        if known is None:
            known = _extension(encoded)
            sure = sure and _needs_no_second_reader(*known)
            if known[0] in _SHARED:
                fresh[encoded] = known
        if known[0] in found:
            raise InputError("asn1.duplicate_extension", known[0])
        found[known[0]] = known[1]
    if not sure:
        quietly(lambda: _touch(loaded))
        if len(_accepted) + len(fresh) > _KEPT:
            _accepted.clear()
        _accepted.update(fresh)
    return found


def _needs_no_second_reader(oid: str, extension: Extension) -> bool:
    """Types that `cryptography` does not know (national arcs) or that our reader takes in no wider form than it."""
    if oid == oids.SUBJECT_ALT_NAME:
        return all(name[0] in _PLAIN_NAMES for name in der.children(extension.value))
    return oid == oids.SUBJECT_KEY_IDENTIFIER or oid.startswith(("1.2.156.", "1.2.86."))


def _touch(loaded: x509.Certificate) -> None:
    # Our reader keeps x400Address and ediPartyName as octets; constraints on them refuse.
    with contextlib.suppress(x509.UnsupportedGeneralNameType):
        _ = loaded.extensions


_once = functools.lru_cache(maxsize=4096)
_DECODERS: Mapping[str, tuple[str, Callable[[bytes], Any]]] = {
    oids.BASIC_CONSTRAINTS: ("basic_constraints", _once(ext.basic_constraints)),
    oids.KEY_USAGE: ("key_usage", _once(ext.key_usage)),
    oids.EXTENDED_KEY_USAGE: ("extended_key_usage", _once(ext.oid_list)),
    oids.CERTIFICATE_POLICIES: ("policies", _once(ext.policies)),
    oids.POLICY_MAPPINGS: ("policy_mappings", ext.policy_mappings),
    oids.POLICY_CONSTRAINTS: ("policy_constraints", ext.policy_constraints),
    oids.INHIBIT_ANY_POLICY: ("inhibit_any_policy", ext.skip_certs),
    oids.NAME_CONSTRAINTS: ("name_constraints", name_constraints),
    oids.SUBJECT_ALT_NAME: ("alt_names", ext.alt_names),
    oids.SUBJECT_KEY_IDENTIFIER: ("subject_key_identifier", ext.octet_string),
    oids.AUTHORITY_KEY_IDENTIFIER: ("authority_key_identifier", _once(ext.authority_key_identifier)),
    oids.CRL_DISTRIBUTION_POINTS: ("distribution_points", _once(ext.distribution_points)),
    oids.FRESHEST_CRL: ("freshest_crl", ext.distribution_points),
}


def _decode(data: bytes, loaded: x509.Certificate) -> Certificate:
    outer = der.children(data, limit=3)
    tbs = der.raw(data, outer[0])
    parts = der.children(tbs, limit=10)
    version = 1
    if parts[0][0] == 0xA0:
        inner = der.content(tbs, parts.pop(0))
        start, stop = der.whole(inner, der.INTEGER)
        version = der.integer(inner[start:stop]) + 1
    if len(outer) != 3 or len(parts) < 6 or version not in (1, 2, 3):
        raise InputError("asn1.certificate", "shape of a certificate")
    if der.raw(data, outer[1]) != der.raw(tbs, parts[1]):
        raise InputError("asn1.algorithm_mismatch", "signature algorithm inside and outside differ")
    times = der.items(tbs, parts[3][2], parts[3][3], 2)
    found = _extensions(tbs, parts[6:], version, loaded)
    oid, parameters = algorithm(data, outer[1])
    spki = der.raw(tbs, parts[5])
    signature = der.content(data, outer[2], der.BIT_STRING)
    if not signature or signature[0] != 0 or len(times) != 2:
        raise InputError("asn1.certificate", "signature bits or validity")
    return Certificate(
        der=data,
        tbs=tbs,
        sha256=hashlib.sha256(data).hexdigest(),
        tbs_sha256=hashlib.sha256(tbs).hexdigest(),
        version=version,
        serial=_serial(der.content(tbs, parts[0], der.INTEGER)),
        issuer=_issuer(der.raw(tbs, parts[2])),
        subject=read_name(der.raw(tbs, parts[4])),
        not_before=der.time(tbs, times[0]),
        not_after=der.time(tbs, times[1]),
        spki=spki,
        spki_sha256=hashlib.sha256(spki).hexdigest(),
        signature_algorithm=oid,
        signature_parameters=parameters,
        signature=signature[1:],
        extensions=MappingProxyType(found),
        **_values(found),
    )


def _extensions(tbs: bytes, rest: list[der.Tlv], version: int, loaded: x509.Certificate) -> dict[str, Extension]:
    tags = [item[0] for item in rest]
    if tags != sorted(set(tags)) or not set(tags) <= {0x81, 0x82, 0xA3}:
        raise InputError("asn1.certificate", "fields after the key")
    if 0xA3 not in tags:
        return {}
    if version != 3:
        raise InputError("asn1.certificate", f"extensions in version {version}")
    inner = der.items(tbs, rest[-1][2], rest[-1][3], 1)
    if not inner:
        raise InputError("asn1.extension", "extensions")
    if inner[0][0] != der.SEQUENCE or inner[0][2] == inner[0][3]:
        raise InputError("asn1.extension", "extensions")
    return _checked_extensions(tbs, inner[0], loaded)


def _values(found: Mapping[str, Extension]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for oid, extension in found.items():
        if oid in _DECODERS:
            name, decode = _DECODERS[oid]
            try:
                values[name] = decode(extension.value)
            except InputError as error:
                raise InputError("asn1.extension", f"{oid}: {error.code} {error.detail}") from error
    return values


def _serial(octets: bytes) -> int:
    """RFC 5280 §4.1.2.2: negative ones are handled gracefully; zero and more than 20 octets are refused."""
    value = der.integer(octets)
    if value == 0 or len(octets.lstrip(b"\x00")) > MAX_SERIAL_OCTETS:
        raise InputError("asn1.serial", "serial number is zero or longer than 20 octets")
    return value


def _issuer(data: bytes) -> Name:
    name = parse_name(data)
    if name.empty:
        raise InputError("asn1.name", "empty issuer (RFC 5280 §4.1.2.4)")
    return name
