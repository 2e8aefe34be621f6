"""The database's file on disk: nobody but its owner reads who signed in when."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ca_bridge.store import Box, migrate, open_store


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_a_new_database_is_its_owners_alone(tmp_path: Path) -> None:
    """Person keys, windows and times stand in it in clear: 0600 from the first byte, whoever's umask made it."""
    migrate(f"sqlite:///{tmp_path}/state/bridge.sqlite")
    assert (tmp_path / "state/bridge.sqlite").stat().st_mode & 0o777 == 0o600


def test_what_sqlite_writes_beside_it_is_too(tmp_path: Path) -> None:
    """The write-ahead log holds the same rows."""
    url = f"sqlite:///{tmp_path}/bridge.sqlite"
    migrate(url)
    store = open_store(url, Box(bytes(32)))
    store.ping()
    modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.glob("bridge.sqlite*")}
    store.close()
    assert len(modes) > 1
    assert set(modes.values()) == {0}


def test_one_that_was_open_to_all_is_closed(tmp_path: Path) -> None:
    """A database that an earlier version or another umask made readable does not stay so."""
    file = tmp_path / "bridge.sqlite"
    migrate(f"sqlite:///{file}")
    file.chmod(0o644)
    open_store(f"sqlite:///{file}", Box(bytes(32))).close()
    assert file.stat().st_mode & 0o777 == 0o600
