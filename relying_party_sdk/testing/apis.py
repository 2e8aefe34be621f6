"""The fake provider towards APIs and services: JWT access tokens, DPoP, introspection, grants without a browser.

Access tokens look like Keycloak's (26.7): kind in the payload's `typ`, client in `azp`, claims of the hall's contract.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt

from relying_party_sdk.testing.clients import Client, Refused
from relying_party_sdk.testing.server import Answer, Call

if TYPE_CHECKING:
    from relying_party_sdk.testing.minting import Mint
    from relying_party_sdk.testing.provider import Login

GRANTS = (
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
    "urn:ietf:params:oauth:grant-type:token-exchange",
)


@dataclass(frozen=True, slots=True)
class Given:
    """An access token that was given out; `login` is None for a service's own."""

    client: Client
    login: Login | None
    claims: Mapping[str, Any]


class Apis:
    """Makes access tokens and answers about them. `nonce`: DPoP proofs must carry it, when set."""

    def __init__(self, mint: Mint, clock: Callable[[], float], *, seconds: int) -> None:
        self._mint = mint
        self._clock = clock
        self._seconds = seconds
        self.nonce = ""
        self.audiences: dict[str, tuple[str, ...]] = {}
        """More audiences of a client's access tokens: APIs that it may call."""
        self.scope = "openid crosshall"
        self.given: dict[str, Given] = {}
        self._used: set[str] = set()

    # ---- tokens

    def give(self, client: Client, login: Login | None, jkt: str, **changes: Any) -> str:
        """A new access token, bound to `jkt` unless that is empty; a change to None removes a claim."""
        now = int(self._clock())
        claims: dict[str, Any] = {"iss": self._mint.issuer, "sub": f"service-{client.id}"}
        if login is not None:
            claims = self._mint.claims(client.id, login, "", "")
            del claims["nonce"], claims["at_hash"]
        claims |= {
            "aud": [client.id, *self.audiences.get(client.id, ())],
            "azp": client.id,
            "iat": now,
            "exp": now + self._seconds,
            "jti": secrets.token_hex(8),
            "typ": "DPoP" if jkt else "Bearer",
            "scope": self.scope,
            **({"cnf": {"jkt": jkt, "kc-jkt-type": "DPoP"}} if jkt else {}),
            **changes,
        }
        kept = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": self._mint.algorithm, "typ": "JWT", "kid": self._mint.signing}
        token = self._mint.sign(header if self._mint.named else {**header, "kid": None}, kept)
        self.given[token] = Given(client, login, kept)
        return token

    def presented(self, call: Call) -> Given | None:
        """The token that came with a call, live, and with a proof where it is bound."""
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        given = self.given.get(token)
        if given is None or (given.login is not None and not given.login.live):
            return None
        bound = given.claims.get("cnf", {}).get("jkt", "")
        if scheme != ("DPoP" if bound else "Bearer"):
            return None
        return given if not bound or self.possession(call, token) == bound else None

    # ---- DPoP

    def possession(self, call: Call, access_token: str = "") -> str:
        """Thumbprint of the key of a call's proof, or empty without one. Raises Refused (RFC 9449 §4.3, §5, §8)."""
        proof = call.headers.get("dpop")
        if proof is None:
            return ""
        try:
            header = jwt.get_unverified_header(proof)
            claims = jwt.decode(
                proof,
                jwt.PyJWK(header["jwk"], algorithm="ES256"),
                algorithms=["ES256"],
                options={"require": ["jti", "iat"], "verify_iat": False},
            )
            url = self._mint.issuer + call.path
            fits = (header["typ"], claims["htm"], claims["htu"]) == ("dpop+jwt", call.method, url)
        except (jwt.PyJWTError, KeyError) as error:
            raise Refused("invalid_dpop_proof", type(error).__name__) from error
        ath = hashlib.sha256(access_token.encode()).digest()
        if not fits or abs(self._clock() - claims["iat"]) > 30 or claims["jti"] in self._used:
            raise Refused("invalid_dpop_proof", "of another request, old or used")
        if access_token and claims.get("ath") != base64.urlsafe_b64encode(ath).decode().rstrip("="):
            raise Refused("invalid_dpop_proof", "of another token")
        if self.nonce and claims.get("nonce") != self.nonce:
            raise Refused("use_dpop_nonce", "the nonce is missing or old")
        self._used.add(claims["jti"])
        return _thumbprint(header["jwk"])

    # ---- endpoints

    def introspect(self, call: Call, client: Client) -> Answer:
        """RFC 7662; like Keycloak, inactive for whoever is not in the audience."""
        given = self.given.get(call.form.get("token", ""))
        live = given is not None and (given.login is None or given.login.live)
        if given is None or not live or given.claims["exp"] <= self._clock() or client.id not in given.claims["aud"]:
            return Answer.json({"active": False})
        return Answer.json({**given.claims, "active": True})

    def grant(self, call: Call, client: Client, clients: Mapping[str, Client]) -> Answer:
        """A grant without a browser."""
        kind, jkt = call.form["grant_type"], self.possession(call)
        more: dict[str, Any] = {}
        if kind == GRANTS[0]:
            token = self.give(client, None, jkt, sid=None)
        elif kind == GRANTS[1]:
            token = self.give(client, None, jkt, sub=self._subject_of(call, clients))
        else:
            token = self._exchanged(call, client, clients, jkt)
            more = {"issued_token_type": call.form["requested_token_type"]}
        kind = "DPoP" if jkt else "Bearer"
        scope = call.form.get("scope") or self.scope
        return Answer.json(
            {"access_token": token, "token_type": kind, "expires_in": self._seconds, "scope": scope, **more}
        )

    def _subject_of(self, call: Call, clients: Mapping[str, Client]) -> str:
        """RFC 7523 §3, the assertion of a registered client."""
        assertion = call.form.get("assertion", "")
        try:
            issuer = jwt.decode(assertion, options={"verify_signature": False})["iss"]
            keys = jwt.PyJWKSet.from_dict(dict(clients[issuer].jwks()))
            key = keys[jwt.get_unverified_header(assertion)["kid"]]
            options: Any = {"verify_exp": False, "verify_iat": False, "require": ["sub", "exp", "jti"]}
            claims = jwt.decode(assertion, key, algorithms=["ES256"], audience=self._mint.issuer, options=options)
        except (jwt.PyJWTError, KeyError) as error:
            raise Refused("invalid_grant", f"assertion: {type(error).__name__}") from error
        if not claims["iat"] - 5 <= self._clock() < claims["exp"] or claims["jti"] in self._used:
            raise Refused("invalid_grant", "assertion: old or used")
        self._used.add(claims["jti"])
        return str(claims["sub"])

    def _exchanged(self, call: Call, client: Client, clients: Mapping[str, Client], jkt: str) -> str:
        """RFC 8693: a token given for `client`, for another audience."""
        given = self.given.get(call.form.get("subject_token", ""))
        if given is None or (given.login is not None and not given.login.live) or client.id not in given.claims["aud"]:
            raise Refused("invalid_request", "subject_token")
        audience = call.form.get("audience", client.id)
        if audience not in clients:
            raise Refused("invalid_target", "audience")
        scope = call.form.get("scope") or self.scope
        return self.give(client, given.login, jkt, sub=given.claims["sub"], aud=[audience], scope=scope)

    def with_nonce(self, answer: Answer) -> Answer:
        """Every answer carries the nonce that is wanted next (RFC 9449 §8.2)."""
        headers = {**answer.headers, **({"DPoP-Nonce": self.nonce} if self.nonce else {})}
        return Answer(answer.status, answer.media, answer.body, headers)


def _thumbprint(jwk: Mapping[str, Any]) -> str:
    members = {name: jwk[name] for name in sorted(("crv", "kty", "x", "y"))}
    raw = hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
