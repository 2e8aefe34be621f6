"""K=equality can fail: it finds a node whose trust is another, and writes down what shows it again."""

from __future__ import annotations

import copy
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench import equality
from bench.equality import NAMES, differences, measure, write
from bench.leaves import Sample
from crosshall.main import app
from tests.unit.nodes.world import NOW

SAMPLE = Sample("plain", "gd-public", "gd-public", 1, NOW, b"")


def _rows(*persons: str, **fields: Any) -> list[equality.Row]:
    return [{"code": "ok", "level": 3, "person": {"citizen": person}, **fields} for person in persons]


def _differing(one: list[equality.Row], other: list[equality.Row]) -> list[list[str]]:
    return [sorted(found.fields) for found in differences([SAMPLE] * len(one), [one, other])]


def test_only_the_person_key_may_differ() -> None:
    """Its value is the node's own (design §5)."""
    assert _differing(_rows("a", "b", "a"), _rows("x", "y", "x")) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a", "a"), ("x", "y")), (("a", "b"), ("x", "x"))],
    ids=["one person there is two here", "two persons there are one here"],
)
def test_the_same_people_are_the_same_at_both(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """Who is one human at a node is one human at the other."""
    assert _differing(_rows(*one), _rows(*other)) == [["person citizen"]]


def test_a_shared_person_key_is_a_difference() -> None:
    """Keys of people must not join two nodes' records."""
    assert _differing(_rows("a"), _rows("a")) == [["person citizen"]]


@pytest.mark.parametrize("name", ["code", "level", "rung", "identity", "snapshot", "only_here"])
def test_every_other_field_counts(name: str) -> None:
    """Also one that only the second knows."""
    one, other = _rows("a", "b"), _rows("x", "y")
    other[1] = {**copy.deepcopy(other[1]), name: "another"}
    assert _differing(one, other) == [[name]]


def test_as_many_rows_as_certificates() -> None:
    """A node that left one out does not agree with the other."""
    with pytest.raises(ValueError, match="zip"):
        _differing(_rows("a", "b"), _rows("x"))


@pytest.mark.parametrize("stale", [False, True])
def test_whole_nodes(tmp_path: Path, stale: bool) -> None:
    """Nodes of the same trust agree; one with a disk of before a revocation is found, and each line shows its side."""
    samples, rows = measure(tmp_path, 220, 7, stale=stale)
    assert len({row["code"] for row in rows[0]}) > 10
    assert {s.ca for s, row in zip(samples, rows[0], strict=True) if row["accepted"]} == {
        "gd-public",
        "gz-public",
        "ch-public",
        "hk-public",
        "mo-public",
    }
    found = differences(samples, rows)
    if not stale:
        assert found == []
        return
    told = [row for row in found if "code" in row.fields]
    assert {row.fields["code"][1] for row in told if row.fields["code"][0] == "revocation.revoked"} == {"ok"}
    write(told, [tmp_path / name / "bundle" for name in NAMES], tmp_path / "kept")
    lines = [line for line in (tmp_path / "kept" / "README").read_text("utf-8").splitlines() if line[0] != "#"]
    assert len(lines) == 2 * len(told)
    for number, line in enumerate(lines):
        code = told[number // 2].fields["code"][number % 2]
        done = CliRunner().invoke(app, [*shlex.split(line)[1:], "--json"])
        assert f'"{code}"' in done.output
        assert done.exit_code == (code != "ok")
