"""The relying party itself: joins the pure core with transport and store. Adapters translate to a framework and back.

    begin ──▶ browser to the provider ──▶ finish ──▶ session cookie ──▶ current (rechecked) ──▶ sign_out | back_channel

Everything here is safe for threads; several processes share a store and the two key files.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from relying_party_sdk import callback, grant, request, verify
from relying_party_sdk.claims import check_claims
from relying_party_sdk.clientauth import ClientKey
from relying_party_sdk.errors import CallbackError, ProviderError, RPError, TokenError
from relying_party_sdk.jwks import Key, KeyCache, process_jwks
from relying_party_sdk.metadata import Metadata, metadata_request, process_metadata
from relying_party_sdk.person import Attributes, Person, Requirement
from relying_party_sdk.refresh import Refresher
from relying_party_sdk.sealing import Random, Sealer, b64, digest, read_or_make
from relying_party_sdk.session import Session, Sessions
from relying_party_sdk.settings import Settings
from relying_party_sdk.shared import Shared
from relying_party_sdk.stores import Clock, Store, open_store
from relying_party_sdk.strict import answer
from relying_party_sdk.transport import Transport, Urllib3Transport, get

log = logging.getLogger("relying_party_sdk")

ANYONE = Requirement()
"""Signed in, at any level."""
_METADATA_TTL = 3600.0
_METADATA_STALE = 86_400.0
_PURGE_EVERY = 300.0


@dataclass(frozen=True, slots=True)
class Departure:
    """Send the browser to `url` and set the cookie of this tab's sign-in, for `seconds`."""

    url: str
    cookie_name: str
    cookie: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """A session was made: set its cookie, then go to `return_to` – unless `unmet` says what of `wanted` is lacking.

    `unmet` is shown as an error and never answered with another redirect. `return_to` is below `base_url`.
    """

    cookie: str
    return_to: str
    wanted: Requirement
    unmet: RPError | None
    spent_cookie: str
    """Name of the tab's cookie, of no more use."""


