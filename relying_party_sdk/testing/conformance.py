"""A small relying party for the OpenID Foundation's conformance suite: the library as it is, with a few pages.

`/start` begins a test module, `/me` shows `sub` and what userinfo says, `/leave` signs out. Whatever begins a sign-in
asks the provider for its metadata and keys again: modules follow each other in seconds, each with keys of its own.

What a client registers, and the suite takes from there, this party has to find out: which way answers come (a posted
one is taken, asked for or not), and the one algorithm of its tokens (that of its last ID token: logout tokens by
another are refused, Back-Channel Logout 1.0 §2.6). A window says both in its settings.
"""

from __future__ import annotations

import json
import ssl
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import jwt

from relying_party_sdk.adapters import asgi
from relying_party_sdk.client import RelyingParty
from relying_party_sdk.hooks import SignedIn
from relying_party_sdk.person import Attributes, Person
from relying_party_sdk.settings import Settings
from relying_party_sdk.stores import open_store
from relying_party_sdk.testing.asgi import as_wsgi
from relying_party_sdk.web import BODY_LIMIT

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication


def page(person: Person | None, known: Attributes, sign_out: str) -> str:
    """What a browser sees: nobody, or `sub` and the names of what userinfo told."""
    if person is None:
        return '<!doctype html><title>nobody</title><p>nobody <a href="/start">sign in</a>'
    rows = "".join(f"<li>{escape(str(name))}: {escape(str(value))}" for name, value in sorted(known.claims.items()))
    form = f'<form method="post" action="{escape(sign_out)}"><button>sign out</button></form>'
    return f"<!doctype html><title>signed in</title><p>sub: {escape(person.subject)}<ul>{rows}</ul>{form}"


def flask_pages(party: RelyingParty) -> WSGIApplication:
    """The pages with the Flask adapter."""
    from flask import Flask  # noqa: PLC0415 - an extra

    from relying_party_sdk.adapters.flask import CrosshallRP  # noqa: PLC0415

    app = Flask("conformance")
    rp = CrosshallRP(app, party=party)

    @app.get("/me")
    @rp.require()
    def me() -> str:
        return page(rp.person, rp.person.attributes() if rp.person else Attributes(), rp.sign_out_address)

    @app.get("/")
    def home() -> str:
        return page(rp.person, Attributes(), rp.sign_out_address)

    return app.wsgi_app


def asgi_pages(party: RelyingParty) -> WSGIApplication:
    """The pages with the plain ASGI adapter."""

    async def app(scope: asgi.Scope, _: asgi.Receive, send: asgi.Send) -> None:
        visit = asgi.visit_of(scope)
        inside = scope["path"] == "/me"
        person = await visit.require() if inside else await visit.person()
        known = await visit.attributes() if inside else Attributes()
        body = page(person, known, visit.visit.sign_out_address).encode()
        status = 200 if scope["path"] in ("/", "/me") else 404
        headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return as_wsgi(asgi.CrosshallRP(app, party=party))


PAGES: dict[str, Callable[[RelyingParty], Any]] = {"flask": flask_pages, "asgi": asgi_pages}


