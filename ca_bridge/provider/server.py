"""Authlib's authorization server with what it lacks: one client, private_key_jwt, PKCE S256 for it too, codes once.

Codes lie in the store under kind `authorization_code` for ten minutes but are good for 60 seconds: a second use is
recognised for the rest and ends the session that came of the first (RFC 6749 §4.1.2, RFC 9700 §2.1).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, InvalidGrantError, InvalidRequestError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from flask import Flask

from ca_bridge.ceremony.services import Services
from ca_bridge.ceremony.transaction import SignInRequest
from ca_bridge.provider.client import METHOD, ClientAssertion, RealmClient
from ca_bridge.provider.newcomers import wait_turn
from ca_bridge.provider.realm_keys import RealmKeys
from ca_bridge.provider.tokens import Tokens
from ca_bridge.types import Session

KIND = "authorization_code"
CODE_SECONDS = 60
REMEMBERED_SECONDS = 600
ACCESS_SECONDS = 60
_MAX_CODE = 200
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Code(AuthorizationCodeMixin):
    """An authorization code as it was issued."""

    redirect_uri: str
    nonce: str
    code_challenge: str
    sid: str
    level: int
    scope: str
    code_challenge_method: str = "S256"

    def get_redirect_uri(self) -> str:
        """The redirect_uri of the authorization request."""
        return self.redirect_uri

    def get_scope(self) -> str:
        """The scope granted."""
        return self.scope


class RequiredPkce(CodeChallenge):
    """PKCE by S256 for every client: Authlib's own binds public clients only and takes `plain`."""

    DEFAULT_CODE_CHALLENGE_METHOD = "S256"
    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)

    def validate_code_verifier(self, grant: Any, result: Any) -> None:
        """Without a verifier there is no token. Raises InvalidRequestError, InvalidGrantError."""
        if not grant.request.form.get("code_verifier"):
            raise InvalidRequestError("Missing 'code_verifier'")
        super().validate_code_verifier(grant, result)


class Provider:
    """The OpenID provider's moving parts, for the routes."""

    def __init__(self, app: Flask, services: Services, realm_keys: RealmKeys, tokens: Tokens) -> None:
        self.services = services
        self.realm_keys = realm_keys
        self.tokens = tokens
        self.client = RealmClient(services.settings.keycloak)
        self.server = AuthorizationServer()
        self.server.init_app(app, query_client=self._client, save_token=_save_nothing)
        self.server.register_client_auth_method(METHOD, ClientAssertion(services, realm_keys))
        self.server.register_token_generator("default", self._token)
        self.server.register_grant(_grant(self), [RequiredPkce(required=True)])

    def issue_code(self, request: SignInRequest, session: Session) -> str:
        """A new code for `session`, good once and for `CODE_SECONDS`."""
        services = self.services
        now = services.clock()
        code = services.random(32).hex()
        services.store.put(
            KIND,
            code,
            {
                "redirect_uri": request.redirect_uri,
                "nonce": request.nonce,
                "code_challenge": request.code_challenge,
                "sid": session.sid,
                "level": request.level,
                "scope": request.scope,
                "until": (now + timedelta(seconds=CODE_SECONDS)).timestamp(),
            },
            now + timedelta(seconds=REMEMBERED_SECONDS),
        )
        return code

    def redeem(self, code: str) -> Code | None:
        """The code's record, once. A second use, by a client that proved itself, ends the session of the first."""
        services = self.services
        now = services.clock()
        raw = services.store.get(KIND, code) if 0 < len(code) <= _MAX_CODE else None
        if raw is None:
            return None
        if not services.store.add_once(f"{KIND}_used", code, now + timedelta(seconds=REMEMBERED_SECONDS)):
            _log.warning("authorization code used twice", extra={"code": "provider.code_reused"})
            services.sessions.end(raw["sid"], "provider.code_reused")
            services.deliver_logouts()
            return None
        return None if now.timestamp() >= raw["until"] else _code(raw)

    def session(self, code: Code) -> Session | None:
        """The code's session, when it still lives and is no less than what was asked."""
        session = self.services.sessions.by_sid(code.sid)
        return session if session and session.level >= code.level else None

    def _client(self, client_id: str) -> RealmClient | None:
        return self.client if client_id == self.client.client_id else None

    def _token(self, **_asked: Any) -> dict[str, Any]:
        # OAuth wants an access token in the answer; it opens nothing, is kept nowhere, and there is no userinfo
        token = self.services.random(32).hex()
        return {"token_type": "Bearer", "access_token": token, "expires_in": ACCESS_SECONDS, "scope": "openid"}


def _grant(provider: Provider) -> type[AuthorizationCodeGrant]:
    """The authorization code grant, bound to `provider`: Authlib makes an object of it for each request."""

    class Grant(AuthorizationCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = (METHOD,)

        def query_authorization_code(self, code: str, client: RealmClient) -> Code | None:  # noqa: ARG002
            return provider.redeem(code)

        def delete_authorization_code(self, authorization_code: Code) -> None:
            """It was used up when it was looked for."""

        def authenticate_user(self, authorization_code: Code) -> Session | None:
            return provider.session(authorization_code)

        def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
            status, token, headers = super().create_token_response()
            session: Session = self.request.user
            wait_turn(provider.services.store, provider.services.people, session.person)
            token["id_token"] = provider.tokens.id_token(session, self.request.authorization_code.nonce)
            return status, token, headers

        def validate_token_request(self) -> None:
            form = self.request.form
            if self.request.args:
                raise InvalidRequestError("Parameters belong into the body.")
            if any(len(form.getlist(name)) > 1 for name in form):
                raise InvalidRequestError("A parameter is given more than once.")
            if not form.get("redirect_uri"):
                raise InvalidGrantError("Missing 'redirect_uri' in request.")
            super().validate_token_request()

    return Grant


def _save_nothing(token: Any, request: Any) -> None:
    """Nothing is kept of an access token that opens nothing."""


def _code(raw: Mapping[str, Any]) -> Code:
    return Code(**{name: raw[name] for name in ("redirect_uri", "nonce", "code_challenge", "sid", "level", "scope")})
