"""The provider's one client, the node's realm, and how it proves itself: private_key_jwt (RFC 7523 §3)."""

from __future__ import annotations

import hmac
from datetime import timedelta
from typing import Any

from authlib.oauth2.rfc6749 import ClientMixin, InvalidClientError

from ca_bridge.ceremony.services import Services
from ca_bridge.errors import ProviderError
from ca_bridge.provider.realm_keys import LEEWAY, RealmKeys, check_times
from ca_bridge.settings import Keycloak

METHOD = "private_key_jwt"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST = timedelta(seconds=60)
_MAX_JTI = 256


class RealmClient(ClientMixin):
    """What Authlib asks of a client, answered from the node's settings."""

    def __init__(self, keycloak: Keycloak) -> None:
        self.client_id = keycloak.client_id
        self._redirect_uri = keycloak.redirect_uri

    def get_client_id(self) -> str:
        """Its id."""
        return self.client_id

    def get_default_redirect_uri(self) -> str | None:
        """None: it must be sent, always."""
        return None

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """`openid`, whatever else was asked (OpenID Connect Core §3.1.2.1); None without it."""
        return "openid" if "openid" in (scope or "").split() else None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Exact comparison of text (RFC 9700 §2.1)."""
        return hmac.compare_digest(redirect_uri.encode(), self._redirect_uri.encode())

    def check_client_secret(self, client_secret: str) -> bool:  # noqa: ARG002
        """Never: there is no secret."""
        return False

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:  # noqa: ARG002
        """private_key_jwt and nothing else."""
        return method == METHOD

    def check_response_type(self, response_type: str) -> bool:
        """`code`."""
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        """`authorization_code`."""
        return grant_type == "authorization_code"


class ClientAssertion:
    """Authlib's client authentication method for private_key_jwt."""

    def __init__(self, services: Services, realm_keys: RealmKeys) -> None:
        self._services = services
        self._keys = realm_keys
        self._issuer = services.settings.bridge.issuer

    def __call__(self, query_client: Any, request: Any) -> RealmClient | None:
        """The client that signed the request's assertion; None when there is none.

        Raises InvalidClientError; UpstreamError while no key of the realm can be had.
        """
        form = request.form
        assertion = form.get("client_assertion", "")
        if form.get("client_assertion_type") != ASSERTION_TYPE or not assertion:
            return None
        try:
            claims = self._keys.verify(assertion)
            client: RealmClient | None = query_client(self._checked(claims))
        except ProviderError as error:
            raise InvalidClientError(description=f"client assertion refused: {error.code}") from error
        if client is None or form.get("client_id", client.client_id) != client.client_id:
            raise InvalidClientError(description="no such client")
        return client

    def _checked(self, claims: dict[str, Any]) -> str:
        now = self._services.clock()
        subject, jti, audience = claims.get("sub"), claims.get("jti"), claims.get("aud")
        if not isinstance(subject, str) or claims.get("iss") != subject:
            raise ProviderError("provider.client_assertion", "iss and sub must both be the client id")
        # one audience only: a token that is also meant for another server could be played to us by that server
        if audience not in (self._issuer, [self._issuer]):
            raise ProviderError("provider.client_assertion", "aud must be the issuer alone")
        if not isinstance(jti, str) or not 0 < len(jti) <= _MAX_JTI:
            raise ProviderError("provider.client_assertion", "no usable jti")
        ends = check_times(claims, now, longest=LONGEST)
        if not self._services.store.add_once("jti", f"{subject}|{jti}", ends + 2 * LEEWAY):
            raise ProviderError("provider.client_assertion", "jti used before")
        return subject
