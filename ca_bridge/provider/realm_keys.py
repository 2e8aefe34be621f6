"""The realm's public keys: fetched from its JWKS, kept, fetched again in bounds, used stale while the realm is away."""

from __future__ import annotations

import json
import logging
import threading
from datetime import datetime, timedelta
from typing import Any, Protocol

import jwt

from ca_bridge.errors import ProviderError, UpstreamError
from ca_bridge.provider.http import Answer
from ca_bridge.types import Clock

FRESH = timedelta(minutes=5)
STALE = timedelta(hours=24)
"""How long keys are used after the realm stopped answering: a rotation made meanwhile is not seen, so not for ever."""
BETWEEN, AT_ONCE = timedelta(seconds=10), 3
"""Fetches, whatever key ids strangers send: one in ten seconds on average and three in a row, so that a realm rebuilt
just after a fetch is known at once."""
ALGORITHMS = ("ES256",)
MAX_TOKEN = 16 * 1024
LEEWAY = timedelta(seconds=5)
_log = logging.getLogger(__name__)


class Getter(Protocol):
    """The part of `HttpClient` that is needed here."""

    def get(self, url: str) -> Answer:
        """GET."""


class RealmKeys:
    """Verifies what the realm signed (ES256 only). Thread safe: one fetch at a time, others use what is there."""

    def __init__(self, url: str, http: Getter, clock: Clock) -> None:
        self._url = url
        self._http = http
        self._clock = clock
        self._lock = threading.Lock()
        self._held: tuple[dict[str, jwt.PyJWK], datetime | None] = ({}, None)
        self._paid: datetime | None = None  # until when the fetches so far are paid for, each with `BETWEEN`

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of `token` when the realm signed it; what they say is not judged here, nor its times.

        Raises ProviderError `provider.token_form`, `provider.token_signature` (algorithm, key or signature);
        UpstreamError `upstream.realm_keys` when no key of the realm can be had.
        """
        if len(token) > MAX_TOKEN:
            raise ProviderError("provider.token_form", "longer than a token may be")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError) as error:
            raise ProviderError("provider.token_form", "not a compact JWS") from error
        kid = header.get("kid")
        if header.get("alg") not in ALGORITHMS or not isinstance(kid, str) or "crit" in header:
            raise ProviderError("provider.token_signature", "algorithm, key id or critical header not accepted")
        key = self._key(kid)
        checks = {
            "verify_aud": False,
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
            "verify_iss": False,
        }
        try:
            claims: dict[str, Any] = jwt.decode(token, key, algorithms=list(ALGORITHMS), options=checks)  # type: ignore[arg-type]
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise ProviderError("provider.token_signature", type(error).__name__) from error
        return claims

    def _key(self, kid: str) -> jwt.PyJWK:
        now = self._clock()
        known, age = self._look(kid, now)
        if known is None or age is None or age >= FRESH:
            # who has a usable key does not wait for another's fetch
            if self._lock.acquire(blocking=known is None or age is None or age >= STALE):
                try:
                    self._fetch(now)
                finally:
                    self._lock.release()
            known, age = self._look(kid, now)
        if age is None or age >= STALE:
            raise UpstreamError("upstream.realm_keys", "no keys of the realm")
        if known is None:
            raise ProviderError("provider.token_signature", "not a key of the realm")
        return known

    def _look(self, kid: str, now: datetime) -> tuple[jwt.PyJWK | None, timedelta | None]:
        keys, fetched = self._held
        return keys.get(kid), now - fetched if fetched else None

    def _fetch(self, now: datetime) -> None:
        paid = self._paid or now
        if paid - now > BETWEEN * AT_ONCE:  # the clock was set back
            paid = now
        if paid - now > BETWEEN * (AT_ONCE - 1):
            return
        self._paid = max(paid, now) + BETWEEN
        try:
            answer = self._http.get(self._url)
            if answer.status != 200:
                raise UpstreamError("upstream.answer", f"status {answer.status} for the realm's keys")
            keys = _read(answer.body)
        except UpstreamError as error:
            _log.warning("realm keys not fetched", extra={"code": error.code, "detail": error.detail})
            return
        self._held = (keys, now)


def _read(body: bytes) -> dict[str, jwt.PyJWK]:
    """The P-256 signing keys of a JWKS; an answer without one is no answer."""
    try:
        rows = json.loads(body)["keys"]
        keys = {
            row["kid"]: jwt.PyJWK({**row, "alg": "ES256"})
            for row in rows
            if row.get("kty") == "EC" and row.get("crv") == "P-256" and row.get("use", "sig") == "sig"
            if row.get("alg", "ES256") == "ES256" and isinstance(row.get("kid"), str)
        }
    except (ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
        raise UpstreamError("upstream.answer", "the realm's keys cannot be read") from error
    if not keys:
        raise UpstreamError("upstream.answer", "the realm has no ES256 key")
    return keys


def check_times(claims: dict[str, Any], now: datetime, *, longest: timedelta | None = None) -> datetime:
    """The end of a token whose times hold at `now`, give or take `LEEWAY`: `exp`, `iat`, and `nbf` where present.

    `longest`: the most that may lie between `iat` and `exp`. Raises ProviderError `provider.token_expired`.
    """
    exp, iat, nbf = (_seconds(claims.get(name)) for name in ("exp", "iat", "nbf"))
    present = now.timestamp()
    leeway = LEEWAY.total_seconds()
    if exp is None or iat is None or ("nbf" in claims and nbf is None):
        raise ProviderError("provider.token_expired", "exp, iat or nbf is missing or no number")
    if exp <= present - leeway or iat > present + leeway or (nbf is not None and nbf > present + leeway):
        raise ProviderError("provider.token_expired", "the token's time is over or has not come")
    if longest is not None and exp - iat > longest.total_seconds():
        raise ProviderError("provider.token_expired", "the token lives longer than it may")
    return datetime.fromtimestamp(exp, now.tzinfo)


def _seconds(value: Any) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**40
    return float(value) if good else None
