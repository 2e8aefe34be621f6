"""What a bundle is compiled into: the graph, the trust lists' states, the book of statuses, denials and levels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.names import Normalised
from ca_bridge.errors import CrosshallError, PathError
from ca_bridge.path.budget import Budget
from ca_bridge.path.state import Anchor, Inputs, State, initial_state
from ca_bridge.path.validate import DEFAULT_SM2_ID, Sm2Id, advance, verify_signature
from ca_bridge.revocation.overlay import Overlay
from ca_bridge.trust.bundle import Bundle
from ca_bridge.trust.lists import ListEntry
from ca_bridge.trust.profile import Profile
from ca_bridge.trust.rules import Denial, Levels
from ca_bridge.verdict.candidates import Candidate, Denied, build
from ca_bridge.verdict.crl_issuers import listed_keys, only_crl_issuer
from ca_bridge.verdict.graph import Graph, compile_graph
from ca_bridge.verdict.status import StatusBook


@dataclass(frozen=True, slots=True)
class ListState:
    """A list entry whose root really signed its signing CA, and the state that leaves are held against."""

    entry: ListEntry
    state: State


@dataclass(frozen=True, slots=True)
class Compiled:
    """All that judging needs; nothing in it changes."""

    graph: Graph
    lists: Mapping[Normalised, tuple[ListState, ...]]
    by_key: Mapping[str, Profile]
    book: StatusBook
    denials: tuple[Denial, ...]
    levels: Levels
    sm2_id: Sm2Id
    parents: Mapping[str, State]
    """Key → a state that holds it: who issued what in a path."""
    candidates: Mapping[Normalised, tuple[Candidate, ...]]
    """Every path that waits for a leaf, by issuer's name."""
    denied: Denied
    problems: tuple[str, ...]

    def issuers(self, state: State) -> Iterator[tuple[Certificate, State]]:
        """The CA certificates of a state's path, nearest the leaf first, each with a state of its issuer's key."""
        path = state.path
        for index in range(len(path) - 1, -1, -1):
            key = path[index - 1].spki_sha256 if index else state.anchor.spki_sha256
            yield path[index], self.parents[key]


def compile_all(bundle: Bundle, previous: Compiled | None = None) -> Compiled:
    """The compiled form of a bundle; what leads nowhere is named in `problems`, never raised.

    `previous`: what has not changed since is taken from it; the result is the same as without.
    """
    by_key = {key: profile for profile in bundle.profiles.values() for key in profile.keys}

    def sm2_id(key: str) -> str:
        return by_key[key].sm2_id if key in by_key else DEFAULT_SM2_ID

    policy = bundle.policy
    inputs = Inputs(
        initial_policies=None if policy.initial_policies is None else frozenset(policy.initial_policies),
        require_policy=policy.require_policy,
        inhibit_mapping=policy.inhibit_mapping,
        inhibit_any_policy=policy.inhibit_any_policy,
        max_intermediates=policy.max_intermediates,
    )
    before = None if previous is None else previous.graph
    graph = compile_graph(bundle.anchors, _authorities(bundle), inputs, sm2_id, before)
    lists, faults = _list_states(bundle, sm2_id)
    every = [*(s for states in graph.states.values() for s in states), *(e.state for es in lists.values() for e in es)]
    parents: dict[str, State] = {}
    for state in every:
        parents.setdefault(state.spki_sha256, state)
    for roots in lists.values():
        for listed in roots:
            anchor = initial_state(Anchor.of(listed.entry.root), Inputs())
            parents.setdefault(anchor.spki_sha256, anchor)
    denied = Denied.of(bundle.denials)
    entries_known = [(each.entry, each.state) for entries in lists.values() for each in entries]
    return Compiled(
        graph=graph,
        lists=lists,
        by_key=by_key,
        book=StatusBook(
            bundle.crls,
            by_key,
            sm2_id,
            _by_key(graph, lists),
            certificates=bundle.certificates,
            problems=bundle.problems,
        ),
        denials=bundle.denials,
        levels=bundle.levels,
        sm2_id=sm2_id,
        parents=parents,
        candidates=build(
            (s for states in graph.states.values() for s in states),
            entries_known,
            by_key,
            parents,
            denied=denied,
            before={} if previous is None else _kept(previous, denied, by_key),
        ),
        denied=denied,
        problems=(*bundle.problems, *graph.problems, *faults),
    )


def _kept(
    previous: Compiled, denied: Denied, by_key: Mapping[str, Profile]
) -> Mapping[Normalised, tuple[Candidate, ...]]:
    """The candidates that may be taken over: none when another denial, or another CA's domain, may deny them now."""
    known = previous.by_key
    if previous.denied != denied:
        return {}
    if not denied.nothing and (len(known) != len(by_key) or any(known.get(k) is not p for k, p in by_key.items())):
        return {}
    return previous.candidates


def with_status(compiled: Compiled, bundle: Bundle, overlay: Overlay) -> Compiled:
    """The same graph with the overlay's status data beside the bundle's; newer CRLs of a scope win, revoked wins."""
    states = _by_key(compiled.graph, compiled.lists)
    crls = [*bundle.crls, *overlay.crls.values()]
    book = StatusBook(
        crls,
        compiled.by_key,
        compiled.sm2_id,
        states,
        overlay.responses.values(),
        certificates=bundle.certificates,
        problems=(*bundle.problems, *overlay.problems),
    )
    return replace(compiled, book=book, problems=(*compiled.problems, *overlay.problems))


def _authorities(bundle: Bundle) -> list[Certificate]:
    """What paths are made of: not the certificates that are there to sign CRLs only."""
    listed = listed_keys(bundle.profiles.values())
    return [certificate for certificate in bundle.certificates if not only_crl_issuer(certificate, listed)]


def _by_key(graph: Graph, lists: Mapping[Normalised, tuple[ListState, ...]]) -> Mapping[str, list[State]]:
    """Every state by the key that it ends in."""
    found: dict[str, list[State]] = {}
    for state in chain(chain(*graph.states.values()), (each.state for entries in lists.values() for each in entries)):
        found.setdefault(state.spki_sha256, []).append(state)
    return found


def _list_states(bundle: Bundle, sm2_id: Sm2Id) -> tuple[Mapping[Normalised, tuple[ListState, ...]], list[str]]:
    found: dict[Normalised, list[ListState]] = {}
    faults: list[str] = []
    for entry in bundle.lists:
        try:
            if entry.signing.issuer.normalised != entry.root.subject.normalised:
                raise PathError("path.name_chaining", "the entry's root is not the issuer of its signing CA")
            verify_signature(entry.signing, entry.root.spki, sm2_id(entry.root.spki_sha256))
            state = advance(initial_state(Anchor.of(entry.root), Inputs()), entry.signing, Budget())
        except CrosshallError as error:
            faults.append(f"list entry of {entry.ca}: {error.code}")
            continue
        found.setdefault(entry.signing.subject.normalised, []).append(ListState(entry, state))
    return {name: tuple(states) for name, states in found.items()}, faults
