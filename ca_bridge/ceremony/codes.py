"""One-time codes: how a proof made elsewhere comes back through the browser that began the sign-in.

A proof (at the certificate host, or by the signer) completes nothing. It yields a code that lives 60 s, works once, and
only together with the cookie of the browser that began the transaction: whoever lures another person into
proving possession for the lurer's transaction gets a code that is in the wrong browser (design §5).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ca_bridge.ceremony.transaction import Transaction, new_secret
from ca_bridge.crypto.challenge import Challenge
from ca_bridge.errors import CeremonyError
from ca_bridge.store.links import Arrival
from ca_bridge.types import Way

if TYPE_CHECKING:
    from ca_bridge.store import Store

LIFETIME = timedelta(seconds=60)
_CODE = "code"


@dataclass(frozen=True, slots=True)
class Signed:
    """A challenge with a browser's key in it, and the person's signature over it: what other halls can check afresh."""

    origin: str
    transaction: str
    nonce: str
    expires: datetime
    """Aware UTC, whole seconds."""
    algorithm: str
    signature: bytes = field(repr=False)
    browser: Mapping[str, str]
    """The browser's public key, as JWK members; its thumbprint is the challenge's `browser`."""

    def challenge(self, key: str, browser: str) -> Challenge:
        """What was signed, by the key whose hash is `key`. Raises CryptoError `crypto.challenge`."""
        return Challenge(self.origin, self.transaction, self.nonce, key, self.expires, browser)

    def pack(self) -> dict[str, Any]:
        """As the store keeps it, and as it travels."""
        return {
            "origin": self.origin,
            "transaction": self.transaction,
            "nonce": self.nonce,
            "expires": self.expires.isoformat(),
            "algorithm": self.algorithm,
            "signature": b64encode(self.signature).decode(),
            "browser": dict(self.browser),
        }

    @classmethod
    def unpack(cls, raw: Mapping[str, Any]) -> Signed:
        """The inverse of `pack`, for what this hall packed itself."""
        rest = {**raw, "expires": datetime.fromisoformat(raw["expires"]), "signature": b64decode(raw["signature"])}
        return cls(**rest)


@dataclass(frozen=True, slots=True)
class Proven:
    """Possession of the key of `leaf` was proved at `at` (aware UTC), by `way`; `leaf` itself is not judged yet."""

    leaf: bytes = field(repr=False)
    """DER, as it arrived."""
    way: Way
    at: datetime
    signed: Signed | None = None
    """Of the token way, when the browser has a key of its own: it may travel."""
    arrival: Arrival | None = None
    """Of another hall's evidence."""


def issue(
    store: Store, tx: Transaction, proven: Proven, now: datetime, *, secret: Callable[[], str] = new_secret
) -> str:
    """A code for `proven` in transaction `tx`, good once, until 60 s after `now`."""
    code = secret()
    store.put(_CODE, code, {"transaction": tx.id, **pack(proven)}, min(now + LIFETIME, tx.expires))
    return code


def redeem(store: Store, tx: Transaction, code: str) -> Proven:
    """What `code` stands for; the code is gone afterwards. `tx` comes from `resume`, which has compared the browser.

    Raises CeremonyError `ceremony.code`: unknown, older than 60 s, used before, or of another transaction.
    """
    raw = store.take(_CODE, code) if code else None
    if raw is None or raw["transaction"] != tx.id:
        raise CeremonyError("ceremony.code", "unknown, used, expired, or of another transaction")
    return unpack(raw)


def pack(proven: Proven) -> dict[str, Any]:
    """`proven` as the store keeps it."""
    arrival = proven.arrival
    return {
        "leaf": b64encode(proven.leaf).decode(),
        "way": proven.way.value,
        "at": proven.at.isoformat(),
        "signed": proven.signed.pack() if proven.signed else None,
        "arrival": [arrival.node, arrival.handle, arrival.evidence] if arrival else None,
    }


def unpack(raw: Mapping[str, Any]) -> Proven:
    """The inverse of `pack`."""
    signed, arrival = raw.get("signed"), raw.get("arrival")
    return Proven(
        b64decode(raw["leaf"]),
        Way(raw["way"]),
        datetime.fromisoformat(raw["at"]),
        Signed.unpack(signed) if signed else None,
        Arrival(*arrival) if arrival else None,
    )
