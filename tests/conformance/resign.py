"""Signs a whole PKI over again with other algorithms, and changes nothing else.

Every RSA key becomes one new key, the same one wherever it stood, derived from the old key's bytes. Each certificate
and CRL is signed by the new key of whoever really signed the old one. What nobody at hand had signed, or whose
signature is no whole number of octets – NIST's bad signatures – gets a bad one again, of whole octets. What has a DSA
key or signature is left out.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ca_bridge.asn1 import der
from ca_bridge.asn1.certificate import Certificate, parse_certificate
from ca_bridge.asn1.crl import Crl, parse_crl
from ca_bridge.crypto import signatures, sm2, sm2_libcrypto
from ca_bridge.crypto.der import element
from ca_bridge.errors import CrosshallError, InputError

SM2_SM3 = bytes.fromhex("300a06082a811ccf55018375")
ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
_RSA = "1.2.840.113549.1.1."
P = TypeVar("P", Certificate, Crl)
_EC_KEY, _SM2_CURVE = bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06082a811ccf5501822d")


@dataclass(frozen=True, slots=True)
class Key:
    """A new key: its SubjectPublicKeyInfo, its signature's AlgorithmIdentifier, and how it signs."""

    spki: bytes
    algorithm: bytes
    sign: Callable[[bytes], bytes]


def sm2_key(seed: bytes) -> Key:
    """The SM2 key of a seed."""
    number = _number(seed, sm2.N)
    private = element(0x30, b"\x02\x01\x01" + element(4, number.to_bytes(32, "big")))
    info = element(0x30, b"\x02\x01\x00" + element(0x30, _EC_KEY + _SM2_CURVE) + element(4, private))
    pem = b"-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(info) + b"\n-----END PRIVATE KEY-----\n"
    loaded = sm2_libcrypto.load(pem)
    return Key(loaded.spki, SM2_SM3, lambda data: sm2.sign(loaded, data, sm2.DEFAULT_ID))


def p256_key(seed: bytes) -> Key:
    """The P-256 key of a seed."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    private = ec.derive_private_key(_number(seed, order), ec.SECP256R1())
    spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Key(spki, ECDSA_SHA256, lambda data: private.sign(data, ec.ECDSA(hashes.SHA256())))


def resign(
    certificates: dict[str, bytes], crls: dict[str, bytes], make: Callable[[bytes], Key]
) -> tuple[dict[str, bytes], dict[str, bytes], list[str]]:
    """The same files signed by keys of `make`, and the names of those whose signature was and is bad."""
    return _Resigner(certificates, crls, make).run()


class _Resigner:
    def __init__(self, certificates: dict[str, bytes], crls: dict[str, bytes], make: Callable[[bytes], Key]) -> None:
        self._broken: set[bytes] = set()
        self._certificates = dict(_readable(certificates, parse_certificate, self._broken))
        self._crls = dict(_readable(crls, parse_crl, self._broken))
        self._key = cache(make)
        self._keys: dict[object, list[bytes]] = {}
        self._bad: list[str] = []
        for certificate in self._certificates.values():
            known = self._keys.setdefault(certificate.subject.normalised, [])
            if certificate.spki not in known:
                known.append(certificate.spki)

    def run(self) -> tuple[dict[str, bytes], dict[str, bytes], list[str]]:
        certificates = {name: self._certificate(name, c) for name, c in self._certificates.items()}
        crls = {name: self._crl(name, crl) for name, crl in self._crls.items()}
        return certificates, crls, self._bad

    def _certificate(self, name: str, old: Certificate) -> bytes:
        parts = [der.raw(old.tbs, item) for item in der.children(old.tbs)]
        place = 2 if old.version > 1 else 1
        key = self._signer(old)
        parts[place] = (key or self._any(old)).algorithm
        parts[place + 4] = self._key(old.spki).spki
        return self._signed(name, b"".join(parts), key, old)

    def _crl(self, name: str, old: Crl) -> bytes:
        parts = [der.raw(old.tbs, item) for item in der.children(old.tbs)]
        key = self._signer(old)
        parts[1 if parts[0][0] == der.INTEGER else 0] = (key or self._any(old)).algorithm
        return self._signed(name, b"".join(parts), key, old)

    def _signed(self, name: str, body: bytes, key: Key | None, old: Certificate | Crl) -> bytes:
        tbs = element(0x30, body)
        right = key or self._any(old)
        signature = right.sign(tbs if key is not None else tbs + b"spoilt")
        if key is None:
            self._bad.append(name)
        return element(0x30, tbs + right.algorithm + element(3, b"\x00" + signature))

    def _signer(self, old: Certificate | Crl) -> Key | None:
        """The new key of whoever signed the old one: somebody of the issuer's name, or (NIST 4.4.5) of any name."""
        if old.der in self._broken:
            return None
        own = self._keys.get(old.issuer.normalised, [])
        others = [spki for known in self._keys.values() for spki in known if spki not in own]
        for spki in [*own, *others]:
            try:
                signatures.verify(
                    spki, old.signature_algorithm, old.signature_parameters, old.tbs, old.signature, sm2_id=""
                )
            except CrosshallError:
                continue
            return self._key(spki)
        return None

    def _any(self, old: Certificate | Crl) -> Key:
        known = self._keys.get(old.issuer.normalised)
        return self._key(known[0] if known else hashlib.sha256(old.issuer.der).digest())


def _readable(files: dict[str, bytes], parse: Callable[[bytes], P], broken: set[bytes]) -> Iterator[tuple[str, P]]:
    """What can be signed again; files whose signature's octets had to be mended to read them go to `broken`."""
    for name, data in files.items():
        try:
            parsed = _parse(data, parse, broken)
            if isinstance(parsed, Certificate):
                signatures.key_kind(parsed.spki)
        except CrosshallError:
            continue  # DSA
        if parsed.signature_algorithm.startswith(_RSA):
            yield name, parsed


def _parse(data: bytes, parse: Callable[[bytes], P], broken: set[bytes]) -> P:
    try:
        return parse(data)
    except InputError:
        position = der.children(data)[2][2]
        mended = data[:position] + b"\x00" + data[position + 1 :]
        broken.add(mended)
        return parse(mended)


def _number(seed: bytes, order: int) -> int:
    return int.from_bytes(hashlib.sha512(b"crosshall test key" + seed).digest(), "big") % (order - 1) + 1
