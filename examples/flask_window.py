"""A window with Flask: pages that ask levels, what the window was told, the sign-out button, four languages.

Run: CROSSHALL_RP_SETTINGS=window.toml gunicorn 'examples.flask_window:create_app()'. Unified login is the lines with
`rp` in `create_app`, and `rp.require`; the rest is an ordinary application. The demo runs it twice: 公安 (`police`) is
registered for name and identifiers, 环保 (`env`) for nothing.
"""

from __future__ import annotations

import functools
import secrets
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, abort, render_template, request

from relying_party_sdk import ProviderError, RelyingParty, Settings
from relying_party_sdk.adapters.flask import CrosshallRP
from relying_party_sdk.words import LANGUAGES, pick_language

HERE = Path(__file__).parent / "window"
_NAMES = {"zh-Hans": "简体", "zh-Hant": "繁體", "en": "English", "pt": "Português"}
_LONGEST_NOTE = 2000

Texts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Matter:
    """Something a person can get done at the window, and what it takes."""

    id: str
    level: int
    max_age: int | None = None


@dataclass(frozen=True, slots=True)
class Department:
    """One window: its texts lie in `texts/<id>.toml`; `attributes` says whether it is registered to learn any."""

    id: str
    attributes: bool
    matters: tuple[Matter, ...]


@functools.cache
def texts(name: str) -> Texts:
    """The words of a window, or the shared ones; each leaf has four languages."""
    return tomllib.loads((HERE / "texts" / f"{name}.toml").read_text("utf-8"))


POLICE = Department(
    id="police",
    attributes=True,
    matters=(
        Matter("residence-permit", level=2),
        Matter("household-transfer", level=3, max_age=600),
        Matter("no-record-certificate", level=4),
    ),
)
ENVIRONMENT = Department(
    id="env",
    attributes=False,
    matters=(
        Matter("noise-complaint", level=2),
        Matter("waste-transfer", level=3, max_age=600),
        Matter("discharge-permit", level=4),
    ),
)


def create_app(party: RelyingParty | None = None) -> Flask:
    """The window as a WSGI application; settings from the environment, the department by their `client_id`."""
    app = Flask(__name__, template_folder=str(HERE / "templates"), static_folder=str(HERE / "static"))
    app.config.update(MAX_CONTENT_LENGTH=65_536, TRAP_HTTP_EXCEPTIONS=False)
    rp = CrosshallRP(app, party=party, language=_language)
    settings = rp.party.settings
    department = ENVIRONMENT if settings.client_id == ENVIRONMENT.id else POLICE
    _add_pages(app, rp, department)
    _add_matters(app, rp, department)
    app.after_request(_headers(settings))
    app.register_error_handler(404, lambda _: (_page(rp, department, "missing.html"), 404))
    return app


def _add_pages(app: Flask, rp: CrosshallRP, department: Department) -> None:
    @app.get("/")
    def home() -> str:
        return _page(rp, department, "home.html", matters=department.matters)

    @app.get("/me")
    @rp.require()
    def me() -> str:
        return _page(rp, department, "me.html", received=_received(rp, department))

    @app.get("/health")
    def health() -> Response:
        return Response("ok\n", mimetype="text/plain")


def _add_matters(app: Flask, rp: CrosshallRP, department: Department) -> None:
    """One address a matter, guarded as the matter asks."""
    for matter in department.matters:

        def show(matter: Matter = matter) -> str:
            receipt = ""
            if request.method == "POST":
                _own_form(rp)
                receipt = f"{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(4).upper()}"
            received = _received(rp, department)
            return _page(rp, department, "matter.html", matter=matter, receipt=receipt, received=received)

        guarded = rp.require(level=matter.level, max_age=matter.max_age)(show)
        app.add_url_rule(f"/matters/{matter.id}", f"matter-{matter.id}", guarded, methods=["GET", "POST"])


def _own_form(rp: CrosshallRP) -> None:
    """Only this site's own form, with a note of sensible length (cookies are SameSite=Lax besides)."""
    parts = urlsplit(rp.party.settings.base_url)
    origin = request.headers.get("Origin", "null")
    if origin not in ("null", f"{parts.scheme}://{parts.netloc}"):
        abort(403)
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        abort(403)
    if not 0 < len(request.form.get("note", "").strip()) <= _LONGEST_NOTE:
        abort(400)


def _received(rp: CrosshallRP, department: Department) -> dict[str, str]:
    """Everything this window was told about the person, and nothing else: label → value."""
    person = rp.person
    if person is None:
        return {}
    rows = {
        "kind": person.kind,
        "level": str(person.level),
        "domain": person.domain,
        "subject": f"{person.short}…",
        "auth_time": f"{person.auth_time:%Y-%m-%d %H:%M:%S} UTC",
        "status_age": f"{max(0, round(person.status_age()))} s",
        "rung": person.rung,
    }
    if not department.attributes:
        return rows
    known = person.attributes()
    if known.name:
        rows["name"] = known.name
    for identifier in known.identifiers:
        rows[f"identifier:{identifier.type}"] = f"{identifier.value} ({identifier.state})"
    if known.organisation:
        rows["organisation"] = f"{known.organisation.name} {known.organisation.value}".strip()
    return rows


def _page(rp: CrosshallRP, department: Department, template: str, **values: Any) -> str:
    language = _language()
    try:
        person = rp.person
    except ProviderError:  # the public pages stay readable while the provider is away
        person = None

    def word(key: str) -> str:
        """A text of this window, else a shared one."""
        for source in (texts(department.id), texts("shared")):
            leaf: Any = source
            for step in key.split("."):
                leaf = leaf.get(step, {}) if isinstance(leaf, dict) else {}
            if language in leaf:
                return str(leaf[language])
        return key

    return render_template(
        template,
        t=word,
        department=department.id,
        language=language,
        languages=_NAMES,
        person=person,
        sign_in=rp.sign_in_address(),
        sign_out=rp.sign_out_address,
        registered=department.attributes,
        **values,
    )


def _language() -> str:
    """The language asked for in the address, then in the cookie, then by the browser."""
    for chosen in (request.args.get("lang"), request.cookies.get("__Host-window-language")):
        if chosen in LANGUAGES:
            return str(chosen)
    return pick_language(request.headers.get("Accept-Language", ""))


def _headers(settings: Settings) -> Callable[[Response], Response]:
    """Security headers of every page; signing out posts here and goes on to the provider, so both are form targets."""
    parts = urlsplit(settings.issuer)
    policy = (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self' {parts.scheme}://{parts.netloc}"
    )

    def add(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", policy)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "same-origin")
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        if request.args.get("lang") in LANGUAGES:
            name, value = "__Host-window-language", request.args["lang"]
            response.set_cookie(name, value, max_age=31_536_000, path="/", secure=True, httponly=True, samesite="Lax")
        return response

    return add
