"""Salts of Keycloak's pairwise `sub`: one a sector, from one secret of the node: a rebuilt realm has them again."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from ca_bridge.errors import UpstreamError

_FILE = "pairwise"


@dataclass(frozen=True, slots=True)
class Salts:
    """Gives each sector its salt."""

    secret: bytes = field(repr=False)

    def of(self, sector: str) -> str:
        """The sector's salt: 64 hexadecimal digits, always the same for one secret."""
        return hmac.new(self.secret, b"crosshall-pairwise\0" + sector.encode(), hashlib.sha256).hexdigest()


def node_salts(keys: Path) -> Salts:
    """Salts from `<keys>/pairwise` (32 bytes, 0600), which is made when absent; two at once make one.

    Raises UpstreamError `realm.salt` when the file cannot be used.
    """
    path = keys / _FILE
    try:
        keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        secret = path.read_bytes()
    except OSError as error:
        raise UpstreamError("realm.salt", f"{path}: {error.strerror}") from error
    if len(secret) != 32:
        raise UpstreamError("realm.salt", f"{path} does not hold 32 bytes")
    return Salts(secret)


def _make(path: Path) -> None:
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        # A link fails when the name is taken: the first of two wins, the other reads its file.
        try:
            os.link(aside, path)
        except FileExistsError:
            return
    finally:
        aside.unlink(missing_ok=True)
