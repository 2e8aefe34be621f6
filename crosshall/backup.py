"""`crosshall backup` and `restore`: everything a node must keep, in one encrypted file.

What is kept: the settings file, `state/` (keys, windows, the database), `bundle/` and `federation/` (what is published,
its drafts, the province's online keys). Keycloak's database is not:
the realm is rebuilt from code, and what windows know people by does not depend on it (design §5). The archive is a
tar, encrypted in chunks by AES-256-GCM under a key from the passphrase (scrypt); a cut, reordered or changed file is
refused whole.
"""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import sqlalchemy as sa
import typer
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from ca_bridge.errors import ConfigError
from ca_bridge.settings import Settings, load_settings
from ca_bridge.types import utc_now
from crosshall.agents import HOME
from crosshall.options import DEFAULT_SETTINGS, SettingsFile
from nodes.publish import Publisher
from nodes.recovery import STAGED

MAGIC = b"crosshall-backup-1\n"
CHUNK = 1 << 20
PassphraseFile = Annotated[Path, typer.Option("--passphrase-file", help="File whose first line is the passphrase.")]


def backup_command(to: Path, passphrase_file: PassphraseFile, settings: SettingsFile = DEFAULT_SETTINGS) -> None:
    """Write an encrypted backup of the node to TO; the node may go on running."""
    backup(settings, to, _passphrase(passphrase_file))
    typer.echo(f"backup written: {to} ({to.stat().st_size:,} bytes)")


def restore_command(source: Path, into: Path, passphrase_file: PassphraseFile) -> None:
    """Restore the backup SOURCE into the folder INTO, which must not exist or be empty."""
    restore(source, into, _passphrase(passphrase_file))
    typer.echo(f"restored into {into}; then: crosshall realm apply --settings {into / 'node.toml'}")


