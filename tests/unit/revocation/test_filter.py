"""Compact revocation: never a false no, few needless look-ups, and no file but a whole one is read."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ca_bridge.errors import RevocationError
from ca_bridge.revocation.filter import Source, build, read

SOURCE = Source(
    b"k" * 32, b"c" * 32, 7, datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 6, 8, tzinfo=UTC)
)  # fmt: skip
_SERIALS = st.sets(st.integers(-(2**160), 2**160), max_size=300)


@settings(max_examples=100, deadline=None)
@given(_SERIALS)
def test_what_was_put_in_is_held(serials: set[int]) -> None:
    """Every serial number of the CRL is held, and the head comes back as it was given."""
    found = read(build(SOURCE, serials))
    assert all(found.may_hold(serial) for serial in serials)
    assert (found.source, found.count) == (SOURCE, len(serials))


def test_few_others_are_held_and_entries_are_small() -> None:
    """Of serial numbers that are not in the CRL at most 1 in 500 is looked up; at most 1.7 octets an entry."""
    chance = random.Random(1)
    serials = {chance.getrandbits(128) for _ in range(3_000)}
    data = build(SOURCE, serials)
    found = read(data)
    others = [chance.getrandbits(127) | 1 << 127 for _ in range(10_000)]
    assert sum(found.may_hold(serial) for serial in others if serial not in serials) < 20
    assert len(data) < 1.7 * len(serials)


def test_the_same_set_makes_the_same_octets() -> None:
    """Two publishers of one CRL make one file, whatever the order."""
    assert build(SOURCE, [3, 1, 2]) == build(SOURCE, [1, 2, 2, 3])


def test_an_empty_crl_holds_nothing() -> None:
    """Nobody is revoked: every look-up is a miss."""
    found = read(build(SOURCE, ()))
    assert not any(found.may_hold(serial) for serial in range(100))


GOOD = build(SOURCE, range(500))


@pytest.mark.parametrize("cut", [0, 1, 15, 16, 100, 123, 124, 130, 200, len(GOOD) - 1])
def test_a_cut_file_is_refused(cut: int) -> None:
    """Not one octet may be missing."""
    with pytest.raises(RevocationError) as caught:
        read(GOOD[:cut])
    assert caught.value.code == "revocation.filter"


@pytest.mark.parametrize("more", [b"\0", b"\xff", b"x" * 1000])
def test_a_longer_file_is_refused(more: bytes) -> None:
    """Nothing may follow."""
    with pytest.raises(RevocationError):
        read(GOOD + more)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_changed_octet_never_breaks_the_reader(at: int, by: int) -> None:
    """Any change is refused with the code, or read; no other fault, no look-up without an answer."""
    data = bytearray(GOOD)
    data[at] ^= by
    codes = []
    try:
        answer = read(bytes(data)).may_hold(1)
    except RevocationError as error:
        codes.append(error.code)
    else:
        codes.append(str(answer))
    assert codes[0] in ("revocation.filter", "True", "False")


@pytest.mark.parametrize("name", [b"\0" * 16, b"crosshall-gcs-2\n"])
def test_another_format_is_refused(name: bytes) -> None:
    """A format that this version does not know."""
    with pytest.raises(RevocationError):
        read(name + GOOD[16:])


def test_a_head_that_promises_much_allocates_nothing() -> None:
    """Counts are held against the file's length before anything is made of them."""
    data = bytearray(GOOD)
    data[-len(GOOD) + 116 : -len(GOOD) + 124] = b"\xff" * 8
    with pytest.raises(RevocationError):
        read(bytes(data))
