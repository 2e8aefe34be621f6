"""How current the CRLs of a snapshot are: for each CA whose word is needed, the newest list of each scope.

Worked out once per snapshot, because each list's signature is checked; asked at any time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ca_bridge.asn1.crl import Crl
from ca_bridge.asn1.names import Normalised
from ca_bridge.revocation.status import FUTURE_SKEW
from ca_bridge.verdict.lint_status import ISSUING_POINT, Issuer, by_name, issuers, lists_of
from ca_bridge.verdict.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Term:
    """One list: from when, and until when it counts, the CA's grace included; None: it never did (no nextUpdate)."""

    issued: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Currency:
    """The lists of one CA, by scope; no scope: there is no list signed by this CA."""

    ca: str
    """Profile id, or the key's hash for a CA above that has no profile."""
    scopes: tuple[tuple[Term, ...], ...]

    def issued(self, at: datetime) -> datetime | None:
        """When the oldest of the lists in force at `at` was issued; None when there is none."""
        found = [self._newest(scope, at) for scope in self.scopes]
        return min((term.issued for term in found if term is not None), default=None)

    def stale(self, at: datetime) -> bool:
        """Whether at `at` a scope has no list in force, or there is no list at all."""
        found = [self._newest(scope, at) for scope in self.scopes]
        return not found or any(term is None or term.until is None or at > term.until for term in found)

    @staticmethod
    def _newest(scope: Iterable[Term], at: datetime) -> Term | None:
        in_force = [term for term in scope if term.issued <= at + FUTURE_SKEW]
        return max(in_force, key=lambda term: term.issued, default=None)


def currencies(snapshot: Snapshot) -> tuple[Currency, ...]:
    """Of every CA with a profile, and of every CA that their paths go through; not of domains switched off."""
    known = by_name(snapshot.compiled.book.complete())
    needed = (issuer for issuer in issuers(snapshot, switched_off=False) if issuer.required)
    return tuple(_currency(snapshot, issuer, known) for issuer in needed)


def _currency(snapshot: Snapshot, issuer: Issuer, crls: Mapping[Normalised, tuple[Crl, ...]]) -> Currency:
    profile = snapshot.compiled.by_key.get(issuer.key)
    grace = timedelta(seconds=profile.status.grace_seconds if profile is not None else 0)
    scopes: Mapping[bytes, list[Term]] = defaultdict(list)
    for crl in lists_of(snapshot, crls, issuer):
        point = crl.extensions.get(ISSUING_POINT)
        until = None if crl.next_update is None else crl.next_update + grace
        scopes[b"" if point is None else point.value].append(Term(crl.this_update, until))
    return Currency(issuer.key[:16] if profile is None else profile.id, tuple(map(tuple, scopes.values())))
