"""CRL processing of RFC 5280 §6.3.3, on CRLs that lie at hand; nothing is fetched.

    for each distribution point, then for the CRL issuer that needs none:
        (b) is this CRL in scope → (d)–(e) does it add reasons → (f)–(h) who signed it → (i)–(k) is the serial in it

Who may sign a CRL is asked of `Signers`, because that needs a certification path, to the same anchor. Trust is by key:
CRLs under the key that issued the certificate come first, other keys of the name only when these do not settle it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.crl import REMOVE_FROM_CRL, Crl
from ca_bridge.asn1.crl_entries import Entry
from ca_bridge.asn1.extensions import DistributionPoint, relative_name
from ca_bridge.asn1.general_names import DIRECTORY, GeneralName
from ca_bridge.asn1.names import Name, Normalised
from ca_bridge.crypto import signatures
from ca_bridge.errors import CrosshallError
from ca_bridge.revocation.status import FUTURE_SKEW, UNKNOWN, Kind, Status, shifted

ALL_REASONS = frozenset(range(1, 9))
"""Bits of ReasonFlags but `unused` (RFC 5280 §4.2.1.13)."""
_NO_POINT = DistributionPoint((), b"", None, ())


class Signers(Protocol):
    """Who may sign CRLs, as the holder of certification paths knows it."""

    def keys(self, name: Name, issuer_spki: bytes) -> Iterable[tuple[bytes, str, object]]:
        """(SubjectPublicKeyInfo, SM2 ID, token) of keys with which `name` may sign CRLs for this issuer's leaves."""

    def trusted(self, token: object, at: datetime) -> bool:
        """Whether that key has a path to the same anchor at `at`, its own status included."""


@dataclass(frozen=True, slots=True)
class CrlSet:
    """CRLs by issuer, newest first, complete ones and deltas apart."""

    complete: Mapping[Normalised, tuple[Crl, ...]]
    deltas: Mapping[Normalised, tuple[Crl, ...]]

    @staticmethod
    def of(crls: Iterable[Crl]) -> CrlSet:
        """The set of those CRLs that may be used at all.

        Newer is what has the later thisUpdate: real national CRLs all say crlNumber 0, and some say none. A filter
        gives way to the CRL that it stands for.
        """
        crls = tuple(crls)
        whole = {crl.sha256 for crl in crls}
        complete: dict[Normalised, list[Crl]] = {}
        deltas: dict[Normalised, list[Crl]] = {}
        for crl in sorted(crls, key=lambda c: (c.this_update, c.number or 0), reverse=True):
            replaced = crl.summary is not None and crl.summary.whole in whole
            if not crl.unusable and not replaced:
                into = complete if crl.delta_base is None else deltas
                into.setdefault(crl.issuer.normalised, []).append(crl)
        return CrlSet({k: tuple(v) for k, v in complete.items()}, {k: tuple(v) for k, v in deltas.items()})


@dataclass(frozen=True, slots=True)
class Query:
    """One question: the certificate, its issuer's key, the time, and how long after nextUpdate a CRL still counts.

    `numbered`: a CRL without the crlNumber that RFC 5280 §5.2.3 asks of it only revokes, and makes nothing good.
    """

    certificate: Certificate
    issuer_spki: bytes
    at: datetime
    grace: timedelta = timedelta(0)
    numbered: bool = False


def crl_status(query: Query, crls: CrlSet, signers: Signers, *, verified: dict[tuple[str, bytes, str], bool]) -> Status:
    """The status of a certificate by CRLs. `verified` keeps signatures that have been checked before."""
    walk = _Walk(query, crls, signers, verified)
    for point in query.certificate.distribution_points or ():
        walk.follow(point, _point_names(point, query.certificate))
        if walk.settled:
            return walk.result()
    # As if the certificate had a distribution point of its issuer's name (§6.3.3, last paragraph).
    issuer = query.certificate.issuer
    walk.follow(_NO_POINT, (GeneralName(DIRECTORY, name=issuer),))
    return walk.result()


