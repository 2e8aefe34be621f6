"""Flask: `rp = CrosshallRP(app)`, then `@rp.require(level=2)` on a view and `rp.person` inside it.

Adds below `/oidc`: `login`, `callback`, `logout` (POST), `backchannel-logout` (POST), `jwks.json`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

from flask import Flask, Response, current_app, g, request
from werkzeug.wrappers import Response as BaseResponse

from relying_party_sdk.adapters.wsgi import read_call
from relying_party_sdk.api import needs
from relying_party_sdk.bearer import AccessToken
from relying_party_sdk.client import RelyingParty
from relying_party_sdk.errors import RPError, SettingsError
from relying_party_sdk.hooks import Hooks
from relying_party_sdk.person import Person, Requirement
from relying_party_sdk.settings import Settings
from relying_party_sdk.stores.links import Link
from relying_party_sdk.visit import Visit
from relying_party_sdk.web import BODY_LIMIT, Call, Reply, Stopped, Web, make_web

P = ParamSpec("P")
R = TypeVar("R")


class CrosshallRP:
    """Unified login for a Flask application; settings from the argument, else from the environment.

    Raises SettingsError at start, never at the first citizen.
    """

    def __init__(
        self,
        app: Flask | None = None,
        settings: Settings | None = None,
        *,
        party: RelyingParty | None = None,
        language: Callable[[], str] | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        self._settings = settings
        self._party = party
        self._language = language
        self._hooks = hooks
        self._web: Web | None = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Attach to `app`: addresses, error pages, cookies."""
        language = self._language
        self._web = make_web(self._settings, self._party, (lambda _: language()) if language else None, self._hooks)
        app.extensions["crosshall_rp"] = self
        for name, methods in self._web.names.items():
            endpoint = f"crosshall_rp.{name.partition('-')[0].partition('.')[0]}"
            view = functools.partial(self._own, name)
            app.add_url_rule(f"{self._web.settings.prefix}/{name}", endpoint, view, methods=list(methods))
        app.register_error_handler(RPError, self.error_response)
        app.before_request(lambda: self._visit.watch() if self.party.hooks.on_sign_out else None)
        app.after_request(self._after)

    # ---- for the application

    @property
    def party(self) -> RelyingParty:
        """The relying party underneath. Raises SettingsError before `init_app`."""
        return self._ready.party

    @property
    def person(self) -> Person | None:
        """Who is signed in, confirmed within `recheck`; None for nobody.

        Raises ProviderError `rp.provider_unreachable` when that cannot be known any more, StoreError.
        """
        return self._visit.person

    def require(
        self, level: int = 1, max_age: int | None = None, rung: str | None = None, status_max_age: int | None = None
    ) -> Callable[[Callable[P, R]], Callable[P, R | BaseResponse]]:
        """Let only a person through who meets it: level 1–4, sign-in not older than `max_age` seconds,
        rung at worst, the certificate's status not older than `status_max_age` seconds.

        A browser is sent to sign in or step up, and back, once; a script gets 401 with an RFC 9470 challenge; a form
        that was sent is never dropped silently. Raises ValueError for a requirement that cannot be met.
        """
        wanted = Requirement(level, max_age, rung, status_max_age)

        def decorate(view: Callable[P, R]) -> Callable[P, R | BaseResponse]:
            @functools.wraps(view)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> R | BaseResponse:
                stop = self._visit.check(wanted)
                return _response(stop) if stop is not None else current_app.ensure_sync(view)(*args, **kwargs)

            return guarded

        return decorate

    def require_token(
        self,
        level: int = 1,
        max_age: int | None = None,
        rung: str | None = None,
        status_max_age: int | None = None,
        *,
        scope: str = "",
        online: bool = False,
    ) -> Callable[[Callable[P, R]], Callable[P, R | BaseResponse]]:
        """Let only a call with an access token through that meets it; `rp.token` is then the token. For APIs.

        Others get JSON and a challenge (RFC 6750, 9449, 9470); cookies do not count. `scope`: all that must be there;
        `online`: the provider is asked too. Raises ValueError for what cannot be met.
        """
        wanted = needs(level, max_age, rung, status_max_age, scope=scope, online=online)

        def decorate(view: Callable[P, R]) -> Callable[P, R | BaseResponse]:
            @functools.wraps(view)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> R | BaseResponse:
                try:
                    self._visit.admit(wanted)
                except Stopped as stop:
                    return _response(stop.reply)
                answer: R = current_app.ensure_sync(view)(*args, **kwargs)
                return answer

            return guarded

        return decorate

    @property
    def token(self) -> AccessToken | None:
        """The access token of this call, inside `require_token`."""
        return self._visit.token

    def account(self, account: str | None = None) -> Link | None:
        """The person's account of this application, of several the one named; None for a person without any.

        Who is not signed in, or below the level at which it opens, is sent to sign in or step up first.
        """
        return self._visit.account(account)

    def link_account(self, account: str, proved: Callable[[], bool], **how: Any) -> Link:
        """Link the person to an account, once `proved()` has verified its old credentials; see `Accounts.link`."""
        return self._visit.link_account(account, proved, **how)

    def sign_in_address(self, return_to: str = "", wanted: Requirement | None = None, hall: str = "") -> str:
        """Path that begins a sign-in (or step-up) and comes back to `return_to`; see `Visit.sign_in_address`."""
        return self._visit.sign_in_address(return_to, wanted, hall)

    @property
    def sign_out_address(self) -> str:
        """Path that a form posts to in order to sign out everywhere."""
        return self._ready.sign_out_address

    def error_response(self, error: RPError, wanted: Requirement | None = None) -> Response:
        """A page for a browser, JSON for a script; the log line and the answer share a number."""
        return _response(self._ready.error(self._visit.call, error, wanted))

    # ---- inside

    def _own(self, name: str) -> BaseResponse:
        """One of the SDK's own addresses; its errors are the application's to show, if it wants."""
        return _response(self._ready.answer(name, _call(body=request.method == "POST")))

    @property
    def _ready(self) -> Web:
        if self._web is None:
            raise SettingsError("rp.settings", "init_app was not called")
        return self._web

    @property
    def _visit(self) -> Visit:
        """One for each request."""
        found: Visit | None = g.get("crosshall_rp_visit")
        if found is None:
            found = g.crosshall_rp_visit = Visit(self._ready, _call())
        return found

    def _after(self, response: Response) -> Response:
        """Pages that depend on who is signed in are never kept by a cache."""
        visit: Visit | None = g.get("crosshall_rp_visit")
        if visit is not None and visit.touched and "Cache-Control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"
            if "Vary" in response.headers:
                response.vary.add("Cookie")
            else:
                response.headers["Vary"] = "Cookie"
        return response


def _call(*, body: bool = False) -> Call:
    call = replace(read_call(request.environ), native=request)
    return replace(call, body=request.stream.read(BODY_LIMIT + 1)) if body else call


def _response(reply: Reply) -> Response:
    return Response(reply.body, reply.status, reply.headers)