class Conformance:
    """The application; each beginning of a sign-in gives it a new RelyingParty on the same sessions.

    Requests that are under way keep the one that they began with.
    """

    def __init__(self, settings: Settings, adapter: str) -> None:
        self.settings = settings
        self._make = PAGES[adapter]
        self._store = open_store(settings.store, time.time)
        self._algorithm = ""
        self._posted = self._make(RelyingParty(settings.with_(response_mode="form_post"), store=self._store))
        self._renew()

    def _renew(self) -> None:
        party = RelyingParty(self.settings, store=self._store)

        def signed_in(each: SignedIn) -> None:
            """Userinfo is asked at once, as the suite expects of a sign-in; the page shows what was kept of it."""
            session = party.sessions.get(each.session)
            self._algorithm = _algorithm(session.id_token) if session is not None else ""
            each.person.attributes()

        party.hooks.on_sign_in = signed_in
        self.party, self._app = party, self._make(party)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """WSGI."""
        path, prefix = environ.get("PATH_INFO", ""), self.settings.prefix
        if path in ("/start", f"{prefix}/login") or (path == "/me" and not self._signed_in(environ)):
            self._renew()
        if self.settings.base_url.startswith("http:"):
            start_response = _for_plain_http(start_response)
        if path == "/start":
            target = f"{self.settings.base_path}{prefix}/login?return_to=/me"
            return _answer(start_response, HTTPStatus.SEE_OTHER, ("Location", target))
        if path == f"{prefix}/backchannel-logout" and not self._registered(environ):
            return _answer(start_response, HTTPStatus.BAD_REQUEST)
        if path == "/leave":  # the sign-out form, for a driver that only opens addresses
            environ = {**environ, "REQUEST_METHOD": "POST", "PATH_INFO": f"{prefix}/logout"}
        posted = path == f"{prefix}/callback" and environ["REQUEST_METHOD"] == "POST"
        answer: Iterable[bytes] = (self._posted if posted else self._app)(environ, start_response)
        return answer

    def _signed_in(self, environ: dict[str, Any]) -> bool:
        """True for a cookie of a session that lives."""
        cookies = dict(part.strip().partition("=")[::2] for part in environ.get("HTTP_COOKIE", "").split(";"))
        key = self.party.sessions.key_of(cookies.get(self.settings.cookie("session"), ""))
        return key is not None and self.party.sessions.get(key) is not None

    def _registered(self, environ: dict[str, Any]) -> bool:
        """False for a logout token by another algorithm than ID tokens; the body can be read again after."""
        body = environ["wsgi.input"].read(min(int(environ.get("CONTENT_LENGTH") or 0), BODY_LIMIT + 1))
        environ["wsgi.input"] = BytesIO(body)
        tokens = parse_qs(body.decode("ascii", "replace")).get("logout_token", [""])
        return not self._algorithm or _algorithm(tokens[0]) in ("", self._algorithm)

    def close(self) -> None:
        """Give back connections."""
        self.party.close()


def _algorithm(token: str) -> str:
    """`alg` of a token; empty for what is none: the library says so."""
    try:
        return str(jwt.get_unverified_header(token).get("alg", ""))
    except jwt.PyJWTError:
        return ""


def _answer(start_response: StartResponse, status: HTTPStatus, *headers: tuple[str, str]) -> Iterable[bytes]:
    common = [("Cache-Control", "no-store"), ("Content-Length", "0")]
    start_response(f"{status.value} {status.phrase}", [*headers, *common])
    return [b""]


def _for_plain_http(start_response: StartResponse) -> StartResponse:
    """Cookies a second time, without `Secure`: browsers keep the first of these at localhost, HTTP clients the last."""

    def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        again = [(k, v.replace("; Secure", "")) for k, v in headers if k.lower() == "set-cookie"]
        return start_response(status, headers + again, *rest)

    return start


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = 30

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: addresses hold codes and states."""


def addresses(settings: Settings) -> dict[str, str]:
    """What is registered with the suite."""
    base = f"{settings.base_url}{settings.prefix}"
    return {
        "issuer": settings.issuer,
        "start": f"{settings.base_url}/start",
        "redirect_uri": settings.redirect_uri,
        "post_logout_redirect_uri": settings.signed_out_uri,
        "backchannel_logout_uri": f"{base}/backchannel-logout",
        "jwks_uri": f"{base}/jwks.json",
        "leave": f"{settings.base_url}/leave",
    }


def open_server(app: WSGIApplication, listen: tuple[str, int], tls: tuple[Path, Path] | None) -> WSGIServer:
    """A server at an address of this machine; port 0 takes a free one. Raises OSError."""
    server = make_server(*listen, app, _Server, _Quiet)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        # The handshake is the connection's own thread's: one that never comes does not keep the others waiting.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server


@dataclass(frozen=True, slots=True)
class Options:
    """How to serve: where to listen (port 0: a free one), and with which chain and key, if over TLS."""

    adapter: str = "flask"
    host: str = "127.0.0.1"
    port: int = 8080
    tls: tuple[Path, Path] | None = None


def serve(settings_at: Callable[[int], Settings], options: Options) -> None:
    """Serve until interrupted; the addresses are printed first. Raises SettingsError, OSError.

    `settings_at` makes the settings of the port that is listened at.
    """
    with open_server(_nothing, (options.host, options.port), options.tls) as server:
        settings = settings_at(server.server_port)
        app = Conformance(settings, options.adapter)
        server.set_app(app)
        for name, address in addresses(settings).items():
            sys.stdout.write(f"{name}: {address}\n")
        if not settings.client_secret:
            sys.stdout.write(f"jwks: {json.dumps(dict(app.party.jwks))}\n")
        sys.stdout.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            sys.stderr.write("stopped\n")
        finally:
            app.close()


def _nothing(_: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Until the application is made."""
    start_response("503 Service Unavailable", [("Content-Length", "0")])
    return [b""]
