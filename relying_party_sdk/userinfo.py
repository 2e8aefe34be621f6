"""The userinfo endpoint of any OpenID provider: `userinfo_request` builds, `process_userinfo` checks (Core §5.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relying_party_sdk.errors import ProviderError, TokenError
from relying_party_sdk.metadata import Metadata
from relying_party_sdk.settings import Settings
from relying_party_sdk.strict import answer
from relying_party_sdk.transport import HttpRequest, HttpResponse, get
from relying_party_sdk.verify import FindKey, verify_signature


def userinfo_request(metadata: Metadata) -> HttpRequest:
    """Asks for the claims; the sender adds the access token.

    Raises ProviderError `rp.metadata` when the provider has no such endpoint.
    """
    if not metadata.userinfo_endpoint:
        raise ProviderError("rp.metadata", "the provider has no userinfo_endpoint")
    return get(metadata.userinfo_endpoint)


def process_userinfo(response: HttpResponse, settings: Settings, find_key: FindKey, subject: str) -> Mapping[str, Any]:
    """The claims, if they are of `subject`, the ID token's `sub` (Core §5.3.2); signed ones are verified.

    Raises ProviderError `rp.attributes` (refused), `rp.userinfo_sub` (another person), or as `strict.answer`;
    TokenError for a signed answer that is not this provider's for this client.
    """
    if response.status in (401, 403):
        raise ProviderError("rp.attributes", f"the userinfo endpoint refuses: HTTP {response.status}")
    media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if response.status == 200 and media == "application/jwt":
        raw = _signed(response.body, settings, find_key)
    else:
        raw = answer(response, "userinfo")
    if raw.get("sub") != subject:
        raise ProviderError("rp.userinfo_sub", "the userinfo endpoint speaks of another person")
    return raw


def _signed(body: bytes, settings: Settings, find_key: FindKey) -> Mapping[str, Any]:
    claims = verify_signature(body.decode("ascii", "replace").strip(), settings.algorithms, find_key).claims
    if claims.get("iss", settings.issuer) != settings.issuer:
        raise TokenError("rp.token_iss", "userinfo of another provider")
    if claims.get("aud", settings.client_id) not in (settings.client_id, [settings.client_id]):
        raise TokenError("rp.token_aud", "userinfo for another client")
    return claims
