"""The relying party itself: joins the pure core with transport and store. Adapters translate to a framework and back.

    begin ──▶ browser to the provider ──▶ finish ──▶ session cookie ──▶ current (rechecked) ──▶ sign_out | back_channel

Everything here is safe for threads; several processes share a store and the two key files.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Unpack
from urllib.parse import urlencode

from relying_party_sdk import callback, grant, request, verify
from relying_party_sdk.accounts import Accounts
from relying_party_sdk.attributes import AttributeSource
from relying_party_sdk.bearer import Bearer
from relying_party_sdk.clientauth import ClientKey
from relying_party_sdk.ended import Ended
from relying_party_sdk.endpoint import Endpoint
from relying_party_sdk.errors import CallbackError, RPError, SettingsError, TokenError
from relying_party_sdk.hooks import Hooks
from relying_party_sdk.introspect import Introspection
from relying_party_sdk.keptkeys import KeyFile
from relying_party_sdk.line import Line
from relying_party_sdk.person import Attributes, Person, Requirement
from relying_party_sdk.profile import profile_of
from relying_party_sdk.refresh import Refresher
from relying_party_sdk.resource import Resource
from relying_party_sdk.sealing import Random, Sealer, b64, digest, read_or_make
from relying_party_sdk.sender import Sender
from relying_party_sdk.service import Services
from relying_party_sdk.session import Session, Sessions
from relying_party_sdk.settings import Settings
from relying_party_sdk.signout import SignOut
from relying_party_sdk.stores import Clock, Store, open_store
from relying_party_sdk.stores.links import Links
from relying_party_sdk.transport import HttpRequest, HttpResponse, Transport, Urllib3Transport
from relying_party_sdk.travel import Arrival, Departure, Leaving

log = logging.getLogger("relying_party_sdk")

ANYONE = Requirement()  # signed in, at any level
_PURGE_EVERY = 300.0
_POSTED = 120.0
"""How long an answer that was posted waits for the browser, seconds."""


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
        accounts: Links | None = None,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._random = random
        self._transport = transport or Urllib3Transport(settings)
        self._store = store or open_store(settings.store, clock)
        key = partial(ClientKey, settings.key_file, random, rotation=settings.key_rotation, clock=clock)
        self._key = None if settings.client_secret else key()
        self._profile = profile_of(settings)
        self._sealer = Sealer(read_or_make(settings.cookie_keys, lambda: random(32)), random)
        self._sessions = Sessions(settings, self._store, self._sealer, clock, random)
        bound = ClientKey(settings.dpop_key, random) if settings.dpop == "on" else None
        self._sender = Sender(self._transport, bound, clock, random)
        kept = KeyFile(settings.kept_keys, self._sealer, settings.issuer, clock, settings.keys_stale)
        self._endpoint = Endpoint(settings, self._transport, self._sender, key=self._key, clock=clock, kept=kept)
        self._attributes = AttributeSource(settings, self._sessions, self._sender, self._endpoint)
        self._refresher = Refresher(settings, self._sessions, self._store, self._exchange, clock=clock, sleep=sleep)
        self._ended = Ended(self._store, self._sealer, clock, random, settings.api_lifetime)
        self._signout = SignOut(
            settings,
            self._sessions,
            self._endpoint,
            self._ended,
            store=self._store,
            sealer=self._sealer,
            clock=clock,
            random=random,
        )
        self._line = Line(settings, self._transport, clock)
        self.resource = self._resource()
        self.accounts = Accounts(settings, self._store, self._sealer, clock, accounts)
        """The application's own accounts, linked to persons."""
        self.hooks = Hooks()
        """What an application that keeps its own sessions wants to be told."""
        self._purged = clock()
        if store is None and settings.store == "memory:":
            log.warning("sessions are in memory: one process only, lost at a restart")

    # ---- sign-in

    def begin(
        self, return_to: str, wanted: Requirement = ANYONE, languages: Sequence[str] = (), **how: Unpack[request.How]
    ) -> Departure:
        """Begin a sign-in in one tab; each has a cookie of its own, so tabs opened at once do not disturb each other.

        `fresh`: a new proof, whatever session the provider has; `hall`: the node where the person may be signed in
        already (`gd/guangzhou`). Raises ProviderError when it is down, StoreError, ValueError for no node's name.
        """
        self._purge_now_and_then()
        browser = b64(self._random(32))
        pending = request.new_pending(self._random, digest(browser), return_to, wanted)
        parameters = request.authorization_parameters(self.settings, pending, languages, self._sender.jkt, **how)
        url = self._endpoint.authorization_url(parameters)
        key = digest(pending.state)
        sealed = self._sealer.seal(f"pending:{key}", pending.dump())
        self._store.put("pending", key, sealed, self._clock() + self.settings.sign_in)
        return Departure(url, self._tab_cookie(key), browser, self.settings.sign_in)

    def receive(self, form: Mapping[str, Sequence[str]]) -> str:
        """Keep an answer that the provider had posted (`response_mode=form_post`); returns the query to go on with.

        A post from another site carries no cookies; the browser's next step, to the callback, does. Kept once, two
        minutes. Raises CallbackError `rp.callback`, `rp.state`, `rp.callback_replayed`, StoreError.
        """
        if self.settings.response_mode != "form_post":
            raise CallbackError("rp.callback", "an answer was posted, and none was asked for")
        returned = callback.read_callback(form)
        self._check_under_way(digest(returned.state))
        handle = b64(self._random(32))
        key = digest(handle)
        sealed = self._sealer.seal(f"posted:{key}", callback.dump(returned))
        self._store.put("posted", key, sealed, self._clock() + _POSTED)
        return urlencode({"handle": handle})

    def finish(self, query: Mapping[str, Sequence[str]], cookies: Mapping[str, str]) -> Arrival:
        """Finish a sign-in: check everything, make a session with a new identifier, end the one the browser had.

        `cookies` are those of the request. Raises CallbackError, TokenError, ProviderError, AccessError
        `rp.level_unmet`, StoreError; `return_to` of the error tells where the person was going.
        """
        returned = self._posted(query["handle"]) if "handle" in query else callback.read_callback(query)
        pending = self._take_pending(returned.state, cookies)
        try:
            return self._finish(returned, pending, cookies.get(self.settings.cookie("session"), ""))
        except RPError as error:
            error.return_to = pending.return_to
            raise

    def _finish(self, returned: callback.Returned, pending: request.Pending, cookie: str) -> Arrival:
        callback.check_issuer(returned, self._endpoint.metadata(), self.settings)
        if returned.error:
            raise callback.refusal(returned.error, pending)
        session, identifier = self._new_session(self._endpoint.code(returned.code, pending), pending)
        value = self._sessions.create(identifier, session)
        previous = self._sessions.key_of(cookie)
        if previous is not None:
            self._sessions.replaced(previous)
        person = self.person(session)
        unmet = self.unmet(person, pending.wanted)
        spent = self._tab_cookie(digest(pending.state))
        return Arrival(value, pending.return_to, pending.wanted, unmet, spent, person, session.key, previous)

    def _tab_cookie(self, key: str) -> str:
        return self.settings.cookie(f"tab-{key[:12]}")

    def _posted(self, handles: Sequence[str]) -> callback.Returned:
        """What `receive` kept under a handle, once."""
        key = digest(handles[0])
        sealed = self._store.take("posted", key) if len(handles) == 1 else None
        opened = self._sealer.open(f"posted:{key}", sealed) if sealed is not None else None
        if opened is None:
            raise CallbackError("rp.state", "no such answer is waiting")
        return callback.load(opened)

    def _check_under_way(self, key: str) -> bytes:
        """The pending sign-in under `key`, opened."""
        sealed = self._store.get("pending", key)
        opened = self._sealer.open(f"pending:{key}", sealed) if sealed is not None else None
        if opened is None:
            spent = self._store.get("spent", key) is not None
            raise CallbackError("rp.callback_replayed" if spent else "rp.state", "no such sign-in is under way")
        return opened

    def _take_pending(self, state: str, cookies: Mapping[str, str]) -> request.Pending:
        """The sign-in that `state` names, once, in its own browser; an attempt elsewhere does not use it up."""
        key = digest(state)
        pending = request.Pending.load(self._check_under_way(key))
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
            self._endpoint.keys.find,
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
            claims=self._profile.check(claims),
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

    @property
    def sessions(self) -> Sessions:
        """All sessions of this window, by key; for adapters."""
        return self._sessions

    def person(self, session: Session) -> Person:
        """The person of a session."""
        return self._profile.person(session.claims, lambda: self.attributes(session))

    def asked(self, wanted: Requirement) -> list[tuple[str, str]]:
        """What a challenge names of `wanted` (RFC 9470 §3)."""
        return wanted.asked(self._acr_values(wanted))

    def challenge(self, wanted: Requirement, error: RPError) -> str:
        """The `WWW-Authenticate` value that tells a script or an API what is asked of it (RFC 9470 §3)."""
        return wanted.challenge(error, self._acr_values(wanted))

    def _acr_values(self, wanted: Requirement) -> str:
        try:
            return self._profile.acr_values(wanted.level)
        except SettingsError:  # a level that this provider has no name for: asked for, all the same
            return ""

    def unmet(self, person: Person, wanted: Requirement) -> RPError | None:
        """Why the person does not meet `wanted` now; None when they do."""
        return self._line.unmet(person, wanted)

    def needs_proof(self, person: Person, wanted: Requirement) -> bool:
        """True when only a new proof can meet `wanted`."""
        return wanted.stale(person, self._clock())

    def stale(self, cookie: str, wanted: Requirement) -> bool:
        """True when the session of a cookie needs a new proof to meet `wanted`. Raises StoreError."""
        key = self._sessions.key_of(cookie)
        session = self._sessions.get(key) if key is not None else None
        return session is not None and self.needs_proof(self.person(session), wanted)

    def attributes(self, session: Session) -> Attributes:
        """What the window is registered to learn; asked once, then kept sealed with the session.

        Raises ProviderError: `rp.attributes` when the endpoint refuses or speaks of another person (userinfo:
        `rp.userinfo_sub`).
        """
        return self._attributes.of(session)

    def call(self, session: Session, request: HttpRequest) -> HttpResponse:
        """Call an API for the person of a session: with its access token, and a DPoP proof where tokens are bound.

        The answer is the API's own, whatever its status. Raises ProviderError when it cannot be reached.
        """
        return self._sender.call(request, session.access_token)

    def _exchange(self, session: Session) -> Session:
        """Refresh at the provider; the same person must come back. Raises SessionEnded, ProviderError, TokenError."""
        tokens = self._endpoint.refresh(session.refresh_token)
        now = self._clock()
        claims = session.claims
        if tokens.id_token:
            checked = verify.check_id_token(
                tokens.id_token,
                self.settings,
                self._endpoint.keys.find,
                now,
                nonce=None,
                access_token=tokens.access_token,
                subject=session.sub,
            )
            if checked.get("nonce", session.nonce) != session.nonce:  # OpenID Connect Core §12.2
                raise TokenError("rp.token_nonce", "nonce changed at refresh")
            claims = self._profile.renew(session.claims, checked)
        return replace(
            session,
            claims=claims,
            id_token=tokens.id_token or session.id_token,
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token or session.refresh_token,
            access_expires=now + tokens.expires_in,
            checked_at=now,
            refreshing=0.0,
        )

    # ---- sign-out

    def sign_out(self, cookie: str) -> str:
        """`leave` for an application that does not mind how the browser comes back: only the address to go to."""
        return self.leave(cookie).url

    def leave(self, cookie: str) -> Leaving:
        """End the session here, and say where the browser goes to end it everywhere (RP-Initiated Logout 1.0 §2).

        Without a session, or when the provider offers nothing or cannot be asked, that is the home page.
        """
        return self._signout.leave(cookie)

    def left(self, query: Mapping[str, Sequence[str]], cookies: Mapping[str, str]) -> None:
        """Passes when the browser comes back from the sign-out it left for (RP-Initiated Logout 1.0 §3).

        Raises CallbackError `rp.logout_state`; the session has ended before, either way.
        """
        self._signout.left(query, cookies)

    def back_channel(self, logout_token: str) -> int:
        """End the sessions that a logout token names; how many there were, here or in other processes.

        Raises TokenError (`rp.logout_replayed` for a second use), ProviderError, StoreError: the answer is 400.
        """
        ended = self._signout.back_channel(logout_token)
        self.hooks.signed_out(ended)
        return len(ended)

    # ---- as a service

    @property
    def services(self) -> Services:
        """Tokens for the window as a service of others: client credentials, JWT bearer, token exchange."""
        endpoint = self._endpoint
        return Services(self._sender, endpoint.metadata, endpoint.proof, endpoint.assertion)

    # ---- parts

    @property
    def jwks(self) -> Mapping[str, object]:
        """The client's public keys, for the provider to read."""
        return self._key.jwks if self._key else {"keys": []}

    def close(self) -> None:
        """Give back files and connections."""
        self._store.close()
        self.accounts.close()
        if isinstance(self._transport, Urllib3Transport):
            self._transport.close()

    def _resource(self) -> Resource:
        settings, endpoint, clock = self.settings, self._endpoint, self._clock
        bearer = Bearer(settings, endpoint.keys, self._ended, clock)
        keep = settings.introspection_cache
        introspection = Introspection(self._transport, endpoint.metadata, endpoint.proof, clock, keep)
        store, sealer = self._store, self._sealer
        return Resource(settings, bearer, introspection, store=store, sealer=sealer, clock=clock, line=self._line)

    def _purge_now_and_then(self) -> None:
        now = self._clock()
        if now - self._purged >= _PURGE_EVERY:
            self._purged = now
            self._store.purge()
