"""Properties of the normaliser of names (RFC 5280 §7.1, RFC 4518 §2)."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import example, given
from hypothesis import strategies as st

from ca_bridge.asn1.names import normalise, parse_name
from ca_bridge.crypto.der import element
from ca_bridge.errors import InputError

UTF8, PRINTABLE, BMP, UNIVERSAL = 12, 19, 30, 28
CODECS = {UTF8: "utf-8", BMP: "utf-16-be", UNIVERSAL: "utf-32-be"}
ORGANISATION, COMMON = bytes.fromhex("060355040a"), bytes.fromhex("0603550403")
PLAIN = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789 -.", min_size=1, max_size=30)
ANY_TEXT = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=40)


def name(*parts: tuple[bytes, int, bytes]) -> bytes:
    """DER of a name of single attributes."""
    rdns = (element(0x31, element(0x30, oid + element(tag, value))) for oid, tag, value in parts)
    return element(0x30, b"".join(rdns))


@given(st.text(st.sampled_from("eE\u0301\u0327\u200d\u00ad\u0345\u03b1 \tﬁＡ"), max_size=8) | ANY_TEXT)
@example("e\u200d\u0301")
def test_normal_is_normal(text: str) -> None:
    """Normalising twice changes nothing more: equality is an equivalence."""
    assert normalise(normalise(text)) == normalise(text)


@given(PLAIN, st.integers(1, 4))
def test_case_and_spaces(text: str, spaces: int) -> None:
    """Case, spaces around and runs of spaces do not matter."""
    gap = " " * spaces
    assert normalise(gap + text.upper().replace(" ", gap) + gap) == normalise(text)


@given(PLAIN, PLAIN)
def test_nothing_else_is_equal(left: str, right: str) -> None:
    """Texts of plain characters are equal only for case and spaces."""
    same = " ".join(left.lower().split()) == " ".join(right.lower().split())
    assert (normalise(left) == normalise(right)) == same


@given(ANY_TEXT)
def test_string_types(text: str) -> None:
    """UTF8String, BMPString and UniversalString of one text are one name (PKITS 4.3.10, 4.3.11)."""
    forms = {parse_name(name((COMMON, tag, text.encode(codec)))).normalised for tag, codec in CODECS.items()}
    assert len(forms) == 1


@given(PLAIN, PLAIN)
def test_type_and_order(left: str, right: str) -> None:
    """An attribute's type counts, and so does the order of RDNs."""
    one = parse_name(name((ORGANISATION, PRINTABLE, left.encode()), (COMMON, PRINTABLE, right.encode())))
    turned = parse_name(name((COMMON, PRINTABLE, right.encode()), (ORGANISATION, PRINTABLE, left.encode())))
    other = parse_name(name((COMMON, PRINTABLE, left.encode()), (COMMON, PRINTABLE, right.encode())))
    assert len({one.normalised, turned.normalised, other.normalised}) == 3


@given(ANY_TEXT)
def test_text_never_equals_octets(text: str) -> None:
    """A value that is no string is equal to no text, whatever the text imitates."""
    octets = parse_name(name((COMMON, 4, text.encode())))
    written = parse_name(name((COMMON, UTF8, octets.rdns[0][0].value.encode())))
    assert octets.normalised != written.normalised


@given(st.binary(max_size=80))
def test_any_octets(data: bytes) -> None:
    """Any octets are a name or an InputError."""
    for octets in (data, element(0x30, data), name((COMMON, BMP, data)), name((COMMON, 20, data))):
        with suppress(InputError):
            assert isinstance(parse_name(octets).text, str)
