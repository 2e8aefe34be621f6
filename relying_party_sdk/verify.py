"""Checks of ID tokens and logout tokens; pure but for the key look-up that is handed in.

Order: form, algorithm (from the settings' list, never from the token alone), key, signature, and only then claims.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeGuard

from relying_party_sdk.errors import TokenError
from relying_party_sdk.jwks import Key
from relying_party_sdk.sealing import b64, unb64
from relying_party_sdk.settings import Settings
from relying_party_sdk.strict import json_object

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
LOGOUT_AGE = 120
"""Oldest logout token that is taken, in seconds."""
LONGEST = 65_536
"""Longest token that is read, in characters."""
_COMMON_HEADER = 1024
"""Longest header, in characters, whose reading is remembered: all tokens by one key begin alike."""

FindKey = Callable[[str | None, str], Key]
"""(kid, algorithm) → the provider's key; raises TokenError `rp.token_key`."""


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a JWS as it is used; nothing of it is verified."""

    alg: object
    kid: object
    typ: object
    strange: bool
    """It asks for what is not understood here (`crit`, RFC 7515 §4.1.11; `b64`, RFC 7797)."""
    members: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verified:
    """Header and claims of a token whose signature is good."""

    header: Header
    claims: Mapping[str, Any]


def verify_signature(token: str, algorithms: tuple[str, ...], find_key: FindKey, longest: int = LONGEST) -> Verified:
    """Header and claims of a compact JWS signed by the provider (RFC 7515 §5.2, RFC 8725 §3).

    Raises TokenError `rp.token_format`, `rp.token_alg`, `rp.token_key`, `rp.token_signature`.
    """
    header, payload = verified_payload(token, algorithms, find_key, longest)
    return Verified(header, read_claims(payload))


def verified_payload(
    token: str, algorithms: tuple[str, ...], find_key: FindKey, longest: int = LONGEST
) -> tuple[Header, bytes]:
    """As `verify_signature`, but the payload is not read yet."""
    header, message, payload, signature = split(token, longest)
    algorithm, kid = header.alg, header.kid
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise TokenError("rp.token_alg", "signed with an algorithm that is not allowed")
    if header.strange or not (kid is None or isinstance(kid, str)):
        raise TokenError("rp.token_format", "header members that are not understood")
    check = find_key(kid, algorithm).checks.get(algorithm)
    if check is None or not check(signature, message):
        raise TokenError("rp.token_signature", "the signature is wrong")
    return header, payload


def read_claims(payload: bytes) -> dict[str, Any]:
    """A payload as claims. Raises TokenError `rp.token_format`."""
    try:
        return json_object(payload)
    except ValueError as error:
        raise TokenError("rp.token_format", "the payload is not a JSON object") from error


def split(token: str, longest: int = LONGEST) -> tuple[Header, bytes, bytes, bytes]:
    """Header, what is signed, payload and signature of a compact JWS of at most `longest` characters; unverified.

    Raises TokenError `rp.token_format`.
    """
    try:
        if len(token) > longest:
            raise ValueError("too long")
        message, _, signature = token.encode("ascii").rpartition(b".")
        head, dot, body = message.partition(b".")
        if not dot:  # three dots are caught below: none is in the alphabet
            raise ValueError("two parts")
        header = (_known_header if len(head) <= _COMMON_HEADER else _header)(head)
        return header, message, unb64(body), unb64(signature)
    except (ValueError, TypeError, AttributeError) as error:
        raise TokenError("rp.token_format", "not a compact JWS of a sensible size") from error


def _header(segment: bytes) -> Header:
    raw = json_object(unb64(segment))
    strange = "crit" in raw or "b64" in raw
    return Header(raw.get("alg"), raw.get("kid"), raw.get("typ"), strange, MappingProxyType(raw))


_known_header = functools.lru_cache(maxsize=64)(_header)


def check_id_token(  # one check a line, in the order of OpenID Connect Core §3.1.3.7
    token: str,
    settings: Settings,
    find_key: FindKey,
    now: float,
    *,
    nonce: str | None,
    access_token: str = "",
    subject: str | None = None,
) -> Mapping[str, Any]:
    """The claims of an ID token that is for this client, from this provider, now, and for this sign-in.

    `nonce` is the one sent (sign-in), or None at refresh; `subject` is the session's `sub` at refresh.
    Raises TokenError `rp.token_…`; the sources are OpenID Connect Core §3.1.3.7 and §12.2.
    """
    verified = verify_signature(token, settings.algorithms, find_key)
    claims = verified.claims
    typ = verified.header.members.get("typ", "JWT")
    if not isinstance(typ, str) or typ.upper() != "JWT" or claims.get("typ", "ID") != "ID":
        raise TokenError("rp.token_typ", "not an ID token")
    check_source(claims, settings)
    check_times(claims, settings.leeway, now)
    if "azp" in claims and claims["azp"] != settings.client_id:
        raise TokenError("rp.token_azp", "azp is another client")
    sub = claims.get("sub")
    if not isinstance(sub, str) or not 0 < len(sub) <= 255:
        raise TokenError("rp.token_sub", "sub is missing")
    if subject is not None and sub != subject:
        raise TokenError("rp.token_sub", "sub changed at refresh")
    if nonce is not None:
        given = claims.get("nonce")
        if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
            raise TokenError("rp.token_nonce", "nonce is missing or of another sign-in")
    if "at_hash" in claims and claims["at_hash"] != at_hash(str(verified.header.alg), access_token):
        raise TokenError("rp.token_at_hash", "at_hash is of another access token")
    return claims


def at_hash(algorithm: str, access_token: str) -> str:
    """Left half of the hash of the access token (OpenID Connect Core §3.1.3.6)."""
    raw = hashlib.new(f"sha{algorithm[2:]}", access_token.encode()).digest()
    return b64(raw[: len(raw) // 2])


@dataclass(frozen=True, slots=True)
class LogoutNotice:
    """Whose sessions end: those of `sid`, of `sub`, or of both together. `jti` must be used once."""

    jti: str
    sub: str | None
    sid: str | None
    issued: float = 0.0
    """When the provider said so, seconds since 1970."""


def check_logout_token(token: str, settings: Settings, find_key: FindKey, now: float) -> LogoutNotice:
    """What a logout token of this provider for this client says (OpenID Connect Back-Channel Logout 1.0 §2.6).

    Raises TokenError `rp.token_…` or `rp.logout_…`. The caller makes sure that `jti` was not used before.
    """
    verified = verify_signature(token, settings.algorithms, find_key)
    claims = verified.claims
    typ = verified.header.typ
    untyped = settings.dangerously_accept_untyped_logout_tokens and typ in (None, "JWT")
    if not untyped and (not isinstance(typ, str) or typ.lower() not in ("logout+jwt", "application/logout+jwt")):
        raise TokenError("rp.token_typ", "not a logout token")
    check_source(claims, settings)
    check_times(claims, settings.leeway, now)
    if now - claims["iat"] > LOGOUT_AGE + settings.leeway:
        raise TokenError("rp.logout_old", f"older than {LOGOUT_AGE} seconds")
    events = claims.get("events")
    if not isinstance(events, Mapping) or not isinstance(events.get(LOGOUT_EVENT), Mapping):
        raise TokenError("rp.logout_event", "not about a sign-out")
    if "nonce" in claims:
        raise TokenError("rp.logout_nonce", "a logout token has no nonce")
    jti, sub, sid = claims.get("jti"), claims.get("sub"), claims.get("sid")
    if not isinstance(jti, str) or not 0 < len(jti) <= 255:
        raise TokenError("rp.logout_jti", "jti is missing")
    named = [value for value in (sub, sid) if value is not None]
    if not named or not all(isinstance(value, str) and 0 < len(value) <= 255 for value in named):
        raise TokenError("rp.logout_subject", "neither sub nor sid")
    return LogoutNotice(jti, sub, sid, float(claims["iat"]))


def check_source(claims: Mapping[str, Any], settings: Settings) -> None:
    """Passes for a token of this provider for this client alone. Raises TokenError `rp.token_iss`, `rp.token_aud`."""
    if claims.get("iss") != settings.issuer:
        raise TokenError("rp.token_iss", "iss is another provider")
    audience = claims.get("aud")
    if audience not in (settings.client_id, [settings.client_id]):  # ours: no second audience is trusted
        raise TokenError("rp.token_aud", "aud is not this client alone")


def check_times(claims: Mapping[str, Any], leeway: int, now: float) -> None:
    """Passes between `iat`, `nbf` and `exp` (seconds). Raises TokenError `rp.token_expired`, `rp.token_iat`."""
    exp, iat = claims.get("exp"), claims.get("iat")
    if not is_time(exp) or exp <= now - leeway:
        raise TokenError("rp.token_expired", "exp is missing or past")
    if not is_time(iat) or iat > now + leeway:
        raise TokenError("rp.token_iat", "iat is missing or in the future")
    if "nbf" in claims and (not is_time(claims["nbf"]) or claims["nbf"] > now + leeway):
        raise TokenError("rp.token_iat", "nbf is no time, or in the future")


def is_time(value: object) -> TypeGuard[float]:
    """True for a number that can be a time (RFC 7519 §2, NumericDate)."""
    return type(value) is int or (type(value) is float and math.isfinite(value))
