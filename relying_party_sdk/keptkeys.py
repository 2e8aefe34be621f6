"""The provider's last good keys in a file of the window: sealed, replaced atomically, read by the owner only.

Sealed although public: who could write the file otherwise would choose whose tokens are good.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from pathlib import Path

from relying_party_sdk.jwks import Key, read_keys
from relying_party_sdk.sealing import Sealer
from relying_party_sdk.stores.protocol import Clock

log = logging.getLogger("relying_party_sdk")

_LARGEST = 1_048_576
_AHEAD = 60
"""Seconds by which a file may be of the future: another machine's clock."""


class KeyFile:
    """Keeps the keys of one issuer; a file that is absent, damaged, foreign or older than `stale` seconds is none."""

    def __init__(self, path: Path, sealer: Sealer, issuer: str, clock: Clock, stale: float) -> None:
        self._path = path
        self._sealer = sealer
        self._purpose = f"keys:{issuer}"
        self._clock = clock
        self._stale = stale

    def load(self) -> tuple[tuple[Key, ...], float] | None:
        """The keys and when they were fetched (seconds since 1970)."""
        try:
            with self._path.open("rb") as file:
                raw = file.read(_LARGEST + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("kept keys cannot be read: %s", type(error).__name__)
            return None
        opened = self._sealer.open(self._purpose, raw) if len(raw) <= _LARGEST else None
        if opened is None:
            log.warning("kept keys are damaged, or of another issuer or key file: left alone")
            return None
        value = json.loads(opened)
        fetched = float(value["fetched"])
        keys = read_keys(value["keys"])
        return (keys, fetched) if keys and -_AHEAD <= self._clock() - fetched < self._stale else None

    def save(self, keys: tuple[Key, ...], fetched: float) -> None:
        """Replace the file; a disk that is full or read-only is logged, and does not stop anybody."""
        raw = json.dumps({"fetched": fetched, "keys": [dict(key.jwk) for key in keys]}).encode()
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(self._sealer.seal(self._purpose, raw))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            log.warning("keys of the provider are not kept on disk: %s", type(error).__name__)
            draft.unlink(missing_ok=True)
