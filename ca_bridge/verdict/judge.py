"""Judging one leaf against a compiled bundle: the path engine, the trust-list engine, and what both share.

    leaf ─▶ candidates (end states of the issuer's name; list entries of it)
         ─▶ signature ─▶ last step of the fold ─▶ times ─▶ may it sign in ─▶ denials ─▶ status ─▶ level

Each candidate is a whole path of its own: the level is one path's, never a union. The best accepted candidate is taken;
when none is accepted, the one that came furthest says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.names import normalise
from ca_bridge.errors import CrosshallError, PolicyDenied, RevocationError
from ca_bridge.path.budget import Budget, Limits
from ca_bridge.path.state import State
from ca_bridge.path.validate import Outcome, check_times, finish, refusal, verify_signature
from ca_bridge.revocation.status import Kind, Status, failure
from ca_bridge.trust.lists import ListEntry, policy_matches
from ca_bridge.trust.profile import CertificateType, Profile
from ca_bridge.trust.rules import certificate_key
from ca_bridge.types import Refusal
from ca_bridge.verdict.compiled import Compiled, ListState
from ca_bridge.verdict.leaf import check_sign_in

_LEAF_LIMITS = Limits()


class Stage(IntEnum):
    """How far a candidate came."""

    SIGNATURE = 0
    PATH = 1
    LEAF = 2
    STATUS = 3
    ACCEPTED = 4


@dataclass(frozen=True, slots=True)
class Judged:
    """One candidate's result."""

    stage: Stage
    engine: str
    path: tuple[Certificate, ...]
    refusal: Refusal | None = None
    state: State | None = None
    profile: Profile | None = None
    type: CertificateType | None = None
    policies: frozenset[str] = frozenset()
    level: int = 0
    status_issued_at: datetime | None = None
    oldest_data: datetime | None = None


def judge_leaf(compiled: Compiled, leaf: Certificate, at: datetime) -> tuple[Judged, ...]:
    """Every candidate's result, the best first; empty when nobody of the issuer's name is known."""
    signed: dict[str, CrosshallError | None] = {}
    found = [
        *(
            _by_path(compiled, state, leaf, at, signed)
            for state in compiled.graph.states.get(leaf.issuer.normalised, ())
        ),
        *(_by_list(compiled, entry, leaf, at, signed) for entry in compiled.lists.get(leaf.issuer.normalised, ())),
    ]
    return tuple(sorted(found, key=lambda judged: (-judged.stage, -judged.level, len(judged.path))))


def refused(error: CrosshallError, depth: int = 0) -> Refusal:
    """An error as a refusal, with the clause where it was raised."""
    return Refusal(error.code, error.detail, str(error.facts.get("clause", "")), int(error.facts.get("depth", depth)))


def _by_path(
    compiled: Compiled, state: State, leaf: Certificate, at: datetime, signed: dict[str, CrosshallError | None]
) -> Judged:
    anchor = state.anchor.certificate
    path = (leaf, *reversed(state.path), *((anchor,) if anchor is not None else ()))
    stage = Stage.SIGNATURE
    try:
        _check_signature(compiled, state, leaf, signed)
        stage = Stage.PATH
        outcome = finish(state, leaf, Budget(_LEAF_LIMITS))
        check_times(outcome.path, at)
        stage = Stage.LEAF
        return _accept(compiled, _Case(leaf, state, outcome, path, "path", at), required=True)
    except CrosshallError as error:
        stage = Stage.STATUS if isinstance(error, RevocationError) else stage
        return Judged(stage, "path", path, refused(error), state)


def _by_list(
    compiled: Compiled, listed: ListState, leaf: Certificate, at: datetime, signed: dict[str, CrosshallError | None]
) -> Judged:
    entry, state = listed.entry, listed.state
    path = (leaf, entry.signing, *((entry.root,) if entry.root != entry.signing else ()))
    stage = Stage.SIGNATURE
    try:
        _check_signature(compiled, state, leaf, signed)
        stage = Stage.PATH
        outcome = finish(state, leaf, Budget(_LEAF_LIMITS))
        check_times(path, at)
        _check_entry(entry, leaf, at)
        stage = Stage.LEAF
        return _accept(compiled, _Case(leaf, state, outcome, path, "list", at), required=False)
    except CrosshallError as error:
        stage = Stage.STATUS if isinstance(error, RevocationError) else stage
        return Judged(stage, "list", path, refused(error), state)


@dataclass(frozen=True, slots=True)
class _Case:
    leaf: Certificate
    state: State
    outcome: Outcome
    path: tuple[Certificate, ...]
    engine: str
    at: datetime


