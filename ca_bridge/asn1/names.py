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
    """The name that `data` (DER of a Name) is. Raises InputError `asn1.name` or `asn1.der`."""
    return _cached(data) if len(data) <= _CACHED else _parse(data)


def normalise(text: str) -> str:
    """The comparable form of a string: NFKC, case folded, ignorable characters gone, spaces single (RFC 4518 §2)."""
    if text.isascii() and text.isprintable():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = "".join(
        " " if c.isspace() else c for c in folded if c.isspace() or unicodedata.category(c) not in ("Cc", "Cf")
    )
    return " ".join(kept.split())


def decode_string(tag: int, octets: bytes) -> str | None:
    """Text of a string type; None for any other type. Raises InputError `asn1.name` when the octets do not fit it.

    T61String holds whatever a CA's software wrote: UTF-8 and GB 18030 are tried in this order, then Latin-1.
    """
    try:
        if tag in (UTF8, PRINTABLE, IA5, NUMERIC, VISIBLE):
            return octets.decode("utf-8" if tag == UTF8 else "ascii")
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


def _parse(data: bytes) -> Name:
    rdns: list[tuple[Attribute, ...]] = []
    normalised: list[NormalisedRdn] = []
    for item in der.children(data, limit=MAX_RDNS):
        if item[0] != der.SET or item[2] == item[3]:
            raise InputError("asn1.name", "RDN")
        pairs = [_attribute(data, a) for a in der.items(data, item[2], item[3], MAX_RDNS)]
        rdns.append(tuple(attribute for attribute, _ in pairs))
        normalised.append(tuple(sorted((attribute.type, comparable) for attribute, comparable in pairs)))
    return Name(data, tuple(rdns), tuple(normalised))


def _attribute(data: bytes, item: der.Tlv) -> tuple[Attribute, str]:
    if item[0] != der.SEQUENCE:
        raise InputError("asn1.name", "attribute")
    parts = list(der.items(data, item[2], item[3], 2))
    if len(parts) != 2:
        raise InputError("asn1.name", "attribute")
    value = parts[1]
    text = decode_string(value[0], der.content(data, value))
    encoded = der.raw(data, value)
    # A value that is no string is compared octet by octet; the prefix keeps it apart from every text.
    comparable = "#" + encoded.hex() if text is None else "'" + normalise(text)
    return Attribute(der.oid_at(data, parts[0]), "#" + encoded.hex() if text is None else text, encoded), comparable


_cached = functools.lru_cache(maxsize=8192)(_parse)
