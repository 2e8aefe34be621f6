"""Access tokens at an API, checked here without a round trip (RFC 9068, RFC 6750 §5.2; Keycloak's own form of them).

A token that was checked is remembered under its hash for a minute, never past `exp`; new keys of the provider and every
sign-out forget it.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from relying_party_sdk.ended import Ended
from relying_party_sdk.errors import TokenError
from relying_party_sdk.jwks import KeyCache
from relying_party_sdk.person import Attributes, Person
from relying_party_sdk.profile import profile_of
from relying_party_sdk.settings import Settings
from relying_party_sdk.stores.protocol import Clock
from relying_party_sdk.verify import Header, check_times, read_claims, verified_payload

LONGEST = 16_384
"""Longest access token that is read, in characters: no server takes longer header fields."""
KEEP = 60.0
"""How long a checked token is remembered, in seconds."""
MOST = 10_000
"""How many checked tokens are remembered."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token that is good here and now."""

    client: str
    """Who asks with it: the client that the provider gave it to."""
    jkt: str
    """Thumbprint of the key that it is bound to (RFC 9449 §6.1), or empty."""
    claims: Mapping[str, Any] = field(repr=False, hash=False)
    read: Callable[[Mapping[str, Any]], Person | None] = field(repr=False, compare=False)

    @property
    def subject(self) -> str:
        """`sub`: a person, or a service that speaks for itself."""
        return str(self.claims["sub"])

    @property
    def expires(self) -> float:
        """When it ends, seconds since 1970 (UTC)."""
        return float(self.claims["exp"])

    @property
    def scopes(self) -> frozenset[str]:
        """What it was given for (RFC 6749 §3.3)."""
        scope = self.claims.get("scope")
        return frozenset(scope.split()) if isinstance(scope, str) else frozenset()

    @property
    def person(self) -> Person | None:
        """The person for whom the client asks; None for a service. Raises TokenError `rp.claims`."""
        return self.read(self.claims)


def check_access_token(header: Header, claims: Mapping[str, Any], settings: Settings, now: float) -> tuple[str, str]:
    """(client, thumbprint of the bound key) of a token of this provider for this API, whose signature is good.

    Raises TokenError `rp.token_typ`, `rp.token_iss`, `rp.token_aud`, `rp.token_azp`, `rp.token_expired`,
    `rp.token_iat`, `rp.token_sub`, `rp.token_binding` (RFC 9068 §4).
    """
    _check_type(header.typ, claims.get("typ"))
    if claims.get("iss") != settings.issuer:
        raise TokenError("rp.token_iss", "iss is another provider")
    audience = claims.get("aud")
    if audience != settings.audience and not (isinstance(audience, list) and settings.audience in audience):
        raise TokenError("rp.token_aud", "aud does not name this API")
    check_times(claims, settings.leeway, now)
    if claims["exp"] - claims["iat"] > settings.api_lifetime:
        raise TokenError("rp.token_expired", "made to live longer than api_lifetime")
    sub = claims.get("sub")
    if not isinstance(sub, str) or not 0 < len(sub) <= 255:
        raise TokenError("rp.token_sub", "sub is missing")
    return _client(claims, settings.api_clients), _bound(claims)


def _check_type(typ: object, kind: object) -> None:
    """RFC 9068 §4 by the header; Keycloak writes `JWT` there and the kind into the payload (seen with 26.7.3)."""
    if kind in ("Bearer", "DPoP") and typ in ("JWT", None):
        return
    name = typ.lower() if isinstance(typ, str) else typ
    if name in ("at+jwt", "application/at+jwt"):
        known = kind in (None, "Bearer", "DPoP", typ)
    else:
        known = name == "jwt" and kind in ("Bearer", "DPoP")
    if not known:
        raise TokenError("rp.token_typ", "not an access token")