def _accept(compiled: Compiled, case: _Case, *, required: bool) -> Judged:
    """What both engines ask of a leaf whose key is proved; `required`: CA certificates need a status too."""
    profile = compiled.by_key.get(case.state.spki_sha256)
    if profile is None:
        raise refusal("trust.no_profile", "the issuing CA has no profile", "ours: profiles, what a CA may say")
    _check_denials(compiled, case, profile)
    kind = check_sign_in(case.leaf, profile)
    statuses = [*_statuses(compiled, case, required=required)]
    level = _level(compiled, profile, kind, case)
    return Judged(
        Stage.ACCEPTED,
        case.engine,
        case.path,
        state=case.state,
        profile=profile,
        type=kind,
        policies=case.outcome.policies,
        level=level,
        status_issued_at=statuses[0].this_update,
        oldest_data=min((s.this_update for s in statuses if s.this_update is not None), default=None),
    )


def _check_signature(
    compiled: Compiled, state: State, leaf: Certificate, signed: dict[str, CrosshallError | None]
) -> None:
    key = state.spki_sha256
    if key not in signed:
        try:
            verify_signature(leaf, state.spki, compiled.sm2_id(key))
            signed[key] = None
        except CrosshallError as error:
            signed[key] = _other_key(state, leaf) or error
    fault = signed[key]
    if fault is not None:
        raise fault


def _other_key(state: State, leaf: Certificate) -> CrosshallError | None:
    """A leaf that names another key of an issuer of this name was signed by a CA that nobody here knows."""
    named = leaf.authority_key_identifier.key_identifier if leaf.authority_key_identifier is not None else None
    holder = state.path[-1] if state.path else state.anchor.certificate
    own = holder.subject_key_identifier if holder is not None else None
    if named is None or own is None or named == own:
        return None
    return refusal("path.unknown_issuer", "the name is known, its key is not", "RFC 5280 §6.1.3 (a)(1)")


def _check_entry(entry: ListEntry, leaf: Certificate, at: datetime) -> None:
    clause = "粤府〔2012〕82号: trust list entry"
    if not entry.valid_from <= at <= entry.valid_to:
        raise refusal("path.list_entry", "outside the entry's validity", clause)
    if normalise(entry.type_name) not in map(normalise, leaf.subject.all("OU")):
        raise refusal("path.list_entry", "another certificate type", clause)
    if not any(policy_matches(policy, entry.policy_prefix) for policy in leaf.policies or ()):
        raise refusal("path.list_entry", "no policy under the entry's prefix", clause)


def _check_denials(compiled: Compiled, case: _Case, profile: Profile) -> None:
    """Any "no" wins: by domain of every CA in the path, by key, by certificate."""
    keys = [*(c.spki_sha256 for c in case.path), case.state.spki_sha256]
    issuers = [*(c.spki_sha256 for c in case.path[1:]), case.state.spki_sha256]
    named = {certificate_key(k, c.serial) for k, c in zip(issuers, case.path, strict=False)}
    owners = [profile, *(compiled.by_key[key] for key in keys if key in compiled.by_key)]
    clause = "ours: a denial wins over every trust (design §3)"
    for denial in compiled.denials:
        if denial.domain is not None and any(
            owner.domain == denial.domain or owner.domain.startswith(denial.domain + "/") for owner in owners
        ):
            raise refusal("trust.denied", f"domain {denial.domain} is switched off", clause)
        if denial.key in keys:
            raise refusal("trust.denied", f"key {denial.key} is denied", clause)
        if denial.certificate in named:
            raise refusal("trust.denied", f"certificate {denial.certificate} is denied", clause)


def _statuses(compiled: Compiled, case: _Case, *, required: bool) -> Iterator[Status]:
    """Status of the leaf, then of each CA certificate; raises RevocationError at the first that does not pass."""
    yield _pass(compiled.book.leaf(case.leaf, case.state, case.at), 0)
    for depth, (certificate, issuer) in enumerate(compiled.issuers(case.state), start=1):
        status = compiled.book.authority(certificate, issuer, case.at)
        if required or status.kind is Kind.REVOKED:
            yield _pass(status, depth)


def _pass(status: Status, depth: int) -> Status:
    if status.kind is Kind.GOOD:
        return status
    raise failure(status, depth)


def _level(compiled: Compiled, profile: Profile, kind: CertificateType, case: _Case) -> int:
    """Table or surviving policy, under the ceilings of key storage and profile (design §3)."""
    levels = compiled.levels
    reached = levels.assigned_level(profile.id, kind.id)
    if reached is None and case.engine == "path":
        reached = max((levels.policies.get(policy, 0) for policy in case.outcome.policies), default=0)
    ceiling = levels.storage.get(kind.storage, 0)
    level = min(reached or 0, ceiling, profile.max_level)
    if level < 1:
        detail = "no ceiling for the key's storage" if reached else "neither a table's level nor a policy with one"
        raise PolicyDenied("policy.no_level", detail, clause="ours: asserted or assigned (design §3)")
    return level
