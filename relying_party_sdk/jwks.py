"""The provider's public keys (RFC 7517): checked when read, cached, looked up by `kid` without storms of fetches.

The last good ones are kept in a file, so that tokens are checked while the provider is down, after a restart too.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import jwt

from relying_party_sdk.errors import ProviderError, TokenError
from relying_party_sdk.shared import Shared
from relying_party_sdk.signatures import Check, checks_of
from relying_party_sdk.stores.protocol import Clock
from relying_party_sdk.strict import answer
from relying_party_sdk.transport import HttpResponse

log = logging.getLogger("relying_party_sdk")

TTL = 600.0
STALE = 86_400.0
"""How long keys stay good, in seconds, when the provider cannot be asked for newer ones."""
COOLDOWN = 30.0
"""Least time between two fetches for an unknown `kid`, in seconds: a thousand invented ones cause one fetch."""
_JOIN = 2.0
"""How long a token with an unknown `kid` waits for a fetch that is under way, in seconds."""
_MOST = 50
_USED = ("RS256", "PS256", "PS384", "ES256", "ES384")


@dataclass(frozen=True, slots=True)
class Key:
    """One public key for signatures; `algorithm` is empty when the provider does not bind it to one."""

    kid: str
    algorithm: str
    checks: Mapping[str, Check] = field(repr=False, compare=False)
    """A prepared check for each algorithm that fits (RFC 8725 §3.1: one key, one algorithm)."""
    jwk: Mapping[str, Any] = field(repr=False, compare=False)
    """As the provider published it."""

    def fits(self, algorithm: str) -> bool:
        """True when a signature of `algorithm` can be by this key."""
        return algorithm in self.checks


def process_jwks(response: HttpResponse) -> tuple[Key, ...]:
    """The usable signature keys of a JWK set; keys of other kinds or uses are left out (RFC 7517 §5).

    Raises ProviderError `rp.provider_answer`, or as `strict.answer`.
    """
    raw = answer(response, "keys").get("keys")
    if not isinstance(raw, list) or len(raw) > _MOST:
        raise ProviderError("rp.provider_answer", f"keys: not a list of at most {_MOST}")
    return read_keys(raw)


def read_keys(raw: Iterable[object]) -> tuple[Key, ...]:
    """The usable ones among JWKs."""
    return tuple(key for key in map(_key, raw) if key is not None)


def _key(raw: object) -> Key | None:
    if not isinstance(raw, Mapping) or raw.get("use", "sig") != "sig" or raw.get("kty") not in ("EC", "RSA"):
        return None
    kid, algorithm = raw.get("kid", ""), raw.get("alg", "")
    if "d" in raw or not isinstance(kid, str) or algorithm not in ("", *_USED):
        return None
    public = public_key(raw)
    checks = {name: check for name, check in checks_of(public).items() if algorithm in ("", name)}
    return Key(kid, algorithm, checks, dict(raw)) if checks else None


def public_key(raw: Mapping[str, Any]) -> object | None:
    """The public key of a JWK, EC or RSA; None for one that is malformed."""
    kind = jwt.algorithms.ECAlgorithm if raw.get("kty") == "EC" else jwt.algorithms.RSAAlgorithm
    try:
        return kind.from_jwk(dict(raw))
    except (jwt.PyJWTError, ValueError, TypeError):
        return None


class KeySet:
    """Keys, found by name and algorithm in one step."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self.keys = keys
        self._named: dict[tuple[str, str], Key] = {}
        self._alone: dict[str, Key | None] = {}
        self._nameless: dict[str, Key | None] = {}
        for key in keys:
            for algorithm in key.checks:
                self._named.setdefault((key.kid, algorithm), key)
                self._alone[algorithm] = None if algorithm in self._alone else key
                if not key.kid:
                    self._nameless[algorithm] = None if algorithm in self._nameless else key

    def pick(self, kid: str | None, algorithm: str) -> Key | None:
        """The key of that name; without a name the only one that fits: none is tried by luck."""
        return self._named.get((kid, algorithm)) if kid else self._alone.get(algorithm)

    def nameless(self, algorithm: str) -> Key | None:
        """The only fitting key among those without a name (RFC 7517 §4.5)."""
        return self._nameless.get(algorithm)


class Kept(Protocol):
    """Where the last good keys outlive the process."""

    def load(self) -> tuple[tuple[Key, ...], float] | None:
        """The keys and when they were fetched (seconds since 1970), if there are any that may be used."""

    def save(self, keys: tuple[Key, ...], fetched: float) -> None:
        """Keep them; what goes wrong is logged only."""


class KeyCache:
    """Keys of one provider for all threads; asks again at most once in `COOLDOWN` for a `kid` it does not know."""

    def __init__(
        self,
        fetch: Callable[[], tuple[Key, ...]],
        clock: Clock,
        *,
        wait: float,
        stale: float = STALE,
        kept: Kept | None = None,
    ) -> None:
        self._fetch = fetch
        self._kept = kept
        self._shared = Shared(self._fetch_and_keep, clock, ttl=TTL, stale=stale, wait=wait)
        self._clock = clock
        self._guard = threading.Lock()
        self._missed = float("-inf")
        self._asking = threading.Event()
        found = kept.load() if kept is not None else None
        if found is not None:  # for when the provider is down; a process that starts asks for newer ones first
            self._shared.seed(KeySet(found[0]), min(found[1], clock() - TTL))

    def find(self, kid: str | None, algorithm: str) -> Key:
        """The key of a token. Raises TokenError `rp.token_key`, ProviderError when no keys can be had at all."""
        keys = self._shared.fresh()
        if keys is not None and (known := keys.pick(kid, algorithm)) is not None:
            return known
        fetches = self._shared.fetches
        keys = self._shared.get()
        found = keys.pick(kid, algorithm)
        if found is None:
            keys = self._look_again(fetches)
            found = keys.pick(kid, algorithm) or (keys.nameless(algorithm) if kid else None)
        if found is None:
            raise TokenError("rp.token_key", "no such key of the provider")
        return found

    @property
    def fetches(self) -> int:
        """How often keys have been fetched: changes whenever they may have."""
        return self._shared.fetches

    def _fetch_and_keep(self) -> KeySet:
        keys = self._fetch()
        if not keys:  # an empty set is an outage of another kind: it must not wipe what is known
            raise ProviderError("rp.provider_answer", "keys: none that is usable")
        if self._kept is not None:
            self._kept.save(keys, self._clock())
        return KeySet(keys)

    def _look_again(self, fetches: int) -> KeySet:
        """Newer keys, if they may be asked for; who may not waits a moment for whoever does."""
        mine, asking = self._ask()
        if not mine:
            asking.wait(_JOIN)
            return self._shared.get()
        try:
            if self._shared.fetches != fetches:  # a set that came just now need not come again
                return self._shared.get()
            keys = self._shared.renew()
            if self._shared.fetches == fetches:  # failed: that was no answer about this key
                with self._guard:
                    self._missed = float("-inf")
            return keys
        finally:
            asking.set()

    def _ask(self) -> tuple[bool, threading.Event]:
        """Whether this thread asks for a `kid` that is not known, and what tells that the last one to ask is done."""
        with self._guard:
            now = self._clock()
            if 0 <= now - self._missed < COOLDOWN:
                return False, self._asking
            self._missed, self._asking = now, threading.Event()
            return True, self._asking
