"""Sealing of what the database keeps: AES-256-GCM, each value bound to the place it lies in."""

from __future__ import annotations

import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ca_bridge.errors import ConfigError, StoreError

KEY_BYTES = 32
_NONCE = 12
_FORMAT = b"\x01"


class Box:
    """Seals values so that they open only with the same key and in the same place (NIST SP 800-38D, random nonces)."""

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ConfigError("config.key", f"a sealing key has {KEY_BYTES} bytes")
        self._aead = AESGCM(key)

    @classmethod
    def from_file(cls, path: Path) -> Box:
        """The box of the key at `path` (`state/keys/attributes`). Raises ConfigError `config.key`."""
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise ConfigError("config.key", f"cannot read {path}: {error.strerror}") from error

    @classmethod
    def fresh(cls) -> tuple[Box, bytes]:
        """A box with a new random key, and the key."""
        key = secrets.token_bytes(KEY_BYTES)
        return cls(key), key

    def seal(self, data: bytes, place: str) -> bytes:
        """`data`, encrypted and bound to `place` (table and row)."""
        nonce = secrets.token_bytes(_NONCE)
        return _FORMAT + nonce + self._aead.encrypt(nonce, data, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """What was sealed at `place`. Raises StoreError `store.sealed`: another key or place, or changed bytes."""
        if sealed[:1] != _FORMAT:
            raise StoreError("store.sealed", f"unknown format of a sealed value in {place.partition('|')[0]}")
        try:
            return self._aead.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], place.encode())
        except (InvalidTag, ValueError) as error:
            raise StoreError("store.sealed", f"a sealed value of {place.partition('|')[0]} does not open") from error
