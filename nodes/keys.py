"""Keys of the bundle's roles: Ed25519, ECDSA P-256 or SM2, in encrypted PKCS#8 files, or on a PKCS#11 token.

A key holder keeps `<name>.pem` and gives away `<name>.pem.pub`. A key's id is the hash of the key itself: whoever
lists one key under two ids to count it twice is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import (
    ECDSA_SHA2_NISTP256,
    ED25519,
    KEY_TYPE_ECDSA,
    KEY_TYPE_ED25519,
    CryptoSigner,
    Key,
    Signature,
    Signer,
    SSlibKey,
)
from securesystemslib.signer._utils import compute_default_keyid

from ca_bridge.crypto import sm2, sm2_libcrypto
from ca_bridge.errors import CrosshallError, CryptoError, FederationError
from ca_bridge.files import write_atomically
from nodes import sm2_key

sm2_key.register()

KINDS = ("ed25519", "ecdsa", "sm2")
SCHEMES = frozenset(
    {(KEY_TYPE_ED25519, ED25519), (KEY_TYPE_ECDSA, ECDSA_SHA2_NISTP256), (sm2_key.KEYTYPE, sm2_key.SCHEME)}
)
_MAX_PUBLIC = 16_384
_CODE = "federation.key"


def new_key(kind: str) -> Signer:
    """A new key: `ed25519`, `ecdsa` (P-256) or `sm2`. Raises FederationError `federation.key` for another kind."""
    if kind == "ed25519":
        return CryptoSigner(Ed25519PrivateKey.generate())
    if kind == "ecdsa":
        return CryptoSigner(ec.generate_private_key(ec.SECP256R1()))
    if kind == "sm2":
        return sm2_key.Sm2Signer(sm2.generate())
    raise FederationError(_CODE, f"there is no kind of key {kind}; there are: {', '.join(KINDS)}")


def save_key(path: Path, signer: Signer, passphrase: bytes | None) -> None:
    """Write the private key (mode 0600 from the first byte) and `<path>.pub`; never over a key that is there.

    `passphrase` None only for online keys, on the machine that uses them. Raises FederationError `federation.key`.
    """
    if path.exists():
        raise FederationError(_CODE, f"{path.name} is there already")
    if isinstance(signer, sm2_key.Sm2Signer):
        data = sm2_libcrypto.dump(signer.private, passphrase)
    elif isinstance(signer, CryptoSigner):
        form: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase is not None:
            form = serialization.BestAvailableEncryption(passphrase)
        private: Any = signer._private_key  # the class itself writes it without a passphrase only
        data = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, form)
    else:
        raise FederationError(_CODE, "a key on a token does not leave it")
    write_atomically(path, data, mode=0o600)
    write_atomically(path.with_name(f"{path.name}.pub"), public_text(signer.public_key).encode())


def load_key(path: Path, passphrase: bytes | None) -> Signer:
    """The key in a PKCS#8 file. Raises FederationError `federation.key`, `federation.passphrase`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FederationError(_CODE, f"{path.name}: {error.strerror}") from error
    if (b"BEGIN ENCRYPTED PRIVATE KEY" in data) is not bool(passphrase):
        raise FederationError("federation.passphrase", f"{path.name}: missing, or given for a plain file")
    try:
        key: Any = serialization.load_pem_private_key(data, passphrase)
        return CryptoSigner(key, _public(key))
    except (TypeError, ValueError, LookupError) as error:
        if "password" in str(error).lower() or "decrypt" in str(error).lower():
            raise FederationError("federation.passphrase", f"{path.name}: wrong") from error
    except Exception as error:
        if type(error).__name__ != "UnsupportedAlgorithm":
            raise
    try:
        return sm2_key.Sm2Signer(sm2_libcrypto.load(data, passphrase))
    except CryptoError as error:
        code = "federation.passphrase" if error.code == "crypto.passphrase" else _CODE
        raise FederationError(code, f"{path.name}: {error.detail}") from error


def _public(key: Any) -> SSlibKey:
    if isinstance(key, Ed25519PrivateKey) or (
        isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
    ):
        return SSlibKey.from_crypto(key.public_key())
    raise FederationError(_CODE, "only Ed25519, ECDSA P-256 and SM2")


class TokenSigner(Signer):
    """An ECDSA P-256 key on a PKCS#11 token; `sign` does the token's raw ECDSA over a SHA-256 digest."""

    def __init__(self, public: ec.EllipticCurvePublicKey, sign: Callable[[bytes], bytes]) -> None:
        """`sign`: a DER signature over a digest of 32 octets."""
        self._public = SSlibKey.from_crypto(public)
        self._sign = sign

    @property
    def public_key(self) -> SSlibKey:
        """The public half."""
        return self._public

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: Callable[[str], str] | None = None
    ) -> TokenSigner:
        """Not offered: tokens are opened by `nodes.token_key.open_key`."""
        raise NotImplementedError

    def sign(self, payload: bytes) -> Signature:
        """A signature over `payload`."""
        return Signature(self._public.keyid, self._sign(hashlib.sha256(payload).digest()).hex())


def check_key(key: Key) -> None:
    """Returns for a key of a kind we take whose id is its own hash. Raises FederationError `federation.key`."""
    if (key.keytype, key.scheme) not in SCHEMES or set(key.keyval) != {"public"} or key.unrecognized_fields:
        raise FederationError(_CODE, "a kind of key that is not taken")
    if key.keyid != compute_default_keyid(key.keytype, key.scheme, key.keyval):
        raise FederationError(_CODE, "a key under an id that is not its hash")
    if key.keytype == KEY_TYPE_ECDSA:
        _one_spelling(str(key.keyval["public"]))
    elif key.keyval["public"] != str(key.keyval["public"]).lower():
        raise FederationError(_CODE, "a key in a second spelling")


def _one_spelling(text: str) -> None:
    """PEM can be written in many ways, each with an id of its own; only the usual one is taken."""
    try:
        key = serialization.load_pem_public_key(text.encode())
    except ValueError as error:
        raise FederationError(_CODE, "not a public key") from error
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    plain = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    if not plain or key.public_bytes(*form).decode() != text:
        raise FederationError(_CODE, "a key in a second spelling, or on another curve")


def public_text(key: Key) -> str:
    """A public key as its holder gives it away."""
    return json.dumps({"keyid": key.keyid, **key.to_dict()}, indent=1, sort_keys=True) + "\n"


def parse_public(row: Mapping[str, Any]) -> Key:
    """A public key from what `public_text` wrote. Raises FederationError `federation.key`."""
    try:
        table = dict(row)
        key = Key.from_dict(str(table.pop("keyid")), {**table, "keyval": dict(table["keyval"])})
    except (KeyError, TypeError, ValueError, CrosshallError) as error:
        raise FederationError(_CODE, "not a public key of a role") from error
    check_key(key)
    return key


def read_public(path: Path) -> Key:
    """The public key in a file. Raises FederationError `federation.key`."""
    try:
        data = path.read_bytes()
        if len(data) > _MAX_PUBLIC:
            raise ValueError("too large")
        return parse_public(json.loads(data))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise FederationError(_CODE, f"{path.name}: {error}") from error
