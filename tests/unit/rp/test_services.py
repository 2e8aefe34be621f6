"""A window as a service: introspection, client credentials, JWT bearer (RFC 7523), token exchange (RFC 8693)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relying_party_sdk import ProviderError, RelyingParty, RPError, SettingsError
from relying_party_sdk.errors import GrantRefused, TokenError
from relying_party_sdk.introspect import process_introspection
from relying_party_sdk.resource import Needs, Presented
from relying_party_sdk.service import process_issued
from relying_party_sdk.testing import CITIZEN, FakeProvider, Fault
from relying_party_sdk.testing.provider import Login
from relying_party_sdk.transport import HttpResponse
from tests.unit.rp.conftest import Clock, Window, make_window


def _answer(value: Any, status: int = 200, media: str = "application/json") -> HttpResponse:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return HttpResponse(status, {"content-type": media}, raw)


@pytest.fixture(name="token")
def _token(window: Window, clock: Clock) -> str:
    """An access token of a person for the window."""
    apis = window.provider.apis
    return apis.give(window.provider._clients["window"], Login(CITIZEN, 2, clock.now), "", exp=int(clock.now) + 3600)


def _admit(window: Window, token: str, *, online: bool = True) -> str:
    presented = Presented(f"Bearer {token}", None, "GET", f"{window.settings.base_url}/api")
    try:
        window.party.resource.admit(presented, Needs(online=online))
    except RPError as error:
        return error.code
    return "ok"


# ---- introspection


def test_revoked_token_is_refused_online(window: Window, token: str, clock: Clock) -> None:
    """`online` asks the provider, believes its yes for five seconds at most, and its no at once."""
    calls = window.provider.calls
    assert [_admit(window, token) for _ in range(10)] == ["ok"] * 10
    assert calls["introspect"] == 1
    login = window.provider.apis.given[token].login
    assert login is not None
    login.live = False
    clock.pass_(5)
    assert [_admit(window, token), _admit(window, token)] == ["rp.token_inactive"] * 2
    assert calls["introspect"] == 3
    assert _admit(window, token, online=False) == "ok"


def test_bad_token_is_not_asked_about(window: Window) -> None:
    """What is refused here already costs the provider nothing."""
    assert _admit(window, "x.y.z") == "rp.token_format"
    assert window.provider.calls["introspect"] == 0


@pytest.mark.parametrize("fault", [Fault.DOWN, Fault.HTML, Fault.HUGE, Fault.REDIRECT])
def test_introspection_fails_closed(window: Window, token: str, fault: Fault) -> None:
    """A provider that is down, or answers anything else, means no: never yes."""
    assert _admit(window, token, online=False) == "ok"
    window.provider.faults.add(fault)
    assert _admit(window, token).startswith("rp.provider_")


@pytest.mark.parametrize(
    "answer",
    [
        {"active": False},
        {"active": "true"},
        {"active": 1},
        {},
        {"active": True, "sub": "another"},
        {"active": True, "iss": "https://attacker.example"},
        {"active": True, "jti": "another"},
    ],
)
def test_answers_that_are_no_yes(answer: dict[str, Any]) -> None:
    """Only the JSON value true, about the same token, is a yes (RFC 7662 §2.2)."""
    claims = {"sub": "x", "iss": "https://provider.example", "jti": "j"}
    process_introspection(_answer({"active": True, "sub": "x", "username": "y"}), claims)
    with pytest.raises(TokenError, match="token_inactive"):
        process_introspection(_answer(answer), claims)


@pytest.mark.parametrize("answer", [_answer(b"[]"), _answer({"active": True}, 201), _answer({"active": True}, 500)])
def test_introspection_that_cannot_be_read(answer: HttpResponse) -> None:
    """An answer of another status, or no object, is a fault of the provider."""
    with pytest.raises(ProviderError):
        process_introspection(answer, {})


# ---- tokens for services


@pytest.fixture(name="registry")
def _registry(provider: FakeProvider, window: Window, clock: Clock, tmp_path_factory: pytest.TempPathFactory) -> Window:
    """Another department's API at the same provider."""
    return make_window(provider, provider.settings(tmp_path_factory.mktemp("registry"), "registry"), clock)


