"""Backup and restore: whole or not at all, never in clear, never over something."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from ca_bridge.errors import ConfigError
from crosshall.backup import CHUNK, MAGIC, backup, restore

PASSPHRASE = b"a long enough passphrase"
SETTINGS = """
[bridge]
issuer = "https://hall.gd.localhost:8443"
certificate_host = "*.cert.gd.localhost:8443"
[keycloak]
issuer = "https://sso.gd.localhost:8443/realms/gd"
internal = "http://127.0.0.1:8444"
"""


@pytest.fixture(name="node")
def _node(tmp_path: Path) -> Path:
    folder = tmp_path / "node"
    (folder / "state/keys").mkdir(parents=True)
    (folder / "state/windows").mkdir()
    (folder / "bundle/crls").mkdir(parents=True)
    (folder / "node.toml").write_text(SETTINGS)
    (folder / "state/keys/master").write_bytes(b"k" * 32)
    (folder / "bundle/crls/a.crl").write_bytes(bytes(range(256)) * 9000)
    database = sqlite3.connect(folder / "state/bridge.sqlite")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE t (v TEXT)")
    database.execute("INSERT INTO t VALUES ('kept')")
    database.commit()
    database.close()
    return folder


def test_a_backup_brings_everything_back(node: Path, tmp_path: Path) -> None:
    """Settings, keys, bundle and the database's committed rows are there after a restore; keys are private."""
    backup(node / "node.toml", tmp_path / "b", PASSPHRASE)
    restore(tmp_path / "b", tmp_path / "again", PASSPHRASE)
    assert (tmp_path / "again/state/keys/master").read_bytes() == b"k" * 32
    assert (tmp_path / "again/state/keys/master").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "again/bundle/crls/a.crl").read_bytes() == (node / "bundle/crls/a.crl").read_bytes()
    database = sqlite3.connect(tmp_path / "again/state/bridge.sqlite")
    assert database.execute("SELECT v FROM t").fetchall() == [("kept",)]
    database.close()


def test_nothing_stands_in_clear(node: Path, tmp_path: Path) -> None:
    """The file shows no key, and only its owner may read it."""
    backup(node / "node.toml", tmp_path / "b", PASSPHRASE)
    assert b"k" * 32 not in (tmp_path / "b").read_bytes()
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["cut", "flip", "swap", "empty", "foreign", "passphrase"])
def test_a_damaged_backup_is_refused_whole(node: Path, tmp_path: Path, damage: str) -> None:
    """Cut at a chunk's edge, a bit changed, chunks exchanged, another file, a wrong passphrase: nothing comes back."""
    (node / "bundle/big").write_bytes(random.Random(1).randbytes(3 * CHUNK))
    backup(node / "node.toml", tmp_path / "b", PASSPHRASE)
    data, head, size = (tmp_path / "b").read_bytes(), len(MAGIC) + 16, CHUNK + 16
    first, second = data[head : head + size], data[head + size : head + 2 * size]
    changed = {
        "cut": data[: head + size],
        "flip": data[:-1] + bytes([data[-1] ^ 1]),
        "swap": data[:head] + second + first + data[head + 2 * size :],
        "empty": b"",
        "foreign": b"PK" + data[2:],
        "passphrase": data,
    }[damage]
    (tmp_path / "b").write_bytes(changed)
    with pytest.raises(ConfigError) as caught:
        restore(tmp_path / "b", tmp_path / "again", b"another passphrase" if damage == "passphrase" else PASSPHRASE)
    assert caught.value.code == "config.backup_unreadable"
    assert not (tmp_path / "again").exists()


def test_nothing_is_overwritten(node: Path, tmp_path: Path) -> None:
    """Neither an existing backup nor a folder with something in it."""
    backup(node / "node.toml", tmp_path / "b", PASSPHRASE)
    for attempt in (
        lambda: backup(node / "node.toml", tmp_path / "b", PASSPHRASE),
        lambda: restore(tmp_path / "b", node, PASSPHRASE),
    ):
        with pytest.raises(ConfigError) as caught:
            attempt()
        assert caught.value.code == "config.backup_exists"
