"""The receiving side of a sign-in at another hall: ask that hall once, and judge afresh what comes back.

    1 offered   this node and the other are in the roster, the way has a ceiling, the transaction was not there yet
    2 ask       a request signed by this node: nonce, 60 s, where to come back; one in a transaction
    3 opened    what came back: sealed to this node, signed by a node of the roster, an answer to a request of ours
    4 proved    the person's own signature at that hall, the browser's over our nonce, times; never the hall's word
    5           a one-time code for the browser that began; judging, identity, level are `complete`'s

The other hall's word counts for nothing that the person's own key did not sign: a hall that was taken over cannot make
people, levels or capacities. What it could do at worst is in docs/adr/0007.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ca_bridge.asn1.certificate import Certificate, parse_certificate
from ca_bridge.ceremony import codes, token, transaction
from ca_bridge.ceremony.codes import Proven, Signed
from ca_bridge.ceremony.complete import holder_sm2_id
from ca_bridge.ceremony.services import Services
from ca_bridge.ceremony.transaction import Transaction, new_secret
from ca_bridge.crypto import between, jwk
from ca_bridge.crypto.between import NodeKeys
from ca_bridge.crypto.challenge import LIFETIME
from ca_bridge.errors import CryptoError, FederationError
from ca_bridge.store.links import Arrival
from ca_bridge.trust.roster import Roster, RosterNode
from ca_bridge.types import Way

REQUEST_TYP = "crosshall-abroad-request+jwt"
EVIDENCE_TYP = "crosshall-evidence+jwt"
SEALED_TYP = "crosshall-evidence+jwe"
REQUEST_SECONDS = 60
MAX_SEALED = 64 * 1024
MAX_EVIDENCE = 48 * 1024
SKEW = timedelta(seconds=60)
"""Ours: how far two halls' clocks may differ."""

_TRIED, _REQUEST = "abroad-tried", "abroad-request"
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_TEXTS = ("iss", "aud", "nonce", "leaf", "browser_signature", "handle")
_SIGNED_TEXTS = ("origin", "transaction", "nonce", "expires", "algorithm", "signature")


@dataclass(frozen=True, slots=True)
class Here:
    """This node in its federation, as one request sees it."""

    roster: Roster
    node: RosterNode
    keys: NodeKeys = field(repr=False)
    stages: tuple[str, ...]
    """At which evidence counts."""
    ceiling: int
    """Of the way; 0: it is not allowed."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Evidence that is an answer to a request of ours; nothing in it is believed yet."""

    transaction: str
    node: RosterNode
    claims: Mapping[str, Any] = field(repr=False)
    evidence: str = field(repr=False)


def here(services: Services) -> Here | None:
    """This node with its keys; None for one that stands alone. Raises PathError `trust.bundle`, ConfigError."""
    keys = services.node_keys()
    if keys is None:
        return None
    bundle = services.snapshots.current().bundle
    own = bundle.roster.find(services.settings.node.name)
    if own is None or own.hall != services.settings.bridge.issuer:
        return None
    ceiling = bundle.levels.ways.get(Way.ABROAD, 0)
    return Here(bundle.roster, own, keys, bundle.policy.halls, ceiling)


def require(services: Services) -> Here:
    """As `here`. Raises FederationError `abroad.off` where there is no federation."""
    found = here(services)
    if found is None:
        raise FederationError("abroad.off", "this node is in no federation, or the roster names another hall for it")
    return found


def halls(services: Services, tx: Transaction) -> tuple[RosterNode, ...]:
    """Halls that the person may come from now, in the roster's order; none where the way is closed or was taken.

    None either where a proof made before now does not do (`prompt=login`), or the level is above the way's ceiling.
    """
    found = here(services)
    asked = tx.request
    if found is None or found.ceiling < asked.level or tried(services, tx):
        return ()
    if asked.fresh_after is not None and asked.fresh_after >= tx.created - timedelta(seconds=REQUEST_SECONDS):
        return ()
    return tuple(node for node in found.roster.nodes if node is not found.node and node.stage in found.stages)


def tried(services: Services, tx: Transaction) -> bool:
    """Whether this transaction has been to another hall."""
    return services.store.get(_TRIED, tx.id) is not None


def hinted(services: Services, tx: Transaction) -> bool:
    """Whether to go where the link said that the person comes from: once, so that the way back leads to our page."""
    return services.store.add_once(f"{_TRIED}-hint", tx.id, tx.expires)


def ask(services: Services, tx: Transaction, name: str) -> str:
    """The address at hall `name` to which the browser goes now, once in this transaction.

    Raises FederationError: `abroad.hall` (no such hall for this sign-in), `abroad.tried`; and as `here`.
    """
    own = require(services)
    node = next((node for node in halls(services, tx) if node.name == name), None)
    now = services.clock()
    if node is None:
        raise FederationError("abroad.tried" if tried(services, tx) else "abroad.hall", "not a hall for this sign-in")
    if not services.store.add_once(_TRIED, tx.id, tx.expires):
        raise FederationError("abroad.tried", "one try in a transaction")
    nonce = new_secret()
    kept = {"transaction": tx.id, "node": name}
    services.store.put(_REQUEST, nonce, kept, min(now + timedelta(seconds=REQUEST_SECONDS), tx.expires))
    issued = int(now.timestamp())
    claims = {
        "iss": own.node.name,
        "aud": name,
        "nonce": nonce,
        "iat": issued,
        "exp": issued + REQUEST_SECONDS,
        "return": f"{own.node.hall}/sign-in/{tx.id}",
    }
    request = between.sign(own.keys.sign, own.node.sign["kid"], REQUEST_TYP, claims)
    return f"{node.hall}/abroad?request={request}"


