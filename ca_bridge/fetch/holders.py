"""OCSP about a holder's certificate, asked before it is judged (docs/adr/0006): what judging itself never does.

    leaf ─▶ a CA of this federation whose status is `ocsp`, that really signed it ─▶ kept answer, else ask: 3 s at most
         ─▶ the snapshot with that answer beside it ─▶ judged there as everything else

No answer makes nothing good: then the status stays unknown, and unknown never passes. A CA across the border is never
asked, because its responder would learn where a person signs in.
"""

from __future__ import annotations

import base64
import binascii
import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ca_bridge.asn1.certificate import Certificate, parse_certificate
from ca_bridge.asn1.ocsp import OcspResponse, parse_ocsp
from ca_bridge.errors import CrosshallError, RevocationError
from ca_bridge.fetch.address import Allowed, place
from ca_bridge.fetch.authorities import Authority, authorities, signed_by
from ca_bridge.fetch.checks import Asked, check_response
from ca_bridge.fetch.http import Ask, Client
from ca_bridge.fetch.plan import LIMITS, Kind
from ca_bridge.revocation.crl import CrlSet
from ca_bridge.revocation.ocsp import good_until
from ca_bridge.revocation.ocsp_request import NONCE_OCTETS, request
from ca_bridge.store import Store
from ca_bridge.types import Clock
from ca_bridge.verdict.snapshot import Snapshot

SECONDS = 3.0
"""What all responders of one CA together may take of a sign-in."""
REST = 10.0
"""How many seconds a responder that did not answer is left alone: an outage must not hold every sign-in up."""
KEPT = "ocsp"
LONGEST = timedelta(days=1)
"""How long an answer is kept at the most; it counts only until its own nextUpdate."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer that passed its checks, and when it was asked for."""

    der: bytes
    response: OcspResponse
    asked: datetime


class HolderStatus:
    """Lays an OCSP answer about one holder beside a snapshot. Thread safe; answers are shared through the store."""

    def __init__(
        self,
        client: Client,
        store: Store,
        clock: Clock,
        root: str,
        *,
        nonces: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """`root`: the federation's own trust domain; CAs of another are not asked."""
        self._client = client
        self._store = store
        self._clock = clock
        self._root = root
        self._nonces = nonces
        self._resting: dict[str, float] = {}
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="ocsp")
        self._known: tuple[str, tuple[Authority, ...]] = ("", ())

    def __call__(self, snapshot: Snapshot, leaf: bytes, *, ask: bool = True) -> Snapshot:
        """`snapshot`, with an answer about `leaf` (DER) beside it when its CA's status is OCSP and there is one.

        `ask` False: only what is kept. Raises StoreError; nothing for what servers do.
        """
        if not any(profile.status.source == "ocsp" for profile in snapshot.compiled.by_key.values()):
            return snapshot
        try:
            certificate = parse_certificate(leaf)
        except CrosshallError:
            return snapshot  # judging will say why
        asked = self._asked(snapshot, certificate)
        answer = None if asked is None else self._answer(asked, ask=ask)
        return snapshot if answer is None else snapshot.beside((answer.der,))

    def _asked(self, snapshot: Snapshot, leaf: Certificate) -> Asked | None:
        """Who is to be asked about a leaf that one of these CAs really signed: nobody is asked about a forgery."""
        for authority in self._authorities(snapshot):
            for issuer in authority.certificates:
                if signed_by(leaf, issuer, authority.profile):
                    crls = CrlSet.of(snapshot.bundle.crls)
                    return Asked(leaf, issuer, authority, self._nonces(NONCE_OCTETS), crls)
        return None

    def _authorities(self, snapshot: Snapshot) -> tuple[Authority, ...]:
        bundle = snapshot.bundle
        if self._known[0] != bundle.hash:
            asks = [a for a in authorities(bundle) if a.profile.status.source == "ocsp"]
            own = tuple(a for a in asks if a.profile.domain.partition("/")[0] == self._root)
            self._known = (bundle.hash, own)
        return self._known[1]

    def _answer(self, asked: Asked, *, ask: bool) -> _Answer | None:
        now = self._clock()
        kept = self._kept(asked.certificate)
        refresh = timedelta(seconds=asked.authority.profile.status.refresh_seconds)
        if kept is not None and (not ask or (timedelta(0) <= now - kept.asked < refresh and now <= _until(kept))):
            return kept
        fresh = self._ask(asked, None if kept is None else kept.response) if ask else None
        if fresh is None:
            return kept  # it counts as long as it is fresh itself: judging looks at that
        body = {"answer": base64.b64encode(fresh.der).decode(), "asked": fresh.asked.isoformat()}
        self._store.put(KEPT, asked.certificate.tbs_sha256, body, now + LONGEST)
        return fresh

    def _kept(self, certificate: Certificate) -> _Answer | None:
        found = self._store.get(KEPT, certificate.tbs_sha256)
        if found is None:
            return None
        try:
            der = base64.b64decode(str(found["answer"]), validate=True)
            return _Answer(der, parse_ocsp(der), datetime.fromisoformat(str(found["asked"])))
        except (CrosshallError, KeyError, TypeError, ValueError, binascii.Error):
            return None  # another version's: ask again

    def _ask(self, asked: Asked, last: OcspResponse | None) -> _Answer | None:
        """The first good answer of the CA's responders, in their order."""
        profile = asked.authority.profile
        status = profile.status
        allowed = Allowed.of(status.ocsp, status.private)
        body = request(asked.certificate, asked.issuer.spki, asked.nonce, status.ocsp_hash)
        deadline = time.monotonic() + SECONDS
        for address in status.ocsp:
            left, host = deadline - time.monotonic(), place(address).authority
            if left <= 0 or self._resting.get(host, 0.0) > time.monotonic():
                continue
            ask = Ask(address, allowed, LIMITS[Kind.OCSP][0], left, body=body)
            try:
                data = self._exchange(replace(ask, headers={"Content-Type": "application/ocsp-request"}), host)
                response = check_response(data, asked, last, self._clock())
            except RevocationError as error:
                _log.warning("holder's status not learnt", extra={"ca": profile.id, "host": host, "code": error.code})
                continue
            return _Answer(data, response, self._clock())
        return None

    def _exchange(self, ask: Ask, host: str) -> bytes:
        """The body of an answer, in time. In a thread of its own, since nothing else bounds the look-up of a name."""
        try:
            return self._pool.submit(self._client.ask, ask).result(ask.seconds).body
        except (Late, RevocationError) as error:
            self._resting[host] = time.monotonic() + REST
            if isinstance(error, RevocationError):
                raise
            raise RevocationError("revocation.fetch_failed", f"{host}: no answer in time") from error


def _until(answer: _Answer) -> datetime:
    return min(good_until(single) for single in answer.response.singles)
