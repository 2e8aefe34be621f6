"""How the client proves itself: with its own key, or with a shared secret where a provider has nothing better.

The key signs `private_key_jwt` assertions (RFC 7523 §2.2, OpenID Connect Core §9) and shows its JWKS.
"""

from __future__ import annotations

import base64
import hashlib
import json
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


def _make_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class ClientKey:
    """An ES256 key in a file of the window's own; made on first use, mode 0600. Raises SettingsError `rp.key_file`."""

    def __init__(self, path: Path, random: Random) -> None:
        raw = read_or_make(path, _make_key)
        try:
            key = serialization.load_pem_private_key(raw, password=None)
        except (ValueError, TypeError) as error:
            raise SettingsError("rp.key_file", f"{path} is no unencrypted PEM private key") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise SettingsError("rp.key_file", f"{path} is no key on P-256")
        self._key = key
        self._random = random
        numbers = key.public_key().public_numbers()
        coordinates = {"crv": "P-256", "kty": "EC", "x": b64(numbers.x.to_bytes(32)), "y": b64(numbers.y.to_bytes(32))}
        canonical = json.dumps(coordinates, separators=(",", ":"), sort_keys=True)
        self.kid = b64(hashlib.sha256(canonical.encode()).digest())  # RFC 7638
        self.public: Mapping[str, str] = coordinates
        """The public key as a JWK, nothing but its required members."""
        self.jwks: Mapping[str, Any] = {"keys": [{**coordinates, "kid": self.kid, "use": "sig", "alg": "ES256"}]}

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
        token = self.sign({"kid": self.kid}, claims)
        return {"client_id": client_id, "client_assertion_type": ASSERTION_TYPE, "client_assertion": token}

    def sign(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        """A compact JWS (ES256) of `claims`."""
        return jwt.encode(dict(claims), self._key, algorithm="ES256", headers=dict(header))
