"""Stand-ins around a real Keycloak: a bridge that says what a test wants, windows that only listen, a bare browser.

The bridge checks Keycloak's client assertion and PKCE as ours does; what it answers is the test's to choose. The
browser keeps cookies that are `Secure` on loopback HTTP, which Python's own jar does not.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import secrets
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

Json = dict[str, Any]


class Key:
    """An ES256 key with its public half as a JWK set."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.kid = secrets.token_hex(8)

    def jwks(self) -> Json:
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.private.public_key()))
        return {"keys": [{**public, "kid": self.kid, "use": "sig", "alg": "ES256"}]}

    def sign(self, claims: Json, typ: str = "JWT") -> str:
        return jwt.encode(claims, self.private, "ES256", headers={"kid": self.kid, "typ": typ})


@dataclass
class Stage:
    """What the stand-ins say, and what they were told."""

    origin: str = ""
    key: Key = field(default_factory=Key)
    signer: Key | None = None
    """Signs ID tokens instead of `key`: a forger."""
    window_keys: dict[str, Key] = field(default_factory=dict)
    person: str = "p1:" + "a" * 52
    level: int = 2
    sid: str = "sid-1"
    override: Json = field(default_factory=dict)
    """Claims put over the ordinary ones of the next ID tokens; None removes."""
    trips: list[Json] = field(default_factory=list)
    token_calls: list[Json] = field(default_factory=list)
    logouts: list[Json] = field(default_factory=list)
    called: list[tuple[str, Json]] = field(default_factory=list)
    """Window and claims of each logout token that arrived."""
    codes: dict[str, Json] = field(default_factory=dict)
    keycloak_jwks: str = ""

    def claims(self, nonce: str | None, client: str) -> Json:
        """The ID token of docs/contracts.md for the person on stage."""
        now = int(time.time())
        subjects = {f"crosshall_subject_{sector}": subject(self.person, sector) for sector in ("police", "env")}
        full: Json = {
            "iss": self.origin, "sub": self.person, "aud": client, "iat": now, "exp": now + 60, "nonce": nonce,
            "auth_time": now, "acr": f"urn:crosshall:loa:{self.level}", "sid": self.sid, **subjects,
            "crosshall_kind": "citizen", "crosshall_level": str(self.level), "crosshall_auth_time": str(now),
            "crosshall_domain": "gd/guangzhou", "crosshall_checked_at": str(now),
            "crosshall_status_issued_at": str(now - 600), "crosshall_rung": "fresh",
        }  # fmt: skip
        return {name: value for name, value in (full | self.override).items() if value is not None}

    def logout_token(self, **changes: Any) -> str:
        """A logout token for Keycloak about the person on stage."""
        now = int(time.time())
        event = {"http://schemas.openid.net/event/backchannel-logout": {}}
        claims = {
            "iss": self.origin, "aud": "keycloak", "iat": now, "exp": now + 60, "jti": secrets.token_hex(8),
            "sub": self.person, "events": event,
        }  # fmt: skip
        return (self.signer or self.key).sign({**claims, **changes}, "logout+jwt")


def subject(person: str, sector: str) -> str:
    """A stand-in for the bridge's sector subject: of the right form, the same for the same person."""
    digest = hashlib.sha256(f"{sector}/{person}".encode()).digest()
    return "s1:" + base64.b32encode(digest).decode().lower().rstrip("=")


