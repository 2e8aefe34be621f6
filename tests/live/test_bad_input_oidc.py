"""What the hall, the realm and the windows must withstand as OpenID parties: codes, requests, tokens, levels, rates."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from bench.relying_party import CLIENT, RelyingParty
from demo.browser import Browser, Page
from demo.personas import Persona, persona
from demo.selfcheck import new_browser, sign_in
from demo.stack import Demo
from tests.live import raw
from tests.live.alone import alone
from tests.live.ceremony import SignIn, begin, begin_in, button
from tests.live.witness import Log, assert_refused, codes, refusal, rows, sids

pytestmark = pytest.mark.live
ZHANG, LI, FILE, WANG = map(persona, ("gd-zhang", "gz-li", "gd-zhang-file", "gd-wang-officer"))
LOGOUT = "http://schemas.openid.net/event/backchannel-logout"


def broker(demo: Demo) -> str:
    """Where the hall's codes come back to the realm."""
    return demo.settings.keycloak.redirect_uri


def authorization_request(demo: Demo) -> tuple[Browser, dict[str, str]]:
    """The parameters of a real request of the realm to the hall, and the browser that carries it."""
    browser = Browser(demo.pki.tls_ca, stop_at=f"{demo.addresses.url('hall')}/authorize")
    page = browser.get(f"{demo.addresses.url('police')}/me")
    browser.stop_at = ""
    return browser, {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def signed_in(demo: Demo, who: Persona) -> tuple[Browser, Page]:
    """A browser in which `who` is signed in at the police window."""
    browser = new_browser(demo.pki, who)
    page = sign_in(browser, demo.addresses)
    assert urlsplit(page.url).hostname == demo.addresses.host("police"), page.url
    return browser, page


def still_in(demo: Demo, browser: Browser) -> bool:
    """Whether the browser is signed in at the police window."""
    return urlsplit(browser.get(f"{demo.addresses.url('police')}/me").url).hostname == demo.addresses.host("police")


# ---- the hall's provider, as far as an outsider reaches


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"redirect_uri": "+"}, "provider.redirect_uri"),
        ({"redirect_uri": "upper"}, "provider.redirect_uri"),
        ({"redirect_uri": None}, "provider.redirect_uri"),
        ({"client_id": "police"}, "provider.client"),
        ({"client_id": None}, "provider.client"),
    ],
    ids=["one character more", "one letter's case", "none", "another client", "no client"],
)
def test_a_request_that_is_not_the_realms(demo: Demo, changed: dict[str, str | None], code: str) -> None:
    """A redirect_uri that differs in one character, or another client, ends on our page: nothing is redirected."""
    browser, asked = authorization_request(demo)
    for name, value in changed.items():
        real = asked.pop(name)
        if value is not None:
            asked[name] = {"+": real + "/", "upper": real.replace("realms", "Realms")}.get(value, value)
    with refusal(demo, code):
        page = browser.once("GET", f"{demo.addresses.url('hall')}/authorize?{urlencode(asked)}")
    assert_refused(page, code)
    assert "Location" not in page.headers


