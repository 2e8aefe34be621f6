"""Findings about certification paths: CAs that no path reaches, constraints that shut one out, mappings, policies.

The compiled graph is asked, not guessed at: each certificate is tried once more after every state of its issuer, and
the rule that refuses it there is the finding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.general_names import DIRECTORY, GeneralName
from ca_bridge.asn1.names import Normalised
from ca_bridge.asn1.oids import ANY_POLICY
from ca_bridge.errors import CrosshallError
from ca_bridge.path import policies
from ca_bridge.path.budget import Budget, Limits
from ca_bridge.path.state import State
from ca_bridge.path.validate import advance, verify_signature
from ca_bridge.verdict.lint_rules import Finding, named
from ca_bridge.verdict.snapshot import Snapshot

_LIMITS = Limits(intermediates=16, comparisons=1_000_000)
_CODES = {
    "path.name_constraints": "lint.name_constraints",
    "path.path_length": "lint.path_length",
    "path.policy": "lint.explicit_policy",
}
_EVERY = frozenset({ANY_POLICY})


@dataclass(frozen=True)
class Paths:
    """A snapshot's graph, with what the findings ask of it more than once."""

    snapshot: Snapshot

    @cached_property
    def by_key(self) -> dict[str, list[State]]:
        """Every state of each key that a path reaches."""
        found: dict[str, list[State]] = defaultdict(list)
        for states in self.snapshot.compiled.graph.states.values():
            for state in states:
                found[state.spki_sha256].append(state)
        return dict(found)

    @cached_property
    def signers(self) -> dict[str, list[State]]:
        """Certificate → states of its issuer whose key really signed it."""
        return {c.sha256: [s for s in self._issuers(c) if self._signed(c, s)] for c in self._certificates}

    @cached_property
    def issued(self) -> dict[tuple[Normalised, str], list[Certificate]]:
        """(Name, key) → the CA certificates that it signed."""
        found: dict[tuple[Normalised, str], list[Certificate]] = defaultdict(list)
        for certificate in self._certificates:
            for state in {s.spki_sha256: s for s in self.signers[certificate.sha256]}.values():
                found[state.issuer.normalised, state.spki_sha256].append(certificate)
        return dict(found)

    @property
    def _certificates(self) -> Iterable[Certificate]:
        return self.snapshot.bundle.certificates

    def _issuers(self, certificate: Certificate) -> tuple[State, ...]:
        return self.snapshot.compiled.graph.states.get(certificate.issuer.normalised, ())

    def _signed(self, certificate: Certificate, state: State) -> bool:
        try:
            verify_signature(certificate, state.spki, self.snapshot.compiled.sm2_id(state.spki_sha256))
        except CrosshallError:
            return False
        return True

    def reachable_policies(self, key: str) -> frozenset[str]:
        """Every policy that a leaf of this key can bring through some path; may hold anyPolicy: any at all."""
        return frozenset[str]().union(*(_leaf_policies(state) for state in self.by_key.get(key, ())))


def findings(paths: Paths) -> Iterator[Finding]:
    """Everything that is wrong with the graph."""
    if not paths.snapshot.bundle.anchors:
        yield Finding("lint.no_anchor", "anchors/", "no trust anchor: no path begins anywhere")
    for certificate in paths.snapshot.bundle.certificates:
        yield from _reached(paths, certificate)
        yield from _mappings(paths, certificate)
    for key, states in paths.by_key.items():
        if key in paths.snapshot.compiled.by_key:
            yield from _leaves_shut_out(states)
    yield from _levels(paths)


def _reached(paths: Paths, certificate: Certificate) -> Iterator[Finding]:
    name = certificate.subject.normalised
    if any(s.issuer.normalised == name for s in paths.by_key.get(certificate.spki_sha256, ())) and certificate.is_ca:
        return  # its name and key are reached, by this certificate or by a better one
    vouched = paths.snapshot.compiled.book.crl_issuers.get(certificate.spki_sha256, ())
    if any(issuer.certificate == certificate for issuer in vouched):
        return  # it signs CRLs, and no path has to go through it
    states = paths.signers[certificate.sha256]
    if not states:
        same_name = paths.snapshot.compiled.graph.states.get(certificate.issuer.normalised, ())
        why = "no reached key of its issuer's name signed it" if same_name else "no path leads to its issuer"
        yield Finding("lint.unreachable", named(certificate), f"{why}: {certificate.issuer.text}")
        return
    refused: dict[str, str] = {}
    for state in states:
        try:
            advance(state, certificate, Budget(_LIMITS))
        except CrosshallError as error:
            refused.setdefault(error.code, error.detail)
    for code, detail in sorted(refused.items()):
        yield Finding(_CODES.get(code, "lint.unusable"), named(certificate), f"{code}: {detail}")
    if not refused:
        yield Finding("lint.unreachable", named(certificate), "its path is longer than any that is compiled")


