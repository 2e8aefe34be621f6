"""Requests with a DPoP proof where tokens are bound to a key of this window, and as they are where not (RFC 9449).

A server that wants a nonce says so once (§8, §9): the request is made again, with the nonce and with whatever else may
be used but once (a client assertion) anew. Nothing is ever sent a third time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

from relying_party_sdk.clientauth import ClientKey
from relying_party_sdk.dpop import make_proof
from relying_party_sdk.errors import ProviderError
from relying_party_sdk.sealing import Random
from relying_party_sdk.stores.protocol import Clock
from relying_party_sdk.strict import json_object
from relying_party_sdk.transport import HttpRequest, HttpResponse, Transport

_MOST_ORIGINS = 64
_LONGEST_NONCE = 512


class Sender:
    """Sends for one client. `key` is None where tokens are not bound."""

    def __init__(self, transport: Transport, key: ClientKey | None, clock: Clock, random: Random) -> None:
        self._transport = transport
        self._key = key
        self._clock = clock
        self._random = random
        self._nonces: dict[str, str] = {}

    @property
    def jkt(self) -> str:
        """Thumbprint of the key to which tokens are bound, or empty."""
        return self._key.kid if self._key is not None else ""

    def send(self, make: Callable[[], HttpRequest]) -> HttpResponse:
        """Send what `make` makes, to the token endpoint. Raises ProviderError, as the transport."""
        return self._send(make, "")

    def call(self, request: HttpRequest, access_token: str) -> HttpResponse:
        """Send a request with an access token, in the header and never in the address (RFC 6750 §2.1)."""
        scheme = "DPoP" if self._key is not None else "Bearer"
        headers = {**request.headers, "Authorization": f"{scheme} {access_token}"}
        return self._send(lambda: replace(request, headers=headers), access_token)

    def _send(self, make: Callable[[], HttpRequest], access_token: str) -> HttpResponse:
        request = make()
        if self._key is None:
            return self._transport.send(request)
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(request.url))
        used = self._nonces.get(origin, "")
        response = self._once(request, access_token, used, origin)
        nonce = self._nonces.get(origin, "")
        if nonce == used or not _wants_nonce(response):
            return response
        return self._once(make(), access_token, nonce, origin)

    def _once(self, request: HttpRequest, access_token: str, nonce: str, origin: str) -> HttpResponse:
        if self._key is None:
            raise ProviderError("rp.fault", "no key")
        now = self._clock()
        proof = make_proof(
            self._key, self._random, request.method, request.url, now, access_token=access_token, nonce=nonce
        )
        response = self._transport.send(replace(request, headers={**request.headers, "DPoP": proof}))
        newer = response.headers.get("dpop-nonce", "")
        if 0 < len(newer) <= _LONGEST_NONCE and newer.isascii() and newer.isprintable():
            if len(self._nonces) >= _MOST_ORIGINS:
                self._nonces.clear()
            self._nonces[origin] = newer
        return response


def _wants_nonce(response: HttpResponse) -> bool:
    """An authorization server says so in JSON (§8), an API in its challenge (§9)."""
    if response.status == 401 and "use_dpop_nonce" in response.headers.get("www-authenticate", ""):
        return True
    if response.status not in (400, 401):
        return False
    try:
        return json_object(response.body).get("error") == "use_dpop_nonce"
    except ValueError:
        return False
