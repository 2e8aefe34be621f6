"""Requests for a signature while they wait for the person: a few, in memory, for a minute."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from ca_bridge.crypto.challenge import Asked
from ca_bridge.errors import SignerError
from signer.origins import Hall
from signer.wallet import Signature

_KEPT = timedelta(seconds=60)
"""How long an ended request can still be asked after."""
_MAX_KEPT = 64


class State(StrEnum):
    """Where a request stands."""

    WAITING = "waiting"
    SIGNING = "signing"
    """A PIN is being tried; to the hall this is `waiting`."""
    REFUSED = "refused"
    EXPIRED = "expired"
    DONE = "done"


@dataclass(slots=True)
class Request:
    """One request. Changed only by `Requests`, under its lock."""

    id: str
    secret_hash: bytes = field(repr=False)
    """SHA-256 of what the hall's page must show to collect the answer."""
    form_token: str = field(repr=False)
    """What the signer's own page must send back with its form."""
    hall: Hall
    level: int
    languages: tuple[str, ...]
    asked: Asked
    state: State = State.WAITING
    wrong_pins: int = 0
    signature: Signature | None = field(default=None, repr=False)


class Requests:
    """All requests of this signer. Every method drops what is over first; raises SignerError as told."""

    def __init__(
        self, *, clock: Callable[[], datetime], secret: Callable[[], str], max_pending: int, per_minute: int
    ) -> None:
        self._clock = clock
        self._secret = secret
        self._max_pending = max_pending
        self._per_minute = per_minute
        self._lock = threading.Lock()
        self._requests: dict[str, Request] = {}
        self._recent: dict[str, deque[datetime]] = {}

    def add(self, hall: Hall, asked: Asked, level: int, languages: tuple[str, ...]) -> tuple[Request, str]:
        """A new request and its bearer secret. Raises `signer.busy` (too many wait, or too many in a minute)."""
        with self._lock:
            now = self._tidy()
            recent = self._recent.setdefault(hall.origin, deque(maxlen=self._per_minute))
            if len(recent) == self._per_minute and now - recent[0] < timedelta(minutes=1):
                raise SignerError("signer.busy", "too many requests in a minute")
            if sum(r.state in (State.WAITING, State.SIGNING) for r in self._requests.values()) >= self._max_pending:
                raise SignerError("signer.busy", "too many requests are waiting")
            recent.append(now)
            secret = self._secret()
            request = Request(self._secret(), _hash(secret), self._secret(), hall, level, languages, asked)
            self._requests[request.id] = request
            return request, secret

    def get(self, request_id: str) -> Request:
        """The request for the signer's own page. Raises `signer.unknown_request`."""
        with self._lock:
            self._tidy()
            return self._known(request_id)

    def collect(self, request_id: str, secret: str, origin: str) -> Request:
        """The request for the hall that made it; one that is done is handed out once and then forgotten.

        Raises `signer.unknown_request` – for a wrong secret or origin too: an asker learns nothing.
        """
        with self._lock:
            self._tidy()
            request = self._known(request_id)
            right = hmac.compare_digest(_hash(secret), request.secret_hash)
            if not right or request.hall.origin != origin:
                raise SignerError("signer.unknown_request", "wrong secret or origin")
            if request.state is State.DONE:
                del self._requests[request_id]
            return request

    def check_form(self, request_id: str, form_token: str) -> Request:
        """The request whose own page sent this form. Raises `signer.unknown_request`, `signer.forged`."""
        with self._lock:
            self._tidy()
            request = self._known(request_id)
            if not hmac.compare_digest(form_token.encode(), request.form_token.encode()):
                raise SignerError("signer.forged", "the form's token is absent or of another request")
            return request

    def begin(self, request_id: str) -> Request:
        """From waiting to signing: one PIN at a time. Raises `signer.expired`, `signer.not_waiting`."""
        with self._lock:
            self._tidy()
            request = self._known(request_id)
            if request.state is State.EXPIRED:
                raise SignerError("signer.expired", "the request is over")
            if request.state is not State.WAITING:
                raise SignerError("signer.not_waiting", f"the request is {request.state}")
            request.state = State.SIGNING
            return request

    def done(self, request_id: str, signature: Signature) -> None:
        """Signed: the answer waits for the hall."""
        with self._lock:
            request = self._known(request_id)
            request.signature, request.state = signature, State.DONE

    def failed(self, request_id: str, *, wrong_pin: bool, most: int) -> int:
        """Not signed. Back to waiting, or refused after `most` wrong PINs; returns how many may still be tried."""
        with self._lock:
            request = self._known(request_id)
            request.wrong_pins += wrong_pin
            left = most - request.wrong_pins
            request.state = State.WAITING if left > 0 else State.REFUSED
            return left

    def refuse(self, request_id: str) -> None:
        """The person does not want to. Nothing happens to a request that is over already."""
        with self._lock:
            request = self._known(request_id)
            if request.state is State.WAITING:
                request.state = State.REFUSED

    def _known(self, request_id: str) -> Request:
        request = self._requests.get(request_id)
        if request is None:
            raise SignerError("signer.unknown_request", "no such request")
        return request

    def _tidy(self) -> datetime:
        now = self._clock()
        for request in list(self._requests.values()):
            if now >= request.asked.expires + _KEPT:
                del self._requests[request.id]
            elif now >= request.asked.expires and request.state in (State.WAITING, State.DONE):
                request.state, request.signature = State.EXPIRED, None
        over = [r for r in self._requests.values() if r.state in (State.REFUSED, State.EXPIRED)]
        for request in over[:-_MAX_KEPT]:
            del self._requests[request.id]
        for origin in [o for o, times in self._recent.items() if now - times[-1] > timedelta(minutes=2)]:
            del self._recent[origin]
        return now


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
