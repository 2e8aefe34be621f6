"""A relying party for measurements: no pages, no sessions, only the code flow (PKCE S256, private_key_jwt)."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import secrets
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from ca_bridge.registry import Window, write_window
from demo.browser import Browser, Page
from demo.stack import Demo

CLIENT = "bench"


@dataclass(frozen=True, slots=True)
class Request:
    """One authorization request on its way."""

    url: str
    issuer: str
    state: str
    verifier: str


class RelyingParty:
    """Registered at the node as window `bench`; serves its keys on loopback while it is open."""

    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._calls = Browser(demo.pki.tls_ca)
        self.base_url = "https://bench.invalid"
        self.redirect_uri = f"{self.base_url}/oidc/callback"

    @property
    def jwks_url(self) -> str:
        """Where the public key is served."""
        return f"http://127.0.0.1:{self._server.server_port}/jwks.json"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        window = Window(
            id=CLIENT,
            sector=CLIENT,
            name={"zh-Hans": "测量", "zh-Hant": "測量", "en": "Measurement", "pt": "Medição"},
            base_url=self.base_url,
            redirect_uris=(self.redirect_uri,),
            post_logout_redirect_uris=(),
            backchannel_logout_url=f"http://127.0.0.1:{self._server.server_port}/logout",
            jwks_url=self.jwks_url,
        )
        write_window(self._demo.folder.state, window)
        self._demo.apply()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def begin(self, issuer: str) -> Request:
        """An authorization request to `issuer`."""
        verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "client_id": CLIENT,
            "redirect_uri": self.redirect_uri,
            "response_type": "code",
            "scope": "openid",
            "state": state,
            "nonce": secrets.token_urlsafe(16),
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return Request(f"{issuer}/protocol/openid-connect/auth?{urlencode(query)}", issuer, state, verifier)

    def finish(self, request: Request, page: Page) -> str:
        """Exchange the code that `page` (the redirect to us) carries; the access token."""
        answer = parse_qs(urlsplit(page.url).query)
        if not page.url.startswith(self.redirect_uri) or answer.get("state") != [request.state]:
            raise RuntimeError(
                f"the sign-in ended at {urlsplit(page.url).netloc}{urlsplit(page.url).path}: {page.status}"
            )
        reply = self._calls.post(
            f"{request.issuer}/protocol/openid-connect/token",
            {
                "grant_type": "authorization_code",
                "code": answer["code"][0],
                "redirect_uri": self.redirect_uri,
                "code_verifier": request.verifier,
                **self.assertion(request.issuer),
            },
        )
        if reply.status != 200:
            raise RuntimeError(f"no tokens: {reply.status} {reply.text}")
        return str(json.loads(reply.text)["access_token"])

    def assertion(self, issuer: str) -> dict[str, str]:
        """The form fields by which we prove to `issuer` who asks (RFC 7523 §2.2); good once, for a minute."""
        now = int(time.time())
        claims = {"iss": CLIENT, "sub": CLIENT, "aud": issuer, "iat": now, "exp": now + 60}
        claims["jti"] = secrets.token_urlsafe(16)
        return {
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": jwt.encode(claims, self._key, "ES256", headers={"kid": CLIENT}),
        }

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key()))
        body = json.dumps({"keys": [{**public, "kid": CLIENT, "use": "sig", "alg": "ES256"}]}).encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Silent: measurements print their own lines."""

        return Handler