def _client(claims: Mapping[str, Any], allowed: tuple[str, ...]) -> str:
    """The client; RFC 9068 §2.2 calls it `client_id`, OpenID Connect `azp`: where both are, they agree."""
    client = claims.get("azp", claims.get("client_id"))
    if not isinstance(client, str) or not client or claims.get("client_id", client) != client:
        raise TokenError("rp.token_azp", "it does not say to which client it was given")
    if allowed and client not in allowed:
        raise TokenError("rp.token_azp", "given to a client that is not among api_clients")
    return client


_KIND = "kc-jkt-type"
"""Keycloak's own member, beside `jkt` (seen with 26.7.3)."""
_CNF = {"jkt", _KIND}


def _bound(claims: Mapping[str, Any]) -> str:
    """The key it is bound to. A confirmation that is not understood is never taken for none (RFC 7800 §3.1)."""
    if "cnf" not in claims and claims.get("typ") != "DPoP":
        return ""
    confirmation = claims.get("cnf")
    known = (
        isinstance(confirmation, dict) and confirmation.get(_KIND, "DPoP") == "DPoP" and not set(confirmation) - _CNF
    )
    jkt = confirmation.get("jkt") if known and confirmation else None
    if not isinstance(jkt, str) or len(jkt) != 43:
        raise TokenError("rp.token_binding", "bound to a key in a way that is not understood")
    return jkt


_Checked = tuple[bytes, str, str, float, int, bytes | None]
"""Of a token that was good: its payload as octets (a quarter of their size as objects), client and bound key; until
when it is remembered, and with which keys and sign-outs it was checked."""


class Bearer:
    """Checks access tokens for all threads of a process."""

    def __init__(self, settings: Settings, keys: KeyCache, ended: Ended, clock: Clock) -> None:
        self._settings = settings
        self._keys = keys
        self._ended = ended
        self._clock = clock
        self._profile = profile_of(settings)
        self._guard = threading.Lock()
        self._checked: dict[bytes, _Checked] = {}

    def check(self, token: str) -> AccessToken:
        """The token, if it is good now. Raises TokenError, ProviderError (no keys can be had), StoreError."""
        now, fetches = self._clock(), self._keys.fetches
        mark = self._ended.mark(now)
        name = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        known = self._checked.get(name)
        if known is not None and now < known[3] and known[4] == fetches:
            payload, client, jkt, until, _, seen = known
            claims = read_claims(payload)
            if seen != mark:  # somebody was signed out since
                self._refuse_ended(claims)
                self._checked[name] = (payload, client, jkt, until, fetches, mark)
            return AccessToken(client, jkt, claims, self._person)
        header, payload = verified_payload(token, self._settings.algorithms, self._keys.find, LONGEST)
        claims = read_claims(payload)
        client, jkt = check_access_token(header, claims, self._settings, now)
        if mark is not None:
            self._refuse_ended(claims)
        until = min(now + KEEP, claims["exp"])
        if until > now:  # else: within the leeway, and not remembered
            if len(self._checked) >= MOST:
                self._make_room(now)
            self._checked[name] = (payload, client, jkt, until, fetches, mark)
        return AccessToken(client, jkt, claims, self._person)

    def _refuse_ended(self, claims: Mapping[str, Any]) -> None:
        if self._ended.names(claims):
            raise TokenError("rp.token_ended", "its session was signed out")

    def _person(self, claims: Mapping[str, Any]) -> Person | None:
        """A token without any claim of the hall's is a service's; one with some must have all."""
        if self._settings.claims == "crosshall" and not any(name.startswith("crosshall_") for name in claims):
            return None
        return self._profile.person(self._profile.check(claims), Attributes)

    def _make_room(self, now: float) -> None:
        """Drop what has run out; when that is little, the oldest tenth."""
        with self._guard:
            rows = list(self._checked.items())
            gone = [name for name, each in rows if each[3] <= now]
            more = [name for name, _ in rows[: max(0, len(rows) - len(gone) - MOST * 9 // 10)]]
            for name in (*gone, *more):
                self._checked.pop(name, None)
