"""Identity numbers: what is brought to the normal form, and what is refused with which code."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ca_bridge.errors import IdentityError
from ca_bridge.identity import numbers
from ca_bridge.identity.numbers import normalise
from ca_bridge.types import IdentifierType as T

GOOD = [
    (T.CN_ID, "CN", "11010519491231002X", "11010519491231002X"),  # the example of GB 11643
    (T.CN_ID, "CN", "440524188001010014", "440524188001010014"),  # the example of GB 11643
    (T.CN_ID, "CN", "11010519491231002x", "11010519491231002X"),
    (T.CN_ID, "CN", " 110105 19491231 002X ", "11010519491231002X"),
    (T.CN_ID, "CN", "１１０１０５１９４９１２３１００２Ｘ", "11010519491231002X"),
    (T.CN_ID, "CN", "１１０１０５　１９４９１２３１　００２ｘ", "11010519491231002X"),
    (T.CN_ID, "CN", "810000199408230021", "810000199408230021"),
    (T.CN_ID, "CN", "830000199201300022", "830000199201300022"),
    (T.HKID, "HK", "A123456(3)", "A1234563"),
    (T.HKID, "HK", "a123456（3）", "A1234563"),
    (T.HKID, "HK", "Z987654(6)", "Z9876546"),
    (T.HKID, "HK", "G123456A", "G123456A"),
    (T.MO_BIR, "MO", "12345678", "12345678"),
    (T.MO_BIR, "MO", "1234567(8)", "12345678"),
    (T.MO_BIR, "MO", "1/234567/8", "12345678"),
    (T.HOME_RETURN, "CN", "h12345678", "H12345678"),
    (T.HOME_RETURN, "CN", "M1234567801", "M12345678"),
    (T.PASSPORT, "CN", "e12345678", "E12345678"),
    (T.PASSPORT, "PRT", "CA 123456", "CA123456"),
    (T.USCC, "CN", "91350100M000100Y43", "91350100M000100Y43"),  # the example of GB 32100
    (T.USCC, "CN", "91350100m000100y43", "91350100M000100Y43"),
    (T.PRIVATE, "HK", " 0012-ab ", "0012-ab"),
]
BAD = [
    (T.CN_ID, "CN", "110105194912310021", "check_digit"),
    (T.CN_ID, "CN", "11010519491231003X", "check_digit"),
    (T.CN_ID, "CN", "810000199408230022", "check_digit"),
    (T.CN_ID, "CN", "110105194913310021", "birth_date"),
    (T.CN_ID, "CN", "11010519000229001X", "birth_date"),  # 1900 was no leap year
    (T.CN_ID, "CN", "110105000012310021", "birth_date"),
    (T.CN_ID, "CN", "110105174912310021", "birth_date"),
    (T.CN_ID, "CN", "110105210112310021", "birth_date"),
    (T.CN_ID, "CN", "110105491231002", "number"),  # 15 digits: out of force since 2013
    (T.CN_ID, "CN", "1101051949123100210", "number"),
    (T.CN_ID, "CN", "X1010519491231002X", "number"),
    (T.CN_ID, "CN", "1101051949123100X2", "number"),
    (T.CN_ID, "CN", "990105194912310021", "number"),
    (T.CN_ID, "CN", "000000194912310021", "number"),
    (T.CN_ID, "CN", "810001199408230021", "number"),
    (T.CN_ID, "CN", "840000199408230021", "number"),
    (T.CN_ID, "CN", "110105-19491231-002X", "number"),
    (T.CN_ID, "CN", "11010519491231002Х", "characters"),  # Cyrillic
    (T.CN_ID, "CN", "١١٠١٠٥١٩٤٩١٢٣١٠٠٢X", "characters"),  # Arabic-Indic digits
    (T.CN_ID, "CN", "①1010519491231002X", "characters"),  # circled: NFKC would make it a 1
    (T.CN_ID, "CN", "𝟏1010519491231002X", "characters"),  # mathematical bold
    (T.CN_ID, "CN", "²1010519491231002X", "characters"),
    (T.CN_ID, "CN", "1101051949\u200b1231002X", "characters"),
    (T.CN_ID, "CN", "11010519491231002X\n", "characters"),
    (T.CN_ID, "CN", "11010519491231002X\0", "characters"),
    (T.CN_ID, "CN", "\u202e11010519491231002X", "characters"),
    (T.CN_ID, "CN", "", "characters"),
    (T.CN_ID, "CN", "   ", "characters"),
    (T.CN_ID, "CN", "1" * 65, "characters"),
    (T.CN_ID, "HK", "11010519491231002X", "state"),
    (T.CN_ID, "cn", "11010519491231002X", "state"),
    (T.HKID, "HK", "A123456(4)", "check_digit"),
    (T.HKID, "HK", "B123456(3)", "check_digit"),
    (T.HKID, "HK", "123456(3)", "number"),
    (T.HKID, "HK", "ABC123456(3)", "number"),
    (T.HKID, "HK", "A12345(3)", "number"),
    (T.HKID, "HK", "A123456(3", "number"),
    (T.HKID, "HK", "A1234563)", "number"),
    (T.HKID, "HK", "A123456(B)", "number"),
    (T.HKID, "HK", "А123456(3)", "characters"),  # Cyrillic
    (T.HKID, "MO", "A123456(3)", "state"),
    (T.MO_BIR, "MO", "1234567", "number"),
    (T.MO_BIR, "MO", "123456789", "number"),
    (T.MO_BIR, "MO", "1234567(8", "number"),
    (T.MO_BIR, "MO", "A2345678", "number"),
    (T.MO_BIR, "CN", "12345678", "state"),
    (T.HOME_RETURN, "CN", "A12345678", "number"),
    (T.HOME_RETURN, "CN", "H1234567", "number"),
    (T.HOME_RETURN, "CN", "H123456780", "number"),
    (T.HOME_RETURN, "CN", "H123456780011", "number"),
    (T.HOME_RETURN, "HK", "H12345678", "state"),
    (T.PASSPORT, "CN", "E123", "number"),
    (T.PASSPORT, "CN", "E123456789", "number"),
    (T.PASSPORT, "CN", "ABCDEFGH", "number"),
    (T.PASSPORT, "CN", "E1234-678", "number"),
    (T.PASSPORT, "CN", "Е12345678", "characters"),  # Cyrillic
    (T.PASSPORT, "", "E12345678", "state"),
    (T.PASSPORT, "portugal", "E12345678", "state"),
    (T.USCC, "CN", "91350100M000100Y44", "check_digit"),
    (T.USCC, "CN", "91350100M000100Z43", "number"),  # Z is not in the alphabet
    (T.USCC, "CN", "9135O100M000100Y43", "number"),  # O for 0
    (T.USCC, "CN", "9I350100M000100Y43", "number"),  # I for 1
    (T.USCC, "CN", "91350100M000100Y4", "number"),
    (T.USCC, "CN", "91ABCDEFM000100Y43", "number"),
    (T.USCC, "HK", "91350100M000100Y43", "state"),
    (T.PRIVATE, "HK", "", "characters"),
    (T.PRIVATE, "HK", "é1", "characters"),
    (T.PRIVATE, "HK", "1\n", "characters"),
    (T.PRIVATE, "HK", "1" * 65, "characters"),
]


@pytest.mark.parametrize(("kind", "state", "text", "value"), GOOD)
def test_normal_form(kind: T, state: str, text: str, value: str) -> None:
    """Full width, spaces, brackets and lower case come to one form, which is its own."""
    found = normalise(kind, state, text)
    assert (found.type, found.state, found.value) == (kind, state, value)
    assert normalise(kind, state, value) == found


@pytest.mark.parametrize(("kind", "state", "text", "reason"), BAD)
def test_refused(kind: T, state: str, text: str, reason: str) -> None:
    """What is not such a number is refused with its own code, and the error does not repeat it."""
    with pytest.raises(IdentityError) as caught:
        normalise(kind, state, text)
    assert caught.value.code == f"identity.{reason}"
    assert len(text.strip()) < 5 or text.strip() not in str(caught.value)


def test_value_is_not_shown() -> None:
    """An identifier's representation does not hold the number."""
    assert "1949" not in repr(normalise(T.CN_ID, "CN", "11010519491231002X"))


