"""A window reduced to its protocol: PKCE, private_key_jwt, and every place where claims are found."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import jwt

from tests.parts.realm import Key, Page, Walker

Json = dict[str, Any]
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass
class Reply:
    """An answer in JSON."""

    status: int
    body: Json


@dataclass
class Window:
    """One client of the realm at `realm` (`http://…/realms/gd`)."""

    realm: str
    id: str
    key: Key
    redirect_uri: str

    def address(self, **changes: Any) -> tuple[str, str]:
        """An authorization request and its PKCE verifier; a parameter set to None is left out."""
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        request = {
            "client_id": self.id, "redirect_uri": self.redirect_uri, "response_type": "code", "scope": "openid",
            "state": secrets.token_urlsafe(8), "nonce": secrets.token_urlsafe(8), "code_challenge": challenge,
            "code_challenge_method": "S256", **changes,
        }  # fmt: skip
        query = urlencode({name: value for name, value in request.items() if value is not None})
        return f"{self.realm}/protocol/openid-connect/auth?{query}", verifier

    def go(self, walker: Walker, **changes: Any) -> Page:
        """Send the browser to the realm; where it ends."""
        return walker.get(self.address(**changes)[0])

    def sign_in(self, walker: Walker, **changes: Any) -> Json:
        """A whole sign-in. Returns the token answer; fails the test when no code or no tokens come."""
        url, verifier = self.address(**changes)
        page = walker.get(url)
        assert page.code, f"no code at {page.url}: {page.text[:300]}"
        reply = self.exchange(page.code, verifier)
        assert reply.status == 200, reply.body
        return reply.body

    def exchange(self, code: str, verifier: str) -> Reply:
        """Code for tokens."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri}
        return self.call("token", {**form, "code_verifier": verifier})

    def refresh(self, token: str) -> Reply:
        """New tokens."""
        return self.call("token", {"grant_type": "refresh_token", "refresh_token": token})

    def introspect(self, token: str) -> Json:
        """What introspection says."""
        return self.call("token/introspect", {"token": token}).body

    def userinfo(self, token: str) -> Json:
        """What userinfo says."""
        request = urllib.request.Request(f"{self.realm}/protocol/openid-connect/userinfo")
        request.add_header("Authorization", f"Bearer {token}")
        return _send(request).body

    def call(self, path: str, form: Json) -> Reply:
        """POST with this window's assertion."""
        now = int(time.time())
        claims = {"iss": self.id, "sub": self.id, "aud": self.realm, "iat": now, "exp": now + 30}
        assertion = self.key.sign({**claims, "jti": secrets.token_hex(8)})
        body = {**form, "client_id": self.id, "client_assertion_type": _ASSERTION, "client_assertion": assertion}
        address = f"{self.realm}/protocol/openid-connect/{path}"
        return _send(urllib.request.Request(address, urlencode(body).encode()))

    def verified(self, token: str, audience: str | None = None) -> Json:
        """The claims of a token of the realm, its ES256 signature checked by the realm's keys."""
        with urllib.request.urlopen(f"{self.realm}/protocol/openid-connect/certs", timeout=10) as answer:
            keys = jwt.PyJWKSet.from_dict(json.load(answer))
        key = keys[jwt.get_unverified_header(token)["kid"]]
        return jwt.decode(token, key, ["ES256"], audience=audience or self.id, issuer=self.realm)


def _send(request: urllib.request.Request) -> Reply:
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return Reply(answer.status, json.load(answer))
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        return Reply(error.code, json.loads(text) if text.startswith("{") else {"text": text})
