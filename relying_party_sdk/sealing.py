"""Sealing of cookies and stored values: AES-256-GCM, bound to their use, under keys derived from one secret file.

What leaves this module can be neither read nor changed without the file: a copy of the store opens no session.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relying_party_sdk.errors import SettingsError

Random = Callable[[int], bytes]
"""Returns that many random bytes, fit for keys."""

_NONCE = 12


def b64(raw: bytes) -> str:
    """base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


_ALPHABET = bytes.maketrans(b"-_+/=", b"+/***")
"""To the alphabet that `binascii` reads; what was that alphabet's own, and padding, becomes a character of none."""
_LAST = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")
"""Characters that a text of each length (modulo 4) can end with when no spare bit is set (RFC 4648 §3.5)."""
_PADDING = (b"", b"", b"==", b"=")


def unb64(text: str | bytes) -> bytes:
    """The bytes of base64url without padding; one spelling only. Raises ValueError."""
    raw = text if isinstance(text, bytes) else text.encode("ascii", "replace")
    spare = len(raw) & 3
    if spare and raw[-1] not in _LAST[spare]:  # spare bits set: the same bytes under two names
        raise ValueError("not the canonical spelling of base64url")
    try:
        return binascii.a2b_base64(raw.translate(_ALPHABET) + _PADDING[spare], strict_mode=True)
    except binascii.Error as error:
        raise ValueError("not base64url without padding") from error


class Sealer:
    """Seals bytes for one use (`purpose`) and opens only what it sealed for that use."""

    def __init__(self, secret: bytes, random: Random = secrets.token_bytes) -> None:
        self._aead = AESGCM(hmac.digest(secret, b"crosshall-rp seal 1", "sha256"))
        self._names = hmac.digest(secret, b"crosshall-rp name 1", "sha256")
        self._random = random

    def seal(self, purpose: str, raw: bytes) -> bytes:
        """Nonce and ciphertext."""
        nonce = self._random(_NONCE)
        return nonce + self._aead.encrypt(nonce, raw, purpose.encode())

    def open(self, purpose: str, sealed: bytes) -> bytes | None:
        """What was sealed for `purpose`, or None for anything forged, cut or foreign."""
        try:
            return self._aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], purpose.encode())
        except (InvalidTag, ValueError):
            return None

    def name(self, use: str, value: str) -> str:
        """A keyed name for `value`: equal for equal values, and tells nothing about them."""
        return hmac.digest(self._names, f"{use}\0{value}".encode(), "sha256").hex()


def digest(value: str) -> str:
    """SHA-256 of a secret with full entropy, in hex: what the store keeps instead of it."""
    return hashlib.sha256(value.encode()).hexdigest()


def read_or_make(path: Path, make: Callable[[], bytes]) -> bytes:
    """The file's bytes; made with mode 0600 when absent. Of several processes that make it at once, one wins for all.

    Raises SettingsError `rp.key_file` when it cannot be read or made, or when others than its owner may read it.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _publish(path, make())
        if path.stat().st_mode & 0o077:
            raise SettingsError("rp.key_file", f"{path} can be read by others than its owner: chmod 600")
        return path.read_bytes()
    except OSError as error:
        raise SettingsError("rp.key_file", f"{path}: {type(error).__name__}") from error


def _publish(path: Path, raw: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # never replaces: the first one made is the one that counts
        except FileExistsError:
            return
    finally:
        draft.unlink()
