"""`OcspResponse`: one basic OCSP response (RFC 6960 §4.2.1), read strictly once; signatures are not looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from cryptography.x509 import ocsp

from ca_bridge.asn1 import der
from ca_bridge.asn1.certificate import algorithm, quietly
from ca_bridge.asn1.extensions import Extension, read_extensions
from ca_bridge.asn1.names import Name, parse_name
from ca_bridge.errors import CrosshallError, InputError

MAX_OCSP_OCTETS = 1 << 20
MAX_SINGLES = 1000
_BASIC = "1.3.6.1.5.5.7.48.1.1"
_SUCCESSFUL = b"\x00"
_NONCE = "1.3.6.1.5.5.7.48.1.2"
MAX_NONCE_OCTETS = 128
GOOD, REVOKED, UNKNOWN = 0x80, 0xA1, 0x82


@dataclass(frozen=True, slots=True)
class Single:
    """What is said of one certificate; `status` is GOOD, REVOKED or UNKNOWN."""

    hash_algorithm: str
    name_hash: bytes
    key_hash: bytes
    serial: int
    status: int
    revoked_at: datetime | None
    this_update: datetime
    next_update: datetime | None


@dataclass(frozen=True, slots=True)
class OcspResponse:
    """A successful basic response."""

    tbs: bytes = field(repr=False)
    responder_name: Name | None
    responder_key: bytes
    """SHA-1 of the responder's key bits; empty when it is named instead."""
    produced_at: datetime
    singles: tuple[Single, ...]
    signature_algorithm: str
    signature_parameters: bytes | None
    signature: bytes = field(repr=False)
    certificates: tuple[bytes, ...] = field(repr=False)
    """DER of the certificates that came with it."""
    nonce: bytes | None = field(default=None, repr=False)
    """The nonce of the request that it answers (RFC 9654); None: it does not say."""


def parse_ocsp(data: bytes) -> OcspResponse:
    """The response that `data` is. Raises InputError `asn1.ocsp`, `asn1.der` …, nothing else."""
    if not 0 < len(data) <= MAX_OCSP_OCTETS:
        raise InputError("asn1.too_large", f"{len(data)} octets")
    try:
        quietly(lambda: ocsp.load_der_ocsp_response(data))
        return _decode(bytes(data))
    except CrosshallError:
        raise
    except Exception as error:  # the parser's own faults must look like any other bad input
        raise InputError("asn1.ocsp", f"{type(error).__name__}: {error}") from error


def _decode(data: bytes) -> OcspResponse:
    outer = der.children(data, limit=2)
    if len(outer) != 2 or der.content(data, outer[0], der.ENUMERATED) != _SUCCESSFUL:
        raise InputError("asn1.ocsp", "not a successful response")
    wrapped = der.children(der.content(data, outer[1]), limit=2)
    inner = der.content(data, outer[1])
    if len(wrapped) != 2 or der.oid_at(inner, wrapped[0]) != _BASIC:
        raise InputError("asn1.ocsp", "not a basic response")
    basic = der.content(inner, wrapped[1], der.OCTET_STRING)
    parts = der.children(basic, limit=4)
    if len(parts) not in (3, 4):
        raise InputError("asn1.ocsp", "shape of a basic response")
    tbs = der.raw(basic, parts[0])
    oid, parameters = algorithm(basic, parts[1])
    signature = der.content(basic, parts[2], der.BIT_STRING)
    if not signature or signature[0] != 0:
        raise InputError("asn1.ocsp", "signature bits")
    name, key, produced, singles, nonce = _data(tbs)
    return OcspResponse(
        tbs=tbs,
        responder_name=name,
        responder_key=key,
        produced_at=produced,
        singles=singles,
        signature_algorithm=oid,
        signature_parameters=parameters,
        signature=signature[1:],
        certificates=_certificates(basic, parts[3]) if len(parts) == 4 else (),
        nonce=nonce,
    )


def _data(tbs: bytes) -> tuple[Name | None, bytes, datetime, tuple[Single, ...], bytes | None]:
    fields = der.children(tbs, limit=5)
    if fields[0][0] == 0xA0:
        raise InputError("asn1.ocsp", "a version other than 1")
    responder = fields[0]
    name = parse_name(der.content(tbs, responder)) if responder[0] == 0xA1 else None
    key = b""
    if responder[0] == 0xA2:
        start, stop = der.whole(der.content(tbs, responder), der.OCTET_STRING)
        key = der.content(tbs, responder)[start:stop]
    if (name is None and not key) or fields[2][0] != der.SEQUENCE:
        raise InputError("asn1.ocsp", "responder or responses")
    extensions = _no_critical(tbs, fields[3:], 0xA1, _NONCE)
    items = der.items(tbs, fields[2][2], fields[2][3], MAX_SINGLES)
    return name, key, der.time(tbs, fields[1]), tuple(_single(tbs, item) for item in items), _nonce(extensions)


def _single(data: bytes, item: der.Tlv) -> Single:
    parts = list(der.items(data, item[2], item[3], 5))
    if len(parts) < 3:
        raise InputError("asn1.ocsp", "single response")
    named = list(der.items(data, parts[0][2], parts[0][3], 4))
    status = parts[1][0]
    if len(named) != 4 or status not in (GOOD, REVOKED, UNKNOWN):
        raise InputError("asn1.ocsp", "single response")
    revoked = der.time(data, der.read(data, parts[1][2], parts[1][3])) if status == REVOKED else None
    rest = parts[3:]
    next_update = None
    if rest and rest[0][0] == 0xA0:
        inner = rest.pop(0)
        next_update = der.time(data, der.read(data, inner[2], inner[3]))
    _no_critical(data, rest, 0xA1)
    return Single(
        hash_algorithm=algorithm(data, named[0])[0],
        name_hash=der.content(data, named[1], der.OCTET_STRING),
        key_hash=der.content(data, named[2], der.OCTET_STRING),
        serial=der.integer(der.content(data, named[3], der.INTEGER)),
        status=status,
        revoked_at=revoked,
        this_update=der.time(data, parts[2]),
        next_update=next_update,
    )


def _no_critical(data: bytes, rest: list[der.Tlv], tag: int, known: str = "") -> dict[str, Extension]:
    """The extensions of a response or a part of it; only `known` may be critical (RFC 6960 §4.4)."""
    if not rest:
        return {}
    if len(rest) != 1 or rest[0][0] != tag:
        raise InputError("asn1.ocsp", "extensions")
    found = read_extensions(data, der.read(data, rest[0][2], rest[0][3]))
    if any(extension.critical and oid != known for oid, extension in found.items()):
        raise InputError("asn1.ocsp", "unknown critical extension")
    return found


def _nonce(extensions: dict[str, Extension]) -> bytes | None:
    """RFC 9654 §2.1: an OCTET STRING of 1 to 128 octets."""
    if _NONCE not in extensions:
        return None
    value = extensions[_NONCE].value
    start, stop = der.whole(value, der.OCTET_STRING)
    if not 0 < stop - start <= MAX_NONCE_OCTETS:
        raise InputError("asn1.ocsp", "length of the nonce")
    return value[start:stop]


def _certificates(data: bytes, item: der.Tlv) -> tuple[bytes, ...]:
    inner = der.content(data, item)
    return tuple(der.raw(inner, certificate) for certificate in der.children(inner, limit=16))
