"""Values of the certificate extensions that the validator acts on (RFC 5280 §4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from ca_bridge.asn1 import der
from ca_bridge.asn1.general_names import GeneralName, general_names
from ca_bridge.asn1.names import Name, parse_name
from ca_bridge.errors import InputError

MAX_POLICIES = 256
MAX_POINTS = 64
_TRUE = b"\x01\x01\xff"


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension as it stands: `value` is the DER inside extnValue's octet string."""

    critical: bool
    value: bytes


def read_extensions(data: bytes, item: der.Tlv) -> dict[str, Extension]:
    """Extensions in order, each type once. `item` is the SEQUENCE OF."""
    if item[0] != der.SEQUENCE or item[2] == item[3]:
        raise InputError("asn1.extension", "extensions")
    found: dict[str, Extension] = {}
    for _, begin, _, stop in der.items(data, item[2], item[3], 256):
        oid, extension = read_extension(data[begin:stop])
        if oid in found:
            raise InputError("asn1.duplicate_extension", oid)
        found[oid] = extension
    return found


def read_extension(data: bytes) -> tuple[str, Extension]:
    """The extension that `data` is, with its dotted type. Raises InputError `asn1.extension` or `asn1.der`."""
    short = _short_extension(data)
    if short is not None:
        return short
    parts = der.children(data, limit=3)
    if len(parts) < 2:
        raise InputError("asn1.extension", "extension")
    critical = len(parts) == 3
    if critical and not der.boolean(der.content(data, parts[1], der.BOOLEAN)):
        raise InputError("asn1.extension", "a default value is encoded (X.690 §11.5)")
    return der.oid_at(data, parts[0]), Extension(critical, der.content(data, parts[-1], der.OCTET_STRING))


def _short_extension(data: bytes) -> tuple[str, Extension] | None:
    """As `read_extension` for one below 128 octets: each length is one octet and must lead to the end exactly."""
    size = len(data)
    if not 8 < size < 0x80 or data[0] != der.SEQUENCE or data[1] != size - 2 or data[2] != der.OID:
        return None
    at = after = 4 + data[3]
    critical = data[at : at + 3] == _TRUE
    if critical:
        at += 3
    if at + 2 > size or data[at] != der.OCTET_STRING or data[at + 1] != size - at - 2:
        return None
    return der.oid(data[4:after]), Extension(critical, data[at + 2 :])


class KeyUsage(IntEnum):
    """Named bits of keyUsage (RFC 5280 §4.2.1.3)."""

    DIGITAL_SIGNATURE = 0
    CONTENT_COMMITMENT = 1
    KEY_ENCIPHERMENT = 2
    DATA_ENCIPHERMENT = 3
    KEY_AGREEMENT = 4
    KEY_CERT_SIGN = 5
    CRL_SIGN = 6
    ENCIPHER_ONLY = 7
    DECIPHER_ONLY = 8


@dataclass(frozen=True, slots=True)
class BasicConstraints:
    """Whether the subject is a CA, and how many CA certificates may follow (None: no limit)."""

    ca: bool
    path_length: int | None


@dataclass(frozen=True, slots=True)
class PolicyConstraints:
    """skipCerts of requireExplicitPolicy and inhibitPolicyMapping; None when absent."""

    require_explicit: int | None
    inhibit_mapping: int | None


@dataclass(frozen=True, slots=True)
class AuthorityKeyIdentifier:
    """Hints about the issuer's key; never proof of anything."""

    key_identifier: bytes | None
    issuer: tuple[GeneralName, ...]
    serial: int | None


@dataclass(frozen=True, slots=True)
class DistributionPoint:
    """One distribution point: full names, or a name relative to the CRL issuer, reasons (None: all), CRL issuer."""

    full_name: tuple[GeneralName, ...]
    relative: bytes
    """DER of a SET of attributes; empty when absent."""
    reasons: frozenset[int] | None
    crl_issuer: tuple[GeneralName, ...]


def basic_constraints(value: bytes) -> BasicConstraints:
    """BasicConstraints; pathLen only with cA (§4.2.1.9)."""
    parts = der.children(value, limit=2)
    ca = bool(parts and parts[0][0] == der.BOOLEAN and der.boolean(der.content(value, parts.pop(0))))
    length = non_negative(der.content(value, parts.pop(0), der.INTEGER)) if parts else None
    if parts or (length is not None and not ca):
        raise InputError("asn1.extension", "basicConstraints")
    return BasicConstraints(ca, length)


def key_usage(value: bytes) -> frozenset[int]:
    """Bits of keyUsage; at least one must be set (§4.2.1.3)."""
    start, stop = der.whole(value, der.BIT_STRING)
    found = der.bits(value[start:stop])
    if not found:
        raise InputError("asn1.extension", "keyUsage without a bit")
    return found


def oid_list(value: bytes) -> tuple[str, ...]:
    """A sequence of one or more object identifiers (extKeyUsage)."""
    found = tuple(der.oid_at(value, item) for item in der.children(value, limit=MAX_POLICIES))
    if not found:
        raise InputError("asn1.extension", "empty sequence of object identifiers")
    return found


