"""What the provider signs: ID tokens for the realm, from a white list of claims, and logout tokens. ES256, `kid`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import jwt as pyjwt
from joserfc import jwt

from ca_bridge.ceremony.services import Services
from ca_bridge.errors import ProviderError
from ca_bridge.provider.keys import ALGORITHM, SigningKeys
from ca_bridge.registry import sectors
from ca_bridge.types import Session, loa

ID_TOKEN_LIFETIME = timedelta(seconds=120)
LOGOUT_TOKEN_LIFETIME = timedelta(seconds=120)
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_MAX_HINT = 16 * 1024
_PLAIN = (
    *("iss", "sub", "aud", "iat", "exp", "auth_time", "acr", "sid", "crosshall_kind", "crosshall_level"),
    *(
        "crosshall_auth_time",
        "crosshall_domain",
        "crosshall_checked_at",
        "crosshall_status_issued_at",
        "crosshall_rung",
    ),
)


class Tokens:
    """Makes and reads the provider's own tokens."""

    def __init__(self, services: Services, keys: SigningKeys) -> None:
        self._services = services
        self._keys = keys
        self._issuer = services.settings.bridge.issuer
        self._client = services.settings.keycloak.client_id

    def id_token(self, session: Session, nonce: str) -> str:
        """The ID token of `session` for the realm: the full claim set each time, texts only, never a name.

        Complete because Keycloak keeps the old value of a claim that is left out; texts because it drops anything else.
        """
        now = self._services.clock()
        return self._sign("JWT", claims_of(self._services, session, now) | {"nonce": nonce}, now)

    def logout_token(self, person: str, sid: str, token_id: str) -> str:
        """A logout token (Back-Channel Logout §2.4) for one session, or, `sid` empty, for all of the person's."""
        now = self._services.clock()
        who = {"sid": sid} if sid else {"sub": person}
        claims = {
            "iss": self._issuer,
            "aud": self._client,
            "iat": int(now.timestamp()),
            "exp": int((now + LOGOUT_TOKEN_LIFETIME).timestamp()),
            "jti": token_id,
            "events": {LOGOUT_EVENT: {}},
        }
        return self._sign("logout+jwt", claims | who, now)

    def read_hint(self, hint: str) -> str:
        """The sid in an ID token of ours, as `id_token_hint`: signature, issuer and audience checked, age not.

        An old one will do (RP-Initiated Logout §2). Raises ProviderError `provider.logout_hint`.
        """
        try:
            if len(hint) > _MAX_HINT:
                raise ValueError("too long")
            header = pyjwt.get_unverified_header(hint)
            key = self._keys.ring().find(str(header.get("kid")), self._services.clock())
            if key is None or header.get("typ") != "JWT":
                raise ValueError("not an ID token of ours")
            claims: dict[str, Any] = pyjwt.decode(
                hint,
                pyjwt.PyJWK(dict(key.as_dict(private=False)) | {"alg": ALGORITHM}),
                algorithms=[ALGORITHM],
                audience=self._client,
                issuer=self._issuer,
                options={"verify_exp": False, "verify_iat": False, "require": ["sid"]},
            )
            sid = claims["sid"]
            if not isinstance(sid, str) or not sid:
                raise ValueError("no sid")
        except (pyjwt.PyJWTError, ValueError, TypeError) as error:
            raise ProviderError("provider.logout_hint", type(error).__name__) from error
        return sid

    def _sign(self, typ: str, claims: dict[str, Any], now: datetime) -> str:
        key = self._keys.ring().signing(now)
        return jwt.encode({"alg": ALGORITHM, "kid": key.thumbprint(), "typ": typ}, claims, key, algorithms=[ALGORITHM])


def claims_of(services: Services, session: Session, now: datetime) -> dict[str, Any]:
    """The claims of an ID token but `nonce`: the white list of docs/contracts.md, each made here from the session."""
    person_keys = services.person_keys
    subjects = {
        f"crosshall_subject_{sector}": person_keys.subject(sector, session.person)
        for sector in sectors(services.windows())
    }
    return {
        "iss": services.settings.bridge.issuer,
        "sub": session.person,
        "aud": services.settings.keycloak.client_id,
        "iat": int(now.timestamp()),
        "exp": int((now + ID_TOKEN_LIFETIME).timestamp()),
        "auth_time": int(session.auth_time.timestamp()),
        "acr": loa(session.level),
        "sid": session.sid,
        **subjects,
        "crosshall_kind": session.capacity.value,
        "crosshall_level": str(session.level),
        "crosshall_auth_time": _seconds(session.auth_time),
        "crosshall_domain": session.domain,
        "crosshall_checked_at": _seconds(session.checked_at),
        # unknown is as old as can be, never as new
        "crosshall_status_issued_at": _seconds(session.status_issued_at) if session.status_issued_at else "0",
        "crosshall_rung": session.rung,
    }


def claims_supported(services: Services) -> list[str]:
    """The names of every claim that an ID token may hold."""
    return sorted([*_PLAIN, "nonce", *(f"crosshall_subject_{sector}" for sector in sectors(services.windows()))])


def _seconds(time: datetime) -> str:
    return str(int(time.timestamp()))