def _mappings(paths: Paths, certificate: Certificate) -> Iterator[Finding]:
    """RFC 5280 §6.1.4 (b): a mapping counts when its issuer's policy is valid there and mapping is not inhibited."""
    states = paths.signers[certificate.sha256]
    if not certificate.policy_mappings or not states:
        return
    asserted = _asserted_below(paths, certificate)
    for issuer_policy, subject_policy in certificate.policy_mappings:
        pair = f"{issuer_policy} → {subject_policy}"
        if all(state.policy_mapping == 0 for state in states):
            yield Finding("lint.mapping", named(certificate), f"{pair}: mapping is inhibited above")
        elif not any(_valid(state, certificate, issuer_policy) for state in states):
            yield Finding("lint.mapping", named(certificate), f"{pair}: the first is not valid on any path to here")
        elif asserted is not None and not asserted & {subject_policy, ANY_POLICY}:
            yield Finding("lint.mapping", named(certificate), f"{pair}: no certificate below asserts the second")


def _valid(state: State, certificate: Certificate, policy: str) -> bool:
    any_allowed = state.inhibit_any > 0 or certificate.self_issued
    level = policies.process(state.policies, certificate.policies, any_allowed=any_allowed)
    return policy in level or ANY_POLICY in level


def _asserted_below(paths: Paths, certificate: Certificate) -> frozenset[str] | None:
    """Policies of the CA certificates one step below; None when leaves are issued there, which nobody can know."""
    below = paths.issued.get((certificate.subject.normalised, certificate.spki_sha256), [])
    if not below or certificate.spki_sha256 in paths.snapshot.compiled.by_key:
        return None
    return frozenset(policy for c in below for policy in c.policies or ())


def _leaves_shut_out(states: list[State]) -> Iterator[Finding]:
    """A CA that is reached, and whose every possible leaf is refused all the same."""
    subject = _holder(states[0])
    if all(state.explicit_policy <= 1 and not _leaf_policies(state) for state in states):
        detail = "a policy is required and none can survive the path"
        yield Finding("lint.explicit_policy", subject, f"{detail}: every leaf is refused")
    if all(_no_name_left(state) for state in states):
        detail = "no directory name lies in all permitted subtrees and outside the excluded ones"
        yield Finding("lint.name_constraints", subject, f"{detail}: every leaf is refused")


def _holder(state: State) -> str:
    last = state.path[-1] if state.path else state.anchor.certificate
    return state.issuer.text if last is None else named(last)


def _leaf_policies(state: State) -> frozenset[str]:
    """The user-constrained set of a leaf that asserts whatever is expected of it (RFC 5280 §6.1.5 (g))."""
    expected = frozenset[str]().union(*(node.expected for node in state.policies.values()))
    level = policies.process(state.policies, expected | _EVERY, any_allowed=state.inhibit_any > 0)
    found = policies.user_set(level, state.initial_policies)
    if ANY_POLICY in state.policies:  # RFC 5280 §6.1.3 (d)(1)(ii): a leaf may name any policy then
        return found | (_EVERY if state.initial_policies is None else state.initial_policies)
    return found


def _no_name_left(state: State) -> bool:
    """Directory names are prefixes: where subtrees meet at all, they meet in one that is permitted somewhere."""
    generations = [g for g in state.constraints.permitted if g[0].kind == DIRECTORY]
    excluded = [s for s in state.constraints.excluded if s.kind == DIRECTORY]
    if any(not _prefix(subtree) for subtree in excluded):
        return True
    candidates = {_prefix(subtree) for generation in generations for subtree in generation}
    return bool(generations) and not any(
        all(_under(name, generation) for generation in generations) and not _under(name, excluded)
        for name in candidates
    )


def _under(name: Normalised, subtrees: Iterable[GeneralName]) -> bool:
    return any(name[: len(_prefix(subtree))] == _prefix(subtree) for subtree in subtrees)


def _prefix(subtree: GeneralName) -> Normalised:
    return () if subtree.name is None else subtree.name.normalised


def _levels(paths: Paths) -> Iterator[Finding]:
    """Rows of levels.toml for policies that no CA with a profile can bring through a path."""
    brought = frozenset[str]().union(*(paths.reachable_policies(key) for key in paths.snapshot.compiled.by_key))
    for policy, level in sorted(paths.snapshot.bundle.levels.policies.items()):
        if not brought & {policy, ANY_POLICY}:
            yield Finding("lint.level_policy", f"levels.toml: {policy} = {level}", "no CA of a profile can reach it")
