"""The token endpoint: code for tokens, refresh token for tokens (RFC 6749 §4.1.3, §6)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from relying_party_sdk.clientauth import Proof
from relying_party_sdk.errors import ProviderError, SessionEnded
from relying_party_sdk.metadata import Metadata
from relying_party_sdk.request import Pending
from relying_party_sdk.settings import Settings
from relying_party_sdk.strict import answer
from relying_party_sdk.transport import HttpRequest, HttpResponse, post_form

_LIFETIME = 60.0
"""Life of an access token whose end the provider does not tell, seconds."""
_MOST_LIFETIME = 86_400.0
"""Longest that an access token is believed to live: other providers say weeks."""
_LONGEST = 65_536


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the token endpoint gave; the ID token is not verified yet."""

    access_token: str = field(repr=False)
    expires_in: float
    id_token: str = field(repr=False)
    refresh_token: str = field(repr=False)


def code_request(metadata: Metadata, settings: Settings, code: str, pending: Pending, client: Proof) -> HttpRequest:
    """Exchanges the code, with the PKCE verifier and the client's own proof."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": settings.redirect_uri,
        "code_verifier": pending.verifier,
    }
    return post_form(metadata.token_endpoint, {**form, **client.form}, **client.headers)


def refresh_request(metadata: Metadata, refresh_token: str, client: Proof) -> HttpRequest:
    """Exchanges a refresh token."""
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return post_form(metadata.token_endpoint, {**form, **client.form}, **client.headers)


def process_code(response: HttpResponse, *, bound: bool = False) -> Tokens:
    """The tokens of a sign-in; an ID token is among them. Raises ProviderError as `strict.answer`."""
    tokens = process_tokens(response, "code", bound=bound)
    if not tokens.id_token:
        raise ProviderError("rp.provider_answer", "code: no ID token")
    return tokens


def process_refresh(response: HttpResponse, *, bound: bool = False) -> Tokens:
    """The renewed tokens. Raises SessionEnded `rp.session_ended` for `invalid_grant`, ProviderError otherwise.

    Its `unsure` says that the refresh token may be spent: a server that failed on the way, or tokens nobody can read.
    """
    try:
        return process_tokens(response, "refresh", bound=bound)
    except ProviderError as error:
        if error.code == "rp.provider_refused" and error.detail == "refresh: invalid_grant":
            raise SessionEnded("rp.session_ended", "the provider ended the session") from error
        json = response.headers.get("content-type", "").startswith("application/json")
        error.unsure = response.status in (500, 504) or (response.status == 200 and json)
        raise


def process_tokens(response: HttpResponse, what: str, *, bound: bool) -> Tokens:
    """What the token endpoint gave; `bound`: to our key (RFC 9449 §5), or nothing is taken. Raises ProviderError."""
    raw = answer(response, what)
    texts = {name: raw.get(name) or "" for name in ("access_token", "id_token", "refresh_token")}
    if any(not isinstance(text, str) or len(text) > _LONGEST for text in texts.values()):
        raise ProviderError("rp.provider_answer", f"{what}: a token that is no text of a sensible size")
    kind = "dpop" if bound else "bearer"
    if not texts["access_token"] or str(raw.get("token_type")).lower() != kind:
        raise ProviderError("rp.provider_answer", f"{what}: no access token of type {kind}")
    lifetime = raw.get("expires_in", _LIFETIME)
    if not isinstance(lifetime, int | float) or isinstance(lifetime, bool) or not 0 < lifetime < math.inf:
        raise ProviderError("rp.provider_answer", f"{what}: expires_in is not a sensible time")
    return Tokens(expires_in=float(min(lifetime, _MOST_LIFETIME)), **texts)
