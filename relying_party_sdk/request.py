"""Leaving for the provider: a pending sign-in per tab, the authorization request, PAR when it is offered.

Sources: OpenID Connect Core §3.1.2.1, RFC 7636 (S256), RFC 9126 (PAR).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypedDict, Unpack
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from relying_party_sdk.clientauth import Proof
from relying_party_sdk.errors import ProviderError
from relying_party_sdk.metadata import Metadata
from relying_party_sdk.person import Requirement
from relying_party_sdk.profile import profile_of
from relying_party_sdk.sealing import Random, b64
from relying_party_sdk.settings import Settings
from relying_party_sdk.strict import answer
from relying_party_sdk.transport import HttpRequest, HttpResponse, post_form

_LONGEST_PATH = 2000
_LONGEST_HALL = 128
_HALL = re.compile(r"[a-z0-9-]+(/[a-z0-9-]+)*")


class How(TypedDict, total=False):
    """What a sign-in may ask beside the requirement."""

    fresh: bool
    hall: str
    """A hint: the node where the person may be signed in already (docs/abroad.md)."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A sign-in under way in one tab: kept sealed in the store until the browser comes back, for one use."""

    state: str
    nonce: str
    verifier: str
    browser: str
    """SHA-256 of the cookie set in this browser for this sign-in: another browser cannot finish it."""
    return_to: str
    wanted: Requirement

    def dump(self) -> bytes:
        """For the store."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def load(cls, raw: bytes) -> Pending:
        """From the store."""
        values = json.loads(raw)
        return cls(**{**values, "wanted": Requirement(**values["wanted"])})


def new_pending(random: Random, browser: str, return_to: str, wanted: Requirement) -> Pending:
    """A pending sign-in with fresh state, nonce and PKCE verifier, 256 bits each."""
    state, nonce, verifier = (b64(random(32)) for _ in range(3))
    return Pending(state, nonce, verifier, browser, safe_path(return_to), wanted)


def safe_path(path: str) -> str:
    """`path` when it stays at this site (one leading slash, no host, no control characters), else `/`.

    Browsers read `\\` as `/` and drop tabs and line ends (WHATWG URL): all of them make the path unsafe.
    """
    if not 0 < len(path) <= _LONGEST_PATH or not path.startswith("/") or path.startswith("//"):
        return "/"
    if re.search(r"[\x00-\x20\x7f\\]", path):
        return "/"
    try:
        parts = urlsplit(path)
    except ValueError:
        return "/"
    return "/" if parts.scheme or parts.netloc else path


def authorization_parameters(
    settings: Settings, pending: Pending, languages: Sequence[str], jkt: str = "", **how: Unpack[How]
) -> Mapping[str, str]:
    """The parameters of the authorization request; level and age only when asked.

    `fresh` asks for a new proof: a provider that brokers counts `max_age` from the end of its own sign-in, later than
    the proof we count from. `jkt` binds the code to a key (RFC 9449 §10).
    Raises SettingsError `rp.settings` for a level that the settings name no `acr` for, ValueError for no node's name.
    """
    challenge = b64(hashlib.sha256(pending.verifier.encode()).digest())
    parameters = {
        "response_type": "code",
        "client_id": settings.client_id,
        "redirect_uri": settings.redirect_uri,
        "scope": settings.scope,
        "state": pending.state,
        "nonce": pending.nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    if settings.response_mode != "query":
        parameters["response_mode"] = settings.response_mode
    if pending.wanted.level > 1:
        parameters["acr_values"] = profile_of(settings).acr_values(pending.wanted.level)
    if pending.wanted.max_age is not None:
        parameters["max_age"] = str(pending.wanted.max_age)
    if hall := how.get("hall", ""):
        if len(hall) > _LONGEST_HALL or not _HALL.fullmatch(hall):
            raise ValueError("hall is a node's name, such as gd/guangzhou")
        parameters["hall"] = hall
    if how.get("fresh", False):
        parameters["prompt"] = "login"
    if jkt:
        parameters["dpop_jkt"] = jkt
    if languages:
        parameters["ui_locales"] = " ".join(languages)
    return parameters


def par_request(metadata: Metadata, parameters: Mapping[str, str], client: Proof) -> HttpRequest:
    """The pushed authorization request, authenticated as the client (RFC 9126 §2.1)."""
    return post_form(metadata.pushed_authorization_request_endpoint, {**parameters, **client.form}, **client.headers)


def process_par(response: HttpResponse) -> str:
    """The `request_uri` (RFC 9126 §2.2). Raises ProviderError `rp.provider_answer`, or as `strict.answer`."""
    uri = answer(response, "pushed request", good=(200, 201)).get("request_uri")
    if not isinstance(uri, str) or not 0 < len(uri) <= 512:
        raise ProviderError("rp.provider_answer", "pushed request: no request_uri")
    return uri


def authorization_url(metadata: Metadata, parameters: Mapping[str, str]) -> str:
    """The address to send the browser to; a query that the endpoint already has is kept (RFC 6749 §3.1)."""
    return with_query(metadata.authorization_endpoint, parameters)


def with_query(url: str, parameters: Mapping[str, str]) -> str:
    """`url` with parameters added."""
    parts = urlsplit(url)
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *parameters.items()])
    return urlunsplit(parts._replace(query=query))
