"""DPoP (RFC 9449): proofs of possession, made by a client and checked by an API. Pure but for what is handed in.

A proof is a small JWS for one request, by the key to which an access token is bound.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from relying_party_sdk.clientauth import ClientKey
from relying_party_sdk.errors import TokenError
from relying_party_sdk.jwks import public_key
from relying_party_sdk.sealing import Random, b64
from relying_party_sdk.signatures import checks_of
from relying_party_sdk.verify import is_time, read_claims, split

ALGORITHMS = ("ES256", "ES384", "PS256", "RS256")
"""Algorithms of proofs that an API takes: asymmetric ones only (§4.3)."""
AGE = 60
"""Oldest proof that is taken, in seconds (§11.1)."""
_LONGEST = 8192


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that fits its request. The caller makes sure that `jti` was not used before."""

    jkt: str
    jti: str
    nonce: str | None


def make_proof(
    key: ClientKey, random: Random, method: str, url: str, now: float, *, access_token: str = "", nonce: str = ""
) -> str:
    """A proof for one request (§4.2), with the hash of the token it goes with and the server's nonce, if any."""
    claims: dict[str, object] = {"jti": b64(random(16)), "htm": method, "htu": plain_url(url), "iat": int(now)}
    if access_token:
        claims["ath"] = token_hash(access_token)
    if nonce:
        claims["nonce"] = nonce
    return key.sign({"typ": "dpop+jwt", "jwk": dict(key.public)}, claims)


def check_proof(proof: str, *, method: str, url: str, now: float, leeway: float, access_token: str) -> Proof:
    """What a proof says, if it is for this request and this token, now (§4.3, steps 2 to 11 but the nonce).

    Raises TokenError `rp.dpop_proof`.
    """
    try:
        header, message, payload, signature = split(proof, _LONGEST)
        claims = read_claims(payload)
    except TokenError as error:
        raise _wrong("not a JWT") from error
    if header.typ != "dpop+jwt" or header.strange or header.alg not in ALGORITHMS:
        raise _wrong("typ, alg or crit")
    jwk = header.members.get("jwk")
    if not isinstance(jwk, Mapping) or jwk.get("kty") not in ("EC", "RSA") or "d" in jwk:
        raise _wrong("jwk is no public key")
    check = checks_of(public_key(jwk)).get(str(header.alg))
    if check is None or not check(signature, message):
        raise _wrong("the signature is wrong")
    _check_request(claims, method, url)
    iat, jti, nonce = claims.get("iat"), claims.get("jti"), claims.get("nonce")
    if not is_time(iat) or not now - AGE - leeway <= iat <= now + leeway:
        raise _wrong("iat is missing, old or in the future")
    if not isinstance(jti, str) or not 0 < len(jti) <= 255 or not isinstance(nonce, str | None):
        raise _wrong("jti or nonce")
    ath = claims.get("ath")
    if not isinstance(ath, str) or not hmac.compare_digest(ath.encode(), token_hash(access_token).encode()):
        raise _wrong("ath is of another token")
    return Proof(thumbprint(jwk), jti, nonce)


def _check_request(claims: Mapping[str, Any], method: str, url: str) -> None:
    htu = claims.get("htu")
    try:
        same = isinstance(htu, str) and plain_url(htu) == plain_url(url)
    except ValueError:
        same = False
    if claims.get("htm") != method or not same:
        raise _wrong("htm or htu is of another request")


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """SHA-256 of the key's required members, ordered (RFC 7638). Raises TokenError `rp.dpop_proof`."""
    names = ("crv", "kty", "x", "y") if jwk.get("kty") == "EC" else ("e", "kty", "n")
    members = {name: jwk.get(name) for name in names}
    if not all(isinstance(value, str) for value in members.values()):
        raise _wrong("jwk is no public key")
    return b64(hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest())


def token_hash(access_token: str) -> str:
    """`ath` of an access token (§4.2)."""
    return b64(hashlib.sha256(access_token.encode()).digest())


def plain_url(url: str) -> str:
    """An address without query and fragment, in one spelling (RFC 3986 §6.2.2, §6.2.3). Raises ValueError."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    name = f"[{host}]" if ":" in host else host
    port = "" if parts.port is None or parts.port == {"https": 443, "http": 80}.get(parts.scheme) else f":{parts.port}"
    if not host or parts.username is not None or parts.scheme not in ("https", "http"):
        raise ValueError("no http(s) address")
    # each segment alone, so that an encoded slash stays apart from a real one; octets that are no text stay as they are
    path = "/".join(quote(unquote(each, errors=_AS_IS), safe=_PATH, errors=_AS_IS) for each in parts.path.split("/"))
    return urlunsplit((parts.scheme, name + port, path or "/", "", ""))


_PATH = "-._~!$&'()*+,;=:@"
_AS_IS = "surrogateescape"


def _wrong(why: str) -> TokenError:
    return TokenError("rp.dpop_proof", why)
