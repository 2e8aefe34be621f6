"""A strict reader of DER (X.690 §10): definite minimal lengths, one-octet tags, no bytes left over.

It is used on bytes that `cryptography` has already accepted, for what that library does not give (raw names, policy
mappings, parameters), so it needs no breadth; what it does not know it refuses with InputError `asn1.der`.
"""

from __future__ import annotations

import functools
from datetime import datetime

from ca_bridge.errors import InputError

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID, ENUMERATED = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0A
UTC_TIME, GENERALIZED_TIME, SEQUENCE, SET = 0x17, 0x18, 0x30, 0x31
MAX_INTEGER_OCTETS = 4096

Tlv = tuple[int, int, int, int]
"""Tag, where the whole value begins, where its content begins, where it ends."""


def bad(detail: str) -> InputError:
    """The error of this module."""
    return InputError("asn1.der", detail)


def read(data: bytes, pos: int, end: int) -> Tlv:
    """The value that begins at `pos`. Raises InputError `asn1.der`."""
    if end - pos < 2:
        raise bad("truncated")
    tag, length = data[pos], data[pos + 1]
    if tag & 0x1F == 0x1F:
        raise bad("tag number above 30")
    start = pos + 2
    if length >= 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4 or start + count > end:
            raise bad("length form")
        length = int.from_bytes(data[start : start + count], "big")
        if length < 0x80 or length >> (8 * (count - 1)) == 0:
            raise bad("length not minimal")
        start += count
    stop = start + length
    if stop > end:
        raise bad("truncated")
    return tag, pos, start, stop


def items(data: bytes, start: int, end: int, limit: int = 100_000) -> list[Tlv]:
    """The values that fill `start` to `end` exactly, at most `limit` of them."""
    found: list[Tlv] = []
    while start < end:
        if len(found) == limit:
            raise bad("too many values")
        body = start + 2
        if body <= end:  # as `read` has it: nearly all values are short
            length = data[start + 1]
            tag, stop = data[start], body + length
            if length < 0x80 and stop <= end and tag & 0x1F != 0x1F:
                found.append((tag, start, body, stop))
                start = stop
                continue
        item = read(data, start, end)
        found.append(item)
        start = item[3]
    return found


def whole(data: bytes, tag: int) -> tuple[int, int]:
    """Content bounds of the one value of kind `tag` that `data` is, with nothing after it."""
    found, _, start, stop = read(data, 0, len(data))
    if found != tag or stop != len(data):
        raise bad(f"expected one value of tag {tag:#04x}")
    return start, stop


def children(data: bytes, tag: int = SEQUENCE, limit: int = 10_000) -> list[Tlv]:
    """The values inside the one constructed value that `data` is."""
    start, stop = whole(data, tag)
    return items(data, start, stop, limit)


def content(data: bytes, item: Tlv, tag: int | None = None) -> bytes:
    """Content octets of `item`, which must be of `tag` when one is given."""
    if tag is not None and item[0] != tag:
        raise bad(f"expected tag {tag:#04x}, found {item[0]:#04x}")
    return data[item[2] : item[3]]


def raw(data: bytes, item: Tlv) -> bytes:
    """The whole encoding of `item`."""
    return data[item[1] : item[3]]


def encoded(tag: int, content: bytes) -> bytes:
    """The one encoding of a value."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def integer(octets: bytes) -> int:
    """An INTEGER's value (may be negative); the encoding must be minimal (X.690 §8.3.2)."""
    if not octets or len(octets) > MAX_INTEGER_OCTETS:
        raise bad("integer length")
    if len(octets) > 1 and ((octets[0] == 0 and octets[1] < 0x80) or (octets[0] == 0xFF and octets[1] >= 0x80)):
        raise bad("integer not minimal")
    return int.from_bytes(octets, "big", signed=True)


def boolean(octets: bytes) -> bool:
    """A BOOLEAN: 00 or FF only (X.690 §11.1)."""
    if octets not in (b"\x00", b"\xff"):
        raise bad("boolean")
    return octets == b"\xff"


def bits(octets: bytes) -> frozenset[int]:
    """Numbers of the bits that are set in a BIT STRING with named bits; the padding must be 0."""
    if not octets or octets[0] > 7 or (len(octets) == 1 and octets[0]) or len(octets) > 9:
        raise bad("bit string")
    body, unused = octets[1:], octets[0]
    if body and body[-1] & ((1 << unused) - 1):
        raise bad("bit string padding")
    return frozenset(i for i in range(len(body) * 8 - unused) if body[i // 8] & (0x80 >> (i % 8)))


@functools.lru_cache(maxsize=4096)
def oid(octets: bytes) -> str:
    """An OBJECT IDENTIFIER in dotted form; at most 64 octets, each arc minimal."""
    if not octets or len(octets) > 64 or octets[-1] & 0x80:
        raise bad("object identifier")
    arcs: list[int] = []
    value, fresh = 0, True
    for octet in octets:
        if fresh and octet == 0x80:
            raise bad("object identifier arc not minimal")
        value = value << 7 | octet & 0x7F
        fresh = not octet & 0x80
        if fresh:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def oid_at(data: bytes, item: Tlv) -> str:
    """The object identifier that `item` must be."""
    return oid(content(data, item, OID))


def time(data: bytes, item: Tlv) -> datetime:
    """A Time of RFC 5280 §4.1.2.5: seconds present, zone Z, no fraction; aware UTC."""
    tag, text = item[0], data[item[2] : item[3]]
    if tag == UTC_TIME and len(text) == 13:
        digits = (b"19" if text[:2] >= b"50" else b"20") + text[:12]
    elif tag == GENERALIZED_TIME and len(text) == 15:
        digits = text[:14]
    else:
        raise InputError("asn1.time", "form of time")
    if not digits.isdigit() or text[-1:] != b"Z" or digits[8:10] == b"24":  # which ISO 8601 has, for midnight
        raise InputError("asn1.time", "form of time")
    written = digits.decode()
    try:
        return datetime.fromisoformat(f"{written[:8]}T{written[8:]}Z")
    except ValueError as error:
        raise InputError("asn1.time", str(error)) from error
