"""What nodes say to each other: JWS by one node's `sign` key (ES256), JWE to another's `box` key (ECDH-ES, A256GCM).

Strict on purpose: the header holds exactly what is listed here, `typ` says which kind of document it is, so that none
passes for another, and the algorithm is ours to choose, never the sender's (RFC 8725 §3.1, §3.11). No `zip`: a small
document must not become a large one.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joserfc import jwe, jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from ca_bridge.errors import ConfigError, CryptoError

SIGN_FILE, BOX_FILE = "node-sign.pem", "node-box.pem"
_SIGNED = {"alg", "kid", "typ"}
_SEALED = {"alg", "enc", "epk", "kid", "typ"}
_ES256, _ECDH_ES, _A256GCM = "ES256", "ECDH-ES", "A256GCM"


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """The private keys of this node; their public halves are in the roster."""

    sign: ECKey = field(repr=False)
    box: ECKey = field(repr=False)


def read_node_keys(folder: Path) -> NodeKeys | None:
    """The keys in `folder` (`state/keys`); None when there are none: the node is in no federation.

    Raises ConfigError `config.node_keys`: one of two is there, not readable, readable by others, or no P-256 key.
    """
    files = folder / SIGN_FILE, folder / BOX_FILE
    if not any(file.exists() for file in files):
        return None
    return NodeKeys(*map(_private, files))


def sign(key: ECKey, kid: str, typ: str, claims: Mapping[str, Any]) -> str:
    """A compact JWS of `claims`."""
    header = {"alg": _ES256, "kid": kid, "typ": typ}
    return jws.serialize_compact(header, json.dumps(claims).encode(), key, algorithms=[_ES256])


def signer_of(token: str, typ: str, limit: int) -> str:
    """The `kid` that a JWS names; nothing is verified yet. Raises CryptoError `crypto.size`, `crypto.jws`."""
    if len(token) > limit:
        raise CryptoError("crypto.size", f"longer than {limit} characters")
    header = _header(token, 3, "crypto.jws")
    if set(header) != _SIGNED or header["alg"] != _ES256 or header["typ"] != typ or not isinstance(header["kid"], str):
        raise CryptoError("crypto.jws", "another kind of document, another algorithm, or more in the header")
    return str(header["kid"])


def verify(token: str, key: Mapping[str, str], typ: str, limit: int) -> dict[str, Any]:
    """The claims of a JWS that the key of this JWK signed. Raises CryptoError `crypto.size`, `crypto.jws`."""
    if signer_of(token, typ, limit) != key["kid"]:
        raise CryptoError("crypto.jws", "signed under another key's name")
    try:
        payload = jws.deserialize_compact(token, ECKey.import_key(_members(key)), registry=_signed(limit)).payload
        claims = json.loads(payload)
    except (JoseError, ValueError, RecursionError) as error:
        raise CryptoError("crypto.jws", type(error).__name__) from error
    if not isinstance(claims, dict):
        raise CryptoError("crypto.jws", "the claims are no object")
    return claims


def seal(text: str, key: Mapping[str, str], typ: str) -> str:
    """A compact JWE of `text` that only the holder of this JWK's private key opens."""
    header = {"alg": _ECDH_ES, "enc": _A256GCM, "kid": key["kid"], "typ": typ}
    to = ECKey.import_key(_members(key))
    return jwe.encrypt_compact(header, text.encode(), to, algorithms=[_ECDH_ES, _A256GCM])


def unseal(token: str, key: ECKey, typ: str, limit: int) -> str:
    """What was sealed to `key`. Raises CryptoError `crypto.size`, `crypto.jwe`."""
    if len(token) > limit:
        raise CryptoError("crypto.size", f"longer than {limit} characters")
    header = _header(token, 5, "crypto.jwe")
    if set(header) != _SEALED or (header["alg"], header["enc"], header["typ"]) != (_ECDH_ES, _A256GCM, typ):
        raise CryptoError("crypto.jwe", "another kind of document, another algorithm, or more in the header")
    try:
        plain = jwe.decrypt_compact(token, key, registry=_sealed(limit)).plaintext or b""
        return plain.decode("ascii")
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise CryptoError("crypto.jwe", type(error).__name__) from error


def _signed(limit: int) -> jws.JWSRegistry:
    """The library's own limits give way to the caller's, which was looked at already."""
    registry = jws.JWSRegistry(algorithms=[_ES256])
    registry.max_payload_length = limit
    return registry


def _sealed(limit: int) -> jwe.JWERegistry:
    registry = jwe.JWERegistry(algorithms=[_ECDH_ES, _A256GCM])
    registry.max_ciphertext_length = limit
    return registry


def _header(token: str, parts: int, code: str) -> dict[str, Any]:
    pieces = token.split(".")
    if len(pieces) != parts or not token.isascii():
        raise CryptoError(code, "not in compact form")
    try:
        header = json.loads(urlsafe_b64decode(pieces[0] + "=" * (-len(pieces[0]) % 4)))
    except (ValueError, RecursionError) as error:
        raise CryptoError(code, "the header is no JSON") from error
    if not isinstance(header, dict):
        raise CryptoError(code, "the header is no object")
    return header


def _members(key: Mapping[str, str]) -> dict[str, Any]:
    return {name: key[name] for name in ("kty", "crv", "x", "y")}


def _private(path: Path) -> ECKey:
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError("config.node_keys", f"{path} can be read by others: chmod 600")
        key = ECKey.import_key(path.read_text("ascii"))
    except (OSError, ValueError, JoseError) as error:
        raise ConfigError("config.node_keys", f"{path}: {type(error).__name__}") from error
    if key.curve_name != "P-256" or not key.is_private:
        raise ConfigError("config.node_keys", f"{path} holds no private P-256 key")
    return key
