"""The realm as code against a real Keycloak, with a bridge and windows that say what each test wants."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Playwright

from ca_bridge.errors import UpstreamError
from idp import flows
from idp.admin import Admin, connect
from idp.apply import apply_realm, plan
from idp.install import install
from idp.model import Flow
from idp.seed import seed
from idp.server import read_password
from tests.parts.chromium import ARGUMENTS, CHROMIUM
from tests.parts.realm import Key, Walker, subject
from tests.parts.realm_node import Realm, drift, registered, running_realm, send_logout, words
from tests.parts.realm_window import Window

pytestmark = pytest.mark.live
Json = dict[str, Any]
URN = "urn:crosshall:loa:"
CLAIMS = ("crosshall_subject", "crosshall_kind", "crosshall_level", "crosshall_auth_time", "crosshall_domain",
          "crosshall_checked_at", "crosshall_status_issued_at", "crosshall_rung")  # fmt: skip
NUMBERS = ("crosshall_level", "crosshall_auth_time", "crosshall_checked_at", "crosshall_status_issued_at")


@pytest.fixture(scope="module", name="running")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    with running_realm(tmp_path_factory.mktemp("realm")) as realm:
        yield realm


@pytest.fixture(name="realm")
def _realm(running: Realm, request: pytest.FixtureRequest) -> Realm:
    """The realm with a person nobody has seen, and an empty memory of what happened."""
    around = running.stage
    # No session of another test is this person's.
    letters = re.sub(r"[^a-z]", "", request.node.name)[-40:]
    around.person = "p1:" + letters.ljust(52, "a")
    around.level, around.sid, around.override, around.signer = 2, f"sid-{letters}", {}, None
    around.trips.clear()
    around.logouts.clear()
    around.called.clear()
    return running


def test_second_apply_writes_nothing(realm: Realm) -> None:
    """A realm that is as it must be is not touched: zero POST, PUT, DELETE."""
    realm.apply()
    assert realm.apply() == 0
    assert plan(realm.settings, realm.windows).changes == ()


def test_drift_is_reported_and_repaired(realm: Realm) -> None:
    """Each change by hand is in the plan, readable; a plan writes nothing; an apply repairs all; then zero writes."""
    drift(realm.admin)
    text = plan(realm.settings, realm.windows).text()
    for expected in (
        "registrationAllowed: true → false", "accessTokenLifespan: 86400 → 300",
        'config.validateSignature: "false" → "true"', 'config.jwtAuthorizationGrantEnabled: "true" → absent',
        "/*", "directAccessGrantsEnabled: true → false", "+ mapper police: introspection username",
        "- mapper police: leak", "offline_access", "~ flow crosshall-after-2", "DISABLED conditional-user-attribute",
    ):  # fmt: skip
        assert expected in text, text
    assert plan(realm.settings, realm.windows).text() == text
    assert realm.apply() > 0
    assert realm.apply() == 0
    aliases = {flow["alias"] for flow in realm.admin.read(f"{realm.admin.base}/authentication/flows")}
    assert "crosshall-after-2" in aliases
    assert "crosshall-after-1" not in aliases
    realm.window("police").sign_in(Walker(), acr_values=f"{URN}2")


def test_what_others_made_is_listed_and_left(realm: Realm) -> None:
    """A client that is not ours is reported, never changed; a window that is no longer registered is removed."""
    admin = realm.admin
    made = admin.post(f"{admin.base}/clients", {"clientId": "somebody-elses", "enabled": False})
    try:
        more = (*realm.windows, registered("gone", realm.stage.origin))
        apply_realm(realm.settings, more)
        done = apply_realm(realm.settings, realm.windows)
        assert [change.text() for change in done.plan.changes if change.kind == "client"] == ["- client gone"]
        assert "client somebody-elses" in done.plan.extras
        assert admin.read(f"{admin.base}/clients", clientId="somebody-elses")[0]["enabled"] is False
    finally:
        admin.delete(f"{admin.base}/clients/{made}")


def test_claims_in_all_five_places(realm: Realm) -> None:
    """ID and access token, userinfo, introspection, refreshed tokens: the contract's claims, numbers as numbers."""
    police, person = realm.window("police"), realm.stage.person
    answer = police.sign_in(Walker(), acr_values=f"{URN}2")
    again = police.refresh(answer["refresh_token"]).body
    places = {
        "id": police.verified(answer["id_token"]),
        "access": police.verified(answer["access_token"]),
        "userinfo": police.userinfo(answer["access_token"]),
        "introspection": police.introspect(again["access_token"]),
        "refreshed id": police.verified(again["id_token"]),
        "refreshed access": police.verified(again["access_token"]),
    }
    for place, claims in places.items():
        assert set(CLAIMS) <= set(claims), place
        assert all(type(claims[name]) is int for name in NUMBERS), place
        assert claims["crosshall_subject"] == subject(person, "police"), place
        if place != "userinfo":  # a flag on the mapper does not help there: windows read crosshall_level
            assert claims["acr"] == f"{URN}2", place
        assert person not in json.dumps(claims), place
    assert places["introspection"]["active"] is True
    assert places["introspection"]["username"] == subject(person, "police")
    assert realm.stage.trips[0]["acr_values"] == f"{URN}2"
    assert realm.stage.trips[0]["code_challenge_method"] == "S256"
    assert "client_secret" not in realm.stage.token_calls[-1]


