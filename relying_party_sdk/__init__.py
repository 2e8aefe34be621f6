"""Unified login for a departmental system: an OpenID Connect relying party that is safe by default.

    settings ─▶ client.RelyingParty ◀─ transport (urllib3), store (memory, SQLite)
                    │ request → process: metadata, request, callback, grant, verify, claims   (pure)
                    ▼
                adapters.flask.CrosshallRP ─▶ the application's views: `rp.person`, `@rp.require(level=3)`

Imports nothing but `cryptography`, `pyjwt`, `urllib3`; adapters import their framework.
"""

from relying_party_sdk.bearer import AccessToken
from relying_party_sdk.client import RelyingParty
from relying_party_sdk.errors import (
    AccessError,
    AccountError,
    CallbackError,
    GrantRefused,
    ProviderError,
    RequestError,
    RPError,
    SessionEnded,
    SettingsError,
    StoreError,
    TokenError,
)
from relying_party_sdk.hooks import SignedIn, SignedOut
from relying_party_sdk.person import Attributes, Identifier, Organisation, Person, Requirement
from relying_party_sdk.service import Issued
from relying_party_sdk.settings import Settings
from relying_party_sdk.stores.links import Link
from relying_party_sdk.travel import Arrival, Departure, Leaving

__all__ = [
    "AccessError",
    "AccessToken",
    "AccountError",
    "Arrival",
    "Attributes",
    "CallbackError",
    "Departure",
    "GrantRefused",
    "Identifier",
    "Issued",
    "Leaving",
    "Link",
    "Organisation",
    "Person",
    "ProviderError",
    "RPError",
    "RelyingParty",
    "RequestError",
    "Requirement",
    "SessionEnded",
    "Settings",
    "SettingsError",
    "SignedIn",
    "SignedOut",
    "StoreError",
    "TokenError",
]
