"""Signatures of tokens with `cryptography`: one prepared check a key and algorithm, so that a token costs one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

Check = Callable[[bytes, bytes], bool]
"""(signature, message) → whether the signature is good; never raises for a bad one."""

_EC: Mapping[str, tuple[type[ec.EllipticCurve], hashes.HashAlgorithm, int]] = {
    "ES256": (ec.SECP256R1, hashes.SHA256(), 32),
    "ES384": (ec.SECP384R1, hashes.SHA384(), 48),
}
_RSA: Mapping[str, tuple[Any, hashes.HashAlgorithm]] = {
    "RS256": (padding.PKCS1v15(), hashes.SHA256()),
    "PS256": (
        padding.PSS(padding.MGF1(hashes.SHA256()), 32),
        hashes.SHA256(),
    ),  # salt as long as the hash: RFC 7518 §3.5
    "PS384": (padding.PSS(padding.MGF1(hashes.SHA384()), 48), hashes.SHA384()),
}
LEAST_RSA = 2048
MOST_RSA = 8192
"""Sizes of RSA keys, in bits; a larger one would make each check slow (RFC 7518 §3.3 names the lower bound)."""


def checks_of(public: object) -> Mapping[str, Check]:
    """A check for each algorithm that a public key can have signed with; none for keys that are of no use here."""
    if isinstance(public, ec.EllipticCurvePublicKey):
        rows = ((name, row) for name, row in _EC.items() if isinstance(public.curve, row[0]))
        return {name: _elliptic(public, digest, size) for name, (_, digest, size) in rows}
    if isinstance(public, rsa.RSAPublicKey) and LEAST_RSA <= public.key_size <= MOST_RSA:
        return {name: _rsa(public, pad, digest) for name, (pad, digest) in _RSA.items()}
    return {}


def _elliptic(public: ec.EllipticCurvePublicKey, digest: hashes.HashAlgorithm, size: int) -> Check:
    algorithm, verify = ec.ECDSA(digest), public.verify

    def check(signature: bytes, message: bytes) -> bool:
        if len(signature) != 2 * size:  # RFC 7518 §3.4
            return False
        r, s = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
        try:
            verify(encode_dss_signature(r, s), message, algorithm)
        except InvalidSignature:
            return False
        return True

    return check


def _rsa(public: rsa.RSAPublicKey, pad: Any, digest: hashes.HashAlgorithm) -> Check:
    verify = public.verify

    def check(signature: bytes, message: bytes) -> bool:
        try:
            verify(signature, message, pad, digest)
        except InvalidSignature:
            return False
        return True

    return check
