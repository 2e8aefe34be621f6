"""`crosshall bridge …` and `crosshall keys …` on a node's folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ca_bridge.errors import ConfigError, StoreError
from ca_bridge.provider.keys import read_ring
from ca_bridge.settings import Settings
from crosshall import bridge
from tests.parts.bridge import make_settings

runner = CliRunner()


@pytest.fixture
def node(tmp_path: Path) -> tuple[str, Settings]:
    """The settings file of a node and what is in it."""
    settings = make_settings(tmp_path)
    return str(tmp_path / "node.toml"), settings


def test_migrate_says_the_version_and_can_be_repeated(node: tuple[str, Settings]):
    """The second time changes nothing."""
    for _ in range(2):
        done = runner.invoke(bridge.app, ["migrate", "--settings", node[0]])
        assert done.exit_code == 0
        assert "version 0003" in done.output


def test_keys_are_listed_rotated_and_replaced_when_stolen(node: tuple[str, Settings]):
    """One that signs; then one to come beside it; after `--stolen` a new one alone."""
    folder = node[1].bridge.keys / "signing"
    listed = runner.invoke(bridge.keys, ["list", "--settings", node[0]])
    assert listed.output.count("signs from") == 1
    rotated = runner.invoke(bridge.keys, ["rotate", "--settings", node[0]])
    assert rotated.exit_code == 0
    assert " next " in rotated.output
    first = read_ring(folder).signing(datetime.now(UTC)).thumbprint()
    again = runner.invoke(bridge.keys, ["rotate", "--settings", node[0]])
    assert isinstance(again.exception, ConfigError)
    assert again.exception.code == "config.rotation"
    stolen = runner.invoke(bridge.keys, ["rotate", "--stolen", "--settings", node[0]])
    assert stolen.exit_code == 0
    now = datetime.now(UTC)
    ring = read_ring(folder)
    assert ring.signing(now).thumbprint() != first
    assert len(ring.published(now)) == 1


def test_rotating_where_there_are_no_keys_is_an_error(node: tuple[str, Settings]):
    """A wrong settings file must not make keys somewhere."""
    done = runner.invoke(bridge.keys, ["rotate", "--settings", node[0]])
    assert isinstance(done.exception, ConfigError)
    assert done.exception.code == "config.signing_keys"


def test_purge_before_migrate_is_an_error_with_a_code(node: tuple[str, Settings]):
    """And afterwards it says what it removed."""
    runner.invoke(bridge.keys, ["list", "--settings", node[0]])
    before = runner.invoke(bridge.app, ["purge", "--settings", node[0]])
    assert isinstance(before.exception, StoreError)
    assert before.exception.code == "store.version"
    runner.invoke(bridge.app, ["migrate", "--settings", node[0]])
    after = runner.invoke(bridge.app, ["purge", "--settings", node[0]])
    assert after.output == "sessions over: 0; values: 0; releases: 0; keys: 0\n"
