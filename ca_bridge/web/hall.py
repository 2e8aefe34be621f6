"""The hall's pages: choosing a way, what may have to be answered, and the way back to Keycloak.

Every address below `/sign-in/<tx>` goes through `steps.resume`: the transaction lives, and in this browser it began.
Every POST goes through `guard.check_post` as well.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

import structlog
from flask import Blueprint, Response, g, jsonify, request

from ca_bridge import metrics
from ca_bridge.asn1.certificate import Certificate
from ca_bridge.ceremony import abroad, codes, complete, pending, token, transaction, travel
from ca_bridge.ceremony.services import services
from ca_bridge.ceremony.transaction import Transaction
from ca_bridge.errors import CeremonyError, catalogue
from ca_bridge.types import Capacity, Way
from ca_bridge.web import guard, language, pages
from ca_bridge.web.line import words_of
from ca_bridge.web.steps import at_the_hall, csrf, ended, onward_address, posted, resume

log = structlog.get_logger(__name__)

hall = Blueprint("hall", __name__, template_folder="templates")

_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


@hall.get("/")
def landing() -> Response:
    """What this service is; where to begin."""
    at_the_hall()
    live = services().sessions.find(guard.cookie(guard.SESSION))
    return pages.page("landing.html", signed_in=live is not None)


@hall.get("/signed-out")
def signed_out() -> Response:
    """The person has signed out, everywhere."""
    at_the_hall()
    return pages.page("signedout.html")


@hall.get("/refused/<code>")
def refused(code: str) -> Response:
    """The words of one refusal, in another language; without effect."""
    if code not in catalogue():
        raise CeremonyError("ceremony.no_page", "no such code")
    return pages.refused(code, 200, request.args.get("n", ""), request.args.get("tx", ""))


@hall.get("/sign-in/<tx_id>")
def sign_in(tx_id: str) -> Response:
    """The page with both ways."""
    tx = resume(tx_id)
    if ended(tx):
        return pages.redirect(onward_address(tx))
    here = services()
    halls = abroad.halls(here, tx)
    if any(node.name == tx.request.hall for node in halls) and abroad.hinted(here, tx):
        return pages.redirect(f"{here.settings.bridge.issuer}/sign-in/{tx.id}/abroad?hall={tx.request.hall}")
    live = here.sessions.find(guard.cookie(guard.SESSION))
    bridge = here.settings.bridge
    why = request.args.get("abroad", "")
    response = pages.page(
        "signin.html",
        halls=bool(halls),
        why=why if why in travel.REASONS else "",
        tx=tx,
        csrf=csrf(tx),
        grade=tx.request.level,
        again=live is not None and live.level >= tx.request.level,
        signer=bridge.signer,
        line=words_of(here.trusted()),
        certificate=_certificate_address(tx),
    )
    return guard.protect(response, connect=f"'self' {bridge.signer}")


@hall.get("/sign-in/<tx_id>/certificate")
def certificate_host(tx_id: str) -> Response:
    """To the certificate host once more, under another name: for a person who picked the wrong certificate."""
    return pages.redirect(_certificate_address(resume(tx_id)))


@hall.post("/sign-in/<tx_id>/challenge")
def challenge(tx_id: str) -> Response:
    """A challenge for the signer, as JSON; `browser` in the body is the page's own public key, which it then names."""
    tx = posted(tx_id)
    here = services()
    body = request.get_json(silent=True)
    key = body.get("browser") if isinstance(body, dict) else None
    asked = token.ask(here.store, tx, here.settings.bridge.issuer, here.clock(), browser=key)
    browser = {"browser": asked.browser} if asked.browser else {}
    return jsonify(
        challenge={
            "origin": asked.origin,
            "transaction": asked.transaction,
            "nonce": asked.nonce,
            "expires": asked.expires.isoformat().replace("+00:00", "Z"),
            **browser,
        },
        level=tx.request.level,
        languages=[language.current()],
    )


@hall.post("/sign-in/<tx_id>/proof")
def proof(tx_id: str) -> Response:
    """What the signer made of the challenge, for the address that goes on; JSON both ways."""
    tx = posted(tx_id)
    g.way = Way.TOKEN
    here = services()
    now = here.clock()
    given = token.read_proof(request.get_json(silent=True))
    proven = token.prove(here.store, tx, given, _holder_sm2_id, now)
    code = codes.issue(here.store, tx, proven, now)
    return jsonify({"continue": f"{here.settings.bridge.issuer}/sign-in/{tx.id}/return?code={code}"})


@hall.get("/sign-in/<tx_id>/return")
def come_back(tx_id: str) -> Response:
    """The one-time code of a proof, in the browser that began: now the certificate is judged."""
    tx = resume(tx_id)
    if ended(tx):
        return pages.onward(onward_address(tx))
    store = services().store
    proven = codes.redeem(store, tx, request.args.get("code", ""))
    state = replace(pending.load(store, tx), proven=proven, capacity=None, reached=None, recorded=False)
    return _advance(tx, state)


