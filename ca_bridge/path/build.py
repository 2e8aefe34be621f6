"""Path building for certificates that a caller supplies (RFC 4158), under counted budgets: the slow path of design §4.

Best first, from the leaf upwards: what has the fewest certificates to an anchor by names alone comes first, and key
identifiers break ties as the hints they are. An edge costs one signature and is checked before what lies above it, so
certificates that only bear a name cost one signature each and lead nowhere.

    leaf ─▶ issuers by name ─▶ cheap checks ─▶ signature ─▶ … ─▶ anchor ─▶ the fold, then the caller's checks
"""

from __future__ import annotations

import functools
import hashlib
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ca_bridge.asn1 import der
from ca_bridge.asn1.certificate import Certificate
from ca_bridge.asn1.extensions import KeyUsage
from ca_bridge.asn1.names import Normalised
from ca_bridge.errors import CrosshallError, PathError
from ca_bridge.path.budget import Budget, Limits
from ca_bridge.path.state import Anchor, Inputs, State
from ca_bridge.path.validate import (
    Outcome,
    Sm2Id,
    advance,
    anchored_state,
    check_time,
    check_times,
    finish,
    refusal,
    verify_signature,
)
from ca_bridge.types import Refusal


@dataclass(frozen=True, slots=True)
class Found:
    """A path that passed everything: outcome, anchor, and the state that the leaf was held against."""

    outcome: Outcome
    anchor: Anchor
    state: State


Check = Callable[[Found], None]
"""A caller's further check of a complete path (purpose, status); raises CrosshallError."""


