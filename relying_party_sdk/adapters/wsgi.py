"""Plain WSGI (PEP 3333): `application = CrosshallRP(application)`, then `visit_of(environ)` or `@require(level=2)`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from relying_party_sdk.api import needs
from relying_party_sdk.client import RelyingParty
from relying_party_sdk.errors import RPError, SettingsError
from relying_party_sdk.hooks import Hooks
from relying_party_sdk.person import Requirement
from relying_party_sdk.settings import Settings
from relying_party_sdk.visit import Visit
from relying_party_sdk.web import BODY_LIMIT, Call, Reply, lower, make_web

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

KEY = "crosshall_rp.visit"
"""Where the visit lies in the environ; no client can set it, since header fields begin with `HTTP_`."""

Environ = dict[str, Any]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class CrosshallRP:
    """Middleware around an application; settings from the argument, else from the environment.

    Raises SettingsError at start, never at the first citizen.
    """

    def __init__(
        self,
        app: WSGIApplication,
        settings: Settings | None = None,
        *,
        party: RelyingParty | None = None,
        language: Callable[[Call], str] | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        self.app = app
        self.web = make_web(settings, party, language, hooks)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer the SDK's own addresses, hand on everything else with a visit."""
        call = read_call(environ)
        if self.web.owns(call.path):
            return _send(self.web.serve(replace(call, body=read_body(environ))), start_response)
        visit = Visit(self.web, call)

        def start(status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None, /) -> Any:
            return start_response(status, visit.private(headers), *([exc_info] if exc_info else []))

        try:
            visit.watch()
            return self.app({**environ, KEY: visit}, start)
        except RPError as error:
            return _send(self.web.error(call, error), start_response)


def visit_of(environ: Environ) -> Visit:
    """The visit of a request: `visit_of(environ).person`. Raises SettingsError outside the middleware."""
    visit = environ.get(KEY)
    if not isinstance(visit, Visit):
        raise SettingsError("rp.settings", "the application is not inside CrosshallRP")
    return visit


def require(
    level: int = 1, max_age: int | None = None, rung: str | None = None, status_max_age: int | None = None
) -> Callable[[WSGIApplication], WSGIApplication]:
    """Let only a person through who meets it; others are sent to sign in or step up, or told (as with Flask).

    Raises ValueError for a requirement that cannot be met.
    """
    wanted = Requirement(level, max_age, rung, status_max_age)

    def decorate(app: WSGIApplication) -> WSGIApplication:
        @functools.wraps(app)
        def guarded(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            visit_of(environ).require(wanted)
            return app(environ, start_response)

        return guarded

    return decorate


def require_token(
    level: int = 1,
    max_age: int | None = None,
    rung: str | None = None,
    status_max_age: int | None = None,
    *,
    scope: str = "",
    online: bool = False,
) -> Callable[[WSGIApplication], WSGIApplication]:
    """Let only a call with an access token through that meets it: `visit_of(environ).token`. For APIs."""
    wanted = needs(level, max_age, rung, status_max_age, scope=scope, online=online)

    def decorate(app: WSGIApplication) -> WSGIApplication:
        @functools.wraps(app)
        def guarded(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            visit_of(environ).admit(wanted)
            return app(environ, start_response)

        return guarded

    return decorate


def read_call(environ: Environ) -> Call:
    """The request, without its body."""
    fields = [(name[5:].replace("_", "-"), value) for name, value in environ.items() if name.startswith("HTTP_")]
    path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
    headers = lower([*fields, ("content-type", environ.get("CONTENT_TYPE") or "")])
    query = environ.get("QUERY_STRING", "")
    return Call(environ["REQUEST_METHOD"], path or "/", query, headers, native=environ)


def read_body(environ: Environ) -> bytes:
    """The body, as far as one of the SDK's own addresses takes any."""
    length = environ.get("CONTENT_LENGTH") or "0"
    wanted = min(int(length), BODY_LIMIT + 1) if length.isdigit() else 0
    body: bytes = environ["wsgi.input"].read(wanted) if wanted else b""
    return body


def _send(reply: Reply, start_response: StartResponse) -> Iterable[bytes]:
    start_response(reply.reason, [*reply.headers, ("Content-Length", str(len(reply.body)))])
    return [reply.body]
