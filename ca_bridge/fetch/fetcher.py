"""`Fetcher`: one round asks for what is due, and lays what passed its checks beside the bundle.

fetcher = Fetcher(bundle_folder, state / "status", Client(), utc_now)
report = fetcher.round()
"""

from __future__ import annotations

import hashlib
import logging
import random
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from ca_bridge.asn1.certificate import load_certificate
from ca_bridge.asn1.crl import Crl
from ca_bridge.asn1.ocsp import OcspResponse
from ca_bridge.errors import CrosshallError, RevocationError
from ca_bridge.fetch import memory
from ca_bridge.fetch.address import place
from ca_bridge.fetch.checks import Asked, check_crl, check_response, refused
from ca_bridge.fetch.http import Ask, Client
from ca_bridge.fetch.memory import Remembered
from ca_bridge.fetch.plan import LIMITS, Kind, Random, Target, next_time, plan
from ca_bridge.files import write_atomically
from ca_bridge.revocation.crl import CrlSet
from ca_bridge.revocation.ocsp import good_until
from ca_bridge.revocation.ocsp_request import NONCE_OCTETS, request
from ca_bridge.revocation.overlay import EMPTY, Overlay, read_overlay, salvage, write_overlay
from ca_bridge.trust.bundle import Bundle, read_bundle
from ca_bridge.types import Clock

PER_HOST_PER_MINUTE = 30
LONGEST_WAIT = 60.0
CANDIDATES = "candidates"
_MINUTE = timedelta(minutes=1)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """What one round did; `failed`: (CA, kind, host, code, detail) of each target that failed."""

    asked: int = 0
    fresh: int = 0
    unchanged: int = 0
    failed: tuple[tuple[str, str, str, str, str], ...] = ()
    next_at: datetime | None = None
    """When the next target is due; None: there is none."""


@dataclass(slots=True)
class _Round:
    """What a round works on."""

    now: datetime
    bundle: Bundle
    overlay: Overlay
    known: dict[str, Remembered]
    new: dict[str, bytes] = field(default_factory=dict)
    crls: dict[str, Crl] = field(default_factory=dict)
    responses: dict[str, OcspResponse] = field(default_factory=dict)