def backup(settings_file: Path, to: Path, passphrase: bytes) -> None:
    """Write the backup whole or not at all. Raises ConfigError `config.backup_exists`, `.missing`, `.invalid`."""
    if to.exists():
        raise ConfigError("config.backup_exists", str(to))
    if not to.resolve().parent.is_dir():
        raise ConfigError("config.missing", f"no folder {to.resolve().parent}")
    settings = load_settings(settings_file)
    with tempfile.TemporaryDirectory(dir=to.resolve().parent) as folder:
        sealed = Path(folder) / "sealed"
        with os.fdopen(os.open(sealed, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
            target = _Sealed(file, passphrase)
            # "w|": straight into the encryption. An archive in clear on the disk would outlive a backup that is killed.
            with tarfile.open(fileobj=target, mode="w|gz", dereference=True) as tar:
                tar.add(settings_file, "node.toml")
                tar.add(settings.node.bundle, "bundle")
                tar.add(settings.node.state, "state", filter=_without_database)
                _add_federation(tar, settings_file.parent / HOME)
                _add_database(tar, settings, Path(folder))
            target.finish()
        sealed.replace(to)


def restore(source: Path, into: Path, passphrase: bytes) -> None:
    """Restore whole or not at all. Raises ConfigError `config.backup_exists`, `.backup_unreadable`, `.missing`."""
    if not source.is_file():
        raise ConfigError("config.missing", f"no file {source}")
    if into.exists() and any(into.iterdir()):
        raise ConfigError("config.backup_exists", str(into))
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into.resolve().parent) as folder:
        fresh = Path(folder) / "node"
        fresh.mkdir(mode=0o700)
        plain = io.BytesIO()
        with source.open("rb") as sealed:
            for chunk in _open(sealed, passphrase):
                plain.write(chunk)
        plain.seek(0)
        try:
            with tarfile.open(fileobj=plain, mode="r:gz") as tar:
                _unpack(tar, fresh)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise ConfigError("config.backup_unreadable", str(error)) from error
        for keys in (fresh / "state" / "keys", fresh / HOME / "keys"):
            for secret in keys.rglob("*"):
                secret.chmod(0o700 if secret.is_dir() else 0o600)
        if into.exists():
            into.rmdir()
        shutil.move(fresh, into)


def _unpack(tar: tarfile.TarFile, into: Path) -> None:
    """Files and folders below `into`, nothing else. (Debian 12's Python has no filters for `extractall` yet.)"""
    for member in tar:
        path = into / member.name
        if Path(member.name).is_absolute() or ".." in Path(member.name).parts:
            raise tarfile.TarError(f"{member.name} leaves the folder")
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
            continue
        content = tar.extractfile(member) if member.isreg() else None
        if content is None:
            raise tarfile.TarError(f"{member.name} is neither file nor folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        with content, os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, member.mode & 0o777), "wb") as file:
            shutil.copyfileobj(content, file)


def _without_database(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if ".sqlite" in Path(member.name).name else member


def _add_federation(tar: tarfile.TarFile, home: Path) -> None:
    """The federation's home as it is between two of its changes; a node's mirror likewise."""
    if home.is_dir():
        with Publisher(home, utc_now).alone():
            tar.add(home, HOME, filter=_of_federation)


def _of_federation(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Neither locks nor what a recovery that runs now has fetched so far."""
    name = Path(member.name).name
    return None if name.endswith(".lock") or name.startswith(STAGED) else member


def _add_database(tar: tarfile.TarFile, settings: Settings, folder: Path) -> None:
    """A consistent copy: SQLite's own online backup, or pg_dump."""
    url = settings.database.url
    copy = folder / "database"
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        if not path.exists():
            return
        with sqlite3.connect(path) as live, sqlite3.connect(copy) as target:
            live.backup(target)
        target.close()
        live.close()
        tar.add(copy, "state/bridge.sqlite")
        return
    address = sa.make_url(url).set(drivername="postgresql")
    # The password goes by the environment: arguments are shown to every user of the machine.
    environment = {**os.environ, **({"PGPASSWORD": str(address.password)} if address.password else {})}
    bare = address._replace(password=None).render_as_string()
    command = ["pg_dump", "-Fc", "-f", str(copy), bare]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise ConfigError("config.invalid", f"pg_dump failed: {done.stderr.strip()}")
    tar.add(copy, "database.pgdump")


def _passphrase(path: Path) -> bytes:
    try:
        line = path.read_bytes().splitlines()[0]
    except (OSError, IndexError) as error:
        raise ConfigError("config.passphrase", f"{path}: {error}") from error
    if len(line) < 12:
        raise ConfigError("config.passphrase", f"{path}: {len(line)} bytes")
    return line


def _key(passphrase: bytes, salt: bytes) -> AESGCM:
    return AESGCM(Scrypt(salt=salt, length=32, n=1 << 15, r=8, p=1).derive(passphrase))


class _Sealed(io.RawIOBase):
    """What is written is encrypted in chunks: nonce = counter, associated data = whether it is the last (STREAM)."""

    def __init__(self, target: BinaryIO, passphrase: bytes) -> None:
        super().__init__()
        salt = os.urandom(16)
        self._key = _key(passphrase, salt)
        self._target = target
        self._held = bytearray()
        self._number = 0
        target.write(MAGIC + salt)

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Take `data`; the last chunk is held back, for only `finish` knows that it is the last."""
        self._held += data
        while len(self._held) > CHUNK:
            self._put(bytes(self._held[:CHUNK]), b"\0")
            del self._held[:CHUNK]
        return len(data)

    def finish(self) -> None:
        """Write the last chunk: without it the file is refused."""
        self._put(bytes(self._held), b"\1")

    def _put(self, chunk: bytes, last: bytes) -> None:
        self._target.write(self._key.encrypt(self._number.to_bytes(12, "big"), chunk, last))
        self._number += 1


def _open(source: BinaryIO, passphrase: bytes) -> Iterator[bytes]:
    head = source.read(len(MAGIC) + 16)
    if not head.startswith(MAGIC) or len(head) != len(MAGIC) + 16:
        raise ConfigError("config.backup_unreadable", "not a backup of Crosshall")
    key = _key(passphrase, head[len(MAGIC) :])
    number, chunk = 0, source.read(CHUNK + 16)
    while True:
        following = source.read(CHUNK + 16)
        try:
            yield key.decrypt(number.to_bytes(12, "big"), chunk, b"\1" if not following else b"\0")
        except InvalidTag as error:
            raise ConfigError("config.backup_unreadable", f"chunk {number}") from error
        if not following:
            return
        number, chunk = number + 1, following