def policies(value: bytes) -> tuple[str, ...]:
    """Policy identifiers; one may not be there twice (§4.2.1.4). Qualifiers are not used."""
    found = []
    for item in der.children(value, limit=MAX_POLICIES):
        if item[0] != der.SEQUENCE:
            raise InputError("asn1.extension", "PolicyInformation")
        parts = list(der.items(value, item[2], item[3], 2))
        if not parts or (len(parts) == 2 and parts[1][0] != der.SEQUENCE):
            raise InputError("asn1.extension", "PolicyInformation")
        found.append(der.oid_at(value, parts[0]))
    if not found or len(set(found)) != len(found):
        raise InputError("asn1.extension", "no policy, or one twice")
    return tuple(found)


def policy_mappings(value: bytes) -> tuple[tuple[str, str], ...]:
    """(issuerDomainPolicy, subjectDomainPolicy) pairs (§4.2.1.5)."""
    found = []
    for item in der.children(value, limit=MAX_POLICIES):
        parts = list(der.items(value, item[2], item[3], 2)) if item[0] == der.SEQUENCE else []
        if len(parts) != 2:
            raise InputError("asn1.extension", "policyMappings")
        found.append((der.oid_at(value, parts[0]), der.oid_at(value, parts[1])))
    if not found:
        raise InputError("asn1.extension", "empty policyMappings")
    return tuple(found)


def policy_constraints(value: bytes) -> PolicyConstraints:
    """PolicyConstraints; not empty (§4.2.1.11)."""
    counts: dict[int, int] = {}
    for item in der.children(value, limit=2):
        if item[0] not in (0x80, 0x81) or item[0] in counts or (item[0] == 0x80 and counts):
            raise InputError("asn1.extension", "policyConstraints")
        counts[item[0]] = non_negative(der.content(value, item))
    if not counts:
        raise InputError("asn1.extension", "empty policyConstraints")
    return PolicyConstraints(counts.get(0x80), counts.get(0x81))


def skip_certs(value: bytes) -> int:
    """InhibitAnyPolicy (§4.2.1.14)."""
    start, stop = der.whole(value, der.INTEGER)
    return non_negative(value[start:stop])


def octet_string(value: bytes) -> bytes:
    """SubjectKeyIdentifier."""
    start, stop = der.whole(value, der.OCTET_STRING)
    return value[start:stop]


def authority_key_identifier(value: bytes) -> AuthorityKeyIdentifier:
    """AuthorityKeyIdentifier (§4.2.1.1)."""
    parts = {item[0]: item for item in der.children(value, limit=3)}
    if not set(parts) <= {0x80, 0xA1, 0x82}:
        raise InputError("asn1.extension", "authorityKeyIdentifier")
    return AuthorityKeyIdentifier(
        der.content(value, parts[0x80]) if 0x80 in parts else None,
        general_names(value, parts[0xA1][2], parts[0xA1][3]) if 0xA1 in parts else (),
        der.integer(der.content(value, parts[0x82])) if 0x82 in parts else None,
    )


def alt_names(value: bytes) -> tuple[GeneralName, ...]:
    """SubjectAltName: one name at least."""
    start, stop = der.whole(value, der.SEQUENCE)
    return general_names(value, start, stop)


def distribution_points(value: bytes) -> tuple[DistributionPoint, ...]:
    """CRLDistributionPoints or FreshestCRL (§4.2.1.13)."""
    points = tuple(_point(value, item) for item in der.children(value, limit=MAX_POINTS))
    if not points:
        raise InputError("asn1.extension", "empty distribution points")
    return points


def point_name(data: bytes, item: der.Tlv) -> tuple[tuple[GeneralName, ...], bytes]:
    """DistributionPointName, wrapped in its explicit tag: (full names, relative name)."""
    inner = list(der.items(data, item[2], item[3], 1))
    if not inner or inner[0][0] not in (0xA0, 0xA1):
        raise InputError("asn1.extension", "DistributionPointName")
    _, begin, start, stop = inner[0]
    if inner[0][0] == 0xA0:
        return general_names(data, start, stop), b""
    return (), bytes((der.SET,)) + data[begin + 1 : stop]


def relative_name(issuer: Name, relative: bytes) -> Name:
    """`issuer` with the relative RDN appended (nameRelativeToCRLIssuer)."""
    start, stop = der.whole(issuer.der, der.SEQUENCE)
    body = issuer.der[start:stop] + relative
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8 or 1, "big")
    head = length if len(body) < 0x80 else bytes((0x80 | len(length),)) + length
    return parse_name(b"\x30" + head + body)


def non_negative(octets: bytes) -> int:
    """An INTEGER of 0 or more, capped at a million (a larger skipCerts or pathLen means the same as none)."""
    value = der.integer(octets)
    if value < 0:
        raise InputError("asn1.extension", "negative count")
    return min(value, 1_000_000)


def _point(data: bytes, item: der.Tlv) -> DistributionPoint:
    if item[0] != der.SEQUENCE:
        raise InputError("asn1.extension", "DistributionPoint")
    parts = {part[0]: part for part in der.items(data, item[2], item[3], 3)}
    if not parts or not set(parts) <= {0xA0, 0x81, 0xA2}:
        raise InputError("asn1.extension", "DistributionPoint")
    full, relative = point_name(data, parts[0xA0]) if 0xA0 in parts else ((), b"")
    reasons = der.bits(der.content(data, parts[0x81])) if 0x81 in parts else None
    issuer = general_names(data, parts[0xA2][2], parts[0xA2][3]) if 0xA2 in parts else ()
    if 0xA0 not in parts and 0xA2 not in parts:
        raise InputError("asn1.extension", "distribution point of reasons only")
    return DistributionPoint(full, relative, reasons, issuer)