@pytest.mark.parametrize(
    "changed",
    [
        {"code_challenge": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": None},
        {"nonce": None},
        {"response_type": "token"},
        {"response_type": "id_token token"},
        {"scope": "profile"},
        {"request_uri": "https://evil.invalid/r"},
        {"prompt": "none login"},
        {"acr_values": "urn:crosshall:loa:9"},
    ],
    ids=lambda changed: "-".join(map(str, *changed.items())),
)
def test_an_unsafe_request(demo: Demo, changed: dict[str, str | None]) -> None:
    """Without PKCE S256, nonce or code flow no sign-in begins: the realm gets an error with `iss`, never a page."""
    browser, asked = authorization_request(demo)
    asked = {name: value for name, value in (asked | changed).items() if value is not None}
    answer = browser.once("GET", f"{demo.addresses.url('hall')}/authorize?{urlencode(asked)}")
    assert answer.status in (302, 303)
    assert answer.headers["Location"].startswith(broker(demo) + "?")
    said = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert "code" not in said
    assert said["error"]
    assert said["iss"] == [demo.settings.bridge.issuer]
    assert said["state"] == [asked["state"]]


def _code_for_the_realm(demo: Demo) -> tuple[Browser, str]:
    """A browser on its way to the realm with a code of the hall, and that address."""
    here = begin(demo, ZHANG)
    there = here.certificate_page()
    here.browser.stop_at = broker(demo)
    return here.browser, here.browser.submit(there, button(there)).url


def _assertion(demo: Demo, key: ec.EllipticCurvePrivateKey, **changed: object) -> dict[str, str]:
    now = int(time.time())
    claims = {"iss": "keycloak", "sub": "keycloak", "aud": demo.settings.bridge.issuer, "iat": now, "exp": now + 60}
    token = jwt.encode({**claims, "jti": "j" * 22, **changed}, key, "ES256", headers={"kid": "another"})
    return {
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": token,
    }


def test_a_code_without_the_realms_key(demo: Demo) -> None:
    """A code that leaked is worth nothing without the realm's key, and stays good for the realm."""
    browser, url = _code_for_the_realm(demo)
    code = parse_qs(urlsplit(url).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": broker(demo), "code_verifier": "v" * 43}
    stranger = ec.generate_private_key(ec.SECP256R1())
    token = f"{demo.addresses.url('hall')}/token"
    log = Log(demo)
    for proof in ({}, {"client_id": "keycloak"}, {"client_id": "keycloak", "client_secret": "x"},
                  _assertion(demo, stranger), _assertion(demo, stranger, aud="https://elsewhere.invalid")):  # fmt: skip
        answer = Browser(demo.pki.tls_ca).post(token, {**form, **proof})
        assert answer.status in (400, 401)
        assert json.loads(answer.text)["error"] == "invalid_client"
        assert "id_token" not in answer.text
    assert code not in log.text()
    browser.stop_at = ""
    assert urlsplit(browser.get(url).url).hostname == demo.addresses.host("police")


def test_the_halls_code_used_twice(demo: Demo) -> None:
    """The realm's address with a code of the hall signs in once; again, here or in another browser, it does not."""
    browser, url = _code_for_the_realm(demo)
    browser.stop_at = ""
    assert urlsplit(browser.get(url).url).hostname == demo.addresses.host("police")
    thief = Browser(demo.pki.tls_ca)
    for again in (browser, thief):
        page = again.get(url)
        assert page.status >= 400, page.url
        assert ZHANG.name not in page.text
    assert not still_in(demo, thief)
    assert still_in(demo, browser)


# ---- the realm, as a window's own key reaches it


@pytest.fixture(scope="module", name="party")
def _party(demo: Demo) -> Iterator[RelyingParty]:
    with RelyingParty(demo) as party:
        yield party


@contextmanager
def _code_for_a_window(demo: Demo, party: RelyingParty) -> Iterator[tuple[dict[str, str], str]]:
    """The form that would exchange a fresh code of the realm, and the token endpoint."""
    browser = new_browser(demo.pki, LI)
    browser.stop_at = party.redirect_uri
    request = party.begin(demo.settings.keycloak.issuer)
    here = SignIn(demo, browser, browser.get(request.url))
    there = here.certificate_page()
    back = parse_qs(urlsplit(browser.submit(there, button(there)).url).query)
    yield (
        {
            "grant_type": "authorization_code",
            "code": back["code"][0],
            "redirect_uri": party.redirect_uri,
            "code_verifier": request.verifier,
            **party.assertion(request.issuer),
        },
        f"{request.issuer}/protocol/openid-connect/token",
    )


@pytest.mark.parametrize("wrong", ["code_verifier", "redirect_uri", "client_assertion", "aud"])
def test_a_windows_code_with_one_thing_wrong(demo: Demo, party: RelyingParty, wrong: str) -> None:
    """A wrong verifier, a redirect_uri off by one character, an assertion by another key: no tokens."""
    stranger = ec.generate_private_key(ec.SECP256R1())
    with _code_for_a_window(demo, party) as (form, url):
        if wrong == "client_assertion":
            claims = jwt.decode(form[wrong], options={"verify_signature": False})
            form[wrong] = jwt.encode(claims, stranger, "ES256", headers={"kid": CLIENT})
        elif wrong == "aud":
            form.update(party.assertion("https://elsewhere.invalid"))
        else:
            form[wrong] = form[wrong][:-1] + ("x" if form[wrong][-1] != "x" else "y")
        answer = Browser(demo.pki.tls_ca).post(url, form)
    assert answer.status in (400, 401), answer.text
    assert "access_token" not in answer.text


def test_a_windows_code_used_twice(demo: Demo, party: RelyingParty) -> None:
    """The second use of a code gets nothing and ends what the first one got (RFC 6749 §4.1.2)."""
    calls = Browser(demo.pki.tls_ca)
    with _code_for_a_window(demo, party) as (form, url):
        first = calls.post(url, form)
        assert first.status == 200, first.text
        again = calls.post(url, {**form, **party.assertion(demo.settings.keycloak.issuer)})
    assert again.status == 400
    assert "access_token" not in again.text
    refresh = {"grant_type": "refresh_token", "refresh_token": json.loads(first.text)["refresh_token"]}
    after = calls.post(url, {**refresh, **party.assertion(demo.settings.keycloak.issuer)})
    assert after.status == 400, after.text


def test_a_windows_redirect_uri(demo: Demo, party: RelyingParty) -> None:
    """A redirect_uri that differs in one character ends on the realm's page in our words, and goes nowhere."""
    right = urlencode({"": party.redirect_uri})[1:]
    asked = party.begin(demo.settings.keycloak.issuer).url
    assert right in asked
    page = Browser(demo.pki.tls_ca).get(asked.replace(right, right[:-1] + "K"))
    assert (page.status, urlsplit(page.url).hostname) == (400, demo.addresses.host("sso"))
    assert "业务系统发来的登录请求不正确" in page.text


# ---- tokens


def _logout_token(issuer: str, audience: str, key: ec.EllipticCurvePrivateKey | None, **changed: object) -> str:
    now = int(time.time())
    claims = {"iss": issuer, "aud": audience, "iat": now, "exp": now + 60, "jti": f"j{now}", "events": {LOGOUT: {}}}
    claims |= {"sub": "someone", "sid": "some-session", **changed}
    if key is None:
        return jwt.encode(claims, "", "none")
    return jwt.encode(claims, key, "ES256", headers={"typ": "logout+jwt"})


def test_forged_logout_tokens_to_the_realm(demo: Demo) -> None:
    """An unsigned logout token, or one by another key, ends no session of the realm."""
    browser, _ = signed_in(demo, ZHANG)
    calls, stranger = Browser(demo.pki.tls_ca), ec.generate_private_key(ec.SECP256R1())
    [(person,)] = rows(demo, "SELECT person FROM sessions ORDER BY created DESC LIMIT 1")
    for key in (None, stranger):
        token = _logout_token(demo.settings.bridge.issuer, "keycloak", key, sub=person)
        answer = calls.post(f"{demo.settings.keycloak.issuer}/protocol/openid-connect/logout/backchannel-logout",
                            {"logout_token": token})  # fmt: skip
        assert answer.status == 400, answer.text
    env = browser.get(f"{demo.addresses.url('env')}/me")
    assert urlsplit(env.url).hostname == demo.addresses.host("env")


@pytest.mark.parametrize("kind", ["unsigned", "another key", "no token", "not a token", "two", "too long"])
def test_forged_logout_tokens_to_a_window(demo: Demo, kind: str) -> None:
    """A window takes a logout token of the realm only: 400 with a code, a line in its log, and the person stays in."""
    browser, _ = signed_in(demo, ZHANG)
    issuer, stranger = demo.settings.keycloak.issuer, ec.generate_private_key(ec.SECP256R1())
    body = {
        "unsigned": urlencode({"logout_token": _logout_token(issuer, "police", None)}),
        "another key": urlencode({"logout_token": _logout_token(issuer, "police", stranger)}),
        "no token": "",
        "not a token": "logout_token=abc",
        "two": "logout_token=abc&logout_token=def",
        "too long": "logout_token=" + "a" * 70_000,
    }[kind]
    log = Log(demo, "police")
    answer = Browser(demo.pki.tls_ca).once("POST", f"{demo.addresses.url('police')}/oidc/backchannel-logout", body)
    if kind == "too long":
        assert answer.status == 413  # the window's own limit, before the SDK reads it
    else:
        assert answer.status == 400, answer.text
        assert json.loads(answer.text)["error"] == "invalid_request"
    if kind in ("unsigned", "another key", "not a token"):
        code = json.loads(answer.text)["error_description"]
        assert code.startswith("rp.")
        assert code in log.text()
    assert still_in(demo, browser)


@pytest.mark.parametrize("kind", ["none", "unsigned", "another key", "not a token", "id token"])
def test_attributes_for_a_forged_token(demo: Demo, party: RelyingParty, kind: str) -> None:
    """The attribute endpoint gives a name to a window's access token of the realm, and to nothing else."""
    issuer, now = demo.settings.keycloak.issuer, int(time.time())
    claims = {"iss": issuer, "azp": "police", "aud": "police", "exp": now + 60, "iat": now, "sid": "s", "typ": "Bearer"}
    stranger = ec.generate_private_key(ec.SECP256R1())
    calls = Browser(demo.pki.tls_ca)
    token = {
        "none": "",
        "unsigned": jwt.encode(claims, "", "none"),
        "another key": jwt.encode(claims, stranger, "ES256", headers={"kid": "x"}),
        "not a token": "abc",
    }.get(kind)
    if token is None:
        with _code_for_a_window(demo, party) as (form, url):
            token = json.loads(calls.post(url, form).text)["id_token"]
    log = Log(demo)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = calls.once("GET", f"{demo.addresses.url('hall')}/attributes", None, headers)
    assert answer.status in (401, 403), answer.text
    assert LI.name not in answer.text
    assert [code for code in log.codes() if code.startswith("provider.")]


# ---- people and levels


def test_another_person_in_a_live_session(demo: Demo) -> None:
    """Another person's certificate in a live session is asked about first; unanswered, the first person stays in."""
    browser, _ = signed_in(demo, FILE)
    before = sids(demo)
    here = begin_in(demo, browser, path="/matters/no-record-certificate")
    other = new_browser(demo.pki, WANG)
    asked = browser.get(here.address(f"/return?code={here.code(other)}"))
    assert urlsplit(asked.url).path.endswith("/switch")
    assert ZHANG.name not in asked.text
    assert WANG.name not in asked.text
    assert sids(demo) == before
    assert still_in(demo, browser)
    form = next(form for form in asked.forms if "/switch" in form.action)
    page = browser.submit(asked, form)
    assert urlsplit(page.url).hostname in (demo.addresses.host("police"), demo.addresses.host("sso")), page.url
    again = sign_in(other, demo.addresses)
    assert urlsplit(again.url).hostname == demo.addresses.host("police")
    assert (WANG.name in again.text, ZHANG.name in again.text) == (True, False)


def test_an_unmet_level_again_and_again(demo: Demo) -> None:
    """A level that is not reached is said each time, never a loop; giving up ends at the window."""
    here = begin(demo, FILE, path="/matters/no-record-certificate")
    before = sids(demo)
    for _ in range(3):
        there = here.certificate_page()
        page = here.browser.submit(there, button(there))
        assert urlsplit(page.url).path.endswith("/level")
        assert (page.status, codes(page)) == (403, {"policy.level"})
        assert len(page.hops) <= 3
    assert sids(demo) == before
    cancel = next(form for form in page.forms if form.action.endswith("/cancel"))
    ended = here.browser.submit(page, cancel)
    assert urlsplit(ended.url).hostname == demo.addresses.host("police")
    assert {code for code in codes(ended) if code.startswith("rp.")}
    assert len(ended.hops) <= 6
    assert sids(demo) == before
    assert_refused(here.browser.get(f"{demo.addresses.url('hall')}/authorize/continue?tx={here.transaction}"),
                   "ceremony.expired")  # fmt: skip


def test_a_cancelled_sign_in(demo: Demo) -> None:
    """Giving up at the sign-in page leads back to the window, which says so; no session begins."""
    here = begin_in(demo, Browser(demo.pki.tls_ca))
    before = sids(demo)
    cancel = next(form for form in here.page.forms if form.action.endswith("/cancel"))
    page = here.browser.submit(here.page, cancel)
    assert urlsplit(page.url).hostname == demo.addresses.host("police")
    assert {code for code in codes(page) if code.startswith("rp.")} == {"rp.denied"}
    assert sids(demo) == before
    assert urlsplit(sign_in(new_browser(demo.pki, ZHANG), demo.addresses).url).hostname == demo.addresses.host("police")


# ---- rates


def test_the_rate_of_one_address(demo: Demo) -> None:
    """Too many steps from one address get a page that says so and when to come back; other addresses go on."""
    with alone(demo, rate_per_minute=5) as bridge:
        url = f"{demo.addresses.url('hall')}/sign-in/{'x' * 43}"
        pages = [raw.ask_bridge(bridge.socket, url, {"X-Forwarded-For": "192.0.2.7"}) for _ in range(7)]
        assert [page.status for page in pages[:5]] == [pages[0].status] * 5
        for page in pages[5:]:
            assert_refused(page, "provider.rate")
            assert page.status == 429
            assert page.headers["Retry-After"] == "60"
        other = raw.ask_bridge(bridge.socket, url, {"X-Forwarded-For": "192.0.2.8"})
        assert other.status == pages[0].status
        assert "provider.rate" in bridge.log()
        assert "192.0.2.7" not in bridge.log()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Forwarded-For": "192.0.2.9"}
        form, url = "grant_type=authorization_code&code=x&redirect_uri=x", f"{demo.addresses.url('hall')}/token"
        tokens = [raw.ask_bridge(bridge.socket, url, headers, method="POST", body=form) for _ in range(12)]
        assert tokens[-1].status == 429
        assert json.loads(tokens[-1].text)["error_description"] == "provider.rate"
