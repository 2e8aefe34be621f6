"""The attribute endpoint: what a window is registered for, to that window, while the person is signed in.

Each release is recorded first. The window shows the access token that Keycloak gave it: nothing of it is believed but
what the realm signed, and everything that is answered comes from the bridge's own session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ca_bridge.ceremony.services import Services
from ca_bridge.errors import ProviderError
from ca_bridge.provider.dpop import check_proof
from ca_bridge.provider.realm_keys import RealmKeys, check_times
from ca_bridge.provider.watcher import still_good
from ca_bridge.registry import Window, find_window
from ca_bridge.types import Capacity, Identity, Session

_CONFIRMED = frozenset(("jkt", "kc-jkt-type"))
"""Members of `cnf` as Keycloak 26.7 writes it for DPoP; one that is not known may be a condition of its own."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request shows of its right to be answered."""

    authorization: str
    proofs: tuple[str, ...] = ()
    """Every `DPoP` field."""
    method: str = "GET"


def release(services: Services, realm_keys: RealmKeys, shown: Shown) -> dict[str, Any]:
    """What the window behind this request may know of the person, recorded before it is returned.

    A token that is bound to a key counts with its proof only (RFC 9449 §7.2), one that is not as a bearer token only.

    Raises ProviderError: `provider.bearer` (no token), `provider.dpop`, `provider.token_form`,
    `provider.token_signature`, `provider.token_expired`, `provider.token_claims` (issuer, type, window or subject),
    `provider.no_attributes` (the window is registered for none), `provider.session_over`; UpstreamError
    `upstream.realm_keys`; StoreError.
    """
    scheme, token = _credentials(shown.authorization)
    claims = realm_keys.verify(token)
    check_times(claims, services.clock())
    window = _window(services, claims)
    _check_possession(services, shown, claims, scheme, token)
    subject = claims.get("crosshall_subject")
    if not isinstance(subject, str):
        raise ProviderError("provider.token_claims", "no crosshall_subject")
    if not window.attributes:
        raise ProviderError("provider.no_attributes", f"window {window.id}")
    session = services.sessions.by_subject(window.sector, subject)
    if session is not None and not still_good(services, session):
        session = None
    holder = services.sessions.holder(session.sid) if session else None
    if session is None or holder is None:
        raise ProviderError("provider.session_over", "no live session of that subject")
    services.releases.record(session.person, window.id, window.attributes)
    return {"subject": subject, "kind": session.capacity.value} | _chosen(window, session, holder.identity)


def _credentials(authorization: str) -> tuple[str, str]:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() not in ("bearer", "dpop") or not token or token != token.strip():
        raise ProviderError("provider.bearer", "no access token")
    return scheme.lower(), token


def _check_possession(services: Services, shown: Shown, claims: dict[str, Any], scheme: str, token: str) -> None:
    if "cnf" not in claims and claims["typ"] == "Bearer":
        if scheme != "bearer":
            raise ProviderError("provider.dpop", "sent as bound to a key, and it is not")
        return
    cnf = claims.get("cnf")
    jkt = cnf.get("jkt") if isinstance(cnf, dict) and set(cnf) <= _CONFIRMED else None
    if not isinstance(jkt, str):  # bound otherwise, to a certificate say: not checked here
        raise ProviderError("provider.dpop", "bound in a way that is not taken here")
    if scheme != "dpop":
        raise ProviderError("provider.dpop", "bound to a key, and sent without a proof")
    url = f"{services.settings.bridge.issuer}/attributes"
    check_proof(services, list(shown.proofs), token=token, jkt=jkt, method=shown.method, url=url)


def _window(services: Services, claims: dict[str, Any]) -> Window:
    """The registered window that the token was issued to."""
    if claims.get("iss") != services.settings.keycloak.issuer:
        raise ProviderError("provider.token_claims", "another issuer")
    # Keycloak writes the kind into the payload: ID, Refresh and Logout tokens open nothing here
    if claims.get("typ") not in ("Bearer", "DPoP"):
        raise ProviderError("provider.token_claims", "not an access token")
    azp = claims.get("azp")
    window = find_window(services.windows(), azp) if isinstance(azp, str) else None
    if window is None:
        raise ProviderError("provider.token_claims", "azp is no registered window")
    return window


def _chosen(window: Window, session: Session, identity: Identity) -> dict[str, Any]:
    every: dict[str, Any] = {
        "name": identity.name,
        "identifiers": [{"type": i.type.value, "state": i.state, "value": i.value} for i in identity.identifiers],
        "organisation": None,
    }
    # a citizen's certificate may name an employer: it is told only where the person acts for it
    if identity.organisation and session.capacity is not Capacity.CITIZEN:
        number = identity.organisation.identifier
        every["organisation"] = {
            "name": identity.organisation.name,
            "type": number.type.value,
            "state": number.state,
            "value": number.value,
        }
    return {name: every[name] for name in window.attributes}
