"""A node's own two keys, made on the node and never leaving it; documents by them: `ca_bridge.crypto.between`.

Both P-256, mode 0600 in `state/keys/`: `node-sign.pem` (ES256) and `node-box.pem` (ECDH-ES). Their public halves, JWKs
whose `kid` is the RFC 7638 thumbprint, are in the province's roster.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from ca_bridge.crypto import between, jwk
from ca_bridge.crypto.between import BOX_FILE, SIGN_FILE, NodeKeys
from ca_bridge.errors import ConfigError, CryptoError, FederationError
from ca_bridge.files import write_atomically

LIMIT = 1 << 20
"""Characters of a document."""


def make_node_keys(folder: Path) -> NodeKeys:
    """The node's keys in `folder` (`state/keys`), made where there are none; those there are never replaced."""
    for name in (SIGN_FILE, BOX_FILE):
        if not (folder / name).exists():
            key = ECKey.generate_key("P-256", private=True)
            write_atomically(folder / name, key.as_pem(private=True), mode=0o600)
    return read_node_keys(folder)


def read_node_keys(folder: Path) -> NodeKeys:
    """The keys in `folder`. Raises ConfigError `config.node_keys`, also when there are none."""
    keys = between.read_node_keys(folder)
    if keys is None:
        raise ConfigError("config.node_keys", f"no node keys in {folder}")
    return keys


def public(key: ECKey) -> dict[str, str]:
    """The public JWK with its thumbprint as `kid`, and nothing else."""
    members = jwk.public_members(key.as_dict(private=False))
    return {**members, "kid": jwk.thumbprint(members)}


def public_key(raw: Mapping[str, Any]) -> dict[str, str]:
    """A public JWK as another node gave it: P-256, its `kid` its thumbprint. Raises FederationError `node.key`."""
    try:
        members = jwk.public_members(raw)
        if raw.get("kid") != jwk.thumbprint(members):
            raise CryptoError("crypto.jwk", "its kid is not its thumbprint")
    except CryptoError as error:
        raise FederationError("node.key", error.detail) from error
    return {**members, "kid": str(raw["kid"])}


def sign(key: ECKey, payload: Mapping[str, Any], typ: str) -> str:
    """A document of JSON by a node's `sign` key."""
    return between.sign(key, public(key)["kid"], typ, payload)


def own_word(text: str, key_at: str, typ: str) -> dict[str, Any]:
    """A document that brings its signer's key along under `key_at`: that key signed it, and nothing else is known.

    Raises FederationError `node.signature`, `node.key`.
    """
    try:
        if len(text) > LIMIT:
            raise ValueError(f"longer than {LIMIT} characters")
        payload = json.loads(jws.extract_compact(text.encode()).payload)
        key = payload[key_at]
        if not isinstance(key, Mapping):
            raise TypeError("no key")
    except (ValueError, KeyError, TypeError, RecursionError, JoseError) as error:
        raise FederationError("node.signature", f"{typ}: {type(error).__name__}") from error
    try:
        return between.verify(text, public_key(key), typ, LIMIT)
    except CryptoError as error:
        raise FederationError("node.signature", f"{typ}: {error.detail}") from error
