"""The relying party as an API: what comes with a request → an access token that is good for it, or an error.

In order, the cheap before the dear: form of the header, the token itself (`bearer`), the proof of possession where it
is bound to a key (RFC 9449 §7), and, on request, the provider's word that it is still active (RFC 7662).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from relying_party_sdk.bearer import AccessToken, Bearer
from relying_party_sdk.dpop import AGE, Proof, check_proof
from relying_party_sdk.errors import AccessError, RequestError, TokenError
from relying_party_sdk.introspect import Introspection
from relying_party_sdk.line import Line
from relying_party_sdk.person import Requirement
from relying_party_sdk.sealing import Sealer, b64, unb64
from relying_party_sdk.settings import Settings
from relying_party_sdk.stores.protocol import Clock, Store

NONCE_LIFE = 300.0
"""How long a nonce of ours can be used, seconds."""
_NONCE = "dpop-nonce"


@dataclass(frozen=True, slots=True)
class Presented:
    """What of a request concerns its authorization; `url` as the client wrote it, but for query and fragment."""

    authorization: str
    dpop: str | None
    method: str
    url: str


@dataclass(frozen=True, slots=True)
class Needs:
    """What an API asks: of the person behind the token, of the token's scope, and whether the provider is asked too."""

    person: Requirement = field(default_factory=Requirement)
    scopes: frozenset[str] = frozenset()
    online: bool = False


class Resource:
    """Admits requests with access tokens, for all threads. Raises RPError."""

    def __init__(
        self,
        settings: Settings,
        bearer: Bearer,
        introspection: Introspection,
        *,
        store: Store,
        sealer: Sealer,
        clock: Clock,
        line: Line,
    ) -> None:
        self._settings = settings
        self._bearer = bearer
        self._introspection = introspection
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._line = line

    def admit(self, presented: Presented, needs: Needs) -> AccessToken:
        """The token of a request that may go on.

        Raises AccessError (`rp.sign_in_required`: no token; `rp.scope_unmet`, `rp.level_unmet`, …), RequestError
        `rp.bearer_request`, TokenError, ProviderError, StoreError.
        """
        scheme, text = _credentials(presented.authorization)
        token = self._bearer.check(text)
        if scheme == "bearer" and token.jkt:
            raise TokenError("rp.token_binding", "bound to a key, and sent without a proof")  # RFC 9449 §7.2
        if scheme == "dpop":
            self._check_possession(presented, text, token)
        if needs.online:
            self._introspection.check(text, token.claims)
        if missing := needs.scopes - token.scopes:
            raise AccessError("rp.scope_unmet", f"without scope {' '.join(sorted(missing))}")
        self._check_person(token, needs.person)
        return token

    def nonce(self) -> str:
        """A nonce for the next proof: good in every process of this window, for five minutes."""
        return b64(self._sealer.seal(_NONCE, str(int(self._clock())).encode()))

    def _check_person(self, token: AccessToken, wanted: Requirement) -> None:
        if wanted == Requirement():
            return
        person = token.person
        if person is None:
            raise AccessError("rp.level_unmet", "no person stands behind the token")
        if (unmet := self._line.unmet(person, wanted)) is not None:
            raise unmet

    def _check_possession(self, presented: Presented, text: str, token: AccessToken) -> None:
        """RFC 9449 §4.3, §7.1: one proof, for this request and this token, by its key, used once."""
        if not token.jkt:
            raise TokenError("rp.token_binding", "sent as bound to a key, and it is not")
        if presented.dpop is None:
            raise TokenError("rp.dpop_proof", "no proof came with it")
        now, leeway = self._clock(), self._settings.leeway
        proof = check_proof(
            presented.dpop, method=presented.method, url=presented.url, now=now, leeway=leeway, access_token=text
        )
        if proof.jkt != token.jkt:
            raise TokenError("rp.dpop_proof", "by another key than the token's")
        self._check_nonce(proof, now)
        name = self._sealer.name("dpop", f"{proof.jkt} {proof.jti}")
        if not self._store.add_once("dpop", name, now + AGE + 2 * leeway + 1):
            raise TokenError("rp.dpop_proof", "used before")

    def _check_nonce(self, proof: Proof, now: float) -> None:
        if self._settings.api_dpop_nonce == "off":
            return
        try:
            opened = self._sealer.open(_NONCE, unb64(proof.nonce or ""))
        except ValueError:
            opened = None
        if opened is None or not -self._settings.leeway <= now - int(opened) <= NONCE_LIFE:
            raise TokenError("rp.dpop_nonce", "no nonce of ours, or an old one")


def _credentials(authorization: str) -> tuple[str, str]:
    """(scheme, token) of an `Authorization` field. Raises AccessError `rp.sign_in_required`, RequestError."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() not in ("bearer", "dpop"):
        raise AccessError("rp.sign_in_required", "no access token")
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", rest.strip(" ")):  # token68, RFC 9110 §11.2: two are none
        raise RequestError("rp.bearer_request", "not one access token")
    return scheme.lower(), rest.strip(" ")
