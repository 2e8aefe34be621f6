"""Status by OCSP responses that lie at hand (RFC 6960 §3.2); nothing is fetched.

A response counts when it speaks of this certificate under this issuer's name and key, is signed by that issuer's key
or by a responder that the issuer itself appointed, and is fresh. `unknown` says nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives import hashes

from ca_bridge.asn1 import der, oids
from ca_bridge.asn1.certificate import Certificate, parse_certificate
from ca_bridge.asn1.extensions import KeyUsage
from ca_bridge.asn1.ocsp import GOOD, REVOKED, OcspResponse, Single
from ca_bridge.crypto import signatures
from ca_bridge.errors import CrosshallError
from ca_bridge.revocation.status import FUTURE_SKEW, UNKNOWN, Kind, Status, shifted

MAX_AGE = timedelta(hours=24)
"""How old a response without nextUpdate may be."""
SHORT_LIFE = timedelta(days=7)
"""A responder's certificate that lives no longer needs no status of its own (RFC 6960 §4.2.2.2.1)."""
_CLAUSE = "RFC 6960 §3.2"


def _sm3(data: bytes) -> bytes:
    digest = hashes.Hash(hashes.SM3())
    digest.update(data)
    return digest.finalize()


HASHES: dict[str, Callable[[bytes], bytes]] = {
    "1.3.14.3.2.26": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "2.16.840.1.101.3.4.2.1": lambda data: hashlib.sha256(data).digest(),
    "2.16.840.1.101.3.4.2.2": lambda data: hashlib.sha384(data).digest(),
    "2.16.840.1.101.3.4.2.3": lambda data: hashlib.sha512(data).digest(),
    "1.2.156.10197.1.401": _sm3,
}
Appointed = Callable[[Certificate], bool]
"""Whether a responder's certificate without ocsp-nocheck has a good status of its own."""


@dataclass(frozen=True, slots=True)
class OcspQuery:
    """One question: the certificate, its issuer's key and SM2 ID, the time, and who vouches for responders."""

    certificate: Certificate
    issuer_spki: bytes
    at: datetime
    sm2_id: str
    appointed: Appointed


def ocsp_status(query: OcspQuery, responses: Iterable[OcspResponse]) -> Status:
    """The status of a certificate by OCSP; revoked wins over good, good over stale."""
    best = UNKNOWN
    for response in responses:
        for single in response.singles:
            if not speaks_of(single, query.certificate, query.issuer_spki):
                continue
            status = single_status(single, query.at)
            if status.kind <= best.kind and status.kind is not Kind.REVOKED:
                continue
            if signed_for(response, query):
                best = status
                if status.kind is Kind.REVOKED:
                    return best
    return best


def speaks_of(single: Single, certificate: Certificate, issuer_spki: bytes) -> bool:
    """Whether a CertID, under whatever hash, names this certificate by its issuer's name and key (RFC 6960 §4.1.1)."""
    digest = HASHES.get(single.hash_algorithm)
    return (
        digest is not None
        and single.serial == certificate.serial
        and single.name_hash == digest(certificate.issuer.der)
        and single.key_hash == digest(key_bits(issuer_spki))
    )


def single_status(single: Single, at: datetime) -> Status:
    """What one answer says at a time, if its signature is good; `unknown` and the future say nothing."""
    until = good_until(single)
    if single.this_update > shifted(at, FUTURE_SKEW) or single.status not in (GOOD, REVOKED):
        return UNKNOWN
    if single.status == REVOKED:
        assert single.revoked_at is not None
        detail = f"revoked {single.revoked_at.isoformat()}"
        return Status(Kind.REVOKED, detail, single.this_update, until, _CLAUSE)
    if at > until:
        return Status(Kind.STALE, f"OCSP valid to {until.isoformat()}", single.this_update, until, _CLAUSE)
    return Status(Kind.GOOD, "", single.this_update, until, _CLAUSE)


def good_until(single: Single) -> datetime:
    """Until when an answer counts: its nextUpdate, else a day after its thisUpdate."""
    return single.next_update if single.next_update is not None else shifted(single.this_update, MAX_AGE)


def signed_for(response: OcspResponse, query: OcspQuery) -> bool:
    """RFC 6960 §4.2.2.2: by the CA itself, or by a responder whose certificate the CA's own key signed for this."""
    issuer, spki = query.certificate.issuer.normalised, query.issuer_spki
    if _is_responder(response, spki, issuer) and _good(response, spki, query.sm2_id):
        return True
    for responder in responders(response):
        if (
            _is_responder(response, responder.spki, responder.subject.normalised)
            and _may_respond(responder, query)
            and _good(response, responder.spki, query.sm2_id)
            and (_needs_no_status(responder) or query.appointed(responder))
        ):
            return True
    return False


def _needs_no_status(responder: Certificate) -> bool:
    return oids.OCSP_NO_CHECK in responder.extensions or responder.not_after - responder.not_before <= SHORT_LIFE


def responders(response: OcspResponse) -> Iterator[Certificate]:
    """The certificates that came with a response, as far as they can be read; nothing is checked."""
    for data in response.certificates:
        try:
            yield parse_certificate(data)
        except CrosshallError:
            continue


def _is_responder(response: OcspResponse, spki: bytes, name: object) -> bool:
    if response.responder_name is not None:
        return response.responder_name.normalised == name
    return response.responder_key == hashlib.sha1(key_bits(spki), usedforsecurity=False).digest()


def _may_respond(responder: Certificate, query: OcspQuery) -> bool:
    if responder.issuer.normalised != query.certificate.issuer.normalised:
        return False
    if not responder.not_before <= query.at <= responder.not_after:
        return False
    if oids.EKU_OCSP not in (responder.extended_key_usage or ()):
        return False
    if responder.key_usage is not None and KeyUsage.DIGITAL_SIGNATURE not in responder.key_usage:
        return False
    if any(e.critical and oid not in oids.UNDERSTOOD for oid, e in responder.extensions.items()):
        return False
    try:
        signatures.verify(
            query.issuer_spki,
            responder.signature_algorithm,
            responder.signature_parameters,
            responder.tbs,
            responder.signature,
            sm2_id=query.sm2_id,
        )
    except CrosshallError:
        return False
    return True


def _good(response: OcspResponse, spki: bytes, sm2_id: str) -> bool:
    oid, parameters = response.signature_algorithm, response.signature_parameters
    try:
        signatures.verify(spki, oid, parameters, response.tbs, response.signature, sm2_id=sm2_id)
    except CrosshallError:
        return False
    return True


def key_bits(spki: bytes) -> bytes:
    """Content of subjectPublicKey without the count of unused bits: what CertID and KeyHash are taken over."""
    return der.content(spki, der.children(spki, limit=2)[1], der.BIT_STRING)[1:]
