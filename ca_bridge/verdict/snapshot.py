"""`Snapshot`: one bundle, compiled; immutable, named by its hash in every verdict.

snapshot = SnapshotSource(folder, clock).current()
verdict = snapshot.judge(leaf_der, at)
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from ca_bridge.asn1.certificate import Certificate, parse_certificate
from ca_bridge.asn1.ocsp import parse_ocsp
from ca_bridge.errors import CrosshallError, PathError, RevocationError
from ca_bridge.revocation.overlay import EMPTY, read_overlay
from ca_bridge.trust.bundle import MANIFEST, Bundle, read_bundle
from ca_bridge.trust.profile import Profile
from ca_bridge.trust.rules import certificate_key
from ca_bridge.types import Clock, Refusal, Verdict
from ca_bridge.verdict.compiled import Compiled, compile_all, with_status
from ca_bridge.verdict.judge import Judged, Stage, judge_leaf, refused

LOOK_EVERY = timedelta(seconds=1)
_log = logging.getLogger(__name__)
_UNKNOWN = Refusal("path.unknown_issuer", "no CA of the issuer's name is in the bundle", "RFC 5280 §6.1.3 (a)(4)")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A compiled bundle. Judging changes nothing and does no I/O."""

    bundle: Bundle
    compiled: Compiled
    overlay: str = ""
    """SHA-256 of the list of status data beside the bundle; empty when there is none."""
    answers: tuple[bytes, ...] = ()
    """OCSP answers (DER) about the one leaf that is judged; no part of the hash, kept with the verdict's record."""

    @property
    def hash(self) -> str:
        """SHA-256 of the bundle's manifest, or of that and the overlay's; hexadecimal."""
        if not self.overlay:
            return self.bundle.hash
        return _both(self.bundle.hash, self.overlay)

    @property
    def problems(self) -> tuple[str, ...]:
        """What of the bundle could not be used, for operators."""
        return self.compiled.problems

    def profile(self, ca_id: str) -> Profile:
        """The profile of a CA by its id. Raises PathError `trust.no_profile`."""
        try:
            return self.bundle.profiles[ca_id]
        except KeyError as error:
            raise PathError("trust.no_profile", f"no profile {ca_id}") from error

    def beside(self, answers: Iterable[bytes]) -> Snapshot:
        """This snapshot with OCSP answers about the leaf that is judged next; one that cannot be read says nothing."""
        given = tuple(answers)
        responses = []
        for data in given:
            with contextlib.suppress(CrosshallError):
                responses.append(parse_ocsp(data))
        compiled = replace(self.compiled, book=self.compiled.book.beside(responses))
        return replace(self, compiled=compiled, answers=given)

    def judge(self, leaf_der: bytes, at: datetime) -> Verdict:
        """Whether this certificate may sign in at `at` (aware); never raises for a bad certificate."""
        try:
            leaf = parse_certificate(leaf_der)
        except CrosshallError as error:
            return self._refusal(refused(error), at)
        return self.judge_certificate(leaf, at)

    def judge_certificate(self, leaf: Certificate, at: datetime) -> Verdict:
        """As `judge`, for a certificate that `parse_certificate` has read already."""
        try:
            found = judge_leaf(self.compiled, leaf, at)
        except CrosshallError as error:
            return self._refusal(refused(error), at)
        if not found:
            return self._refusal(_UNKNOWN, at)
        best = found[0]
        refusals = tuple(judged.refusal for judged in found if judged.refusal is not None)
        if best.stage is not Stage.ACCEPTED:
            return self._refused(best, refusals, leaf, at)
        return self._accepted(best, refusals, leaf, at)

    def _refusal(self, refusal: Refusal, at: datetime) -> Verdict:
        return Verdict(
            accepted=False,
            code=refusal.code,
            detail=refusal.detail,
            clause=refusal.clause,
            at=at,
            snapshot=self.hash,
            refusals=(refusal,),
        )

    def _refused(self, best: Judged, refusals: tuple[Refusal, ...], leaf: Certificate, at: datetime) -> Verdict:
        assert best.refusal is not None
        # Before the signature is proved the certificate has no issuer, whatever name it bears.
        issuer = best.candidate.state.spki_sha256 if best.stage > Stage.SIGNATURE else None
        profile = self.compiled.by_key.get(issuer) if issuer is not None else None
        return Verdict(
            accepted=False,
            code=best.refusal.code,
            detail=best.refusal.detail,
            clause=best.refusal.clause,
            at=at,
            snapshot=self.hash,
            engine=best.candidate.engine,
            path=(leaf.sha256, *best.candidate.above_sha256),
            refusals=refusals,
            domain="" if profile is None else profile.domain,
            ca="" if profile is None else profile.id,
            accreditation="" if profile is None else profile.accreditation,
            certificate_key="" if issuer is None else certificate_key(issuer, leaf.serial),
        )

    def _accepted(self, best: Judged, refusals: tuple[Refusal, ...], leaf: Certificate, at: datetime) -> Verdict:
        candidate = best.candidate
        profile = candidate.profile
        assert profile is not None
        assert best.type is not None
        return Verdict(
            accepted=True,
            code="ok",
            detail="",
            clause="",
            at=at,
            snapshot=self.hash,
            engine=candidate.engine,
            path=(leaf.sha256, *candidate.above_sha256),
            policies=best.policies,
            refusals=refusals,
            domain=profile.domain,
            ca=profile.id,
            accreditation=profile.accreditation,
            certificate_type=best.type.id,
            level=best.level,
            certificate_key=certificate_key(candidate.state.spki_sha256, leaf.serial),
            status_issued_at=best.status_issued_at,
            oldest_data=best.oldest_data,
        )