class _Walk:
    """The state variables of §6.3.2 for one certificate."""

    def __init__(
        self, query: Query, crls: CrlSet, signers: Signers, verified: dict[tuple[str, bytes, str], bool]
    ) -> None:
        self._query = query
        self._crls = crls
        self._signers = signers
        self._verified = verified
        self._mask: frozenset[int] = frozenset()
        self._revoked: Status | None = None
        self._listed: Status | None = None
        self._stale: Status | None = None
        self._oldest: datetime | None = None
        self._earliest: datetime | None = None

    @property
    def settled(self) -> bool:
        """Nothing more can be learnt."""
        return self._revoked is not None or self._listed is not None or self._mask >= ALL_REASONS

    def result(self) -> Status:
        """What was learnt: revoked wins, then what may be, then a full set of reasons, then stale."""
        if self._revoked is not None:
            return self._revoked
        if self._listed is not None:
            return self._listed
        if self._mask >= ALL_REASONS:
            return Status(Kind.GOOD, "", self._oldest, self._earliest)
        return self._stale or UNKNOWN

    def follow(self, point: DistributionPoint, names: tuple[GeneralName, ...]) -> None:
        """Try every CRL in the scope of one distribution point, those of the issuing key first."""
        for own_key in (True, False):
            self._follow(point, names, own_key=own_key)

    def _follow(self, point: DistributionPoint, names: tuple[GeneralName, ...], *, own_key: bool) -> None:
        seen: set[tuple[Normalised, bytes]] = set()
        for crl in self._candidates(point):
            if self.settled:
                return
            scope = (crl.issuer.normalised, _scope(crl))
            if crl.this_update > shifted(self._query.at, FUTURE_SKEW) or not _in_scope(
                crl, point, names, self._query.certificate
            ):
                continue
            covered = _reasons(crl, point)
            if scope in seen or covered <= self._mask or not self._signed(crl, own_key=own_key):
                continue
            seen.add(scope)  # an older CRL of the same scope is out of force
            self._apply(crl, covered, own_key=own_key)

    def _candidates(self, point: DistributionPoint) -> Sequence[Crl]:
        if not point.crl_issuer:
            return self._crls.complete.get(self._query.certificate.issuer.normalised, ())
        names = [name.name for name in point.crl_issuer if name.kind == DIRECTORY and name.name is not None]
        return [crl for name in names for crl in self._crls.complete.get(name.normalised, ())]

    def _apply(self, crl: Crl, covered: frozenset[int], *, own_key: bool) -> None:
        certificate = self._query.certificate
        delta = self._delta(crl, own_key=own_key)
        base, top = (crl, delta) if delta is not None else (crl, crl)
        entry = base.find(certificate.issuer, certificate.serial)
        wanted = base.summary.whole if base.summary and base.summary.may_hold(certificate.serial) else ""
        if delta is not None:
            changed = delta.find(certificate.issuer, certificate.serial)
            if changed is not None:
                wanted = ""
                entry = None if changed.reason == REMOVE_FROM_CRL else changed
        if entry is not None and entry.reason != REMOVE_FROM_CRL:
            self._revoked = _revoked(entry, top)
        elif wanted:
            # Revoked or not, this CRL ends the walk or goes on with it: nothing after it may be asked before that.
            detail = f"the CRL {wanted[:16]} must be looked up, and is not at hand"
            self._listed = Status(Kind.LISTED, detail, top.this_update, top.next_update, wanted=wanted)
        elif top.next_update is None or self._query.at > shifted(top.next_update, self._query.grace):
            until = "without nextUpdate" if top.next_update is None else f"valid to {top.next_update.isoformat()}"
            self._stale = Status(Kind.STALE, f"CRL {until}", top.this_update, top.next_update)
        elif not (self._query.numbered and crl.unnumbered):
            self._mask |= covered
            self._oldest = min(self._oldest or top.this_update, top.this_update)
            self._earliest = min(self._earliest or top.next_update, top.next_update)

    def _delta(self, base: Crl, *, own_key: bool) -> Crl | None:
        """§6.3.3 (c): the newest delta of the same scope that builds on `base` or an earlier CRL, and is in force."""
        for delta in self._crls.deltas.get(base.issuer.normalised, ()):
            if base.number is None or delta.number is None or delta.delta_base is None:
                continue
            fits = delta.delta_base <= base.number <= delta.number and _scope(delta) == _scope(base)
            in_force = delta.this_update <= shifted(self._query.at, FUTURE_SKEW)
            fresh = delta.next_update is not None and self._query.at <= shifted(delta.next_update, self._query.grace)
            if (
                fits
                and in_force
                and fresh
                and delta.this_update >= base.this_update
                and self._signed(delta, own_key=own_key)
            ):
                return delta
        return None

    def _signed(self, crl: Crl, *, own_key: bool) -> bool:
        """§6.3.3 (f)–(h)."""
        issuer_spki = self._query.issuer_spki
        for spki, sm2_id, token in self._signers.keys(crl.issuer, issuer_spki):
            if (spki == issuer_spki) is not own_key:
                continue
            key = (crl.sha256, spki, sm2_id)
            if key not in self._verified:
                self._verified[key] = signed(crl, spki, sm2_id)
            if self._verified[key] and self._signers.trusted(token, self._query.at):
                return True
        return False


