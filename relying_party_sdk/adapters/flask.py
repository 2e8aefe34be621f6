"""Flask: `rp = CrosshallRP(app)`, then `@rp.require(level=2)` on a view and `rp.person` inside it.

Adds below `/oidc`: `login`, `callback`, `logout` (POST), `backchannel-logout` (POST) and `jwks.json`.
"""

from __future__ import annotations

import functools
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar
from urllib.parse import urlencode

from flask import Flask, Response, current_app, g, jsonify, make_response, redirect, request
from werkzeug.datastructures import Headers
from werkzeug.wrappers import Response as BaseResponse

from relying_party_sdk import pages, words
from relying_party_sdk.client import RelyingParty
from relying_party_sdk.errors import AccessError, RequestError, RPError, SettingsError
from relying_party_sdk.person import Person, Requirement
from relying_party_sdk.session import Session
from relying_party_sdk.settings import Settings

log = logging.getLogger("relying_party_sdk")

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A", bound=BaseResponse)
_LOGOUT_LIMIT = 65_536
_TABS = 12
"""Sign-ins that one browser can have under way at once."""


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
    ) -> None:
        self._settings = settings
        self._party = party
        self._language = language or (lambda: words.pick_language(request.headers.get("Accept-Language", "")))
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Attach to `app`: addresses, error pages, cookies."""
        if self._party is None:
            self._party = RelyingParty(self._settings or Settings.from_environment())
        prefix = self._party.settings.prefix
        app.extensions["crosshall_rp"] = self
        app.add_url_rule(f"{prefix}/login", "crosshall_rp.login", self._login)
        app.add_url_rule(f"{prefix}/callback", "crosshall_rp.callback", self._callback)
        app.add_url_rule(f"{prefix}/logout", "crosshall_rp.logout", self._logout, methods=["POST"])
        app.add_url_rule(f"{prefix}/backchannel-logout", "crosshall_rp.backchannel", self._back, methods=["POST"])
        app.add_url_rule(f"{prefix}/jwks.json", "crosshall_rp.jwks", self._jwks)
        app.register_error_handler(RPError, self.error_response)
        app.after_request(self._after)

    # ---- for the application

    @property
    def party(self) -> RelyingParty:
        """The relying party underneath. Raises SettingsError before `init_app`."""
        if self._party is None:
            raise SettingsError("rp.settings", "init_app was not called")
        return self._party

    @property
    def person(self) -> Person | None:
        """Who is signed in, confirmed within `recheck`; None for nobody.

        Raises ProviderError `rp.provider_unreachable` when that cannot be known any more, StoreError.
        """
        session = self._session()
        if session is None:
            return None
        if "crosshall_rp_person" not in g:
            g.crosshall_rp_person = self.party.person(session)
        found: Person = g.crosshall_rp_person
        return found

    def require(
        self, level: int = 1, max_age: int | None = None, rung: str | None = None
    ) -> Callable[[Callable[P, R]], Callable[P, R | BaseResponse]]:
        """Let only a person through who meets it: level 1–4, sign-in not older than `max_age` seconds, rung at worst.

        A browser is sent to sign in or step up, and back, once; a script gets 401 with an RFC 9470 challenge; a form
        that was sent is never dropped silently. Raises ValueError for a requirement that cannot be met.
        """
        wanted = Requirement(level, max_age, rung)

        def decorate(view: Callable[P, R]) -> Callable[P, R | BaseResponse]:
            @functools.wraps(view)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> R | BaseResponse:
                stop = self._gate(wanted)
                return stop if stop is not None else current_app.ensure_sync(view)(*args, **kwargs)

            return guarded

        return decorate

    def sign_in_address(self, return_to: str = "", wanted: Requirement | None = None) -> str:
        """Path that begins a sign-in (or step-up) and comes back to `return_to`, by default this page."""
        query = {"return_to": return_to or self._here()}
        if wanted is not None and wanted.level > 1:
            query["level"] = str(wanted.level)
        if wanted is not None and wanted.max_age is not None:
            query["max_age"] = str(wanted.max_age)
        return f"{self._base()}/login?{urlencode(query)}"

    @property
    def sign_out_address(self) -> str:
        """Path that a form posts to in order to sign out everywhere."""
        return f"{self._base()}/logout"

    # ---- addresses

    def _login(self) -> BaseResponse:
        wanted = Requirement()
        level, age = request.args.get("level", type=int), request.args.get("max_age", type=int)
        if level is not None or age is not None:
            try:
                wanted = Requirement(level or 1, age)
            except ValueError as error:
                raise RequestError("rp.callback", "level or max_age is out of range") from error
        return self._depart(request.args.get("return_to", "/"), wanted)

    def _callback(self) -> BaseResponse:
        arrival = self.party.finish(request.args.to_dict(flat=False), request.cookies)
        if arrival.unmet is not None:
            arrival.unmet.return_to = arrival.return_to
            response: BaseResponse = self.error_response(arrival.unmet, arrival.wanted)
        else:
            response = _plain(redirect(self.party.settings.base_path + arrival.return_to, 303))
        self._set_cookie(response, self.party.settings.cookie("session"), arrival.cookie)
        self._drop_cookie(response, arrival.spent_cookie)
        return response

    def _logout(self) -> BaseResponse:
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "same-origin")
        own = self.party.settings.base_url.removesuffix(self.party.settings.base_path)
        if (origin is not None and origin not in (own, "null")) or site not in ("same-origin", "none"):
            raise RequestError("rp.cross_site", "sign-out asked by another site")
        target = self.party.sign_out(self._session_cookie())
        response = _plain(redirect(target, 303))
        self._drop_cookie(response, self.party.settings.cookie("session"))
        return response

    def _back(self) -> BaseResponse:
        """Back-Channel Logout 1.0 §2.5, §2.8: 200 or 400, never cached."""
        length = request.content_length
        if length is None or length > _LOGOUT_LIMIT or request.mimetype != "application/x-www-form-urlencoded":
            return self._back_refused("invalid_request")
        tokens = request.form.getlist("logout_token")
        if len(tokens) != 1:
            return self._back_refused("invalid_request")
        try:
            ended = self.party.back_channel(tokens[0])
        except RPError as error:
            log.warning("back-channel logout refused: %s", error)
            return self._back_refused(error.code)
        log.info("back-channel logout: %d sessions ended", ended)
        return _plain(Response(status=200))

    def _back_refused(self, code: str) -> BaseResponse:
        response = jsonify({"error": "invalid_request", "error_description": code})
        response.status_code = 400
        return _plain(response)

    def _jwks(self) -> BaseResponse:
        response = jsonify(dict(self.party.jwks))
        response.headers["Cache-Control"] = "public, max-age=300"
        return response

    # ---- inside

    def _gate(self, wanted: Requirement) -> BaseResponse | None:
        """None to let the view run, else what is answered instead."""
        person = self.person
        if person is None:
            problem: RPError | None = AccessError("rp.sign_in_required", "no session")
        else:
            problem = self.party.unmet(person, wanted)
        if problem is None:
            return None
        if _wants_json() or problem.code == "rp.rung_unmet":
            return self.error_response(problem, wanted)
        if request.method not in ("GET", "HEAD"):
            return self.error_response(RequestError("rp.form_not_sent", problem.code), wanted)
        return self._depart(self._here(), wanted)

    def _depart(self, return_to: str, wanted: Requirement) -> BaseResponse:
        languages = _ui_locales(self._language())
        departure = self.party.begin(return_to, wanted, languages)
        response = _plain(redirect(departure.url, 303))
        self._drop_tabs(response, keep=_TABS - 1)
        self._set_cookie(response, departure.cookie_name, departure.cookie, departure.seconds)
        return response

    def _drop_tabs(self, response: BaseResponse, keep: int) -> None:
        """A pile of abandoned sign-ins must not grow past what a server takes as headers."""
        prefix = self.party.settings.cookie("tab-")
        names = [name for name in request.cookies if name.startswith(prefix)]
        for name in names[: max(0, len(names) - keep)]:  # browsers send the oldest first (RFC 6265 §5.4)
            self._drop_cookie(response, name)

    def _session(self) -> Session | None:
        """Read and confirmed once per request."""
        if "crosshall_rp_session" not in g:
            g.crosshall_rp_session = self.party.current(self._session_cookie())
        found: Session | None = g.crosshall_rp_session
        return found

    def error_response(self, error: RPError, wanted: Requirement | None = None) -> Response:
        """A page for a browser, JSON for a script; the log line and the answer share a number."""
        number = secrets.token_hex(4)
        log.log(logging.INFO if isinstance(error, AccessError) else logging.WARNING, "%s [%s]", error, number)
        language = self._language()
        get = request.method in ("GET", "HEAD") and not request.path.startswith(self.party.settings.prefix + "/")
        sign_in = self.sign_in_address(error.return_to or (self._here() if get else "/"), wanted)
        if _wants_json():
            status, body = pages.error_json(error.code, language, number, sign_in)
            response = jsonify(body)
            if status == 401:
                response.headers["WWW-Authenticate"] = (wanted or Requirement()).challenge(error)
            response.status_code = status
            return _plain(response)
        home = f"{self.party.settings.base_path}/"
        again = error.code == "rp.form_not_sent"
        status, html = pages.error_page(pages.Page(error.code, number, language, sign_in, home, new_window=again))
        response = make_response(html, status)
        response.headers.update(Headers(list(pages.HEADERS.items())))
        return response

    def _after(self, response: Response) -> Response:
        """Pages that depend on who is signed in are never kept by a cache."""
        if "crosshall_rp_session" in g and "Cache-Control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"
            response.vary.add("Cookie")
        return response

    def _session_cookie(self) -> str:
        return request.cookies.get(self.party.settings.cookie("session"), "")

    @staticmethod
    def _drop_cookie(response: BaseResponse, name: str) -> None:
        response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="Lax")

    @staticmethod
    def _set_cookie(response: BaseResponse, name: str, value: str, seconds: int | None = None) -> None:
        response.set_cookie(name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="Lax")

    def _base(self) -> str:
        return self.party.settings.base_path + self.party.settings.prefix

    @staticmethod
    def _here() -> str:
        return request.full_path if request.query_string else request.path


def _plain(response: A) -> A:
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _wants_json() -> bool:
    """True for a script: fetch and XHR say so themselves, an API client prefers JSON (W3C Fetch Metadata §2.3)."""
    if request.headers.get("X-Requested-With") == "XMLHttpRequest" or "Authorization" in request.headers:
        return True
    if mode := request.headers.get("Sec-Fetch-Mode"):
        return mode != "navigate"
    accept = request.accept_mimetypes
    return bool(accept) and accept["application/json"] > accept["text/html"]


_TAGS = {"zh-Hans": ("zh-CN", "zh-Hans"), "zh-Hant": ("zh-TW", "zh-Hant")}
"""Keycloak knows Chinese by region alone, and takes `zh-Hans` for zh-TW (seen with 26.7.3)."""


def _ui_locales(language: str) -> Sequence[str]:
    """The language of this page first, so that the provider's pages continue in it."""
    ordered = (language, *(other for other in words.LANGUAGES if other != language))
    return tuple(tag for each in ordered for tag in _TAGS.get(each, (each,)))
