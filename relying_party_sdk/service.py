"""Tokens for services: client credentials, JWT bearer (RFC 7523 §2.1), token exchange (RFC 8693).

Each is one call, proved as the client proves itself everywhere; what comes back is a typed value or a typed refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from relying_party_sdk.clientauth import Proof
from relying_party_sdk.errors import GrantRefused, ProviderError
from relying_party_sdk.grant import Tokens, process_tokens
from relying_party_sdk.metadata import Metadata
from relying_party_sdk.sender import Sender
from relying_party_sdk.strict import answer
from relying_party_sdk.transport import HttpRequest, HttpResponse

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a name
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - a name
JWT = "urn:ietf:params:oauth:token-type:jwt"
"""Types of tokens (RFC 8693 §3)."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A token for a service."""

    access_token: str = field(repr=False)
    expires_in: float
    """Seconds from now; a minute when the provider does not tell."""
    scope: str
    """What it was given for; empty when the provider does not tell: as asked (RFC 6749 §5.1)."""
    issued_token_type: str
    """What it is (RFC 8693 §2.2.1); empty for the other two grants."""


class Services:
    """The client as a service. Every call raises GrantRefused `rp.grant_refused`, ProviderError."""

    def __init__(
        self,
        sender: Sender,
        metadata: Callable[[], Metadata],
        proof: Callable[[Metadata], Proof],
        assertion: Callable[[str, str], str],
    ) -> None:
        self._sender = sender
        self._metadata = metadata
        self._proof = proof
        self._assertion = assertion

    def client_credentials(self, scope: str = "", **more: str) -> Issued:
        """A token of the client itself (RFC 6749 §4.4); `more` are parameters of the provider's own (`audience`)."""
        return self._ask({"grant_type": "client_credentials", "scope": scope, **more})

    def jwt_bearer(self, assertion: str, scope: str = "") -> Issued:
        """A token for whom `assertion` names, a JWT that the provider trusts (RFC 7523 §2.1)."""
        return self._ask({"grant_type": JWT_BEARER, "assertion": assertion, "scope": scope})

    def exchange(
        self,
        subject_token: str,
        *,
        audience: Sequence[str] = (),
        resource: Sequence[str] = (),
        scope: str = "",
        subject_token_type: str = ACCESS_TOKEN,
        requested_token_type: str = ACCESS_TOKEN,
        actor_token: str = "",
        actor_token_type: str = ACCESS_TOKEN,
    ) -> Issued:
        """A token for another service in place of one that was received: narrower, and for that service alone."""
        form = {
            "grant_type": TOKEN_EXCHANGE,
            "subject_token": subject_token,
            "subject_token_type": subject_token_type,
            "requested_token_type": requested_token_type,
            "scope": scope,
        }
        if actor_token:
            form |= {"actor_token": actor_token, "actor_token_type": actor_token_type}
        return self._ask(form, [("audience", each) for each in audience] + [("resource", each) for each in resource])

    def assertion(self, subject: str, audience: str = "") -> str:
        """A JWT about `subject`, signed by the client's own key, for `jwt_bearer`; good for a minute.

        `audience` is the provider's issuer by default. Raises SettingsError for a client that has a secret only.
        """
        return self._assertion(subject, audience)

    def _ask(self, form: Mapping[str, str], many: Sequence[tuple[str, str]] = ()) -> Issued:
        metadata = self._metadata()
        kept = [(name, value) for name, value in form.items() if value] + [*many]

        def make() -> HttpRequest:
            proof = self._proof(metadata)
            headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
            body = urlencode([*kept, *proof.form.items()]).encode()
            return HttpRequest("POST", metadata.token_endpoint, {**headers, **proof.headers}, body)

        return process_issued(self._sender.send(make), bound=bool(self._sender.jkt))


def process_issued(response: HttpResponse, *, bound: bool) -> Issued:
    """The token of an answer. Raises GrantRefused with the OAuth error, ProviderError."""
    tokens: Tokens
    try:
        tokens = process_tokens(response, "grant", bound=bound)
    except ProviderError as error:
        if error.code == "rp.provider_refused":
            raise GrantRefused("rp.grant_refused", error.detail, error.detail.removeprefix("grant: ")) from error
        raise
    raw = answer(response, "grant")
    scope, kind = raw.get("scope", ""), raw.get("issued_token_type", "")
    if not isinstance(scope, str) or not isinstance(kind, str):
        raise ProviderError("rp.provider_answer", "grant: scope or issued_token_type is no text")
    return Issued(tokens.access_token, tokens.expires_in, scope, kind)