def test_uscc_remainders() -> None:
    """Every check character occurs; a remainder of 0 gives 0 (GB 32100 §6: 31 - 0 is 31, which has no character)."""
    seen = set()
    for number in range(4000):
        first = f"91440100MA{number:07d}"
        total = sum(numbers.USCC_ALPHABET.index(c) * 3**place for place, c in enumerate(first)) % 31
        check = numbers.uscc_check(first)
        assert check == ("0" if total == 0 else numbers.USCC_ALPHABET[31 - total])
        assert normalise(T.USCC, "CN", first + check).value == first + check
        seen.add(check)
    assert seen == set(numbers.USCC_ALPHABET)


def cn_id(area: str, born: date, order: int) -> str:
    """A right number, its check digit found by trying (ISO 7064: the sum is 1 modulo 11)."""
    first = f"{area}{born:%Y%m%d}{order:03d}"
    for check in "0123456789X":
        values = [10 if c == "X" else int(c) for c in first + check]
        if sum(v * pow(2, 17 - i) for i, v in enumerate(values)) % 11 == 1:
            return first + check
    raise AssertionError


areas = st.one_of(
    st.sampled_from(["810000", "820000", "830000"]),
    st.builds("{:02d}{:04d}".format, st.sampled_from(sorted(numbers.PROVINCES)), st.integers(0, 9999)),
)
cn_ids = st.builds(cn_id, areas, st.dates(date(1850, 1, 1), date(2099, 12, 31)), st.integers(0, 999))
hkids = st.builds(
    lambda letters, digits: (letters, f"{digits:06d}"),
    st.from_regex(r"[A-Z]{1,2}", fullmatch=True),
    st.integers(0, 999_999),
)


