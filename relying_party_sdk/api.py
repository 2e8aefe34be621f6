"""HTTP of an API without a framework: a `Call` in, an access token out, or the `Reply` that says what is lacking.

Only the `Authorization` field counts, never a cookie: no other site can use what a browser holds. Refusals are JSON
with the challenge of RFC 6750 §3, RFC 9470 §3 (a sign-in that is not enough) and RFC 9449 §7.1.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable
from json import dumps
from urllib.parse import quote

from relying_party_sdk import words
from relying_party_sdk.bearer import AccessToken
from relying_party_sdk.client import RelyingParty
from relying_party_sdk.dpop import ALGORITHMS
from relying_party_sdk.errors import AccessError, RPError, TokenError
from relying_party_sdk.person import Requirement
from relying_party_sdk.resource import Needs, Presented
from relying_party_sdk.web import Call, Reply, Stopped

log = logging.getLogger("relying_party_sdk")

_ERRORS = {
    "rp.sign_in_required": (401, ""),
    "rp.bearer_request": (400, "invalid_request"),
    "rp.dpop_proof": (401, "invalid_dpop_proof"),
    "rp.dpop_nonce": (401, "use_dpop_nonce"),
    "rp.level_unmet": (401, "insufficient_user_authentication"),
    "rp.max_age_unmet": (401, "insufficient_user_authentication"),
    "rp.status_unmet": (401, "insufficient_user_authentication"),
    "rp.scope_unmet": (403, "insufficient_scope"),
}
"""Status and error of the challenge (RFC 6750 §3.1, RFC 9470 §3, RFC 9449 §7.1, §9); every other token error below."""


def needs(
    level: int = 1,
    max_age: int | None = None,
    rung: str | None = None,
    status_max_age: int | None = None,
    *,
    scope: str = "",
    online: bool = False,
) -> Needs:
    """What an API asks: level, age of the sign-in and rung as of a page; scopes, separated by spaces.

    `online`: the provider is asked as well whether the token is active. Raises ValueError for what cannot be met.
    """
    return Needs(Requirement(level, max_age, rung, status_max_age), frozenset(scope.split()), online)


class Api:
    """The API of one relying party."""

    def __init__(self, party: RelyingParty) -> None:
        self.party = party

    def admit(self, call: Call, wanted: Needs) -> AccessToken:
        """The token of a call that may go on. Raises Stopped with the answer for one that may not."""
        headers, settings = call.headers, self.party.settings
        url = settings.base_url + quote(call.path, safe="/-._~!$&'()*+,;=:@")
        presented = Presented(headers.get("authorization", ""), headers.get("dpop"), call.method, url)
        try:
            return self.party.resource.admit(presented, wanted)
        except RPError as error:
            raise Stopped(self.refuse(call, error, wanted)) from error

    def refuse(self, call: Call, error: RPError, wanted: Needs) -> Reply:
        """The answer for an error: JSON, and a challenge where another token would help."""
        number = secrets.token_hex(4)
        log.log(logging.INFO if isinstance(error, AccessError) else logging.WARNING, "%s [%s]", error, number)
        text = words.words(error.code, words.pick_language(call.headers.get("accept-language", "")))
        status, code = _ERRORS.get(error.code, (401, "invalid_token") if isinstance(error, TokenError) else (0, ""))
        reply = Reply(status or text.status)
        reply.headers.append(("Content-Type", "application/json"))
        if error.code in _ERRORS or isinstance(error, TokenError):
            reply.headers.append(("WWW-Authenticate", self._challenge(call, error.code, code, wanted)))
        if error.code == "rp.dpop_nonce":
            reply.headers.append(("DPoP-Nonce", self.party.resource.nonce()))
        body = {"error": error.code, "say": text.say, "do": text.do, "number": number}
        reply.body = dumps(body, ensure_ascii=False).encode()
        return reply

    def _challenge(self, call: Call, code: str, error: str, wanted: Needs) -> str:
        asked: list[tuple[str, str]] = []
        if error:
            asked += [("error", error), ("error_description", code)]
        if error in ("", "insufficient_user_authentication"):
            asked += self.party.asked(wanted.person)
        if wanted.scopes and error in ("", "insufficient_scope"):
            asked.append(("scope", " ".join(sorted(wanted.scopes))))
        algorithms = [("algs", " ".join(ALGORITHMS))]
        if call.headers.get("authorization", "").lower().startswith("dpop") or error.endswith(("dpop_proof", "nonce")):
            return f"DPoP {_parameters([*asked, *algorithms])}"
        bearer = f"Bearer {_parameters(asked)}".rstrip()
        bound = not error and self.party.settings.dpop == "on"
        return f"{bearer}, DPoP {_parameters(algorithms)}" if bound else bearer


def _parameters(pairs: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f'{name}="{value}"' for name, value in pairs)
