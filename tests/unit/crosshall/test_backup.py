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


def test_folders_and_files_that_are_not_there(node: Path, tmp_path: Path) -> None:
    """A slip of the operator's is told by a code, and makes nothing."""
    for step in (
        lambda: backup(node / "node.toml", tmp_path / "absent" / "b", PASSPHRASE),
        lambda: restore(tmp_path / "absent", tmp_path / "again", PASSPHRASE),
        lambda: restore(node, tmp_path / "again", PASSPHRASE),
    ):
        with pytest.raises(ConfigError) as caught:
            step()
        assert caught.value.code == "config.missing"
    assert not (tmp_path / "absent").exists()
    assert not (tmp_path / "again").exists()


def test_the_databases_password_is_in_no_process_list(
    node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pg_dump gets the password by its environment: every user of the machine reads arguments (ps)."""
    seen = tmp_path / "seen"
    programs = tmp_path / "bin"
    programs.mkdir()
    fake = programs / "pg_dump"
    fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" "password=$PGPASSWORD" > {seen}\nprintf dump > "$3"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    url = "postgresql+psycopg://hall:s3cr%40t@db.test:5433/bridge"
    (node / "node.toml").write_text(SETTINGS + f'[database]\nurl = "{url}"\n')
    backup(node / "node.toml", tmp_path / "b", PASSPHRASE)
    *arguments, password = seen.read_text().splitlines()
    assert password == "password=s3cr@t"
    assert not any("s3cr" in argument for argument in arguments)
    assert "postgresql://hall@db.test:5433/bridge" in arguments


def test_a_failed_dump_does_not_say_the_password(node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pg_dump complains of goes to the operator's screen and log."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "pg_dump").write_text('#!/bin/sh\necho "cannot use $*" >&2\nexit 1\n')
    (programs / "pg_dump").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    (node / "node.toml").write_text(SETTINGS + '[database]\nurl = "postgresql+psycopg://hall:s3cret@db.test/b"\n')
    with pytest.raises(ConfigError) as caught:
        backup(node / "node.toml", tmp_path / "b", PASSPHRASE)
    assert "s3cret" not in str(caught.value)
    assert not (tmp_path / "b").exists()


def test_no_archive_in_clear_even_for_a_moment(node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup that is killed half-way must not leave the node's master key on the disk in clear."""
    in_clear: list[str] = []
    move = Path.replace

    def spy(path: Path, target: Path) -> Path:
        others = [file for file in tmp_path.rglob("*") if file.is_file() and node not in file.parents]
        in_clear.extend(file.name for file in others if file.read_bytes()[:2] == b"\x1f\x8b")
        assert others
        return move(path, target)

    monkeypatch.setattr(Path, "replace", spy)
    backup(node / "node.toml", tmp_path / "b", PASSPHRASE)
    assert in_clear == []


def test_the_federation_comes_back_with_its_keys_private(node: Path, tmp_path: Path) -> None:
    """What a lost province machine published, and its online keys, are in the backup; locks are not."""
    (node / "federation/keys").mkdir(parents=True)
    (node / "federation/public/metadata").mkdir(parents=True)
    (node / "federation/keys/timestamp-1.pem").write_bytes(b"key")
    (node / "federation/public/metadata/1.root.json").write_bytes(b"{}")
    backup(node / "node.toml", tmp_path / "b", PASSPHRASE)
    restore(tmp_path / "b", tmp_path / "again", PASSPHRASE)
    home = tmp_path / "again/federation"
    assert (home / "keys/timestamp-1.pem").stat().st_mode & 0o777 == 0o600
    assert (home / "public/metadata/1.root.json").read_bytes() == b"{}"
    assert not list(home.glob("*.lock"))