@dataclass(frozen=True, slots=True)
class Request:
    """One search: what to validate, with what, at which time (aware)."""

    leaf: Certificate
    anchors: Sequence[Anchor]
    pool: Pool
    at: datetime
    inputs: Inputs
    sm2_id: Sm2Id
    bind_anchor: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What a search came to: a path, or the refusals, the most telling first."""

    found: Found | None
    refusals: tuple[Refusal, ...]


class Pool:
    """Certificates that paths may be made of, by subject; signatures once checked are remembered."""

    def __init__(self, certificates: Iterable[Certificate]) -> None:
        self.by_subject: dict[Normalised, list[Certificate]] = {}
        self.edges: dict[tuple[str, str, str], CrosshallError | None] = {}
        for certificate in {c.sha256: c for c in certificates}.values():
            self.by_subject.setdefault(certificate.subject.normalised, []).append(certificate)

    def distances(self, anchors: Iterable[Anchor]) -> dict[Normalised, int]:
        """How many CA certificates at least lie between an anchor and each name, by names alone."""
        below: dict[Normalised, set[Normalised]] = {}
        for subject, certificates in self.by_subject.items():
            for certificate in certificates:
                below.setdefault(certificate.issuer.normalised, set()).add(subject)
        distance = {anchor.name.normalised: 0 for anchor in anchors}
        queue = deque(distance)
        while queue:
            name = queue.popleft()
            for subject in below.get(name, ()):
                if subject not in distance:
                    distance[subject] = distance[name] + 1
                    queue.append(subject)
        return distance


def limits_for(inputs: Inputs) -> Limits:
    """The default limits, made deep enough for the path length that a caller asks for."""
    limits = Limits()
    if inputs.max_intermediates is None:
        return limits
    # Self-issued certificates are not counted by the caller's number, so there is room for some of them.
    return replace(limits, intermediates=max(limits.intermediates, inputs.max_intermediates + 4))


def search(request: Request, budget: Budget, check: Check | None = None) -> Result:
    """The shortest path that passes everything, or why there is none. Never raises for bad certificates."""
    return _Search(request, budget, check).run()


_Item = tuple[int, int, int, int, tuple[Certificate, ...], "Certificate | Anchor"]


class _Search:
    def __init__(self, request: Request, budget: Budget, check: Check | None) -> None:
        self._request = request
        self._budget = budget
        self._check = check
        self._heap: list[_Item] = []
        self._order = itertools.count()
        self._distance = request.pool.distances(request.anchors)
        self._anchor_keys = {(a.name.normalised, a.spki_sha256) for a in request.anchors}
        self._refusals: list[tuple[int, Refusal]] = []

    def run(self) -> Result:
        """Search until a path passes, nothing is left, or a budget is spent."""
        try:
            self._push((self._request.leaf,))
            while self._heap:
                *_, path, above = heapq.heappop(self._heap)
                self._budget.spend("expansions")
                found = self._try(path, above)
                if found is not None:
                    return Result(found, self._reasons())
        except PathError as error:
            self._note(9, error, 0)
        if not self._refusals:
            unknown = refusal("path.unknown_issuer", "no issuer leads to an anchor", "RFC 5280 §6.1.3 (a)(4)")
            self._note(0, unknown, 0)
        return Result(None, self._reasons())

    def _try(self, path: tuple[Certificate, ...], above: Certificate | Anchor) -> Found | None:
        top, depth = path[-1], len(path) - 1
        try:
            self._edge(top, above)
        except PathError as error:
            if error.code == "path.budget":
                raise
            self._note(1, error, depth)
            return None
        except CrosshallError as error:
            self._note(2, error, depth)
            return None
        if isinstance(above, Certificate):
            self._push((*path, above))
            return None
        self._budget.spend("candidates")
        return self._complete(path, above)

    def _complete(self, path: tuple[Certificate, ...], anchor: Anchor) -> Found | None:
        request = self._request
        depth = len(path) - 1
        try:
            self._budget.renew("comparisons")
            state = anchored_state(anchor, request.inputs, request.at, bind=request.bind_anchor)
            while depth:
                state = advance(state, path[depth], self._budget)
                depth -= 1
            outcome = finish(state, path[0], self._budget)
            check_times(outcome.path, request.at)
            found = Found(outcome, anchor, state)
            if self._check is not None:
                self._check(found)
        except CrosshallError as error:
            self._note(5, error, depth)
            return None
        return found

    def _push(self, path: tuple[Certificate, ...]) -> None:
        """Put every possible issuer of the path's top on the heap."""
        top = path[-1]
        name = top.issuer.normalised
        if name not in self._distance:
            return
        for anchor in self._request.anchors:
            if anchor.name.normalised == name:
                self._put(len(path), _hint(top, anchor), path, anchor)
        if len(path) > self._budget.limits.intermediates:
            limit = self._budget.limits.intermediates
            deep = PathError("path.budget", f"more than {limit} intermediates", clause="ours: counted work")
            self._note(3, deep, len(path) - 1)
            return
        for certificate in self._request.pool.by_subject.get(name, ()):
            if self._usable(path, certificate):
                rest = self._distance.get(certificate.issuer.normalised)
                if rest is not None:
                    self._put(len(path) + 1 + rest, _hint(top, certificate), path, certificate)

    def _put(self, length: int, hint: int, path: tuple[Certificate, ...], above: Certificate | Anchor) -> None:
        # Of equal lengths the longer proved part goes first: it cost signatures that a copied name never gets.
        heapq.heappush(self._heap, (length, -len(path), hint, next(self._order), path, above))

    def _usable(self, path: tuple[Certificate, ...], certificate: Certificate) -> bool:
        """Cheap checks before a signature is spent; loops by subject and key (RFC 4158 §2.4.1)."""
        key = (certificate.subject.normalised, certificate.spki_sha256)
        if key in self._anchor_keys and not self._request.bind_anchor:
            return False  # the anchor itself stands for it, and restricts less
        if any(key == (c.subject.normalised, c.spki_sha256) for c in path[1:]) or certificate in path:
            return False
        try:
            if not certificate.is_ca:
                raise refusal("path.not_a_ca", "basicConstraints does not say cA", "RFC 5280 §6.1.4 (k)")
            if certificate.key_usage is not None and KeyUsage.KEY_CERT_SIGN not in certificate.key_usage:
                raise refusal("path.key_usage", "keyUsage has no keyCertSign", "RFC 5280 §6.1.4 (n)")
            check_time(certificate, self._request.at, len(path))
        except PathError as error:
            self._note(3, error, len(path))
            return False
        return True

    def _edge(self, certificate: Certificate, above: Certificate | Anchor) -> None:
        sm2_id = self._request.sm2_id(above.spki_sha256)
        key = (certificate.sha256, above.spki_sha256, sm2_id)
        edges = self._request.pool.edges
        if key not in edges:
            self._budget.spend("signatures")
            try:
                verify_signature(certificate, above.spki, sm2_id)
                edges[key] = None
            except CrosshallError as error:
                edges[key] = error
        fault = edges[key]
        if fault is not None:
            raise fault

    def _note(self, weight: int, error: CrosshallError, depth: int) -> None:
        clause = str(error.facts.get("clause", ""))
        noted = Refusal(error.code, error.detail, clause, int(error.facts.get("depth", depth)))
        if len(self._refusals) < 200:
            self._refusals.append((weight, noted))

    def _reasons(self) -> tuple[Refusal, ...]:
        """The reasons, those of the paths that came furthest first."""
        ordered = sorted(self._refusals, key=lambda pair: -pair[0])
        return tuple(dict.fromkeys(noted for _, noted in ordered))


def _hint(certificate: Certificate, issuer: Certificate | Anchor) -> int:
    """How well an issuer fits by key identifiers, best first; a bad fit is tried last, not never (RFC 4158 §3.5.12).

    0: the identifier is the hash of the issuer's very key, which nobody can copy to another key; 1: the issuer's
    certificate bears it; 2: nothing is said; 3: it bears another.
    """
    authority = certificate.authority_key_identifier
    named = authority.key_identifier if authority is not None else None
    if named is None:
        return 2
    if len(named) == 20 and named in _key_hashes(issuer.spki):
        return 0
    holder = issuer if isinstance(issuer, Certificate) else issuer.certificate
    own = holder.subject_key_identifier if holder is not None else None
    if own is None:
        return 2
    return 1 if named == own else 3


@functools.lru_cache(maxsize=4096)
def _key_hashes(spki: bytes) -> tuple[bytes, bytes]:
    """Key identifiers by RFC 5280 §4.2.1.2 (1) and by RFC 7093 §2 (1)."""
    bits = der.content(spki, der.children(spki, limit=2)[1], der.BIT_STRING)[1:]
    return hashlib.sha1(bits, usedforsecurity=False).digest(), hashlib.sha256(bits).digest()[:20]
