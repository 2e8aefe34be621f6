"""Pages: one way to render, one page for every refusal."""

from __future__ import annotations

from typing import Any

from flask import Response, current_app, g, jsonify, make_response, render_template, request

from ca_bridge.errors import CrosshallError, catalogue, words
from ca_bridge.web import language

FAULT = 500


def page(template: str, status: int = 200, **values: Any) -> Response:
    """`template` in the person's language; never cached, with the headers of `ca_bridge.web.guard`."""
    return make_response(render_template(template, **values), status)


def refusal(error: CrosshallError, *, back: str = "") -> Response:
    """What a person reads when `error` stopped them: why, what to do, the request's number, the code.

    Callers that ask for JSON get `{"code", "say", "do", "request"}`. `back` is a path of our own to start over from.
    The error's `detail` is never shown.
    """
    entry = catalogue().get(error.code)
    status = entry.status if entry else FAULT
    say, do = words(error.code, language.current())
    number = request_number()
    if wants_json():
        answer = jsonify(code=error.code, say=say, do=do, request=number)
        answer.status_code = status
        return answer
    return page("refusal.html", status, code=error.code, say=say, do=do, number=number, back=back)


def request_number() -> str:
    """The number under which this request stands in the log; told to the person when something failed."""
    given = getattr(g, "request_id", None) or request.environ.get("crosshall.request_id") or ""
    return str(given)


def wants_json() -> bool:
    """Whether the caller is a script: it asked for JSON and not for a page."""
    accepted = request.accept_mimetypes
    best = accepted.best_match(["text/html", "application/json"], default="text/html")
    return request.is_json or (best == "application/json" and accepted["application/json"] > accepted["text/html"])


def asset(name: str) -> str:
    """Address of a static file, changed when the file changes."""
    version = current_app.extensions.get("crosshall.assets", {}).get(name, "")
    return f"/static/{name}?v={version}" if version else f"/static/{name}"
