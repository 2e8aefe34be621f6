"""Certificate policies along a path: the policy graph of RFC 9618, kept as its last level only.

Of the graph above the last level only one thing is ever asked: which nodes under anyPolicy – the *roots*, in the
anchor's own policy domain – still have a descendant (RFC 9618 §5.5 (g)). So each node of the last level carries its
roots, and nothing has to be pruned: a level costs no more than policies times mappings, however deep the path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ca_bridge.asn1.oids import ANY_POLICY
from ca_bridge.errors import PathError


@dataclass(frozen=True, slots=True)
class Node:
    """A policy of the last level: what the next certificate may call it, and its roots."""

    expected: frozenset[str]
    roots: frozenset[str]


PolicyLevel = Mapping[str, Node]
"""Valid policy → node; empty is the NULL graph."""

_ANY = frozenset({ANY_POLICY})
INITIAL: PolicyLevel = {ANY_POLICY: Node(_ANY, frozenset())}


def process(level: PolicyLevel, policies: Iterable[str] | None, *, any_allowed: bool) -> PolicyLevel:
    """§6.1.3 (d)–(e): the level after a certificate's policies; `any_allowed`: its anyPolicy counts."""
    if policies is None or not level:
        return {}
    asserted = set(policies)
    parents = _by_expected(level)
    grown: dict[str, Node] = {}
    for policy in asserted - _ANY:
        if policy in parents:  # (d)(1)(i)
            grown[policy] = Node(frozenset({policy}), _roots(policy, parents[policy], level))
        elif ANY_POLICY in level:  # (d)(1)(ii)
            grown[policy] = Node(frozenset({policy}), frozenset({policy}))
    if ANY_POLICY in asserted and any_allowed:  # (d)(2)
        for policy, above in parents.items():
            if policy not in grown:
                grown[policy] = Node(frozenset({policy}), _roots(policy, above, level))
    return grown


def apply_mappings(
    level: PolicyLevel, mappings: Iterable[tuple[str, str]], *, allowed: bool, limit: int
) -> PolicyLevel:
    """§6.1.4 (a)–(b): the level after policy mappings; without `allowed` (policy_mapping is 0) mapped policies go."""
    targets: dict[str, set[str]] = {}
    for issuer_policy, subject_policy in mappings:
        if ANY_POLICY in (issuer_policy, subject_policy):
            raise PathError("path.policy_mapping", "anyPolicy is mapped", clause="RFC 5280 §6.1.4 (a)")
        targets.setdefault(issuer_policy, set()).add(subject_policy)
    if not targets or not level:
        return level
    mapped = dict(level)
    for policy, subjects in targets.items():
        if not allowed:
            mapped.pop(policy, None)
        elif policy in mapped:
            mapped[policy] = Node(frozenset(subjects), mapped[policy].roots)
        elif ANY_POLICY in mapped:
            mapped[policy] = Node(frozenset(subjects), frozenset({policy}))
    if sum(len(node.expected) for node in mapped.values()) > limit:
        raise PathError("path.budget", f"more than {limit} policies", budget="policies", clause="RFC 9618 §4")
    return mapped


def authority_set(level: PolicyLevel) -> frozenset[str]:
    """§6.1.5 (g): policies of the anchor's domain under which the path is good; may hold anyPolicy."""
    roots = frozenset[str]().union(*(node.roots for node in level.values()))
    return roots | _ANY if ANY_POLICY in level else roots


def user_set(level: PolicyLevel, initial: frozenset[str] | None) -> frozenset[str]:
    """The user-constrained policy set; `initial` None is anyPolicy."""
    authority = authority_set(level)
    if initial is None or ANY_POLICY in initial:
        return authority
    return initial if ANY_POLICY in authority else authority & initial


def covers(wider: PolicyLevel, narrower: PolicyLevel) -> bool:
    """Whether every policy that `narrower` can reach is reached from `wider` as well."""
    return all(
        policy in wider and node.expected <= wider[policy].expected and node.roots <= wider[policy].roots
        for policy, node in narrower.items()
    )


def _by_expected(level: PolicyLevel) -> dict[str, list[str]]:
    parents: dict[str, list[str]] = {}
    for policy, node in level.items():
        for expected in node.expected:
            parents.setdefault(expected, []).append(policy)
    return parents


def _roots(policy: str, above: list[str], level: PolicyLevel) -> frozenset[str]:
    """A node under anyPolicy is its own root – except anyPolicy itself, which stands for what is not named yet."""
    if above == [ANY_POLICY]:
        return frozenset() if policy == ANY_POLICY else frozenset({policy})
    return frozenset[str]().union(*(level[parent].roots for parent in above))
