"""The challenge signed as CMS `SignedData`, for tokens and middleware that sign nothing else (design §5).

    ContentInfo ─ SignedData ─┬─ encapContentInfo: our own content type, NOTICE and the challenge's bytes
                              ├─ certificates: the leaf (a chain may stand beside it)
                              └─ one SignerInfo ─ signedAttrs: content type, message digest ─ signature over them

Two forms: IETF (RFC 5652; RSA, ECDSA, SM2) and national (GB/T 35275, GM/T 0010: SM2 with SM3 only). The content type
is ours in both, and signed: the same bytes are no signature of a document anywhere. Everything is strict DER.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from cryptography.hazmat.primitives import hashes

from ca_bridge.asn1 import der
from ca_bridge.asn1.certificate import Certificate
from ca_bridge.crypto import challenge as challenges
from ca_bridge.crypto import der as writer
from ca_bridge.crypto import signatures, sm2
from ca_bridge.crypto.challenge import SCHEMES, Challenge
from ca_bridge.errors import CryptoError, InputError

ALGORITHM = "CMS"
"""The name of this kind of proof beside `challenge.SCHEMES`."""
CONTENT_TYPE = "2.25.189635764221281675457771513131497166843"
"""id-crosshall-signin, of a UUID (ITU-T X.667): needs no register and belongs to nobody else."""
NOTICE = (
    "Crosshall sign-in only. This is not a signature of any document.\n"
    "仅用于统一身份认证登录，不是对任何文件的签名。\n\n"
).encode()
"""What a token with a screen shows, and what the signer can always point to."""
MAX_OCTETS = 64 << 10
MAX_CERTIFICATES = 8

_CONTENT_TYPE_ATTRIBUTE = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
_SIGNING_TIME = "1.2.840.113549.1.9.5"
_CAPABILITIES = "1.2.840.113549.1.9.15"
_SIGNING_CERTIFICATE = "1.2.840.113549.1.9.16.2.47"
_REQUIRED = {_CONTENT_TYPE_ATTRIBUTE, _MESSAGE_DIGEST}
_KNOWN = {*_REQUIRED, _SIGNING_TIME, _CAPABILITIES, _SIGNING_CERTIFICATE}
_RSA_KEY = "1.2.840.113549.1.1.1"
_SM2_SIGNATURES = frozenset({signatures.SM2_SM3_OID, "1.2.156.10197.1.301.1"})
_SM3 = "1.2.156.10197.1.401"


class Form(StrEnum):
    """Whose object identifiers the structure bears."""

    IETF = "1.2.840.113549.1.7.2"
    NATIONAL = "1.2.156.10197.6.1.4.2.2"


_VERSIONS = {Form.IETF: 3, Form.NATIONAL: 1}
"""RFC 5652 §5.1: 3, because the content is not id-data; GM/T 0010 §8: 1."""
_DIGESTS: Mapping[str, tuple[str, hashes.HashAlgorithm]] = MappingProxyType(
    {
        "2.16.840.1.101.3.4.2.1": ("sha256", hashes.SHA256()),
        "2.16.840.1.101.3.4.2.2": ("sha384", hashes.SHA384()),
        "2.16.840.1.101.3.4.2.3": ("sha512", hashes.SHA512()),
        _SM3: ("sm3", hashes.SM3()),
    }
)
_PKCS1 = {"sha256": "11", "sha384": "12", "sha512": "13"}


@dataclass(frozen=True, slots=True)
class _Signer:
    """SignerInfo, taken apart; nothing of it is verified."""

    issuer: bytes
    serial: bytes
    digest: str
    attributes: bytes
    """signedAttrs as it is signed: with the tag of a SET (RFC 5652 §5.4)."""
    algorithm: tuple[str, bytes | None]
    signature: bytes


@dataclass(frozen=True, slots=True)
class _Signed:
    form: Form
    digest: str
    content_type: str
    content: bytes
    certificates: tuple[bytes, ...]
    signer: _Signer


def content(challenge: Challenge) -> bytes:
    """What is wrapped and digested: the notice that people can read, then the bytes of the challenge."""
    return NOTICE + challenges.message(challenge)


def check(challenge: Challenge, leaf: Certificate, data: bytes, sm2_id: str, *, now: datetime) -> None:
    """Returns only if `data` is a CMS signature of this challenge by `leaf`'s key, strict, whole and in time.

    `sm2_id`: under which the holder signs, for SM2 keys. `now`: aware. Raises CryptoError: `crypto.cms` (structure),
    `crypto.cms_signer` (signers, certificates), `crypto.cms_content` (type, digest, challenge), and those of
    `challenge.check`.
    """
    challenges.check_open(challenge, leaf.spki, now)
    verify(data, leaf, content(challenge), sm2_id)


def verify(data: bytes, leaf: Certificate, expected: bytes, sm2_id: str) -> Form:
    """The form of `data`; returns only if `leaf`'s key signed `expected` under our content type. Raises as `check`."""
    try:
        signed = _read(data)
        attributes = _attributes(signed.signer.attributes)
    except InputError as error:
        raise CryptoError("crypto.cms", error.detail) from error
    _check_signer(signed, leaf)
    _check_content(signed, attributes, expected)
    if _SIGNING_CERTIFICATE in attributes:
        _check_signing_certificate(attributes[_SIGNING_CERTIFICATE], leaf)
    oid, parameters, signature = _algorithm(signed, leaf)
    signatures.verify(leaf.spki, oid, parameters, signed.signer.attributes, signature, sm2_id=sm2_id)
    return signed.form


