"""Asking the provider whether a token is still good (RFC 7662): `introspection_request` builds, `process_…` checks.

For matters where the minutes until `exp` are too long. A provider that cannot be asked means no.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from relying_party_sdk.clientauth import Proof
from relying_party_sdk.errors import ProviderError, TokenError
from relying_party_sdk.metadata import Metadata
from relying_party_sdk.stores.protocol import Clock
from relying_party_sdk.strict import answer
from relying_party_sdk.transport import HttpRequest, HttpResponse, Transport, post_form

_MOST = 1000


def introspection_request(metadata: Metadata, token: str, client: Proof) -> HttpRequest:
    """Asks as the client, which proves itself (§2.1). Raises ProviderError `rp.metadata` without such an endpoint."""
    if not metadata.introspection_endpoint:
        raise ProviderError("rp.metadata", "the provider has no introspection_endpoint")
    form = {"token": token, "token_type_hint": "access_token", **client.form}
    return post_form(metadata.introspection_endpoint, form, **client.headers)


def process_introspection(response: HttpResponse, claims: Mapping[str, Any]) -> None:
    """Passes when the provider says that the token of `claims` is active, and means the same token (§2.2).

    Raises TokenError `rp.token_inactive`, ProviderError as `strict.answer`.
    """
    raw = answer(response, "introspection")
    if raw.get("active") is not True:
        raise TokenError("rp.token_inactive", "the provider says that it is not active")
    for name in ("iss", "sub", "jti", "exp"):
        if name in raw and name in claims and raw[name] != claims[name]:
            raise TokenError("rp.token_inactive", f"the provider speaks of another token: {name}")


class Introspection:
    """Asks for all threads of a process; an active token is believed for `keep` seconds, an inactive one never kept."""

    def __init__(
        self,
        transport: Transport,
        metadata: Callable[[], Metadata],
        proof: Callable[[Metadata], Proof],
        clock: Clock,
        keep: float,
    ) -> None:
        self._transport = transport
        self._metadata = metadata
        self._proof = proof
        self._clock = clock
        self._keep = keep
        self._guard = threading.Lock()  # never held over the network
        self._active: dict[bytes, float] = {}

    def check(self, token: str, claims: Mapping[str, Any]) -> None:
        """Passes for a token that is active. Raises TokenError `rp.token_inactive`, ProviderError: both mean no."""
        name, now = hashlib.sha256(token.encode()).digest(), self._clock()
        with self._guard:
            if 0 <= now - self._active.get(name, float("-inf")) < self._keep:
                return
            self._active.pop(name, None)
        metadata = self._metadata()
        request = introspection_request(metadata, token, self._proof(metadata))
        process_introspection(self._transport.send(request), claims)
        with self._guard:
            if len(self._active) >= _MOST:
                self._active.clear()
            self._active[name] = now