def signed(crl: Crl, spki: bytes, sm2_id: str) -> bool:
    """Whether this key (SubjectPublicKeyInfo, DER) signed the CRL; of a filter, by the word of who made it."""
    if crl.summary is not None:
        return (crl.summary.key, crl.summary.sm2_id) == (hashlib.sha256(spki).hexdigest(), sm2_id)
    try:
        signatures.verify(
            spki, crl.signature_algorithm, crl.signature_parameters, crl.tbs, crl.signature, sm2_id=sm2_id
        )
    except CrosshallError:
        return False
    return True


def _revoked(entry: Entry, crl: Crl) -> Status:
    reason = "" if entry.reason is None else f", reason {entry.reason}"
    return Status(Kind.REVOKED, f"revoked {entry.revoked_at.isoformat()}{reason}", crl.this_update, crl.next_update)


def _scope(crl: Crl) -> bytes:
    point = crl.extensions.get("2.5.29.28")
    return b"" if point is None else point.value


def _reasons(crl: Crl, point: DistributionPoint) -> frozenset[int]:
    """§6.3.3 (d): the interim reasons mask."""
    reasons = ALL_REASONS if point.reasons is None else point.reasons & ALL_REASONS
    limited = crl.point.reasons if crl.point is not None else None
    return reasons if limited is None else reasons & limited


def _in_scope(crl: Crl, point: DistributionPoint, names: tuple[GeneralName, ...], certificate: Certificate) -> bool:
    """§6.3.3 (b)."""
    own = crl.point
    if point.crl_issuer and (own is None or not own.indirect):
        return False
    if own is None:
        return True
    if own.named and not _share(_crl_names(crl), names or point.crl_issuer):
        return False
    if own.only_user and certificate.is_ca:
        return False
    if own.only_ca and not certificate.is_ca:
        return False
    return not own.only_attribute


def _point_names(point: DistributionPoint, certificate: Certificate) -> tuple[GeneralName, ...]:
    if not point.relative:
        return point.full_name
    issuers = [n.name for n in point.crl_issuer if n.kind == DIRECTORY and n.name is not None]
    return (GeneralName(DIRECTORY, name=relative_name(issuers[0] if issuers else certificate.issuer, point.relative)),)


def _crl_names(crl: Crl) -> tuple[GeneralName, ...]:
    assert crl.point is not None
    if crl.point.relative:
        return (GeneralName(DIRECTORY, name=relative_name(crl.issuer, crl.point.relative)),)
    return crl.point.full_name


def _share(left: Iterable[GeneralName], right: Iterable[GeneralName]) -> bool:
    return not {_comparable(name) for name in left}.isdisjoint(_comparable(name) for name in right)


def _comparable(name: GeneralName) -> tuple[int, object]:
    return (name.kind, name.name.normalised if name.name is not None else (name.text, name.octets))