@hall.route("/sign-in/<tx_id>/capacity", methods=["GET", "POST"])
def capacity(tx_id: str) -> Response:
    """One human, several capacities: the person says which (R20)."""
    tx = posted(tx_id) if request.method == "POST" else resume(tx_id)
    if ended(tx):
        return pages.onward(onward_address(tx))
    state = pending.load(services().store, tx)
    choices = complete.choices(services(), pending.proof(state))
    if request.method == "POST":
        chosen = request.form.get("capacity", "")
        if chosen not in choices.capacities:
            raise CeremonyError("ceremony.capacity", "a capacity that the certificate does not give")
        return _advance(tx, replace(state, capacity=Capacity(chosen)))
    return pages.page("capacity.html", tx=tx, csrf=csrf(tx), choices=choices)


@hall.route("/sign-in/<tx_id>/switch", methods=["GET", "POST"])
def switch(tx_id: str) -> Response:
    """Somebody else is signed in here: they are signed out first, everywhere, if the person says so."""
    tx = posted(tx_id) if request.method == "POST" else resume(tx_id)
    if ended(tx):
        return pages.onward(onward_address(tx))
    state = pending.load(services().store, tx)
    pending.proof(state)
    if request.method == "POST":
        return _advance(tx, state, end_other=True)
    return _stopped("switch.html", tx, complete.SOMEBODY_ELSE, status=200)


@hall.get("/sign-in/<tx_id>/held")
def held(tx_id: str) -> Response:
    """A first certificate of another CA: how to prove that it is the same person."""
    tx = resume(tx_id)
    return _stopped("held.html", tx, complete.HELD)


@hall.get("/sign-in/<tx_id>/level")
def level(tx_id: str) -> Response:
    """The sign-in did not reach what was asked: what would; or back."""
    tx = resume(tx_id)
    reached = pending.load(services().store, tx).reached
    return _stopped("level.html", tx, complete.LEVEL, wanted=tx.request.level, reached=reached or 0)


@hall.post("/sign-in/<tx_id>/cancel")
def cancel(tx_id: str) -> Response:
    """Back to the window without a session: `interaction_required` after an unmet level, else `login_required`.

    `access_denied` would say it better, but Keycloak keeps that to a page of its own, and nobody would come back.
    """
    tx = posted(tx_id)
    if not ended(tx):
        here = services()
        unmet = pending.load(here.store, tx).reached is not None
        pending.drop(here.store, tx)
        tx = transaction.mark_refused(
            here.store, tx, "interaction_required" if unmet else "login_required", here.clock()
        )
    return pages.onward(onward_address(tx), cancelled=True)


def _advance(tx: Transaction, state: pending.Pending, *, end_other: bool = False) -> Response:
    here = services()
    if state.proven is not None:
        g.way = state.proven.way
    outcome = complete.complete(here, tx, state, guard.cookie(guard.SESSION), end_other=end_other)
    base = f"/sign-in/{tx.id}"
    match outcome:
        case complete.SignedIn(secret=secret, newly_equal=newly_equal):
            response = (
                pages.page("equal.html", address=onward_address(tx))
                if newly_equal
                else pages.onward(onward_address(tx))
            )
            guard.set_cookie(response, guard.SESSION, secret)
            pages.count(metrics.DONE)
            return response
        case complete.ChooseCapacity():
            return pages.redirect(f"{base}/capacity")
        case complete.Held():
            pages.count(complete.HELD)
            return pages.redirect(f"{base}/held")
        case complete.LevelShort():
            pages.count(complete.LEVEL)
            return pages.redirect(f"{base}/level")
        case complete.SomebodyElse():
            return pages.redirect(f"{base}/switch")


def _stopped(template: str, tx: Transaction, code: str, *, status: int = 403, **values: int) -> Response:
    """A page about what stands in the way; it has a code and a line in the log, as a refusal has."""
    log.info("stopped", code=code)
    facts = {"tx": tx, "csrf": csrf(tx), "code": code, "number": pages.request_number()}
    return pages.page(template, status, **facts, **values)


def _certificate_address(tx: Transaction) -> str:
    """A name never used before, where the setting allows it: browsers remember the certificate chosen for a host."""
    host = services().settings.bridge.certificate_host
    if host.startswith("*."):
        host = "".join(secrets.choice(_BASE32) for _ in range(guard.LABEL)) + host[1:]
    return f"https://{host}/c/{tx.id}?{language.PARAMETER}={language.current()}"


def _holder_sm2_id(leaf: Certificate) -> str:
    return complete.holder_sm2_id(services(), leaf)
