"""A value fetched over the network for many threads: one fetch at a time, no lock held meanwhile, stale on failure."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from relying_party_sdk.errors import ProviderError
from relying_party_sdk.stores.protocol import Clock

T = TypeVar("T")

_RETRY = 5.0
"""Seconds after a failed fetch before the next one is tried."""


class Shared(Generic[T]):
    """Keeps the result of `fetch`.

    Younger than `ttl` seconds: returned at once. Older: one thread fetches, the others are served the old value; it
    stays good for `stale` seconds more when the fetch fails. Without any value the others wait for the one fetch.
    """

    def __init__(self, fetch: Callable[[], T], clock: Clock, *, ttl: float, stale: float, wait: float) -> None:
        self._fetch = fetch
        self._clock = clock
        self._ttl = ttl
        self._stale = stale
        self._wait = wait
        self._guard = threading.Lock()  # never held over the network
        self._value: tuple[T, float] | None = None
        self._failed: tuple[ProviderError, float] | None = None
        self._flight: threading.Event | None = None
        self.fetches = 0
        """How many fetches have succeeded."""

    def seed(self, value: T, fetched: float) -> None:
        """Begin with a value that was fetched earlier, at `fetched` (seconds since 1970)."""
        with self._guard:
            self._value = (value, fetched)

    def fresh(self) -> T | None:
        """The value when it is younger than `ttl`; takes no lock and fetches nothing."""
        held = self._value
        return held[0] if held is not None and 0 <= self._clock() - held[1] < self._ttl else None

    def get(self) -> T:
        """The value; raises the ProviderError of the fetch when there is none that may still be used."""
        held, age = self._held()
        if held is not None and age < self._ttl:
            return held
        fetched = self._fly(wait=held is None or age >= self._ttl + self._stale)
        if fetched is not None:
            return fetched
        held, age = self._held()
        if held is not None and age < self._ttl + self._stale:
            return held
        raise self._failed[0] if self._failed else ProviderError("rp.provider_unreachable", "still being fetched")

    def renew(self) -> T:
        """The value after a fetch now (joining one that is under way); the old one when that fails."""
        fetched = self._fly(wait=True)
        return fetched if fetched is not None else self.get()

    def _held(self) -> tuple[T | None, float]:
        with self._guard:
            if self._value is None:
                return None, 0.0
            age = self._clock() - self._value[1]
            return self._value[0], age if age >= 0 else self._ttl  # a clock that was set back: ask again

    def _fly(self, *, wait: bool) -> T | None:
        """Fetch, or join the fetch under way; None when it failed, failed just now, or was not waited for."""
        with self._guard:
            if self._failed and 0 <= self._clock() - self._failed[1] < _RETRY:
                return None
            joined = self._flight
            mine = threading.Event()
            if joined is None:
                self._flight = mine
        if joined is not None:
            if not wait:
                return None
            joined.wait(self._wait)
            held, age = self._held()
            return held if age < self._ttl else None
        return self._fetch_now(mine)

    def _fetch_now(self, mine: threading.Event) -> T | None:
        try:
            value = self._fetch()
        except ProviderError as error:
            with self._guard:
                self._failed = (error, self._clock())
            return None
        else:
            with self._guard:
                self._value = (value, self._clock())
                self._failed = None
                self.fetches += 1
            return value
        finally:
            with self._guard:
                self._flight = None
            mine.set()
