"""The SM2 engine over libcrypto, and SM2 private keys in PKCS#8 files (RFC 5958; encrypted by PBES2, RFC 8018)."""

from __future__ import annotations

import base64
import binascii
import ctypes
import functools
import re
from ctypes import c_size_t, c_void_p
from pathlib import Path

from ca_bridge.crypto import sm2
from ca_bridge.crypto.libcrypto import Key, LibCrypto, Template
from ca_bridge.errors import CryptoError
from ca_bridge.files import write_atomically

ITERATIONS = 600_000
"""PBKDF2-HMAC-SHA-256 rounds of key files we write: about a fifth of a second for each guess."""

_KEPT = 512  # CAs come again with every leaf: decoding a key costs as much as half a verification
_MAX_FILE = 16_384
_PEM = re.compile(rb"-----BEGIN (ENCRYPTED PRIVATE KEY|PRIVATE KEY)-----\s+([A-Za-z0-9+/=\s]+)-----END \1-----\s*")


@functools.cache
def library() -> LibCrypto:
    """The process's libcrypto. Raises CryptoError `crypto.sm2_unavailable`."""
    return LibCrypto()


class LibcryptoEngine:
    """`sm2.Engine` over the machine's libcrypto ≥ 3.0."""

    def __init__(self) -> None:
        self._library = library()
        self._verifier = functools.lru_cache(_KEPT)(self._prepare)

    def verify(self, point: bytes, message: bytes, signature: bytes, sm2_id: bytes) -> bool:
        """Whether the DER signature is right."""
        return self._library.verifies(self._verifier(point, sm2_id), message, signature)

    def sign(self, private: sm2.PrivateKey, message: bytes, sm2_id: bytes) -> bytes:
        """A DER signature by a key that this engine made or loaded."""
        lib, key = self._library, private.handle
        if not isinstance(key, Key):
            raise CryptoError("crypto.key", "SM2: the private key belongs to another engine")
        size = c_size_t(80)  # 2 + 2 · (2 + 33) is the most
        buffer = ctypes.create_string_buffer(size.value)
        with lib.signing(key, sm2_id) as context:
            if lib.call("EVP_DigestSign", context, buffer, ctypes.byref(size), message, len(message)) != 1:
                raise lib.failed("crypto.key", "SM2: signing failed")
        return buffer.raw[: size.value]

    def generate(self) -> sm2.PrivateKey:
        """A new key."""
        lib = self._library
        context = lib.call("EVP_PKEY_CTX_new_from_name", None, b"SM2", None)
        made = c_void_p()
        try:
            if not context or lib.call("EVP_PKEY_keygen_init", context) != 1:
                raise lib.failed("crypto.sm2_unavailable", "libcrypto is built or configured without SM2")
            if lib.call("EVP_PKEY_keygen", context, ctypes.byref(made)) != 1 or made.value is None:
                raise lib.failed("crypto.sm2_unavailable", "SM2: key generation failed")
        finally:
            lib.call("EVP_PKEY_CTX_free", context)
        return _private(lib, Key(lib, made.value))

    def _prepare(self, point: bytes, sm2_id: bytes) -> Template:
        pointer = self._library.decode("d2i_PUBKEY", sm2.SPKI_HEADER + point)
        if not pointer:
            raise CryptoError("crypto.key", "SM2: libcrypto refuses the public key")
        return self._library.verifier(Key(self._library, pointer), sm2_id)


def load(pem: bytes, passphrase: bytes | None = None) -> sm2.PrivateKey:
    """The SM2 key of a PKCS#8 PEM text, whose two halves have been checked against each other.

    Raises CryptoError: `crypto.private_key` (not such a file, not SM2, halves that do not fit) or `crypto.passphrase`
    (wrong, missing, or given for a file that is not encrypted).
    """
    found = _PEM.fullmatch(pem.strip() + b"\n") if len(pem) <= _MAX_FILE else None
    if found is None:
        raise CryptoError("crypto.private_key", "not one PKCS#8 PEM text")
    try:
        data = base64.b64decode(b"".join(found[2].split()), validate=True)
    except binascii.Error as error:
        raise CryptoError("crypto.private_key", "PEM: not base64") from error
    encrypted = found[1].startswith(b"ENCRYPTED")
    if encrypted != bool(passphrase):
        raise CryptoError("crypto.passphrase", "a passphrase is missing or was given for a plain file")
    lib = library()
    info = _decrypt(lib, data, passphrase) if passphrase else lib.decode("d2i_PKCS8_PRIV_KEY_INFO", data)
    if not info:
        raise CryptoError("crypto.private_key", "not PKCS#8")
    try:
        pointer = lib.call("EVP_PKCS82PKEY", info)
    finally:
        lib.call("PKCS8_PRIV_KEY_INFO_free", info)
    if not pointer:
        raise lib.failed("crypto.private_key", "libcrypto refuses the private key")
    return _private(lib, Key(lib, pointer))


