"""Keys, and an SM2 verifier written from the standard alone, to hold libcrypto's answers against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ca_bridge.crypto import sm2

GX = 0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7
GY = 0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0
Point = tuple[int, int] | None


def add(a: Point, b: Point) -> Point:
    """Sum of two affine points; None is the point at infinity."""
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % sm2.P == 0:
        return None
    slope = (
        (3 * a[0] ** 2 + sm2.A) * pow(2 * a[1], -1, sm2.P) if a == b else (b[1] - a[1]) * pow(b[0] - a[0], -1, sm2.P)
    )
    x = (slope * slope - a[0] - b[0]) % sm2.P
    return x, (slope * (a[0] - x) - a[1]) % sm2.P


def times(k: int, point: Point) -> Point:
    """k · point by double and add."""
    total: Point = None
    while k:
        if k & 1:
            total = add(total, point)
        point, k = add(point, point), k >> 1
    return total


def sm3(data: bytes) -> bytes:
    """SM3 digest."""
    digest = hashes.Hash(hashes.SM3())
    digest.update(data)
    return digest.finalize()


def reference_verify(point65: bytes, message: bytes, r: int, s: int, sm2_id: bytes) -> bool:
    """GB/T 32918.2 §7.1, step by step."""
    if not (1 <= r < sm2.N and 1 <= s < sm2.N) or (r + s) % sm2.N == 0:
        return False
    curve = b"".join(n.to_bytes(32, "big") for n in (sm2.A, sm2.B, GX, GY))
    z = sm3((len(sm2_id) * 8).to_bytes(2, "big") + sm2_id + curve + point65[1:])
    e = int.from_bytes(sm3(z + message), "big")
    public = (int.from_bytes(point65[1:33], "big"), int.from_bytes(point65[33:], "big"))
    found = add(times(s, (GX, GY)), times((r + s) % sm2.N, public))
    return found is not None and (e + found[0]) % sm2.N == r


@pytest.fixture(scope="session")
def reference() -> Callable[[bytes, bytes, int, int, bytes], bool]:
    """The independent verifier."""
    return reference_verify


@dataclass(frozen=True)
class Keys:
    """One key of each kind."""

    rsa: rsa.RSAPrivateKey
    p256: ec.EllipticCurvePrivateKey
    p384: ec.EllipticCurvePrivateKey
    p521: ec.EllipticCurvePrivateKey
    ed25519: ed25519.Ed25519PrivateKey
    sm2: sm2.PrivateKey

    def spki(self, name: str) -> bytes:
        """SubjectPublicKeyInfo of the key called `name`."""
        key = getattr(self, name)
        if isinstance(key, sm2.PrivateKey):
            return key.spki
        return bytes(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


@pytest.fixture(scope="session")
def keys() -> Keys:
    """Keys for the whole run."""
    return Keys(
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate(),
        sm2.generate(),
    )
