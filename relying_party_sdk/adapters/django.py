"""Django: a line in MIDDLEWARE, then `@require(level=2)` on a view and `request.crosshall.person` inside it.

Django's own sessions, users and CSRF protection are not touched. Settings: `CROSSHALL_RP` in the project's settings (a
path, `Settings` or a `RelyingParty`), else the environment; hooks: `CROSSHALL_RP_HOOKS` (`Hooks`, or where it is).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec

from django.conf import settings as project
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.module_loading import import_string

from relying_party_sdk.api import needs
from relying_party_sdk.client import RelyingParty
from relying_party_sdk.errors import RPError, SettingsError
from relying_party_sdk.person import Requirement
from relying_party_sdk.settings import Settings
from relying_party_sdk.visit import Visit
from relying_party_sdk.web import BODY_LIMIT, Call, Reply, Stopped, lower, make_web

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


class CrosshallMiddleware:
    """Answers the SDK's own addresses, gives every other request its `crosshall` (a Visit), turns errors into pages.

    Raises SettingsError at start, never at the first citizen.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        given: Any = getattr(project, "CROSSHALL_RP", None)
        hooks: Any = getattr(project, "CROSSHALL_RP_HOOKS", None)
        hooks = import_string(hooks) if isinstance(hooks, str) else hooks
        party = given if isinstance(given, RelyingParty) else None
        path = given if given and not party and not isinstance(given, Settings) else None
        self.web = make_web(Settings.from_toml(path) if path else None if party else given, party, hooks=hooks)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Before and after the view."""
        call = read_call(request)
        if self.web.owns(call.path):
            length = request.META.get("CONTENT_LENGTH") or "0"
            wanted = min(int(length), BODY_LIMIT + 1) if length.isdigit() else 0
            return _response(self.web.serve(replace(call, body=request.read(wanted) if wanted else b"")))
        visit = Visit(self.web, call)
        request.crosshall = visit
        try:
            visit.watch()
        except RPError as error:
            return _response(self.web.error(call, error))
        response = self.get_response(request)
        if visit.touched and not response.has_header("Cache-Control"):
            response["Cache-Control"] = "no-store"
            patch_vary_headers(response, ["Cookie"])
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponseBase | None:
        """An error of ours in a view becomes its page; others are the project's."""
        return _response(self.web.error(read_call(request), error)) if isinstance(error, RPError) else None


def visit_of(request: HttpRequest) -> Visit:
    """The visit of a request. Raises SettingsError without the middleware."""
    visit = getattr(request, "crosshall", None)
    if not isinstance(visit, Visit):
        raise SettingsError("rp.settings", "CrosshallMiddleware is not in MIDDLEWARE")
    return visit


def require(
    level: int = 1, max_age: int | None = None, rung: str | None = None, status_max_age: int | None = None
) -> Callable[[View[P]], View[P]]:
    """Let only a person through who meets it; others are sent to sign in or step up, or told (as with Flask).

    For plain views; a class takes it with `method_decorator`. Raises ValueError for what cannot be met.
    """
    wanted = Requirement(level, max_age, rung, status_max_age)

    def decorate(view: View[P]) -> View[P]:
        @functools.wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            reply = visit_of(request).check(wanted)
            return _response(reply) if reply is not None else view(request, *args, **kwargs)

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
) -> Callable[[View[P]], View[P]]:
    """Let only a call with an access token through that meets it: `request.crosshall.token` (as with Flask). For APIs.

    The view is exempt from Django's CSRF check: cookies do not count here.
    """
    wanted = needs(level, max_age, rung, status_max_age, scope=scope, online=online)

    def decorate(view: View[P]) -> View[P]:
        @functools.wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            try:
                visit_of(request).admit(wanted)
            except Stopped as stop:
                return _response(stop.reply)
            return view(request, *args, **kwargs)

        guarded.csrf_exempt = True  # type: ignore[attr-defined]
        return guarded

    return decorate


def read_call(request: HttpRequest) -> Call:
    """The request, without its body."""
    return Call(
        request.method or "",
        request.path_info,
        request.META.get("QUERY_STRING", ""),
        lower(request.headers.items()),
        native=request,
    )


def _response(reply: Reply) -> HttpResponse:
    response = HttpResponse(reply.body, status=reply.status)
    cookies = [value for name, value in reply.headers if name == "Set-Cookie"]
    for name, value in reply.headers:
        if name != "Set-Cookie":
            response[name] = value
    for text in cookies:
        response.cookies.load(text)
    return response
