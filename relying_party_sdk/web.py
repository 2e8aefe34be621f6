"""HTTP without a framework: a `Call` in, a `Reply` out. The adapters translate both and add nothing of their own.

Web.serve(call)        the SDK's own addresses: login, callback, logout, signed-out, backchannel-logout, jwks.json
Visit(web, call)       one request of the application: who is there, what a page requires
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from json import dumps
from typing import Any, Unpack
from urllib.parse import parse_qs, quote, urlencode

from relying_party_sdk import pages, words
from relying_party_sdk.client import RelyingParty
from relying_party_sdk.errors import AccessError, CallbackError, RequestError, RPError, SettingsError
from relying_party_sdk.hooks import Hooks, SignedIn
from relying_party_sdk.person import Person, Requirement
from relying_party_sdk.request import How, safe_path
from relying_party_sdk.settings import Settings
from relying_party_sdk.travel import Arrival

log = logging.getLogger("relying_party_sdk")

BODY_LIMIT = 65_536
"""Largest body that one of the SDK's own addresses takes, in bytes; adapters read one byte more at most."""
_TABS = 12
"""Sign-ins that one browser can have under way at once."""
_FORM = "application/x-www-form-urlencoded"
_PLAIN = (("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer"))


@dataclass(frozen=True, slots=True)
class Call:
    """A request as the application sees it; header names in lower case, `path` decoded and below `base_url`."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    native: Any = field(default=None, repr=False, compare=False, kw_only=True)
    """The framework's own request, for hooks."""

    @property
    def here(self) -> str:
        """Path and query, encoded: where a sign-in comes back to."""
        return quote(self.path, safe="/:@!$&'()*+,;=~-._") + (f"?{self.query}" if self.query else "")

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies; of two with one name the first (RFC 6265 §5.4)."""
        pairs = (part.partition("=") for part in self.headers.get("cookie", "").split(";"))
        return {name.strip(): value.strip() for name, equals, value in reversed([*pairs]) if equals}

    @property
    def media(self) -> str:
        """Media type of the body."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(slots=True)
class Reply:
    """What is answered."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=lambda: [*_PLAIN])
    body: bytes = b""

    @property
    def reason(self) -> str:
        """The status line's words."""
        return f"{self.status} {HTTPStatus(self.status).phrase}"

    def set_cookie(self, name: str, value: str, seconds: int | None = None) -> None:
        """A host-bound cookie; without `seconds` it ends with the browser."""
        age = "" if seconds is None else f"; Max-Age={seconds}"
        self.headers.append(("Set-Cookie", f"{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{age}"))

    def drop_cookie(self, name: str) -> None:
        """Remove a cookie from the browser."""
        self.set_cookie(name, "", 0)


class Stopped(RPError):  # noqa: N818 - a state, not a fault
    """A page's requirement is not met: the adapter sends `reply` instead of the page."""

    def __init__(self, reply: Reply) -> None:
        super().__init__("rp.sign_in_required", "answered before the page")
        self.reply = reply


