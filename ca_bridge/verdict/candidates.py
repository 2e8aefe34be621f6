"""What is known of every possible path before a leaf arrives: certificates above it, dates, profile, denials.

A candidate is one end state of the graph, or one entry of a trust list; its path is whole but for the leaf. The
candidates of an issuer's name are tried the shortest first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.names import Normalised
from ca_bridge.path.state import State
from ca_bridge.path.validate import Reached
from ca_bridge.trust.lists import ListEntry
from ca_bridge.trust.profile import Profile
from ca_bridge.trust.rules import Denial, certificate_key


@dataclass(frozen=True, slots=True)
class Candidate:
    """One path, waiting for its leaf."""

    state: State
    entry: ListEntry | None
    """None: the path engine's."""
    above: tuple[Certificate, ...]
    """From the issuing CA to the anchor's certificate, where there is one."""
    above_sha256: tuple[str, ...]
    dated: tuple[Certificate, ...]
    """Those whose dates count: an anchor's own do not (RFC 5280 §6.1.1 (d)), a list's root's do."""
    not_before: datetime | None
    not_after: datetime | None
    """The time in which all of them are valid; None: there are none."""
    issuers: tuple[tuple[Certificate, State], ...] = field(repr=False)
    """Of each certificate that needs a status, a state with its issuer's key; nearest the leaf first."""
    profile: Profile | None
    denied: str
    """Why everything under this path is denied; empty when nothing is."""
    alone: bool = False
    """All candidates of this issuer's name have this one's profile."""
    reached: Reached = field(default_factory=dict, repr=False, compare=False)
    """What leaves of these policies reach by this path, remembered."""

    @property
    def engine(self) -> str:
        """`path` or `list`."""
        return "path" if self.entry is None else "list"


@dataclass(frozen=True, slots=True)
class Denied:
    """The bundle's denials, for looking up."""

    keys: frozenset[str]
    certificates: frozenset[str]
    domains: tuple[str, ...]

    @staticmethod
    def of(denials: Iterable[Denial]) -> Denied:
        """The denials by what they name."""
        rows = tuple(denials)
        return Denied(
            frozenset(row.key for row in rows if row.key is not None),
            frozenset(row.certificate for row in rows if row.certificate is not None),
            tuple(row.domain for row in rows if row.domain is not None),
        )

    @property
    def nothing(self) -> bool:
        """Whether there are no denials at all."""
        return not (self.keys or self.certificates or self.domains)

    def domain(self, owner: Profile) -> str:
        """Why a CA is denied for its domain or one above it; empty when it is not."""
        for domain in self.domains:
            if owner.domain == domain or owner.domain.startswith(domain + "/"):
                return f"domain {domain} is switched off"
        return ""

    def key(self, key: str) -> str:
        """Why a key is denied; empty when it is not."""
        return f"key {key} is denied" if key in self.keys else ""

    def certificate(self, issuer_key: str, serial: int) -> str:
        """Why a certificate is denied; empty when it is not."""
        if not self.certificates:
            return ""
        named = certificate_key(issuer_key, serial)
        return f"certificate {named} is denied" if named in self.certificates else ""


def build(
    states: Iterable[State],
    lists: Iterable[tuple[ListEntry, State]],
    by_key: Mapping[str, Profile],
    parents: Mapping[str, State],
    *,
    denied: Denied,
    before: Mapping[Normalised, tuple[Candidate, ...]],
) -> Mapping[Normalised, tuple[Candidate, ...]]:
    """Candidates by issuer's name, the shortest first; as many end states as the graph kept, and all list entries.

    `before`: candidates under the same denials, of which those that would be the same are taken over.
    """
    found: dict[Normalised, list[Candidate]] = {}
    builder = _Builder(by_key, parents, denied, before)
    for state in states:
        found.setdefault(state.issuer.normalised, []).append(builder.of_state(state))
    for entry, state in lists:
        found.setdefault(state.issuer.normalised, []).append(builder.of_entry(entry, state))
    return {name: _ordered(candidates) for name, candidates in found.items()}


def _ordered(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    ordered = sorted(candidates, key=lambda candidate: len(candidate.above))
    profile = ordered[0].profile
    if any(candidate.profile is not profile for candidate in ordered):
        return tuple(replace(c, alone=False) if c.alone else c for c in ordered)
    return tuple(c if c.alone else replace(c, alone=True) for c in ordered)


class _Builder:
    def __init__(
        self,
        by_key: Mapping[str, Profile],
        parents: Mapping[str, State],
        denied: Denied,
        before: Mapping[Normalised, tuple[Candidate, ...]],
    ) -> None:
        self._by_key = by_key
        self._parents = parents
        self._denied = denied
        self._before = {id(c.state): c for kept in before.values() for c in kept if c.entry is None}

    def of_state(self, state: State) -> Candidate:
        known = self._before.get(id(state))
        if known is not None and known.state is state and self._holds(known):
            return known
        anchor = state.anchor.certificate
        chain = tuple(reversed(state.path))
        above = chain if anchor is None else (*chain, anchor)
        return self._candidate(state, None, above, chain)

    def _holds(self, known: Candidate) -> bool:
        """Whether a candidate of the same state, made before, is what would be made now."""
        parents = self._parents
        return known.profile is self._by_key.get(known.state.spki_sha256) and all(
            parents[issuer.spki_sha256] is issuer for _, issuer in known.issuers
        )

    def of_entry(self, entry: ListEntry, state: State) -> Candidate:
        above = (entry.signing,) if entry.root == entry.signing else (entry.signing, entry.root)
        return self._candidate(state, entry, above, above)

    def _candidate(
        self, state: State, entry: ListEntry | None, above: tuple[Certificate, ...], dated: tuple[Certificate, ...]
    ) -> Candidate:
        return Candidate(
            state=state,
            entry=entry,
            above=above,
            above_sha256=tuple(certificate.sha256 for certificate in above),
            dated=dated,
            not_before=max((certificate.not_before for certificate in dated), default=None),
            not_after=min((certificate.not_after for certificate in dated), default=None),
            issuers=tuple(self._issuers(state)),
            profile=self._by_key.get(state.spki_sha256),
            denied=self._why_denied(state, above),
        )

    def _issuers(self, state: State) -> Iterator[tuple[Certificate, State]]:
        path = state.path
        for index in range(len(path) - 1, -1, -1):
            key = path[index - 1].spki_sha256 if index else state.anchor.spki_sha256
            yield path[index], self._parents[key]

    def _why_denied(self, state: State, above: tuple[Certificate, ...]) -> str:
        """By the domain of every CA in the path, by key, by certificate."""
        if self._denied.nothing:
            return ""
        keys = [*(certificate.spki_sha256 for certificate in above), state.spki_sha256]
        for key in keys:
            owner = self._by_key.get(key)
            why = (self._denied.domain(owner) if owner is not None else "") or self._denied.key(key)
            if why:
                return why
        for certificate, issuer in zip(above, keys[1:], strict=True):
            why = self._denied.certificate(issuer, certificate.serial)
            if why:
                return why
        return ""
