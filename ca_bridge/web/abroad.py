"""A sign-in at another hall: this hall asks (`/sign-in/<tx>/abroad`), and this hall is asked (`/abroad`).

    here                                           the other hall
    /sign-in/<tx>/abroad   choose, look, go  ──▶   /abroad            its session's own browser key signs our nonce
    /abroad/evidence       ◀── form ────────────   /abroad/sign
    /sign-in/<tx>/return?code=                     one-time code, this browser only: `hall` goes on

The form comes from another site, so that no cookie of ours comes with it: `/abroad/evidence` signs nobody in. It yields
a code, as the certificate host does, and the redirect after it brings the browser's cookie.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode

import structlog
from flask import Blueprint, Response, g, jsonify, make_response, request

from ca_bridge.ceremony import abroad as ceremony
from ca_bridge.ceremony import travel
from ca_bridge.ceremony.services import services
from ca_bridge.crypto import jwk
from ca_bridge.errors import CeremonyError, FederationError
from ca_bridge.trust.roster import RosterNode
from ca_bridge.types import Way
from ca_bridge.web import guard, language, pages
from ca_bridge.web.steps import at_the_hall, back_to_sign_in, csrf, ended, onward_address, posted, resume

log = structlog.get_logger(__name__)

abroad = Blueprint("halls", __name__, template_folder="templates")
_CSRF = "abroad"
_MAX_FORM = 80 * 1024
_MAX_JSON = 8 * 1024


@abroad.get("/sign-in/<tx_id>/abroad")
def choose(tx_id: str) -> Response:
    """The halls that the person may come from; with `hall` the one to which the browser goes now."""
    tx = resume(tx_id)
    if ended(tx):
        return pages.redirect(onward_address(tx))
    halls = ceremony.halls(services(), tx)
    if not halls:
        return back_to_sign_in(tx)
    node = next((node for node in halls if node.name == request.args.get("hall", "")), None)
    if node is None:
        return pages.page("halls.html", tx=tx, halls=_tree(halls), language=language.current())
    switch = pages.switch_links(request.path, {"hall": node.name})
    title = node.title[language.current()]
    response = pages.page("tohall.html", tx=tx, csrf=csrf(tx), node=node, title=title, switch=switch)
    return guard.protect(response, connect=f"'self' {node.hall}", form=f"'self' {node.hall}")


@abroad.post("/sign-in/<tx_id>/abroad")
def go(tx_id: str) -> Response:
    """To the other hall, once in this sign-in; after that, or when it may not be, back to our own page."""
    tx = posted(tx_id)
    if ended(tx):
        return pages.redirect(onward_address(tx))
    try:
        return pages.redirect(ceremony.ask(services(), tx, request.form.get("hall", "")))
    except FederationError as error:
        log.info("not asked", code=error.code, detail=error.detail)
        return back_to_sign_in(tx)


@abroad.post("/abroad/evidence")
def evidence() -> Response:
    """What the other hall's page brings: a code for the browser that began, or why not. Signs nobody in."""
    at_the_hall()
    request.max_content_length = _MAX_FORM
    found = ceremony.opened(services(), request.form.get("evidence", ""))
    g.transaction, g.way = found.transaction, Way.ABROAD
    code = ceremony.code(services(), found)
    log.info("evidence taken", node=found.node.name)
    return pages.redirect(f"{services().settings.bridge.issuer}/sign-in/{found.transaction}/return?code={code}")


@abroad.get("/abroad")
def asked() -> Response:
    """Another hall asks whether this browser has a session that may travel; if so our page's script answers for it."""
    at_the_hall()
    wanted = travel.read_request(services(), request.args.get("request", ""))
    found = travel.travelling(services(), guard.cookie(guard.SESSION))
    if isinstance(found, str):
        log.info("nothing travels", node=wanted.node.name, reason=found)
        return _elsewhere(wanted.without(found))
    browser, fresh = guard.browser_cookie()
    response = pages.page(
        "travel.html",
        request_text=request.args["request"],
        csrf=guard.csrf_token(browser, _CSRF),
        key=jwk.thumbprint(found.signed.browser),
        origin=wanted.node.hall,
        nonce=wanted.nonce,
        back=wanted.back,
        title=wanted.node.title[language.current()],
        switch=[],
    )
    if fresh:
        guard.set_cookie(response, guard.BROWSER, browser)
    return guard.protect(response, form=wanted.node.hall)


@abroad.post("/abroad/sign")
def signed() -> Response:
    """Our page's script brings the browser key's signature; it takes the evidence on, sealed. JSON both ways."""
    at_the_hall()
    request.max_content_length = _MAX_JSON
    guard.check_post(guard.cookie(guard.BROWSER), _CSRF, services().settings.bridge.issuer)
    body = request.get_json(silent=True)
    texts = [body.get(name) if isinstance(body, dict) else None for name in ("request", "signature")]
    if not all(isinstance(text, str) for text in texts):
        raise CeremonyError("ceremony.proof_form", "request or signature is absent or no text")
    wanted = travel.read_request(services(), str(texts[0]))
    found = travel.travelling(services(), guard.cookie(guard.SESSION))
    if isinstance(found, str):
        return jsonify(back=wanted.without(found))
    sealed = travel.evidence(services(), wanted, found, _octets(str(texts[1])))
    log.info("evidence given", node=wanted.node.name)
    return jsonify(action=f"{wanted.node.hall}/abroad/evidence", evidence=sealed)


@abroad.get("/abroad/here")
def here() -> Response:
    """That this hall answers: for the page of another hall of the roster, before it sends the person here."""
    at_the_hall()
    response = make_response("", 204)
    own = ceremony.here(services())
    origin = request.headers.get("Origin", "")
    if own is None or own.roster.at(origin) is None:
        raise FederationError("abroad.unknown_hall", "asked by no hall of the roster")
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["Vary"] = "Origin"
    return response


def _elsewhere(address: str) -> Response:
    """A page that goes on to another hall: never a redirect, which the form that began there would hold against it."""
    response = pages.page("travelback.html", address=address, switch=[])
    response.headers["Refresh"] = f"0; url={address}"
    return response


def _octets(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise CeremonyError("ceremony.proof_form", "the signature is not base64url") from error


def _tree(halls: tuple[RosterNode, ...]) -> list[tuple[RosterNode, list[RosterNode]]]:
    """Each hall with those of its counties: a list of 143 is read by nobody. A county without its city stands alone."""
    names = {node.name for node in halls}
    tops = [node for node in halls if node.role != "county" or node.parent not in names]
    return [(top, [node for node in halls if node.role == "county" and node.parent == top.name]) for top in tops]