class _Handler(BaseHTTPRequestHandler):
    stage: Stage

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if parts.path == "/authorize":
            self._authorize(query)
        elif parts.path == "/jwks":
            self._send(self.stage.key.jwks())
        elif parts.path == "/logout":
            self.stage.logouts.append(query)
            self._send({})
        elif parts.path.endswith("/jwks.json"):
            self._send(self.stage.window_keys[parts.path.split("/")[1]].jwks())
        else:
            self._send({}, 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        if self.path == "/token":
            self._token(form)
        elif self.path == "/logout":
            self.stage.logouts.append(form)
            self._send({})
        elif self.path.endswith("/backchannel-logout"):
            claims = jwt.decode(form["logout_token"], options={"verify_signature": False})
            self.stage.called.append((self.path.split("/")[1], claims))
            self._send({})
        else:
            self._send({}, 404)

    def _authorize(self, query: Json) -> None:
        self.stage.trips.append(query)
        code = secrets.token_urlsafe(16)
        self.stage.codes[code] = query
        answer = urlencode({"code": code, "state": query["state"], "iss": self.stage.origin})
        self.send_response(302)
        self.send_header("Location", f"{query['redirect_uri']}?{answer}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _token(self, form: Json) -> None:
        asked = self.stage.codes.pop(form.get("code", ""), None)
        self.stage.token_calls.append(form)
        try:
            assertion = form["client_assertion"]
            with urllib.request.urlopen(self.stage.keycloak_jwks, timeout=5) as answer:
                keys = jwt.PyJWKSet.from_dict(json.load(answer))
            key = keys[jwt.get_unverified_header(assertion)["kid"]]
            jwt.decode(assertion, key, ["ES256"], audience=self.stage.origin, issuer="keycloak")
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            good = asked is not None and challenge == asked["code_challenge"]
        except (jwt.PyJWTError, KeyError):
            good = False
        if not good or asked is None:
            self._send({"error": "invalid_grant"}, 400)
            return
        token = (self.stage.signer or self.stage.key).sign(self.stage.claims(asked.get("nonce"), "keycloak"))
        self._send(
            {"access_token": secrets.token_urlsafe(8), "token_type": "Bearer", "expires_in": 60, "id_token": token}
        )

    def _send(self, body: Json, status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        return


@contextmanager
def stage() -> Iterator[Stage]:
    """Bridge and windows on one loopback port until the block ends."""
    it = Stage(window_keys={"police": Key(), "env": Key()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"stage": it}))
    it.origin = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield it
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@dataclass
class Page:
    """Where a walk ended."""

    status: int
    url: str
    text: str
    headers: Json

    @property
    def code(self) -> str | None:
        """The code with which the browser came back to a window, if it did."""
        return self.query.get("code") if self.status == 0 else None

    @property
    def query(self) -> Json:
        """Parameters of the address."""
        return dict(parse_qsl(urlsplit(self.url).query))


class Walker:
    """A bare browser: follows redirects, keeps cookies by host, stops before an address that begins with `stop`."""

    def __init__(self, stop: str = "https://", language: str = "zh-CN") -> None:
        self.cookies: dict[str, str] = {}
        self._stop = stop
        self._language = language

    def get(self, url: str) -> Page:
        """Go there."""
        return self._go("GET", url, "")

    def post(self, url: str, form: Json) -> Page:
        """Send a form there."""
        return self._go("POST", url, urlencode(form))

    def _go(self, method: str, url: str, body: str) -> Page:
        for _ in range(20):
            if url.startswith(self._stop):
                return Page(0, url, "", {})
            parts = urlsplit(url)
            connection = http.client.HTTPConnection(parts.netloc, timeout=20)
            headers = {"Accept-Language": self._language, "Accept": "text/html"}
            if self.cookies:
                headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            if body:
                headers["Content-Type"] = "application/x-www-form-urlencoded"
            connection.request(method, f"{parts.path}?{parts.query}", body or None, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            connection.close()
            self._keep(answer.headers.get_all("Set-Cookie") or [])
            if answer.status not in (301, 302, 303):
                return Page(answer.status, url, text, dict(answer.headers))
            method, body, url = "GET", "", answer.headers["Location"]
        raise AssertionError("a loop of redirects")

    def _keep(self, cookies: list[str]) -> None:
        for cookie in cookies:
            pair, _, rest = cookie.partition(";")
            name, _, value = pair.partition("=")
            if "max-age=0" in rest.lower().replace(" ", "") or not value:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
