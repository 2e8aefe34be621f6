"""Comparison and plans: what is a difference, what is not, and what a person reads."""

from __future__ import annotations

from typing import Any

import pytest

from idp.compare import Change, Difference, Plan, differences


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ({"a": 1, "more": 2}, {"a": 1}),
        ({"a": ["x", "y"]}, {"a": ["y", "x"]}),
        ({"a": None}, {"a": ""}),
        ({}, {"a": []}),
        ({"a": '{"k": 1}'}, {"a": '{"k":1}'}),
        ({"a": {"b": "c", "d": "e"}}, {"a": {"b": "c"}}),
    ],
    ids=["more", "order", "null", "absent", "json", "deep"],
)
def test_the_same(found: Any, wanted: Any) -> None:
    """The server's own fields, order of texts, null for empty and the spacing of JSON texts are no differences."""
    assert list(differences(found, wanted)) == []


@pytest.mark.parametrize(
    ("found", "wanted", "path"),
    [
        ({"a": True}, {"a": False}, "a"),
        ({}, {"a": False}, "a"),
        ({"a": ["x"]}, {"a": ["x", "y"]}, "a"),
        ({"a": ["x", "x"]}, {"a": ["x"]}, "a"),
        ({"a": "1"}, {"a": 1}, "a"),
        ({"a": "{1}"}, {"a": "{2}"}, "a"),
        ({"a": '{"k":1}'}, {"a": '{"k":2}'}, "a"),
        ({"a": {"b": "x"}}, {"a": {"b": "y"}}, "a.b"),
        (None, {"a": "x"}, "a"),
    ],
    ids=["flag", "absent", "shorter", "doubled", "type", "text", "json", "deep", "nothing"],
)
def test_not_the_same(found: Any, wanted: Any, path: str) -> None:
    """Anything else is one difference, at its path."""
    assert [each.path for each in differences(found, wanted)] == [path]


def test_exact_comparison_sees_what_was_added() -> None:
    """With `exact`, an added key counts when it says something: a switched-on feature is drift, an empty one is not."""
    found = {"a": "1", "on": "true", "off": "false", "empty": ""}
    assert [each.path for each in differences(found, {"a": "1"}, exact=True)] == ["on"]
    assert list(differences(found, {"a": "1"})) == []


@pytest.mark.parametrize("name", ["config.pairwiseSubAlgorithmSalt", "clientSecret", "x.password", "privateKey"])
def test_secrets_are_not_shown(name: str) -> None:
    """A difference of a secret says that, not what."""
    assert "abc" not in Difference(name, "abc", "abcd").text()


def test_a_plan_reads_well() -> None:
    """One sign and line a change, its differences below, extras apart; an empty plan says so."""
    change = Change("realm", "gd", "update", lambda _: None, (Difference("rememberMe", True, False),))
    text = Plan((change,), ("client x",)).text()
    assert text.splitlines() == [
        "~ realm gd",
        "    rememberMe: true → false",
        "Not managed here, left alone:",
        "    client x",
    ]
    assert Plan(()).text() == "The realm is as it must be."
    assert "-old" in Difference("steps", "old\n", "new\n").text()
