"""Access tokens at an API: checked without a round trip, in every framework; every wrong one is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from relying_party_sdk import RelyingParty, Requirement, RPError, Settings
from relying_party_sdk.bearer import MOST
from relying_party_sdk.resource import Needs, Presented
from relying_party_sdk.testing import CITIZEN, OFFICER, FakeProvider, Fault
from relying_party_sdk.testing.provider import Login
from tests.unit.rp.applications import APPLICATIONS
from tests.unit.rp.conftest import Clock


class Api:
    """A window whose API is called with access tokens."""

    def __init__(self, provider: FakeProvider, settings: Settings, clock: Clock) -> None:
        self.provider = provider
        self.settings = settings
        self.party = RelyingParty(settings, clock=clock, sleep=lambda _: None)
        provider.register(settings, self.party.jwks)
        self.login = Login(CITIZEN, 2, clock.now)

    def token(self, client: str = "", **changes: Any) -> str:
        """An access token as the provider makes it, with changes."""
        found = self.provider._clients[client or self.settings.client_id]
        return self.provider.apis.give(found, self.login, "", **changes)

    def code(self, token: str, needs: Needs | None = None, scheme: str = "Bearer") -> str:
        """`ok`, or the code of the refusal."""
        presented = Presented(f"{scheme} {token}", None, "GET", f"{self.settings.base_url}/api")
        try:
            self.party.resource.admit(presented, needs or Needs())
        except RPError as error:
            return error.code
        return "ok"


@pytest.fixture(name="api")
def _api(provider: FakeProvider, settings: Settings, clock: Clock) -> Iterator[Api]:
    api = Api(provider, settings, clock)
    yield api
    api.party.close()


@pytest.fixture(name="site", params=APPLICATIONS)
def _site(
    request: pytest.FixtureRequest, provider: FakeProvider, tmp_path: Path, clock: Clock
) -> Iterator[tuple[Api, Client]]:
    api = Api(provider, provider.settings(tmp_path, store="memory:"), clock)
    with APPLICATIONS[request.param](api.party) as app:
        yield api, Client(app)
    api.party.close()


def _get(site: tuple[Api, Client], token: str, **more: Any) -> TestResponse:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return site[1].open("/api", base_url=site[0].settings.base_url, headers=headers, **more)


def test_every_framework_admits_and_refuses(site: tuple[Api, Client]) -> None:
    """A good token opens, by POST too; none, a broken one, a lower level, a smaller scope get their own challenge."""
    api, _ = site
    good = _get(site, api.token())
    assert (good.status_code, good.text) == (200, "window for citizen")
    assert _get(site, api.token(), method="POST", data={"a": "b"}).status_code == 200
    refusals = {
        "": (401, 'Bearer acr_values="urn:crosshall:loa:2", scope="crosshall"'),
        "x.y.z": (401, 'Bearer error="invalid_token", error_description="rp.token_format"'),
        "a, Bearer b": (400, 'Bearer error="invalid_request", error_description="rp.bearer_request"'),
        api.token(scope="openid"): (
            403,
            'Bearer error="insufficient_scope", error_description="rp.scope_unmet", scope="crosshall"',
        ),
    }
    api.login.level = 1
    refusals[api.token()] = (
        401,
        'Bearer error="insufficient_user_authentication", error_description="rp.level_unmet", '
        'acr_values="urn:crosshall:loa:2"',
    )
    for token, (status, challenge) in refusals.items():
        answer = _get(site, token)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (status, challenge)
        assert (answer.content_type, answer.headers["Cache-Control"]) == ("application/json", "no-store")
        assert set(answer.get_json()) == {"error", "say", "do", "number"}


def test_cookie_is_no_token(site: tuple[Api, Client]) -> None:
    """Neither a session's cookie nor a token in the address opens an API: no other site can send either for us."""
    api, client = site
    client.set_cookie("__Host-window-session", "A" * 80, domain="window.test", secure=True)
    answer = client.get(f"/api?access_token={api.token()}", base_url=api.settings.base_url)
    assert answer.status_code == 401
    assert "error=" not in answer.headers["WWW-Authenticate"]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"iss": "https://attacker.example"}, "rp.token_iss"),
    "issuer with a slash": ({"iss": None}, "rp.token_iss"),
    "another audience": ({"aud": "another"}, "rp.token_aud"),
    "no audience": ({"aud": None}, "rp.token_aud"),
    "audience of another type": ({"aud": {"window": 1}}, "rp.token_aud"),
    "part of an audience": ({"aud": "window2"}, "rp.token_aud"),
    "expired": ({"exp": 1_799_999_989}, "rp.token_expired"),
    "no exp": ({"exp": None}, "rp.token_expired"),
    "exp a text": ({"exp": "1900000000"}, "rp.token_expired"),
    "exp true": ({"exp": True}, "rp.token_expired"),
    "lives too long": ({"exp": 1_800_000_000 + 86_401}, "rp.token_expired"),
    "future": ({"iat": 1_800_000_011}, "rp.token_iat"),
    "no iat": ({"iat": None}, "rp.token_iat"),
    "not yet": ({"nbf": 1_800_000_011}, "rp.token_iat"),
    "nbf a text": ({"nbf": "0"}, "rp.token_iat"),
    "no sub": ({"sub": None}, "rp.token_sub"),
    "sub a number": ({"sub": 7}, "rp.token_sub"),
    "ID token": ({"typ": "ID"}, "rp.token_typ"),
    "refresh token": ({"typ": "Refresh"}, "rp.token_typ"),
    "logout token": ({"typ": "Logout"}, "rp.token_typ"),
    "no kind": ({"typ": None}, "rp.token_typ"),
    "no client": ({"azp": None}, "rp.token_azp"),
    "two clients": ({"client_id": "another"}, "rp.token_azp"),
    "client a list": ({"azp": ["window"]}, "rp.token_azp"),
    "bound by DPoP, without cnf": ({"typ": "DPoP"}, "rp.token_binding"),
    "bound to a certificate": ({"cnf": {"x5t#S256": "A" * 43}}, "rp.token_binding"),
    "bound twice": ({"cnf": {"jkt": "A" * 43, "x5t#S256": "A" * 43}}, "rp.token_binding"),
    "bound in another way": ({"cnf": {"jkt": "A" * 43, "kc-jkt-type": "other"}}, "rp.token_binding"),
    "cnf a text": ({"cnf": "x"}, "rp.token_binding"),
    "cnf of nothing": ({"cnf": {}}, "rp.token_binding"),
    "bound, sent as bearer": ({"cnf": {"jkt": "A" * 43}}, "rp.token_binding"),
}


