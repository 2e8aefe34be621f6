"""Judging one leaf against a compiled bundle: the path engine, the trust-list engine, and what both share.

    leaf ─▶ candidates (end states of the issuer's name; list entries of it)
         ─▶ signature ─▶ last step of the fold ─▶ times ─▶ may it sign in ─▶ denials ─▶ status ─▶ level

Each candidate is a whole path of its own: the level is one path's, never a union. The best accepted candidate is taken;
when none is accepted, the one that came furthest says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.errors import CrosshallError, PolicyDenied, RevocationError
from ca_bridge.path.budget import Budget, Limits
from ca_bridge.path.state import State
from ca_bridge.path.validate import Outcome, check_time, finish, refusal, verify_signature
from ca_bridge.revocation.status import Kind, Status, failure
from ca_bridge.trust.lists import ListEntry, policy_matches
from ca_bridge.trust.profile import CertificateType, Profile
from ca_bridge.trust.rules import Levels
from ca_bridge.types import Refusal
from ca_bridge.verdict.candidates import Candidate
from ca_bridge.verdict.compiled import Compiled
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
    candidate: Candidate
    refusal: Refusal | None = None
    type: CertificateType | None = None
    policies: frozenset[str] = frozenset()
    level: int = 0
    status_issued_at: datetime | None = None
    oldest_data: datetime | None = None


def judge_leaf(compiled: Compiled, leaf: Certificate, at: datetime) -> tuple[Judged, ...]:
    """The candidates' results, the best first; empty when nobody of the issuer's name is known.

    Candidates are tried the shortest first, until one is accepted that no other can surpass.
    """
    asked = _Asked(compiled, leaf, at)
    found: list[Judged] = []
    for candidate in compiled.candidates.get(leaf.issuer.normalised, ()):
        judged = asked.judge(candidate)
        found.append(judged)
        if judged.stage is Stage.ACCEPTED and candidate.alone and judged.level == _most(compiled, judged):
            break
    if len(found) > 1:
        found.sort(key=lambda judged: (-judged.stage, -judged.level, len(judged.candidate.above)))
    return tuple(found)


def _most(compiled: Compiled, judged: Judged) -> int:
    """The highest level that a certificate of this type can reach by any path under its profile."""
    profile, kind, levels = judged.candidate.profile, judged.type, compiled.levels
    assert profile is not None
    assert kind is not None
    reached = levels.assigned_level(profile.id, kind.id)
    if reached is None:
        reached = max(levels.policies.values(), default=0)
    return min(reached, levels.storage.get(kind.storage, 0), profile.max_level)


def refused(error: CrosshallError, depth: int = 0) -> Refusal:
    """An error as a refusal, with the clause where it was raised."""
    facts = error.facts
    clause, wanted = str(facts.get("clause", "")), str(facts.get("wanted", ""))
    return Refusal(error.code, error.detail, clause, int(facts.get("depth", depth)), wanted)


class _Asked:
    """One leaf at one time; what does not depend on the path is found out once for all candidates."""

    def __init__(self, compiled: Compiled, leaf: Certificate, at: datetime) -> None:
        self._compiled = compiled
        self._leaf = leaf
        self._at = at
        self._signed: dict[str, CrosshallError | None] = {}
        self._types: dict[str, CertificateType] = {}
        self._statuses: dict[tuple[str, bool], Status] = {}

    def judge(self, candidate: Candidate) -> Judged:
        """How far this candidate comes."""
        stage = Stage.SIGNATURE
        try:
            self._check_signature(candidate.state)
            stage = Stage.PATH
            outcome = finish(candidate.state, self._leaf, Budget(_LEAF_LIMITS), candidate.reached)
            self._check_times(candidate)
            if candidate.entry is not None:
                _check_entry(candidate.entry, self._leaf, self._at)
            stage = Stage.LEAF
            return self._accept(candidate, outcome)
        except CrosshallError as error:
            stage = Stage.STATUS if isinstance(error, RevocationError) else stage
            return Judged(stage, candidate, refused(error))

    def _check_times(self, candidate: Candidate) -> None:
        check_time(self._leaf, self._at, 0)
        first, last = candidate.not_before, candidate.not_after
        if first is None or last is None or first <= self._at <= last:
            return
        for depth, certificate in enumerate(candidate.dated, start=1):  # says which
            check_time(certificate, self._at, depth)

    def _accept(self, candidate: Candidate, outcome: Outcome) -> Judged:
        """What both engines ask of a leaf whose key is proved."""
        compiled, state, profile = self._compiled, candidate.state, candidate.profile
        if profile is None:
            raise refusal("trust.no_profile", "the issuing CA has no profile", "ours: profiles, what a CA may say")
        self._check_denials(candidate)
        kind = self._types.get(profile.id)
        if kind is None:
            kind = self._types[profile.id] = check_sign_in(self._leaf, profile)
        status = self._status(state)
        oldest = self._check_authorities(candidate, status.this_update)
        policies = outcome.policies
        return Judged(
            Stage.ACCEPTED,
            candidate,
            type=kind,
            policies=policies,
            level=_level(compiled.levels, profile, kind, policies if candidate.entry is None else frozenset()),
            status_issued_at=status.this_update,
            oldest_data=oldest,
        )

    def _check_signature(self, state: State) -> None:
        key = state.spki_sha256
        if key not in self._signed:
            try:
                verify_signature(self._leaf, state.spki, self._compiled.sm2_id(key))
                self._signed[key] = None
            except CrosshallError as error:
                self._signed[key] = _other_key(state, self._leaf) or error
        fault = self._signed[key]
        if fault is not None:
            raise fault

    def _check_denials(self, candidate: Candidate) -> None:
        """Any "no" wins: by domain of every CA in the path, by key, by certificate."""
        denied, leaf, state = self._compiled.denied, self._leaf, candidate.state
        owner = self._compiled.by_key.get(leaf.spki_sha256)
        why = (
            candidate.denied
            or denied.key(leaf.spki_sha256)
            or denied.certificate(state.spki_sha256, leaf.serial)
            or (denied.domain(owner) if owner is not None else "")
        )
        if why:
            raise refusal("trust.denied", why, "ours: a denial wins over every trust (design §3)")

    def _status(self, state: State) -> Status:
        """The leaf's status, which must pass."""
        key = (state.spki_sha256, state.can_sign_crls)
        status = self._statuses.get(key)
        if status is None:
            status = self._statuses[key] = self._compiled.book.leaf(self._leaf, state, self._at)
        return _pass(status, 0)

    def _check_authorities(self, candidate: Candidate, oldest: datetime | None) -> datetime | None:
        """Each CA certificate's status; a list's may be unknown. Returns when the oldest data was issued."""
        book, at = self._compiled.book, self._at
        whole = book.chain(candidate.issuers, at) if candidate.entry is None else None
        if whole is not None:
            issued = whole.this_update
            return oldest if issued is None or (oldest is not None and oldest <= issued) else issued
        for depth, (certificate, issuer) in enumerate(candidate.issuers, start=1):
            status = book.authority(certificate, issuer, at)
            if candidate.entry is None or status.kind >= Kind.LISTED:
                issued = _pass(status, depth).this_update
                if issued is not None and (oldest is None or issued < oldest):
                    oldest = issued
        return oldest


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
    if not leaf.subject.has("OU", entry.type_name):
        raise refusal("path.list_entry", "another certificate type", clause)
    if not any(policy_matches(policy, entry.policy_prefix) for policy in leaf.policies or ()):
        raise refusal("path.list_entry", "no policy under the entry's prefix", clause)


def _pass(status: Status, depth: int) -> Status:
    if status.kind is Kind.GOOD:
        return status
    raise failure(status, depth)


def _level(levels: Levels, profile: Profile, kind: CertificateType, policies: frozenset[str]) -> int:
    """Table or surviving policy, under the ceilings of key storage and profile (design §3)."""
    reached = levels.assigned_level(profile.id, kind.id)
    if reached is None:
        reached = max((levels.policies.get(policy, 0) for policy in policies), default=0)
    ceiling = levels.storage.get(kind.storage, 0)
    level = min(reached, ceiling, profile.max_level)
    if level < 1:
        detail = "no ceiling for the key's storage" if reached else "neither a table's level nor a policy with one"
        raise PolicyDenied("policy.no_level", detail, clause="ours: asserted or assigned (design §3)")
    return level
