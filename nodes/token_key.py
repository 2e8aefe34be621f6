"""A role's key on a PKCS#11 token: ECDSA P-256, made on it and never leaving it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11 import exceptions as failures
from pkcs11.util.ec import encode_ecdsa_signature, encode_named_curve_parameters

from ca_bridge.errors import FederationError
from nodes.keys import TokenSigner

_CODE = "federation.key"
_POINT = 65


@contextmanager
def open_token(module: Path, token: str, pin: str, *, write: bool = False) -> Iterator[Any]:
    """A session with the token labelled `token`. Raises FederationError `federation.key`, `federation.passphrase`."""
    try:
        with pkcs11.lib(str(module)).get_token(token_label=token).open(rw=write, user_pin=pin) as session:
            yield session
    except (failures.PinIncorrect, failures.PinInvalid, failures.PinLenRange, failures.PinLocked) as error:
        raise FederationError("federation.passphrase", f"token {token}: {type(error).__name__}") from error
    except (failures.PKCS11Error, RuntimeError) as error:
        raise FederationError(_CODE, f"token {token}: {type(error).__name__}") from error


def make_key(session: Any, label: str) -> TokenSigner:
    """A new key on the token, which cannot be read out. Raises FederationError `federation.key`: the label is taken."""
    if any(True for _ in session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label})):
        raise FederationError(_CODE, f"there is a key {label} on the token already")
    parameters = session.create_domain_parameters(
        KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}, local=True
    )
    hidden = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
    parameters.generate_keypair(store=True, label=label, private_template=hidden)
    return find_key(session, label)


def find_key(session: Any, label: str) -> TokenSigner:
    """The key of that label; it signs as long as the session lives. Raises FederationError `federation.key`."""
    try:
        private = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label)
        public = session.get_key(object_class=ObjectClass.PUBLIC_KEY, label=label)
        point = bytes(public[Attribute.EC_POINT])[-_POINT:]  # an OCTET STRING, or bare in some modules
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except (failures.PKCS11Error, ValueError) as error:
        raise FederationError(_CODE, f"key {label}: {type(error).__name__}") from error

    def sign(digest: bytes) -> bytes:
        return bytes(encode_ecdsa_signature(private.sign(digest, mechanism=Mechanism.ECDSA)))

    return TokenSigner(key, sign)