@pytest.mark.parametrize(("changes", "code"), WRONG.values(), ids=WRONG.keys())
def test_wrong_access_token(api: Api, changes: dict[str, Any], code: str) -> None:
    """Each wrong access token is refused by its own code."""
    assert api.code(api.token(**changes)) == code


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
def test_token_of_rfc_9068(api: Api, typ: str) -> None:
    """The standard's own form is taken: the kind is in the header, `client_id` names the client."""
    mint = api.provider.mint
    claims = {**api.provider.apis.given[api.token(typ=None, azp=None)].claims, "client_id": "window"}
    assert api.code(mint.sign({"alg": "ES256", "typ": typ, "kid": mint.signing}, claims)) == "ok"
    for wrong in ("logout+jwt", "dpop+jwt", "jws", 7, ["at+jwt"]):
        assert api.code(mint.sign({"alg": "ES256", "typ": wrong, "kid": mint.signing}, claims)) == "rp.token_typ"


@pytest.mark.parametrize("alg", ["none", "HS256"])
def test_unsigned_and_symmetric(api: Api, alg: str) -> None:
    """Unsigned, or with the public key as an HMAC secret: refused by the settings' list, no key is looked at."""
    mint = api.provider.mint
    claims = dict(api.provider.apis.given[api.token()].claims)
    assert api.code(mint.sign({"alg": alg, "typ": "JWT", "kid": mint.signing}, claims)) == "rp.token_alg"


