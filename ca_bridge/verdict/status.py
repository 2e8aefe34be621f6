"""Status under a snapshot: CRLs of the bundle, signed by keys that the compiled graph knows."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.crl import Crl
from ca_bridge.asn1.names import Name
from ca_bridge.path.state import State
from ca_bridge.path.validate import Sm2Id
from ca_bridge.revocation.crl import CrlSet, Query, crl_status
from ca_bridge.revocation.status import FUTURE_SKEW, Kind, Status
from ca_bridge.trust.profile import Profile

_MEMO = 20_000


class StatusBook:
    """Answers what the bundle knows of a certificate's status, at any time."""

    def __init__(
        self, crls: Iterable[Crl], profiles: Mapping[str, Profile], sm2_id: Sm2Id, keys: Mapping[str, bytes]
    ) -> None:
        """`profiles` by issuing key; `keys`: every key of the graph by its hash."""
        self._set = CrlSet.of(crls)
        self._profiles = profiles
        self._sm2_id = sm2_id
        self._keys = keys
        self._verified: dict[tuple[str, bytes, str], bool] = {}
        self._memo: dict[tuple[str, str, int], Status] = {}
        self._turns = sorted({crl.this_update - FUTURE_SKEW for s in self._all() for crl in s})

    def leaf(self, leaf: Certificate, issuer: State, at: datetime) -> Status:
        """Status of a leaf under one issuer."""
        return self._ask(leaf, issuer.spki, issuer.spki_sha256, issuer.can_sign_crls, at)

    def authority(self, certificate: Certificate, issuer: State, at: datetime) -> Status:
        """Status of a CA certificate; remembered until another CRL comes into force or this one goes stale."""
        key = (certificate.sha256, issuer.spki_sha256, bisect.bisect_right(self._turns, at))
        known = self._memo.get(key)
        if known is None or (known.next_update is not None and at > known.next_update):
            known = self._ask(certificate, issuer.spki, issuer.spki_sha256, issuer.can_sign_crls, at)
            if len(self._memo) > _MEMO:
                self._memo.clear()
            self._memo[key] = known
        return known

    def _ask(self, certificate: Certificate, spki: bytes, spki_sha256: str, allowed: bool, at: datetime) -> Status:
        profile = self._profiles.get(spki_sha256)
        grace = timedelta(seconds=profile.status.grace_seconds if profile is not None else 0)
        signers = _Signers(self._relatives(spki_sha256, spki, allowed=allowed))
        return crl_status(Query(certificate, spki, at, grace), self._set, signers, verified=self._verified)

    def _relatives(self, spki_sha256: str, spki: bytes, *, allowed: bool) -> list[tuple[bytes, str, object]]:
        """Keys whose CRLs count: the issuer's own, and the other keys of its profile (a CA that rolls over)."""
        own = [(spki, self._sm2_id(spki_sha256), None)] if allowed else []
        profile = self._profiles.get(spki_sha256)
        others = () if profile is None else (key for key in profile.keys if key != spki_sha256 and key in self._keys)
        return [*own, *((self._keys[key], self._sm2_id(key), None) for key in others)]

    def _all(self) -> Iterable[tuple[Crl, ...]]:
        yield from self._set.complete.values()
        yield from self._set.deltas.values()


class _Signers:
    """Keys that need no further path: the graph has them from the anchor already."""

    def __init__(self, keys: list[tuple[bytes, str, object]]) -> None:
        self._keys = keys

    def keys(self, name: Name, issuer_spki: bytes) -> Iterable[tuple[bytes, str, object]]:  # noqa: ARG002 - the protocol's
        return self._keys

    def trusted(self, token: object, at: datetime) -> bool:  # noqa: ARG002 - the protocol's
        return True


def good(status: Status) -> bool:
    """Whether this status lets a certificate pass: unknown and stale never do."""
    return status.kind is Kind.GOOD
