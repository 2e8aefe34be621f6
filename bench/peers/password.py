"""The peer of K=signin: Keycloak's own password login, as it comes (default hash), in a realm of its own."""

from __future__ import annotations

import secrets
from types import TracebackType
from typing import Self

import urllib3

from bench.relying_party import CLIENT, RelyingParty
from demo.browser import Browser
from demo.stack import Demo

REALM = "password"


class PasswordRealm:
    """A realm with one user and the same client; removed at the end."""

    def __init__(self, demo: Demo, party: RelyingParty) -> None:
        self._demo, self._party = demo, party
        self._password = secrets.token_urlsafe(12)
        self._http = urllib3.PoolManager(timeout=30.0, retries=False)
        self._internal = demo.settings.keycloak.internal
        self._issuer = f"{demo.addresses.url('sso')}/realms/{REALM}"

    def __enter__(self) -> Self:
        client = {
            "clientId": CLIENT,
            "clientAuthenticatorType": "client-jwt",
            "redirectUris": [self._party.redirect_uri],
            "attributes": {
                "use.jwks.url": "true",
                "jwks.url": self._party.jwks_url,
                "token.endpoint.auth.signing.alg": "ES256",
                "pkce.code.challenge.method": "S256",
            },
        }
        user = {
            "username": "somebody",
            "enabled": True,
            "email": "somebody@example.invalid",
            "emailVerified": True,
            "firstName": "Some",
            "lastName": "Body",
            "credentials": [{"type": "password", "value": self._password, "temporary": False}],
        }
        realm = {
            "realm": REALM,
            "enabled": True,
            "defaultSignatureAlgorithm": "ES256",
            "clients": [client],
            "users": [user],
        }
        self._admin("POST", "/admin/realms", realm)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admin("DELETE", f"/admin/realms/{REALM}", None)

    def sign_in(self) -> None:
        """A person with a new browser, from the authorization request to the tokens."""
        browser = Browser(self._demo.pki.tls_ca, stop_at=self._party.redirect_uri)
        request = self._party.begin(self._issuer)
        page = browser.get(request.url)
        form = next(form for form in page.forms if form.method == "POST")
        self._party.finish(request, browser.submit(page, form, username="somebody", password=self._password))

    def _admin(self, method: str, path: str, body: object) -> None:
        settings = self._demo.settings.keycloak
        fields = {
            "grant_type": "password",
            "client_id": "admin-cli",
            "username": settings.admin_user,
            "password": settings.admin_password_file.read_text().strip(),
        }
        token = self._http.request_encode_body(
            "POST",
            f"{self._internal}/realms/master/protocol/openid-connect/token",
            fields=fields,
            encode_multipart=False,
        )
        headers = {"Authorization": f"Bearer {token.json()['access_token']}"}
        answer = self._http.request(method, self._internal + path, json=body, headers=headers)
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.data!r}")
