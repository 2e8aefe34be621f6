"""Public P-256 keys as JWK (RFC 7517): read strictly, hashed (RFC 7638), and the signatures browsers make with theirs.

A browser's key vouches for the browser: the person's certificate signs its thumbprint with the sign-in challenge, and
later it answers another hall's nonce (docs/adr/0007). WebCrypto signs ECDSA as r ‖ s, 64 octets, not as DER.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from ca_bridge.errors import CryptoError

ABROAD_PREFIX = b"crosshall-abroad-v1"
_COORDINATE = re.compile(r"[A-Za-z0-9_-]{43}")
_WIDTH = 32


def public_members(raw: Any) -> dict[str, str]:
    """The members that make the key: `crv`, `kty`, `x`, `y`; everything else is dropped, a private member refused.

    Raises CryptoError `crypto.jwk`: not an object, not P-256, coordinates not 32 octets of base64url, no such point.
    """
    if not isinstance(raw, Mapping) or raw.get("kty") != "EC" or raw.get("crv") != "P-256" or "d" in raw:
        raise CryptoError("crypto.jwk", "not a public P-256 key")
    members = {"crv": "P-256", "kty": "EC", "x": raw.get("x"), "y": raw.get("y")}
    for name in ("x", "y"):
        text = members[name]
        if not isinstance(text, str) or _COORDINATE.fullmatch(text) is None:
            raise CryptoError("crypto.jwk", f"{name} is not 32 octets in base64url")
    found = {name: str(value) for name, value in members.items()}
    public_key(found)
    if any(_encode(_decode(found[name])) != found[name] for name in ("x", "y")):
        raise CryptoError("crypto.jwk", "a coordinate has a second spelling")
    return found


def public_key(members: Mapping[str, str]) -> ec.EllipticCurvePublicKey:
    """The key of `public_members`. Raises CryptoError `crypto.jwk` when the point is not on the curve."""
    x, y = (int.from_bytes(_decode(members[name]), "big") for name in ("x", "y"))
    try:
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError as error:
        raise CryptoError("crypto.jwk", "no point of the curve") from error


def thumbprint(members: Mapping[str, str]) -> str:
    """RFC 7638: SHA-256 over the required members in order, base64url without padding."""
    required = {name: members[name] for name in ("crv", "kty", "x", "y")}
    text = json.dumps(required, separators=(",", ":"), sort_keys=True)
    return _encode(hashlib.sha256(text.encode()).digest())


def abroad_message(origin: str, nonce: str) -> bytes:
    """What a browser's key signs for another hall: the prefix, then that hall's origin and nonce, length-prefixed."""
    fields = (origin.encode(), nonce.encode())
    return ABROAD_PREFIX + b"".join(len(raw).to_bytes(4, "big") + raw for raw in fields)


def check_signature(members: Mapping[str, str], data: bytes, signature: bytes) -> None:
    """Returns only if the key signed `data` with ECDSA and SHA-256; `signature` is r ‖ s (RFC 7518 §3.4).

    Raises CryptoError `crypto.signature_form`, `crypto.signature`, `crypto.jwk`.
    """
    if len(signature) != 2 * _WIDTH:
        raise CryptoError("crypto.signature_form", "r and s are not 32 octets each")
    r, s = (int.from_bytes(part, "big") for part in (signature[:_WIDTH], signature[_WIDTH:]))
    if not r or not s:
        raise CryptoError("crypto.signature_form", "r or s is zero")
    try:
        public_key(members).verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise CryptoError("crypto.signature", "the browser's key did not sign this") from error


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
