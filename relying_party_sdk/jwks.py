"""The provider's public keys (RFC 7517): checked when read, cached, looked up by `kid` without storms of fetches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from relying_party_sdk.errors import ProviderError, TokenError
from relying_party_sdk.shared import Shared
from relying_party_sdk.stores.protocol import Clock
from relying_party_sdk.strict import answer
from relying_party_sdk.transport import HttpResponse

TTL = 600.0
STALE = 86_400.0
"""How long keys stay good, in seconds, when the provider cannot be asked for newer ones."""
COOLDOWN = 30.0
"""Least time between two fetches for an unknown `kid`, in seconds: a thousand invented ones cause one fetch."""
_MOST = 50

_KINDS = {
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
}


@dataclass(frozen=True, slots=True)
class Key:
    """One public key for signatures; `algorithm` is empty when the provider does not bind it to one."""

    kid: str
    kind: str
    curve: str | None
    algorithm: str
    public: Any

    def fits(self, algorithm: str) -> bool:
        """True when a signature of `algorithm` can be by this key (RFC 8725 §3.1: one key, one algorithm)."""
        return _KINDS[algorithm] == (self.kind, self.curve) and self.algorithm in ("", algorithm)


def process_jwks(response: HttpResponse) -> tuple[Key, ...]:
    """The usable signature keys of a JWK set; keys of other kinds or uses are left out (RFC 7517 §5).

    Raises ProviderError `rp.provider_answer`, or as `strict.answer`.
    """
    raw = answer(response, "keys").get("keys")
    if not isinstance(raw, list) or len(raw) > _MOST:
        raise ProviderError("rp.provider_answer", f"keys: not a list of at most {_MOST}")
    return tuple(key for key in map(_key, raw) if key is not None)


def _key(raw: object) -> Key | None:
    if not isinstance(raw, Mapping) or raw.get("use", "sig") != "sig" or "d" in raw or raw.get("kty") == "oct":
        return None
    kind, curve, kid, algorithm = raw.get("kty"), raw.get("crv"), raw.get("kid", ""), raw.get("alg", "")
    if not isinstance(kid, str) or not isinstance(algorithm, str) or (algorithm and algorithm not in _KINDS):
        return None
    name = algorithm or next((a for a, fit in _KINDS.items() if fit == (kind, curve)), "")
    if not name:
        return None
    try:
        public = jwt.PyJWK(dict(raw), algorithm=name).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if kind == "RSA" and public.key_size < 2048:
        return None
    return Key(kid, str(kind), curve if kind == "EC" else None, algorithm, public)


class KeyCache:
    """Keys of one provider for all threads; asks again at most once in `COOLDOWN` for a `kid` it does not know."""

    def __init__(self, fetch: Callable[[], tuple[Key, ...]], clock: Clock, *, wait: float) -> None:
        self._shared = Shared(fetch, clock, ttl=TTL, stale=STALE, wait=wait)
        self._clock = clock
        self._guard = threading.Lock()
        self._missed = float("-inf")

    def find(self, kid: str | None, algorithm: str) -> Key:
        """The key of a token. Raises TokenError `rp.token_key`, ProviderError when no keys can be had at all."""
        keys = self._shared.get()
        found = _pick(keys, kid, algorithm)
        if found is None and self._may_ask():
            keys = self._shared.renew()
            found = _pick(keys, kid, algorithm)
        if found is None and kid:  # keys may go without a name (RFC 7517 §4.5); the signature decides
            found = _pick(tuple(key for key in keys if not key.kid), None, algorithm)
        if found is None:
            raise TokenError("rp.token_key", "no such key of the provider")
        return found

    def _may_ask(self) -> bool:
        with self._guard:
            now = self._clock()
            if 0 <= now - self._missed < COOLDOWN:
                return False
            self._missed = now
            return True


def _pick(keys: tuple[Key, ...], kid: str | None, algorithm: str) -> Key | None:
    fitting = [key for key in keys if key.fits(algorithm) and (kid is None or key.kid == kid)]
    return fitting[0] if len(fitting) == 1 or (fitting and kid is not None) else None
