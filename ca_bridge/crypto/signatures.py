"""The one place that decides over a signature: which keys and algorithms are accepted, and whether the two fit.

Accepted: RSA 2048–8192 with e = 65537 (PKCS#1 v1.5, PSS), ECDSA on P-256, P-384, P-521, all with SHA-256/384/512;
Ed25519; SM2 with SM3. Refused: everything else, SHA-1, MD5 and DSA among it. Keys are known by the exact bytes of
their headers: named curves, uncompressed points and absent or NULL parameters leave each kind one encoding only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ca_bridge.crypto import der, sm2
from ca_bridge.errors import CryptoError

RSA, ED25519, SM2 = "rsa", "ed25519", "sm2"
KEY_KINDS = (RSA, "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", ED25519, SM2)
RSA_BITS = (2048, 8192)
MAX_SPKI = 1100
"""Bytes of the largest accepted SubjectPublicKeyInfo: RSA 8192."""

RSA_PSS_OID = "1.2.840.113549.1.1.10"
SM2_SM3_OID = "1.2.156.10197.1.501"

_SHA: Mapping[str, hashes.HashAlgorithm] = MappingProxyType(
    {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
)


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A signature algorithm: the family of keys that it takes, its hash, and which parameters may stand beside it."""

    family: str
    hash: str = ""
    null: bool = False
    """NULL is accepted beside absent."""


_RSA_PKCS1 = "1.2.840.113549.1.1."
_ECDSA = "1.2.840.10045.4.3."
ALGORITHMS: Mapping[str, Algorithm] = MappingProxyType(
    {
        _RSA_PKCS1 + "11": Algorithm(RSA, "sha256", null=True),  # RFC 4055 §5: NULL, absent accepted
        _RSA_PKCS1 + "12": Algorithm(RSA, "sha384", null=True),
        _RSA_PKCS1 + "13": Algorithm(RSA, "sha512", null=True),
        RSA_PSS_OID: Algorithm(RSA),  # RFC 4055 §3.1: the parameters name the hash
        _ECDSA + "2": Algorithm("ecdsa", "sha256"),  # RFC 5758 §3.2: absent
        _ECDSA + "3": Algorithm("ecdsa", "sha384"),
        _ECDSA + "4": Algorithm("ecdsa", "sha512"),
        "1.3.101.112": Algorithm(ED25519),  # RFC 8410 §3: absent
        SM2_SM3_OID: Algorithm(SM2, "sm3", null=True),  # GM/T 0015: absent; real CAs write NULL
    }
)

