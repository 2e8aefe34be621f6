"""Person and subject keys: what they depend on, what they do not, and that fields cannot run into each other."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca_bridge.errors import IdentityError
from ca_bridge.identity.keys import PersonKeys, node_key
from ca_bridge.types import Capacity, Identifier, IdentifierType, Identity, Organisation

KEY = bytes(range(32))
KEYS = PersonKeys(KEY)
HUMAN = Identifier(IdentifierType.CN_ID, "CN", "440000198503140012")
# computed apart, from the rule in keys.py
PERSON = "p1:vb2o3t4l5cjphqgmnvwlfzxm3f2bumodrqmig4ljluqdph3x7ltq"
SUBJECT = "s1:hgprwzidlaqqnfnvxahph2apchbulm4cekpladsxhktrj5qu2lva"
FIRM = Identifier(IdentifierType.USCC, "CN", "91350100M000100Y43")


def test_form_and_stability() -> None:
    """Lower-case base32, 52 characters; the value itself is fixed: a change would make everybody a stranger."""
    person = KEYS.person(HUMAN, Capacity.CITIZEN)
    assert re.fullmatch(r"p1:[a-z2-7]{52}", person)
    assert re.fullmatch(r"s1:[a-z2-7]{52}", KEYS.subject("police", person))
    assert person == PERSON
    assert KEYS.subject("police", person) == SUBJECT


def test_everything_counts() -> None:
    """Number, type, state, capacity, organisation, sector and node key each make another key."""
    firm2 = Identifier(IdentifierType.USCC, "CN", "911101056000373410")
    people = [
        KEYS.person(HUMAN, Capacity.CITIZEN),
        KEYS.person(HUMAN, Capacity.OFFICER),
        KEYS.person(HUMAN, Capacity.OFFICER, FIRM),
        KEYS.person(HUMAN, Capacity.OPERATOR, FIRM),
        KEYS.person(HUMAN, Capacity.OPERATOR, firm2),
        KEYS.person(FIRM, Capacity.OPERATOR, FIRM),
        KEYS.person(Identifier(IdentifierType.CN_ID, "CN", "440100199008080120"), Capacity.CITIZEN),
        KEYS.person(Identifier(IdentifierType.PASSPORT, "CN", "440000198503140012"), Capacity.CITIZEN),
        KEYS.person(Identifier(IdentifierType.PASSPORT, "PRT", "440000198503140012"), Capacity.CITIZEN),
        PersonKeys(KEY[::-1]).person(HUMAN, Capacity.CITIZEN),
    ]
    subjects = [KEYS.subject(sector, person) for sector in ("police", "environment") for person in people]
    assert len(set(people)) == len(people)
    assert len(set(subjects)) == len(subjects)
    assert {code[3:] for code in people}.isdisjoint(code[3:] for code in subjects)


def test_citizen_has_no_organisation() -> None:
    """A company's certificate opens the same citizen as a personal one."""
    assert KEYS.person(HUMAN, Capacity.CITIZEN, FIRM) == KEYS.person(HUMAN, Capacity.CITIZEN)


def test_from_an_identity() -> None:
    """The strongest identifier and the organisation of an identity make its key in the capacity chosen."""
    identity = Identity("林", (HUMAN,), Organisation("o", FIRM), (Capacity.OPERATOR, Capacity.CITIZEN))
    assert KEYS.of(identity, Capacity.OPERATOR) == KEYS.person(HUMAN, Capacity.OPERATOR, FIRM)
    assert KEYS.of(identity, Capacity.CITIZEN) == KEYS.person(HUMAN, Capacity.CITIZEN)
    with pytest.raises(IdentityError, match=r"identity\.capacity"):
        KEYS.of(identity, Capacity.OFFICER)


@given(st.lists(st.text(max_size=8), min_size=7, max_size=7), st.lists(st.text(max_size=8), min_size=7, max_size=7))
def test_fields_do_not_run_together(one: list[str], other: list[str]) -> None:
    """Different field lists never share a key, however their characters are spread."""
    assert (KEYS._code("l", one) == KEYS._code("l", other)) == (one == other)


def test_moved_borders() -> None:
    """Characters moved from one field to the next make another key."""
    fields = ["ab", "c", "", "d"]
    spread = {
        KEYS._code("l", list(f)) for f in ([*fields], ["a", "bc", "", "d"], ["ab", "", "c", "d"], ["abc", "", "", "d"])
    }
    joined = {KEYS._code(label, rest) for label, rest in (("l", ["x"]), ("lx", []), ("", ["l", "x"]))}
    assert (len(spread), len(joined)) == (4, 3)


@pytest.mark.parametrize("sector", ["", "Police", "po lice", "-x", "x" * 65, "police\n"])
def test_malformed_sectors(sector: str) -> None:
    """A sector is a short lower-case name: a typing error would make everybody a stranger."""
    with pytest.raises(ValueError, match="malformed"):
        KEYS.subject(sector, KEYS.person(HUMAN, Capacity.CITIZEN))


def test_misuse() -> None:
    """A short key, an operator without an organisation, and a person key that is none are programming errors."""
    with pytest.raises(ValueError, match="fewer"):
        PersonKeys(KEY[:-1])
    with pytest.raises(ValueError, match="organisation"):
        KEYS.person(HUMAN, Capacity.OPERATOR)
    for person in ("", "p1:abc", HUMAN.value, KEYS.person(HUMAN, Capacity.CITIZEN).upper()):
        with pytest.raises(ValueError, match="malformed"):
            KEYS.subject("police", person)


def test_node_keys() -> None:
    """Node and epoch each give another key; a short master and epoch 0 are refused."""
    made = {node_key(KEY, node, epoch) for node, epoch in itertools.product(("gd", "gd/guangzhou", "gd/gu"), (1, 2))}
    assert len(made) == 6
    assert all(len(key) == 32 for key in made)
    for master, node, epoch in ((KEY[:-1], "gd", 1), (KEY, "", 1), (KEY, "gd", 0)):
        with pytest.raises(ValueError, match="master"):
            node_key(master, node, epoch)