def build(
    challenge: Challenge, leaf: Certificate, algorithm: str, sign: Callable[[bytes], bytes], form: Form = Form.IETF
) -> bytes:
    """The CMS form of a signed challenge; `sign` signs the octets it is given by `algorithm` (`challenge.SCHEMES`).

    Raises CryptoError `crypto.challenge_algorithm`: the national form is SM2 alone.
    """
    scheme = SCHEMES.get(algorithm)
    if scheme is None or (form is Form.NATIONAL and scheme.kind != signatures.SM2):
        raise CryptoError("crypto.challenge_algorithm", "no such algorithm in this form")
    name = {"ES384": "sha384", "ES512": "sha512", "SM2": "sm3"}.get(algorithm, "sha256")
    digest = next(oid for oid, (known, _) in _DIGESTS.items() if known == name)
    body = content(challenge)
    attributes = b"".join(
        sorted(
            (
                _sequence(_oid(_CONTENT_TYPE_ATTRIBUTE), _set(_oid(CONTENT_TYPE))),
                _sequence(_oid(_MESSAGE_DIGEST), _set(writer.element(der.OCTET_STRING, _hash(digest, body)))),
            )
        )
    )
    parameters = scheme.parameters or b""
    issuer = _sequence(leaf.issuer.der, writer.element(der.INTEGER, _integer(leaf.serial)))
    signer = _sequence(
        writer.integer(1),
        issuer,
        _sequence(_oid(digest)),
        writer.element(0xA0, attributes),
        _sequence(_oid(scheme.oid), parameters),
        writer.element(der.OCTET_STRING, sign(_set(attributes))),
    )
    inside = _sequence(_oid(CONTENT_TYPE), writer.element(0xA0, writer.element(der.OCTET_STRING, body)))
    parts = (
        writer.integer(_VERSIONS[form]),
        _set(_sequence(_oid(digest))),
        inside,
        writer.element(0xA0, leaf.der),
        _set(signer),
    )
    return _sequence(_oid(form.value), writer.element(0xA0, _sequence(*parts)))


def _read(data: bytes) -> _Signed:
    """ContentInfo and SignedData, RFC 5652 §3, §5.1; GM/T 0010 §8. No CRLs, one digest algorithm, one signer."""
    if len(data) > MAX_OCTETS:
        raise InputError("asn1.too_large", f"more than {MAX_OCTETS} octets")
    outer = _exactly(der.children(data, limit=3), (der.OID, 0xA0))
    kind = der.oid_at(data, outer[0])
    if kind not in (Form.IETF, Form.NATIONAL):
        raise der.bad(f"content type {kind[:64]} is not SignedData")
    form = Form(kind)
    body = _only(data, outer[1])
    parts = list(der.items(data, body[2], body[3], 6)) if body[0] == der.SEQUENCE else []
    if [part[0] for part in parts] == [der.INTEGER, der.SET, der.SEQUENCE, der.SET]:
        certificates: tuple[bytes, ...] = ()
    else:
        _exactly(parts, (der.INTEGER, der.SET, der.SEQUENCE, 0xA0, der.SET))
        certificates = _certificates(data, parts[3])
    if der.integer(der.content(data, parts[0])) != _VERSIONS[form]:
        raise der.bad("version of SignedData")
    digest = _digest_algorithm(data, _only(data, parts[1]))
    inside = _exactly(list(der.items(data, parts[2][2], parts[2][3], 3)), (der.OID, 0xA0))
    wrapped = _only(data, inside[1])
    signers = list(der.items(data, parts[-1][2], parts[-1][3], 2))
    if len(signers) != 1:
        raise CryptoError("crypto.cms_signer", f"{len(signers)} signers where one is expected")
    return _Signed(
        form=form,
        digest=digest,
        content_type=der.oid_at(data, inside[0]),
        content=der.content(data, wrapped, der.OCTET_STRING),
        certificates=certificates,
        signer=_signer(data, signers[0]),
    )


