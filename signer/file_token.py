"""Tokens that are encrypted files: a folder each, with `certificate.pem` and the PKCS#8 `key.pem` under the PIN.

The count of wrong PINs lies beside the key (`tries`). It stops guessing at this page; it cannot stop somebody who has
copied the file, which is why such keys reach a lower level (levels.toml, `storage.file`).
"""

from __future__ import annotations

from pathlib import Path

import structlog
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from filelock import FileLock, Timeout

from ca_bridge.asn1.certificate import parse_pem
from ca_bridge.crypto import sm2, sm2_libcrypto
from ca_bridge.crypto.signatures import key_kind
from ca_bridge.errors import CrosshallError, CryptoError, SignerError
from ca_bridge.files import write_atomically
from signer.settings import FileSource
from signer.tokens import Held

_log = structlog.get_logger("signer")
_MAX_BYTES = 16_384
_LOCK_SECONDS = 10
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "ES256": hashes.SHA256(),
    "ES384": hashes.SHA384(),
    "ES512": hashes.SHA512(),
}


class FileTokens:
    """Every file token below one folder; `Token` of signer.tokens."""

    def __init__(self, source: FileSource, *, tries: int, sm2_id: str) -> None:
        self._folder = source.folder
        self._sm2_id = sm2_id
        self._tries = tries

    def held(self) -> tuple[Held, ...]:
        """Every readable certificate whose key file is beside it."""
        if not self._folder.is_dir():
            return ()
        found = []
        for folder in sorted(path for path in self._folder.iterdir() if (path / "key.pem").is_file()):
            try:
                certificate = parse_pem(_read(folder / "certificate.pem"))
                handle = folder.name.encode()
                found.append(Held(folder.name, "file", handle, certificate, key_kind(certificate.spki)))
            except (CrosshallError, OSError) as error:
                _log.info("signer.certificate_skipped", reason=getattr(error, "code", type(error).__name__))
        return tuple(found)

    def sign(self, held: Held, pin: str, message: bytes, algorithm: str) -> bytes:
        """See `Token.sign`. A try is counted before the PIN is looked at, so that none is free."""
        folder = self._folder / held.handle.decode()
        try:
            with FileLock(folder / ".lock", timeout=_LOCK_SECONDS):
                used = self._used(folder)
                if used >= self._tries:
                    raise SignerError("signer.pin_locked", "too many wrong PINs")
                write_atomically(folder / "tries", str(used + 1).encode(), mode=0o600)
                signature = self._sign(folder, held, pin, message, algorithm, left=self._tries - used - 1)
                (folder / "tries").unlink(missing_ok=True)
                return signature
        except (OSError, Timeout) as error:
            raise SignerError("signer.token_absent", f"the key file: {type(error).__name__}") from error

    def _sign(self, folder: Path, held: Held, pin: str, message: bytes, algorithm: str, *, left: int) -> bytes:
        sealed = _read(folder / "key.pem")
        if b"ENCRYPTED" not in sealed.split(b"\n", 1)[0]:
            raise SignerError("signer.token_failed", "the key file is not encrypted")
        try:
            if held.kind == "sm2":
                return self._sign_sm2(sealed, pin, message, algorithm)
            key = serialization.load_pem_private_key(sealed, pin.encode())
        except CryptoError as error:
            if error.code != "crypto.passphrase":
                raise SignerError("signer.token_failed", error.code) from error
            raise _wrong(left) from error
        except (ValueError, TypeError) as error:  # `cryptography` tells a wrong password in no other way
            raise _wrong(left) from error
        return _sign(key, message, algorithm)

    def _sign_sm2(self, sealed: bytes, pin: str, message: bytes, algorithm: str) -> bytes:
        if algorithm != "SM2":
            raise SignerError("signer.algorithm", f"an SM2 key does not sign by {algorithm}")
        return sm2.sign(sm2_libcrypto.load(sealed, pin.encode()), message, self._sm2_id)

    def _used(self, folder: Path) -> int:
        try:
            return int((folder / "tries").read_text())
        except FileNotFoundError:
            return 0
        except ValueError:  # a spoilt count locks: it must not be a way to more tries
            return self._tries


def _sign(key: object, message: bytes, algorithm: str) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey) and algorithm == "RS256":
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, rsa.RSAPrivateKey) and algorithm == "PS256":
        return key.sign(message, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey) and algorithm in _HASHES:
        return key.sign(message, ec.ECDSA(_HASHES[algorithm]))
    raise SignerError("signer.algorithm", f"this key does not sign by {algorithm}")


def _wrong(left: int) -> SignerError:
    return SignerError("signer.pin_wrong", "the PIN does not open the key file", left=left)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise SignerError("signer.token_failed", f"{path.name} is too large")
    return data
