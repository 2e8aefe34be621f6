"""A CRL's serial numbers in 12 bits each: what the filter does not hold is not in that CRL; what it holds must be
looked up in the CRL itself.

    head ─ offsets of blocks ─ blocks: sorted hashes, differences Golomb–Rice coded, padded with ones to octets

A hash has a block and a place in it, so that a look-up decodes about 64 differences, whatever the CRL's size. The
filter proves nothing by itself: it counts only as the file that signed metadata lists, for the CRL whose hash it names.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ca_bridge.errors import RevocationError

MAGIC = b"crosshall-gcs-1\n"
BITS = 10
"""One in 1,024 serial numbers that are not in the CRL is looked up there all the same."""
PER_BLOCK = 64
MAX_ENTRIES = 16_000_000
_HEAD = struct.Struct(">16s32s32sqq20sII")
_OFFSET = struct.Struct(">I")
_RANGE = PER_BLOCK << BITS


@dataclass(frozen=True, slots=True)
class Source:
    """The CRL that a filter was made of. Times are aware, in whole seconds."""

    issuer_key: bytes
    """SHA-256 of the issuing key's SubjectPublicKeyInfo."""
    crl_sha256: bytes
    number: int
    this_update: datetime
    next_update: datetime


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter that was read; its blocks are decoded when they are asked."""

    source: Source
    count: int
    _blocks: int
    _data: bytes = field(repr=False)

    def may_hold(self, serial: int) -> bool:
        """False only for a serial number that is not in the CRL. Raises RevocationError `revocation.filter`."""
        block, place = _place(self.source.issuer_key, serial, self._blocks)
        at = _HEAD.size + block * _OFFSET.size
        start, end = _OFFSET.unpack_from(self._data, at)[0], _OFFSET.unpack_from(self._data, at + _OFFSET.size)[0]
        return place in _decode(self._data[start:end])


def build(source: Source, serials: Iterable[int]) -> bytes:
    """The filter's file: holds every one of `serials`; the same octets for the same set.

    Raises RevocationError `revocation.filter`: more than it takes.
    """
    numbers = set(serials)
    if len(numbers) > MAX_ENTRIES or not 0 <= source.number < 1 << 160:
        raise RevocationError("revocation.filter", "more entries, or a longer crlNumber, than a filter takes")
    blocks = max(1, -(-len(numbers) // PER_BLOCK))
    places: list[set[int]] = [set() for _ in range(blocks)]
    for serial in numbers:
        block, place = _place(source.issuer_key, serial, blocks)
        places[block].add(place)
    parts, offsets = [], [_HEAD.size + (blocks + 1) * _OFFSET.size]
    for found in places:
        parts.append(_encode(sorted(found)))
        offsets.append(offsets[-1] + len(parts[-1]))
    head = _HEAD.pack(
        MAGIC,
        source.issuer_key,
        source.crl_sha256,
        int(source.this_update.timestamp()),
        int(source.next_update.timestamp()),
        source.number.to_bytes(20, "big"),
        len(numbers),
        blocks,
    )
    return b"".join([head, *map(_OFFSET.pack, offsets), *parts])


def read(data: bytes) -> Filter:
    """The filter in a file, every block decoded once. Raises RevocationError `revocation.filter` for any other octets.

    Nothing is allocated by what the head says: all sizes are held against the file's own.
    """
    try:
        magic, key, crl, since, until, number, count, blocks = _HEAD.unpack_from(data)
        table = _HEAD.size + (blocks + 1) * _OFFSET.size
        if magic != MAGIC or count > MAX_ENTRIES or blocks != max(1, -(-count // PER_BLOCK)) or table > len(data):
            raise ValueError("head")
        offsets = [row[0] for row in _OFFSET.iter_unpack(data[_HEAD.size : table])]
        if offsets[0] != table or offsets[-1] != len(data) or sorted(offsets) != offsets:
            raise ValueError("offsets")
        held = sum(len(_decode(data[a:b])) for a, b in itertools.pairwise(offsets))
        if held > count or (count and not held):
            raise ValueError("count")
        times = datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(until, UTC)
    except (ValueError, OverflowError, OSError, struct.error) as error:
        raise RevocationError("revocation.filter", f"not a filter: {error}") from error
    return Filter(Source(key, crl, int.from_bytes(number, "big"), *times), count, blocks, data)


def _place(issuer_key: bytes, serial: int, blocks: int) -> tuple[int, int]:
    """Block and place of a serial number, evenly spread."""
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big", signed=True)
    value = int.from_bytes(hashlib.sha256(issuer_key + octets).digest()[:8], "big")
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
            raise RevocationError("revocation.filter", "a block that is cut or out of range")
        found.add(last)
        at = stop + 1 + BITS
    if len(text) - at >= 8:
        raise RevocationError("revocation.filter", "a block with more than its padding")
    return found