def load_file(path: Path, passphrase: bytes | None = None) -> sm2.PrivateKey:
    """The key in a file; as `load`. An unreadable file raises CryptoError `crypto.private_key`."""
    try:
        return load(path.read_bytes(), passphrase)
    except OSError as error:
        raise CryptoError("crypto.private_key", f"cannot read the key file: {error.strerror}") from error


def dump(private: sm2.PrivateKey, passphrase: bytes | None, *, iterations: int = ITERATIONS) -> bytes:
    """PKCS#8 PEM: with a passphrase AES-256-CBC under PBES2 (PBKDF2 with HMAC-SHA-256), else in clear.

    `iterations`: rounds of PBKDF2. Raises CryptoError `crypto.private_key`.
    """
    lib, key = library(), private.handle
    if not isinstance(key, Key):
        raise CryptoError("crypto.private_key", "the key belongs to another engine and cannot be written")
    info = lib.call("EVP_PKEY2PKCS8", key.pointer)
    if not info:
        raise lib.failed("crypto.private_key", "the key cannot be written")
    try:
        if passphrase is None:
            return _pem(b"PRIVATE KEY", lib.encode("i2d_PKCS8_PRIV_KEY_INFO", info))
        cipher = lib.call("EVP_aes_256_cbc")  # no salt given: libcrypto draws 16 random bytes
        sealed = lib.call("PKCS8_encrypt", -1, cipher, passphrase, len(passphrase), None, 16, iterations, info)
        if not sealed:
            raise lib.failed("crypto.private_key", "the key cannot be encrypted")
        try:
            return _pem(b"ENCRYPTED PRIVATE KEY", lib.encode("i2d_X509_SIG", sealed))
        finally:
            lib.call("X509_SIG_free", sealed)
    finally:
        lib.call("PKCS8_PRIV_KEY_INFO_free", info)


def save_file(path: Path, private: sm2.PrivateKey, passphrase: bytes | None) -> None:
    """Write the key to `path`, mode 0600 from the first byte."""
    write_atomically(path, dump(private, passphrase), mode=0o600)


def _decrypt(lib: LibCrypto, data: bytes, passphrase: bytes) -> int:
    sealed = lib.decode("d2i_X509_SIG", data)
    if not sealed:
        raise CryptoError("crypto.private_key", "not an encrypted PKCS#8 structure")
    try:
        info = lib.call("PKCS8_decrypt", sealed, passphrase, len(passphrase))
    finally:
        lib.call("X509_SIG_free", sealed)
    if not info:
        raise lib.failed("crypto.passphrase", "the passphrase is wrong")
    return info


def _private(lib: LibCrypto, key: Key) -> sm2.PrivateKey:
    if lib.call("EVP_PKEY_is_a", key.pointer, b"SM2") != 1:
        raise lib.failed("crypto.private_key", "not an SM2 key")
    spki = lib.encode("i2d_PUBKEY", key.pointer)
    if not spki.startswith(sm2.SPKI_HEADER) or len(spki) != len(sm2.SPKI_HEADER) + 65:
        raise CryptoError("crypto.private_key", "not an SM2 key on its named curve with an uncompressed point")
    context = lib.call("EVP_PKEY_CTX_new", key.pointer, None)
    try:
        if lib.call("EVP_PKEY_check", context) != 1:
            raise lib.failed("crypto.private_key", "the key's halves do not fit")
    finally:
        lib.call("EVP_PKEY_CTX_free", context)
    return sm2.PrivateKey(spki[len(sm2.SPKI_HEADER) :], key)


def _pem(label: bytes, data: bytes) -> bytes:
    text = base64.b64encode(data)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"\n".join([b"-----BEGIN " + label + b"-----", *lines, b"-----END " + label + b"-----", b""])