def _signer(data: bytes, item: der.Tlv) -> _Signer:
    """SignerInfo of version 1, by issuer and serial number (RFC 5652 §5.3); no unsigned attributes."""
    parts = list(der.items(data, item[2], item[3], 7)) if item[0] == der.SEQUENCE else []
    tags = (der.INTEGER, der.SEQUENCE, der.SEQUENCE, 0xA0, der.SEQUENCE, der.OCTET_STRING)
    _exactly(parts, tags)
    if der.integer(der.content(data, parts[0])) != 1:
        raise der.bad("version of SignerInfo")
    name = _exactly(list(der.items(data, parts[1][2], parts[1][3], 3)), (der.SEQUENCE, der.INTEGER))
    algorithm = list(der.items(data, parts[4][2], parts[4][3], 2))
    if not algorithm:
        raise der.bad("signature algorithm")
    return _Signer(
        issuer=der.raw(data, name[0]),
        serial=der.content(data, name[1]),
        digest=_digest_algorithm(data, parts[2]),
        attributes=bytes((der.SET,)) + der.raw(data, parts[3])[1:],
        algorithm=(der.oid_at(data, algorithm[0]), der.raw(data, algorithm[1]) if len(algorithm) == 2 else None),
        signature=der.content(data, parts[5]),
    )


def _certificates(data: bytes, item: der.Tlv) -> tuple[bytes, ...]:
    found = list(der.items(data, item[2], item[3], MAX_CERTIFICATES))
    if not found or any(one[0] != der.SEQUENCE for one in found):
        raise der.bad("certificates")
    return tuple(der.raw(data, one) for one in found)


def _digest_algorithm(data: bytes, item: der.Tlv) -> str:
    """A digest algorithm that is accepted, parameters absent or NULL (RFC 5754 §2)."""
    parts = list(der.items(data, item[2], item[3], 2)) if item[0] == der.SEQUENCE else []
    if not parts or (len(parts) == 2 and der.raw(data, parts[1]) != writer.NULL_VALUE):
        raise der.bad("digest algorithm")
    oid = der.oid_at(data, parts[0])
    if oid not in _DIGESTS:
        raise CryptoError("crypto.algorithm", f"digest algorithm {oid[:64]} is not accepted")
    return oid


def _attributes(encoded: bytes) -> Mapping[str, bytes]:
    """Attribute type → DER of its only value; in the order of X.690 §11.6, each type once, none unknown."""
    items = der.children(encoded, der.SET, 16)
    rows = [der.raw(encoded, item) for item in items]
    if rows != sorted(rows):
        raise der.bad("signed attributes are not in DER order")
    found: dict[str, bytes] = {}
    for item in items:
        inside = list(der.items(encoded, item[2], item[3], 3)) if item[0] == der.SEQUENCE else []
        parts = _exactly(inside, (der.OID, der.SET))
        oid = der.oid_at(encoded, parts[0])
        if oid in found or oid not in _KNOWN:
            raise der.bad(f"signed attribute {oid[:64]} twice, or not one of ours")
        found[oid] = der.raw(encoded, _only(encoded, parts[1]))
    if not set(found) >= _REQUIRED:
        raise der.bad("content type or message digest is not among the signed attributes")
    return found


def _check_signer(signed: _Signed, leaf: Certificate) -> None:
    signer = signed.signer
    if signer.issuer != leaf.issuer.der or der.integer(signer.serial) != leaf.serial:
        raise CryptoError("crypto.cms_signer", "issuer and serial number are another certificate's")
    if signed.certificates.count(leaf.der) != (1 if signed.certificates else 0):
        raise CryptoError("crypto.cms_signer", "the certificates inside do not hold the leaf, once")