class Web:
    """The SDK at one site. `language` tells a page's language from a call; by default `Accept-Language` does."""

    def __init__(self, party: RelyingParty, language: Callable[[Call], str] | None = None) -> None:
        self.party = party
        self.settings = party.settings
        self._language = language or (lambda call: words.pick_language(call.headers.get("accept-language", "")))
        self._own: dict[str, Mapping[str, Callable[[Call], Reply]]] = {
            "login": {"GET": self._login},
            "callback": {"GET": self._callback, "POST": self._posted},
            "logout": {"POST": self._logout},
            "signed-out": {"GET": self._signed_out},
            "backchannel-logout": {"POST": self._back},
            "jwks.json": {"GET": self._jwks},
        }
        if self.settings.sign_out_return == "home":
            del self._own["signed-out"]

    # ---- the SDK's own addresses

    def owns(self, path: str) -> bool:
        """True for an address that `serve` answers."""
        return (
            path.startswith(self.settings.prefix + "/") and path.removeprefix(self.settings.prefix + "/") in self._own
        )

    def serve(self, call: Call) -> Reply:
        """The answer of one of the SDK's own addresses; errors are pages."""
        try:
            return self.answer(call.path.removeprefix(self.settings.prefix + "/"), call)
        except RPError as error:
            return self.error(call, error)

    def answer(self, name: str, call: Call) -> Reply:
        """As `serve`, by name, for a framework with a router and error pages of its own. Raises RPError."""
        methods = self._own[name]
        return methods[call.method](call) if call.method in methods else _not_allowed(methods)

    @property
    def names(self) -> Mapping[str, Sequence[str]]:
        """The SDK's own addresses below the prefix, with their methods."""
        return {name: tuple(methods) for name, methods in self._own.items()}

    def _login(self, call: Call) -> Reply:
        query = _fields(call.query)
        wanted = Requirement()
        level, age = _number(query.get("level")), _number(query.get("max_age"))
        if level is not None or age is not None:
            try:
                wanted = Requirement(level or 1, age)
            except ValueError as error:
                raise RequestError("rp.callback", "level or max_age is out of range") from error
        fresh = wanted.max_age is not None and self.party.stale(self.session_cookie(call), wanted)
        try:
            return self.depart(
                call, query.get("return_to", ["/"])[0], wanted, fresh=fresh, hall=query.get("hall", [""])[0]
            )
        except ValueError as error:
            raise RequestError("rp.callback", "hall is no node's name") from error

    def _posted(self, call: Call) -> Reply:
        """An answer that the provider had posted: kept, and taken up by the next step, which has the cookies."""
        if call.media != _FORM or len(call.body) > BODY_LIMIT:
            raise CallbackError("rp.callback", "an answer that is no form of a sensible size")
        query = self.party.receive(_fields(call.body.decode("ascii", "replace")))
        return _redirect(f"{self._base()}/callback?{query}")

    def _callback(self, call: Call) -> Reply:
        arrival = self.party.finish(_fields(call.query), call.cookies)
        if arrival.unmet is not None:
            arrival.unmet.return_to = arrival.return_to
            reply = self.error(call, arrival.unmet, arrival.wanted)
        else:
            reply = _redirect(self.settings.base_path + self._welcomed(call, arrival))
        reply.set_cookie(self.settings.cookie("session"), arrival.cookie)
        reply.drop_cookie(arrival.spent_cookie)
        return reply

    def _welcomed(self, call: Call, arrival: Arrival) -> str:
        """Where the browser goes after a sign-in: the application may say so. Its failure leaves no session behind."""
        hook = self.party.hooks.on_sign_in
        if hook is None:
            return arrival.return_to
        try:
            path = hook(SignedIn(arrival.person, arrival.session, arrival.previous, call.native))
        except BaseException:
            self.party.sessions.end(arrival.session)
            raise
        return safe_path(path) if path else arrival.return_to

    def check_own_site(self, call: Call) -> None:
        """Passes for what a page of this site sent. Raises RequestError `rp.cross_site`."""
        origin, site = call.headers.get("origin"), call.headers.get("sec-fetch-site", "same-origin")
        own = self.settings.base_url.removesuffix(self.settings.base_path)
        if (origin is not None and origin not in (own, "null")) or site not in ("same-origin", "none"):
            raise RequestError("rp.cross_site", "asked by another site")

    def _logout(self, call: Call) -> Reply:
        self.check_own_site(call)
        cookie = self.session_cookie(call)
        leaving = self.party.leave(cookie)
        if key := self.party.sessions.key_of(cookie):
            self.party.hooks.signed_out((key,), call.native)
        reply = _redirect(leaving.url)
        reply.drop_cookie(self.settings.cookie("session"))
        if leaving.cookie_name:
            reply.set_cookie(leaving.cookie_name, leaving.cookie, self.settings.sign_in)
        return reply

    def _signed_out(self, call: Call) -> Reply:
        self.party.left(_fields(call.query), call.cookies)
        reply = _redirect(self.settings.home)
        reply.drop_cookie(self.settings.cookie("leaving"))
        return reply

    def _back(self, call: Call) -> Reply:
        """Back-Channel Logout 1.0 §2.5, §2.8: 200 or 400, never cached."""
        if call.media != _FORM or len(call.body) > BODY_LIMIT:
            return _json(400, {"error": "invalid_request", "error_description": "not a form of a sensible size"})
        tokens = _fields(call.body.decode("ascii", "replace")).get("logout_token", [])
        if len(tokens) != 1:
            return _json(400, {"error": "invalid_request", "error_description": "invalid_request"})
        try:
            ended = self.party.back_channel(tokens[0])
        except RPError as error:
            log.warning("back-channel logout refused: %s", error)
            return _json(400, {"error": "invalid_request", "error_description": error.code})
        log.info("back-channel logout: %d sessions ended", ended)
        return Reply(200)

    def _jwks(self, _: Call) -> Reply:
        reply = _json(200, dict(self.party.jwks))
        reply.headers[0] = ("Cache-Control", "public, max-age=300")
        return reply

    # ---- for visits and adapters

    def gate(self, call: Call, person: Person | None, wanted: Requirement) -> Reply | None:
        """None to show the page, else what is answered instead."""
        if person is None:
            problem: RPError | None = AccessError("rp.sign_in_required", "no session")
        else:
            problem = self.party.unmet(person, wanted)
        if problem is None:
            return None
        if self._strayed(call):  # a sign-in would come back here again, and again
            return self.error(call, SettingsError("rp.front_path", "the front keeps the path of base_url"), wanted)
        if wants_json(call.headers) or problem.code in ("rp.rung_unmet", "rp.rung_unknown"):
            return self.error(call, problem, wanted)
        if call.method not in ("GET", "HEAD"):
            return self.error(call, RequestError("rp.form_not_sent", problem.code), wanted)
        fresh = person is not None and self.party.needs_proof(person, wanted)
        return self.depart(call, call.here, wanted, fresh=fresh)

    def _strayed(self, call: Call) -> bool:
        """One of the SDK's own addresses that a front hands on with `base_url`'s path before it."""
        path = self.settings.base_path
        return bool(path) and call.path.startswith(path) and self.owns(call.path.removeprefix(path))

    def depart(self, call: Call, return_to: str, wanted: Requirement, **how: Unpack[How]) -> Reply:
        """To the provider, and back to `return_to`; `how` as of `RelyingParty.begin`.

        Raises ProviderError, StoreError, SettingsError, ValueError.
        """
        departure = self.party.begin(return_to, wanted, ui_locales(self._language(call)), **how)
        reply = _redirect(departure.url)
        prefix = self.settings.cookie("tab-")
        names = [name for name in reversed(call.cookies) if name.startswith(prefix)]
        for name in names[: max(0, len(names) - _TABS + 1)]:  # a pile would outgrow what a server takes as headers
            reply.drop_cookie(name)
        reply.set_cookie(departure.cookie_name, departure.cookie, departure.seconds)
        return reply

    def error(self, call: Call, error: RPError, wanted: Requirement | None = None) -> Reply:
        """A page for a browser, JSON for a script; the log line and the answer share a number."""
        if isinstance(error, Stopped):
            return error.reply
        number = secrets.token_hex(4)
        log.log(logging.INFO if isinstance(error, AccessError) else logging.WARNING, "%s [%s]", error, number)
        language = self._language(call)
        get = call.method in ("GET", "HEAD") and not call.path.startswith(self.settings.prefix + "/")
        sign_in = self.sign_in_address(error.return_to or (call.here if get else "/"), wanted)
        if wants_json(call.headers):
            status, body = pages.error_json(error.code, language, number, sign_in)
            reply = _json(status, body)
            if status == 401:
                reply.headers.append(("WWW-Authenticate", self.party.challenge(wanted or Requirement(), error)))
            return reply
        home, again = f"{self.settings.base_path}/", error.code == "rp.form_not_sent"
        status, html = pages.error_page(pages.Page(error.code, number, language, sign_in, home, new_window=again))
        return Reply(status, [("Content-Type", "text/html; charset=utf-8"), *pages.HEADERS.items()], html.encode())

    def sign_in_address(self, return_to: str, wanted: Requirement | None = None, hall: str = "") -> str:
        """Path that begins a sign-in (or step-up) and comes back to `return_to`; `hall`: see `Visit`."""
        query = {"return_to": return_to} | ({"hall": hall} if hall else {})
        if wanted is not None and wanted.level > 1:
            query["level"] = str(wanted.level)
        if wanted is not None and wanted.max_age is not None:
            query["max_age"] = str(wanted.max_age)
        return f"{self._base()}/login?{urlencode(query)}"

    @property
    def sign_out_address(self) -> str:
        """Path that a form posts to in order to sign out everywhere."""
        return f"{self._base()}/logout"

    def session_cookie(self, call: Call) -> str:
        """The session's cookie, or empty."""
        return call.cookies.get(self.settings.cookie("session"), "")

    def _base(self) -> str:
        return self.settings.base_path + self.settings.prefix


