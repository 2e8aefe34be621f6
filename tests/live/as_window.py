"""A real window's part in the protocol, played by a test with the window's own key: every place where claims arrive."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt

from demo.browser import Browser
from demo.selfcheck import present_certificate
from demo.stack import Demo
from relying_party_sdk.clientauth import ClientKey

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Received:
    """What one window is given of one sign-in, by all four ways."""

    id_token: Json
    access_token: Json
    userinfo: Json
    introspection: Json

    def places(self) -> dict[str, Json]:
        """By name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class AsWindow:
    """The window `window_id` of the demo, without its pages."""

    def __init__(self, demo: Demo, window_id: str) -> None:
        self._demo = demo
        self._id = window_id
        self._issuer = demo.settings.keycloak.issuer
        self._key = ClientKey(demo.folder.root / "windows" / window_id / f"{window_id}-key.pem", secrets.token_bytes)
        self._redirect_uri = f"{demo.addresses.url(window_id)}/oidc/callback"
        self._calls = Browser(demo.pki.tls_ca)

    def receive(self, browser: Browser) -> Received:
        """Sign in with `browser` (by certificate when the hall asks) and collect every claim."""
        answer = self.tokens(browser)
        access = answer["access_token"]
        userinfo = self._calls.once("GET", self._at("userinfo"), None, {"Authorization": f"Bearer {access}"})
        introspection = self._call("token/introspect", {"token": access})
        return Received(
            self._verified(answer["id_token"]), self._verified(access), json.loads(userinfo.text), introspection
        )

    def tokens(self, browser: Browser) -> Json:
        """A whole code flow up to the token answer."""
        verifier = secrets.token_urlsafe(48)
        query = {
            "client_id": self._id,
            "redirect_uri": self._redirect_uri,
            "response_type": "code",
            "scope": "openid",
            "state": secrets.token_urlsafe(16),
            "nonce": secrets.token_urlsafe(16),
            "code_challenge": base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        browser.stop_at = self._redirect_uri
        try:
            page = browser.get(f"{self._at('auth')}?{urlencode(query)}")
            if urlsplit(page.url).hostname == self._demo.addresses.host("hall"):
                page = present_certificate(browser, self._demo.addresses, page)
        finally:
            browser.stop_at = ""
        code = parse_qs(urlsplit(page.url).query).get("code")
        assert code, f"no code at {urlsplit(page.url).netloc}{urlsplit(page.url).path}: {page.status}"
        form = {"grant_type": "authorization_code", "code": code[0], "redirect_uri": self._redirect_uri}
        return self._call("token", {**form, "code_verifier": verifier})

    def _verified(self, token: str) -> Json:
        keys = jwt.PyJWKSet.from_json(self._calls.get(self._at("certs")).text)
        key = keys[jwt.get_unverified_header(token)["kid"]]
        return jwt.decode(token, key, ["ES256"], audience=self._id, issuer=self._issuer)

    def _call(self, path: str, form: dict[str, str]) -> Json:
        proof = dict(self._key.assertion(self._id, self._issuer, time.time()))
        reply = self._calls.post(self._at(path), {**form, **proof})
        assert reply.status == 200, reply.text
        return dict(json.loads(reply.text))

    def _at(self, path: str) -> str:
        return f"{self._issuer}/protocol/openid-connect/{path}"
