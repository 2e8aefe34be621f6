"""Unified login before a system that cannot be changed: a reverse proxy (WSGI), or the answer to nginx `auth_request`.

    browser ─▶ TLS (nginx) ─▶ proxy: session, rule of the path ─▶ the system behind, with signed identity headers
    browser ─▶ nginx ─ auth_request ─▶ the same application: 204 and the headers, 401 or 403; nginx passes on by itself

Run it by `crosshall-rp proxy`, or any WSGI server: `gunicorn 'relying_party_sdk.proxy:from_file("window.toml")'`.
The system behind must be reachable through the proxy only. WebSockets (and every other `Upgrade`) are refused.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from relying_party_sdk.adapters.wsgi import CrosshallRP, visit_of
from relying_party_sdk.client import RelyingParty
from relying_party_sdk.errors import RequestError, RPError
from relying_party_sdk.forwarding import Headers, Upstream, passed_on, request_body
from relying_party_sdk.identity import Hop, IdentitySigner
from relying_party_sdk.person import Person
from relying_party_sdk.rules import ProxySettings, canonical, canonical_target, clean_query
from relying_party_sdk.sealing import Random, b64
from relying_party_sdk.settings import Settings
from relying_party_sdk.stores.protocol import Clock
from relying_party_sdk.visit import Visit
from relying_party_sdk.web import Call, Reply, Stopped

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

log = logging.getLogger("relying_party_sdk")

CHECK = "/crosshall-rp/check"
"""Answers nginx's sub-request; outside the SDK's prefix, so that passing that on does not open it."""
ANSWER = "/crosshall-rp/answer"
"""Where nginx passes a request that `CHECK` refused: the redirect, page or JSON for the browser."""
KEYS = "identity.json"
"""Below the prefix: the public key of the identity tokens."""


@dataclass(frozen=True, slots=True)
class _Wanted(Call):
    """The request as the browser sent it, whatever the encoding of its path."""

    target: str = "/"

    @property
    def here(self) -> str:
        """Path and query, byte for byte."""
        return self.target


class Teller:
    """Tells the system behind who is there: the signed token, and plain headers for systems that cannot check it."""

    def __init__(self, settings: Settings, proxy: ProxySettings, clock: Clock, random: Random) -> None:
        beside = settings.key_file.with_name(settings.key_file.name + ".identity")
        file = Path(proxy.key_file) if proxy.key_file else beside
        self._signer = IdentitySigner(file, settings.base_url, proxy.audience or proxy.upstream, clock, random)
        self._proxy = proxy
        self.jwks = self._signer.jwks

    def headers(self, person: Person, hop: Hop) -> Headers:
        """For one request. Raises ProviderError when attributes are wanted and cannot be had."""
        known = person.attributes() if self._proxy.attributes else None
        found = [
            ("X-Crosshall-Identity", self._signer.sign(person, hop, known)),
            ("X-Crosshall-Subject", person.subject),
            ("X-Crosshall-Kind", person.kind),
            ("X-Crosshall-Level", str(person.level)),
            ("X-Crosshall-Domain", person.domain),
            ("X-Crosshall-Rung", person.rung),
            ("X-Crosshall-Auth-Time", f"{person.auth_time:%Y-%m-%dT%H:%M:%SZ}"),
        ]
        if known is not None:
            found.append(("X-Crosshall-Name", known.name))
        if self._proxy.user_header:
            found.append((self._proxy.user_header, person.subject))
        return [(name, quote(value, safe=" !#$&'()*+,/:;=?@[]~-._")) for name, value in found if value]


class Proxy:
    """The application inside the WSGI adapter: a rule for each path, then the hop."""

    def __init__(self, settings: Settings, proxy: ProxySettings, teller: Teller) -> None:
        self._settings, self._proxy, self._teller = settings, proxy, teller
        self._upstream = Upstream(settings, proxy)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """WSGI."""
        if environ.get("HTTP_UPGRADE"):
            raise RequestError("rp.proxy_upgrade", "WebSockets and other upgrades are not passed on")
        visit = visit_of(environ)
        if environ.get("PATH_INFO") == f"{self._settings.prefix}/{KEYS}":
            return _send(_public(self._teller.jwks), start_response)
        path = canonical(environ.get("PATH_INFO", "").encode("latin-1") or b"/")
        query = clean_query(environ.get("QUERY_STRING", "").encode("latin-1"))
        visit.call = _wanted(visit.call, path, query)
        if path in self._proxy.logout:
            return self._leave(visit, environ, path, query, start_response)
        person = admitted(visit, self._proxy, path)
        return self._pass(visit, environ, self._upstream.target(path, query), person, start_response)

    def _pass(
        self, visit: Visit, environ: dict[str, Any], target: str, person: Person | None, start_response: StartResponse
    ) -> Iterable[bytes]:
        body, length = request_body(environ, self._proxy.request_limit)
        method, hop = environ["REQUEST_METHOD"], Hop(environ["REQUEST_METHOD"], target)
        jar = _Jar(self._settings, visit.call, person)
        public = urlsplit(self._settings.base_url)
        headers = [
            ("Host", self._upstream.host),
            *passed_on(_headers(environ), self._proxy),
            *length,
            *jar.sent(),
            ("X-Forwarded-For", str(environ.get("REMOTE_ADDR", ""))),
            ("X-Forwarded-Proto", public.scheme),
            ("X-Forwarded-Host", public.netloc),
            ("X-Forwarded-Prefix", self._settings.base_path or "/"),
            *(self._teller.headers(person, hop) if person else []),
        ]
        passing = self._upstream.send(method, target, headers, body)
        returned = [*self._upstream.returned(passing.headers), *jar.changed()]
        start_response(f"{passing.status} {passing.reason or '-'}", returned)
        if method == "HEAD" or passing.status in (204, 304):
            passing.close()
            return []
        return passing

    def _leave(
        self, visit: Visit, environ: dict[str, Any], path: str, query: str, start_response: StartResponse
    ) -> Iterable[bytes]:
        """The system behind ends its own session first; then the person is signed out everywhere."""
        call = visit.call
        if call.method not in ("GET", "POST"):
            raise RequestError("rp.proxy_request", "signing out is GET or POST")
        if call.method == "GET" and not _from_here(call, self._settings):
            raise RequestError("rp.cross_site", "sign-out asked by another site")
        try:
            person = visit.person  # while there is one
        except RPError:
            person = None
        reply = visit.web.answer("logout", replace(call, method="POST"))
        said: Headers = []

        def note(_: str, headers: Headers, exc_info: Any = None) -> Any:  # noqa: ARG001 - WSGI's
            said.extend(headers)

        try:
            answer = self._pass(visit, environ, self._upstream.target(path, query), person, note)
            for chunk in answer:
                del chunk
            getattr(answer, "close", lambda: None)()
        except RPError as error:
            log.warning("the system behind was not told of a sign-out: %s", error)
        reply.headers += [(name, value) for name, value in said if name.lower() == "set-cookie"]
        return _send(reply, start_response)


class Gate:
    """The application inside the WSGI adapter for nginx `auth_request`: answers about a request, passes nothing on."""

    def __init__(self, settings: Settings, proxy: ProxySettings, teller: Teller) -> None:
        self._settings, self._proxy, self._teller = settings, proxy, teller

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """WSGI."""
        place = environ.get("PATH_INFO", "")
        if place == f"{self._settings.prefix}/{KEYS}":
            return _send(_public(self._teller.jwks), start_response)
        if place not in (CHECK, ANSWER):
            return _send(Reply(404), start_response)
        visit = visit_of(environ)
        address = environ.get("HTTP_X_ORIGINAL_URI", "")
        method = environ.get("HTTP_X_ORIGINAL_METHOD", "")
        if not address.startswith("/") or not method.isalpha():
            raise RequestError("rp.proxy_request", "nginx did not say which request it is about")
        if place == CHECK:
            return _send(self._check(visit, method, address), start_response)
        path, _ = self._place(visit, method, address)
        try:
            admitted(visit, self._proxy, path)
        except RPError as error:
            error.return_to = error.return_to or visit.call.here
            raise
        return _send(Reply(303, [("Location", address), ("Cache-Control", "no-store")]), start_response)

    def _check(self, visit: Visit, method: str, address: str) -> Reply:
        """204 with the headers for the system behind; 401 or 403: nginx asks `ANSWER` what to say."""
        try:
            path, _ = self._place(visit, method, address)
            person = admitted(visit, self._proxy, path)
            hop = Hop(method, address)
            reply = Reply(204)
            reply.headers += self._teller.headers(person, hop) if person else []
        except Stopped:
            return Reply(401)
        except RPError as error:
            log.info("auth_request: %s", error)
            return Reply(403)
        return reply

    def _place(self, visit: Visit, method: str, address: str) -> tuple[str, str]:
        """(path, query) below `base_url`; the visit is then about them."""
        path, query = canonical_target(address)
        base = self._settings.base_path
        if base and not (path == base or path.startswith(f"{base}/")):
            raise RequestError("rp.proxy_path", "a path that is not below base_url")
        path = path.removeprefix(base) or "/"
        visit.call = replace(_wanted(visit.call, path, query), method=method)
        return path, query


def admitted(visit: Visit, proxy: ProxySettings, path: str) -> Person | None:
    """Who goes through to a canonical path; None for nobody where it is open. Raises Stopped, or as `Visit.check`."""
    rule = proxy.rule(path)
    if not rule.open:
        return visit.require(rule.wanted)
    try:
        return visit.person
    except RPError as error:  # an open page stays open while the provider is away
        log.warning("shown as to nobody: %s", error)
        return None


class _Jar:
    """Cookies of the system behind belong to one person: another one at the same browser does not get them."""

    def __init__(self, settings: Settings, call: Call, person: Person | None) -> None:
        self._settings, self._call = settings, call
        self._name = settings.cookie("for")
        self._whose = b64(sha256(b"behind\0" + person.subject.encode()).digest()[:16]) if person else ""
        self._strange = call.cookies.get(self._name, "") != self._whose

    def sent(self) -> Headers:
        """The `Cookie` field for the system behind: without ours, without another person's."""
        if self._strange:
            return []
        own = self._settings.cookie("")
        kept = [part.strip() for part in self._call.headers.get("cookie", "").split(";")]
        text = "; ".join(part for part in kept if part and not part.startswith(own))
        return [("Cookie", text)] if text else []

    def changed(self) -> Headers:
        """What the browser is told to keep and to forget."""
        if not self._strange:
            return []
        own, reply = self._settings.cookie(""), Reply(200, [])
        if self._whose:
            reply.set_cookie(self._name, self._whose)
        else:
            reply.drop_cookie(self._name)
        path = self._settings.base_path or "/"
        for name in self._call.cookies:
            if not name.startswith((own, "__Host-")):
                reply.headers.append(("Set-Cookie", f"{name}=; Path={path}; Max-Age=0"))
        return reply.headers


