"""The compiled graph: for each issuing key every end state that no other dominates, shortest paths first (design §4).

Nothing is left out for its dates or status: a snapshot must judge past dates, and CRLs age while it is in force.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.names import Normalised
from ca_bridge.errors import CrosshallError
from ca_bridge.path.budget import Budget, Limits
from ca_bridge.path.state import Anchor, Inputs, State, initial_state
from ca_bridge.path.validate import Sm2Id, advance, verify_signature

STATES_PER_KEY = 8
"""How many end states one issuing key keeps, so that a domain with many cross-certificates crowds nobody else out."""
_LIMITS = Limits(intermediates=16, comparisons=1_000_000)


@dataclass(frozen=True, slots=True)
class Graph:
    """End states by issuer name; within a name by key, then shortest first."""

    states: Mapping[Normalised, tuple[State, ...]]
    signatures: int
    """How many were checked while compiling."""
    problems: tuple[str, ...]
    """Why certificates of the bundle lead nowhere, for operators."""


def compile_graph(
    anchors: Iterable[Certificate], certificates: Iterable[Certificate], inputs: Inputs, sm2_id: Sm2Id
) -> Graph:
    """Fold every path from the anchors once. Bad certificates are left out and named in `problems`, never raised."""
    compiler = _Compiler(certificates, sm2_id)
    for certificate in anchors:
        compiler.add(initial_state(Anchor.of(certificate), inputs))
    compiler.run()
    states: dict[Normalised, list[State]] = {}
    for (name, _), kept in compiler.kept.items():
        states.setdefault(name, []).extend(kept)
    return Graph({k: tuple(v) for k, v in states.items()}, len(compiler.edges), tuple(sorted(compiler.problems)))


class _Compiler:
    def __init__(self, certificates: Iterable[Certificate], sm2_id: Sm2Id) -> None:
        self.kept: dict[tuple[Normalised, str], list[State]] = {}
        self.edges: dict[tuple[str, str], CrosshallError | None] = {}
        self.problems: set[str] = set()
        self._sm2_id = sm2_id
        self._queue: deque[State] = deque()
        self._by_issuer: dict[Normalised, list[Certificate]] = {}
        for certificate in {c.sha256: c for c in certificates}.values():
            self._by_issuer.setdefault(certificate.issuer.normalised, []).append(certificate)

    def add(self, state: State) -> None:
        """Keep and follow a state unless a kept one dominates it or the key has its share."""
        kept = self.kept.setdefault((state.issuer.normalised, state.spki_sha256), [])
        if len(kept) < STATES_PER_KEY and not any(other.dominates(state) for other in kept):
            kept.append(state)
            self._queue.append(state)

    def run(self) -> None:
        """Breadth first, so that shorter paths are kept before longer ones."""
        while self._queue:
            state = self._queue.popleft()
            if len(state.path) >= _LIMITS.intermediates:
                continue
            for certificate in self._by_issuer.get(state.issuer.normalised, ()):
                if not _loops(state, certificate):
                    self._step(state, certificate)

    def _step(self, state: State, certificate: Certificate) -> None:
        edge = (certificate.sha256, state.spki_sha256)
        if edge not in self.edges:
            self.edges[edge] = self._edge(state, certificate)
        try:
            fault = self.edges[edge]
            if fault is not None:
                raise fault
            self.add(advance(state, certificate, Budget(_LIMITS)))
        except CrosshallError as error:
            self.problems.add(f"{certificate.sha256[:16]} under {state.spki_sha256[:16]}: {error.code}")

    def _edge(self, state: State, certificate: Certificate) -> CrosshallError | None:
        try:
            verify_signature(certificate, state.spki, self._sm2_id(state.spki_sha256))
        except CrosshallError as error:
            return error
        return None


def _loops(state: State, certificate: Certificate) -> bool:
    """RFC 4158 §2.4.1: a subject and key that the path has already been through."""
    name, key = certificate.subject.normalised, certificate.spki_sha256
    if key == state.anchor.spki_sha256 and name == state.anchor.name.normalised:
        return True
    return any(c.spki_sha256 == key and c.subject.normalised == name for c in state.path)
