"""The signer's own page: who asks and for what, which certificate, and the PIN. It runs no script at all."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog
from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from ca_bridge.errors import LANGUAGES, SignerError, catalogue
from ca_bridge.errors import words as error_words
from signer.parts import parts
from signer.requests import Request, State
from signer.tokens import Held
from signer.words import NAMES, choose, words

_log = structlog.get_logger("signer")
_MAX_PIN = 64
pages = Blueprint("pages", __name__)


@pages.get("/requests/<request_id>")
def show(request_id: str) -> str:
    """The page that the hall opens in a window of its own."""
    # Frames are refused by CSP as well; a browser that says what it wants is answered before it draws.
    if request.headers.get("Sec-Fetch-Dest", "document") != "document":
        raise SignerError("signer.forged", "the page was not asked for as a page of its own")
    found = parts().requests.get(request_id)
    if found.state is State.WAITING:
        return _form(found)
    return _ended(found)


@pages.post("/requests/<request_id>")
def sign(request_id: str) -> Response | tuple[str, int]:
    """The person's PIN: sign, or say what went wrong and how many tries are left."""
    made = _own_form(request_id)
    picked, pin = request.form.get("certificate", ""), request.form.get("pin", "")
    if not picked or not 0 < len(pin) <= _MAX_PIN:
        return _form(made, code="signer.incomplete", picked=picked), 422
    made = parts().requests.begin(request_id)
    try:
        signature = parts().wallet.sign(picked, pin, made.asked, parts().clock())
    except SignerError as error:
        return _failed(made, error, picked)
    except BaseException:
        parts().requests.failed(request_id, wrong_pin=False, most=parts().settings.pin_tries)
        raise
    parts().requests.done(request_id, signature)
    _log.info("signer.signed", origin=made.hall.origin, algorithm=signature.algorithm)
    return _again(request_id)


@pages.post("/requests/<request_id>/refuse")
def refuse(request_id: str) -> Response:
    """The person says no; the hall is told."""
    _own_form(request_id)
    parts().requests.refuse(request_id)
    return _again(request_id)


def error_page(code: str, language: str) -> str:
    """A refusal as a page."""
    why, remedy = error_words(code, language)
    return render_template("error.html", **_frame(language), code=code, say=why, do=remedy)


def _own_form(request_id: str) -> Request:
    """The form was sent by our own page. Raises SignerError `signer.forged`, `signer.unknown_request`."""
    if request.headers.get("Origin") != parts().settings.origin:
        raise SignerError("signer.forged", "Origin is not the signer's own")
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise SignerError("signer.forged", "Sec-Fetch-Site is not same-origin")
    return parts().requests.check_form(request_id, request.form.get("form_token", ""))


def _failed(made: Request, error: SignerError, picked: str) -> Response | tuple[str, int]:
    wrong = error.code == "signer.pin_wrong"
    left = parts().requests.failed(made.id, wrong_pin=wrong, most=parts().settings.pin_tries)
    _log.info("signer.refused", code=error.code, detail=error.detail)
    if left <= 0:
        return _again(made.id)
    left = min(left, error.facts.get("left", left))
    status = catalogue()[error.code].status
    return _form(made, code=error.code, picked=picked, left=left if wrong else None), status


def _form(made: Request, *, code: str = "", picked: str = "", left: int | None = None) -> str:
    language = _language(made)
    held = parts().wallet.held()
    why, remedy = error_words(code, language) if code else ("", "")
    remaining = int((made.asked.expires - parts().clock()).total_seconds())
    return render_template(
        "request.html",
        **_frame(language),
        made=made,
        hall=made.hall.name[language],
        certificates=[_row(entry, parts().clock(), language) for entry in held if entry.can_sign],
        others=[_row(entry, parts().clock(), language) for entry in held if not entry.can_sign],
        picked=picked,
        code=code,
        say=why,
        do=remedy,
        left=left,
        seconds=max(remaining, 1),
    )


def _ended(made: Request) -> str:
    language = _language(made)
    return render_template("ended.html", **_frame(language), made=made, hall=made.hall.name[language])


def _row(held: Held, now: datetime, language: str) -> dict[str, str]:
    certificate, text = held.certificate, words(language)
    note = ""
    if now > certificate.not_after:
        note = text["expired"]
    elif now < certificate.not_before:
        note = text["not_yet"]
    return {
        "id": held.id,
        "name": next(iter(certificate.subject.all("CN")), certificate.subject.text),
        "unit": "、".join(certificate.subject.all("O")[:1]),
        "issuer": next(iter(certificate.issuer.all("CN")), certificate.issuer.text),
        "until": certificate.not_after.astimezone(UTC).date().isoformat(),
        "token": held.token,
        "storage": text["storage_file"] if held.storage == "file" else text["storage_token"],
        "note": note,
    }


def _frame(language: str) -> dict[str, object]:
    request_id = (request.view_args or {}).get("request_id")
    shown = request_id if request.method == "GET" and request.endpoint == "pages.show" else None
    links = [(name, NAMES[name], url_for("pages.show", request_id=shown, lang=name)) for name in LANGUAGES if shown]
    return {"t": words(language), "language": language, "languages": links}


def _language(made: Request) -> str:
    """Chosen on the page, else what the hall's page speaks, else what the browser asks for."""
    wanted = request.args.get("lang") or request.form.get("lang")
    return choose(wanted, [*made.languages, *request.accept_languages.values()])


def _again(request_id: str) -> Response:
    language = request.form.get("lang", "")
    return redirect(url_for("pages.show", request_id=request_id, lang=language or None), 303)
