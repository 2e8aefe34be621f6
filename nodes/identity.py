"""A node's own two keys: by one it signs what it says to other nodes, to the other they encrypt what is for it alone.

Both P-256: `state/keys/node-sign.pem` (ES256) and `state/keys/node-box.pem` (ECDH-ES), mode 0600, made on the node and
never leaving it. Their public halves, JWKs whose `kid` is the RFC 7638 thumbprint, are in the province's roster.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joserfc import jwe, jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from ca_bridge.crypto import jwk
from ca_bridge.errors import ConfigError, CryptoError, FederationError
from ca_bridge.files import write_atomically

SIGN, BOX = "node-sign.pem", "node-box.pem"
ES256, ECDH, GCM = "ES256", "ECDH-ES+A256KW", "A256GCM"


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """The private keys of this node."""

    sign: ECKey = field(repr=False)
    box: ECKey = field(repr=False)


def make_node_keys(folder: Path) -> NodeKeys:
    """The node's keys in `folder` (`state/keys`), made where there are none; those there are never replaced."""
    for name in (SIGN, BOX):
        if not (folder / name).exists():
            key = ECKey.generate_key("P-256", private=True)
            write_atomically(folder / name, key.as_pem(private=True), mode=0o600)
    return read_node_keys(folder)


def read_node_keys(folder: Path) -> NodeKeys:
    """The keys in `folder`. Raises ConfigError `config.node_keys`."""
    return NodeKeys(_read(folder / SIGN), _read(folder / BOX))


def public(key: ECKey) -> dict[str, str]:
    """The public JWK with its thumbprint as `kid`, and nothing else."""
    members = jwk.public_members({**key.as_dict(private=False)})
    return {**members, "kid": jwk.thumbprint(members)}


def public_key(raw: Mapping[str, Any]) -> ECKey:
    """The key of a public JWK: P-256, its `kid` its thumbprint. Raises FederationError `node.key`."""
    try:
        members = jwk.public_members(raw)
        if raw.get("kid") != jwk.thumbprint(members):
            raise CryptoError("crypto.jwk", "its kid is not its thumbprint")
    except CryptoError as error:
        raise FederationError("node.key", error.detail) from error
    return ECKey.import_key(jwk.public_key(members))


def sign(key: ECKey, payload: Mapping[str, Any], kind: str) -> str:
    """A compact JWS (ES256) of JSON; `kind` is its `typ`, so that no document passes for another."""
    header = {"alg": ES256, "typ": kind, "kid": key.thumbprint()}
    return jws.serialize_compact(header, json.dumps(payload, ensure_ascii=False).encode(), key, algorithms=[ES256])


def verify(text: str, key: Mapping[str, Any], kind: str, *, limit: int = 1 << 20) -> dict[str, Any]:
    """The payload of a JWS of `kind` by a public JWK. Raises FederationError `node.signature`."""
    signer = public_key(key)
    try:
        if len(text) > limit:
            raise ValueError(f"longer than {limit} characters")
        found = jws.deserialize_compact(text, signer, algorithms=[ES256])
        header = found.headers()
        if header.get("typ") != kind or header.get("kid") != key["kid"]:
            raise ValueError("another kind of document, or another key")
        payload = json.loads(found.payload)
        if not isinstance(payload, dict):
            raise ValueError("not an object")
    except (ValueError, UnicodeError, RecursionError, JoseError) as error:
        raise FederationError("node.signature", f"{kind}: {type(error).__name__}") from error
    return payload


def peek(text: str, *, limit: int = 1 << 20) -> dict[str, Any]:
    """The payload of a JWS, not verified: to find whose key must have signed it. Raises as `verify`."""
    try:
        if len(text) > limit:
            raise ValueError(f"longer than {limit} characters")
        payload = json.loads(jws.extract_compact(text.encode()).payload)
        if not isinstance(payload, dict):
            raise ValueError("not an object")
    except (ValueError, UnicodeError, RecursionError, JoseError) as error:
        raise FederationError("node.signature", type(error).__name__) from error
    return payload


def seal(data: bytes, box: Mapping[str, Any]) -> str:
    """A compact JWE of `data` that only the holder of the key `box` opens (ECDH-ES+A256KW, A256GCM)."""
    header = {"alg": ECDH, "enc": GCM, "kid": box["kid"]}
    return jwe.encrypt_compact(header, data, public_key(box), algorithms=[ECDH, GCM])


def unseal(text: str, keys: NodeKeys, *, limit: int = 1 << 20) -> bytes:
    """What was sealed for this node. Raises FederationError `node.sealed`."""
    try:
        if len(text) > limit:
            raise ValueError(f"longer than {limit} characters")
        found = jwe.decrypt_compact(text, keys.box, algorithms=[ECDH, GCM]).plaintext
    except (ValueError, UnicodeError, JoseError) as error:
        raise FederationError("node.sealed", type(error).__name__) from error
    if found is None:
        raise FederationError("node.sealed", "empty")
    return found


def _read(path: Path) -> ECKey:
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError("config.node_keys", f"{path} can be read by others: chmod 600")
        key = ECKey.import_key(path.read_text("ascii"))
    except (OSError, ValueError, JoseError) as error:
        raise ConfigError("config.node_keys", f"{path}: {type(error).__name__}") from error
    if key.curve_name != "P-256" or not key.is_private:
        raise ConfigError("config.node_keys", f"{path} holds no private P-256 key")
    return key
