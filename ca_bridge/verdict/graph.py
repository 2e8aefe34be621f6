"""The compiled graph: for each issuing key every end state that no other dominates, shortest paths first (design §4).

Nothing is left out for its dates or status: a snapshot must judge past dates, and CRLs age while it is in force.

A *place* is a name with a key: an anchor, or the subject of a certificate. Places are filled level by level, a level
being the number of certificates in a path:

    states of a place at level n ◀── its certificates × the states, at level n - 1, of places of the issuer's name

in the order of the paths that lead there. A place's level so depends on nothing but its certificates, its own lower
levels and the level before of the places above it. That is why a change recompiles only what it reaches: a level is
done anew where one of these three differs from the graph before, and taken over everywhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.names import Normalised
from ca_bridge.errors import CrosshallError
from ca_bridge.path.budget import Budget, Limits
from ca_bridge.path.state import Anchor, Inputs, State, initial_state
from ca_bridge.path.validate import Sm2Id, advance, verify_signature

STATES_PER_KEY = 8
"""How many end states one issuing key keeps, so that a domain with many cross-certificates crowds nobody else out."""
_LIMITS = Limits(intermediates=16, comparisons=1_000_000)
Place = tuple[Normalised, str]
Edges = Mapping[tuple[str, str, str], "CrosshallError | None"]
"""(certificate, issuing key, SM2 ID) → why its signature is not good; None: it is."""


@dataclass(frozen=True, slots=True)
class Level:
    """The states of one place at one length of path, and why certificates led to none."""

    kept: tuple[State, ...]
    problems: frozenset[str]


_NOTHING = Level((), frozenset())
Levels = dict[int, Level]


@dataclass(frozen=True, slots=True)
class Graph:
    """End states by issuer name; within a name by key, then shortest first."""

    states: Mapping[Normalised, tuple[State, ...]]
    signatures: int
    """How many were checked while compiling."""
    folded: int
    """How many steps of the fold were taken while compiling."""
    problems: tuple[str, ...]
    """Why certificates of the bundle lead nowhere, for operators."""
    basis: tuple[tuple[str, ...], Inputs] = field(repr=False)
    """Anchors and inputs that every state rests on."""
    certificates: tuple[str, ...] = field(repr=False)
    into: Mapping[Place, list[Certificate]] = field(repr=False)
    places: Mapping[Place, Levels] = field(repr=False)
    edges: Edges = field(repr=False)


def compile_graph(
    anchors: Iterable[Certificate],
    certificates: Iterable[Certificate],
    inputs: Inputs,
    sm2_id: Sm2Id,
    previous: Graph | None = None,
) -> Graph:
    """Fold every path from the anchors once. Bad certificates are left out and named in `problems`, never raised.

    `previous`: what has not changed since is taken from it; the result is the same as without.
    """
    return _Compiler(tuple(anchors), certificates, inputs, sm2_id, previous).run()


class _Compiler:
    def __init__(
        self,
        anchors: Sequence[Certificate],
        certificates: Iterable[Certificate],
        inputs: Inputs,
        sm2_id: Sm2Id,
        previous: Graph | None,
    ) -> None:
        unique = {c.sha256: c for c in certificates}
        self._sm2_id = sm2_id
        self._basis = (tuple(c.sha256 for c in anchors), inputs)
        self._index = {sha256: position for position, sha256 in enumerate(unique)}
        self._anchor_index = {c.sha256: position for position, c in reversed(list(enumerate(anchors)))}
        self._into: dict[Place, list[Certificate]] = {}
        self._below: dict[Normalised, dict[Place, None]] = {}
        for certificate in unique.values():
            place = (certificate.subject.normalised, certificate.spki_sha256)
            self._into.setdefault(place, []).append(certificate)
            self._below.setdefault(certificate.issuer.normalised, {})[place] = None
        self._known: Edges = previous.edges if previous is not None else {}
        self._edges: dict[tuple[str, str, str], CrosshallError | None] = {}
        self._old = previous if previous is not None and self._comparable(previous) else None
        self._places: dict[Place, Levels] = {}
        self._ranks: dict[int, tuple[int, ...]] = {}
        self._signatures = 0
        self._folded = 0
        for anchor in anchors:
            self._begin(initial_state(Anchor.of(anchor), inputs))
        self._named: dict[Normalised, list[Place]] = {}
        for place in {**self._places, **self._into}:
            self._named.setdefault(place[0], []).append(place)

    def _comparable(self, previous: Graph) -> bool:
        """Whether places of the graph before can be taken over: one basis, and what both have in one order."""
        if previous.basis != self._basis:
            return False
        if any(self._sm2_id(key) != sm2_id for key, sm2_id in {(key, sm2_id) for _, key, sm2_id in previous.edges}):
            return False
        before = set(previous.certificates)
        common = [sha256 for sha256 in self._index if sha256 in before]
        return common == [sha256 for sha256 in previous.certificates if sha256 in self._index]

    def _begin(self, state: State) -> None:
        place = (state.issuer.normalised, state.spki_sha256)
        kept = self._places.get(place, {}).get(0, _NOTHING).kept
        if len(kept) < STATES_PER_KEY and not any(other.dominates(state) for other in kept):
            self._places[place] = {0: Level((*kept, state), frozenset())}

    def run(self) -> Graph:
        """Fill all places, level by level."""
        old = self._old.places if self._old is not None else {}
        changed = set() if old else set(self._places)
        again: set[Place] = set()
        """Places to be done at every level from here on."""
        gone = [place for place in old if place not in self._into and place not in self._places]
        if self._old is not None:
            again = {place for place, own in self._into.items() if _hashes(own) != _hashes(self._old.into.get(place))}
            again |= {place for place in self._places if place in self._old.into and place not in self._into}
            for place in self._named_places():
                if place in old:
                    self._places[place] = dict(old[place])
        for level in range(1, _LIMITS.intermediates + 1):
            changed |= {place for place in gone if level - 1 in old[place]}
            dirty = {below: None for name in {place[0] for place in changed} for below in self._below.get(name, ())}
            if not dirty and not again and not gone:
                break
            changed = {place for place in {**dirty, **dict.fromkeys(again)} if self._fill(place, level)}
            if self._old is not None:
                again |= changed
        return self._graph()

    def _named_places(self) -> list[Place]:
        return [place for places in self._named.values() for place in places]

    def _fill(self, place: Place, level: int) -> bool:
        """Do one level of a place; whether its states differ from those of the graph before."""
        levels = self._places.setdefault(place, {})
        before = levels.get(level, _NOTHING)
        standing = [state for number in range(level) for state in levels.get(number, _NOTHING).kept]
        known = {_path(state): state for state in before.kept}
        kept: list[State] = []
        problems: set[str] = set()
        for state, certificate in self._arriving(place, level):
            try:
                reached = self._step(state, certificate, known)
            except CrosshallError as error:
                problems.add(f"{certificate.sha256[:16]} under {state.spki_sha256[:16]}: {error.code}")
                continue
            room = len(standing) + len(kept) < STATES_PER_KEY
            if room and not any(other.dominates(reached) for other in (*standing, *kept)):
                kept.append(reached)
                self._ranks[id(reached)] = (*self._rank(state), self._index[certificate.sha256])
        levels[level] = Level(tuple(kept), frozenset(problems))
        if not kept and not problems:
            del levels[level]
        return len(kept) != len(before.kept) or any(a is not b for a, b in zip(kept, before.kept, strict=True))

    def _arriving(self, place: Place, level: int) -> list[tuple[State, Certificate]]:
        """What leads to a place at a level, in the order of the paths."""
        found: list[tuple[tuple[int, ...], int, State, Certificate]] = []
        for certificate in self._into.get(place, ()):
            position = self._index[certificate.sha256]
            for above in self._named.get(certificate.issuer.normalised, ()):
                states = self._places.get(above, {}).get(level - 1, _NOTHING).kept
                found += [(self._rank(s), position, s, certificate) for s in states if not _loops(s, certificate)]
        found.sort(key=lambda each: each[:2])
        return [(state, certificate) for _, _, state, certificate in found]

    def _step(self, state: State, certificate: Certificate, known: Mapping[tuple[str, ...], State]) -> State:
        """The state after a certificate. Raises CrosshallError."""
        fault = self._edge(state, certificate)
        if fault is not None:
            raise fault
        reached = known.get((*_path(state), certificate.sha256))
        if reached is None:
            self._folded += 1
            reached = advance(state, certificate, Budget(_LIMITS))
        return reached

    def _edge(self, state: State, certificate: Certificate) -> CrosshallError | None:
        sm2_id = self._sm2_id(state.spki_sha256)
        edge = (certificate.sha256, state.spki_sha256, sm2_id)
        if edge not in self._edges:
            if edge in self._known:
                self._edges[edge] = self._known[edge]
            else:
                self._signatures += 1
                self._edges[edge] = _fault(certificate, state.spki, sm2_id)
        return self._edges[edge]

    def _rank(self, state: State) -> tuple[int, ...]:
        """Where a state's path stands among those of its length: by the bundle's order of anchor and certificates."""
        rank = self._ranks.get(id(state))
        if rank is None:
            anchor = state.anchor.certificate
            first = -1 if anchor is None else self._anchor_index[anchor.sha256]
            rank = self._ranks[id(state)] = (first, *(self._index[c.sha256] for c in state.path))
        return rank

    def _graph(self) -> Graph:
        filled = [
            [state for _, level in sorted(levels.items()) for state in level.kept] for levels in self._places.values()
        ]
        states: dict[Normalised, list[State]] = {}
        for kept in sorted(filter(None, filled), key=lambda kept: (len(kept[0].path), self._rank(kept[0]))):
            states.setdefault(kept[0].issuer.normalised, []).extend(kept)
        problems = {why for levels in self._places.values() for level in levels.values() for why in level.problems}
        kept_edges = {edge: fault for edge, fault in self._known.items() if edge[0] in self._index}
        return Graph(
            states={name: tuple(found) for name, found in states.items()},
            signatures=self._signatures,
            folded=self._folded,
            problems=tuple(sorted(problems)),
            basis=self._basis,
            certificates=tuple(self._index),
            into=self._into,
            places=self._places,
            edges={**kept_edges, **self._edges},
        )


def _fault(certificate: Certificate, spki: bytes, sm2_id: str) -> CrosshallError | None:
    try:
        verify_signature(certificate, spki, sm2_id)
    except CrosshallError as error:
        return error
    return None


def _path(state: State) -> tuple[str, ...]:
    """The anchor and the certificates that led to a state: with the inputs all that it depends on."""
    anchor = state.anchor.certificate
    return ("" if anchor is None else anchor.sha256, *(c.sha256 for c in state.path))


def _hashes(certificates: Iterable[Certificate] | None) -> list[str]:
    return [certificate.sha256 for certificate in certificates or ()]


def _loops(state: State, certificate: Certificate) -> bool:
    """RFC 4158 §2.4.1: a subject and key that the path has already been through."""
    name, key = certificate.subject.normalised, certificate.spki_sha256
    if key == state.anchor.spki_sha256 and name == state.anchor.name.normalised:
        return True
    return any(c.spki_sha256 == key and c.subject.normalised == name for c in state.path)
