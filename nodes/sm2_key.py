"""SM2 as a key type of TUF metadata: keytype `sm2`, scheme `sm2-sm3`, registered with securesystemslib.

The public half is the SubjectPublicKeyInfo in hexadecimal, a signature DER in hexadecimal, under the distinguishing ID
of GM/T 0009 §10.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import KEY_FOR_TYPE_AND_SCHEME, Key, Signature, Signer
from securesystemslib.signer._utils import compute_default_keyid

from ca_bridge.crypto import sm2
from ca_bridge.errors import CryptoError

KEYTYPE, SCHEME = "sm2", "sm2-sm3"


class Sm2Key(Key):
    """The public half of an SM2 key."""

    @classmethod
    def from_dict(cls, keyid: str, key_dict: dict[str, Any]) -> Sm2Key:
        """From its form in metadata. Raises ValueError for a point that is not on the curve."""
        keytype, scheme, keyval = cls._from_dict(key_dict)
        try:
            cls._point(keyval)
        except CryptoError as error:
            raise ValueError(str(error)) from error
        return cls(keyid, keytype, scheme, keyval, key_dict)

    def to_dict(self) -> dict[str, Any]:
        """Its form in metadata."""
        return self._to_dict()

    def verify_signature(self, signature: Signature, data: bytes) -> None:
        """Returns only for a right signature. Raises UnverifiedSignatureError."""
        try:
            sm2.verify(self._point(self.keyval), data, bytes.fromhex(signature.signature), sm2.DEFAULT_ID)
        except (CryptoError, ValueError) as error:
            raise UnverifiedSignatureError(str(error)) from error

    @staticmethod
    def _point(keyval: dict[str, Any]) -> bytes:
        public = keyval["public"]
        if not isinstance(public, str) or public != public.lower():
            raise ValueError("SM2: the public key is lower-case hexadecimal")
        spki = bytes.fromhex(public)
        if not spki.startswith(sm2.SPKI_HEADER):
            raise ValueError("SM2: not a SubjectPublicKeyInfo of the named curve")
        point = spki[len(sm2.SPKI_HEADER) :]
        sm2.check_point(point)
        return point


class Sm2Signer(Signer):
    """Signs metadata with an SM2 key."""

    def __init__(self, private: sm2.PrivateKey) -> None:
        self.private = private
        keyval = {"public": private.spki.hex()}
        self._public = Sm2Key(compute_default_keyid(KEYTYPE, SCHEME, keyval), KEYTYPE, SCHEME, keyval)

    @property
    def public_key(self) -> Sm2Key:
        """The public half."""
        return self._public

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: Callable[[str], str] | None = None
    ) -> Sm2Signer:
        """Not offered: keys are loaded by `nodes.keys.load_key`."""
        raise NotImplementedError

    def sign(self, payload: bytes) -> Signature:
        """A signature over `payload`."""
        return Signature(self._public.keyid, sm2.sign(self.private, payload, sm2.DEFAULT_ID).hex())


def register() -> None:
    """Make securesystemslib know the key type; done once, by `nodes.keys`."""
    KEY_FOR_TYPE_AND_SCHEME[(KEYTYPE, SCHEME)] = Sm2Key
