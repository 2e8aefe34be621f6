"""The provider's addresses as this client calls them: metadata and keys (cached), pushed requests, tokens."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from relying_party_sdk import grant, request
from relying_party_sdk.clientauth import ClientKey, Proof, secret_proof
from relying_party_sdk.errors import SettingsError
from relying_party_sdk.jwks import Kept, Key, KeyCache, process_jwks
from relying_party_sdk.metadata import Metadata, metadata_request, process_metadata
from relying_party_sdk.sender import Sender
from relying_party_sdk.settings import Settings
from relying_party_sdk.shared import Shared
from relying_party_sdk.stores.protocol import Clock
from relying_party_sdk.transport import HttpRequest, Transport, get

log = logging.getLogger("relying_party_sdk")

_METADATA_TTL = 3600.0
_METADATA_STALE = 86_400.0


class Endpoint:
    """One client at one provider, for all threads. Raises ProviderError."""

    def __init__(
        self,
        settings: Settings,
        transport: Transport,
        sender: Sender,
        *,
        key: ClientKey | None,
        clock: Clock,
        kept: Kept | None = None,
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._sender = sender
        self._key = key
        self._clock = clock
        wait = settings.total_timeout
        self._metadata = Shared(self._fetch_metadata, clock, ttl=_METADATA_TTL, stale=_METADATA_STALE, wait=wait)
        self.keys = KeyCache(self._fetch_keys, clock, wait=wait, stale=settings.keys_stale, kept=kept)

    def metadata(self) -> Metadata:
        """What the provider says of itself."""
        return self._metadata.get()

    def authorization_url(self, parameters: Mapping[str, str]) -> str:
        """Where to send the browser; the request is pushed where the provider takes that (RFC 9126)."""
        metadata = self.metadata()
        if metadata.pushed_authorization_request_endpoint:
            pushed = self._sender.send(lambda: request.par_request(metadata, parameters, self.proof(metadata)))
            parameters = {"client_id": self._settings.client_id, "request_uri": request.process_par(pushed)}
        return request.authorization_url(metadata, parameters)

    def code(self, code: str, pending: request.Pending) -> grant.Tokens:
        """The tokens of a code."""

        def make() -> HttpRequest:
            metadata = self.metadata()
            return grant.code_request(metadata, self._settings, code, pending, self.proof(metadata))

        return grant.process_code(self._sender.send(make), bound=bool(self._sender.jkt))

    def refresh(self, refresh_token: str) -> grant.Tokens:
        """The tokens of a refresh token. Raises SessionEnded too."""

        def make() -> HttpRequest:
            metadata = self.metadata()
            return grant.refresh_request(metadata, refresh_token, self.proof(metadata))

        return grant.process_refresh(self._sender.send(make), bound=bool(self._sender.jkt))

    def proof(self, metadata: Metadata) -> Proof:
        """A proof of the client for one request."""
        settings = self._settings
        if self._key is None:
            return secret_proof(settings.client_auth, settings.client_id, settings.client_secret)
        audience = settings.issuer if settings.assertion_audience == "issuer" else metadata.token_endpoint
        return Proof(self._key.assertion(settings.client_id, audience, self._clock()))

    def assertion(self, subject: str, audience: str) -> str:
        """A JWT of the client about `subject` (RFC 7523 §3). Raises SettingsError without a key."""
        if self._key is None:
            raise SettingsError("rp.settings", "a client with a secret has no key to sign with")
        name, to = self._settings.client_id, audience or self._settings.issuer
        return self._key.assertion(name, to, self._clock(), subject=subject)["client_assertion"]

    def _fetch_metadata(self) -> Metadata:
        metadata = process_metadata(self._transport.send(metadata_request(self._settings)), self._settings)
        if self._key is None and "private_key_jwt" in metadata.client_auth:
            log.warning("%s shares a secret; this provider takes private_key_jwt", self._settings.client_auth)
        return metadata

    def _fetch_keys(self) -> tuple[Key, ...]:
        return process_jwks(self._transport.send(get(self.metadata().jwks_uri)))