def opened(services: Services, sealed: str) -> Opened:
    """The evidence in `sealed`, when it answers a request of ours that is open; the request is over then.

    Raises FederationError `abroad.off`, `abroad.unknown_hall`, `abroad.form`, `abroad.audience`, `abroad.nonce`;
    CryptoError `crypto.size`, `crypto.jwe`, `crypto.jws`.
    """
    own = require(services)
    evidence = between.unseal(sealed, own.keys.box, SEALED_TYP, MAX_SEALED)
    node = own.roster.by_key(between.signer_of(evidence, EVIDENCE_TYP, MAX_EVIDENCE))
    if node is None or node.stage not in own.stages:
        raise FederationError("abroad.unknown_hall", "signed by no hall of the roster, or by one that is not live")
    claims = between.verify(evidence, node.sign, EVIDENCE_TYP, MAX_EVIDENCE)
    _check_form(claims)
    if node is own.node or claims["iss"] != node.name or claims["aud"] != own.node.name:
        raise FederationError("abroad.audience", "evidence of another hall than signed it, for another, or of our own")
    asked = services.store.take(_REQUEST, claims["nonce"])
    if asked is None or asked["node"] != node.name:
        raise FederationError("abroad.nonce", "no such request open at that hall: unknown, used, or over")
    return Opened(asked["transaction"], node, claims, evidence)


def proved(services: Services, found: Opened) -> Proven:
    """What the evidence proves: the holder's signature at that hall, and that the same browser is here now.

    Raises FederationError `abroad.origin`, `abroad.time`, `abroad.age`, `abroad.browser`; CryptoError, InputError; and
    as `complete.holder_sm2_id`.
    """
    tx = transaction.peek(services.store, found.transaction, services.clock())
    claims = found.claims
    leaf, signed = _signed(claims)
    if signed.origin != found.node.hall:
        raise FederationError("abroad.origin", "the challenge was made for another origin than that hall's")
    at = _sign_in_time(services, tx, signed, claims["auth_time"])
    try:
        message = jwk.abroad_message(services.settings.bridge.issuer, claims["nonce"])
        jwk.check_signature(signed.browser, message, _octets(claims["browser_signature"]))
    except CryptoError as error:
        raise FederationError("abroad.browser", f"the browser's key did not answer: {error.code}") from error
    token.check_holder(signed, leaf, lambda certificate: holder_sm2_id(services, certificate), at)
    return Proven(leaf.der, Way.ABROAD, at, arrival=Arrival(found.node.name, claims["handle"], found.evidence))


def code(services: Services, found: Opened) -> str:
    """A one-time code for what `found` proves, good only in the browser that began. Raises as `proved`."""
    now = services.clock()
    proven = proved(services, found)
    tx = transaction.peek(services.store, found.transaction, now)
    return codes.issue(services.store, tx, proven, now)


def _sign_in_time(services: Services, tx: Transaction, signed: Signed, claimed: int) -> datetime:
    """When the person signed: within the life of the challenge that they signed, whatever that hall says."""
    now, bridge = services.clock(), services.settings.bridge
    at = datetime.fromtimestamp(claimed, UTC)
    if not signed.expires - LIFETIME <= at < signed.expires or at > now + SKEW:
        raise FederationError("abroad.time", "not a time at which the challenge was open, or in the future")
    at = min(at, now)
    oldest = now - timedelta(seconds=min(bridge.abroad_seconds, bridge.session_seconds))
    if at <= oldest or (tx.request.fresh_after is not None and at < tx.request.fresh_after):
        raise FederationError("abroad.age", "the sign-in there is older than is allowed here")
    return at


def _signed(claims: Mapping[str, Any]) -> tuple[Certificate, Signed]:
    raw = claims["signed"]
    try:
        expires = datetime.fromisoformat(raw["expires"])
        if expires.utcoffset() != timedelta(0):
            raise ValueError("expires is not UTC")
        browser = jwk.public_members(raw["browser"])
        texts = (raw["origin"], raw["transaction"], raw["nonce"])
        signed = Signed(*texts, expires, raw["algorithm"], _octets(raw["signature"]), browser)
    except CryptoError as error:
        raise FederationError("abroad.browser", f"no key of a browser: {error.code}") from error
    except (ValueError, OverflowError) as error:
        raise FederationError("abroad.form", f"signed: {type(error).__name__}") from error
    return parse_certificate(_octets(claims["leaf"])), signed


def _check_form(claims: Mapping[str, Any]) -> None:
    signed = claims.get("signed")
    good = (
        set(claims) == {*_TEXTS, "iat", "auth_time", "signed"}
        and all(isinstance(claims[name], str) for name in _TEXTS)
        and all(_whole(claims[name]) for name in ("iat", "auth_time"))
        and isinstance(signed, dict)
        and set(signed) == {*_SIGNED_TEXTS, "browser"}
        and all(isinstance(signed[name], str) for name in _SIGNED_TEXTS)
        and all(_SECRET.fullmatch(claims[name]) for name in ("nonce", "handle"))
    )
    if not good:
        raise FederationError("abroad.form", "fields absent, too many, or of another kind")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**40


def _octets(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FederationError("abroad.form", "not base64") from error
