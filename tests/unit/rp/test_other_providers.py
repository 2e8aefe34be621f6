"""Any OpenID provider: standard claims, userinfo, secrets, other algorithms, keys without names, no PAR, no `iss`.

The modules of the OpenID Foundation's relying-party suite (basic, form-post, config, logout plans), a test a case.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import urllib3
from werkzeug.test import Client

from relying_party_sdk import RelyingParty, Requirement, Settings, SettingsError
from relying_party_sdk.clientauth import secret_proof
from relying_party_sdk.errors import ProviderError, RPError, TokenError
from relying_party_sdk.jwks import KeyCache, process_jwks
from relying_party_sdk.profile import Standard
from relying_party_sdk.testing import CITIZEN, OFFICER, Browser, FakeProvider, Fault
from relying_party_sdk.testing.conformance import Conformance
from relying_party_sdk.testing.minting import Mint
from relying_party_sdk.transport import HttpResponse
from relying_party_sdk.userinfo import process_userinfo
from tests.unit.rp.conftest import Clock


@pytest.fixture(name="other", params=["ES256", "RS256", "PS256"], scope="module")
def _other(request: pytest.FixtureRequest) -> Iterator[FakeProvider]:
    with FakeProvider(algorithm=request.param, standard=True, par=False) as provider:
        yield provider


@pytest.fixture(name="plain")
def _plain() -> Iterator[FakeProvider]:
    with FakeProvider(standard=True, par=False) as provider:
        provider.person = CITIZEN
        provider.iss = False
        yield provider


def _site(provider: FakeProvider, folder: Path, adapter: str, **changes: Any) -> tuple[Conformance, Browser]:
    values = {"userinfo": "on", "sign_out_return": "signed-out", "store": "memory:", **changes}
    app = Conformance(provider.settings(folder, **values), adapter)
    provider.register(app.settings, app.party.jwks)
    return app, Browser(Client(app), provider, app.settings.base_url)  # type: ignore[arg-type]


@pytest.fixture(name="site", params=["flask", "asgi"])
def _each(request: pytest.FixtureRequest, plain: FakeProvider, tmp_path: Path) -> Iterator[tuple[Conformance, Browser]]:
    app, browser = _site(plain, tmp_path, request.param)
    yield app, browser
    app.close()


@pytest.mark.parametrize("auth", ["private_key_jwt", "client_secret_basic", "client_secret_post"])
def test_every_way_to_prove_oneself(other: FakeProvider, tmp_path: Path, auth: str) -> None:
    """oidcc-client-test, -client-secret-basic: each way with each algorithm; a secret is encoded before base64."""
    other.person, other.login = CITIZEN, None
    secret = "" if auth == "private_key_jwt" else "a:b %+/密"
    app, browser = _site(other, tmp_path, "flask", client_auth=auth, client_secret=secret)
    page = browser.open("/start")
    assert (page.status, CITIZEN.subject("sub-window") in page.text) == (200, True), other.refusals
    assert (tmp_path / "window.pem").exists() == (auth == "private_key_jwt")
    app.close()


def test_wrong_secret(plain: FakeProvider, tmp_path: Path) -> None:
    """A provider that does not take our secret signs nobody in."""
    app, browser = _site(plain, tmp_path, "flask", client_auth="client_secret_basic", client_secret="right")
    plain.register(app.settings.with_(client_secret="wrong"), {})
    page = browser.open("/start")
    assert (page.status, "rp.provider_refused" in page.text) == (502, True)
    app.close()


def test_secret_is_encoded() -> None:
    """RFC 6749 §2.3.1: both parts are form-encoded, so that a colon in either cannot move the border."""
    proof = secret_proof("client_secret_basic", "a:b", "c d")
    assert proof.headers["Authorization"] == "Basic YSUzQWI6Yytk"
    assert "c d" not in repr(secret_proof("client_secret_post", "a", "c d"))


REFUSED = {
    Fault.WRONG_ISS: "rp.token_iss",
    Fault.NO_ISS: "rp.token_iss",
    Fault.WRONG_AUD: "rp.token_aud",
    Fault.NO_AUD: "rp.token_aud",
    Fault.NO_SUB: "rp.token_sub",
    Fault.NO_IAT: "rp.token_iat",
    Fault.FUTURE: "rp.token_iat",
    Fault.NO_EXP: "rp.token_expired",
    Fault.EXPIRED: "rp.token_expired",
    Fault.WRONG_NONCE: "rp.token_nonce",
    Fault.NO_NONCE: "rp.token_nonce",
    Fault.WRONG_AT_HASH: "rp.token_at_hash",
    Fault.ALG_NONE: "rp.token_alg",
    Fault.HMAC_PUBLIC_KEY: "rp.token_alg",
    Fault.BAD_SIGNATURE: "rp.token_signature",
    Fault.FOREIGN_KEY: "rp.token_signature",
    Fault.USERINFO_WRONG_SUB: "rp.userinfo_sub",
    Fault.USERINFO_NO_SUB: "rp.userinfo_sub",
    Fault.WRONG_ISSUER: "rp.issuer",
}


@pytest.mark.parametrize(("fault", "code"), REFUSED.items(), ids=str)
def test_wrong_answers(site: tuple[Conformance, Browser], plain: FakeProvider, fault: Fault, code: str) -> None:
    """-invalid-iss, -missing-aud, -nonce-invalid, -idtoken-sig-none, -userinfo-invalid-sub …: an error, by code."""
    plain.faults.add(fault)
    page = site[1].open("/start")
    assert (page.status, code in page.text) == (502 if code == "rp.issuer" else 403, True)
    assert CITIZEN.subject("sub-window") not in page.text
    if not code.startswith("rp.userinfo"):
        assert "nobody" in site[1].open("/").text


def test_kid_absent(site: tuple[Conformance, Browser], plain: FakeProvider) -> None:
    """-kid-absent-single-jwks is taken; -kid-absent-multiple-jwks is refused: nothing says which key it is."""
    plain.mint.named = False
    assert site[1].open("/start").status == 200
    plain.mint.rotate(keep=True)
    assert "rp.token_key" in site[1].open("/start").text


def test_named_token_and_nameless_key(plain: FakeProvider) -> None:
    """A token that names its key finds the only key without a name; the signature decides."""
    mint = Mint("https://provider.example", lambda: 1.0)
    mint.named = False
    answer = HttpResponse(200, {"content-type": "application/json"}, json.dumps(mint.jwks()).encode())
    assert KeyCache(lambda: process_jwks(answer), mint.clock, wait=1).find("x", "ES256").kid == ""
    with pytest.raises(TokenError, match="token_key"):
        KeyCache(lambda: process_jwks(answer), mint.clock, wait=1).find("x", "RS256")


def test_rotation(site: tuple[Conformance, Browser], plain: FakeProvider) -> None:
    """-signing-key-rotation(-just-before-signing): a key that is published as it is first used is found."""
    plain.faults.add(Fault.ROTATE_BEFORE_SIGNING)
    assert site[1].open("/start").status == 200


def test_userinfo(site: tuple[Conformance, Browser], plain: FakeProvider) -> None:
    """-scope-userinfo-claims, -userinfo-bearer-header: asked once a session, with the token in the header."""
    page = site[1].open("/start")
    assert ("张三" in page.text, "zhang@example.com" in page.text) == (True, True)
    site[1].open("/me")
    assert plain.calls["userinfo"] == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (HttpResponse(401, {}, b""), "rp.attributes"),
        (HttpResponse(500, {}, b""), "rp.provider_unreachable"),
        (HttpResponse(200, {"content-type": "text/html"}, b"<html>"), "rp.provider_answer"),
        (HttpResponse(200, {"content-type": "application/json"}, b'{"sub": ["a"]}'), "rp.userinfo_sub"),
        (HttpResponse(200, {"content-type": "application/jwt"}, b"\xff.a.b"), "rp.token_format"),
    ],
)
def test_userinfo_that_is_refused(settings: Settings, answer: HttpResponse, code: str) -> None:
    """Refusals, HTML, other types of `sub`, and signed answers that are not a token."""
    with pytest.raises(RPError) as caught:
        process_userinfo(answer, settings, lambda *_: pytest.fail("no key is needed"), "a")
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"sub": "a"}, ""),
        ({"sub": "b"}, "rp.userinfo_sub"),
        ({"sub": "a", "iss": "https://attacker.example"}, "rp.token_iss"),
        ({"sub": "a", "aud": "another"}, "rp.token_aud"),
    ],
)
def test_signed_userinfo(settings: Settings, claims: dict[str, str], code: str) -> None:
    """-userinfo-signed: verified with the provider's keys, for this client, from this provider."""
    mint = Mint(settings.issuer, lambda: 1.0)
    keys = HttpResponse(200, {"content-type": "application/json"}, json.dumps(mint.jwks()).encode())
    body = mint.sign({"alg": "ES256", "kid": mint.signing}, claims).encode()
    answer = HttpResponse(200, {"content-type": "application/jwt; charset=utf-8"}, body)
    find = KeyCache(lambda: process_jwks(keys), mint.clock, wait=1).find
    if not code:
        assert process_userinfo(answer, settings, find, "a") == {"sub": "a"}
        return
    with pytest.raises((TokenError, ProviderError), match=code):
        process_userinfo(answer, settings, find, "a")


