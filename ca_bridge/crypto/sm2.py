"""SM2 signatures with SM3 (GB/T 32918.2, GM/T 0009): verify, sign, generate.

An engine does the work: libcrypto by default, an HSM by `use(engine)`. Whatever the engine, this module itself checks
that the point is on the curve, that the signature is strict DER with 1 ≤ r, s < n and r + s ≠ n, and that a
distinguishing ID is given – never the empty one, which OpenSSL 3 takes silently. Nothing in a certificate names the
ID: it is pinned for each CA.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Protocol

from ca_bridge.crypto import der
from ca_bridge.errors import CryptoError

DEFAULT_ID = "1234567812345678"
"""The distinguishing ID of GM/T 0009 §10."""

P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A = P - 3
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
"""The curve sm2p256v1 (GB/T 32918.5 §A): field, coefficients, order; the cofactor is 1."""

SPKI_HEADER = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d034200")
"""SubjectPublicKeyInfo of every SM2 key (id-ecPublicKey, 1.2.156.10197.1.301) up to its point."""

_FORM = "crypto.signature_form"


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private key as its engine holds it: `point` is public (04‖X‖Y), `handle` only the engine understands."""

    point: bytes
    handle: object = field(repr=False, compare=False)

    @property
    def spki(self) -> bytes:
        """SubjectPublicKeyInfo, DER."""
        return SPKI_HEADER + self.point


class Engine(Protocol):
    """What an HSM or a library must do to take libcrypto's place. Arguments come checked; must be thread safe."""

    def verify(self, point: bytes, message: bytes, signature: bytes, sm2_id: bytes) -> bool:
        """Whether the DER signature is right."""

    def sign(self, private: PrivateKey, message: bytes, sm2_id: bytes) -> bytes:
        """A DER signature."""

    def generate(self) -> PrivateKey:
        """A new key."""


_lock = threading.Lock()
_engine: Engine | None = None


def use(engine: Engine) -> None:
    """From now on `engine` does all SM2 work of this process, after it has passed `self_test`."""
    global _engine  # noqa: PLW0603 - one engine a process
    self_test(engine)
    with _lock:
        _engine = engine


def engine() -> Engine:
    """The engine in use; at first use libcrypto is loaded and tested (CryptoError `crypto.sm2_unavailable`)."""
    global _engine  # noqa: PLW0603
    if _engine is None:
        from ca_bridge.crypto.sm2_libcrypto import LibcryptoEngine  # noqa: PLC0415 - only when SM2 is wanted at all

        made = LibcryptoEngine()
        self_test(made)
        with _lock:
            _engine = _engine or made
    return _engine


def verify(point65: bytes, message: bytes, der_signature: bytes, sm2_id: str) -> None:
    """Returns only if the signature over `message` is right for the key and the distinguishing ID.

    Raises CryptoError: `crypto.key`, `crypto.signature_form`, `crypto.sm2_id`, `crypto.signature`,
    `crypto.sm2_unavailable`.
    """
    check_point(point65)
    check_signature(der_signature)
    if not engine().verify(point65, message, der_signature, id_bytes(sm2_id)):
        raise CryptoError("crypto.signature", "SM2 signature is wrong")


def sign(private: PrivateKey, message: bytes, sm2_id: str) -> bytes:
    """A DER signature over `message` under the distinguishing ID. Raises CryptoError as `verify`."""
    signature = engine().sign(private, message, id_bytes(sm2_id))
    check_signature(signature)
    return signature


def generate() -> PrivateKey:
    """A new key of the engine's own randomness."""
    private = engine().generate()
    check_point(private.point)
    return private


def id_bytes(sm2_id: str) -> bytes:
    """The distinguishing ID as signed; its bit length has 16 bits (GB/T 32918.2 §5.5). CryptoError `crypto.sm2_id`."""
    raw = sm2_id.encode()
    if not 1 <= len(raw) <= 0xFFFF // 8:
        raise CryptoError("crypto.sm2_id", "the distinguishing ID is empty or too long")
    return raw


def check_point(point65: bytes) -> None:
    """Returns only for an uncompressed point 04‖X‖Y on the curve. Raises CryptoError `crypto.key`."""
    if len(point65) != 65 or point65[0] != 4:
        raise CryptoError("crypto.key", "SM2: not an uncompressed point")
    x, y = int.from_bytes(point65[1:33], "big"), int.from_bytes(point65[33:], "big")
    if x >= P or y >= P or (y * y - ((x * x + A) * x + B)) % P:
        raise CryptoError("crypto.key", "SM2: the point is not on the curve")


def check_signature(der_signature: bytes) -> tuple[int, int]:
    """r and s of a strict DER signature in range (GB/T 32918.2 §7.1). Raises CryptoError `crypto.signature_form`."""
    r, s = der.integer_pair(der_signature, _FORM)
    if not (1 <= r < N and 1 <= s < N) or r + s == N:
        raise CryptoError(_FORM, "SM2: r or s is out of range")
    return r, s


def from_raw(raw: bytes) -> bytes:
    """The DER form of a 64-byte signature r‖s, as tokens (GM/T 0016) give it. CryptoError `crypto.signature_form`."""
    if len(raw) != 64:
        raise CryptoError(_FORM, "SM2: a raw signature has 64 bytes")
    signature = der.pair(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    check_signature(signature)
    return signature


def to_raw(der_signature: bytes) -> bytes:
    """r‖s, 64 bytes. Raises CryptoError `crypto.signature_form`."""
    r, s = check_signature(der_signature)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


# The worked example of GB/T 32918.5 §A.2 (equal in GM/T 0003.5).
_EXAMPLE_POINT = bytes.fromhex(
    "0409f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"
    "ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"
)
_EXAMPLE_MESSAGE = b"message digest"
_EXAMPLE_SIGNATURE = der.pair(
    0xF5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3,
    0xB1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA,
)


def self_test(engine: Engine) -> None:
    """Returns only if `engine` accepts the standard's example and refuses it under another message, ID or signature.

    Raises CryptoError `crypto.sm2_unavailable`: an engine that is wrong is never used.
    """
    default = DEFAULT_ID.encode()
    r, s = check_signature(_EXAMPLE_SIGNATURE)
    cases = (
        (True, _EXAMPLE_MESSAGE, _EXAMPLE_SIGNATURE, default),
        (False, _EXAMPLE_MESSAGE + b".", _EXAMPLE_SIGNATURE, default),
        (False, _EXAMPLE_MESSAGE, _EXAMPLE_SIGNATURE, b"8765432187654321"),
        (False, _EXAMPLE_MESSAGE, der.pair(r, s ^ 1), default),
    )
    for expected, message, signature, sm2_id in cases:
        if engine.verify(_EXAMPLE_POINT, message, signature, sm2_id) is not expected:
            raise CryptoError("crypto.sm2_unavailable", "the SM2 engine fails the standard's example")
