"""A sign-in on its way: what was asked, in which browser it began, and how it ended.

A transaction lives ten minutes and belongs to the browser that began it: the store keeps the SHA-256 of that
browser's cookie, and every step goes through `resume`, which compares. Its id is in addresses and proves nothing by
itself (design §5).

    provider  /authorize            begin
    web       /sign-in/<id>         resume … mark_done | mark_refused
    provider  /authorize/continue   finish
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ca_bridge.errors import CeremonyError

if TYPE_CHECKING:
    from ca_bridge.store import Store

KIND = "transaction"
_ENDED = "transaction-ended"
LIFETIME = timedelta(minutes=10)
REFUSALS = ("login_required", "interaction_required")
"""How a sign-in may end without a session: OpenID Connect error codes (OpenID Connect Core §3.1.2.6)."""

_ID = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class SignInRequest:
    """What the authorization request asked, already checked by the provider."""

    client_id: str
    redirect_uri: str
    state: str
    nonce: str
    code_challenge: str
    """PKCE, S256."""
    scope: str = "openid"
    level: int = 1
    """The least level that will do (1–4)."""
    fresh_after: datetime | None = None
    """A proof older than this (aware UTC) does not do: `prompt=login` or `max_age`."""
    languages: tuple[str, ...] = ()
    """`ui_locales`, as sent, in order of preference."""
    hall: str = ""
    """The node whose hall the person comes from, when a link said so; only ever a wish."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One sign-in under way, or ended: then `sid` or `refused` is set."""

    id: str
    request: SignInRequest
    browser: str
    """SHA-256 of the browser's cookie, in hexadecimal."""
    created: datetime
    expires: datetime
    sid: str = ""
    """The session that this sign-in ended in."""
    refused: str = ""
    """One of `REFUSALS` when it ended without a session."""


def browser_hash(cookie: str) -> str:
    """SHA-256 of the browser cookie's value, in hexadecimal: the only form of it that is kept."""
    return hashlib.sha256(cookie.encode()).hexdigest()


def new_secret() -> str:
    """32 random bytes in base64url: ids, cookies and one-time codes."""
    return secrets.token_urlsafe(32)


def begin(
    store: Store, request: SignInRequest, browser: str, now: datetime, *, secret: Callable[[], str] = new_secret
) -> Transaction:
    """A new transaction for the browser whose cookie value is `browser`; kept ten minutes from `now` (aware UTC).

    Raises CeremonyError `ceremony.no_browser` when the cookie is empty: it could be finished by any browser.
    """
    if not browser:
        raise CeremonyError("ceremony.no_browser", "no browser cookie at the start of a sign-in")
    tx = Transaction(secret(), request, browser_hash(browser), now, now + LIFETIME)
    store.put(KIND, tx.id, _pack(tx), tx.expires)
    return tx


def resume(store: Store, tx_id: str, browser: str, now: datetime) -> Transaction:
    """The transaction, when it lives and `browser` is the cookie of the browser that began it.

    Raises CeremonyError: `ceremony.expired` (unknown, finished or older than ten minutes), `ceremony.other_browser`
    (also when the browser sends no cookie).
    """
    raw = store.get(KIND, tx_id) if _ID.fullmatch(tx_id) else None
    return _checked(raw, browser, now)


def peek(store: Store, tx_id: str, now: datetime) -> Transaction:
    """The transaction, browser not compared: for the certificate host, which does not see the hall's cookie.

    Raises CeremonyError `ceremony.expired`.
    """
    raw = store.get(KIND, tx_id) if _ID.fullmatch(tx_id) else None
    return _living(raw, now)


def mark_done(store: Store, tx: Transaction, sid: str, now: datetime) -> Transaction:
    """The transaction ended in session `sid`: once. Raises CeremonyError `ceremony.expired` when gone or ended."""
    return _end(store, tx, now, sid=sid, refused="")


def mark_refused(store: Store, tx: Transaction, reason: str, now: datetime) -> Transaction:
    """The person gave up, or cannot reach the level; `reason` is one of `REFUSALS`. Raises as `mark_done`."""
    if reason not in REFUSALS:
        raise ValueError(f"no such end of a sign-in: {reason}")
    return _end(store, tx, now, sid="", refused=reason)


def finish(store: Store, tx_id: str, browser: str, now: datetime) -> Transaction:
    """The ended transaction, taken out of the store: once, and only in its own browser (for `/authorize/continue`).

    Raises CeremonyError: as `resume`; `ceremony.unfinished` when nobody signed in and nobody gave up.
    """
    tx = resume(store, tx_id, browser, now)
    if not (tx.sid or tx.refused):
        raise CeremonyError("ceremony.unfinished", "continue was asked for before the sign-in ended")
    return _checked(store.take(KIND, tx_id), browser, now)


def _end(store: Store, tx: Transaction, now: datetime, *, sid: str, refused: str) -> Transaction:
    current = _living(store.get(KIND, tx.id), now)
    # Of two ends at once one wins, in all processes; the transaction stays in the store all the while.
    if current.browser != tx.browser or not store.add_once(_ENDED, tx.id, current.expires):
        raise CeremonyError("ceremony.expired", "the sign-in ended before")
    ended = replace(current, sid=sid, refused=refused)
    store.put(KIND, ended.id, _pack(ended), ended.expires)
    return ended


def _checked(raw: Mapping[str, Any] | None, browser: str, now: datetime) -> Transaction:
    tx = _living(raw, now)
    if not browser or not hmac.compare_digest(tx.browser, browser_hash(browser)):
        raise CeremonyError("ceremony.other_browser", "browser cookie " + ("differs" if browser else "is absent"))
    return tx


def _living(raw: Mapping[str, Any] | None, now: datetime) -> Transaction:
    if raw is None:
        raise CeremonyError("ceremony.expired", "no such transaction")
    tx = _unpack(raw)
    if now >= tx.expires:
        raise CeremonyError("ceremony.expired", "older than ten minutes")
    return tx


def _pack(tx: Transaction) -> dict[str, Any]:
    raw = asdict(tx)
    fresh = tx.request.fresh_after
    raw["request"]["fresh_after"] = fresh.isoformat() if fresh else None
    raw["request"]["languages"] = list(tx.request.languages)
    raw["created"] = tx.created.isoformat()
    raw["expires"] = tx.expires.isoformat()
    return raw


def _unpack(raw: Mapping[str, Any]) -> Transaction:
    asked = dict(raw["request"])
    fresh = asked["fresh_after"]
    asked["fresh_after"] = datetime.fromisoformat(fresh) if fresh else None
    asked["languages"] = tuple(asked["languages"])
    rest = {**raw, "request": SignInRequest(**asked)}
    rest["created"] = datetime.fromisoformat(raw["created"])
    rest["expires"] = datetime.fromisoformat(raw["expires"])
    return Transaction(**rest)
