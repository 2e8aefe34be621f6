"""Peers of K=token: the same full check (signature, iss, aud, exp, nbf) by others, and by hand as lean as it can be."""

from __future__ import annotations

import binascii
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc import jwk
from joserfc import jwt as joserfc_jwt

Check = Callable[[str], None]


def lean(public: Any, algorithm: str, issuer: str, audience: str) -> Check:
    """Split, JSON, verify, claims, with bare `cryptography`: one known key, no other check. The limit."""
    digest = hashes.SHA256()
    if algorithm == "ES256":
        ecdsa = ec.ECDSA(digest)

        def verify(signature: bytes, message: bytes) -> None:
            r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
            public.verify(encode_dss_signature(r, s), message, ecdsa)
    else:
        pad = padding.PKCS1v15() if algorithm == "RS256" else padding.PSS(padding.MGF1(digest), 32)

        def verify(signature: bytes, message: bytes) -> None:
            public.verify(signature, message, pad, digest)

    alphabet = bytes.maketrans(b"-_", b"+/")

    def decode(part: bytes) -> bytes:
        return binascii.a2b_base64(part.translate(alphabet) + b"==")

    def check(token: str) -> None:
        message, _, signature = token.encode().rpartition(b".")
        head, _, body = message.partition(b".")
        header = json.loads(decode(head))
        if header["alg"] != algorithm:
            raise ValueError("alg")
        verify(decode(signature), message)
        claims = json.loads(decode(body))
        now = time.time()
        if claims["iss"] != issuer or claims["aud"] != audience or claims["exp"] <= now or claims["nbf"] > now:
            raise ValueError("claims")

    return check


def pyjwt(jwks: dict[str, Any], algorithm: str, issuer: str, audience: str) -> Check:
    """PyJWT, its key read beforehand."""
    keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(jwks).keys}
    options: Any = {"require": ["exp", "iat", "nbf", "sub"]}

    def check(token: str) -> None:
        key = keys[jwt.get_unverified_header(token)["kid"]]
        jwt.decode(token, key, algorithms=[algorithm], issuer=issuer, audience=audience, options=options)

    return check


def joserfc(jwks: dict[str, Any], algorithm: str, issuer: str, audience: str) -> Check:
    """joserfc with its claims registry; the key is found by `kid` in an imported set."""
    keys = jwk.KeySet.import_key_set(jwks)  # type: ignore[arg-type]
    registry = joserfc_jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": issuer}, aud={"essential": True, "value": audience}, exp={"essential": True}
    )

    def check(token: str) -> None:
        registry.validate(joserfc_jwt.decode(token, keys, algorithms=[algorithm]).claims)

    return check
