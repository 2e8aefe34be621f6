"""What is done with every error of the app: a log line that does not say who, a page or JSON that says what to do."""

from __future__ import annotations

import re
import secrets

import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from ca_bridge.ceremony.services import services
from ca_bridge.errors import CeremonyError, CrosshallError, catalogue
from ca_bridge.web import guard, pages

log = structlog.get_logger(__name__)

REQUEST_ID = "X-Request-Id"
_NUMBER = re.compile(r"[A-Za-z0-9-]{8,64}")
_HTTP = {404: "ceremony.no_page", 405: "ceremony.method", 413: "ceremony.too_large"}
_CERTIFICATE_HOST = ("certificate.", "hall.refused", "static")
_KEPT_A_WEEK = "public, max-age=604800, immutable"


def install(app: Flask) -> None:
    """Handlers for the whole app; blueprints that answer scripts in another form bring their own."""
    app.before_request(_number)
    app.before_request(_host)
    app.after_request(_headers)
    app.register_error_handler(CrosshallError, _crosshall)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _fault)


def report(error: CrosshallError) -> None:
    """One log line about `error`: code, detail for the operator, number; nothing of who it was."""
    entry = catalogue().get(error.code)
    severe = entry is None or entry.status >= pages.FAULT
    emit = log.error if severe else log.info
    emit("refused", code=error.code, detail=error.detail, endpoint=request.endpoint)


def _number() -> None:
    if not g.get("request_id"):
        given = request.headers.get(REQUEST_ID, "")
        g.request_id = given if _NUMBER.fullmatch(given) else secrets.token_hex(16)


def _host() -> None:
    """The certificate host shows its own page and nothing of the hall."""
    endpoint = request.endpoint or ""
    if guard.is_certificate_host(services().settings.bridge, request.host) and not endpoint.startswith(
        _CERTIFICATE_HOST
    ):
        raise CeremonyError("ceremony.no_page", "asked of the certificate host")


def _headers(response: Response) -> Response:
    response.headers.setdefault(REQUEST_ID, pages.request_number())
    if request.endpoint == "static" and response.status_code == 200:
        response.headers["Cache-Control"] = _KEPT_A_WEEK
    return guard.protect(response)


def _crosshall(error: CrosshallError) -> Response:
    report(error)
    pages.count(error.code)
    # A fault of our own or of a finished sign-in has nothing to try again; a refused certificate has.
    transaction = "" if error.code in _ENDED else g.get("transaction", "")
    return pages.refusal(error, transaction=transaction)


_ENDED = ("ceremony.expired", "ceremony.other_browser", "ceremony.no_browser")


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    if status >= pages.FAULT:
        return _fault(error)
    return _crosshall(CeremonyError(_HTTP.get(status, "ceremony.bad_request"), f"HTTP {status}"))


def _fault(error: Exception) -> Response:
    # Neither the exception's text nor its locals: either may hold what names a person.
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where is not None else ""
    log.error("fault", kind=type(error).__name__, place=place)
    pages.count("run.fault")
    return pages.refusal(CrosshallError("run.fault", type(error).__name__))