def test_single_sign_on_without_joinable_values(realm: Realm) -> None:
    """The second window needs no trip to the bridge, and shares with the first no value that names the person."""
    browser = Walker()
    first = realm.window("police").sign_in(browser)
    second = realm.window("env").sign_in(browser)
    assert len(realm.stage.trips) == 1
    left = realm.window("police").verified(first["id_token"])
    right = realm.window("env").verified(second["id_token"])
    person = {name for name in left if name not in ("iss", "typ", "sid", "iat", "exp", "auth_time", "acr", *CLAIMS[1:])}
    assert not {str(left[name]) for name in person} & {str(right.get(name)) for name in person}
    assert right["crosshall_subject"] == subject(realm.stage.person, "env")
    assert not ({"name", "given_name", "preferred_username", "email", "realm_access"} & set(left))


def test_step_up_once(realm: Realm) -> None:
    """A higher level goes to the bridge once; what the session has needs no trip; new claims replace old."""
    browser, env = Walker(), realm.window("env")
    env.sign_in(browser, acr_values=f"{URN}2")
    realm.stage.level = 4
    claims = env.verified(env.sign_in(browser, acr_values=f"{URN}4")["id_token"])
    assert (claims["acr"], claims["crosshall_level"], len(realm.stage.trips)) == (f"{URN}4", 4, 2)
    env.sign_in(browser, acr_values=f"{URN}3")
    assert len(realm.stage.trips) == 2
    assert env.go(browser, acr_values=f"{URN}4", prompt="none").code


def test_a_level_not_reached_is_refused(realm: Realm) -> None:
    """CVE-2026-97176: an answer of the bridge below the level asked ends on our page, in a live session too."""
    browser, env = Walker(), realm.window("env")
    env.sign_in(browser, acr_values=f"{URN}2")
    page = env.go(browser, acr_values=f"{URN}4")
    assert page.status == 400
    assert "等级" in words(page)
    essential = json.dumps({"id_token": {"acr": {"essential": True, "values": [f"{URN}4"]}}})
    fresh = env.go(Walker(), claims=essential)
    assert fresh.code is None
    silent = env.go(browser, acr_values=f"{URN}4", prompt="none")
    assert silent.query["error"] in ("login_required", "interaction_required")


@pytest.mark.parametrize(
    "claims",
    [{"acr": None}, {"acr": "1"}, {"sub": ""}, {"sub": None}, {"nonce": "other"}, {"aud": "police"}, {"iss": "https://x"},
     {"exp": 1000}],
    ids=lambda claims: next(iter(claims)) + "-" + str(next(iter(claims.values()))),
)  # fmt: skip
def test_bad_answers_of_the_bridge(realm: Realm, claims: Json) -> None:
    """An ID token with a wrong acr, sub, nonce, aud, iss or exp signs nobody in."""
    realm.stage.override = claims
    page = realm.window("police").go(Walker())
    assert page.code is None
    assert page.status in (400, 502, 500), page.status


def test_forged_tokens_of_the_bridge(realm: Realm) -> None:
    """CVE-2026-18569: ID and logout tokens by another key, or unsigned, are refused; the session stays."""
    police = realm.window("police")
    answer = police.sign_in(Walker())
    good = realm.stage.logout_token()
    header, payload, _ = good.split(".")
    unsigned = f"eyJhbGciOiJub25lIn0.{payload}."
    realm.stage.signer = Key()
    assert police.go(Walker()).code is None
    assert send_logout(realm, realm.stage.logout_token()) == 400
    assert send_logout(realm, unsigned) == 400
    assert send_logout(realm, f"{header}.{payload}.AAAA") == 400
    assert realm.stage.called == []
    assert police.refresh(answer["refresh_token"]).status == 200


