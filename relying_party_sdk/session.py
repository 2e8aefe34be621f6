"""Sessions: the browser holds a sealed opaque identifier, the store holds the tokens, sealed, under its hash.

Found again by `sid` and `sub` through keyed tags, so that a sign-out reaches every process. A session that was ended
cannot be written back by a refresh that was under way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from relying_party_sdk.sealing import Random, Sealer, b64, digest, unb64
from relying_party_sdk.settings import Settings
from relying_party_sdk.stores.protocol import Clock, Store

_KIND = "session"
_MOST_OPENED = 1000
"""Sessions whose sealed value a process need not unseal again; the store is read at every request all the same."""
_REPLACED = "replaced"
_UNDER_WAY = 120.0
"""How long requests with the cookie of a replaced session may still arrive, seconds."""
_OVER = "over"
_OVER_SECONDS = 30.0
"""How long a sign-in may still arrive in a session that the provider has ended: it tells windows before it is done."""
_SOON = 2.0
"""After how long such a session is confirmed with the provider, seconds."""
ATTRIBUTES = "attributes"
"""Kind of the attributes cached for a session; they end with it."""


@dataclass(frozen=True, slots=True)
class Session:
    """One signed-in browser. Times are seconds since 1970 (UTC)."""

    key: str
    """SHA-256 of the identifier: the store's key, useless as a cookie."""
    sub: str = field(repr=False)
    sid: str | None
    nonce: str = field(repr=False)
    claims: Mapping[str, Any] = field(repr=False)
    """The claims of the contract, checked."""
    id_token: str = field(repr=False)
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    access_expires: float
    checked_at: float
    """When the provider last confirmed the session."""
    expires: float
    refreshing: float = 0.0
    """When its refresh token was sent, while no answer is written: whether it is spent is not known. 0: it is not."""


class Sessions:
    """All sessions of one relying party. Raises StoreError `rp.store`."""

    def __init__(self, settings: Settings, store: Store, sealer: Sealer, clock: Clock, random: Random) -> None:
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._random = random
        self._cookie = settings.cookie("session")
        self._recheck = settings.recheck
        self._opened: dict[str, tuple[bytes, Session]] = {}

    def new_id(self) -> str:
        """An identifier for a new session: 256 bits."""
        return b64(self._random(32))

    def create(self, identifier: str, session: Session) -> str:
        """Keep a new session; returns the cookie's value.

        One whose `sid` the provider ended a moment ago is confirmed with it in `_SOON`: its sign-in was under way then.
        """
        tags = [self._sealer.name("sub", session.sub)]
        tags += [self._sealer.name("sid", session.sid)] if session.sid else []
        self._store.put(_KIND, session.key, self._dump(session), session.expires, tags)
        if session.sid and self._store.get(_OVER, self._sealer.name("over", session.sid)) is not None:
            checked = min(session.checked_at, self._clock() - self._recheck + _SOON)
            self._store.put(_KIND, session.key, self._dump(replace(session, checked_at=checked)), session.expires, tags)
        return b64(self._sealer.seal(self._cookie, identifier.encode()))

    def key_of(self, cookie: str) -> str | None:
        """The store's key for a cookie; None for one that is forged, cut, of another key, or too long."""
        if not 0 < len(cookie) <= 512:
            return None
        try:
            identifier = self._sealer.open(self._cookie, unb64(cookie))
        except ValueError:
            return None
        return digest(identifier.decode()) if identifier is not None else None

    def get(self, key: str) -> Session | None:
        """The live session under `key`."""
        raw = self._store.get(_KIND, key)
        if raw is None:
            self._opened.pop(key, None)
            return None
        known = self._opened.get(key)
        if known is not None and known[0] == raw:  # read again, unsealed once
            return known[1]
        opened = self._sealer.open(f"{_KIND}:{key}", raw)
        session = Session(**json.loads(opened)) if opened is not None else None
        if session is not None:
            if len(self._opened) >= _MOST_OPENED:
                self._opened.clear()
            self._opened[key] = (raw, session)
        return session

    def replace(self, session: Session, *, lock: str, token: int) -> bool:
        """Write a refreshed session back; False when it was ended meanwhile or the lock has passed on."""
        return self._store.put_fenced(_KIND, session.key, self._dump(session), lock=lock, token=token)

    def end(self, key: str) -> bool:
        """End one session; its attributes go with it."""
        self._store.delete(ATTRIBUTES, key)
        return self._store.delete(_KIND, key)

    def end_by(self, *, sid: str | None, sub: str | None) -> tuple[str, ...]:
        """End every session that carries all that is given, as the provider says; the keys of those there were."""
        if sid:
            self._store.put(_OVER, self._sealer.name("over", sid), b"-", self._clock() + _OVER_SECONDS)
        found = [set(self._store.find(_KIND, self._sealer.name(u, v))) for u, v in (("sid", sid), ("sub", sub)) if v]
        return tuple(key for key in set.intersection(*found) if self.end(key)) if found else ()

    def replaced(self, key: str) -> None:
        """End a session whose browser has a new one: requests under way with the old cookie are no sign-out."""
        self._store.put(_REPLACED, key, b"-", self._clock() + _UNDER_WAY)
        self.end(key)

    def was_replaced(self, key: str) -> bool:
        """True for a session that was replaced a moment ago."""
        return self._store.get(_REPLACED, key) is not None

    def keep_attributes(self, session: Session, raw: Mapping[str, Any]) -> None:
        """Cache what the attribute endpoint said, sealed, for the session at most."""
        sealed = self._sealer.seal(f"{ATTRIBUTES}:{session.key}", json.dumps(raw).encode())
        self._store.put(ATTRIBUTES, session.key, sealed, session.expires)

    def attributes(self, session: Session) -> Mapping[str, Any] | None:
        """What was cached, if anything."""
        raw = self._store.get(ATTRIBUTES, session.key)
        opened = self._sealer.open(f"{ATTRIBUTES}:{session.key}", raw) if raw is not None else None
        return dict(json.loads(opened)) if opened is not None else None

    def _dump(self, session: Session) -> bytes:
        return self._sealer.seal(f"{_KIND}:{session.key}", json.dumps(asdict(session)).encode())