def make_app(
    settings: Settings,
    proxy: ProxySettings,
    party: RelyingParty | None = None,
    *,
    clock: Clock = time.time,
    random: Random = secrets.token_bytes,
) -> WSGIApplication:
    """The proxy as a WSGI application; without `upstream`, the answer to `auth_request`. Raises SettingsError."""
    teller = Teller(settings, proxy, clock, random)
    inner = Proxy(settings, proxy, teller) if proxy.upstream else Gate(settings, proxy, teller)
    return _below_base(CrosshallRP(inner, party=party or RelyingParty(settings)), settings.base_path)


def _below_base(app: WSGIApplication, base: str) -> WSGIApplication:
    """`app` at `base`, whether the front takes the public path off (as nginx does with `proxy_pass …/;`) or not."""

    def below(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if base and (path == base or path.startswith(f"{base}/")):
            environ = {**environ, "PATH_INFO": path.removeprefix(base) or "/"}
        return app(environ, start_response)

    return below


def from_file(path: str) -> WSGIApplication:
    """From a settings file with a `[proxy]` table: for a WSGI server's command line. Raises SettingsError."""
    proxy = ProxySettings.from_toml(path)
    if proxy.key_file:
        proxy = replace(proxy, key_file=str(Path(path).resolve().parent / proxy.key_file))
    return make_app(Settings.from_toml(path), proxy)


def _wanted(call: Call, path: str, query: str) -> _Wanted:
    target = path + (f"?{query}" if query else "")
    return _Wanted(call.method, call.path, query, call.headers, call.body, target)


def _headers(environ: dict[str, Any]) -> Headers:
    fields = [(name[5:].replace("_", "-").title(), v) for name, v in environ.items() if name.startswith("HTTP_")]
    media = environ.get("CONTENT_TYPE")
    return [*fields, *([("Content-Type", media)] if media else [])]


def _from_here(call: Call, settings: Settings) -> bool:
    """A link of this site, not of another one: by Fetch Metadata, else by `Referer`."""
    site = call.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    return call.headers.get("referer", "").startswith(settings.base_url + "/")


def _public(jwks: Mapping[str, Any]) -> Reply:
    body = json.dumps(dict(jwks)).encode()
    return Reply(200, [("Content-Type", "application/json"), ("Cache-Control", "public, max-age=300")], body)


def _send(reply: Reply, start_response: StartResponse) -> Iterable[bytes]:
    length = [] if reply.status == 204 else [("Content-Length", str(len(reply.body)))]
    start_response(reply.reason, [*reply.headers, *length])
    return [reply.body]