def test_logout_by_the_bridge_reaches_every_window(realm: Realm) -> None:
    """A logout token by sub ends the session: both windows are called, pairwise, and refresh is refused."""
    browser = Walker()
    first, second = realm.window("police").sign_in(browser), realm.window("env").sign_in(browser)
    assert send_logout(realm, realm.stage.logout_token()) == 200
    assert sorted(window for window, _ in realm.stage.called) == ["env", "police"]
    subs = {window: claims["sub"] for window, claims in realm.stage.called}
    assert subs["police"] == realm.window("police").verified(first["id_token"])["sub"]
    assert subs["police"] != subs["env"]
    assert realm.stage.person not in json.dumps(realm.stage.called)
    for window, answer in (("police", first), ("env", second)):
        assert realm.window(window).refresh(answer["refresh_token"]).status == 400
        assert realm.window(window).introspect(answer["access_token"]) == {"active": False}


def test_logout_by_the_window_reaches_the_bridge(realm: Realm) -> None:
    """RP-initiated logout returns at once, calls the bridge with its ID token, and the other window."""
    browser, police = Walker(), realm.window("police")
    answer = police.sign_in(browser)
    realm.window("env").sign_in(browser)
    home = "https://police.gd.localhost:8443/"
    query = urlencode({"id_token_hint": answer["id_token"], "post_logout_redirect_uri": home, "state": "s"})
    page = browser.get(f"{police.realm}/protocol/openid-connect/logout?{query}")
    assert page.url.startswith(home)
    assert "id_token_hint" in realm.stage.logouts[0]
    assert {window for window, _ in realm.stage.called} == {"police", "env"}


def test_another_person_in_a_live_session(realm: Realm) -> None:
    """Another person's certificate in the same browser is refused; the page, in four languages, shows no person key."""
    browser, police = Walker(), realm.window("police")
    police.sign_in(browser)
    realm.stage.person, realm.stage.level = "p1:" + "z" * 52, 3
    for language, expected in (
        ("zh-CN", "另一位人员"),
        ("zh-TW", "另一位人員"),
        ("en", "Another person"),
        ("pt", "Outra pessoa"),
    ):
        page = police.go(browser, acr_values=f"{URN}3", ui_locales=language)
        assert page.status == 400
        assert expected in words(page)
        assert "p1:" not in page.text


def test_requests_that_are_refused(realm: Realm) -> None:
    """A redirect URI off by one character, no or plain PKCE, implicit, offline_access, password: none gets through."""
    police = realm.window("police")
    wrong = police.go(Walker(), redirect_uri=police.redirect_uri + "/")
    assert wrong.status == 400
    assert "业务系统发来的登录请求不正确" in words(wrong)
    for changes in (
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"response_type": "token"},
        {"response_type": "id_token"},
        {"scope": "openid offline_access"},
        {"scope": "openid profile"},
    ):
        page = police.go(Walker(), **changes)
        assert page.code is None
        assert "error" in page.query or "error=" in page.url, changes
    assert police.go(Walker(), client_id="nobody").status == 400
    reply = police.call("token", {"grant_type": "password", "username": realm.stage.person, "password": "x"})
    assert reply.body["error"] == "unauthorized_client"
    assert police.call("token", {"grant_type": "client_credentials"}).body["error"] == "unauthorized_client"
    assert realm.stage.trips == []


def test_another_key_or_code_is_refused(realm: Realm) -> None:
    """Code with a wrong verifier, used twice, or by another window; an assertion by another key: no tokens."""
    police, env = realm.window("police"), realm.window("env")
    url, verifier = police.address()
    code = Walker().get(url).code or ""
    assert env.exchange(code, verifier).status == 400
    stranger = Window(police.realm, "police", Key(), police.redirect_uri)
    assert stranger.exchange(code, verifier).status in (400, 401)
    url, verifier = police.address()
    code = Walker().get(url).code or ""
    assert police.exchange(code, verifier[::-1]).status == 400
    url, verifier = police.address()
    code = Walker().get(url).code or ""
    assert police.exchange(code, verifier).status == 200
    assert police.exchange(code, verifier).status == 400


