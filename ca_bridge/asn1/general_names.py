"""GeneralName (RFC 5280 §4.2.1.6) and the subtrees of name constraints (§4.2.1.10)."""

from __future__ import annotations

from dataclasses import dataclass, field

from ca_bridge.asn1 import der
from ca_bridge.asn1.names import Name, parse_name
from ca_bridge.errors import InputError

OTHER, MAIL, DNS, X400, DIRECTORY, EDI, URI, IP, REGISTERED = range(9)
KINDS = (
    "otherName",
    "rfc822Name",
    "dNSName",
    "x400Address",
    "directoryName",
    "ediPartyName",
    "URI",
    "iPAddress",
    "registeredID",
)
MAX_NAMES = 10_000


@dataclass(frozen=True, slots=True)
class GeneralName:
    """One general name: `kind` is its context tag; `value` is text, a Name, or octets, as the kind has it."""

    kind: int
    text: str = field(default="", repr=False)
    """rfc822Name, dNSName, URI; for otherName its dotted type."""
    name: Name | None = field(default=None, repr=False)
    octets: bytes = field(default=b"", repr=False)
    """iPAddress; otherName's value (DER); everything else that is not read further."""


@dataclass(frozen=True, slots=True)
class NameConstraints:
    """Permitted and excluded subtrees."""

    permitted: tuple[GeneralName, ...]
    excluded: tuple[GeneralName, ...]


def general_name(data: bytes, item: der.Tlv) -> GeneralName:
    """The GeneralName at `item`. Raises InputError `asn1.extension` or `asn1.name`."""
    tag = item[0]
    kind = tag & 0x1F
    octets = data[item[2] : item[3]]
    if tag in (0x81, 0x82, 0x86):
        try:
            return GeneralName(kind, text=octets.decode("ascii"))
        except UnicodeDecodeError as error:
            raise InputError("asn1.extension", f"{KINDS[kind]} is not IA5String") from error
    if tag == 0xA4:
        return GeneralName(kind, name=parse_name(octets))
    if tag == 0x87:
        return GeneralName(kind, octets=octets)
    if tag == 0xA0:
        parts = list(der.items(data, item[2], item[3], 2))
        if len(parts) != 2 or parts[1][0] != 0xA0:
            raise InputError("asn1.extension", "otherName")
        return GeneralName(kind, text=der.oid_at(data, parts[0]), octets=der.content(data, parts[1]))
    if tag in (0xA3, 0xA5, 0x88):
        return GeneralName(kind, octets=octets)
    raise InputError("asn1.extension", f"general name of tag {tag:#04x}")


def general_names(data: bytes, start: int, end: int) -> tuple[GeneralName, ...]:
    """The GeneralNames between two positions: one or more."""
    names = tuple(general_name(data, item) for item in der.items(data, start, end, MAX_NAMES))
    if not names:
        raise InputError("asn1.extension", "empty GeneralNames")
    return names


def name_constraints(value: bytes) -> NameConstraints:
    """NameConstraints; minimum must be 0 and maximum absent (§4.2.1.10), one side at least present."""
    sides: dict[int, tuple[GeneralName, ...]] = {}
    for item in der.children(value, limit=2):
        if item[0] not in (0xA0, 0xA1) or item[0] in sides or (item[0] == 0xA0 and sides) or item[2] == item[3]:
            raise InputError("asn1.extension", "nameConstraints")
        sides[item[0]] = tuple(_subtree(value, t) for t in der.items(value, item[2], item[3], MAX_NAMES))
    if not sides:
        raise InputError("asn1.extension", "empty nameConstraints")
    return NameConstraints(sides.get(0xA0, ()), sides.get(0xA1, ()))


def _subtree(data: bytes, item: der.Tlv) -> GeneralName:
    if item[0] != der.SEQUENCE:
        raise InputError("asn1.extension", "GeneralSubtree")
    parts = list(der.items(data, item[2], item[3], 3))
    if len(parts) != 1:
        raise InputError("asn1.extension", "GeneralSubtree with minimum or maximum")
    base = general_name(data, parts[0])
    if base.kind == IP and not _mask_ok(base.octets):
        raise InputError("asn1.extension", "iPAddress constraint")
    return base


def _mask_ok(octets: bytes) -> bool:
    if len(octets) not in (8, 32):
        return False
    half = len(octets) // 2
    inverse = int.from_bytes(octets[half:], "big") ^ ((1 << (8 * half)) - 1)
    return inverse & (inverse + 1) == 0
