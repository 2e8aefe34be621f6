"""What every step of a sign-in does first and last: the transaction in its own browser, its token, its way on."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Response, g, request

from ca_bridge.ceremony import transaction
from ca_bridge.ceremony.services import services
from ca_bridge.ceremony.transaction import Transaction
from ca_bridge.errors import CeremonyError
from ca_bridge.web import guard, language, pages

MAX_BODY = 32 * 1024


def at_the_hall() -> None:
    """Raises CeremonyError `ceremony.no_page` under any other name than the hall's."""
    if not guard.is_hall(services().settings.bridge, request.host):
        raise CeremonyError("ceremony.no_page", "asked of another host than the hall")


def resume(tx_id: str) -> Transaction:
    """The transaction, living and of this browser. Raises CeremonyError as `transaction.resume`."""
    at_the_hall()
    here = services()
    tx = transaction.resume(here.store, tx_id, guard.cookie(guard.BROWSER), here.clock())
    g.transaction = tx.id
    language.prefer(tx.request.languages)
    return tx


def posted(tx_id: str, limit: int = MAX_BODY) -> Transaction:
    """As `resume`, for a POST of our own page. Raises CeremonyError `ceremony.forged` too."""
    request.max_content_length = limit
    tx = resume(tx_id)
    guard.check_post(guard.cookie(guard.BROWSER), tx.id, services().settings.bridge.issuer)
    return tx


def csrf(tx: Transaction) -> str:
    """The anti-forgery token of this transaction's pages in this browser."""
    return guard.csrf_token(guard.cookie(guard.BROWSER), tx.id)


def ended(tx: Transaction) -> bool:
    """Whether the sign-in is over, with or without a session."""
    return bool(tx.sid or tx.refused)


def onward_address(tx: Transaction) -> str:
    """Where an ended sign-in goes on."""
    return f"/authorize/continue?tx={tx.id}"


def back_to_sign_in(tx: Transaction, why: str = "") -> Response:
    """To the sign-in page, which says why the other hall did not do."""
    query = f"?{urlencode({'abroad': why})}" if why else ""
    return pages.redirect(f"{services().settings.bridge.issuer}/sign-in/{tx.id}{query}")
