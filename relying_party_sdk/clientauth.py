"""How the client proves itself: with its own key, or with a shared secret where a provider has nothing better.

The key signs `private_key_jwt` assertions (RFC 7523 §2.2, OpenID Connect Core §9) and shows its JWKS.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from relying_party_sdk.errors import SettingsError
from relying_party_sdk.sealing import Random, b64, read_or_make
from relying_party_sdk.stores.protocol import Clock

log = logging.getLogger("relying_party_sdk")

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LIFETIME = 60
"""Seconds an assertion can be used; it is made for one request."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What is added to a request to the provider so that it knows the client: form fields and headers."""

    form: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def secret_proof(method: str, client_id: str, secret: str) -> Proof:
    """`client_secret_post`, or `client_secret_basic` with both parts form-encoded first (RFC 6749 §2.3.1)."""
    if method == "client_secret_post":
        return Proof({"client_id": client_id, "client_secret": secret})
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return Proof({}, {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()})


AHEAD = 3600.0
"""How long a new key is published before it signs, and an old one after it, seconds: longer than caches keep JWKS."""
_BLOCK = re.compile(rb"(?:Starts: ([0-9]{1,12})\s+)?(-----BEGIN [A-Z ]+-----.+?-----END [A-Z ]+-----\n?)", re.DOTALL)
_ABANDONED = 60.0


def _make_key(starts: float) -> bytes:
    """A key in PEM, and from when it signs: explanatory text before it (RFC 7468 §2)."""
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return f"Starts: {int(starts)}\n".encode() + pem


@dataclass(frozen=True, slots=True)
class _Key:
    starts: float
    private: ec.EllipticCurvePrivateKey = field(repr=False)
    public: Mapping[str, str]
    kid: str
    block: bytes = field(repr=False)

    @classmethod
    def read(cls, starts: float, pem: bytes, path: Path) -> _Key:
        """One block of the file."""
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as error:
            raise SettingsError("rp.key_file", f"{path} is no unencrypted PEM private key") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise SettingsError("rp.key_file", f"{path} is no key on P-256")
        numbers = key.public_key().public_numbers()
        public = {"crv": "P-256", "kty": "EC", "x": b64(numbers.x.to_bytes(32)), "y": b64(numbers.y.to_bytes(32))}
        canonical = json.dumps(public, separators=(",", ":"), sort_keys=True)
        kid = b64(hashlib.sha256(canonical.encode()).digest())  # RFC 7638
        return cls(starts, key, public, kid, f"Starts: {int(starts)}\n".encode() + pem)


class ClientKey:
    """An ES256 key in a file of the window's own; made on first use, mode 0600, for all processes that share the file.

    With `rotation` (seconds) a key that old gets a successor, which is published `AHEAD` seconds before it signs; the
    old one stays published as long after that. Raises SettingsError `rp.key_file`.
    """

    def __init__(self, path: Path, random: Random, *, rotation: int = 0, clock: Clock = time.time) -> None:
        self._path = path
        self._random = random
        self._rotation = rotation
        self._clock = clock
        self._seen: tuple[int, int, int] | None = None
        self._keys: tuple[_Key, ...] = ()
        read_or_make(path, lambda: _make_key(clock()))
        self._load()

    @property
    def kid(self) -> str:
        """The name of the key that signs now."""
        return self._now.kid

    @property
    def public(self) -> Mapping[str, str]:
        """The key that signs now as a JWK, nothing but its required members."""
        return self._now.public

    @property
    def jwks(self) -> Mapping[str, Any]:
        """What the provider reads: every key that signs, will sign, or signed a little while ago."""
        self._look()
        keys = (each for each in self._keys if not self._is_past(each))
        return {"keys": [{**each.public, "kid": each.kid, "use": "sig", "alg": "ES256"} for each in keys]}

    def rotate(self) -> bool:
        """Give the key a successor now; of several processes one does. False: it has one that does not sign yet.

        Raises OSError when the file cannot change.
        """
        lock = self._path.with_name(self._path.name + ".rotating")
        try:
            if time.time() - lock.stat().st_mtime > _ABANDONED:  # of a process that died
                lock.unlink(missing_ok=True)
        except FileNotFoundError:
            pass
        try:
            os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
        try:
            newest = self._keys[-1].kid
            self._load()
            if self._keys[-1].kid != newest or self._keys[-1].starts > self._clock():  # another process was quicker
                return False
            kept = [each.block for each in self._keys if not self._is_past(each)]
            draft = self._path.with_name(f".{self._path.name}.new")
            draft.unlink(missing_ok=True)
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(b"".join([*kept, _make_key(self._clock() + AHEAD)]))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
            self._load()
            return True
        finally:
            lock.unlink(missing_ok=True)

    @property
    def _now(self) -> _Key:
        self._look()
        now = self._clock()
        return next((each for each in reversed(self._keys) if each.starts <= now), self._keys[0])

    def _is_past(self, key: _Key) -> bool:
        later = self._keys[self._keys.index(key) + 1 :]
        return any(each.starts + AHEAD <= self._clock() for each in later)

    def _look(self) -> None:
        """Take up what another process or `crosshall-rp rotate` changed, and rotate when it is time."""
        try:
            if self._stamp() != self._seen:
                self._load()
            if self._rotation and self._clock() - self._keys[-1].starts >= self._rotation:
                self.rotate()
        except (OSError, SettingsError) as error:
            log.warning("the client's key cannot be rotated, it is used as it is: %s", type(error).__name__)

    def _stamp(self) -> tuple[int, int, int]:
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _load(self) -> None:
        stamp = self._stamp()
        blocks = _BLOCK.findall(self._path.read_bytes())
        born = self._path.stat().st_mtime
        keys = tuple(_Key.read(float(starts or born), pem, self._path) for starts, pem in blocks)
        if not keys:
            raise SettingsError("rp.key_file", f"{self._path} is no unencrypted PEM private key")
        self._keys, self._seen = keys, stamp

    def assertion(self, client_id: str, audience: str, now: float, *, subject: str = "") -> Mapping[str, str]:
        """Form fields that authenticate the client to `audience` (the issuer), good for 60 seconds and one use.

        With `subject` the assertion speaks of somebody else (RFC 7523 §3).
        """
        claims = {
            "iss": client_id,
            "sub": subject or client_id,
            "aud": audience,
            "jti": b64(self._random(16)),
            "iat": int(now),
            "exp": int(now) + _LIFETIME,
        }
        key = self._now
        token = jwt.encode(claims, key.private, algorithm="ES256", headers={"kid": key.kid})
        return {"client_id": client_id, "client_assertion_type": ASSERTION_TYPE, "client_assertion": token}

    def sign(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        """A compact JWS (ES256) of `claims`."""
        return jwt.encode(dict(claims), self._now.private, algorithm="ES256", headers=dict(header))
