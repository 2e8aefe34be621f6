"""What settles a status at a glance: for leaves, the one CRL that alone decides; for a path, that all above are good.

Nothing is decided here that `revocation.crl` would decide otherwise: only "good" is ever answered, only from what the
whole procedure has found good before, and only while the same CRLs are in force and fresh. All else is asked anew.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.crl import Crl
from ca_bridge.asn1.extensions import DistributionPoint
from ca_bridge.asn1.names import Name
from ca_bridge.path.state import State
from ca_bridge.path.validate import Sm2Id
from ca_bridge.revocation.crl import CrlSet
from ca_bridge.revocation.status import FUTURE_SKEW, Kind, Status, shifted

MOST = 20_000
"""Answers kept of each kind."""
Chain = tuple[tuple[Certificate, State], ...]
"""The CA certificates of one path, each with a state of its issuer's key."""
K = TypeVar("K")
V = TypeVar("V")


def keep(memo: dict[K, V], key: K, value: V) -> None:
    """Remember one more; when there are too many, forget all before."""
    if len(memo) >= MOST:
        memo.clear()
    memo[key] = value


@dataclass(frozen=True, slots=True)
class _Decisive:
    """The CRL that answers for the leaves of one issuer and one form of distribution points."""

    name: Name
    points: tuple[DistributionPoint, ...] | None
    turn: int
    crl: Crl
    until: datetime
    good: Status


@dataclass(frozen=True, slots=True)
class Settled:
    """Answers for one book of statuses. `turns`: the times at which one may change, ascending (`verdict.turns`)."""

    crls: CrlSet
    verified: Mapping[tuple[str, bytes, str], bool]
    """(CRL, SubjectPublicKeyInfo, SM2 ID) → whether the signature is good."""
    answered: Container[int]
    """Serial numbers of which an OCSP answer speaks."""
    turns: Sequence[datetime]
    sm2_id: Sm2Id
    grace: Callable[[str], timedelta]
    """Of an issuing key."""
    _decisive: dict[tuple[str, int], _Decisive] = field(default_factory=dict)
    _chains: dict[int, tuple[Chain, int, Status]] = field(default_factory=dict)

    def leaf(self, leaf: Certificate, issuer: State, at: datetime) -> Status | None:
        """GOOD when a CRL that has been learnt settles it; None: ask the whole procedure."""
        points = leaf.distribution_points
        known = self._decisive.get((issuer.spki_sha256, id(points)))
        if (
            known is not None
            and known.points is points
            and known.name is leaf.issuer
            and issuer.can_sign_crls
            and at <= known.until
            and known.turn == bisect.bisect_right(self.turns, at)
            and leaf.serial not in self.answered
            and not known.crl.may_list(leaf.issuer, leaf.serial)
        ):
            return known.good
        return None

    def learn(self, leaf: Certificate, issuer: State, at: datetime, status: Status) -> None:
        """Take from a leaf that the whole procedure found GOOD which CRL alone will settle the next ones.

        By RFC 5280 §6.3.3 the newest complete CRL under the issuer's own key comes first. Without an issuing
        distribution point it covers all reasons of every certificate; where there are no deltas nothing changes it.
        """
        name, points = leaf.issuer.normalised, leaf.distribution_points
        point = points[0] if points else None
        plain = point is None or (not point.crl_issuer and point.reasons is None)
        if status.kind is not Kind.GOOD or not issuer.can_sign_crls or not plain or name in self.crls.deltas:
            return
        newest = next((c for c in self.crls.complete.get(name, ()) if c.this_update <= shifted(at, FUTURE_SKEW)), None)
        if newest is None or newest.point is not None or newest.number is None or newest.next_update is None:
            return
        if not self.verified.get((newest.sha256, issuer.spki, self.sm2_id(issuer.spki_sha256))):
            return
        decisive = _Decisive(
            name=leaf.issuer,
            points=points,
            turn=bisect.bisect_right(self.turns, at),
            crl=newest,
            until=shifted(newest.next_update, self.grace(issuer.spki_sha256)),
            good=Status(Kind.GOOD, "", newest.this_update, newest.next_update),
        )
        keep(self._decisive, (issuer.spki_sha256, id(points)), decisive)

    def chain(
        self, issuers: Chain, at: datetime, authority: Callable[[Certificate, State, datetime], Status]
    ) -> Status | None:
        """GOOD, with the oldest data's age, when every CA certificate of a path is; None when one is not.

        `issuers` is one candidate's own tuple; `authority` is asked when nothing is remembered of it in this turn.
        """
        turn = bisect.bisect_right(self.turns, at)
        known = self._chains.get(id(issuers))
        if known is not None and known[0] is issuers and known[1] == turn:
            return known[2]
        statuses = [authority(certificate, issuer, at) for certificate, issuer in issuers]
        if any(status.kind is not Kind.GOOD for status in statuses):
            return None
        found = Status(
            Kind.GOOD,
            "",
            min((s.this_update for s in statuses if s.this_update is not None), default=None),
            min((s.next_update for s in statuses if s.next_update is not None), default=None),
        )
        keep(self._chains, id(issuers), (issuers, turn, found))
        return found
