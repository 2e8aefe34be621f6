"""Sign-outs to and from other halls: `POST <hall>/abroad/logout`, a JWS of the sender's node, told until it is taken.

    claims  iss, aud, iat, jti, handles

A message counts once (`jti`) and while it is fresh (`iat`); a message that is tried again is signed anew. Handles that
the receiver does not know, or no longer, are passed over, so that telling twice is harmless and nothing is learnt.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Protocol

from ca_bridge.ceremony import abroad
from ca_bridge.ceremony.services import Services
from ca_bridge.crypto import between
from ca_bridge.errors import CrosshallError, FederationError, UpstreamError
from ca_bridge.provider.http import Answer
from ca_bridge.store.hall_logouts import HallLogouts, HallQueue

LOGOUT_TYP = "crosshall-logout+jwt"
MAX_MESSAGE = 16 * 1024
MOST_HANDLES = 100
FRESH = timedelta(seconds=120)
"""Ours: how old or early a message may be; the two halls' clocks may differ."""
SIGNED_OUT_THERE = "abroad.signed_out"
AT_ONCE = 8
TURN_SECONDS = 10.0
_TAKEN = 204
_JTI = re.compile(r"[A-Za-z0-9_.-]{16,80}")
_HANDLE = re.compile(r"[A-Za-z0-9_-]{43}")
_log = logging.getLogger(__name__)


class Poster(Protocol):
    """The part of `HttpClient` that is needed here."""

    def post(self, url: str, form: Mapping[str, str]) -> Answer:
        """POST a form."""


class HallTeller:
    """Tells other halls which links are over. Safe with several at once: a message is one caller's at a time."""

    def __init__(self, services: Services, http: Poster) -> None:
        self._services = services
        self._queue = HallQueue(services.store)
        self._http = http

    def deliver(self) -> int:
        """Tell what is due, hall by hall, for `TURN_SECONDS`; returns how many sign-outs were taken.

        A hall that does not answer is tried once, and everything for it waits; it keeps no other hall waiting. Raises
        StoreError, PathError, ConfigError.
        """
        nodes = self._queue.due()
        own = abroad.here(self._services) if nodes else None
        if own is None:
            return 0
        until = time.monotonic() + TURN_SECONDS
        with ThreadPoolExecutor(AT_ONCE, "halls") as pool:
            return sum(pool.map(lambda name: self._tell_all(own, name, until), nodes))

    def _tell_all(self, own: abroad.Here, name: str, until: float) -> int:
        taken = 0
        while time.monotonic() < until and (message := self._queue.claim(name, MOST_HANDLES)) is not None:
            status = self._tell(own, message)
            if status != _TAKEN:
                self._queue.failed(name, message.attempts)
                told = {"code": "abroad.logout", "node": name, "status": status, "attempt": message.attempts}
                _log.warning("hall not told of a sign-out", extra=told)
                break
            self._queue.sent(message.ids)
            taken += len(message.ids)
        return taken

    def _tell(self, own: abroad.Here, message: HallLogouts) -> int | None:
        node = own.roster.find(message.node)
        if node is None:
            return None  # cut off; it may come back
        claims = {
            "iss": own.node.name,
            "aud": node.name,
            "iat": int(self._services.clock().timestamp()),
            "jti": self._services.random(16).hex(),
            "handles": list(message.handles),
        }
        token = between.sign(own.keys.sign, own.node.sign["kid"], LOGOUT_TYP, claims)
        try:
            return self._http.post(f"{node.hall}/abroad/logout", {"logout": token}).status
        except UpstreamError:
            return None


def take(services: Services, token: str) -> int:
    """End the sessions that another hall's message names, of its own links only; returns how many ended.

    Raises FederationError `abroad.off`, `abroad.unknown_hall`, `abroad.logout` (form, audience, age, used before);
    CryptoError `crypto.size`, `crypto.jws`; StoreError.
    """
    own = abroad.require(services)
    node = own.roster.by_key(between.signer_of(token, LOGOUT_TYP, MAX_MESSAGE))
    if node is None or node is own.node:
        raise FederationError("abroad.unknown_hall", "signed by no other hall of the roster")
    claims = between.verify(token, node.sign, LOGOUT_TYP, MAX_MESSAGE)
    handles = _checked(services, own, node.name, claims)
    ended = sum(services.sessions.end_one(sid, SIGNED_OUT_THERE) for sid in services.links.told(node.name, handles))
    if ended:
        _log.info("signed out at another hall", extra={"node": node.name, "sessions": ended})
        try:
            services.deliver_logouts()
        except CrosshallError as error:  # queued all the same: the watcher tells it
            _log.warning("logout waits", extra={"code": error.code})
    return ended


def _checked(services: Services, own: abroad.Here, name: str, claims: Mapping[str, Any]) -> list[str]:
    handles, issued, token_id = claims.get("handles"), claims.get("iat"), claims.get("jti")
    if set(claims) != {"iss", "aud", "iat", "jti", "handles"}:
        raise FederationError("abroad.logout", "fields absent, or too many")
    if (claims["iss"], claims["aud"]) != (name, own.node.name):
        raise FederationError("abroad.logout", "of another hall than signed it, or for another")
    if not isinstance(handles, list) or not 0 < len(handles) <= MOST_HANDLES:
        raise FederationError("abroad.logout", "handles is not a short list")
    if not all(isinstance(handle, str) and _HANDLE.fullmatch(handle) for handle in handles):
        raise FederationError("abroad.logout", "a handle is malformed")
    if not isinstance(issued, int) or isinstance(issued, bool):
        raise FederationError("abroad.logout", "iat is no time")
    now = services.clock()
    if abs(now.timestamp() - issued) > FRESH.total_seconds():
        raise FederationError("abroad.logout", "too old, or from the future")
    if not isinstance(token_id, str) or not _JTI.fullmatch(token_id):
        raise FederationError("abroad.logout", "jti is malformed")
    if not services.store.add_once("abroad-logout", f"{name} {token_id}", now + 2 * FRESH):
        raise FederationError("abroad.logout", "taken before")
    return handles
