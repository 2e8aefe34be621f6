"""The signer's HTTP: what a hall's page may call (`/v1/…`), and headers of every answer."""

from __future__ import annotations

import base64
import json
import secrets
import traceback
from collections.abc import Callable
from typing import Any

import structlog
from flask import Blueprint, Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from ca_bridge.errors import CrosshallError, SignerError, catalogue
from ca_bridge.errors import words as error_words
from ca_bridge.types import Clock, utc_now
from signer.asking import read_asking
from signer.origins import Hall, Origins
from signer.page import error_page, pages
from signer.parts import Parts, parts
from signer.requests import Request, Requests, State
from signer.settings import SignerSettings
from signer.wallet import Wallet
from signer.words import choose

_log = structlog.get_logger("signer")
_MAX_BODY = 8 * 1024
_CSP = (
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
api = Blueprint("api", __name__, url_prefix="/v1")


def create_app(
    settings: SignerSettings,
    wallet: Wallet,
    *,
    clock: Clock = utc_now,
    secret: Callable[[], str] = lambda: secrets.token_urlsafe(32),
) -> Flask:
    """The signer as a WSGI application. Raises SignerError `signer.origins` when the province's key cannot be read."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = _MAX_BODY
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.extensions["signer"] = Parts(
        settings,
        wallet,
        Origins(settings.origins_file, settings.origins_key_file),
        Requests(clock=clock, secret=secret, max_pending=settings.max_pending, per_minute=settings.requests_per_minute),
        clock,
    )
    app.before_request(_check_host)
    app.after_request(_protect)
    app.register_blueprint(api)
    app.register_blueprint(pages)
    app.register_error_handler(CrosshallError, _refused)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _fault)
    return app


@api.get("/status", provide_automatic_options=False)
def status() -> Response:
    """That a signer is here, for a listed hall, or for a program of this machine, which sends no Origin at all."""
    if "Origin" in request.headers:
        _hall()
    return jsonify(name="crosshall-signer", version=1, browser=True)  # browser: signs a challenge's sixth field


@api.post("/requests", provide_automatic_options=False)
def create() -> tuple[Response, int]:
    """Take a request: it waits until the person opens its page."""
    hall = _hall()
    if request.mimetype != "application/json":  # keeps "simple" cross-site forms out, whatever Origin says
        raise SignerError("signer.request", "the body is not application/json")
    asking = read_asking(_body(), hall.origin, parts().clock())
    made, secret = parts().requests.add(hall, asking.asked, asking.level, asking.languages)
    page = f"{parts().settings.origin}/requests/{made.id}"
    _log.info("signer.request", origin=hall.origin, level=asking.level)
    return jsonify(id=made.id, secret=secret, page=page), 201


@api.get("/requests/<request_id>", provide_automatic_options=False)
def collect(request_id: str) -> Response:
    """Where a request stands; certificate and signature once."""
    hall = _hall()
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer":
        raise SignerError("signer.unknown_request", "no bearer secret")
    return jsonify(_answer(parts().requests.collect(request_id, secret.strip(), hall.origin)))


@api.route("/status", methods=["OPTIONS"])
@api.route("/requests", methods=["OPTIONS"])
@api.route("/requests/<request_id>", methods=["OPTIONS"])
def preflight(request_id: str = "") -> tuple[str, int]:  # noqa: ARG001 - one answer for every address
    """A browser's question before the call; the answer's headers are set by `_protect`."""
    _hall()
    return "", 204


def _answer(made: Request) -> dict[str, Any]:
    if made.state is State.DONE and made.signature is not None:
        body = base64.b64encode(made.signature.certificate).decode()
        lines = "\n".join(body[start : start + 64] for start in range(0, len(body), 64))
        return {
            "state": "done",
            "certificate": f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n",
            "algorithm": made.signature.algorithm,
            "signature": base64.urlsafe_b64encode(made.signature.value).rstrip(b"=").decode(),
        }
    return {"state": "waiting" if made.state is State.SIGNING else str(made.state)}


def _body() -> Any:
    """The decoded body, None when it is no JSON."""
    try:
        return json.loads(request.get_data())
    except (ValueError, RecursionError):
        return None


def _hall() -> Hall:
    return parts().origins.hall(request.headers.get("Origin"), parts().clock())


def _check_host() -> None:
    """`Host` is exactly ours: a foreign name that was made to resolve to loopback is refused (DNS rebinding)."""
    if request.headers.get("Host") != f"127.0.0.1:{parts().settings.port}":
        raise SignerError("signer.host", "Host is not the signer's own")


def _protect(response: Response) -> Response:
    headers = response.headers
    headers.setdefault("Content-Security-Policy", _CSP)
    headers.setdefault("Cache-Control", "no-store")
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    # Not `no-referrer`: under it browsers send `Origin: null` with our own form.
    headers["Referrer-Policy"] = "same-origin"
    # The hall that opened our window cannot reach into it, nor put another page in its place.
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=(), usb=(), payment=()"
    if request.path.startswith("/v1/"):
        headers.add("Vary", "Origin")
        _allow_hall(response)
    else:
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return response


def _allow_hall(response: Response) -> None:
    try:
        hall = _hall()
    except SignerError:
        return
    headers = response.headers
    headers["Access-Control-Allow-Origin"] = hall.origin
    headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    if request.method == "OPTIONS":
        headers["Access-Control-Allow-Methods"] = "GET, POST"
        headers["Access-Control-Allow-Headers"] = "authorization, content-type"
        headers["Access-Control-Max-Age"] = "60"
        for name in ("Private-Network", "Local-Network"):  # the older and the newer draft of the same question
            if request.headers.get(f"Access-Control-Request-{name}") == "true":
                headers[f"Access-Control-Allow-{name}"] = "true"


def _refused(error: CrosshallError) -> tuple[Response | str, int]:
    known = catalogue().get(error.code)
    code = known.status if known else 500
    _log.info("signer.refused", code=error.code, detail=error.detail)
    return _tell(error.code, code)


def _http_error(error: HTTPException) -> tuple[Response | str, int]:
    return _tell("signer.unknown_request" if error.code == 404 else "signer.request", error.code or 400)


def _fault(error: Exception) -> tuple[Response | str, int]:
    # Where, never what: the text and the frames of an exception can hold a PIN.
    where = traceback.extract_tb(error.__traceback__)[-1]
    _log.error("signer.fault", error=type(error).__name__, file=where.filename, line=where.lineno)
    return _tell("run.fault", 500)


def _tell(code: str, http: int) -> tuple[Response | str, int]:
    language = choose(request.args.get("lang"), request.accept_languages.values())
    if not request.path.startswith("/v1/"):
        return error_page(code, language), http
    why, remedy = error_words(code, language)
    return jsonify(error=code, say=why, do=remedy), http