_RSA_HEADER = bytes.fromhex("300d06092a864886f70d0101010500")
_HEADERS: Mapping[str, tuple[bytes, int]] = MappingProxyType(
    {
        "ecdsa-p256": (bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200"), 65),
        "ecdsa-p384": (bytes.fromhex("3076301006072a8648ce3d020106052b81040022036200"), 97),
        "ecdsa-p521": (bytes.fromhex("30819b301006072a8648ce3d020106052b8104002303818600"), 133),
        ED25519: (bytes.fromhex("302a300506032b6570032100"), 32),
        SM2: (sm2.SPKI_HEADER, 65),
    }
)


def key_kind(spki_der: bytes) -> str:
    """The kind of an acceptable public key, one of `KEY_KINDS`: size, exponent, curve and point have been checked.

    Raises CryptoError `crypto.key` (not an accepted kind, malformed, off its curve) or `crypto.key_size` (RSA).
    """
    kind = _kind(spki_der)
    if kind == SM2:
        sm2.check_point(spki_der[len(sm2.SPKI_HEADER) :])
    elif kind == RSA:
        _check_rsa(*_rsa_numbers(spki_der))
    elif kind == ED25519:
        _check_edwards(spki_der[-32:])
    else:
        _check_curve(kind, spki_der[len(_HEADERS[kind][0]) :])
    return kind


def sm2_point(spki_der: bytes) -> bytes:
    """The 65-byte point of an SM2 SubjectPublicKeyInfo. Raises CryptoError `crypto.key`."""
    if _kind(spki_der) != SM2:
        raise CryptoError("crypto.key", "not an SM2 key")
    return spki_der[len(sm2.SPKI_HEADER) :]


def verify(
    spki_der: bytes,
    algorithm_oid: str,
    parameters: bytes | None,
    message: bytes | memoryview,
    signature: bytes,
    *,
    sm2_id: str,
) -> None:
    """Returns only if `signature` over `message` is right and key and algorithm are accepted and fit each other.

    `spki_der`: SubjectPublicKeyInfo. `algorithm_oid`: dotted. `parameters`: the DER of the AlgorithmIdentifier's
    parameters; None or empty when absent. `sm2_id`: the signer's distinguishing ID, used for SM2 only. Raises
    CryptoError: `crypto.algorithm`, `crypto.parameters`, `crypto.key`, `crypto.key_size`, `crypto.algorithm_key`,
    `crypto.signature_form`, `crypto.signature`, `crypto.sm2_id`, `crypto.sm2_unavailable`. RFC 5280 §4.1.1.2,
    §4.1.2.7.
    """
    check = _fitting(spki_der, algorithm_oid, parameters or None)
    if check.family == SM2:
        sm2.verify(spki_der[len(sm2.SPKI_HEADER) :], bytes(message), signature, sm2_id)
        return
    if check.family == "ecdsa":
        der.integer_pair(signature, "crypto.signature_form")
    try:
        check.verify(signature, message)
    except InvalidSignature as error:
        raise CryptoError("crypto.signature", f"{check.family} signature is wrong") from error


@dataclass(frozen=True, slots=True)
class _Fitting:
    """A loaded key under an algorithm that it fits; `verify(signature, message)` raises InvalidSignature."""

    family: str
    verify: Callable[[bytes, bytes | memoryview], None]


def _fit(spki_der: bytes, algorithm_oid: str, parameters: bytes | None) -> _Fitting:
    algorithm = ALGORITHMS.get(algorithm_oid)
    if algorithm is None:
        raise CryptoError("crypto.algorithm", f"signature algorithm {algorithm_oid[:64]} is not accepted")
    pss = _pss(parameters) if algorithm_oid == RSA_PSS_OID else None
    if pss is None:
        check_parameters(algorithm, parameters)
    kind = _kind(spki_der)
    if kind.partition("-")[0] != algorithm.family:
        raise CryptoError("crypto.algorithm_key", f"a key of kind {kind} cannot make {algorithm.family} signatures")
    if kind == SM2:
        return _Fitting(SM2, _never)
    key = _load(kind, spki_der)
    if isinstance(key, rsa.RSAPublicKey):
        digest, scheme = pss or (_SHA[algorithm.hash], padding.PKCS1v15())
        rsa_verify = cast("Callable[..., None]", key.verify)  # its stub knows no buffers, its code does
        return _Fitting(RSA, lambda signature, message: rsa_verify(signature, message, scheme, digest))
    if isinstance(key, ec.EllipticCurvePublicKey):
        ec_verify, hashed = key.verify, ec.ECDSA(_SHA[algorithm.hash])
        return _Fitting("ecdsa", lambda signature, message: ec_verify(signature, message, hashed))
    return _Fitting(ED25519, key.verify)


def _never(signature: bytes, message: bytes | memoryview) -> None:  # noqa: ARG001 - the field's form
    raise CryptoError("crypto.key", "SM2 has an engine of its own")


_fitting = functools.lru_cache(maxsize=4096)(_fit)
"""Keys of CAs come again with every leaf; of what is malformed or does not fit nothing is kept."""


def check_parameters(algorithm: Algorithm, parameters: bytes | None) -> None:
    """Returns only for parameters that may stand beside `algorithm` (not PSS). CryptoError `crypto.parameters`."""
    if parameters and not (algorithm.null and parameters == der.NULL_VALUE):
        raise CryptoError("crypto.parameters", f"parameters beside {algorithm.family} are not accepted")


def _kind(spki_der: bytes) -> str:
    if len(spki_der) <= MAX_SPKI:
        for kind, (header, size) in _HEADERS.items():
            if spki_der.startswith(header) and len(spki_der) == len(header) + size:
                return kind
        if spki_der.find(_RSA_HEADER, 0, 32) in (2, 3, 4):
            return RSA
    raise CryptoError("crypto.key", "not an accepted kind of public key")


_P25519 = 2**255 - 19
_ORDER_8 = 0x5FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER = frozenset({0, 1, _P25519 - 1, _ORDER_8, _P25519 - _ORDER_8})


def _check_edwards(point: bytes) -> None:
    # Under a point of small order anybody can make signatures (RFC 8032 leaves such keys to the verifier).
    y = int.from_bytes(point, "little") & (2**255 - 1)
    if y >= _P25519 or y in _SMALL_ORDER:
        raise CryptoError("crypto.key", "ed25519: a point of small order, or not in its one encoding")


_Key = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


def _load(kind: str, spki_der: bytes) -> _Key:
    try:
        key = load_der_public_key(spki_der)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CryptoError("crypto.key", f"{kind}: the public key is malformed") from error
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        _check_rsa(numbers.n, numbers.e)
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        _check_edwards(spki_der[-32:])
        return key
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key
    raise CryptoError("crypto.key", "not an accepted kind of public key")


def _check_rsa(modulus: int, exponent: int) -> None:
    bits = modulus.bit_length()
    if not RSA_BITS[0] <= bits <= RSA_BITS[1] or exponent != 65537:
        raise CryptoError("crypto.key_size", f"RSA key of {bits} bits, or its exponent is not 65537")
    if not modulus & 1:
        raise CryptoError("crypto.key", "rsa: the modulus is even")


def _rsa_numbers(spki_der: bytes) -> tuple[int, int]:
    """Modulus and exponent of RSAPublicKey (RFC 8017 §A.1.1)."""
    parts = der.children(spki_der, der.SEQUENCE, "crypto.key")
    if [tag for tag, _ in parts] != [der.SEQUENCE, der.BIT_STRING] or not parts[1][1].startswith(b"\x00"):
        raise CryptoError("crypto.key", "rsa: the public key is malformed")
    numbers = der.children(parts[1][1][1:], der.SEQUENCE, "crypto.key")
    if [tag for tag, _ in numbers] != [der.INTEGER, der.INTEGER]:
        raise CryptoError("crypto.key", "rsa: the public key is malformed")
    return der.unsigned(numbers[0][1], "crypto.key"), der.unsigned(numbers[1][1], "crypto.key")


def _check_curve(kind: str, point: bytes) -> None:
    """SEC 1 §3.2.2.1: the cofactor is 1, so a point on the curve is a good key. Much cheaper than loading it."""
    p, b = _CURVES[kind]
    half = len(point) // 2
    x, y = int.from_bytes(point[1 : half + 1], "big"), int.from_bytes(point[half + 1 :], "big")
    if point[0] != 4 or x >= p or y >= p or (y * y - (x * x - 3) * x - b) % p:
        raise CryptoError("crypto.key", f"{kind}: the public key is malformed")


# FIPS 186-4 §D.1.2: field and coefficient b of P-256, P-384, P-521; a is -3 in all of them.
_CURVES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "ecdsa-p256": (
            2**256 - 2**224 + 2**192 + 2**96 - 1,
            0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
        ),
        "ecdsa-p384": (
            2**384 - 2**128 - 2**96 + 2**32 - 1,
            0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
        ),
        "ecdsa-p521": (
            2**521 - 1,
            int(
                "0051953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109E156193951EC7E937B1652C0BD3BB1BF07"
                "3573DF883D2C34F1EF451FD46B503F00",
                16,
            ),
        ),
    }
)


