"""Proofs of possession at the attribute endpoint (RFC 9449): by the key that the token is bound to, for one request.

ES256 only, as all that this node signs and takes; a window chooses the algorithm of its own key.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import jwt

from ca_bridge.ceremony.services import Services
from ca_bridge.crypto.jwk import public_key, public_members, thumbprint
from ca_bridge.errors import CryptoError, ProviderError

AGE = timedelta(seconds=60)
"""Oldest proof that is taken (§11.1)."""
AHEAD = timedelta(seconds=5)
_LONGEST = 4096
_LONGEST_JTI = 255
_KIND = "dpop"


def check_proof(services: Services, proofs: list[str], *, token: str, jkt: str, method: str, url: str) -> None:
    """Passes when the request bears exactly one proof, for itself and `token`, by key `jkt`, used once (§4.3, §7.1).

    Once in all processes of the node. Raises ProviderError `provider.dpop`, StoreError.
    """
    if len(proofs) != 1 or not 0 < len(proofs[0]) <= _LONGEST:
        raise _wrong("not one proof of a sensible size")
    claims, found = _signed(proofs[0])
    if not hmac.compare_digest(found.encode(), jkt.encode()):
        raise _wrong("by another key than the token's")
    if claims.get("htm") != method or not _same(claims.get("htu"), url):
        raise _wrong("htm or htu is of another request")
    ath = urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).decode().rstrip("=")
    if claims.get("ath") != ath:
        raise _wrong("ath is of another token")
    now, iat, jti = services.clock(), claims.get("iat"), claims.get("jti")
    if isinstance(iat, bool) or not isinstance(iat, int | float):
        raise _wrong("no iat")
    if not (now - AGE).timestamp() <= iat <= (now + AHEAD).timestamp():
        raise _wrong("iat is old or in the future")
    if not isinstance(jti, str) or not 0 < len(jti) <= _LONGEST_JTI:
        raise _wrong("no jti")
    if not services.store.add_once(_KIND, f"{found} {jti}", now + AGE + 2 * AHEAD):
        raise _wrong("used before")


def _signed(proof: str) -> tuple[dict[str, Any], str]:
    """(claims, thumbprint of the key) of a proof with a good signature by the key that it names."""
    try:
        header = jwt.get_unverified_header(proof)
        if header.get("typ") != "dpop+jwt" or header.get("alg") != "ES256" or "crit" in header:
            raise _wrong("typ, alg or crit")
        members = public_members(header.get("jwk"))
        off = dict.fromkeys(("verify_aud", "verify_exp", "verify_nbf", "verify_iat", "verify_iss", "verify_jti"), False)
        claims = jwt.decode(proof, public_key(members), algorithms=["ES256"], options=off)  # type: ignore[arg-type]
    except (jwt.PyJWTError, CryptoError, ValueError, TypeError) as error:
        raise _wrong(f"not a proof: {type(error).__name__}") from error
    return claims, thumbprint(members)


def _same(htu: Any, url: str) -> bool:
    """One address, query and fragment aside (§4.3 step 9; RFC 3986 §6.2.2.1 and §6.2.3 for host and port)."""
    try:
        return isinstance(htu, str) and _plain(htu) == _plain(url)
    except ValueError:
        return False


def _plain(url: str) -> tuple[str, str, int | None, str]:
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address with a user")
    return parts.scheme, parts.hostname or "", parts.port or {"https": 443, "http": 80}.get(parts.scheme), parts.path


def _wrong(why: str) -> ProviderError:
    return ProviderError("provider.dpop", why)
