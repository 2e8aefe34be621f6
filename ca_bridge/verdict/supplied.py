"""Chains that a caller supplies: the slow path, with status by the caller's CRLs (design §4, §9).

The fold, the leaf's form and the CRL rules are those of the compiled path; only the search is different.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.crl import Crl
from ca_bridge.asn1.extensions import KeyUsage
from ca_bridge.asn1.names import Name
from ca_bridge.asn1.ocsp import OcspResponse
from ca_bridge.crypto import signatures
from ca_bridge.errors import PathError
from ca_bridge.path.budget import Budget
from ca_bridge.path.build import Found, Pool, Request, Result, limits_for, search
from ca_bridge.path.state import Anchor, Inputs
from ca_bridge.path.validate import DEFAULT_SM2_ID
from ca_bridge.revocation.crl import CrlSet, Query, crl_status
from ca_bridge.revocation.ocsp import OcspQuery, ocsp_status
from ca_bridge.revocation.status import Kind, Status, failure, says_no_status
from ca_bridge.verdict.leaf import check_purpose

Revocation = Literal["require", "if-available", "off"]
MAX_SIGNER_SEARCHES = 32


@dataclass(frozen=True, slots=True)
class Supplied:
    """Everything of one question (design §9); times aware."""

    leaf: Certificate
    anchors: Sequence[Certificate]
    at: datetime
    pool: Sequence[Certificate] = ()
    crls: Sequence[Crl] = ()
    ocsp: Sequence[OcspResponse] = ()
    revocation: Revocation = "off"
    inputs: Inputs = field(default_factory=Inputs)
    anchor_constraints: bool = False
    purpose: str = "any"
    sm2_id: str = DEFAULT_SM2_ID


def validate(supplied: Supplied) -> Result:
    """The path that passes, or why none does. Never raises for bad certificates."""
    return _Validation(supplied).run()


class _Validation:
    def __init__(self, supplied: Supplied) -> None:
        self._supplied = supplied
        self._pool = Pool(supplied.pool)
        self._anchors = tuple(Anchor.of(certificate) for certificate in supplied.anchors)
        self._limits = limits_for(supplied.inputs)
        self._crls = CrlSet.of(supplied.crls) if supplied.revocation != "off" else CrlSet({}, {})
        self._verified: dict[tuple[str, bytes, str], bool] = {}
        self._signers: dict[tuple[str, str], bool] = {}
        self._asking: set[str] = set()
        self._searches = 0

    def run(self) -> Result:
        """Search, with purpose, key and status as further checks."""
        return search(self._request(self._supplied.leaf, self._anchors), Budget(self._limits), self._check)

    def sm2_id(self, key: str) -> str:  # noqa: ARG002 - one ID for all that a caller supplies
        """The ID that the caller named."""
        return self._supplied.sm2_id

    def _request(self, leaf: Certificate, anchors: Sequence[Anchor], inputs: Inputs | None = None) -> Request:
        supplied = self._supplied
        return Request(
            leaf=leaf,
            anchors=anchors,
            pool=self._pool,
            at=supplied.at,
            inputs=supplied.inputs if inputs is None else inputs,
            sm2_id=self.sm2_id,
            bind_anchor=supplied.anchor_constraints,
        )

    def _check(self, found: Found) -> None:
        leaf = found.outcome.path[0]
        check_purpose(leaf, self._supplied.purpose, found.state.usages)
        signatures.key_kind(leaf.spki)
        self._check_status(found)

    def _check_status(self, found: Found) -> None:
        """Revoked and stale refuse; unknown refuses when a status is required. The nearest to the anchor first."""
        mode = self._supplied.revocation
        if mode == "off":
            return
        path = found.outcome.path
        for depth in range(len(path) - 1, -1, -1):
            certificate = path[depth]
            silent = says_no_status(certificate, depth)
            status = self._status(certificate, path[depth + 1 :], found.anchor)
            if status.kind is Kind.GOOD or (status.kind is Kind.UNKNOWN and mode == "if-available"):
                continue
            if not silent or status.kind >= Kind.LISTED:  # whoever revoked it all the same has said "no"
                raise failure(status, depth)

    def _status(self, certificate: Certificate, above: tuple[Certificate, ...], anchor: Anchor) -> Status:
        issuer = above[0] if above else anchor.certificate
        spki = above[0].spki if above else anchor.spki
        binding = bool(above) or self._supplied.anchor_constraints  # the anchor's own keyUsage: RFC 5937
        allowed = issuer is None or not binding or _signs_crls(issuer)
        by_crl = self._by_crl(certificate, spki, anchor, allowed=allowed)
        if by_crl.kind is Kind.REVOKED or not self._supplied.ocsp:
            return by_crl

        def appointed(responder: Certificate) -> bool:
            return self._by_crl(responder, spki, anchor, allowed=allowed).kind is Kind.GOOD

        query = OcspQuery(certificate, spki, self._supplied.at, self._supplied.sm2_id, appointed)
        return max(by_crl, ocsp_status(query, self._supplied.ocsp), key=lambda status: status.kind)

    def _by_crl(self, certificate: Certificate, spki: bytes, anchor: Anchor, *, allowed: bool) -> Status:
        signers = _Signers(self, anchor, spki, allowed=allowed)
        query = Query(certificate, spki, self._supplied.at, numbered=True)
        return crl_status(query, self._crls, signers, verified=self._verified)

    def candidates(self, name: Name) -> Iterable[Certificate]:
        """Certificates of a name whose keys may sign CRLs."""
        return [c for c in self._pool.by_subject.get(name.normalised, ()) if _signs_crls(c)]

    def signer_trusted(self, signer: Certificate, anchor: Anchor) -> bool:
        """Whether a CRL signer has a good path to the same anchor (RFC 5280 §6.3.3 (f)), its own status included.

        A signer whose status is being asked for just now answers for itself only where its own certificate names it as
        the CRL issuer of its distribution point: then its CA has said so, and no other CRL can exist.
        """
        key = (signer.sha256, anchor.spki_sha256)
        if key in self._signers:
            return self._signers[key]
        if signer.sha256 in self._asking:
            return _own_crl_issuer(signer)
        if self._searches >= MAX_SIGNER_SEARCHES:
            raise PathError("path.budget", f"more than {MAX_SIGNER_SEARCHES} CRL signers", clause="ours: counted work")
        self._searches += 1
        self._asking.add(signer.sha256)
        inputs = replace(Inputs(), max_intermediates=self._supplied.inputs.max_intermediates)
        result = search(self._request(signer, (anchor,), inputs), Budget(self._limits), self._check_status)
        self._asking.discard(signer.sha256)
        self._signers[key] = result.found is not None
        return self._signers[key]


class _Signers:
    """Who may sign CRLs for one issuer's certificates: the issuer, the anchor, and certificates of the CRL's name."""

    def __init__(self, validation: _Validation, anchor: Anchor, issuer_spki: bytes, *, allowed: bool) -> None:
        self._validation = validation
        self._anchor = anchor
        self._issuer_spki = issuer_spki
        self._allowed = allowed

    def keys(self, name: Name, issuer_spki: bytes) -> Iterable[tuple[bytes, str, object]]:
        sm2_id = self._validation.sm2_id("")
        if self._allowed:
            yield issuer_spki, sm2_id, None
        if name.normalised == self._anchor.name.normalised and self._anchor.spki != issuer_spki:
            yield self._anchor.spki, sm2_id, None
        for certificate in self._validation.candidates(name):
            if certificate.spki != issuer_spki:
                yield certificate.spki, sm2_id, certificate

    def trusted(self, token: object, at: datetime) -> bool:  # noqa: ARG002 - one time per validation
        return not isinstance(token, Certificate) or self._validation.signer_trusted(token, self._anchor)


def _own_crl_issuer(certificate: Certificate) -> bool:
    names = [name.name for point in certificate.distribution_points or () for name in point.crl_issuer]
    return any(name is not None and name.normalised == certificate.subject.normalised for name in names)


def _signs_crls(certificate: Certificate) -> bool:
    return certificate.key_usage is None or KeyUsage.CRL_SIGN in certificate.key_usage
