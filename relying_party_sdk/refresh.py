"""Recheck by refresh: a session in use is confirmed with the provider, once for all threads and processes.

A session is due when its last confirmation is older than `recheck`, or its access token has run out. One caller
refreshes under a lock of the store (fencing token), the others wait a little and use what it got: a refresh token is
spent once. That it is sent is written down first: when a process dies then, or no whole answer comes, nobody knows
whether the token is spent, and it is never sent again (a second use ends the person's session everywhere, RFC 9700
§4.14.2). Such a session is `lost`: served until its grace is over, while a browser's next page signs in anew, silently.
What the provider says decides: `invalid_grant` ends the session. A provider that cannot be asked signs nobody out:
the session is served until the access token's end plus `grace`, then refused (`rp.provider_unreachable`, kept).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from relying_party_sdk.errors import ProviderError, RPError, SessionEnded, StoreError, TokenError
from relying_party_sdk.session import Session, Sessions
from relying_party_sdk.settings import Settings
from relying_party_sdk.stores.protocol import Clock, Store

log = logging.getLogger("relying_party_sdk")

_PAUSE = 5.0
"""Seconds during which a provider that just failed is not asked again by this process."""
_STEP = 0.03
_MEANWHILE = 2.0
"""How long a request waits for the refresh of another one, seconds, when the session may be served without it."""
_AGAIN = (0.1, 0.4, 1.0)
"""Pauses before renewed tokens are written again to a store that failed, seconds."""

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
        with self._gate(session) as mine:
            return self._confirm_alone(session) if mine else self._without_provider(session)

    def _due(self, session: Session) -> bool:
        now = self._clock()
        if not session.refresh_token:
            return now >= session.access_expires
        return now - session.checked_at >= self._settings.recheck or now >= session.access_expires

    def _confirm_alone(self, session: Session) -> Session | None:
        """In this process nobody else is at this session now; other processes may be."""
        name, waited = f"refresh:{session.key}", 0.0
        while True:
            current = self._sessions.get(session.key)
            if current is None or not self._due(current):
                return current
            if not current.refresh_token:
                self._sessions.end(current.key)
                return None
            under_way = self._clock() - current.refreshing if current.refreshing else 0.0
            if under_way >= self._lease:
                return self._lost(current)
            if 0 <= self._clock() - self._failed < _PAUSE:
                return self._without_provider(current)
            token = self._store.lock(name, self._lease)
            if token is not None:
                try:
                    return self._refresh(session.key, name, token)
                finally:
                    self._store.unlock(name, token)
            if max(waited, under_way) >= self._patience(current):
                return self._without_provider(current)
            self._sleep(_STEP)
            waited += _STEP

    def _refresh(self, key: str, name: str, token: int) -> Session | None:
        session = self._sessions.get(key)  # again: the holder before us may have refreshed it
        if session is None or not self._due(session):
            return session
        if session.refreshing:  # by a holder who is gone
            return self._lost(session)
        flagged = replace(session, refreshing=self._clock())
        if not self._sessions.replace(flagged, lock=name, token=token):
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
            return self._failed_now(session, error, name, token)
        if self._write(renewed, name, token):
            return renewed
        return self._sessions.get(key)

    def _failed_now(self, session: Session, error: RPError, name: str, token: int) -> Session | None:
        """The provider could not be asked; when it may have answered all the same, the session is lost."""
        self._failed = self._clock()
        log.warning("a session could not be rechecked: %s", error)
        unsure = isinstance(error, ProviderError) and error.unsure
        kept = replace(session, refreshing=self._clock() - self._lease) if unsure else session
        self._sessions.replace(kept, lock=name, token=token)
        return self._lost(kept) if unsure else self._without_provider(kept)

    def _write(self, renewed: Session, name: str, token: int) -> bool:
        """Write renewed tokens back; a store that fails just now is asked again, for they are nowhere else."""
        for pause in _AGAIN:
            try:
                return self._sessions.replace(renewed, lock=name, token=token)
            except StoreError:
                self._sleep(pause)
        return self._sessions.replace(renewed, lock=name, token=token)

    def _lost(self, session: Session) -> Session | None:
        """Nobody knows whether its refresh token is spent: served within the grace (`refreshing` tells), then over."""
        if self._within_grace(session):
            return session
        self._sessions.end(session.key)
        log.warning("session ended: its refresh was never answered; the browser signs in again silently")
        return None

    def _without_provider(self, session: Session) -> Session:
        if self._within_grace(session):
            return replace(session, refreshing=0.0)
        raise ProviderError("rp.provider_unreachable", "the session cannot be confirmed and its grace has run out")

    def _within_grace(self, session: Session) -> bool:
        return self._clock() < session.access_expires + self._settings.grace

    def _patience(self, session: Session) -> float:
        return _MEANWHILE if self._within_grace(session) else self._settings.total_timeout

    @contextmanager
    def _gate(self, session: Session) -> Iterator[bool]:
        """True for one thread of this process at a time, for one session; False when that took too long."""
        key = session.key
        with self._guard:
            lock, users = self._gates.get(key, (threading.Lock(), 0))
            self._gates[key] = (lock, users + 1)
        try:
            mine = lock.acquire(timeout=self._patience(session))
            try:
                yield mine
            finally:
                if mine:
                    lock.release()
        finally:
            with self._guard:
                lock, users = self._gates[key]
                if users == 1:
                    del self._gates[key]
                else:
                    self._gates[key] = (lock, users - 1)
