"""The challenge that a person's key signs to sign in (design §5): its bytes, and the check of the proof.

The bytes begin with a fixed text and hold length-prefixed fields, so that they can be neither a CMS structure (0x31
…) nor another protocol's message, and no two challenges share them. The key's hash is among them: a signature says
which key made it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from ca_bridge.crypto import der, signatures
from ca_bridge.errors import CryptoError

PREFIX = b"crosshall-signin-v1"
LIFETIME = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Scheme:
    """How one algorithm name signs: kind of key, and the AlgorithmIdentifier for `signatures.verify`."""

    kind: str
    oid: str
    parameters: bytes | None = None


_SHA256 = bytes.fromhex("300d06096086480165030402010500")
_MGF1_SHA256 = der.element(der.SEQUENCE, bytes.fromhex("06092a864886f70d010108") + _SHA256)
_PSS_SHA256 = der.element(
    der.SEQUENCE,
    der.element(0xA0, _SHA256) + der.element(0xA1, _MGF1_SHA256) + der.element(0xA2, der.integer(32)),
)
SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        "RS256": Scheme("rsa", "1.2.840.113549.1.1.11", der.NULL_VALUE),
        "PS256": Scheme("rsa", signatures.RSA_PSS_OID, _PSS_SHA256),
        "ES256": Scheme("ecdsa-p256", "1.2.840.10045.4.3.2"),
        "ES384": Scheme("ecdsa-p384", "1.2.840.10045.4.3.3"),
        "ES512": Scheme("ecdsa-p521", "1.2.840.10045.4.3.4"),
        "SM2": Scheme("sm2", signatures.SM2_SM3_OID),
    }
)
"""The only algorithms of proofs. Signatures: RSA as raw bytes, ECDSA and SM2 as DER."""

_ORIGIN = re.compile(r"https://[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[1-9][0-9]{0,4})?")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,128}")
_HASH = re.compile(r"[0-9a-f]{64}")
_THUMBPRINT = re.compile(r"([A-Za-z0-9_-]{43})?")
_FORMS = (("origin", _ORIGIN), ("transaction", _TOKEN), ("nonce", _TOKEN), ("key", _HASH), ("browser", _THUMBPRINT))


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge, well formed; else CryptoError `crypto.challenge`.

    `origin`: of the hall, `https://host[:port]`, lower case. `transaction` and `nonce`: base64url, at least 128 bits;
    used once, which the store sees to. `key`: SHA-256 of the signing key's SubjectPublicKeyInfo, lower-case
    hexadecimal. `expires`: aware, whole seconds. `browser`: RFC 7638 thumbprint of the browser's own key, or empty.
    """

    origin: str
    transaction: str
    nonce: str
    key: str
    expires: datetime
    browser: str = ""

    def __post_init__(self) -> None:
        for name, pattern in _FORMS:
            value = getattr(self, name)
            if not isinstance(value, str) or pattern.fullmatch(value) is None:
                raise CryptoError("crypto.challenge", f"{name} is malformed")
        if self.expires.utcoffset() is None or self.expires.microsecond:
            raise CryptoError("crypto.challenge", "expires is not in whole seconds with a zone")


@dataclass(frozen=True, slots=True)
class Asked:
    """A challenge before a certificate is picked: all its fields but the key, which is the signer's to name."""

    origin: str
    transaction: str
    nonce: str
    expires: datetime
    """Aware UTC, whole seconds."""
    browser: str = ""
    """Thumbprint of the browser's key; empty when it gave none."""


def key_hash(spki_der: bytes) -> str:
    """SHA-256 of a SubjectPublicKeyInfo, lower-case hexadecimal."""
    return hashlib.sha256(spki_der).hexdigest()


def message(challenge: Challenge) -> bytes:
    """The bytes that are signed: the prefix, then origin, transaction, nonce, key, expires (decimal, since 1970).

    Each field is UTF-8 behind its length in bytes (4 bytes, big-endian). A browser's key is a sixth field, and none at
    all when there is none: signers that know five fields go on working.
    """
    expires = str(int(challenge.expires.timestamp()))
    fields = [challenge.origin, challenge.transaction, challenge.nonce, challenge.key, expires]
    if challenge.browser:
        fields.append(challenge.browser)
    return PREFIX + b"".join(len(raw).to_bytes(4, "big") + raw for raw in (field.encode() for field in fields))


def algorithms_for(kind: str) -> tuple[str, ...]:
    """Names of the algorithms by which a key of this kind may sign, the preferred first; none for Ed25519."""
    return tuple(name for name, scheme in SCHEMES.items() if scheme.kind == kind)


def check_open(challenge: Challenge, spki: bytes, now: datetime) -> None:
    """Returns only while the challenge may be answered, by this key. `now`: aware. Raises CryptoError as `check`."""
    if not now < challenge.expires <= now + LIFETIME:
        raise CryptoError("crypto.challenge_expired", "the challenge is over, or lives longer than it may")
    if key_hash(spki) != challenge.key:
        raise CryptoError("crypto.challenge_key", "the challenge names another key")


def check(challenge: Challenge, spki: bytes, signature: bytes, algorithm: str, sm2_id: str, *, now: datetime) -> None:
    """Returns only if the holder of `spki` signed this challenge, by an accepted algorithm of that key's kind, in time.

    `now`: aware. Raises CryptoError: `crypto.challenge_expired` (also when it would live longer than 60 s from now),
    `crypto.challenge_key` (another key than the challenge names), `crypto.challenge_algorithm`, and those of
    `signatures.verify`. That a challenge is taken once is the store's part.
    """
    check_open(challenge, spki, now)
    scheme = SCHEMES.get(algorithm)
    if scheme is None:
        raise CryptoError("crypto.challenge_algorithm", "no such algorithm")
    kind = signatures.key_kind(spki)
    if scheme.kind != kind:
        raise CryptoError("crypto.challenge_algorithm", f"a key of kind {kind} does not sign by {algorithm}")
    signatures.verify(spki, scheme.oid, scheme.parameters, message(challenge), signature, sm2_id=sm2_id)