def make_web(
    settings: Settings | None,
    party: RelyingParty | None,
    language: Callable[[Call], str] | None = None,
    hooks: Hooks | None = None,
) -> Web:
    """From a relying party, else settings, else the environment. Raises SettingsError at start."""
    web = Web(party or RelyingParty(settings or Settings.from_environment()), language)
    web.party.hooks = hooks or web.party.hooks
    return web


def lower(headers: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Header fields by lower-case name; several of one name joined (RFC 9110 §5.3; cookies: RFC 9113 §8.2.3)."""
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = f"{found[key]}{'; ' if key == 'cookie' else ', '}{value}" if key in found else value
    return found


def wants_json(headers: Mapping[str, str]) -> bool:
    """True for a script: fetch and XHR say so themselves, an API client prefers JSON (W3C Fetch Metadata §2.3)."""
    if headers.get("x-requested-with") == "XMLHttpRequest" or "authorization" in headers:
        return True
    if mode := headers.get("sec-fetch-mode"):
        return mode != "navigate"
    accept = headers.get("accept", "")
    return bool(accept) and _quality(accept, "application/json") > _quality(accept, "text/html")


def _quality(accept: str, media: str) -> float:
    """How much a media type is wanted; the most specific range counts (RFC 9110 §12.5.1)."""
    best, found = -1, 0.0
    for part in accept[:2000].split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        rank = {media: 2, media.partition("/")[0] + "/*": 1, "*/*": 0}.get(kind, -1)
        if rank <= best:
            continue
        quality = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
        try:
            best, found = rank, float(quality)
        except ValueError:
            continue
    return found


_TAGS = {"zh-Hans": ("zh-CN", "zh-Hans"), "zh-Hant": ("zh-TW", "zh-Hant")}
"""Keycloak knows Chinese by region alone, and takes `zh-Hans` for zh-TW (seen with 26.7.3)."""


def ui_locales(language: str) -> Sequence[str]:
    """The language of this page first, so that the provider's pages continue in it."""
    ordered = (language, *(other for other in words.LANGUAGES if other != language))
    return tuple(tag for each in ordered for tag in _TAGS.get(each, (each,)))


def _number(values: Sequence[str] | None) -> int | None:
    text = values[0] if values else ""
    return int(text) if text.isascii() and text.removeprefix("-").isdigit() and len(text) < 10 else None


def _fields(text: str) -> Mapping[str, list[str]]:
    """Of a query or form. An empty value counts: a parameter with one is there. Raises CallbackError `rp.callback`."""
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=50)
    except ValueError as error:
        raise CallbackError("rp.callback", "more fields than make sense") from error


def _not_allowed(methods: Iterable[str]) -> Reply:
    return Reply(405, [*_PLAIN, ("Allow", ", ".join(methods))])


def _redirect(url: str) -> Reply:
    return Reply(303, [*_PLAIN, ("Location", url)])


def _json(status: int, value: Mapping[str, Any]) -> Reply:
    return Reply(status, [*_PLAIN, ("Content-Type", "application/json")], dumps(value).encode())