@functools.lru_cache(maxsize=16)
def _both(bundle: str, overlay: str) -> str:
    return hashlib.sha256(f"{bundle} {overlay}".encode()).hexdigest()


def compile_bundle(bundle: Bundle, previous: Snapshot | None = None) -> Snapshot:
    """The snapshot of a bundle: every edge's signature checked, every path folded, once.

    `previous`: a snapshot of another bundle; what did not change since is taken over. The verdicts are the same.
    """
    return Snapshot(bundle, compile_all(bundle, None if previous is None else previous.compiled))


class SnapshotSource:
    """The snapshot in force: swapped atomically for a newer good bundle, kept when the folder holds a bad one."""

    def __init__(self, folder: Path, clock: Clock, status: Path | None = None) -> None:
        """`status`: where the fetcher lays newer status data (`revocation.overlay`); None: only the bundle's counts."""
        self._folder = folder
        self._clock = clock
        self._status = status
        self._overlay = EMPTY
        self._lock = threading.Lock()
        self._base: Snapshot | None = None
        self._current: Snapshot | None = None
        self._looked: datetime | None = None
        self.problem = ""
        """Why the bundle in the folder is not the one in force; empty when it is."""
        self.status_problem = ""
        """Why the status data beside the bundle is not the newest; empty when it is."""

    def current(self) -> Snapshot:
        """The snapshot in force; one request asks once and keeps it. Raises PathError `trust.*` when there is none."""
        now = self._clock()
        if self._looked is None or abs(now - self._looked) >= LOOK_EVERY:
            with self._lock:
                if self._looked is None or abs(now - self._looked) >= LOOK_EVERY:
                    self._look()
                    self._lay_over()
                    self._looked = now
        if self._current is None:
            raise PathError("trust.bundle", self.problem or "no bundle")
        return self._current

    def _look(self) -> None:
        try:
            manifest = hashlib.sha256((self._folder / MANIFEST).read_bytes()).hexdigest()
        except OSError as error:
            self._keep(f"{MANIFEST}: {error.strerror}")
            return
        if self._base is not None and manifest == self._base.hash:
            self.problem = ""
            return
        try:
            bundle = read_bundle(self._folder, None if self._base is None else self._base.bundle)
            if self._base is not None and bundle.version < self._base.bundle.version:
                raise PathError("trust.bundle", "the version fell")
            self._base = compile_bundle(bundle, self._base)
        except CrosshallError as error:
            self._keep(str(error))
            return
        except Exception as error:
            self._keep(f"run.fault: {type(error).__name__}")
            return
        self.problem = ""
        _log.info("bundle in force", extra={"snapshot": bundle.hash, "problems": list(self._base.problems)})

    def _lay_over(self) -> None:
        """Make the bundle with the status data beside it the snapshot in force."""
        if self._base is None:
            return
        if self._status is not None:
            try:
                self._overlay = read_overlay(self._status, self._overlay)
                self.status_problem = ""
            except RevocationError as error:
                if self.status_problem != error.detail:
                    _log.error("revocation.overlay: status data is refused, the one in force stays")
                self.status_problem = error.detail
        current, overlay = self._current, self._overlay
        if current is None or current.bundle is not self._base.bundle or current.overlay != overlay.hash:
            compiled = self._base.compiled
            if overlay.hash:
                compiled = with_status(compiled, self._base.bundle, overlay)
            self._current = replace(self._base, compiled=compiled, overlay=overlay.hash)

    def _keep(self, problem: str) -> None:
        if problem != self.problem:
            _log.error("trust.bundle: the bundle is refused, the snapshot in force stays", extra={"problem": problem})
        self.problem = problem
