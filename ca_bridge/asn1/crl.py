"""`Crl`: one certificate revocation list (RFC 5280 §5), read strictly once; entries are found by serial number.

`cryptography` is the first reader here too. The octets are kept once; entries are decoded when they are asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Protocol, TypeVar

from cryptography import x509

from ca_bridge.asn1 import der, oids
from ca_bridge.asn1 import extensions as ext
from ca_bridge.asn1.certificate import algorithm, pem_blocks, quietly
from ca_bridge.asn1.crl_entries import Entries, Entry, read_entries
from ca_bridge.asn1.extensions import AuthorityKeyIdentifier, DistributionPoint, Extension, read_extensions
from ca_bridge.asn1.general_names import GeneralName
from ca_bridge.asn1.names import Name, parse_name
from ca_bridge.errors import CrosshallError, InputError

MAX_CRL_OCTETS = 64 << 20
T = TypeVar("T")
REMOVE_FROM_CRL = 8
_UNDERSTOOD = frozenset({oids.ISSUING_DISTRIBUTION_POINT, oids.DELTA_CRL_INDICATOR})
"""May be critical; crlNumber must not be (RFC 5280 §5.2.3)."""


@dataclass(frozen=True, slots=True)
class IssuingDistributionPoint:
    """What a CRL covers (RFC 5280 §5.2.5)."""

    full_name: tuple[GeneralName, ...] = ()
    relative: bytes = b""
    named: bool = False
    """Whether a distribution point name is there at all."""
    only_user: bool = False
    only_ca: bool = False
    reasons: frozenset[int] | None = None
    indirect: bool = False
    only_attribute: bool = False


class Summary(Protocol):
    """Stands in for a CRL's entries where only its head is at hand (`trust.filter`)."""

    @property
    def whole(self) -> str:
        """SHA-256 of the CRL itself, hexadecimal."""

    @property
    def key(self) -> str:
        """SHA-256 of the SubjectPublicKeyInfo that signed it, hexadecimal: by the word of who made the summary."""

    @property
    def sm2_id(self) -> str:
        """The SM2 ID under which it did."""

    @property
    def count(self) -> int:
        """Number of entries of the CRL."""

    def may_hold(self, serial: int) -> bool:
        """False only for a serial number that is not in the CRL."""


@dataclass(frozen=True, slots=True, eq=False)
class Crl:
    """A CRL whose every known extension could be decoded; its signature has not been looked at."""

    der: bytes = field(repr=False)
    bounds: tuple[int, int]
    """Where the part that is signed begins and ends."""
    sha256: str
    issuer: Name = field(repr=False)
    this_update: datetime
    next_update: datetime | None
    signature_algorithm: str
    signature_parameters: bytes | None = field(repr=False)
    signature: bytes = field(repr=False)
    extensions: Mapping[str, Extension] = field(repr=False)
    number: int | None
    delta_base: int | None
    """BaseCRLNumber: this is a delta CRL."""
    point: IssuingDistributionPoint | None
    authority_key_identifier: AuthorityKeyIdentifier | None
    freshest_crl: tuple[DistributionPoint, ...] | None = field(repr=False)
    unusable: str
    """Why the list must not be used (an unknown critical extension, in the list or an entry); empty when it may."""
    entries: Entries = field(repr=False)
    summary: Summary | None = field(default=None, repr=False)
    """Set: this is the head alone, without entries and signature, and the summary speaks for both; `sha256` is then of
    the summary's file."""

    @property
    def tbs(self) -> memoryview:
        """The part that is signed; no copy, because it may have 64 MB."""
        return memoryview(self.der)[slice(*self.bounds)]

    @property
    def unnumbered(self) -> bool:
        """It has extensions, and no crlNumber among them, which RFC 5280 §5.2.3 asks of every such list."""
        return self.number is None and bool(self.extensions)

    @property
    def count(self) -> int:
        """Number of entries."""
        return self.entries.count if self.summary is None else self.summary.count

    def find(self, issuer: Name, serial: int) -> Entry | None:
        """The entry of a certificate, None when it is not listed."""
        return self.entries.find(issuer.normalised, serial)

    def may_list(self, issuer: Name, serial: int) -> bool:
        """False only for a certificate that is not listed."""
        if self.summary is not None:
            return self.summary.may_hold(serial)
        return self.find(issuer, serial) is not None


def parse_crl(data: bytes) -> Crl:
    """The CRL that `data` is, in strict DER. Raises InputError `asn1.*`, nothing else."""
    if not 0 < len(data) <= MAX_CRL_OCTETS:
        raise InputError("asn1.too_large", f"{len(data)} octets")
    try:
        loaded = quietly(lambda: x509.load_der_x509_crl(data))
        quietly(lambda: loaded.extensions)
        return _decode(bytes(data))
    except CrosshallError:
        raise
    except x509.DuplicateExtension as error:
        raise InputError("asn1.duplicate_extension", error.oid.dotted_string) from error
    except Exception as error:  # the parser's own faults must look like any other bad input
        raise InputError("asn1.crl", f"{type(error).__name__}: {error}") from error


def load_crl(data: bytes) -> Crl:
    """A CRL in either form: PEM when it says so, else DER. Raises InputError `asn1.*`."""
    if b"-----BEGIN" not in data[:4096]:
        return parse_crl(data)
    found = pem_blocks(data, "X509 CRL")
    if len(found) != 1:
        raise InputError("asn1.pem", f"{len(found)} CRLs where one is expected")
    return parse_crl(found[0])


