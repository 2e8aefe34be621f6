"""The certificate host's one page: which certificate arrived, and a button. Only a click on that button acts.

This host never sees the hall's cookies. It keeps a cookie of its own, so that the click must come from the page that
this browser was shown; what it yields is a one-time code that only the hall accepts, from the browser that began.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import structlog
from flask import Blueprint, Response, g, request

from ca_bridge.asn1.certificate import Certificate, parse_certificate
from ca_bridge.asn1.names import Name
from ca_bridge.ceremony import codes, tls, transaction
from ca_bridge.ceremony.services import services
from ca_bridge.errors import CeremonyError
from ca_bridge.types import Way
from ca_bridge.web import guard, language, pages

log = structlog.get_logger(__name__)

certificate = Blueprint("certificate", __name__)


@certificate.get("/c/<tx_id>")
def show(tx_id: str) -> Response:
    """The certificate of this connection, and the button to sign in with it. Changes nothing."""
    tx = _transaction(tx_id)
    g.way = Way.TLS
    leaf = _leaf()
    bridge = services().settings.bridge
    secret = guard.cookie(guard.CERTIFICATE) or transaction.new_secret()
    response = pages.page(
        "certificate.html",
        holder=_first(leaf.subject, "CN", "O"),
        organisation=_first(leaf.subject, "O"),
        issuer=_first(leaf.issuer, "CN", "O"),
        until=leaf.not_after.date().isoformat(),
        csrf=guard.csrf_token(secret, tx.id),
        other=f"{bridge.issuer}/sign-in/{tx.id}/certificate",
        back=f"{bridge.issuer}/sign-in/{tx.id}",
        hall=urlsplit(bridge.issuer).netloc,
    )
    guard.set_cookie(response, guard.CERTIFICATE, secret)
    return guard.protect(response, form=f"'self' {bridge.issuer}")


@certificate.post("/c/<tx_id>")
def confirm(tx_id: str) -> Response:
    """The certificate of this very connection becomes a one-time code; the hall judges it."""
    secret = guard.cookie(guard.CERTIFICATE)
    guard.check_post(secret, tx_id, f"https://{request.host.lower()}")
    tx = _transaction(tx_id)
    g.way = Way.TLS
    leaf = _leaf()
    here = services()
    now = here.clock()
    code = codes.issue(here.store, tx, codes.Proven(leaf.der, Way.TLS, now), now)
    response = pages.redirect(f"{here.settings.bridge.issuer}/sign-in/{tx.id}/return?code={code}")
    guard.clear_cookie(response, guard.CERTIFICATE)
    return response


def _transaction(tx_id: str) -> transaction.Transaction:
    here = services()
    if not guard.is_certificate_host(here.settings.bridge, request.host):
        raise CeremonyError("ceremony.no_page", "asked of another host than the certificate host")
    tx = transaction.peek(here.store, tx_id, here.clock())
    g.transaction = tx.id
    language.prefer(tx.request.languages)
    return tx


def _leaf() -> Certificate:
    secret = tls.channel_secret(services().settings.bridge.channel_secret_file)
    found = tls.presented(request.headers, secret)
    leaf = parse_certificate(found.leaf)
    log.info("certificate presented", hint=found.hint)
    return leaf


def _first(name: Name, *kinds: str) -> str:
    return next((text for kind in kinds for text in name.all(kind)), "")
