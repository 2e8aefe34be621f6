"""What a token is to the signer: the interface that PKCS#11, files and, next, SKF (GM/T 0016) fill.

The unit is a *key with its certificate* on a token, as SKF's containers are. A token is given the message and does its
own digest: SKF's ECC signatures need the distinguishing ID and the public key for it (SM3 of Z‖M).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.extensions import KeyUsage


@dataclass(frozen=True, slots=True)
class Held:
    """A certificate on a token, with the key that belongs to it."""

    token: str
    """Label of the token, as printed on it or given by its owner."""
    storage: str
    """`token` or `file`."""
    handle: bytes = field(repr=False)
    """By which the token finds the key again (CKA_ID, container name)."""
    certificate: Certificate = field(repr=False)
    kind: str = ""
    """Kind of the key (`rsa`, `ecdsa-p256`, … `sm2`)."""

    @property
    def id(self) -> str:
        """Names this entry on the signer's page."""
        return self.certificate.sha256

    @property
    def can_sign(self) -> bool:
        """digitalSignature is among its usages, or it names none (RFC 5280 §4.2.1.3)."""
        usage = self.certificate.key_usage
        return usage is None or KeyUsage.DIGITAL_SIGNATURE in usage


class Token(Protocol):
    """One kind of token on this machine. Must be thread safe."""

    def held(self) -> tuple[Held, ...]:
        """Every certificate to be seen without a PIN; what is absent or unreadable is left out, never an error."""

    def sign(self, held: Held, pin: str, message: bytes, algorithm: str) -> bytes:
        """The signature: RSA raw, ECDSA and SM2 in DER.

        Raises SignerError: `signer.pin_wrong` (`left` among its facts when the token tells), `signer.pin_locked`,
        `signer.token_absent`, `signer.token_failed`.
        """