@pytest.mark.parametrize("wrong", [{"alg": "none"}, {"alg": "HS256"}, {"events": None}, {"nonce": "n"}, {"aud": "x"},
                                   {"iss": "https://attacker.example"}, {"events": {"urn:other": {}}}])  # fmt: skip
def test_back_channel(site: tuple[Conformance, Browser], plain: FakeProvider, wrong: dict[str, Any]) -> None:
    """-backchannel-rp-initiated-logout-…: alg none, wrong alg, no or wrong event, nonce, aud, issuer are 400."""
    app, browser = site
    browser.open("/start")

    def call(token: str) -> int:
        return Client(app).post("/oidc/backchannel-logout", data={"logout_token": token}).status_code

    assert call(plain.logout_token("window", **wrong)) == 400
    assert "sub:" in browser.open("/").text
    assert call(plain.logout_token("window")) == 200
    assert "nobody" in browser.open("/").text


def test_rp_initiated_logout(site: tuple[Conformance, Browser], plain: FakeProvider) -> None:
    """-rp-init-logout: hint, post-logout address and state are sent, and the state that comes back is known."""
    browser = site[1]
    browser.open("/start")
    page = browser.open("/oidc/logout", method="POST")
    assert (page.status, page.address) == (200, f"{browser.base_url}/")
    assert plain.login is None


