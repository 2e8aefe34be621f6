"""Pages: one way to render, one page for every refusal, one to go on."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

from flask import Response, current_app, g, jsonify, make_response, render_template, request

from ca_bridge import metrics
from ca_bridge.ceremony.services import services
from ca_bridge.errors import LANGUAGES, CrosshallError, catalogue, words
from ca_bridge.web import language

FAULT = 500
_SCRIPTS = ("hall.challenge", "hall.proof", "halls.signed", "halls.here")
_NUMBER = re.compile(r"[A-Za-z0-9-]{8,64}")
_TRANSACTION = re.compile(r"[A-Za-z0-9_-]{43}")


def page(template: str, status: int = 200, **values: Any) -> Response:
    """`template` in the person's language."""
    shown = {"t": language.text, "lang": language.current(), "asset": asset, **values}
    if "switch" not in shown:
        shown["switch"] = switch_links(request.path)
    return language.keep_choice(make_response(render_template(template, **shown), status))


def refusal(error: CrosshallError, *, transaction: str = "") -> Response:
    """What a person reads when `error` stopped them: why, what to do, the request's number, the code.

    Callers that send or ask for JSON get `{"code", "say", "do", "request"}`. `transaction`: the sign-in that can be
    tried again, when there is one. The error's `detail` is never shown.
    """
    entry = catalogue().get(error.code)
    status = entry.status if entry else FAULT
    number = request_number()
    if wants_json():
        say, do = words(error.code, language.current())
        answer = jsonify(code=error.code, say=say, do=do, request=number)
        answer.status_code = status
        return answer
    return refused(error.code, status, number, transaction)


def count(code: str) -> None:
    """Count how the sign-in of this request ended or was stopped; nothing before its way is known."""
    if way := g.get("way"):
        metrics.sign_in(way, code, services().trusted().rung.value)


def refused(code: str, status: int, number: str, transaction: str) -> Response:
    """The page of `code`; its language switch leads to the same words at an address without effect."""
    say, do = words(code, language.current())
    number = number if _NUMBER.fullmatch(number) else ""
    transaction = transaction if _TRANSACTION.fullmatch(transaction) else ""
    issuer = services().settings.bridge.issuer
    again = f"{issuer}/sign-in/{transaction}" if transaction else ""
    facts = {name: value for name, value in (("n", number), ("tx", transaction)) if value}
    return page(
        "refusal.html",
        status,
        code=code,
        say=say,
        do=do,
        number=number,
        again=again,
        home=f"{issuer}/",
        switch=switch_links(f"/refused/{code}", facts),
    )


def onward(address: str, *, cancelled: bool = False) -> Response:
    """A page that goes on to `address` at once, without a script.

    Browsers hold a form's `form-action` against every redirect that follows it, so a chain that began with a form
    must end in a page before it may leave for Keycloak and a window.
    """
    response = page("continue.html", address=address, cancelled=cancelled)
    response.headers["Refresh"] = f"0; url={address}"
    return response


def redirect(address: str) -> Response:
    """303 to `address`, which is one of our own making, never a caller's."""
    response = make_response("", 303)
    response.location = address
    return response


def switch_links(path: str, facts: dict[str, str] | None = None) -> list[tuple[str, str, str]]:
    """The language switch: (language, its own name, address). Only what `facts` holds is carried along."""
    return [
        (tag, language.OWN_NAMES[tag], f"{path}?{urlencode({**(facts or {}), language.PARAMETER: tag})}")
        for tag in LANGUAGES
    ]


def request_number() -> str:
    """The number under which this request stands in the log; told to the person when something failed."""
    return str(g.get("request_id", ""))


def wants_json() -> bool:
    """Whether the caller is a script: it sends JSON, or asks for it before a page."""
    accepted = request.accept_mimetypes
    return request.endpoint in _SCRIPTS or request.is_json or accepted["application/json"] > accepted["text/html"]


def asset(name: str) -> str:
    """Address of a static file, changed when the file changes."""
    return f"/static/{name}?v={current_app.extensions['crosshall.assets'][name]}"
