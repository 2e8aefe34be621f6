"""Logout tokens to Keycloak (OpenID Connect Back-Channel Logout 1.0): told until taken, with growing pauses."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from ca_bridge.errors import UpstreamError
from ca_bridge.provider.http import Answer
from ca_bridge.provider.tokens import Tokens
from ca_bridge.store.logouts import Logouts, PendingLogout

AT_ONCE = 8
"""Within `CLAIM_SECONDS` whatever Keycloak does: an answer takes five seconds at most."""
TURN_SECONDS = 5.0
_TAKEN = (200, 204)
_log = logging.getLogger(__name__)


class Poster(Protocol):
    """The part of `HttpClient` that is needed here."""

    def post(self, url: str, form: Mapping[str, str]) -> Answer:
        """POST a form."""


class LogoutSender:
    """Tells Keycloak of ended sessions. Safe with several at once: a logout is one caller's at a time."""

    def __init__(self, url: str, logouts: Logouts, tokens: Tokens, http: Poster) -> None:
        self._url = url
        self._logouts = logouts
        self._tokens = tokens
        self._http = http

    def deliver(self) -> int:
        """Tell logouts that are due until none is left, or for `TURN_SECONDS`; returns how many Keycloak took.

        The others are due again later. Keycloak calls the windows before it answers: a window that hangs makes it slow
        for everybody who is signed in there, so several are told at once, and one without an answer stops no other.
        Keycloak answers 504 when a window could not be reached although its own session is gone: told again, it says
        200. Raises StoreError only.
        """
        taken = 0
        until = time.monotonic() + TURN_SECONDS
        with ThreadPoolExecutor(AT_ONCE, "logout") as pool:
            while batch := self._logouts.claim(AT_ONCE):
                answers = list(pool.map(self._tell, batch))
                for logout, status in zip(batch, answers, strict=True):
                    taken += self._note(logout, status)
                if not any(answers) or time.monotonic() > until:
                    break  # Keycloak is down: each further one would cost the whole time-out again
        return taken

    def _note(self, logout: PendingLogout, status: int | None) -> bool:
        if status in _TAKEN:
            self._logouts.sent(logout.id)
            return True
        self._logouts.failed(logout)
        told = {"code": "upstream.logout", "status": status, "attempt": logout.attempts, "reason": logout.reason}
        _log.warning("logout not taken", extra=told)
        return False

    def _tell(self, logout: PendingLogout) -> int | None:
        token = self._tokens.logout_token(logout.person, logout.sid, f"{logout.id}.{logout.attempts}")
        try:
            return self._http.post(self._url, {"logout_token": token}).status
        except UpstreamError:
            return None
