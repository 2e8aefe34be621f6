"""Sessions that end: by the person here (RP-Initiated Logout 1.0), or by the provider (Back-Channel Logout 1.0)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from relying_party_sdk import callback, request, verify
from relying_party_sdk.ended import Ended
from relying_party_sdk.endpoint import Endpoint
from relying_party_sdk.errors import ProviderError, TokenError
from relying_party_sdk.sealing import Random, Sealer, b64, digest
from relying_party_sdk.session import Sessions
from relying_party_sdk.settings import Settings
from relying_party_sdk.stores.protocol import Clock, Store
from relying_party_sdk.travel import Leaving

log = logging.getLogger("relying_party_sdk")


class SignOut:
    """Ends sessions in every process that shares the store, and marks what access tokens are over."""

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        endpoint: Endpoint,
        ended: Ended,
        *,
        store: Store,
        sealer: Sealer,
        clock: Clock,
        random: Random,
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._endpoint = endpoint
        self._ended = ended
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._random = random

    def leave(self, cookie: str) -> Leaving:
        """End the session of a cookie, and where the browser goes then; see `RelyingParty.leave`."""
        key = self._sessions.key_of(cookie)
        session = self._sessions.get(key) if key is not None else None
        if session is None:
            return Leaving(self._settings.home)
        self._sessions.end(session.key)
        if session.sid:
            self._ended.record(sid=session.sid, sub=None, at=self._clock())
        try:
            address = self._endpoint.metadata().end_session_endpoint
        except ProviderError as error:
            log.warning("signed out here only: %s", error)
            return Leaving(self._settings.home)
        if not address:
            return Leaving(self._settings.home)
        parameters = {
            "id_token_hint": session.id_token,
            "client_id": self._settings.client_id,
            "post_logout_redirect_uri": self._settings.signed_out_uri,
        }
        if self._settings.sign_out_return == "home":
            return Leaving(request.with_query(address, parameters))
        state = b64(self._random(32))
        url = request.with_query(address, {**parameters, "state": state})
        return Leaving(url, self._settings.cookie("leaving"), digest(state))

    def left(self, query: Mapping[str, Sequence[str]], cookies: Mapping[str, str]) -> None:
        """Passes for the browser that left. Raises CallbackError `rp.logout_state`."""
        callback.check_state(query.get("state", ()), cookies.get(self._settings.cookie("leaving"), ""))

    def back_channel(self, logout_token: str) -> tuple[str, ...]:
        """Keys of the sessions that a logout token ended; see `RelyingParty.back_channel`."""
        now = self._clock()
        notice = verify.check_logout_token(logout_token, self._settings, self._endpoint.keys.find, now)
        until = now + 2 * (verify.LOGOUT_AGE + self._settings.leeway)
        if not self._store.add_once("logout", self._sealer.name("jti", notice.jti), until):
            raise TokenError("rp.logout_replayed", "this logout token was used before")
        self._ended.record(sid=notice.sid, sub=notice.sub, at=notice.issued)
        return self._sessions.end_by(sid=notice.sid, sub=notice.sub)
