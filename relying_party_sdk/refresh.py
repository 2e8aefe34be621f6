"""Recheck by refresh: a session in use is confirmed with the provider, once for all threads and processes.

A session is due when its last confirmation is older than `recheck`, or its access token has run out. One caller
refreshes under a lock of the store (fencing token), the others wait and use what it got: a refresh token is spent once.
That a refresh was begun is written down first: when a process dies in it, nobody knows whether the token is spent, and
it is not tried again (a second use ends the person's session everywhere, RFC 9700 §4.14.2); the browser signs in anew.
What the provider says decides: `invalid_grant` ends the session. A provider that cannot be asked signs nobody out:
the session is served until the access token's end plus `grace`, then refused (`rp.provider_unreachable`, kept).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from relying_party_sdk.errors import ProviderError, RPError, SessionEnded, TokenError
from relying_party_sdk.session import Session, Sessions
from relying_party_sdk.settings import Settings
from relying_party_sdk.stores.protocol import Clock, Store

log = logging.getLogger("relying_party_sdk")

_PAUSE = 5.0
"""Seconds during which a provider that just failed is not asked again by this process."""
_STEP = 0.03

Exchange = Callable[[Session], Session]
"""Refreshes at the provider; raises SessionEnded, ProviderError, TokenError."""


class Refresher:
    """Keeps sessions confirmed. `sleep` is used only while another process refreshes the same session."""

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        store: Store,
        exchange: Exchange,
        *,
        clock: Clock,
        sleep: Callable[[float], None],
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._store = store
        self._exchange = exchange
        self._clock = clock
        self._sleep = sleep
        self._tries = int(settings.total_timeout / _STEP)
        self._lease = 3 * settings.total_timeout + 5  # a refresh calls token endpoint, at worst metadata and keys too
        self._guard = threading.Lock()
        self._gates: dict[str, tuple[threading.Lock, int]] = {}
        self._failed = float("-inf")

    def confirm(self, session: Session) -> Session | None:
        """The session, confirmed not longer ago than `recheck`; None when it is over.

        Raises ProviderError `rp.provider_unreachable` when the provider cannot be asked and the grace has run out.
        """
        if not self._due(session):
            return session
        with self._gate(session.key):
            return self._confirm_alone(session)

    def _due(self, session: Session) -> bool:
        now = self._clock()
        if not session.refresh_token:
            return now >= session.access_expires
        return now - session.checked_at >= self._settings.recheck or now >= session.access_expires

    def _confirm_alone(self, session: Session) -> Session | None:
        """In this process nobody else is at this session now; other processes may be."""
        name = f"refresh:{session.key}"
        for _ in range(self._tries):
            current = self._sessions.get(session.key)
            if current is None or not self._due(current):
                return current
            if not current.refresh_token:
                self._sessions.end(current.key)
                return None
            if 0 <= self._clock() - self._failed < _PAUSE:
                return self._without_provider(current)
            token = self._store.lock(name, self._lease)
            if token is not None:
                try:
                    return self._refresh(session.key, name, token)
                finally:
                    self._store.unlock(name, token)
            self._sleep(_STEP)
        return self._without_provider(session)

    def _refresh(self, key: str, name: str, token: int) -> Session | None:
        session = self._sessions.get(key)  # again: the holder before us may have refreshed it
        if session is None or not self._due(session):
            return session
        if session.refreshing:
            self._sessions.end(key)
            log.warning("session ended: a process died in its refresh; the browser signs in again silently")
            return None
        if not self._sessions.replace(replace(session, refreshing=True), lock=name, token=token):
            return self._sessions.get(key)
        try:
            renewed = self._exchange(session)
        except SessionEnded:
            self._sessions.end(key)
            log.info("rp.session_ended: ended at the provider")
            return None
        except TokenError as error:  # the old refresh token is spent and the answer is not to be trusted
            self._sessions.end(key)
            log.warning("session ended, its refresh was answered wrongly: %s", error)
            return None
        except RPError as error:
            self._failed = self._clock()
            log.warning("a session could not be rechecked: %s", error)
            self._sessions.replace(session, lock=name, token=token)
            return self._without_provider(session)
        if self._sessions.replace(renewed, lock=name, token=token):
            return renewed
        return self._sessions.get(key)

    def _without_provider(self, session: Session) -> Session:
        if self._clock() < session.access_expires + self._settings.grace:
            return session
        raise ProviderError("rp.provider_unreachable", "the session cannot be confirmed and its grace has run out")

    @contextmanager
    def _gate(self, key: str) -> Iterator[None]:
        """One thread of this process at a time for one session; the dictionary holds only sessions in use."""
        with self._guard:
            lock, users = self._gates.get(key, (threading.Lock(), 0))
            self._gates[key] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._gates[key]
                if users == 1:
                    del self._gates[key]
                else:
                    self._gates[key] = (lock, users - 1)
