"""Findings about CRLs: missing, stale, about to be, from the future, from nobody – and CA certificates revoked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ca_bridge.asn1.crl import Crl
from ca_bridge.asn1.names import Normalised
from ca_bridge.path.state import State
from ca_bridge.revocation.crl import signed
from ca_bridge.revocation.status import FUTURE_SKEW, Kind
from ca_bridge.verdict.lint_rules import Finding
from ca_bridge.verdict.snapshot import Snapshot

NEARLY_OVER = 4
"""A CRL is about to expire when less than this part of its time is left: lists live an hour or a year."""
ISSUING_POINT = "2.5.29.28"
MAX_VERIFIED = 20_000
_VERIFIED: dict[tuple[str, bytes, str], None] = {}
"""(CRL's SHA-256, key, SM2 ID) whose signature was found good: a new snapshot has nearly all from the last."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """A key whose certificates' status is asked for."""

    name: Normalised
    text: str
    key: str
    state: State
    required: bool = True
    """False: nobody is refused for its silence – a trust list's root, a CA that issues to nobody who signs in."""


def findings(snapshot: Snapshot, now: datetime, crl_left: timedelta | None) -> Iterator[Finding]:
    """Everything wrong with the CRLs at `now`; `crl_left`: how much time one must have left (None: a quarter)."""
    crls = snapshot.bundle.crls
    for crl in crls:
        if crl.unusable:
            yield Finding("lint.crl_unusable", _called(crl), crl.unusable)
    for problem in snapshot.bundle.problems:
        yield Finding("lint.crl_unusable", problem.partition(":")[0], problem.partition(":")[2].strip())
    usable = [crl for crl in crls if not crl.unusable]
    claimed: set[str] = set()
    named = by_name(usable)
    for issuer in issuers(snapshot):
        own = lists_of(snapshot, named, issuer)
        claimed |= {crl.sha256 for crl in own}
        complete = [crl for crl in own if crl.delta_base is None]
        if not complete and issuer.required:
            yield Finding("lint.crl_missing", f"{issuer.text} (key {issuer.key[:16]})", "no CRL signed by this CA")
        if issuer.required:
            yield from _dates(snapshot, issuer, complete, now, crl_left)
    for crl in usable:
        if crl.sha256 not in claimed:
            yield Finding("lint.crl_stray", _called(crl), "not signed by any CA that is reached")
    yield from _revoked(snapshot, now)


def by_name(crls: Iterable[Crl]) -> Mapping[Normalised, tuple[Crl, ...]]:
    """The lists of each issuer's name, in the order given: thousands of CAs must not be compared with each list."""
    found: dict[Normalised, list[Crl]] = defaultdict(list)
    for crl in crls:
        found[crl.issuer.normalised].append(crl)
    return {name: tuple(lists) for name, lists in found.items()}


def lists_of(snapshot: Snapshot, crls: Mapping[Normalised, tuple[Crl, ...]], issuer: Issuer) -> list[Crl]:
    """Those of `crls` that speak for this CA: of its name and signed by its key, or by one that its profile allows."""
    own = {crl.sha256: crl for crl in crls.get(issuer.name, ()) if _signed(snapshot, crl, issuer)}
    return list((own | {crl.sha256: crl for crl in _by_listed(snapshot, crls, issuer)}).values())


def issuers(snapshot: Snapshot, *, switched_off: bool = True) -> list[Issuer]:
    """Every CA that is reached; required: keys with a profile, and all that their paths go through.

    Without `switched_off` what only domains that are switched off would need is not required.
    """
    compiled = snapshot.compiled
    found: dict[tuple[Normalised, str], Issuer] = {}

    def add(state: State, *, required: bool = True) -> None:
        issuer = Issuer(state.issuer.normalised, state.issuer.text, state.spki_sha256, state, required)
        found.setdefault((issuer.name, issuer.key), issuer)

    def needed(state: State) -> bool:
        profile = compiled.by_key.get(state.spki_sha256)
        return switched_off or profile is None or not compiled.denied.domain(profile)

    every = [s for states in compiled.graph.states.values() for s in states]
    for state in every:
        if state.spki_sha256 in compiled.by_key and needed(state):
            add(state)
            for _, parent in compiled.issuers(state):
                add(parent)
    listed = [entry.state for entries in compiled.lists.values() for entry in entries]
    for state in listed:
        add(state, required=needed(state))
    for state in listed:
        for _, parent in compiled.issuers(state):
            add(parent, required=False)
    for state in every:
        add(state, required=False)
    return sorted(found.values(), key=lambda issuer: (issuer.text, issuer.key))


def _signed(snapshot: Snapshot, crl: Crl, issuer: Issuer) -> bool:
    """By the issuer's own key when it may sign CRLs, or by another key of its profile (a CA that rolls over)."""
    compiled = snapshot.compiled
    profile = compiled.by_key.get(issuer.key)
    keys = {issuer.key: issuer.state.spki} if issuer.state.can_sign_crls else {}
    for key in () if profile is None else profile.keys:
        if key != issuer.key and key in compiled.parents:
            keys[key] = compiled.parents[key].spki
    return any(_verifies(snapshot, crl, key, spki) for key, spki in keys.items())


def _by_listed(snapshot: Snapshot, crls: Mapping[Normalised, tuple[Crl, ...]], issuer: Issuer) -> Iterator[Crl]:
    """Those by a CRL issuer that the CA's profile lists."""
    compiled = snapshot.compiled
    profile = compiled.by_key.get(issuer.key)
    for key in () if profile is None else profile.status.crl_issuers:
        for found in compiled.book.crl_issuers.get(key, ()):
            for crl in crls.get(found.certificate.subject.normalised, ()):
                if _verifies(snapshot, crl, key, found.certificate.spki):
                    yield crl


def _verifies(snapshot: Snapshot, crl: Crl, key: str, spki: bytes) -> bool:
    sm2_id = snapshot.compiled.sm2_id(key)
    known = (crl.sha256, spki, sm2_id)
    if known in _VERIFIED:
        return True
    if not signed(crl, spki, sm2_id):
        return False
    if len(_VERIFIED) >= MAX_VERIFIED:
        _VERIFIED.clear()
    _VERIFIED[known] = None
    return True


def _dates(
    snapshot: Snapshot, issuer: Issuer, complete: list[Crl], now: datetime, crl_left: timedelta | None
) -> Iterator[Finding]:
    """Of each scope (RFC 5280 §5.2.5) the newest list that is in force counts."""
    profile = snapshot.compiled.by_key.get(issuer.key)
    grace = timedelta(seconds=profile.status.grace_seconds if profile is not None else 0)
    scopes: dict[bytes, list[Crl]] = defaultdict(list)
    for crl in complete:
        point = crl.extensions.get(ISSUING_POINT)
        scopes[b"" if point is None else point.value].append(crl)
    for crls in scopes.values():
        in_force = [crl for crl in crls if crl.this_update <= now + FUTURE_SKEW]
        if not in_force:
            first = min(crls, key=lambda crl: crl.this_update)
            yield Finding("lint.crl_future", _called(first), f"thisUpdate is {first.this_update.isoformat()}")
            continue
        newest = max(in_force, key=lambda crl: (crl.this_update, crl.number or 0))
        yield from _age(newest, now, grace, crl_left)


def _age(crl: Crl, now: datetime, grace: timedelta, crl_left: timedelta | None) -> Iterator[Finding]:
    until = crl.next_update
    if until is None:
        yield Finding("lint.crl_expired", _called(crl), "no nextUpdate: it is stale from the start")
        return
    wanted = (until - crl.this_update) / NEARLY_OVER if crl_left is None else crl_left
    if now > until + grace:
        yield Finding("lint.crl_expired", _called(crl), f"nextUpdate was {until.isoformat()}")
    elif now > until:
        yield Finding("lint.crl_expiring", _called(crl), f"nextUpdate was {until.isoformat()}: in its time of grace")
    elif until - now < wanted:
        yield Finding("lint.crl_expiring", _called(crl), f"nextUpdate is {until.isoformat()}")


def _revoked(snapshot: Snapshot, now: datetime) -> Iterator[Finding]:
    """CA certificates in use that their issuers have revoked."""
    compiled = snapshot.compiled
    seen: set[str] = set()
    states = [s for found in compiled.graph.states.values() for s in found]
    states += [listed.state for entries in compiled.lists.values() for listed in entries]
    for state in states:
        for certificate, parent in compiled.issuers(state):
            if certificate.sha256 in seen:
                continue
            seen.add(certificate.sha256)
            status = compiled.book.authority(certificate, parent, now)
            if status.kind is Kind.REVOKED:
                subject = f"{certificate.subject.text} ({certificate.sha256[:16]})"
                yield Finding("lint.ca_revoked", subject, status.detail)


def _called(crl: Crl) -> str:
    return f"CRL of {crl.issuer.text} ({crl.sha256[:16]})"
