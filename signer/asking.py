"""What a hall may ask: the JSON body of `POST /v1/requests`, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ca_bridge.crypto.challenge import LIFETIME, Asked, Challenge
from ca_bridge.errors import LANGUAGES, CryptoError, SignerError

_NO_KEY = "0" * 64  # the key is named when the person has picked a certificate
_FIELDS = {"origin", "transaction", "nonce", "expires"}
_OPTIONAL = {"browser"}
_MOST_LANGUAGES = 16
_SKEW = timedelta(seconds=5)
"""ours: halls give 60 s by their own clock; one second between two clocks must not make every sign-in fail."""


@dataclass(frozen=True, slots=True)
class Asking:
    """A well-formed request."""

    asked: Asked
    level: int
    languages: tuple[str, ...]


def read_asking(raw: Any, origin: str, now: datetime) -> Asking:
    """The request in a decoded JSON body that came from `origin`. `now`: aware UTC.

    Raises SignerError `signer.request` (form), `signer.challenge_origin` (for another origin than it came from),
    `signer.challenge_time` (over already, or good for more than 60 s, 5 s allowed between the two clocks).
    """
    if not isinstance(raw, Mapping) or not set(raw) <= {"challenge", "level", "languages"}:
        raise SignerError("signer.request", "not an object with the known fields")
    asked = _challenge(raw.get("challenge"))
    if asked.origin != origin:
        raise SignerError("signer.challenge_origin", "the challenge is for another origin than asks")
    if not now < asked.expires <= now + LIFETIME + _SKEW:
        raise SignerError("signer.challenge_time", "expires is past, or too far from now")
    level = raw.get("level")
    if not isinstance(level, int) or isinstance(level, bool) or not 1 <= level <= 4:
        raise SignerError("signer.request", "level is not one of 1 to 4")
    languages = raw.get("languages", [])
    if not isinstance(languages, list) or len(languages) > _MOST_LANGUAGES:
        raise SignerError("signer.request", "languages is not a short list")
    return Asking(asked, level, tuple(name for name in languages if name in LANGUAGES))


def _challenge(raw: Any) -> Asked:
    if not isinstance(raw, Mapping) or set(raw) - _OPTIONAL != _FIELDS or not all(isinstance(raw[n], str) for n in raw):
        raise SignerError("signer.request", "challenge is not an object of the known texts")
    browser = raw.get("browser", "")
    if "browser" in raw and not browser:
        raise SignerError("signer.request", "challenge: browser is empty")
    try:
        expires = datetime.fromisoformat(raw["expires"])
        if expires.utcoffset() is None:
            raise ValueError("no zone")
        # The bridge's own type is the judge of what is well formed: what passes here can be signed and nothing else.
        Challenge(raw["origin"], raw["transaction"], raw["nonce"], _NO_KEY, expires, browser)
    except (CryptoError, ValueError, OverflowError) as error:
        raise SignerError("signer.request", f"challenge: {error}") from error
    return Asked(raw["origin"], raw["transaction"], raw["nonce"], expires.astimezone(UTC), browser)
