"""Logout tokens to Keycloak (OpenID Connect Back-Channel Logout 1.0): told until taken, with growing pauses."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from ca_bridge.errors import UpstreamError
from ca_bridge.provider.http import Answer
from ca_bridge.provider.tokens import Tokens
from ca_bridge.store.logouts import Logouts, PendingLogout

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
        """Tell every logout that is due; returns how many Keycloak took. The others are due again later.

        Keycloak answers 504 when a window could not be reached although its own session is gone: told again, it says
        200. Raises StoreError only.
        """
        taken = 0
        reachable = True
        for logout in self._logouts.claim():
            status = self._tell(logout) if reachable else None
            if status in _TAKEN:
                self._logouts.sent(logout.id)
                taken += 1
                continue
            reachable = status is not None  # the rest waits too: each would cost the whole time-out again
            self._logouts.failed(logout)
            _log.warning(
                "logout not taken",
                extra={
                    "code": "upstream.logout",
                    "status": status,
                    "attempt": logout.attempts,
                    "reason": logout.reason,
                },
            )
        return taken

    def _tell(self, logout: PendingLogout) -> int | None:
        token = self._tokens.logout_token(logout.person, logout.sid, f"{logout.id}.{logout.attempts}")
        try:
            return self._http.post(self._url, {"logout_token": token}).status
        except UpstreamError:
            return None