def test_key_of_somebody_else_and_crit(api: Api) -> None:
    """Another key under the same `kid`, an embedded key, and members that must be understood are refused."""
    mint, claims = api.provider.mint, dict(api.provider.apis.given[api.token()].claims)
    head = {"alg": "ES256", "typ": "JWT", "kid": mint.signing}
    assert api.code(mint.sign(head, claims, mint.new_key())) == "rp.token_signature"
    assert api.code(mint.sign({**head, "crit": ["exp"]}, claims)) == "rp.token_format"
    assert api.code(mint.sign({**head, "kid": "bogus"}, claims)) == "rp.token_key"
    assert api.code(mint.sign(head, {**claims, "pad": "x" * 20_000})) == "rp.token_format"


def test_clients_that_may_call(api: Api, provider: FakeProvider, clock: Clock) -> None:
    """`api_audience` is compared exactly, and with `api_clients` only tokens of those clients are taken."""
    narrow = api.settings.with_(api_audience="https://api.example", api_clients=("front",))
    party = RelyingParty(narrow, clock=clock)
    for changes, code in (
        ({"aud": ["https://api.example", "x"], "azp": "front"}, "ok"),
        ({"aud": "https://api.example", "azp": "window"}, "rp.token_azp"),
        ({"aud": "https://api.example/", "azp": "front"}, "rp.token_aud"),
        ({"azp": "front"}, "rp.token_aud"),
    ):
        token = api.token(**changes)
        api.party, kept = party, api.party
        assert api.code(token) == code
        api.party = kept
    party.close()


def test_person_behind_a_token(api: Api, clock: Clock) -> None:
    """Level, age, rung and status are the person's at use; a service has none; half a contract is an error."""
    api.login.level = 3
    fresh = Needs(Requirement(level=3, max_age=600, rung="near", status_max_age=900))
    token = api.token(exp=1_800_000_000 + 3600)
    assert api.code(token, fresh) == "ok"
    clock.pass_(601)
    assert api.code(token, fresh) == "rp.max_age_unmet"
    assert api.code(token, Needs(Requirement(status_max_age=600))) == "rp.status_unmet"
    assert api.code(token, Needs(Requirement(level=4))) == "rp.level_unmet"
    assert api.code(api.token(crosshall_rung="day"), fresh) == "rp.rung_unmet"
    assert api.code(api.token(crosshall_domain=None), Needs(Requirement(level=2))) == "rp.claims"
    service = api.provider.apis.give(api.provider._clients["window"], None, "")
    assert api.code(service) == "ok"
    assert api.code(service, Needs(Requirement(level=2))) == "rp.level_unmet"


def test_no_round_trip(api: Api, provider: FakeProvider) -> None:
    """A thousand tokens cost one fetch of the keys; a thousand with invented key ids cost none of their own."""
    assert all(api.code(api.token()) == "ok" for _ in range(50))
    mint, claims = provider.mint, dict(provider.apis.given[api.token()].claims)
    before = provider.calls["jwks"]
    assert before == 1
    for number in range(1000):
        assert api.code(mint.sign({"alg": "ES256", "kid": f"bogus-{number}"}, claims)) == "rp.token_key"
    assert provider.calls["jwks"] == before + 1


def test_bogus_ids_first_of_all(api: Api, provider: FakeProvider) -> None:
    """A process that has no keys yet, and sees only invented key ids, fetches once."""
    mint, claims = provider.mint, dict(provider.apis.given[api.token()].claims)
    for number in range(1000):
        assert api.code(mint.sign({"alg": "ES256", "kid": f"bogus-{number}"}, claims)) == "rp.token_key"
    assert provider.calls["jwks"] == 1


def test_rotation_is_seen_at_once(api: Api, provider: FakeProvider) -> None:
    """A key made just before signing is fetched, and tokens of the withdrawn one are no longer remembered as good."""
    old = api.token()
    assert api.code(old) == "ok"
    provider.mint.rotate()
    assert api.code(api.token()) == "ok"
    assert api.code(old) == "rp.token_key"


def test_remembered_token_ends_on_time(api: Api, clock: Clock) -> None:
    """What was checked is not checked again, and never remembered past `exp`; the leeway is not remembered at all."""
    token = api.token()
    assert api.code(token) == "ok"
    assert len(api.party.resource._bearer._checked) == 1
    clock.pass_(65)
    assert api.code(token) == "ok"  # within the leeway
    clock.pass_(5)
    assert api.code(token) == "rp.token_expired"


