"""The token way: a challenge for one transaction, and the check of what the local signer made of it.

The challenge is bound to the hall's origin, the transaction, a nonce and, once the person has picked a certificate, its
key. It lives 60 s; the store hands it out once, to whichever proof comes first, right or wrong.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ca_bridge.asn1.certificate import Certificate, parse_pem
from ca_bridge.ceremony.codes import Proven, Signed
from ca_bridge.ceremony.transaction import Transaction, new_secret
from ca_bridge.crypto import challenge as challenges
from ca_bridge.crypto import cms, jwk, signatures
from ca_bridge.crypto.challenge import Asked
from ca_bridge.errors import CeremonyError
from ca_bridge.types import Way

if TYPE_CHECKING:
    from ca_bridge.store import Store

LIFETIME = timedelta(seconds=60)
MAX_CERTIFICATE = 16 * 1024
"""Characters of PEM."""
MAX_SIGNATURE = 2 * 1024
"""Characters of base64url: RSA-8192 needs 1,366."""
MAX_CMS = 24 * 1024
"""Of a CMS proof, which holds the certificate and may hold a chain."""

_KIND = "challenge"
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")


@dataclass(frozen=True, slots=True)
class Proof:
    """What came back from the signer, by way of the page; nothing of it is checked yet."""

    certificate: str = field(repr=False)
    """PEM."""
    algorithm: str
    """A name of `challenge.SCHEMES`, or `CMS`."""
    signature: str = field(repr=False)
    """base64url."""


def ask(
    store: Store,
    tx: Transaction,
    origin: str,
    now: datetime,
    *,
    browser: Any = None,
    secret: Callable[[], str] = new_secret,
) -> Asked:
    """A new challenge for `tx`, in place of an earlier one, good until 60 s after `now` (aware UTC).

    `browser`: the public key that the page made, as JWK, or None. Raises CryptoError `crypto.jwk`.
    """
    expires = min(now + LIFETIME, tx.expires).replace(microsecond=0)
    key = None if browser is None else jwk.public_members(browser)
    asked = Asked(origin, tx.id, secret(), expires, "" if key is None else jwk.thumbprint(key))
    kept = {"origin": origin, "nonce": asked.nonce, "expires": expires.isoformat(), "browser": key}
    store.put(_KIND, tx.id, kept, expires)
    return asked


def read_proof(raw: Any) -> Proof:
    """The proof in a decoded JSON body. Raises CeremonyError `ceremony.proof_form`: absent, no text, too long."""
    fields = [raw.get(name) if isinstance(raw, dict) else None for name in ("certificate", "algorithm", "signature")]
    certificate, algorithm, signature = (value if isinstance(value, str) else "" for value in fields)
    longest = MAX_CMS if algorithm == cms.ALGORITHM else MAX_SIGNATURE
    if not (0 < len(certificate) <= MAX_CERTIFICATE and algorithm and 0 < len(signature) <= longest):
        raise CeremonyError("ceremony.proof_form", "a field is absent, empty, too long, or not a text")
    return Proof(certificate, algorithm, signature)


def prove(store: Store, tx: Transaction, proof: Proof, sm2_id: Callable[[Certificate], str], now: datetime) -> Proven:
    """Possession of the certificate's key, proved for this transaction; the challenge is gone, proved or not.

    `sm2_id` names the holder's distinguishing ID for a certificate with an SM2 key (its CA's profile says it).
    Raises CeremonyError `ceremony.challenge` (none open: expired, used, never asked), `ceremony.proof_form`; InputError
    `asn1.*`; CryptoError `crypto.*` (wrong key, algorithm or signature); and what `sm2_id` raises.
    """
    asked = store.take(_KIND, tx.id)
    if asked is None:
        raise CeremonyError("ceremony.challenge", "no open challenge for this transaction")
    leaf = parse_pem(proof.certificate)
    browser, signature = asked.get("browser"), _bytes(proof.signature)
    signed = Signed(
        origin=asked["origin"],
        transaction=tx.id,
        nonce=asked["nonce"],
        expires=datetime.fromisoformat(asked["expires"]),
        algorithm=proof.algorithm,
        signature=signature,
        browser=browser or {},
    )
    check_holder(signed, leaf, sm2_id, now)
    return Proven(leaf.der, Way.TOKEN, now, signed if browser else None)


def check_holder(signed: Signed, leaf: Certificate, sm2_id: Callable[[Certificate], str], now: datetime) -> None:
    """Returns only if the holder of `leaf` signed this challenge, and it was open at `now`. Raises as `prove`."""
    browser = jwk.thumbprint(signed.browser) if signed.browser else ""
    challenge = signed.challenge(challenges.key_hash(leaf.spki), browser)
    # An ID is asked for only where one is hashed in: judging every certificate twice would cost for nothing.
    hashes_it = signed.algorithm in ("SM2", cms.ALGORITHM) and signatures.key_kind(leaf.spki) == signatures.SM2
    holder = sm2_id(leaf) if hashes_it else ""
    if signed.algorithm == cms.ALGORITHM:
        cms.check(challenge, leaf, signed.signature, holder, now=now)
    else:
        challenges.check(challenge, leaf.spki, signed.signature, signed.algorithm, holder, now=now)


def _bytes(text: str) -> bytes:
    if _BASE64URL.fullmatch(text) is None:
        raise CeremonyError("ceremony.proof_form", "the signature is not base64url")
    bare = text.rstrip("=")
    try:
        return b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise CeremonyError("ceremony.proof_form", "the signature is not base64url") from error
