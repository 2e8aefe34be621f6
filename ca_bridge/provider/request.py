"""Reading an authorization request: every parameter checked before anything is done (OpenID Connect Core §3.1.2).

Two kinds of refusal (RFC 6749 §4.1.2.1): while client or redirect_uri is not right, an error of ours (ProviderError,
shown as a page); after that `Refused`, which goes back to the client.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from werkzeug.datastructures import MultiDict

from ca_bridge.ceremony.transaction import SignInRequest
from ca_bridge.errors import ProviderError
from ca_bridge.provider.client import RealmClient
from ca_bridge.types import LEVELS, LOA_PREFIX

PROMPTS = frozenset({"none", "login", "select_account", "consent"})
_LIMITS = {"state": 2048, "nonce": 512, "claims": 4096, "ui_locales": 200, "acr_values": 500, "scope": 500, "hall": 128}
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_HALL = re.compile(r"[a-z0-9-]+(/[a-z0-9-]+)*")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")
_LONGEST_AGE = 10 * 365 * 86400


class Refused(Exception):  # noqa: N818 - an answer to the client, not a fault
    """An OpenID Connect error that goes back to the client: `error`, and words for its developer (ASCII)."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(error)
        self.error = error
        self.description = description


@dataclass(frozen=True, slots=True)
class Asked:
    """A checked authorization request; `silent` is `prompt=none`."""

    request: SignInRequest
    silent: bool


def check_client(parameters: MultiDict[str, str], client: RealmClient) -> None:
    """Client and redirect_uri are ours to answer to. Raises ProviderError `provider.client` or `.redirect_uri`."""
    if parameters.getlist("client_id") != [client.client_id]:
        raise ProviderError("provider.client", "client_id is absent, repeated or unknown")
    given = parameters.getlist("redirect_uri")
    if len(given) != 1 or not client.check_redirect_uri(given[0]):
        raise ProviderError("provider.redirect_uri", "redirect_uri is absent, repeated or not the registered one")


def read_request(parameters: MultiDict[str, str], client: RealmClient, now: datetime) -> Asked:
    """What the client asks. `check_client` has passed. Raises Refused."""
    single = {name: values for name, values in parameters.lists() if len(values) > 1}
    if single:
        raise Refused("invalid_request", "a parameter is given more than once")
    for name, most in _LIMITS.items():
        value = parameters.get(name, "")
        if len(value) > most or (name != "claims" and not _PRINTABLE.fullmatch(value)):
            raise Refused("invalid_request", f"{name} is too long or not printable ASCII")
    for name, error in (("request", "request_not_supported"), ("request_uri", "request_uri_not_supported")):
        if name in parameters:
            raise Refused(error, f"{name} is not supported")
    if parameters.get("response_type") != "code":
        raise Refused("unsupported_response_type", "response_type must be code")
    if parameters.get("response_mode", "query") != "query":
        raise Refused("invalid_request", "response_mode must be query")
    scope = client.get_allowed_scope(parameters.get("scope"))
    if scope is None:
        raise Refused("invalid_scope", "scope must contain openid")
    for name in ("state", "nonce"):
        if not parameters.get(name):
            raise Refused("invalid_request", f"{name} is required")
    prompts = _prompts(parameters.get("prompt", ""))
    request = SignInRequest(
        client_id=client.client_id,
        redirect_uri=parameters["redirect_uri"],
        state=parameters["state"],
        nonce=parameters["nonce"],
        code_challenge=_challenge(parameters),
        scope=scope,
        level=wanted_level(parameters.get("acr_values", ""), parameters.get("claims", "")),
        fresh_after=_fresh_after(prompts, parameters.get("max_age"), now),
        languages=tuple(parameters.get("ui_locales", "").split()[:8]),
        hall=hall if _HALL.fullmatch(hall := parameters.get("hall", "")) else "",
    )
    return Asked(request, silent="none" in prompts)


def safe_state(parameters: MultiDict[str, str]) -> str:
    """The `state` to send back with an error; empty when it is not one we would have taken."""
    given = parameters.getlist("state")
    good = len(given) == 1 and len(given[0]) <= _LIMITS["state"] and _PRINTABLE.fullmatch(given[0])
    return given[0] if good else ""


def wanted_level(acr_values: str, claims: str) -> int:
    """The least level that satisfies `acr_values` and `claims` (id_token.acr) together; 1 when neither names any.

    Each names alternatives (OpenID Connect Core §3.1.2.1, §5.5.1.1), so the lowest of each would do; both must be met.
    Asked for contexts of which none is ours: Refused, for answering with less would be a lie.
    """
    return max(_least(acr_values.split(), "acr_values"), _least(_acr_of(claims), "claims"))


def _least(asked: list[str], where: str) -> int:
    if not asked:
        return 1
    levels = [level for level in LEVELS if f"{LOA_PREFIX}{level}" in asked]
    if not levels:
        raise Refused("invalid_request", f"{where} names no level of this provider")
    return min(levels)


def _acr_of(claims: str) -> list[str]:
    if not claims:
        return []
    try:
        parsed = json.loads(claims)
    except (ValueError, RecursionError) as error:
        raise Refused("invalid_request", "claims is not JSON") from error
    member = _member(_member(parsed, "id_token"), "acr")
    values = member.get("values", [member["value"]] if "value" in member else [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise Refused("invalid_request", "claims: acr values must be texts")
    return values


def _member(parsed: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(parsed, dict):
        raise Refused("invalid_request", "claims is not a JSON object of objects")
    found = parsed.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Refused("invalid_request", f"claims: {name} is not an object")
    return found


def _prompts(text: str) -> frozenset[str]:
    prompts = frozenset(text.split())
    if prompts - PROMPTS:
        raise Refused("invalid_request", "prompt has an unknown value")
    if "none" in prompts and len(prompts) > 1:
        raise Refused("invalid_request", "prompt=none stands alone")
    return prompts


def _fresh_after(prompts: frozenset[str], max_age: str | None, now: datetime) -> datetime | None:
    if max_age is not None and (not re.fullmatch(r"[0-9]{1,9}", max_age) or int(max_age) > _LONGEST_AGE):
        raise Refused("invalid_request", "max_age must be a whole number of seconds")
    if prompts & {"login", "select_account"}:
        return now
    return None if max_age is None else now - timedelta(seconds=int(max_age))


def _challenge(parameters: MultiDict[str, str]) -> str:
    challenge = parameters.get("code_challenge", "")
    # RFC 7636 §4.3: an absent method means plain, which protects nothing
    if parameters.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge):
        raise Refused("invalid_request", "PKCE with S256 is required")
    return challenge