@pytest.mark.parametrize("dpop", ["off", "on"])
def test_service_calls_a_service(
    window: Window, registry: Window, provider: FakeProvider, clock: Clock, dpop: str
) -> None:
    """Client credentials, proved by our key: the other API knows the client, and no person stands behind it."""
    provider.apis.audiences["window"] = ("registry",)
    party = RelyingParty(window.settings.with_(dpop=dpop), clock=clock)
    issued = party.services.client_credentials(scope="cases")
    assert (issued.expires_in, issued.scope, issued.issued_token_type) == (60.0, "cases", "")
    assert issued.access_token not in repr(issued)
    expected = "ok" if dpop == "off" else "rp.token_binding"
    assert _admit(registry, issued.access_token, online=False) == expected
    claims = provider.apis.given[issued.access_token].claims
    assert claims["sub"] == "service-window"
    party.close()
    registry.party.close()


def test_exchange_narrows_a_token(window: Window, registry: Window, provider: FakeProvider, token: str) -> None:
    """A received token becomes one for another API alone; the person behind it stays."""
    assert _admit(registry, token, online=False) == "rp.token_aud"
    issued = window.party.services.exchange(token, audience=["registry"], scope="cases")
    assert issued.issued_token_type == "urn:ietf:params:oauth:token-type:access_token"
    assert _admit(registry, issued.access_token, online=False) == "ok"
    assert _admit(window, issued.access_token, online=False) == "rp.token_aud"
    assert provider.refusals == []
    registry.party.close()


def test_jwt_bearer(window: Window, provider: FakeProvider) -> None:
    """An assertion by our own key about somebody becomes a token about them; it is used once."""
    services = window.party.services
    assertion = services.assertion("batch-17")
    issued = services.jwt_bearer(assertion)
    assert provider.apis.given[issued.access_token].claims["sub"] == "batch-17"
    with pytest.raises(GrantRefused) as refused:
        services.jwt_bearer(assertion)
    assert (refused.value.code, refused.value.error) == ("rp.grant_refused", "invalid_grant")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda services: services.exchange("not a token"), "invalid_request"),
        (lambda services: services.jwt_bearer("a.b.c"), "invalid_grant"),
        (lambda services: services.jwt_bearer(services.assertion("x", "https://attacker.example")), "invalid_grant"),
    ],
    ids=["exchange", "nonsense", "for-another"],
)
def test_refusals_are_typed(window: Window, call: Any, error: str) -> None:
    """The provider's no has its OAuth code, and nothing of the token is in the error."""
    with pytest.raises(GrantRefused) as refused:
        call(window.party.services)
    assert refused.value.error == error
    assert "not a token" not in str(refused.value)


def test_unknown_audience(window: Window, token: str) -> None:
    """A service that the provider does not know is `invalid_target` (RFC 8693 §2.2.2)."""
    with pytest.raises(GrantRefused) as refused:
        window.party.services.exchange(token, audience=["nobody"])
    assert refused.value.error == "invalid_target"


def test_secret_cannot_assert(window: Window, clock: Clock) -> None:
    """A client with a shared secret has no key to sign an assertion with."""
    settings = window.settings.with_(client_auth="client_secret_basic", client_secret="s")
    party = RelyingParty(settings, clock=clock)
    with pytest.raises(SettingsError):
        party.services.assertion("x")
    party.close()


@pytest.mark.parametrize(
    "value",
    [
        {"access_token": "a", "token_type": "DPoP"},
        {"access_token": "a", "token_type": "N_A"},
        {"access_token": "", "token_type": "Bearer"},
        {"access_token": "a", "token_type": "Bearer", "expires_in": -1},
        {"access_token": "a", "token_type": "Bearer", "scope": ["a"]},
        {"access_token": "a", "token_type": "Bearer", "issued_token_type": 7},
    ],
)
def test_answers_that_are_no_tokens(value: dict[str, Any]) -> None:
    """An answer of another shape gives no token."""
    with pytest.raises(ProviderError, match="provider_answer"):
        process_issued(_answer(value), bound=False)


def test_provider_down_is_no_refusal(window: Window, provider: FakeProvider) -> None:
    """A provider that cannot be asked is told apart from one that says no."""
    window.party.services.client_credentials()
    provider.faults.add(Fault.DOWN)
    with pytest.raises(ProviderError) as caught:
        window.party.services.client_credentials()
    assert (caught.value.code, isinstance(caught.value, GrantRefused)) == ("rp.provider_unreachable", False)