@settings(max_examples=1000)
@given(cn_ids)
def test_cn_ids(number: str) -> None:
    """Every right number passes, in full width too."""
    wide = "".join(chr(ord(c) + 0xFEE0) for c in number.lower())
    assert normalise(T.CN_ID, "CN", number) == normalise(T.CN_ID, "CN", wide)


@settings(max_examples=1000)
@given(cn_ids, st.integers(0, 17), st.integers(1, 9))
def test_one_wrong_digit(number: str, place: int, by: int) -> None:
    """A single wrong digit is always caught (ISO 7064 MOD 11-2)."""
    old = 10 if number[place] == "X" else int(number[place])
    new = (old + by) % (11 if place == 17 else 10)
    if new != old:
        with pytest.raises(IdentityError):
            normalise(T.CN_ID, "CN", number[:place] + "0123456789X"[new] + number[place + 1 :])


@settings(max_examples=1000)
@given(cn_ids, st.integers(0, 16))
def test_neighbours_swapped(number: str, place: int) -> None:
    """Two neighbours exchanged are always caught."""
    swapped = number[:place] + number[place + 1] + number[place] + number[place + 2 :]
    if swapped != number:
        with pytest.raises(IdentityError):
            normalise(T.CN_ID, "CN", swapped)


@settings(max_examples=1000)
@given(hkids, st.integers(1, 10))
def test_hkids(parts: tuple[str, str], by: int) -> None:
    """One and two letters; the sum with the check digit is 0 modulo 11, and no other check digit passes."""
    letters, digits = parts
    check = numbers.hkid_check(letters, digits)
    values = [36 if c == " " else ord(c) - 55 for c in letters.rjust(2)] + [int(d) for d in digits]
    total = sum(v * w for v, w in zip(values, range(9, 1, -1), strict=True)) + "0123456789A".index(check)
    assert total % 11 == 0
    assert normalise(T.HKID, "HK", f"{letters}{digits}({check})").value == letters + digits + check
    wrong = "0123456789A"[("0123456789A".index(check) + by) % 11]
    with pytest.raises(IdentityError):
        normalise(T.HKID, "HK", f"{letters}{digits}({wrong})")


@settings(max_examples=1000)
@given(st.text(max_size=70), st.sampled_from(list(T)))
def test_any_text(text: str, kind: T) -> None:
    """Whatever comes in: a normal form that is stable, or an IdentityError, and nothing else."""
    state = {T.HKID: "HK", T.MO_BIR: "MO"}.get(kind, "CN")
    try:
        found = normalise(kind, state, text)
    except IdentityError:
        return
    assert found.value.isascii()
    assert normalise(kind, state, found.value) == found
