"""`Entries`: the revoked certificates of one CRL, found by issuer and serial number in constant time.

The list's own bytes are the table's values: an open-addressing table of 4-octet positions points into them, so that a
list of a million entries costs one pass and 8 MB beside its octets, and an entry is decoded only when it is asked for.

Serial numbers are hashed with the process's own secret seed (PEP 456): who writes a CRL cannot make them collide.
"""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ca_bridge.asn1 import der, oids
from ca_bridge.asn1.extensions import read_extensions
from ca_bridge.asn1.general_names import DIRECTORY, general_names
from ca_bridge.asn1.names import Normalised
from ca_bridge.errors import InputError

MAX_ISSUERS = 10_000
"""Of one indirect CRL."""
_MAX_KEPT = 10_000
_TIMES = (der.UTC_TIME, der.GENERALIZED_TIME)
_UNDERSTOOD = frozenset({oids.CRL_REASON, oids.INVALIDITY_DATE, oids.CERTIFICATE_ISSUER})


@dataclass(frozen=True, slots=True)
class Entry:
    """One revoked certificate: since when, and why (None: not said)."""

    serial: int
    revoked_at: datetime
    reason: int | None


class Entries:
    """Immutable after `read_entries`; `unusable` says why the whole list must not be used, empty when it may."""

    __slots__ = ("_data", "_issuers", "_mask", "_owners", "_starts", "_table", "count", "unusable")

    def __init__(self, data: bytes, owner: Normalised) -> None:
        self.count = 0
        self.unusable = ""
        self._data = data
        self._issuers: dict[Normalised, int] = {owner: 0}
        # From which position on entries belong to which issuer (RFC 5280 §5.3.3: it holds until another is named).
        self._starts = array("I", [0])
        self._owners = array("I", [0])
        self._table = array("I", [0])
        self._mask = 0

    def find(self, issuer: Normalised, serial: int) -> Entry | None:
        """The first entry of a certificate, None when it is not listed. Raises InputError `asn1.*` for a broken one."""
        owner = self._issuers.get(issuer)
        if owner is None:
            return None
        wanted = serial.to_bytes((serial if serial >= 0 else ~serial).bit_length() // 8 + 1, "big", signed=True)
        slot = _hash(owner, wanted) & self._mask
        while position := self._table[slot]:
            if self._serial(position) == wanted and self._owner(position) == owner:
                return _entry(self._data, position)
            slot = (slot + 1) & self._mask
        return None

    def serials(self) -> Iterator[int]:
        """Every serial number, in no order; of an indirect CRL for all its issuers."""
        for position in self._table:
            if position:
                yield int.from_bytes(self._serial(position), "big", signed=True)

    def _fill(self, positions: array[int]) -> None:
        self.count = len(positions)
        size = 1 << max(len(positions) * 3 // 2, 1).bit_length()
        self._table = array("I", bytes(4 * size))
        self._mask = size - 1
        table, mask, serial_at = self._table, self._mask, self._serial
        several = len(self._starts) > 1
        for position in positions:
            serial = serial_at(position)
            owner = self._owner(position) if several else 0
            slot = _hash(owner, serial) & mask
            while found := table[slot]:
                # A serial twice keeps the first entry: revoked is revoked, and removeFromCRL must not hide it.
                if serial_at(found) == serial and (not several or self._owner(found) == owner):
                    break
                slot = (slot + 1) & mask
            else:
                table[slot] = position

    def _serial(self, position: int) -> bytes:
        """Content of the serial number of the entry at `position`, whose form has been checked."""
        data = self._data
        length = data[position + 1]
        at = position + 4 if length < 0x80 else position + 4 + (length & 0x7F)
        return data[at : at + data[at - 1]]

    def _owner(self, position: int) -> int:
        return self._owners[bisect.bisect_right(self._starts, position) - 1]


def read_entries(data: bytes, revoked: der.Tlv | None, owner: Normalised, *, indirect: bool) -> Entries:
    """The entries of revokedCertificates, which lies in `data` at `revoked`. Raises InputError `asn1.*`."""
    entries = Entries(data, owner)
    if revoked is None:
        return entries
    if revoked[2] == revoked[3]:
        raise InputError("asn1.crl", "empty revokedCertificates (RFC 5280 §5.1.2.6)")
    reader = _Reader(entries, indirect=indirect)
    entries._fill(reader.positions(revoked[2], revoked[3]))
    return entries


class _Reader:
    """Walks over the entries once, checks their form and notes where each begins."""

    def __init__(self, entries: Entries, *, indirect: bool) -> None:
        self._entries = entries
        self._data = entries._data
        self._indirect = indirect
        self._seen: dict[bytes, Normalised | None] = {}

    def positions(self, position: int, end: int) -> array[int]:
        """Where each entry between two positions begins."""
        data, found = self._data, array("I")
        while position < end:
            start, stop = position + 2, position + 2 + data[position + 1]
            if data[position + 1] >= 0x80 or stop > end:  # the long form, or an error
                _, _, start, stop = der.read(data, position, end)
            number, size = start + 2, data[start + 1]
            when = number + size
            if data[position] != der.SEQUENCE or data[start] != der.INTEGER or not 0 < size < 0x80 or when + 2 > stop:
                raise InputError("asn1.crl", "entry")
            if size > 1 and data[number] in (0, 0xFF) and (data[number] == 0) is (data[number + 1] < 0x80):
                raise der.bad("integer not minimal")
            after = when + 2 + data[when + 1]
            if data[when] not in _TIMES or after > stop:
                raise InputError("asn1.crl", "time of an entry")
            if after != stop:
                self._extensions(data[after:stop], position)
            found.append(position)
            position = stop
        return found

    def _extensions(self, encoded: bytes, position: int) -> None:
        """Entries mostly repeat a few encodings of extensions: each is read once."""
        if encoded not in self._seen:
            if len(self._seen) > _MAX_KEPT:
                self._seen.clear()
            self._seen[encoded] = self._read(encoded)
        named = self._seen[encoded]
        if named is not None:
            self._turn(named, position)

    def _turn(self, issuer: Normalised, position: int) -> None:
        entries = self._entries
        owner = entries._issuers.setdefault(issuer, len(entries._issuers))
        if owner > MAX_ISSUERS:
            raise InputError("asn1.crl", f"more than {MAX_ISSUERS} issuers in one CRL")
        if entries._owners[-1] != owner:
            entries._starts.append(position)
            entries._owners.append(owner)

    def _read(self, encoded: bytes) -> Normalised | None:
        entries = self._entries
        item = der.read(encoded, 0, len(encoded))
        if item[3] != len(encoded):
            raise InputError("asn1.crl", "fields after an entry's extensions")
        found = read_extensions(encoded, item)
        for oid, extension in found.items():
            if extension.critical and oid not in _UNDERSTOOD:
                entries.unusable = entries.unusable or f"unknown critical extension {oid} in an entry"
        if oids.CERTIFICATE_ISSUER not in found:
            return None
        value = found[oids.CERTIFICATE_ISSUER].value
        start, stop = der.whole(value, der.SEQUENCE)
        names = [n.name for n in general_names(value, start, stop) if n.kind == DIRECTORY and n.name is not None]
        if not self._indirect or len(names) != 1:
            entries.unusable = entries.unusable or "certificateIssuer that cannot be followed"
            return None
        return names[0].normalised


def _hash(owner: int, serial: bytes) -> int:
    return hash((owner, serial)) if owner else hash(serial)


def _entry(data: bytes, position: int) -> Entry:
    item = der.read(data, position, len(data))
    parts = list(der.items(data, item[2], item[3], 3))
    reason = None
    if len(parts) == 3:
        value = read_extensions(data, parts[2]).get(oids.CRL_REASON)
        if value is not None:
            start, stop = der.whole(value.value, der.ENUMERATED)
            reason = der.integer(value.value[start:stop])
    return Entry(der.integer(der.content(data, parts[0])), der.time(data, parts[1]), reason)
