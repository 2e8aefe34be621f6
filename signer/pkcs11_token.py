"""Tokens behind a PKCS#11 library: USB tokens of every vendor that ships one, SoftHSM for trying."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pkcs11
import structlog
from cryptography.hazmat.primitives import hashes
from pkcs11 import MGF, Attribute, CertificateType, Mechanism, ObjectClass, TokenFlag
from pkcs11 import exceptions as failures
from pkcs11.util.ec import encode_ecdsa_signature

from ca_bridge.asn1.certificate import parse_certificate
from ca_bridge.crypto.signatures import key_kind
from ca_bridge.errors import CrosshallError, SignerError
from signer.modules import find_softhsm
from signer.settings import Pkcs11Source
from signer.tokens import Held

_log = structlog.get_logger("signer")
_WRONG = (failures.PinIncorrect, failures.PinInvalid, failures.PinLenRange)
_ABSENT = (failures.TokenNotPresent, failures.DeviceRemoved, failures.NoSuchToken, failures.SlotIDInvalid)
_DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "ES256": hashes.SHA256(),
    "ES384": hashes.SHA384(),
    "ES512": hashes.SHA512(),
}


class Pkcs11Tokens:
    """Every token behind one library; `Token` of signer.tokens.

    Calls are made one after the other: a login counts for the whole process, and must not outlive its signature.
    """

    def __init__(self, source: Pkcs11Source) -> None:
        if source.softhsm_configuration is not None:
            os.environ["SOFTHSM2_CONF"] = str(source.softhsm_configuration)
        self._path = module_path(source.module)
        self._lock = threading.Lock()
        try:
            self._library: Any = pkcs11.lib(str(self._path))
        except (failures.PKCS11Error, RuntimeError, OSError) as error:
            raise SignerError("signer.module", f"{self._path.name} cannot be loaded: {error}") from error

    def held(self) -> tuple[Held, ...]:
        """Every readable certificate on every initialised token."""
        with self._lock:
            try:
                return tuple(held for token in self._tokens() for held in self._certificates(token))
            except failures.PKCS11Error as error:
                _log.warning("signer.token_failed", module=self._path.name, error=type(error).__name__)
                return ()

    def sign(self, held: Held, pin: str, message: bytes, algorithm: str) -> bytes:
        """See `Token.sign`. The session, and with it the login, ends with the signature."""
        with self._lock:
            try:
                token = next((t for t in self._tokens() if self._holds(t, held)), None)
                if token is None:
                    raise SignerError("signer.token_absent", "the token is not plugged in any more")
                with token.open(user_pin=pin) as session:
                    key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, id=held.handle)
                    return _sign(key, message, algorithm)
            except _WRONG as error:
                raise SignerError("signer.pin_wrong", "the token refused the PIN") from error
            except (failures.PinLocked, failures.PinExpired) as error:
                raise SignerError("signer.pin_locked", "the token's PIN is locked or has expired") from error
            except _ABSENT as error:
                raise SignerError("signer.token_absent", type(error).__name__) from error
            except failures.PKCS11Error as error:
                raise SignerError("signer.token_failed", type(error).__name__) from error

    def _tokens(self) -> Iterator[Any]:
        for slot in self._library.get_slots(token_present=True):
            try:
                token = slot.get_token()
            except failures.PKCS11Error:  # pulled out between the two calls
                continue
            if TokenFlag.TOKEN_INITIALIZED in token.flags:
                yield token

    def _holds(self, token: Any, held: Held) -> bool:
        return token.label == held.token and any(found.id == held.id for found in self._certificates(token))

    def _certificates(self, token: Any) -> list[Held]:
        wanted = {Attribute.CLASS: ObjectClass.CERTIFICATE, Attribute.CERTIFICATE_TYPE: CertificateType.X_509}
        found = []
        with token.open() as session:
            for entry in session.get_objects(wanted):
                try:
                    certificate = parse_certificate(entry[Attribute.VALUE])
                    kind = key_kind(certificate.spki)
                    found.append(Held(token.label, "token", entry[Attribute.ID], certificate, kind))
                except (CrosshallError, failures.PKCS11Error) as error:
                    _log.info("signer.certificate_skipped", reason=getattr(error, "code", type(error).__name__))
        return [held for held in found if not held.certificate.is_ca]


def module_path(module: str) -> Path:
    """The library that a settings file names. Raises SignerError `signer.module` when it is not there."""
    path = find_softhsm() if module == "softhsm" else Path(module)
    if path is None or not path.is_file():
        raise SignerError("signer.module", f"no PKCS#11 library {module!r}")
    return path


def _sign(key: Any, message: bytes, algorithm: str) -> bytes:
    if algorithm == "RS256":
        return bytes(key.sign(message, mechanism=Mechanism.SHA256_RSA_PKCS))
    if algorithm == "PS256":
        parameters = (Mechanism.SHA256, MGF.SHA256, 32)
        return bytes(key.sign(message, mechanism=Mechanism.SHA256_RSA_PKCS_PSS, mechanism_param=parameters))
    if algorithm in _DIGESTS:
        # CKM_ECDSA takes the digest: many tokens know no CKM_ECDSA_SHA256. It answers r‖s.
        digest = hashes.Hash(_DIGESTS[algorithm])
        digest.update(message)
        return encode_ecdsa_signature(key.sign(digest.finalize(), mechanism=Mechanism.ECDSA))
    raise SignerError("signer.algorithm", f"this kind of token does not sign by {algorithm}")