def test_memory_of_tokens_is_bounded(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tokens come, so many are remembered at most."""
    assert MOST == 10_000
    monkeypatch.setattr("relying_party_sdk.bearer.MOST", 10)
    for _ in range(25):
        assert api.code(api.token()) == "ok"
    assert len(api.party.resource._bearer._checked) <= 10


@pytest.mark.parametrize("by", ["sid", "sub"])
def test_sign_out_reaches_every_process(api: Api, clock: Clock, by: str) -> None:
    """A logout token ends access tokens: at once here and where they are new, within a second where remembered."""
    token, other = api.token(), RelyingParty(api.settings, clock=clock)
    stranger = api.provider.apis.give(api.provider._clients["window"], Login(OFFICER, 3, clock.now), "")
    third = RelyingParty(api.settings, clock=clock)

    def at(party: RelyingParty, text: str) -> str:
        api.party, kept = party, api.party
        try:
            return api.code(text)
        finally:
            api.party = kept

    assert at(other, token) == at(other, stranger) == api.code(token) == "ok"
    claims = api.provider.apis.given[token].claims
    named = {"sid": claims["sid"], "sub": None} if by == "sid" else {"sid": None, "sub": claims["sub"]}
    clock.pass_(0.5)
    api.party.back_channel(api.provider.logout_token("window", **named))
    assert api.code(token) == at(third, token) == "rp.token_ended"
    clock.pass_(1)
    assert at(other, token) == "rp.token_ended"
    assert at(other, stranger) == api.code(stranger) == "ok"
    clock.pass_(2)
    later = api.token()
    assert api.code(later) == ("ok" if by == "sub" else "rp.token_ended")
    for party in (other, third):
        party.close()


def test_provider_down(api: Api, provider: FakeProvider, clock: Clock, settings: Settings) -> None:
    """Tokens are checked while the provider is away: with keys in hand, and after a restart with those on disk."""
    assert api.code(api.token()) == "ok"
    token = api.token()
    provider.faults.add(Fault.DOWN)
    clock.pass_(30)
    restarted = RelyingParty(settings, clock=clock)
    api.party, kept = restarted, api.party
    assert api.code(token) == "ok"
    clock.pass_(86_400 + 600)
    assert api.code(api.token()) == "rp.provider_unreachable"
    api.party = kept
    assert api.code(api.token()) == "rp.provider_unreachable"
    restarted.close()


def test_kept_keys_are_ours_alone(api: Api, provider: FakeProvider, clock: Clock, settings: Settings) -> None:
    """The file is for the owner only; one that is damaged, foreign, or of another issuer is not believed."""
    assert api.code(api.token()) == "ok"
    path = settings.kept_keys
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.glob(f".{path.name}*")) == []
    good = path.read_bytes()
    provider.faults.add(Fault.DOWN)
    for raw in (b"", b"{}", good[:-1], good[::-1], b"x" * 2_000_000):
        path.write_bytes(raw)
        party = RelyingParty(settings, clock=clock)
        api.party, kept = party, api.party
        assert api.code(api.token()) == "rp.provider_unreachable"
        api.party = kept
        party.close()
    path.write_bytes(good)
    elsewhere = RelyingParty(settings.with_(issuer="https://other.example"), clock=clock)
    assert elsewhere._endpoint.keys.fetches == 0
    assert elsewhere._endpoint.keys._shared.fresh() is None
    elsewhere.close()


def test_empty_key_set_wipes_nothing(api: Api, provider: FakeProvider, clock: Clock) -> None:
    """A provider that publishes no keys for a moment (restarting) does not make known ones unknown."""
    assert api.code(api.token()) == "ok"
    token = api.token()
    kept = dict(provider.mint.keys)
    provider.mint.keys.clear()
    clock.pass_(601)
    provider.mint.keys.update(kept)
    changed = api.token()
    provider.mint.keys.clear()
    assert api.code(changed) == "ok"
    assert api.code(token) == "rp.token_expired"
