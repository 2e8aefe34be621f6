"""Who stands at the window, told to a system behind the proxy: a signed token for one request, good for 30 seconds.

`X-Crosshall-Identity` is a JWT (ES256) of the proxy for one audience, one method and one target. A system that can
check it does so with `IdentityReader`, or any JWT library: key from `<prefix>/identity.json`, then the claims below.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from relying_party_sdk.errors import SettingsError, TokenError
from relying_party_sdk.person import Attributes, Person
from relying_party_sdk.sealing import Random, b64, read_or_make
from relying_party_sdk.stores.protocol import Clock
from relying_party_sdk.strict import json_object

TYPE = "crosshall-identity+jwt"
LIFETIME = 30
"""Seconds that a token can be used: the time of one hop."""
_LONGEST = 16_384


@dataclass(frozen=True, slots=True)
class Hop:
    """One request to the system behind: a token for it opens no other one."""

    method: str
    target: str
    """Path and query, as they are sent."""


class IdentitySigner:
    """Signs with a key of its own (never the client's); made on first use, mode 0600. Raises SettingsError."""

    def __init__(self, path: Path, issuer: str, audience: str, clock: Clock, random: Random) -> None:
        raw = read_or_make(path, _make)
        try:
            key = serialization.load_pem_private_key(raw, password=None)
        except (ValueError, TypeError) as error:
            raise SettingsError("rp.key_file", f"{path} is no unencrypted PEM private key") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise SettingsError("rp.key_file", f"{path} is no key on P-256")
        self._key, self._issuer, self._audience = key, issuer, audience
        self._clock, self._random = clock, random
        numbers = key.public_key().public_numbers()
        public = {"crv": "P-256", "kty": "EC", "x": b64(numbers.x.to_bytes(32)), "y": b64(numbers.y.to_bytes(32))}
        thumb = hashlib.sha256(json.dumps(public, separators=(",", ":"), sort_keys=True).encode()).digest()  # RFC 7638
        self.kid = b64(thumb)
        self.jwks: Mapping[str, Any] = {"keys": [{**public, "kid": self.kid, "use": "sig", "alg": "ES256"}]}

    def sign(self, person: Person, hop: Hop, known: Attributes | None = None) -> str:
        """The token of `person` for one request; `known` goes into it when it is given."""
        now = int(self._clock())
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": person.subject,
            "iat": now,
            "exp": now + LIFETIME,
            "jti": b64(self._random(16)),
            "method": hop.method,
            "target": _digest(hop.target),
            "kind": person.kind,
            "level": person.level,
            "domain": person.domain,
            "rung": person.rung,
            "auth_time": int(person.auth_time.timestamp()),
            "checked_at": int(person.checked_at.timestamp()),
            "status_issued_at": int(person.status_issued_at.timestamp()),
        }
        if known is not None:
            claims["name"] = known.name
            claims["identifiers"] = [{"type": i.type, "state": i.state, "value": i.value} for i in known.identifiers]
            body = known.organisation
            if body is not None:
                claims["organisation"] = {
                    "name": body.name,
                    "type": body.type,
                    "state": body.state,
                    "value": body.value,
                }
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self.kid, "typ": TYPE})


class IdentityReader:
    """Checks tokens of one proxy for one audience. `jwks` is what the proxy publishes.

    `once(jti, expires)` returns True for the first use only (a store's `add_once`); without it, a token that leaked
    within its 30 seconds could be used again for the same request.
    """

    def __init__(
        self,
        jwks: Mapping[str, Any],
        issuer: str,
        audience: str,
        *,
        clock: Clock,
        leeway: int = 5,
        once: Callable[[str, float], bool] | None = None,
    ) -> None:
        self._keys = {str(row.get("kid")): jwt.PyJWK(dict(row), "ES256") for row in jwks["keys"]}
        self._issuer, self._audience = issuer, audience
        self._clock, self._leeway, self._once = clock, leeway, once

    def read(self, token: str, hop: Hop) -> Person:
        """The person of one request.

        Raises TokenError: `rp.token_format`, `rp.token_typ`, `rp.token_key`, `rp.token_signature`, `rp.token_iss`,
        `rp.token_aud`, `rp.token_expired`, `rp.identity_request` (of another request), `rp.identity_replayed`.
        """
        claims = self._verified(token)
        if claims.get("iss") != self._issuer:
            raise TokenError("rp.token_iss", "of another proxy")
        if claims.get("aud") != self._audience:
            raise TokenError("rp.token_aud", "for another system")
        self._check_time(claims)
        if claims.get("method") != hop.method or claims.get("target") != _digest(hop.target):
            raise TokenError("rp.identity_request", "made for another request")
        if self._once is not None and not self._once(str(claims.get("jti")), claims["exp"] + self._leeway):
            raise TokenError("rp.identity_replayed", "used before")
        return _person(claims)

    def _verified(self, token: str) -> Mapping[str, Any]:
        try:
            if len(token) > _LONGEST:
                raise jwt.DecodeError("too long")
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise TokenError("rp.token_format", "no JWT of a sensible size") from error
        if header.get("typ") != TYPE:
            raise TokenError("rp.token_typ", "not an identity token")
        key = self._keys.get(str(header.get("kid")))
        if key is None:
            raise TokenError("rp.token_key", "not a key of the proxy")
        try:
            return json_object(jwt.api_jws.decode_complete(token, key, algorithms=["ES256"])["payload"])
        except jwt.PyJWTError as error:
            raise TokenError("rp.token_signature", "the signature is wrong") from error
        except ValueError as error:
            raise TokenError("rp.token_format", "the payload is not a JSON object") from error

    def _check_time(self, claims: Mapping[str, Any]) -> None:
        now, issued, until = self._clock(), claims.get("iat"), claims.get("exp")
        if type(issued) is not int or type(until) is not int or not 0 < until - issued <= 60:
            raise TokenError("rp.token_expired", "without a short time of use")
        if not issued - self._leeway <= now < until + self._leeway:
            raise TokenError("rp.token_expired", "not now")


def _person(claims: Mapping[str, Any]) -> Person:
    try:
        if not isinstance(claims["sub"], str) or type(claims["level"]) is not int:
            raise TypeError
        known = Attributes.read(claims)
        return Person(
            subject=claims["sub"],
            kind=str(claims["kind"]),
            level=claims["level"],
            domain=str(claims["domain"]),
            auth_time=datetime.fromtimestamp(claims["auth_time"], UTC),
            checked_at=datetime.fromtimestamp(claims["checked_at"], UTC),
            status_issued_at=datetime.fromtimestamp(claims["status_issued_at"], UTC),
            rung=str(claims["rung"]),
            fetch=lambda: known,
        )
    except (KeyError, TypeError, ValueError, OverflowError, OSError) as error:
        raise TokenError("rp.claims", "an identity token that lacks something") from error


def _digest(target: str) -> str:
    """SHA-256 of the target, base64url: an address can be long, and hold what a log must not."""
    return b64(hashlib.sha256(target.encode()).digest())


def _make() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