class RelyingParty:
    """One client of one provider. Raises SettingsError when key files cannot be used, StoreError for the store."""

    def __init__(
        self,
        settings: Settings,
        *,
        transport: Transport | None = None,
        store: Store | None = None,
        clock: Clock = time.time,
        random: Random = secrets.token_bytes,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._random = random
        self._transport = transport or Urllib3Transport(settings)
        self._store = store or open_store(settings.store, clock)
        self._key = ClientKey(settings.key_file, random)
        self._sealer = Sealer(read_or_make(settings.cookie_keys, lambda: random(32)), random)
        self._sessions = Sessions(settings, self._store, self._sealer, clock, random)
        wait = settings.total_timeout
        self._metadata = Shared(self._fetch_metadata, clock, ttl=_METADATA_TTL, stale=_METADATA_STALE, wait=wait)
        self._keys = KeyCache(self._fetch_keys, clock, wait=wait)
        self._refresher = Refresher(settings, self._sessions, self._store, self._exchange, clock=clock, sleep=sleep)
        self._purged = clock()
        if settings.store == "memory:":
            log.warning("sessions are in memory: one process only, lost at a restart")

    # ---- sign-in

    def begin(self, return_to: str, wanted: Requirement = ANYONE, languages: Sequence[str] = ()) -> Departure:
        """Begin a sign-in in one tab; each has a cookie of its own, so tabs opened at once do not disturb each other.

        Raises ProviderError when the provider is down, StoreError.
        """
        self._purge_now_and_then()
        browser = b64(self._random(32))
        pending = request.new_pending(self._random, digest(browser), return_to, wanted)
        metadata = self._metadata.get()
        parameters = request.authorization_parameters(self.settings, pending, languages)
        if metadata.pushed_authorization_request_endpoint:
            pushed = self._transport.send(request.par_request(metadata, parameters, self._assertion()))
            parameters = {"client_id": self.settings.client_id, "request_uri": request.process_par(pushed)}
        key = digest(pending.state)
        sealed = self._sealer.seal(f"pending:{key}", pending.dump())
        self._store.put("pending", key, sealed, self._clock() + self.settings.sign_in)
        url = request.authorization_url(metadata, parameters)
        return Departure(url, self._tab_cookie(key), browser, self.settings.sign_in)

    def finish(self, query: Mapping[str, Sequence[str]], cookies: Mapping[str, str]) -> Arrival:
        """Finish a sign-in: check everything, make a session with a new identifier, end the one the browser had.

        `cookies` are those of the request. Raises CallbackError, TokenError, ProviderError, AccessError
        `rp.level_unmet`, StoreError; `return_to` of the error tells where the person was going.
        """
        returned = callback.read_callback(query)
        pending = self._take_pending(returned.state, cookies)
        try:
            return self._finish(returned, pending, cookies.get(self.settings.cookie("session"), ""))
        except RPError as error:
            error.return_to = pending.return_to
            raise

    def _finish(self, returned: callback.Returned, pending: request.Pending, cookie: str) -> Arrival:
        metadata = self._metadata.get()
        callback.check_issuer(returned, metadata, self.settings)
        if returned.error:
            raise callback.refusal(returned.error, pending)
        exchange = grant.code_request(metadata, self.settings, returned.code, pending, self._assertion())
        session, identifier = self._new_session(grant.process_code(self._transport.send(exchange)), pending)
        value = self._sessions.create(identifier, session)
        old = self._sessions.key_of(cookie)
        if old is not None:
            self._sessions.end(old)
        unmet = self.unmet(self.person(session), pending.wanted)
        spent = self._tab_cookie(digest(pending.state))
        return Arrival(value, pending.return_to, pending.wanted, unmet, spent)

    def _tab_cookie(self, key: str) -> str:
        return self.settings.cookie(f"tab-{key[:12]}")

    def _take_pending(self, state: str, cookies: Mapping[str, str]) -> request.Pending:
        """The sign-in that `state` names, once, in its own browser; an attempt elsewhere does not use it up."""
        key = digest(state)
        sealed = self._store.get("pending", key)
        opened = self._sealer.open(f"pending:{key}", sealed) if sealed is not None else None
        if opened is None:
            spent = self._store.get("spent", key) is not None
            raise CallbackError("rp.callback_replayed" if spent else "rp.state", "no such sign-in is under way")
        pending = request.Pending.load(opened)
        callback.check_browser(pending, cookies.get(self._tab_cookie(key), ""))
        self._store.add_once("spent", key, self._clock() + self.settings.sign_in)
        if self._store.take("pending", key) is None:
            raise CallbackError("rp.callback_replayed", "used at the same time")
        return pending

    def _new_session(self, tokens: grant.Tokens, pending: request.Pending) -> tuple[Session, str]:
        now = self._clock()
        claims = verify.check_id_token(
            tokens.id_token,
            self.settings,
            self._keys.find,
            now,
            nonce=pending.nonce,
            access_token=tokens.access_token,
        )
        identifier = self._sessions.new_id()
        sid = claims.get("sid")
        session = Session(
            key=digest(identifier),
            sub=claims["sub"],
            sid=sid if isinstance(sid, str) else None,
            nonce=pending.nonce,
            claims=check_claims(claims),
            id_token=tokens.id_token,
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token,
            access_expires=now + tokens.expires_in,
            checked_at=now,
            expires=now + self.settings.session,
        )
        return session, identifier

    # ---- session

    def current(self, cookie: str) -> Session | None:
        """The session of a cookie, confirmed with the provider not longer ago than `recheck`; None without one.

        Raises ProviderError `rp.provider_unreachable` (grace over), StoreError.
        """
        key = self._sessions.key_of(cookie)
        session = self._sessions.get(key) if key is not None else None
        return self._refresher.confirm(session) if session is not None else None

    def person(self, session: Session) -> Person:
        """The person of a session."""
        return Person.read(session.claims, lambda: self.attributes(session))

    def unmet(self, person: Person, wanted: Requirement) -> RPError | None:
        """Why the person does not meet `wanted` now; None when they do."""
        return wanted.unmet(person, self._clock())

    def attributes(self, session: Session) -> Attributes:
        """What the window is registered to learn; asked once, then kept sealed with the session.

        Raises ProviderError: `rp.attributes` when the endpoint refuses or speaks of another person.
        """
        if not self.settings.attributes_url:
            return Attributes()
        raw = self._sessions.attributes(session)
        if raw is None:
            call = get(self.settings.attributes_url, Authorization=f"Bearer {session.access_token}")
            response = self._transport.send(call)
            if response.status in (401, 403):
                raise ProviderError("rp.attributes", f"the attribute endpoint refuses: HTTP {response.status}")
            raw = answer(response, "attributes")
            if raw.get("subject") != session.claims["crosshall_subject"]:
                raise ProviderError("rp.attributes", "the attribute endpoint speaks of another person")
            Attributes.read(raw)  # what cannot be read is not kept
            self._sessions.keep_attributes(session, raw)
        return Attributes.read(raw)

    def _exchange(self, session: Session) -> Session:
        """Refresh at the provider; the same person must come back. Raises SessionEnded, ProviderError, TokenError."""
        call = grant.refresh_request(self._metadata.get(), session.refresh_token, self._assertion())
        tokens = grant.process_refresh(self._transport.send(call))
        now = self._clock()
        claims = session.claims
        if tokens.id_token:
            checked = verify.check_id_token(
                tokens.id_token,
                self.settings,
                self._keys.find,
                now,
                nonce=None,
                access_token=tokens.access_token,
                subject=session.sub,
            )
            if checked.get("nonce", session.nonce) != session.nonce:  # OpenID Connect Core §12.2
                raise TokenError("rp.token_nonce", "nonce changed at refresh")
            claims = check_claims(checked)
            if claims["crosshall_subject"] != session.claims["crosshall_subject"]:
                raise TokenError("rp.token_sub", "crosshall_subject changed at refresh")
        return replace(
            session,
            claims=claims,
            id_token=tokens.id_token or session.id_token,
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token or session.refresh_token,
            access_expires=now + tokens.expires_in,
            checked_at=now,
            refreshing=False,
        )

    # ---- sign-out

    def sign_out(self, cookie: str) -> str:
        """End the session here, and return where the browser goes to end it everywhere (RP-Initiated Logout 1.0 §2).

        Without a session, or when the provider offers nothing or cannot be asked, that is the home page.
        """
        key = self._sessions.key_of(cookie)
        session = self._sessions.get(key) if key is not None else None
        if session is None:
            return self.settings.home
        self._sessions.end(session.key)
        try:
            endpoint = self._metadata.get().end_session_endpoint
        except ProviderError as error:
            log.warning("signed out here only: %s", error)
            return self.settings.home
        if not endpoint:
            return self.settings.home
        parameters = {
            "id_token_hint": session.id_token,
            "client_id": self.settings.client_id,
            "post_logout_redirect_uri": self.settings.home,
        }
        return request.with_query(endpoint, parameters)

    def back_channel(self, logout_token: str) -> int:
        """End the sessions that a logout token names; how many there were, here or in other processes.

        Raises TokenError (`rp.logout_replayed` for a second use), ProviderError, StoreError: the answer is 400.
        """
        now = self._clock()
        notice = verify.check_logout_token(logout_token, self.settings, self._keys.find, now)
        until = now + 2 * (verify.LOGOUT_AGE + self.settings.leeway)
        if not self._store.add_once("logout", self._sealer.name("jti", notice.jti), until):
            raise TokenError("rp.logout_replayed", "this logout token was used before")
        return self._sessions.end_by(sid=notice.sid, sub=notice.sub)

    # ---- parts

    @property
    def jwks(self) -> Mapping[str, object]:
        """The client's public keys, for the provider to read."""
        return self._key.jwks

    def close(self) -> None:
        """Give back files and connections."""
        self._store.close()
        if isinstance(self._transport, Urllib3Transport):
            self._transport.close()

    def _assertion(self) -> Mapping[str, str]:
        return self._key.assertion(self.settings.client_id, self.settings.issuer, self._clock())

    def _fetch_metadata(self) -> Metadata:
        return process_metadata(self._transport.send(metadata_request(self.settings)), self.settings)

    def _fetch_keys(self) -> tuple[Key, ...]:
        return process_jwks(self._transport.send(get(self._metadata.get().jwks_uri)))

    def _purge_now_and_then(self) -> None:
        now = self._clock()
        if now - self._purged >= _PURGE_EVERY:
            self._purged = now
            self._store.purge()
