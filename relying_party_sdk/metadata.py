"""Discovery: `metadata_request` builds, `process_metadata` checks (OpenID Connect Discovery 1.0 §4, RFC 8414 §3.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from relying_party_sdk.errors import ProviderError
from relying_party_sdk.settings import Settings, is_loopback
from relying_party_sdk.strict import answer
from relying_party_sdk.transport import HttpRequest, HttpResponse, get


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the provider says of itself, as far as a relying party uses it. Optional endpoints are empty when absent."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    pushed_authorization_request_endpoint: str
    end_session_endpoint: str
    userinfo_endpoint: str
    introspection_endpoint: str
    iss_in_response: bool
    """The provider promises `iss` in every authorization response (RFC 9207 §3)."""
    client_auth: tuple[str, ...]
    """How clients may prove themselves at the token endpoint (RFC 8414 §2)."""


def metadata_request(settings: Settings) -> HttpRequest:
    """The request for the provider's metadata."""
    return get(settings.issuer.rstrip("/") + "/.well-known/openid-configuration")


def process_metadata(response: HttpResponse, settings: Settings) -> Metadata:
    """The metadata, if its issuer is exactly the configured one and every endpoint is an https address.

    Raises ProviderError `rp.issuer`, `rp.metadata`, or as `strict.answer`.
    """
    raw = answer(response, "discovery")
    if raw.get("issuer") != settings.issuer:
        raise ProviderError("rp.issuer", "the metadata is of another issuer")
    endpoints = {
        name: _endpoint(raw, name, settings, needed=needed)
        for name, needed in (
            ("authorization_endpoint", True),
            ("token_endpoint", True),
            ("jwks_uri", True),
            ("pushed_authorization_request_endpoint", False),
            ("end_session_endpoint", False),
            ("userinfo_endpoint", False),
            ("introspection_endpoint", False),
        )
    }
    methods = raw.get("code_challenge_methods_supported")
    if methods is not None and (not isinstance(methods, list) or "S256" not in methods):
        raise ProviderError("rp.metadata", "the provider does not offer PKCE with S256")
    if settings.dpop == "on" and "ES256" not in _texts(raw.get("dpop_signing_alg_values_supported")):
        raise ProviderError("rp.metadata", "the provider does not offer DPoP with ES256")
    return Metadata(
        issuer=settings.issuer,
        iss_in_response=raw.get("authorization_response_iss_parameter_supported") is True,
        client_auth=_texts(raw.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])),
        **endpoints,
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _endpoint(raw: Mapping[str, Any], name: str, settings: Settings, *, needed: bool) -> str:
    url = raw.get(name, "")
    if url == "" and not needed:
        return ""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise ProviderError("rp.metadata", f"{name} is not an address") from error
    plain = settings.dangerously_allow_http or is_loopback(host)
    if not host or parts.fragment or not (parts.scheme == "https" or (parts.scheme == "http" and plain)):
        raise ProviderError("rp.metadata", f"{name} is missing or not https")
    return str(url)
