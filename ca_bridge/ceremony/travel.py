"""The giving side of a sign-in at another hall: who asks, whether this browser's session may travel, and the evidence.

Only a session that the token challenge made, with a key of the browser in it, can travel: a TLS handshake leaves
nothing behind that another hall could check, and a session that came from elsewhere has its evidence elsewhere.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ca_bridge.ceremony import abroad
from ca_bridge.ceremony.codes import Signed
from ca_bridge.ceremony.services import Services
from ca_bridge.crypto import between, jwk
from ca_bridge.errors import FederationError
from ca_bridge.store.sessions import Holder
from ca_bridge.trust.roster import RosterNode
from ca_bridge.types import Session

MAX_REQUEST = 4 * 1024
REASONS = ("none", "way", "key", "old", "refused", "busy")
"""Why nothing travels, as the asking hall is told: no session here; not by the token challenge; the browser's key is
gone; too old; the certificate is refused now, or what came was; no answer in time."""
_RETURN = re.compile(r"/sign-in/[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Request:
    """Another hall's request, checked."""

    node: RosterNode
    nonce: str
    back: str
    """Where the person goes on, at that hall."""

    def without(self, reason: str) -> str:
        """The address that says why nothing comes."""
        return f"{self.back}?abroad={reason}"


@dataclass(frozen=True, slots=True)
class Travelling:
    """A live session here that may travel."""

    session: Session
    holder: Holder = field(repr=False)
    signed: Signed = field(repr=False)


def read_request(services: Services, text: str) -> Request:
    """The request in the address. Raises FederationError `abroad.off`, `abroad.unknown_hall`, `abroad.request`;
    CryptoError `crypto.size`, `crypto.jws`.
    """
    own = abroad.require(services)
    node = own.roster.by_key(between.signer_of(text, abroad.REQUEST_TYP, MAX_REQUEST))
    if node is None or node is own.node or node.stage not in own.stages:
        raise FederationError("abroad.unknown_hall", "asked by no hall of the roster, or by one that is not live")
    claims = between.verify(text, node.sign, abroad.REQUEST_TYP, MAX_REQUEST)
    nonce, back, issued, ends = (claims.get(name) for name in ("nonce", "return", "iat", "exp"))
    if (claims.get("iss"), claims.get("aud")) != (node.name, own.node.name):
        raise FederationError("abroad.request", "of another hall than signed it, or for another")
    if not isinstance(nonce, str) or not re.fullmatch(r"[A-Za-z0-9_-]{43}", nonce) or not isinstance(back, str):
        raise FederationError("abroad.request", "nonce or return is malformed")
    if not back.startswith(node.hall) or not _RETURN.fullmatch(back[len(node.hall) :]):
        raise FederationError("abroad.request", "return is not a sign-in at that hall")
    _check_time(services, issued, ends)
    return Request(node, nonce, back)


def travelling(services: Services, session_secret: str) -> Travelling | str:
    """The session of this cookie with what may travel, or one of `REASONS`."""
    session = services.sessions.find(session_secret)
    holder = services.sessions.holder(session.sid) if session is not None else None
    if session is None or holder is None:
        return "none"
    if holder.signed is None:
        return "way"
    if services.clock() - session.auth_time >= timedelta(seconds=services.settings.bridge.abroad_seconds):
        return "old"
    time = services.trusted()
    if time.code or not services.snapshots.current().judge(holder.leaf, time.now).accepted:
        return "refused"
    return Travelling(session, holder, Signed.unpack(holder.signed))


def evidence(services: Services, request: Request, found: Travelling, browser_signature: bytes) -> str:
    """Evidence of the session for `request`, sealed to the hall that asks; the link is noted first.

    Raises CryptoError `crypto.signature`, `crypto.signature_form`: not by the session's own browser.
    """
    own = abroad.require(services)
    session, signed = found.session, found.signed
    jwk.check_signature(signed.browser, jwk.abroad_message(request.node.hall, request.nonce), browser_signature)
    handle = services.links.give(
        request.node.name, session.sid, session.certificate_key, session.level, session.auth_time
    )
    claims = {
        "iss": own.node.name,
        "aud": request.node.name,
        "nonce": request.nonce,
        "iat": int(services.clock().timestamp()),
        "auth_time": int(session.auth_time.timestamp()),
        "leaf": b64encode(found.holder.leaf).decode(),
        "signed": signed.pack(),
        "browser_signature": b64encode(browser_signature).decode(),
        "handle": handle,
    }
    text = between.sign(own.keys.sign, own.node.sign["kid"], abroad.EVIDENCE_TYP, claims)
    return between.seal(text, request.node.box, abroad.SEALED_TYP)


def _check_time(services: Services, issued: object, ends: object) -> None:
    numbers = [value for value in (issued, ends) if isinstance(value, int) and not isinstance(value, bool)]
    if len(numbers) != 2 or not 0 < numbers[1] - numbers[0] <= abroad.REQUEST_SECONDS:
        raise FederationError("abroad.request", "iat and exp are not a minute or less apart")
    now: datetime = services.clock()
    skew = abroad.SKEW.total_seconds()
    if not numbers[0] - skew <= now.timestamp() < numbers[1] + skew:
        raise FederationError("abroad.request", "over, or not yet")