@pytest.mark.parametrize("fault", [Fault.LOGOUT_WRONG_STATE, Fault.LOGOUT_NO_STATE])
def test_logout_state(site: tuple[Conformance, Browser], plain: FakeProvider, fault: Fault) -> None:
    """-rp-init-logout-other-state, -no-state: the way back is handled, as an error; the session is over anyway."""
    browser = site[1]
    browser.open("/start")
    plain.faults.add(fault)
    page = browser.open("/oidc/logout", method="POST")
    assert (page.status, "rp.logout_state" in page.text) == (400, True)
    assert "nobody" in browser.open("/").text


def test_without_refresh_tokens(plain: FakeProvider, tmp_path: Path, clock: Clock) -> None:
    """A provider without refresh tokens: the session lasts as long as its access token."""
    plain.clock = plain.mint.clock = clock
    plain.refresh_tokens = False
    settings = plain.settings(tmp_path)
    party = RelyingParty(settings, clock=clock)
    plain.register(settings, party.jwks)
    cookie = _sign_in(party, plain)
    clock.pass_(59)
    assert party.current(cookie) is not None
    clock.pass_(2)
    assert party.current(cookie) is None
    party.close()


def _sign_in(party: RelyingParty, provider: FakeProvider, wanted: Requirement | None = None) -> str:
    departure = party.begin("/", wanted or Requirement())
    answer = urllib3.request("GET", departure.url, redirect=False)
    query = urllib3.util.parse_url(answer.headers["Location"]).query or ""
    return party.finish(parse_qs(query), {departure.cookie_name: departure.cookie}).cookie


