"""A CRL in two octets an entry: its own head, and its serial numbers in 18 bits each.

    head ─ SM2 ID ─ the CRL without entries and signature ─ offsets of blocks ─ blocks: sorted hashes, differences
    Golomb–Rice coded, padded with ones to octets

What the filter does not hold is not in the CRL; what it holds must be looked up in the CRL itself. A hash has a block
and a place in it, so that a look-up decodes about 64 differences, whatever the CRL's size. The filter proves nothing
by itself: it counts only as a file that signed metadata lists (docs/adr/0009), for the CRL whose hash it names.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ca_bridge.asn1.crl import Crl, head_of, parse_crl
from ca_bridge.errors import CrosshallError, RevocationError

MAGIC = b"crosshall-gcs-2\n"
BITS = 16
"""One in 65,536 serial numbers that are not in the CRL is looked up there all the same."""
PER_BLOCK = 64
MAX_ENTRIES = 16_000_000
KEPT = 256
"""Filters that a process keeps as it has read them."""
_HEAD = struct.Struct(">16s32s32sBIII")
_OFFSET = struct.Struct(">I")
_RANGE = PER_BLOCK << BITS
_CODE = "revocation.filter"


@dataclass(frozen=True, slots=True)
class Filter:
    """`asn1.crl.Summary` by a Golomb-coded set; its blocks are decoded when they are asked."""

    whole: str
    """SHA-256 of the CRL, hexadecimal."""
    key: str
    """SHA-256 of the SubjectPublicKeyInfo that signed the CRL, hexadecimal."""
    sm2_id: str
    count: int
    """Entries of the CRL."""
    _blocks: int
    _table: int
    _data: bytes = field(repr=False)

    def may_hold(self, serial: int) -> bool:
        """False only for a serial number that is not in the CRL. Raises RevocationError `revocation.filter`."""
        block, place = _place(bytes.fromhex(self.key), serial, self._blocks)
        at = self._table + block * _OFFSET.size
        start, end = _OFFSET.unpack_from(self._data, at)[0], _OFFSET.unpack_from(self._data, at + _OFFSET.size)[0]
        return place in _decode(self._data[start:end])


def build(crl: Crl, spki_sha256: str, sm2_id: str) -> bytes:
    """The filter's file for a complete CRL of one issuer; the same octets for the same CRL.

    `spki_sha256`, `sm2_id`: the key that has been found to have signed it, hexadecimal, and its SM2 ID. Raises
    RevocationError `revocation.filter` for a CRL that must be used whole: deltas, indirect and unusable ones.
    """
    if crl.unusable or crl.delta_base is not None or (crl.point is not None and crl.point.indirect):
        raise RevocationError(_CODE, "an unusable, indirect or delta CRL")
    serials, name = set(crl.entries.serials()), sm2_id.encode()
    if len(serials) > MAX_ENTRIES or len(name) > 0xFF or crl.summary is not None:
        raise RevocationError(_CODE, "more entries, or a longer SM2 ID, than a filter takes")
    head = head_of(crl.der)
    if _says(parse_crl(head)) != _says(crl):
        raise RevocationError(_CODE, "its head does not read as the CRL does")
    blocks, table = _blocks(bytes.fromhex(spki_sha256), serials, _HEAD.size + len(name) + len(head))
    start = _HEAD.pack(
        MAGIC,
        bytes.fromhex(crl.sha256),
        bytes.fromhex(spki_sha256),
        len(name),
        len(head),
        len(serials),
        len(blocks),
    )
    return b"".join([start, name, head, *map(_OFFSET.pack, table), *blocks])


@functools.lru_cache(maxsize=KEPT)
def parse_filter(data: bytes) -> Crl:
    """The CRL's head with its `summary`, every block decoded once.

    Raises RevocationError `revocation.filter` for any other octets. Nothing is allocated by what the file says of
    itself: all sizes are held against its own.
    """
    try:
        magic, whole, key, named, headed, count, blocks = _HEAD.unpack_from(data)
        start = _HEAD.size + named
        table = start + headed
        first = table + (blocks + 1) * _OFFSET.size
        if magic != MAGIC or count > MAX_ENTRIES or blocks != _blocks_for(count) or first > len(data):
            raise ValueError("head")
        offsets = [row[0] for row in _OFFSET.iter_unpack(data[table:first])]
        if offsets[0] != first or offsets[-1] != len(data) or sorted(offsets) != offsets:
            raise ValueError("offsets")
        held = sum(len(_decode(data[a:b])) for a, b in itertools.pairwise(offsets))
        if held > count or (count and not held):
            raise ValueError("count")
        name = data[_HEAD.size : start].decode()
        head = parse_crl(data[start:table])
    except (ValueError, struct.error, CrosshallError) as error:
        raise RevocationError(_CODE, f"not a filter: {error}") from error
    if head.count or head.signature or head.unusable or head.delta_base is not None:
        raise RevocationError(_CODE, "not the head of a CRL that a filter may stand for")
    if head.point is not None and head.point.indirect:
        raise RevocationError(_CODE, "of an indirect CRL")
    summary = Filter(whole.hex(), key.hex(), name, count, blocks, table, data)
    return replace(head, sha256=hashlib.sha256(data).hexdigest(), summary=summary)


def _says(crl: Crl) -> tuple[object, ...]:
    """All that a CRL says beside its entries and signature."""
    return (
        crl.issuer.normalised,
        crl.this_update,
        crl.next_update,
        crl.number,
        crl.delta_base,
        dict(crl.extensions),
        crl.signature_algorithm,
        crl.signature_parameters,
        crl.unusable,
    )


def _blocks_for(count: int) -> int:
    return max(1, -(-count // PER_BLOCK))


def _blocks(key: bytes, serials: Iterable[int], before: int) -> tuple[list[bytes], list[int]]:
    """The blocks, and where each begins and the last one ends; `before`: octets in front of the offsets."""
    numbers = list(serials)
    places: list[set[int]] = [set() for _ in range(_blocks_for(len(numbers)))]
    for serial in numbers:
        block, place = _place(key, serial, len(places))
        places[block].add(place)
    blocks, table = [], [before + (len(places) + 1) * _OFFSET.size]
    for found in places:
        blocks.append(_encode(sorted(found)))
        table.append(table[-1] + len(blocks[-1]))
    return blocks, table


def _place(key: bytes, serial: int, blocks: int) -> tuple[int, int]:
    """Block and place of a serial number, evenly spread."""
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big", signed=True)
    value = int.from_bytes(hashlib.sha256(key + octets).digest()[:8], "big")
    return ((value >> 32) * blocks) >> 32, ((value & 0xFFFFFFFF) * _RANGE) >> 32


def _encode(places: list[int]) -> bytes:
    bits, last = [], -1
    for place in places:
        step = place - last - 1
        bits.append("1" * (step >> BITS) + "0" + format(step & ((1 << BITS) - 1), f"0{BITS}b"))
        last = place
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big") if text else b""


def _decode(data: bytes) -> set[int]:
    """The places in a block, in its one form. Raises RevocationError `revocation.filter`."""
    text = format(int.from_bytes(data, "big"), f"0{8 * len(data)}b") if data else ""
    found, at, last = set(), 0, -1
    while (stop := text.find("0", at)) >= 0:
        rest = text[stop + 1 : stop + 1 + BITS]
        last += 1 + ((stop - at) << BITS) + int(rest or "0", 2)
        if len(rest) != BITS or last >= _RANGE:
            raise RevocationError(_CODE, "a block that is cut or out of range")
        found.add(last)
        at = stop + 1 + BITS
    if len(text) - at >= 8:
        raise RevocationError(_CODE, "a block with more than its padding")
    return found