def _decode(data: bytes) -> Crl:
    outer = der.children(data, limit=3)
    parts = list(der.items(data, outer[0][2], outer[0][3], 10))
    version = 1
    if parts[0][0] == der.INTEGER:
        version = der.integer(der.content(data, parts.pop(0))) + 1
    if len(outer) != 3 or len(parts) < 3 or version not in (1, 2):
        raise InputError("asn1.crl", "shape of a CRL")
    if der.raw(data, outer[1]) != der.raw(data, parts[0]):
        raise InputError("asn1.algorithm_mismatch", "signature algorithm inside and outside differ")
    issuer = parse_name(der.raw(data, parts[1]))
    rest = parts[3:]
    next_update = None
    if rest and rest[0][0] in (der.UTC_TIME, der.GENERALIZED_TIME):
        next_update = der.time(data, rest.pop(0))
    revoked = rest.pop(0) if rest and rest[0][0] == der.SEQUENCE else None
    found = _extensions(data, rest, version)
    point = _known(found, oids.ISSUING_DISTRIBUTION_POINT, issuing_distribution_point)
    indirect = point is not None and point.indirect
    entries = read_entries(data, revoked, issuer.normalised, indirect=indirect)
    oid, parameters = algorithm(data, outer[1])
    signature = der.content(data, outer[2], der.BIT_STRING)
    if not signature or signature[0] != 0:
        raise InputError("asn1.crl", "signature bits")
    return Crl(
        der=data,
        bounds=(outer[0][1], outer[0][3]),
        sha256=hashlib.sha256(data).hexdigest(),
        issuer=issuer,
        this_update=der.time(data, parts[2]),
        next_update=next_update,
        signature_algorithm=oid,
        signature_parameters=parameters,
        signature=signature[1:],
        extensions=MappingProxyType(found),
        number=_known(found, oids.CRL_NUMBER, _number),
        delta_base=_known(found, oids.DELTA_CRL_INDICATOR, _number),
        point=point,
        authority_key_identifier=_known(found, oids.AUTHORITY_KEY_IDENTIFIER, ext.authority_key_identifier),
        freshest_crl=_known(found, oids.FRESHEST_CRL, ext.distribution_points),
        unusable=_unusable(found) or entries.unusable,
        entries=entries,
    )


def head_of(data: bytes) -> bytes:
    """The CRL `data` without its entries and signature: what `parse_crl` reads of it is the same but for these.

    Raises InputError `asn1.*` for what `parse_crl` refuses.
    """
    outer = der.children(data, limit=3)
    parts = list(der.items(data, outer[0][2], outer[0][3], 10))
    kept = [
        der.raw(data, item)
        for number, item in enumerate(parts)
        if not (item[0] == der.SEQUENCE and number and parts[number - 1][0] in (der.UTC_TIME, der.GENERALIZED_TIME))
    ]
    unsigned = der.encoded(der.BIT_STRING, b"\0")
    body = der.encoded(der.SEQUENCE, b"".join(kept)) + der.raw(data, outer[1]) + unsigned
    return der.encoded(der.SEQUENCE, body)


def _extensions(data: bytes, rest: list[der.Tlv], version: int) -> dict[str, Extension]:
    if not rest:
        return {}
    inner = list(der.items(data, rest[0][2], rest[0][3], 1))
    if len(rest) != 1 or rest[0][0] != 0xA0 or version != 2 or not inner:
        raise InputError("asn1.crl", "fields after the entries")
    return read_extensions(data, inner[0])


def _known(found: Mapping[str, Extension], oid: str, decode: Callable[[bytes], T]) -> T | None:
    return decode(found[oid].value) if oid in found else None


def _unusable(found: Mapping[str, Extension]) -> str:
    for oid, extension in found.items():
        if extension.critical and oid not in _UNDERSTOOD:
            return f"unknown critical extension {oid}"
    return ""


def _number(value: bytes) -> int:
    start, stop = der.whole(value, der.INTEGER)
    number = der.integer(value[start:stop])
    if number < 0:
        raise InputError("asn1.crl", "negative CRL number")
    return number


def issuing_distribution_point(value: bytes) -> IssuingDistributionPoint:
    """IssuingDistributionPoint (RFC 5280 §5.2.5); the three `only` flags exclude each other."""
    parts = {item[0]: item for item in der.children(value, limit=6)}
    if not set(parts) <= {0xA0, 0x81, 0x82, 0x83, 0x84, 0x85}:
        raise InputError("asn1.extension", "issuingDistributionPoint")
    full, relative = ext.point_name(value, parts[0xA0]) if 0xA0 in parts else ((), b"")
    flags = {tag: tag in parts and der.boolean(der.content(value, parts[tag])) for tag in (0x81, 0x82, 0x84, 0x85)}
    if flags[0x81] + flags[0x82] + flags[0x85] > 1:
        raise InputError("asn1.extension", "issuingDistributionPoint that excludes everything")
    return IssuingDistributionPoint(
        full_name=full,
        relative=relative,
        named=0xA0 in parts,
        only_user=flags[0x81],
        only_ca=flags[0x82],
        reasons=der.bits(der.content(value, parts[0x83])) if 0x83 in parts else None,
        indirect=flags[0x84],
        only_attribute=flags[0x85],
    )
