"""Distinguished names: read, compared and shown.

Two names are equal when their `normalised` forms are (RFC 5280 §7.1): string types, case, NFKC variants and runs of
spaces do not matter, order of RDNs does, order inside an RDN does not.
"""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass, field

from ca_bridge.asn1 import der
from ca_bridge.asn1.oids import ATTRIBUTES, SHORT_NAMES
from ca_bridge.errors import InputError

MAX_RDNS = 64
UTF8, NUMERIC, PRINTABLE, T61, IA5, VISIBLE, GENERAL, UNIVERSAL, BMP = 12, 18, 19, 20, 22, 26, 27, 28, 30
_CACHED = 1024

NormalisedRdn = tuple[tuple[str, str], ...]
Normalised = tuple[NormalisedRdn, ...]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of a name: dotted type and text; `raw` is the value's DER."""

    type: str
    value: str = field(repr=False)
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A distinguished name, RDNs in the certificate's order."""

    der: bytes = field(repr=False)
    rdns: tuple[tuple[Attribute, ...], ...] = field(repr=False)
    normalised: Normalised = field(repr=False)

    def all(self, kind: str) -> tuple[str, ...]:
        """Every value of an attribute (`CN`, `OU`, … or a dotted type), in order."""
        wanted = ATTRIBUTES.get(kind, kind)
        return tuple(a.value for rdn in self.rdns for a in rdn if a.type == wanted)

    def get(self, kind: str) -> str | None:
        """The only value of an attribute, None when absent. Raises InputError `asn1.name` when there are more."""
        found = self.all(kind)
        if len(found) > 1:
            raise InputError("asn1.name", f"attribute {kind} is there {len(found)} times")
        return found[0] if found else None

    def has(self, kind: str, text: str) -> bool:
        """Whether an attribute has this value, as RFC 5280 §7.1 compares them."""
        wanted = (ATTRIBUTES.get(kind, kind), "'" + _wanted(text))
        return any(wanted in rdn for rdn in self.normalised)

    @property
    def text(self) -> str:
        """For people only, most specific first; never compared."""
        return ", ".join(
            "+".join(f"{SHORT_NAMES.get(a.type, a.type)}={_shown(a.value)}" for a in rdn) for rdn in reversed(self.rdns)
        )

    @property
    def empty(self) -> bool:
        """Whether the name has no RDN at all."""
        return not self.rdns


def parse_name(data: bytes) -> Name:
    """The name of an authority that `data` (DER) is, remembered. Raises InputError `asn1.name` or `asn1.der`."""
    return _cached(data) if len(data) <= _CACHED else read_name(data)


def read_name(data: bytes) -> Name:
    """As `parse_name` for a person's name: of it only what many people share is remembered."""
    rdns: list[tuple[Attribute, ...]] = []
    normalised: list[NormalisedRdn] = []
    for _, begin, start, stop in der.children(data, limit=MAX_RDNS):
        shared = data[start + 2 : start + 7] in _SHARED and stop - begin <= _CACHED
        rdn, comparable = (_shared_rdn if shared else _rdn)(data[begin:stop])
        rdns.append(rdn)
        normalised.append(comparable)
    return Name(data, tuple(rdns), tuple(normalised))


def normalise(text: str) -> str:
    """The comparable form of a string: NFKC, case folded, ignorable characters gone, spaces single (RFC 4518 §2)."""
    if text.isascii() and text.isprintable():
        return " ".join(text.lower().split())
    # Ignorable characters go first: one between a letter and its accent must not keep the two from composing.
    kept = (
        text
        if text.isalnum()
        else "".join(c for c in text if c.isspace() or unicodedata.category(c) not in ("Cc", "Cf"))
    )
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", kept).casefold())
    return " ".join(folded.split())


def decode_string(tag: int, octets: bytes) -> str | None:
    """Text of a string type; None for any other type. Raises InputError `asn1.name` when the octets do not fit it.

    T61String holds whatever a CA's software wrote: UTF-8 and GB 18030 are tried in this order, then Latin-1.
    """
    try:
        if tag == UTF8:
            return octets.decode()
        if tag in (PRINTABLE, IA5, NUMERIC, VISIBLE):
            return octets.decode("ascii")
        if tag == BMP:
            return octets.decode("utf-16-be")
        if tag == UNIVERSAL:
            return octets.decode("utf-32-be")
    except UnicodeDecodeError as error:
        raise InputError("asn1.name", f"octets do not fit string type {tag}") from error
    if tag in (T61, GENERAL):
        for codec in ("utf-8", "gb18030"):
            try:
                return octets.decode(codec)
            except UnicodeDecodeError:
                continue
        return octets.decode("latin-1")
    return None


def _shown(value: str) -> str:
    return "".join(c if c.isprintable() else "�" for c in value)


def _rdn(data: bytes) -> tuple[tuple[Attribute, ...], NormalisedRdn]:
    size = len(data)
    if 9 < size < 0x80 and data[0] == der.SET and data[1] == size - 2 and data[3] == size - 4:
        # One attribute, as nearly everywhere, and each length one octet that must lead to the end exactly.
        at = 6 + data[5]
        if data[2] == der.SEQUENCE and data[4] == der.OID and at + 2 <= size and data[at + 1] == size - at - 2:
            attribute, text = _attribute(data[6:at], data[at], data[at + 2 :], data[at:])
            return (attribute,), ((attribute.type, text),)
    tag, _, start, stop = der.read(data, 0, size)
    if tag != der.SET or start == stop:
        raise InputError("asn1.name", "RDN")
    pairs = [_pair(data, a) for a in der.items(data, start, stop, MAX_RDNS)]
    comparable = [(attribute.type, text) for attribute, text in pairs]
    return tuple(attribute for attribute, _ in pairs), tuple(sorted(comparable) if len(comparable) > 1 else comparable)


def _pair(data: bytes, item: der.Tlv) -> tuple[Attribute, str]:
    parts = der.items(data, item[2], item[3], 2) if item[0] == der.SEQUENCE else []
    if len(parts) != 2:
        raise InputError("asn1.name", "attribute")
    kind, value = parts
    return _attribute(der.content(data, kind, der.OID), value[0], der.content(data, value), der.raw(data, value))


def _attribute(kind: bytes, tag: int, octets: bytes, encoded: bytes) -> tuple[Attribute, str]:
    """The attribute and its comparable form."""
    if tag & 0x1F == 0x1F:
        raise der.bad("tag number above 30")
    text = decode_string(tag, octets)
    if text is None:
        # A value that is no string is compared octet by octet; the prefix keeps it apart from every text.
        shown = "#" + encoded.hex()
        return Attribute(der.oid(kind), shown, encoded), shown
    return Attribute(der.oid(kind), text, encoded), "'" + normalise(text)


_SHARED = frozenset(b"\x06\x03\x55\x04" + bytes([last]) for last in (6, 7, 8, 10, 11))
"""Country, locality, province, organisation and its unit."""
_shared_rdn = functools.lru_cache(maxsize=4096)(_rdn)
_cached = functools.lru_cache(maxsize=8192)(read_name)
_wanted = functools.lru_cache(maxsize=1024)(normalise)
"""Texts of profiles and lists, which come again with every leaf."""