def _check_content(signed: _Signed, attributes: Mapping[str, bytes], expected: bytes) -> None:
    code = "crypto.cms_content"
    named = attributes[_CONTENT_TYPE_ATTRIBUTE]
    if signed.content_type != CONTENT_TYPE or named != _oid(CONTENT_TYPE):
        raise CryptoError(code, "the content type is not that of a sign-in, inside or among the signed attributes")
    if not hmac.compare_digest(signed.content, expected):
        raise CryptoError(code, "what is signed is not this challenge")
    if signed.digest != signed.signer.digest:
        raise CryptoError(code, "the signer's digest algorithm is not the one that was announced")
    digest = writer.element(der.OCTET_STRING, _hash(signed.digest, expected))
    if not hmac.compare_digest(attributes[_MESSAGE_DIGEST], digest):
        raise CryptoError(code, "the message digest is wrong")


def _check_signing_certificate(value: bytes, leaf: Certificate) -> None:
    """SigningCertificateV2 (RFC 5035 §3), when it is there: the first hash is the leaf's, by SHA-256, the default."""
    try:
        listed, *_ = der.children(value)
        first, *_ = der.items(value, listed[2], listed[3], MAX_CERTIFICATES)
        hashed, *_ = der.items(value, first[2], first[3], 3)
        found = der.content(value, hashed, der.OCTET_STRING)
    except (InputError, ValueError) as error:
        raise CryptoError("crypto.cms", "the signing-certificate attribute") from error
    if found.hex() != leaf.sha256:
        raise CryptoError("crypto.cms_signer", "the signing-certificate attribute names another certificate")


def _algorithm(signed: _Signed, leaf: Certificate) -> tuple[str, bytes | None, bytes]:
    """OID, parameters and signature as `signatures.verify` takes them; digest and signature must be of one hash."""
    oid, parameters = signed.signer.algorithm
    signature, name = signed.signer.signature, _DIGESTS[signed.digest][0]
    if signatures.key_kind(leaf.spki) == signatures.SM2:
        if oid not in _SM2_SIGNATURES or name != "sm3":
            raise CryptoError("crypto.algorithm_key", "an SM2 key signs by SM2 with SM3")
        return signatures.SM2_SM3_OID, parameters, _sm2_signature(signature)
    if signed.form is Form.NATIONAL or name == "sm3":
        raise CryptoError("crypto.algorithm_key", "SM3 and the national form go with SM2 keys")
    if oid == _RSA_KEY:  # RFC 3370 §3.2: the key's own OID stands for PKCS#1 v1.5 with the signer's digest
        oid = "1.2.840.113549.1.1." + _PKCS1[name]
    elif oid == signatures.RSA_PSS_OID:
        if name != "sha256" or parameters != SCHEMES["PS256"].parameters:
            raise CryptoError("crypto.parameters", "PSS other than SHA-256, MGF1 with SHA-256, 32 octets of salt")
        return oid, parameters, signature
    known = signatures.ALGORITHMS.get(oid)
    if known is None or known.hash != name:
        raise CryptoError("crypto.algorithm", "the signature algorithm is not accepted, or not of the digest's hash")
    return oid, parameters, signature


def _sm2_signature(signature: bytes) -> bytes:
    """DER; tokens of GM/T 0016 give r‖s, 64 octets, which middleware often passes on as it is."""
    try:
        sm2.check_signature(signature)
    except CryptoError:
        if len(signature) != 64:
            raise
        return sm2.from_raw(signature)
    return signature


def _exactly(found: list[der.Tlv], tags: tuple[int, ...]) -> list[der.Tlv]:
    if tuple(item[0] for item in found) != tags:
        raise der.bad("a field is missing, is of another kind, or there is one too many")
    return found


def _only(data: bytes, item: der.Tlv) -> der.Tlv:
    found = list(der.items(data, item[2], item[3], 2))
    if len(found) != 1:
        raise der.bad("one value is expected")
    return found[0]


def _hash(oid: str, data: bytes) -> bytes:
    digest = hashes.Hash(_DIGESTS[oid][1])
    digest.update(data)
    return digest.finalize()


def _sequence(*parts: bytes) -> bytes:
    return writer.element(der.SEQUENCE, b"".join(parts))


def _set(*parts: bytes) -> bytes:
    return writer.element(der.SET, b"".join(parts))


def _integer(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    octets = b""
    for arc in (first * 40 + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(arc & 0x7F | 0x80)
        octets += bytes(reversed(groups))
    return writer.element(der.OID, octets)