_OID_SHA = {
    bytes.fromhex("0609608648016503040201"): "sha256",
    bytes.fromhex("0609608648016503040202"): "sha384",
    bytes.fromhex("0609608648016503040203"): "sha512",
}
_PSS_FIELDS = ([0xA0, 0xA1, 0xA2], [0xA0, 0xA1, 0xA2, 0xA3])  # the salt's default is 20: always given
_OID_MGF1 = bytes.fromhex("06092a864886f70d010108")
_ONE = der.integer(1)
_DIGEST_BYTES = {"sha256": 32, "sha384": 48, "sha512": 64}


def _pss(parameters: bytes | None) -> tuple[hashes.HashAlgorithm, padding.PSS]:
    """Hash and padding of RSASSA-PSS-params (RFC 4055 §3.1).

    Ours: the defaults are SHA-1, so hash and MGF must be given; MGF1 over the same hash; salt at least as long as the
    digest.
    """
    code = "crypto.parameters"
    given = der.children(parameters or b"", der.SEQUENCE, code)
    inside = dict(given)
    if [tag for tag, _ in given] not in _PSS_FIELDS:
        raise CryptoError(code, "PSS: hash or mask generation is missing or something else is given")
    name = _digest(inside[0xA0], code)
    mask = der.children(inside[0xA1], der.SEQUENCE, code)
    if len(mask) != 2 or der.element(*mask[0]) != _OID_MGF1 or _digest(der.element(*mask[1]), code) != name:
        raise CryptoError(code, "PSS: mask generation is not MGF1 over the same hash")
    salt, trailer = _number(inside[0xA2], code), _number(inside.get(0xA3, _ONE), code)
    if not _DIGEST_BYTES[name] <= salt <= RSA_BITS[1] // 8 or trailer != 1:
        raise CryptoError(code, "PSS: salt shorter than the digest, or another trailer")
    return _SHA[name], padding.PSS(padding.MGF1(_SHA[name]), salt)


def _digest(algorithm_identifier: bytes, code: str) -> str:
    inside = der.children(algorithm_identifier, der.SEQUENCE, code)
    name = _OID_SHA.get(der.element(*inside[0])) if inside else None
    if name is None or inside[1:] not in ([], [(der.NULL, b"")]):
        raise CryptoError(code, "PSS: the hash is not SHA-256, SHA-384 or SHA-512")
    return name


def _number(content: bytes, code: str) -> int:
    tag, value, end = der.read(content, 0, code)
    if tag != der.INTEGER or end != len(content):
        raise CryptoError(code, "PSS: a number is malformed")
    return der.unsigned(value, code)
