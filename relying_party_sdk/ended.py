"""Sign-outs, remembered as long as an access token can live: what was signed out is refused at the API too.

Written to the store, so that every process knows. A process looks at the store's mark at most once a second: a token
that it has checked already is refused within a second after any process was told; one that is new to it, at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relying_party_sdk.sealing import Random, Sealer, b64
from relying_party_sdk.stores.protocol import Clock, Store

LOOK = 1.0
"""Longest time between two looks at the mark, seconds."""
_KIND = "ended"
_MARK = "mark"


class Ended:
    """What was signed out in the last `life` seconds. Raises StoreError."""

    def __init__(self, store: Store, sealer: Sealer, clock: Clock, random: Random, life: float) -> None:
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._random = random
        self._life = life
        self._looked = float("-inf")
        self._mark: bytes | None = None

    def record(self, *, sid: str | None, sub: str | None, at: float) -> None:
        """Remember a sign-out of a session, or of everything of a person up to `at` (the provider's clock)."""
        until = self._clock() + self._life
        if sid is not None:
            self._store.put(_KIND, self._sealer.name("ended-sid", sid), b"-", until)
        elif sub is not None:
            self._store.put(_KIND, self._sealer.name("ended-sub", sub), str(at).encode(), until)
        self._store.put(_KIND, _MARK, b64(self._random(16)).encode(), until)
        self._looked = float("-inf")

    def mark(self, now: float) -> bytes | None:
        """Changes with every sign-out, of any process; None while there was none. At most `LOOK` seconds old."""
        if not 0 <= now - self._looked < LOOK:
            found = self._store.get(_KIND, _MARK)
            self._mark, self._looked = found, now
        return self._mark

    def names(self, claims: Mapping[str, Any]) -> bool:
        """True for the claims of a token whose session, or whose person since, was signed out."""
        sid, sub = claims.get("sid"), claims.get("sub")
        if isinstance(sid, str) and self._store.get(_KIND, self._sealer.name("ended-sid", sid)) is not None:
            return True
        at = self._store.get(_KIND, self._sealer.name("ended-sub", sub)) if isinstance(sub, str) else None
        return at is not None and int(claims["iat"]) <= float(at)
