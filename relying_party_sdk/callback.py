"""Coming back from the provider: what the query says, checked before any of it is used (RFC 6749 §4.1.2, RFC 9207)."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from relying_party_sdk.errors import AccessError, CallbackError, ProviderError, RPError
from relying_party_sdk.metadata import Metadata
from relying_party_sdk.request import Pending
from relying_party_sdk.sealing import digest
from relying_party_sdk.settings import Settings
from relying_party_sdk.strict import error_code

_NOT_GIVEN = (
    "access_denied",
    "login_required",
    "interaction_required",
    "consent_required",
    "account_selection_required",
)
_UNMET = ("interaction_required", "unmet_authentication_requirements")
_BUSY = ("temporarily_unavailable", "server_error")


@dataclass(frozen=True, slots=True)
class Returned:
    """The query of the callback, each parameter at most once."""

    state: str
    code: str
    error: str
    iss: str | None


def read_callback(query: Mapping[str, Sequence[str]]) -> Returned:
    """The parameters. Raises CallbackError `rp.callback` when one is there twice, or none that must be."""
    if any(len(query.get(name, ())) > 1 for name in ("state", "code", "error", "iss")):
        raise CallbackError("rp.callback", "a parameter twice")
    one = {name: query[name][0] for name in ("state", "code", "error", "iss") if query.get(name)}
    if not one.get("state") or len(one["state"]) > 256 or bool(one.get("code")) == bool(one.get("error")):
        raise CallbackError("rp.callback", "no state, or not one of code and error")
    return Returned(one["state"], one.get("code", ""), one.get("error", ""), one.get("iss"))


def dump(returned: Returned) -> bytes:
    """For the store."""
    return json.dumps(asdict(returned)).encode()


def load(raw: bytes) -> Returned:
    """From the store."""
    return Returned(**json.loads(raw))


def check_state(given: Sequence[str], expected: str) -> None:
    """Passes for one `state` whose SHA-256 is `expected`. Raises CallbackError `rp.logout_state`."""
    if len(given) != 1 or not expected or not hmac.compare_digest(digest(given[0]), expected):
        raise CallbackError("rp.logout_state", "came back from a sign-out that did not begin in this browser")


def check_browser(pending: Pending, browser: str) -> None:
    """Passes only in the browser that began. Raises CallbackError `rp.other_browser`."""
    if not browser or not hmac.compare_digest(pending.browser, digest(browser)):
        raise CallbackError("rp.other_browser", "begun in another browser, or cookies are refused")


def check_issuer(returned: Returned, metadata: Metadata, settings: Settings) -> None:
    """Passes only for an answer of the configured provider (RFC 9207 §2.4). Raises CallbackError `rp.callback_iss`."""
    if returned.iss is None and not metadata.iss_in_response:
        return
    if returned.iss != settings.issuer:
        raise CallbackError("rp.callback_iss", "iss is missing or of another provider")


def refusal(error: str, pending: Pending) -> RPError:
    """What a person is told of an error answer (OpenID Connect Core §3.1.2.6)."""
    code = error_code(error)
    if code in _UNMET and (pending.wanted.level > 1 or pending.wanted.max_age is not None):
        return AccessError("rp.level_unmet", f"the provider says {code}")
    if code in _NOT_GIVEN:
        return CallbackError("rp.denied", f"the provider says {code}")
    if code in _BUSY:
        return ProviderError("rp.provider_busy", f"the provider says {code}")
    return ProviderError("rp.provider_refused", f"authorization: {code}")