def test_person_of_standard_claims(plain: FakeProvider, tmp_path: Path, clock: Clock) -> None:
    """`sub`, `acr` by the settings' list, `auth_time`; a refresh may leave out what the sign-in said."""
    plain.clock = plain.mint.clock = clock
    plain.person = OFFICER
    levels = tuple(f"urn:crosshall:loa:{level}" for level in (1, 2, 3))
    settings = plain.settings(tmp_path, acr_levels=levels)
    party = RelyingParty(settings, clock=clock)
    plain.register(settings, party.jwks)
    session = party.current(_sign_in(party, plain, Requirement(3)))
    assert session is not None
    person = party.person(session)
    assert (person.subject, person.level, person.kind) == (OFFICER.subject("sub-window"), 3, "")
    assert person.auth_time.timestamp() == clock.now
    assert plain.authorizations[-1]["acr_values"] == "urn:crosshall:loa:3"
    with pytest.raises(SettingsError, match="level 4"):
        party.begin("/", Requirement(4))
    assert party.unmet(person, Requirement(rung="closed")) is not None
    party.close()


def test_what_a_provider_does_not_tell_is_never_fresh() -> None:
    """Without `acr` level 1, without `auth_time` 1970: a page that asks for more is not met."""
    reader = Standard(("urn:a", "urn:b"))
    person = reader.person(reader.check({"sub": "x", "iat": 1_800_000_000}), lambda: pytest.fail("not asked"))
    assert (person.level, person.auth_time.year, person.status_issued_at.year) == (1, 1970, 1970)
    assert Requirement(max_age=86_400).unmet(person, 1_800_000_001) is not None
    assert reader.person({"sub": "x", "iat": 1, "acr": "urn:b"}, person.fetch).level == 2
    assert reader.acr_values(1) == "urn:a urn:b"
    assert reader.renew({"sub": "x", "iat": 1, "acr": "urn:b", "auth_time": 5}, {"sub": "x", "iat": 9}) == {
        "sub": "x", "iat": 9, "acr": "urn:b", "auth_time": 5,
    }  # fmt: skip


@pytest.mark.parametrize("claims", [{"acr": 2}, {"auth_time": "5"}, {"auth_time": True}, {"auth_time": -1},
                                    {"auth_time": 10**30}, {"auth_time": float("nan")}])  # fmt: skip
def test_mistyped_standard_claims(claims: dict[str, Any]) -> None:
    """A claim of another type, or a time that no calendar holds, is an error."""
    with pytest.raises(TokenError, match=r"rp\.claims"):
        Standard(()).check({"sub": "x", "iat": 1, **claims})


@pytest.mark.parametrize(
    "changes",
    [
        {"claims": "any"},
        {"claims": "standard", "attributes_url": "https://hall.example/attributes"},
        {"claims": "crosshall", "userinfo": "on"},
        {"claims": "crosshall", "acr_levels": ("urn:a",)},
        {"acr_levels": ("a", "b", "c", "d", "e")},
        {"acr_levels": ("a", "a")},
        {"acr_levels": ("a b",)},
        {"client_auth": "none"},
        {"client_auth": "client_secret_basic"},
        {"client_secret": "s"},
        {"response_mode": "fragment"},
        {"assertion_audience": "anything"},
        {"sign_out_return": "/elsewhere"},
    ],
)
def test_settings_that_do_not_hold(plain: FakeProvider, tmp_path: Path, changes: dict[str, Any]) -> None:
    """What does not belong together is refused at start."""
    with pytest.raises(SettingsError):
        plain.settings(tmp_path, **changes)


def test_assertion_for_the_token_endpoint(plain: FakeProvider, tmp_path: Path) -> None:
    """`assertion_audience` makes the assertion out for the token endpoint."""
    app, browser = _site(plain, tmp_path, "flask", assertion_audience="token_endpoint")
    assert browser.open("/start").status == 200
    app.close()


def test_iss_is_enforced_when_it_comes(site: tuple[Conformance, Browser], plain: FakeProvider) -> None:
    """A provider that does not advertise RFC 9207 needs no `iss`; a wrong one is refused all the same."""
    page = site[1].open("/start", stop_before="/oidc/callback")
    address = page.address.removeprefix(site[1].base_url)
    assert "iss=" not in address
    assert "rp.callback_iss" in site[1].open(f"{address}&iss=https%3A%2F%2Fattacker.example").text
