"""Identity numbers: one normal form for each, every check digit tried, nothing repaired.

Full-width digits, letters and brackets, spaces and lower-case letters are brought to the normal form; every other
character outside ASCII is refused, for a look-alike (a Cyrillic А, an Arabic-Indic digit) would be a second key to
one person. No error says what the number was.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from datetime import date
from types import MappingProxyType

from ca_bridge.errors import IdentityError
from ca_bridge.types import Identifier, IdentifierType

MAX_LENGTH = 64
_SPACES = " \u3000\u00a0"
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_STATE = re.compile(r"[A-Z]{2,3}")

PROVINCES = frozenset(
    [*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71]
)
"""First two digits of GB/T 2260 areas on citizens' cards."""
RESIDENCE_PERMITS = frozenset({"810000", "820000", "830000"})
"""Areas of the residence permits of Hong Kong, Macao and Taiwan people (国办发〔2018〕81号)."""
USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""GB 32100 §5: without I, O, S, V, Z."""


def normalise(kind: IdentifierType, state: str, text: str) -> Identifier:
    """The identifier that `text` names, in its one normal form, with check digits and dates proved right.

    `state`: who issued it; must be the number's own state (CN, HK, MO), for passports and private numbers any.
    Raises IdentityError: `identity.state`, `identity.characters` (look-alikes, control characters, nothing, too long),
    `identity.number` (shape), `identity.birth_date`, `identity.check_digit`.
    """
    own = _STATES.get(kind)
    if _STATE.fullmatch(state) is None or (own is not None and state != own):
        raise IdentityError("identity.state", f"numbers of type {kind} are not issued there")
    if kind is IdentifierType.PRIVATE:
        return Identifier(kind, state, _private(text))
    return Identifier(kind, state, _CHECKS[kind](plain(text)))


def plain(text: str) -> str:
    """`text` in upper-case ASCII without spaces. Raises IdentityError `identity.characters`."""
    if len(text) > MAX_LENGTH:
        raise IdentityError("identity.characters", "the number is too long")
    if text.isascii() and text.isalnum():  # nearly every number there is
        return text.upper()
    mapped = "".join(character for character in text.translate(_FULL_WIDTH) if character not in _SPACES)
    if not mapped or not mapped.isascii() or not mapped.isprintable():
        raise IdentityError("identity.characters", "the number is empty or holds characters that no number has")
    return mapped.upper()


_CN_ID_WEIGHTS = tuple(pow(2, 17 - place, 11) for place in range(17))
_CN_ID = re.compile(r"[0-9]{17}[0-9X]")


def cn_id_check(first17: str) -> str:
    """Check digit of GB 11643 §A (ISO 7064 MOD 11-2) for 17 digits."""
    total = sum(map(operator.mul, map(int, first17), _CN_ID_WEIGHTS))
    return "0123456789X"[(12 - total % 11) % 11]


def hkid_check(letters: str, digits: str) -> str:
    """Check digit of a Hong Kong identity card: weights 9 … 2, a missing first letter counts 36, A is 10."""
    values = [36 if letter == " " else ord(letter) - 55 for letter in letters.rjust(2)] + [int(d) for d in digits]
    total = sum(value * weight for value, weight in zip(values, range(9, 1, -1), strict=True))
    return "0123456789A"[-total % 11]


def uscc_check(first17: str) -> str:
    """Check character of GB 32100 §6: weights 3^i modulo 31; a remainder of 0 gives 0, not an absent 31st."""
    total = sum(USCC_ALPHABET.index(character) * pow(3, place, 31) for place, character in enumerate(first17))
    return USCC_ALPHABET[-total % 31]


def _cn_id(value: str) -> str:
    if _CN_ID.fullmatch(value) is None:
        raise IdentityError("identity.number", "not 17 digits and a check digit")
    if int(value[:2]) not in PROVINCES and value[:6] not in RESIDENCE_PERMITS:
        raise IdentityError("identity.number", "the area is not one of GB/T 2260, nor of residence permits")
    try:
        born = date(int(value[6:10]), int(value[10:12]), int(value[12:14]))
    except ValueError as error:
        raise IdentityError("identity.birth_date", "the birth date is no date") from error
    if not 1850 <= born.year < 2100:
        raise IdentityError("identity.birth_date", "the birth year is out of range")
    _same(cn_id_check(value[:17]), value[17])
    return value


def _hkid(value: str) -> str:
    found = re.fullmatch(r"([A-Z]{1,2})([0-9]{6})(?:\(([0-9A])\)|([0-9A]))", value)
    if found is None:
        raise IdentityError("identity.number", "not one or two letters, six digits and a check digit")
    letters, digits, check = found[1], found[2], found[3] or found[4]
    _same(hkid_check(letters, digits), check)
    return letters + digits + check


def _mo_bir(value: str) -> str:
    # No public rule for its last digit is known: the shape is all that can be checked.
    found = re.fullmatch(r"([0-9])/?([0-9]{6})/?(?:\(([0-9])\)|([0-9]))", value)
    if found is None:
        raise IdentityError("identity.number", "not eight digits")
    return found[1] + found[2] + (found[3] or found[4])


def _passport(value: str) -> str:
    # ICAO Doc 9303-4: up to nine letters and digits; its check digit stands in the machine-readable zone only.
    if re.fullmatch(r"(?=.*[0-9])[A-Z0-9]{5,9}", value) is None:
        raise IdentityError("identity.number", "not five to nine letters and digits")
    return value


def _home_return(value: str) -> str:
    # Cards before 2013 end in two digits that count renewals and are no part of the person.
    found = re.fullmatch(r"([HM][0-9]{8})(?:[0-9]{2})?", value)
    if found is None:
        raise IdentityError("identity.number", "not H or M and eight digits")
    return found[1]


def _uscc(value: str) -> str:
    if re.fullmatch(f"[{USCC_ALPHABET}]{{2}}[0-9]{{6}}[{USCC_ALPHABET}]{{10}}", value) is None:
        raise IdentityError("identity.number", "not 18 characters of GB 32100")
    _same(uscc_check(value[:17]), value[17])
    return value


def _private(text: str) -> str:
    # Only its CA knows its rules: case and inner characters stay as they are.
    value = text.strip(" ")
    if not 1 <= len(value) <= MAX_LENGTH or not value.isascii() or not value.isprintable():
        raise IdentityError("identity.characters", "a private number is 1 to 64 printable ASCII characters")
    return value


def _same(expected: str, found: str) -> None:
    if expected != found:
        raise IdentityError("identity.check_digit", "the check digit is wrong")


_CHECKS: Mapping[IdentifierType, Callable[[str], str]] = MappingProxyType(
    {
        IdentifierType.CN_ID: _cn_id,
        IdentifierType.HKID: _hkid,
        IdentifierType.MO_BIR: _mo_bir,
        IdentifierType.PASSPORT: _passport,
        IdentifierType.HOME_RETURN: _home_return,
        IdentifierType.USCC: _uscc,
    }
)
_STATES: Mapping[IdentifierType, str] = MappingProxyType(
    {
        IdentifierType.CN_ID: "CN",
        IdentifierType.HKID: "HK",
        IdentifierType.MO_BIR: "MO",
        IdentifierType.HOME_RETURN: "CN",
        IdentifierType.USCC: "CN",
    }
)