def test_pushed_requests_are_taken(realm: Realm) -> None:
    """RFC 9126: a window may push its request."""
    police = realm.window("police")
    verified = police.address()[0].partition("?")[2]
    reply = police.call("ext/par/request", dict(pair.split("=", 1) for pair in verified.split("&")) | {
        "redirect_uri": police.redirect_uri})  # fmt: skip
    assert reply.status == 201, reply.body
    query = urlencode({"client_id": "police", "request_uri": reply.body["request_uri"]})
    assert Walker().get(f"{police.realm}/protocol/openid-connect/auth?{query}").code


def test_account_pages_are_closed(realm: Realm) -> None:
    """Keycloak's account pages, which show the person key, are off in this realm."""
    browser = Walker()
    realm.window("police").sign_in(browser)
    page = browser.get(f"{realm.settings.keycloak.issuer}/account/")
    assert page.status in (401, 403, 404)
    assert realm.stage.person not in page.text


def interrupted_apply(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    """An apply that somebody stops while a flow is being built."""
    whole = flows.build

    def half(admin: Admin, name: str, flow: Flow) -> None:
        whole(admin, name, replace(flow, steps=flow.steps[:1]))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(flows, "build", half)
        with pytest.raises(KeyboardInterrupt):
            realm.apply()


def test_subject_survives_a_rebuilt_realm(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropped, half built, built again: the same crosshall_subject at both windows, in every place."""
    before = {name: realm.window(name).sign_in(Walker()) for name in ("police", "env")}
    old = {name: realm.window(name).verified(answer["id_token"]) for name, answer in before.items()}
    realm.drop()
    assert plan(realm.settings, realm.windows).text().startswith("+ realm gd")
    interrupted_apply(realm, monkeypatch)
    realm.apply()
    assert realm.apply() == 0
    for name in ("police", "env"):
        window = realm.window(name)
        answer = window.sign_in(Walker())
        places = (window.verified(answer["id_token"]), window.verified(answer["access_token"]),
                  window.userinfo(answer["access_token"]), window.introspect(answer["access_token"]))  # fmt: skip
        assert {place["crosshall_subject"] for place in places} == {old[name]["crosshall_subject"]}


def test_an_administrator_who_is_not(realm: Realm) -> None:
    """A wrong administrator's password: a typed error, and nothing of the realm is told."""
    node = realm.settings.keycloak
    with pytest.raises(UpstreamError) as caught:
        connect(node.internal, "gd", "admin", "wrong")
    assert caught.value.code == "realm.admin_login"


def test_log_names_nobody(realm: Realm) -> None:
    """After everything above, also the refusals, Keycloak's log holds no person key, no subject, no token."""
    realm.window("police").sign_in(Walker())
    log = realm.log()
    assert "p1:" not in log
    assert "s1:" not in log
    assert "eyJ" not in log


def test_only_elliptic_keys(realm: Realm) -> None:
    """The realm publishes ES256 keys only: what does not exist cannot be confused with another."""
    with urllib.request.urlopen(realm.settings.keycloak.jwks_url, timeout=10) as answer:
        assert {key["alg"] for key in json.load(answer)["keys"]} == {"ES256"}


def test_seed_is_claimed(running: Realm) -> None:
    """The seed's password opens no node that grew from it."""
    password = read_password(Path(str(seed(install()))) / "password")
    with pytest.raises(UpstreamError):
        connect(running.settings.keycloak.internal, "master", "admin", password)


@pytest.mark.parametrize("width", [390, 1280])
def test_keycloaks_own_pages_can_be_read_by_all(realm: Realm, playwright: Playwright, width: int) -> None:
    """WCAG 2.2 AA, by axe, of the error page and the sign-out page, at phone and desk width; nothing is cut off."""
    police = realm.window("police")
    wrong = police.address(redirect_uri="https://elsewhere.example/", ui_locales="zh-CN")[0]
    rules = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]}}
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
    try:
        page = browser.new_page(viewport={"width": width, "height": 844})
        for address in (wrong, f"{police.realm}/protocol/openid-connect/logout?ui_locales=pt"):
            page.goto(address)
            found = Axe().run(page, options=rules).response["violations"]
            assert not found, [(each["id"], each["nodes"][0]["html"]) for each in found]
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    finally:
        browser.close()
