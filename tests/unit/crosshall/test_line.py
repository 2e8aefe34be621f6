"""`crosshall node status` tells the line; `admit` and `join` ask for the fingerprint when none is given."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crosshall.nodes import app
from nodes.sync import Round
from tests.unit.crosshall.settings import write_settings

SOURCE = "https://hall.gd.test/federation/"
GOOD = "2026-06-01T12:00:00Z"


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A city with one source."""
    sync = {"sync": {"sources": [SOURCE]}}
    return write_settings(tmp_path / "node", sections=sync, name="gd/guangzhou", role="city", parent="gd")


def tells(settings: Path, *options: str) -> str:
    """What `node status` says; nothing else of this node is well."""
    done = CliRunner().invoke(app, ["status", *options, "--settings", str(settings)], catch_exceptions=False)
    assert done.exit_code == 1
    return done.output


def agent_told(settings: Path, good: str, **codes: str) -> None:
    """The sync agent's last round."""
    file = settings.parent / "state" / "federation" / "status.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(asdict(Round(good, good, "", "", 1, codes=codes))))


def test_a_whole_line(settings: Path):
    """The last round had a good answer."""
    agent_told(settings, GOOD)
    assert "line: whole; trust data: none, rung closed" in tells(settings)


def test_a_cut_line(settings: Path):
    """Since when, which source, and why."""
    agent_told(settings, GOOD, **{SOURCE: "federation.source"})
    told = tells(settings)
    assert f"line: cut, last good answer {GOOD}; trust data" in told
    assert f"[federation.source] The source of the trust data cannot be reached. {SOURCE}" in told


def test_nothing_was_ever_fetched(settings: Path):
    """No agent has run: nothing good is claimed."""
    assert "line: no good answer yet" in tells(settings)


def test_a_status_file_that_cannot_be_read(settings: Path):
    """Damage claims nothing good either."""
    agent_told(settings, GOOD)
    (settings.parent / "state" / "federation" / "status.json").write_text("{")
    assert "line: no good answer yet" in tells(settings)


def test_a_node_that_has_not_joined(settings: Path):
    """Its operator is told the next step, not the words that citizens see when a bundle is broken."""
    told = tells(settings, "--json")
    checks = {row["check"]: row["code"] for row in json.loads(told)["checks"]}
    assert {checks[name] for name in ("bundle", "roster", "stage")} == {"node.not_joined"}


def test_a_bundle_that_is_lost_at_the_province(tmp_path: Path):
    """The province joins nothing: there it is a fault."""
    told = json.loads(tells(write_settings(tmp_path / "gd", name="gd", role="province"), "--json"))
    assert {row["code"] for row in told["checks"] if row["check"] == "bundle"} == {"trust.bundle"}


def test_the_province_has_no_line(tmp_path: Path):
    """Nobody stands above it."""
    province = write_settings(tmp_path / "gd", name="gd", role="province")
    assert "line:" not in tells(province)
    assert json.loads(tells(province, "--json"))["line"] is None


def test_the_line_as_json(settings: Path):
    """For a monitor."""
    agent_told(settings, GOOD, **{SOURCE: "federation.source"})
    line = json.loads(tells(settings, "--json"))["line"]
    assert line == {"good": GOOD, "failing": {SOURCE: "federation.source"}, "age_seconds": None, "rung": "closed"}


@pytest.mark.parametrize("command", ["admit", "join", "delegate"])
def test_a_fingerprint_is_asked_for(settings: Path, command: str):
    """Nobody goes on without one: an empty keyboard ends the command."""
    words = [command, str(settings), "--settings", str(settings)]
    done = CliRunner().invoke(app, words, input="", catch_exceptions=False)
    assert "Fingerprint, as it is read to you" in done.output
    assert done.exit_code == 1
