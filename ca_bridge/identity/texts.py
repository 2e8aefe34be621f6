"""The texts that stand at a named place of a certificate: a subject attribute, an extension, a subjectAltName.

CAs write one and the same number as UTF8String, PrintableString, BMPString, T61String, IA5String, or as bare GB 18030
octets without any type (GB/T 20518 left it open for years). No text begins with a control character and every string
type's tag is one, so the two cannot be taken for each other.
"""

from __future__ import annotations

import unicodedata

from ca_bridge.asn1 import der
from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.general_names import KINDS, OTHER
from ca_bridge.asn1.names import decode_string
from ca_bridge.errors import IdentityError, InputError

MAX_TEXT = 256
"""Characters of one text; bounds what patterns of a profile have to match."""
MAX_VALUES = 16

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_TEXT_KINDS = ("rfc822Name", "dNSName", "URI")


def texts_at(leaf: Certificate, source: str) -> tuple[str, ...]:
    """Every text at `source` (`subject.CN`, `extension:<OID>`, `san.<OID or kind>`), in order; empty for none.

    Raises IdentityError `identity.encoding` (no text, control or formatting characters, too long, too many) or
    `identity.profile` (a source that no certificate can have).
    """
    kind, _, place = source.replace(":", ".", 1).partition(".")
    if kind == "subject":
        found = leaf.subject.all(place)
    elif kind == "extension":
        value = leaf.extension(place)
        found = () if value is None else (_decode(value),)
    elif kind == "san":
        found = _alt_names(leaf, place)
    else:
        raise IdentityError("identity.profile", f"no such source: {source}")
    if len(found) > MAX_VALUES:
        raise IdentityError("identity.encoding", "the same place holds too many values")
    return tuple(_checked(text) for text in found)


def _alt_names(leaf: Certificate, place: str) -> tuple[str, ...]:
    names = leaf.alt_names or ()
    if place[0].isdigit():
        return tuple(_decode(name.octets) for name in names if name.kind == OTHER and name.text == place)
    if place not in _TEXT_KINDS:
        raise IdentityError("identity.profile", f"a subjectAltName of kind {place} is no text")
    return tuple(name.text for name in names if KINDS[name.kind] == place)


def _decode(value: bytes) -> str:
    if not value:
        raise IdentityError("identity.encoding", "an empty value")
    if value[0] >= 0x20:
        return _bare(value)
    try:
        tag, _, start, stop = der.read(value, 0, len(value))
        text = decode_string(tag, value[start:stop]) if stop == len(value) else None
    except InputError as error:
        raise IdentityError("identity.encoding", "a string that does not fit its type") from error
    if text is None:
        raise IdentityError("identity.encoding", "not one string, or bytes after it")
    return text


def _bare(value: bytes) -> str:
    for codec in ("utf-8", "gb18030"):
        try:
            return value.decode(codec)
        except UnicodeDecodeError:
            continue
    raise IdentityError("identity.encoding", "bare octets in no known encoding")


def _checked(text: str) -> str:
    # Control and formatting characters would show one name and be another. Private and unassigned ones stay: rare
    # characters of real names are among them (GB 18030's private area, ideographs newer than Python's tables).
    if not 1 <= len(text) <= MAX_TEXT or (
        not text.isprintable() and any(unicodedata.category(character) in _HIDDEN for character in text)
    ):
        raise IdentityError("identity.encoding", "a text that is empty, too long, or holds control characters")
    return text