class Fetcher:
    """Keeps the overlay in `folder` fresh. One at a time works in a folder; not thread safe."""

    def __init__(
        self,
        bundle: Path,
        folder: Path,
        client: Client,
        clock: Clock,
        *,
        chance: Random = random.random,
        nonces: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._bundle_folder = bundle
        self._folder = folder
        self._client = client
        self._clock = clock
        self._chance = chance
        self._nonces = nonces
        self._overlay = EMPTY
        self._asked_at: dict[str, list[datetime]] = {}

    def run(self, stop: threading.Event) -> None:
        """Rounds until `stop`; a failed one is logged and repeated."""
        while not stop.is_set():
            wait = LONGEST_WAIT
            try:
                report = self.round()
                if report.next_at is not None:
                    wait = min(wait, (report.next_at - self._clock()).total_seconds())
            except CrosshallError as error:
                _log.error("fetcher", extra={"code": error.code, "detail": error.detail})
            stop.wait(max(wait, 1.0))

    def round(self, *, everything: bool = False) -> Report:
        """Ask for what is due, or for `everything`.

        Raises PathError for a bad bundle, RevocationError `revocation.overlay`; a target that fails is in the report.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self._folder / ".lock", timeout=0):
                return self._work(everything=everything)
        except Timeout as error:
            raise RevocationError("revocation.overlay", "another fetcher works in this folder") from error

    def _work(self, *, everything: bool) -> Report:
        state = _Round(self._clock(), read_bundle(self._bundle_folder), self._at_hand(), memory.load(self._folder))
        state.crls = {crl.sha256: crl for crl in state.overlay.crls.values()}
        state.responses = {Path(path).stem: found for path, found in state.overlay.responses.items()}
        targets = plan(state.bundle)
        report = Report()
        for target in targets:
            known = state.known.get(target.key)
            if not (everything or known is None or self._due(target, known)):
                continue
            if not self._may_ask(target):
                state.known[target.key] = self._later(target, known)
                continue
            report = self._one(target, known, state, replace(report, asked=report.asked + 1))
        self._keep(targets, state)
        times = [state.known[target.key].next_at for target in targets if target.key in state.known]
        return replace(report, next_at=min(times, default=None))

    def _due(self, target: Target, known: Remembered) -> bool:
        wait = known.next_at - self._clock()
        # Farther away than any interval: the clock was wrong when it was set.
        return wait <= timedelta(0) or wait > timedelta(seconds=target.authority.profile.status.refresh_seconds)

    def _at_hand(self) -> Overlay:
        try:
            self._overlay = read_overlay(self._folder, self._overlay)
        except RevocationError as error:
            _log.error("the overlay is broken: what is whole of it is kept", extra={"detail": error.detail})
            salvage(self._folder)
            self._overlay = read_overlay(self._folder)
        return self._overlay

    def _may_ask(self, target: Target) -> bool:
        """At most so many questions to a host in a minute."""
        now, host = self._clock(), place(target.address).host
        recent = [at for at in self._asked_at.get(host, []) if timedelta(0) <= now - at < _MINUTE]
        allowed = len(recent) < PER_HOST_PER_MINUTE
        self._asked_at[host] = [*recent, now] if allowed else recent
        return allowed

    def _later(self, target: Target, known: Remembered | None) -> Remembered:
        at = next_time(target, self._clock(), None, 1, self._chance)
        return Remembered(next_at=at) if known is None else known.model_copy(update={"next_at": at})

    def _one(self, target: Target, known: Remembered | None, state: _Round, report: Report) -> Report:
        host = place(target.address).host
        try:
            found, changed = self._fetch(target, known, state)
        except CrosshallError as error:
            failures = (known.failures if known is not None else 0) + 1
            at = next_time(target, self._clock(), self._until(target, known, state), failures, self._chance)
            base = known or Remembered(next_at=at)
            state.known[target.key] = base.model_copy(
                update={"next_at": at, "failures": failures, "code": error.code, "etag": "", "last_modified": ""}
            )
            ca = target.authority.profile.id
            _log.warning("not fetched", extra={"ca": ca, "host": host, "code": error.code, "detail": error.detail})
            row = (ca, str(target.kind), host, error.code, error.detail)
            return replace(report, failed=(*report.failed, row))
        state.known[target.key] = found
        if changed:
            return replace(report, fresh=report.fresh + 1)
        return replace(report, unchanged=report.unchanged + 1)

    def _fetch(self, target: Target, known: Remembered | None, state: _Round) -> tuple[Remembered, bool]:
        """What to remember now, and whether it is something new. Raises RevocationError."""
        octets, seconds = LIMITS[target.kind]
        nonce = self._nonces(NONCE_OCTETS) if target.kind is Kind.OCSP else b""
        ask = Ask(target.address, target.allowed, octets, seconds, self._conditions(target, known, state))
        if target.kind is Kind.OCSP:
            assert target.certificate is not None
            assert target.issuer is not None
            status = target.authority.profile.status
            body = request(target.certificate, target.issuer.spki, nonce, status.ocsp_hash)
            ask = replace(ask, body=body, headers={"Content-Type": "application/ocsp-request"})
        answer = self._client.ask(ask)
        if answer.status == 304:
            assert known is not None
            digest, etag, modified = (
                known.digest,
                answer.etag or known.etag,
                answer.last_modified or known.last_modified,
            )
        else:
            digest = self._check(target, answer.body, known, nonce, state)
            etag, modified = answer.etag, answer.last_modified
        made = Remembered(digest=digest, etag=etag, last_modified=modified, next_at=state.now)
        at = next_time(target, self._clock(), self._until(target, made, state), 0, self._chance)
        return made.model_copy(update={"next_at": at}), known is None or known.digest != digest

    def _conditions(self, target: Target, known: Remembered | None, state: _Round) -> dict[str, str]:
        """Only while the last good copy is at hand and counts: a server that errs must not keep us on it."""
        if known is None or target.kind is Kind.OCSP:
            return {}
        if target.kind is Kind.CRL:
            crl = state.crls.get(known.digest)
            if crl is None or crl.next_update is None or crl.next_update < state.now:
                return {}
        elif not self._candidate(known.digest).is_file():
            return {}
        wanted = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
        return {name: value for name, value in wanted.items() if value}

    def _check(self, target: Target, body: bytes, known: Remembered | None, nonce: bytes, state: _Round) -> str:
        """SHA-256 of the good copy that `body` is. Raises RevocationError `revocation.fetch_refused`."""
        now, last = self._clock(), "" if known is None else known.digest
        if target.kind is Kind.CERTIFICATE:
            return self._check_candidate(body)
        if target.kind is Kind.CRL:
            every = [*state.crls.values(), *state.bundle.crls]
            crl = check_crl(body, target.authority, state.crls.get(last), every, now)
            state.crls[crl.sha256], state.new[crl.sha256] = crl, crl.der
            return crl.sha256
        assert target.certificate is not None
        assert target.issuer is not None
        crls = CrlSet.of([*state.crls.values(), *state.bundle.crls])
        asked = Asked(target.certificate, target.issuer, target.authority, nonce, crls)
        response = check_response(body, asked, state.responses.get(last), now)
        digest = hashlib.sha256(body).hexdigest()
        state.responses[digest], state.new[digest] = response, body
        return digest

    def _check_candidate(self, body: bytes) -> str:
        """A CA's certificate, for the province to look at: nothing reads it from here."""
        try:
            certificate = load_certificate(body)
        except CrosshallError as error:
            raise refused(f"not a certificate: {error.code}") from error
        if not certificate.is_ca:
            raise refused("not a CA's certificate")
        try:
            write_atomically(self._candidate(certificate.sha256), certificate.der)
        except OSError as error:
            raise RevocationError("revocation.overlay", f"{CANDIDATES}: {error.strerror}") from error
        return certificate.sha256

    def _candidate(self, digest: str) -> Path:
        return self._folder / CANDIDATES / f"{digest or 'none'}.cer"

    def _until(self, target: Target, known: Remembered | None, state: _Round) -> datetime | None:
        """Until when the copy that is remembered counts."""
        digest = "" if known is None else known.digest
        if target.kind is Kind.CRL and digest in state.crls:
            return state.crls[digest].next_update
        if target.kind is Kind.OCSP and digest in state.responses:
            response = state.responses[digest]
            return min(good_until(single) for single in response.singles)
        return None

    def _keep(self, targets: tuple[Target, ...], state: _Round) -> None:
        """The last good copy of each target that the profiles still list, and what is remembered of it."""
        state.known = {target.key: state.known[target.key] for target in targets if target.key in state.known}
        held: dict[Kind, dict[str, bytes | None]] = {Kind.CRL: {}, Kind.OCSP: {}, Kind.CERTIFICATE: {}}
        for target in targets:
            digest = state.known[target.key].digest if target.key in state.known else ""
            if digest:
                held[target.kind][digest] = state.new.get(digest)
            else:  # nothing of its own yet: what an earlier memory left may be its last good copy
                held[target.kind].update(dict.fromkeys(_digests(state.overlay, target.kind)))
        crls = {digest: data for digest, data in held[Kind.CRL].items() if digest in state.crls}
        responses = {digest: data for digest, data in held[Kind.OCSP].items() if digest in state.responses}
        listed = {*_digests(state.overlay, Kind.CRL), *_digests(state.overlay, Kind.OCSP)}
        if {*crls, *responses} != listed:
            write_overlay(self._folder, crls, responses)
        try:
            memory.save(self._folder, state.known)
        except OSError as error:
            raise RevocationError("revocation.overlay", f"{memory.FILE}: {error.strerror}") from error


def _digests(overlay: Overlay, kind: Kind) -> list[str]:
    files = {Kind.CRL: overlay.crls, Kind.OCSP: overlay.responses}.get(kind, {})
    return [Path(path).stem for path in files]
