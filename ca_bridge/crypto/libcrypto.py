"""The machine's libcrypto (OpenSSL 3.0 or newer) by ctypes: only what SM2 needs.

Thread safe: keys and templates are only read after they are made, each call has a context of its own, libcrypto's error
queue is per thread and is emptied after each failure. ctypes releases the GIL during calls. `CROSSHALL_LIBCRYPTO` names
another library file.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, c_char_p, c_int, c_long, c_size_t, c_ulong, c_void_p

from ca_bridge.errors import CryptoError

_UNAVAILABLE = "crypto.sm2_unavailable"
_OLDEST = 0x30000000
_NAMES = ("libcrypto.so.3", "libcrypto.so.4")
_FINALISE = 0x0200  # EVP_MD_CTX_FLAG_FINALISE: nothing is added after the end, so no copy is made for it

_PP = POINTER(c_char_p)
_SIGNATURES: dict[str, tuple[object, list[object]]] = {
    "OpenSSL_version_num": (c_ulong, []),
    "ERR_clear_error": (None, []),
    "d2i_PUBKEY": (c_void_p, [c_void_p, _PP, c_long]),
    "i2d_PUBKEY": (c_int, [c_void_p, c_void_p]),
    "EVP_PKEY_free": (None, [c_void_p]),
    "EVP_PKEY_is_a": (c_int, [c_void_p, c_char_p]),
    "EVP_PKEY_CTX_new_from_name": (c_void_p, [c_void_p, c_char_p, c_char_p]),
    "EVP_PKEY_CTX_new": (c_void_p, [c_void_p, c_void_p]),
    "EVP_PKEY_CTX_free": (None, [c_void_p]),
    "EVP_PKEY_CTX_set1_id": (c_int, [c_void_p, c_char_p, c_size_t]),
    "EVP_PKEY_keygen_init": (c_int, [c_void_p]),
    "EVP_PKEY_keygen": (c_int, [c_void_p, POINTER(c_void_p)]),
    "EVP_PKEY_check": (c_int, [c_void_p]),
    "EVP_MD_CTX_new": (c_void_p, []),
    "EVP_MD_CTX_free": (None, [c_void_p]),
    "EVP_sm3": (c_void_p, []),
    "EVP_DigestVerifyInit": (c_int, [c_void_p, POINTER(c_void_p), c_void_p, c_void_p, c_void_p]),
    "EVP_DigestVerifyUpdate": (c_int, [c_void_p, c_char_p, c_size_t]),
    "EVP_DigestVerifyFinal": (c_int, [c_void_p, c_char_p, c_size_t]),
    "EVP_MD_CTX_copy_ex": (c_int, [c_void_p, c_void_p]),
    "EVP_MD_CTX_set_flags": (None, [c_void_p, c_int]),
    "EVP_DigestSignInit": (c_int, [c_void_p, POINTER(c_void_p), c_void_p, c_void_p, c_void_p]),
    "EVP_DigestSign": (c_int, [c_void_p, c_char_p, POINTER(c_size_t), c_char_p, c_size_t]),
    "d2i_PKCS8_PRIV_KEY_INFO": (c_void_p, [c_void_p, _PP, c_long]),
    "i2d_PKCS8_PRIV_KEY_INFO": (c_int, [c_void_p, c_void_p]),
    "PKCS8_PRIV_KEY_INFO_free": (None, [c_void_p]),
    "EVP_PKCS82PKEY": (c_void_p, [c_void_p]),
    "EVP_PKEY2PKCS8": (c_void_p, [c_void_p]),
    "d2i_X509_SIG": (c_void_p, [c_void_p, _PP, c_long]),
    "i2d_X509_SIG": (c_int, [c_void_p, c_void_p]),
    "X509_SIG_free": (None, [c_void_p]),
    "PKCS8_decrypt": (c_void_p, [c_void_p, c_char_p, c_int]),
    "PKCS8_encrypt": (c_void_p, [c_int, c_void_p, c_char_p, c_int, c_char_p, c_int, c_int, c_void_p]),
    "EVP_aes_256_cbc": (c_void_p, []),
}


def _open() -> ctypes.CDLL:
    named = os.environ.get("CROSSHALL_LIBCRYPTO")
    found = ctypes.util.find_library("crypto") if not named else None
    tried: list[str] = []
    for name in (named,) if named else (*_NAMES, found):
        if name is None:
            continue
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            tried.append(f"{name}: {error}")
    raise CryptoError(_UNAVAILABLE, "no libcrypto can be loaded; " + "; ".join(tried))


class Key:
    """An EVP_PKEY that is freed with its last user."""

    __slots__ = ("_library", "pointer")

    def __init__(self, library: LibCrypto, pointer: int) -> None:
        self._library = library
        self.pointer = pointer

    def __del__(self) -> None:
        self._library.call("EVP_PKEY_free", self.pointer)


class Template:
    """An EVP_MD_CTX that is only ever copied, and is freed with its last user."""

    __slots__ = ("_library", "pointer")

    def __init__(self, library: LibCrypto, pointer: int) -> None:
        self._library = library
        self.pointer = pointer

    def __del__(self) -> None:
        self._library.call("EVP_MD_CTX_free", self.pointer)


class LibCrypto:
    """A loaded libcrypto ≥ 3.0 with all functions that SM2 needs; else CryptoError `crypto.sm2_unavailable`."""

    def __init__(self) -> None:
        library = _open()
        self._functions = {}
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name, None)
            if function is None:
                raise CryptoError(_UNAVAILABLE, f"libcrypto has no {name}: OpenSSL 3.0 or newer is needed")
            function.restype, function.argtypes = result, arguments
            self._functions[name] = function
        version = self.call("OpenSSL_version_num")
        if version < _OLDEST:
            raise CryptoError(_UNAVAILABLE, f"libcrypto is {version:#010x}: OpenSSL 3.0 or newer is needed")
        self.sm3 = self.call("EVP_sm3")
        if not self.sm3:
            raise CryptoError(_UNAVAILABLE, "libcrypto is built or configured without SM3")

    def call(self, name: str, *arguments: object) -> int:
        """The C function's result; pointers and numbers as int, NULL as 0."""
        return self._functions[name](*arguments) or 0

    def failed(self, code: str, detail: str) -> CryptoError:
        """The error to raise after a failed call; empties the error queue, whose texts may quote data."""
        self.call("ERR_clear_error")
        return CryptoError(code, detail)

    def decode(self, function: str, der: bytes) -> int:
        """Pointer made by a `d2i_…` function that consumed all of `der`, or 0."""
        start = c_char_p(der)
        # the function moves the pointer: compare addresses to see that nothing is left over
        before = ctypes.cast(start, c_void_p).value or 0
        pointer = self.call(function, None, ctypes.byref(start), len(der))
        after = ctypes.cast(start, c_void_p).value or 0
        if not pointer:
            self.call("ERR_clear_error")
            return 0
        if after - before != len(der):
            self.call(_FREE[function], pointer)
            return 0
        return pointer

    def encode(self, function: str, pointer: int) -> bytes:
        """DER made by an `i2d_…` function."""
        size = self.call(function, pointer, None)
        if size <= 0:
            raise self.failed("crypto.key", f"{function} failed")
        buffer = ctypes.create_string_buffer(size)
        moving = c_void_p(ctypes.addressof(buffer))
        self.call(function, pointer, ctypes.byref(moving))
        return buffer.raw

    @contextmanager
    def signing(self, key: Key, sm2_id: bytes) -> Iterator[int]:
        """A digest context that signs by SM2 with SM3 under this distinguishing ID."""
        context = self.call("EVP_MD_CTX_new")
        try:
            self._begin("EVP_DigestSignInit", context, key, sm2_id)
            yield context
        finally:
            self.call("EVP_MD_CTX_free", context)

    def verifier(self, key: Key, sm2_id: bytes) -> Template:
        """What verifies by SM2 with SM3 under this key and distinguishing ID, their hash Z taken already."""
        template = Template(self, self.call("EVP_MD_CTX_new"))
        self._begin("EVP_DigestVerifyInit", template.pointer, key, sm2_id)
        if self.call("EVP_DigestVerifyUpdate", template.pointer, b"", 0) != 1:
            raise self.failed(_UNAVAILABLE, "SM2: the key and its distinguishing ID cannot be hashed")
        return template

    def verifies(self, template: Template, message: bytes, signature: bytes) -> bool:
        """Whether the DER signature over `message` is right; the template stays as it is."""
        context = self.call("EVP_MD_CTX_new")
        try:
            if self.call("EVP_MD_CTX_copy_ex", context, template.pointer) != 1:
                raise self.failed(_UNAVAILABLE, "EVP_MD_CTX_copy_ex failed")
            self.call("EVP_MD_CTX_set_flags", context, _FINALISE)
            if self.call("EVP_DigestVerifyUpdate", context, message, len(message)) != 1:
                raise self.failed(_UNAVAILABLE, "EVP_DigestVerifyUpdate failed")
            right = self.call("EVP_DigestVerifyFinal", context, signature, len(signature)) == 1
        finally:
            self.call("EVP_MD_CTX_free", context)
        if not right:
            self.call("ERR_clear_error")
        return right

    def _begin(self, start: str, context: int, key: Key, sm2_id: bytes) -> None:
        inner = c_void_p()
        if self.call(start, context, ctypes.byref(inner), self.sm3, None, key.pointer) != 1:
            raise self.failed(_UNAVAILABLE, f"{start} failed")
        if self.call("EVP_PKEY_CTX_set1_id", inner, sm2_id, len(sm2_id)) != 1:
            raise self.failed("crypto.sm2_id", "the distinguishing ID is not accepted")


_FREE = {
    "d2i_PUBKEY": "EVP_PKEY_free",
    "d2i_PKCS8_PRIV_KEY_INFO": "PKCS8_PRIV_KEY_INFO_free",
    "d2i_X509_SIG": "X509_SIG_free",
}
