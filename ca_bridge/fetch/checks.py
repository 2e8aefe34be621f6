"""What a fetched CRL or OCSP answer must be before it takes the place of the last good copy.

Neither number nor time ever falls (rollback, replay), and what is newer covers what the older one covered. Real
national CRLs all say crlNumber 0, so that both are looked at: (crlNumber, thisUpdate).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.crl import Crl, load_crl
from ca_bridge.asn1.ocsp import GOOD, REVOKED, OcspResponse, Single, parse_ocsp
from ca_bridge.errors import CrosshallError, RevocationError
from ca_bridge.fetch.authorities import Authority
from ca_bridge.revocation.crl import CrlSet, Query, crl_status, signed
from ca_bridge.revocation.ocsp import MAX_AGE, OcspQuery, good_until, signed_for, speaks_of
from ca_bridge.revocation.status import FUTURE_SKEW, Kind, shifted

CODE = "revocation.fetch_refused"
_SCOPE = "2.5.29.28"


def refused(detail: str) -> RevocationError:
    """The error of this module."""
    return RevocationError(CODE, detail)


def check_crl(data: bytes, authority: Authority, last: Crl | None, known: Iterable[Crl], now: datetime) -> Crl:
    """The CRL in `data`, DER or PEM, which may replace `last`, the good copy from the same address.

    `known`: all CRLs at hand, the bundle's too: those of the same CA and scope are a floor under it. `now`: aware. One
    that is stale already is taken when it is newer: it can only say more revocations. Raises RevocationError
    `revocation.fetch_refused`.
    """
    try:
        crl = load_crl(data)
    except CrosshallError as error:
        raise refused(f"not a CRL: {error.code}") from error
    if crl.unusable:
        raise refused(crl.unusable)
    if crl.this_update > now + FUTURE_SKEW:
        raise refused("thisUpdate lies in the future")
    if crl.next_update is None or crl.next_update <= crl.this_update:
        raise refused("no nextUpdate after thisUpdate (RFC 5280 §5.1.2.5)")
    if crl.point is not None and crl.point.only_attribute:
        raise refused("a CRL of attribute certificates")
    if not _signed(crl, authority):
        raise refused("not signed by a key of this CA that may sign CRLs under the CRL's issuer name")
    if last is not None and last.sha256 != crl.sha256:
        _check_scope(crl, last, now, timedelta(seconds=authority.profile.status.grace_seconds))
    for other in known:
        if _coverage(other) == _coverage(crl) and other.this_update <= now + FUTURE_SKEW:
            _check_newer(crl, other, authority)
    return crl


def _check_newer(crl: Crl, other: Crl, authority: Authority) -> None:
    number, before = crl.number or 0, other.number or 0
    falls = crl.this_update < other.this_update or number < before
    twice = (number, crl.this_update) == (before, other.this_update)
    same = crl.tbs == other.tbs or (other.summary is not None and other.summary.whole == crl.sha256)
    if not (falls or twice) or same or not _signed(other, authority):
        return
    if falls:
        raise refused("older than a good copy at hand: crlNumber or thisUpdate falls")
    raise refused("another content under the same crlNumber and thisUpdate")


def _check_scope(crl: Crl, last: Crl, now: datetime, grace: timedelta) -> None:
    # A CRL of another part of the CA's certificates would leave those of this part without a status. When the last
    # copy is of no use any more, the CA may have parted its CRLs anew.
    fresh = last.next_update is not None and now <= shifted(last.next_update, grace)
    if fresh and _coverage(crl) != _coverage(last):
        raise refused("another issuer or scope than the last good copy, which is still in force")


def _coverage(crl: Crl) -> tuple[object, bytes, bool]:
    scope = crl.extensions.get(_SCOPE)
    return (crl.issuer.normalised, b"" if scope is None else scope.value, crl.delta_base is not None)


def _signed(crl: Crl, authority: Authority) -> bool:
    own = [signer for signer in authority.signers() if signer.subject.normalised == crl.issuer.normalised]
    return any(signed(crl, signer.spki, authority.profile.sm2_id) for signer in own)


@dataclass(frozen=True, slots=True)
class Asked:
    """What an OCSP answer must fit: the certificate, its issuer, the nonce that was sent, the CRLs at hand."""

    certificate: Certificate
    issuer: Certificate
    authority: Authority
    nonce: bytes
    crls: CrlSet


def check_response(data: bytes, asked: Asked, last: OcspResponse | None, now: datetime) -> OcspResponse:
    """The OCSP answer in `data`, good or revoked. Raises RevocationError `revocation.fetch_refused`."""
    try:
        response = parse_ocsp(data)
    except CrosshallError as error:
        raise refused(f"not an OCSP answer: {error.code}") from error
    status = asked.authority.profile.status
    if response.nonce is None and status.ocsp_nonce == "required":
        raise refused("no nonce, and this CA's answers must carry ours")
    if response.nonce is not None and response.nonce != asked.nonce:
        raise refused("another nonce: an answer to somebody else, or a replay")
    single = _single(response, asked)
    if response.produced_at > now + FUTURE_SKEW or single.this_update > now + FUTURE_SKEW:
        raise refused("from the future")
    if single.status == GOOD and now > good_until(single):
        raise refused("stale")
    if response.nonce is None and single.status == GOOD and now > shifted(response.produced_at, MAX_AGE):
        raise refused("neither a nonce nor a fresh producedAt")
    if not signed_for(response, _query(asked, now)):
        raise refused("not signed by the issuer or a responder that it appointed")
    if last is not None:
        before = _single(last, asked)
        if response.produced_at < last.produced_at or single.this_update < before.this_update:
            raise refused("older than the last good copy")
    return response


def _single(response: OcspResponse, asked: Asked) -> Single:
    for single in response.singles:
        if speaks_of(single, asked.certificate, asked.issuer.spki):
            if single.status not in (GOOD, REVOKED):
                raise refused("the responder does not know the certificate")
            return single
    raise refused("about another certificate")


def _query(asked: Asked, now: datetime) -> OcspQuery:
    profile = asked.authority.profile

    def appointed(responder: Certificate) -> bool:
        query = Query(responder, asked.issuer.spki, now, timedelta(seconds=profile.status.grace_seconds))
        return crl_status(query, asked.crls, _OwnKey(asked), verified={}).kind is Kind.GOOD

    return OcspQuery(asked.certificate, asked.issuer.spki, now, profile.sm2_id, appointed)


class _OwnKey:
    """The issuer's own key signs the CRLs that a responder's certificate is looked up in."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    def keys(self, name: object, issuer_spki: bytes) -> tuple[tuple[bytes, str, object], ...]:  # noqa: ARG002
        return ((issuer_spki, self._asked.authority.profile.sm2_id, None),)

    def trusted(self, token: object, at: datetime) -> bool:  # noqa: ARG002
        return True
