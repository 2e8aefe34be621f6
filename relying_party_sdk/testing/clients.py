"""How clients prove themselves to the fake provider: private_key_jwt, client_secret_basic, client_secret_post."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

import jwt

from relying_party_sdk.testing.server import Call


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """An OAuth error answer."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(slots=True)
class Client:
    """A registered client; `jwks` returns its public keys."""

    id: str
    redirect_uri: str
    jwks: Callable[[], Mapping[str, Any]]
    post_logout_uri: str = ""
    auth: str = "private_key_jwt"
    """The only way that is taken from this client."""
    secret: str = ""


class ClientProofs:
    """Checks the proof of a call."""

    def __init__(self, issuer: str, clock: Callable[[], float], clients: Mapping[str, Client]) -> None:
        self._issuer = issuer
        self._clock = clock
        self._clients = clients
        self._jtis: set[str] = set()

    def client(self, call: Call) -> Client:
        """The client that proved itself, in the one way it is registered for. Raises Refused `invalid_client`."""
        basic = call.headers.get("authorization", "").partition("Basic ")[2]
        given = [bool(basic), "client_secret" in call.form, "client_assertion" in call.form]
        if sum(given) != 1:  # RFC 6749 §2.3: one way in each request
            raise Refused("invalid_client", "not exactly one way")
        name, secret = _basic(basic) if basic else (call.form.get("client_id", ""), call.form.get("client_secret", ""))
        client = self._clients.get(name)
        if client is None:
            raise Refused("invalid_client", "unknown client")
        ways = ("client_secret_basic", "client_secret_post", "private_key_jwt")
        if ways[given.index(True)] != client.auth:
            raise Refused("invalid_client", f"not {client.auth}")
        if client.auth == "private_key_jwt":
            self._check(call.form.get("client_assertion", ""), client)
        elif not client.secret or not hmac.compare_digest(secret.encode(), client.secret.encode()):
            raise Refused("invalid_client", "wrong secret")
        return client

    def _check(self, assertion: str, client: Client) -> None:
        """private_key_jwt: signature, issuer, subject, audience, time, and one use (RFC 7523 §3)."""
        try:
            keys = jwt.PyJWKSet.from_dict(dict(client.jwks()))
            key = keys[jwt.get_unverified_header(assertion)["kid"]]
            claims = jwt.decode(
                assertion,
                key,
                algorithms=["ES256"],
                audience=[self._issuer, f"{self._issuer}/token"],
                issuer=client.id,
                subject=client.id,
                options={"require": ["exp", "iat", "jti"], "verify_exp": False, "verify_iat": False},
            )
        except (jwt.PyJWTError, KeyError) as error:
            raise Refused("invalid_client", f"assertion: {type(error).__name__}") from error
        if not self._clock() - 90 < claims["iat"] <= self._clock() + 5 or claims["jti"] in self._jtis:
            raise Refused("invalid_client", "assertion old or used")
        self._jtis.add(claims["jti"])


def _basic(text: str) -> tuple[str, str]:
    """Name and secret, each form-encoded (RFC 6749 §2.3.1)."""
    try:
        name, _, secret = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Refused("invalid_client", "unreadable") from error
    return unquote_plus(name), unquote_plus(secret)
