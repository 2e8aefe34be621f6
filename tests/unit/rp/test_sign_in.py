"""Signing in through the Flask adapter: the way there and back, tabs, deep links, and every wrong way back."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from urllib3.util import Timeout

from relying_party_sdk.testing import CITIZEN, Browser, FakeProvider, Fault
from relying_party_sdk.transport import Urllib3Transport
from tests.unit.rp.conftest import Clock, Window


def test_deep_link_is_kept(browser: Browser, provider: FakeProvider) -> None:
    """A person who opens a matter without a session ends at that matter, query included, in one trip."""
    page = browser.open("/matters/7?q=%E5%BC%A0")
    assert (page.status, page.text) == (200, "7 level 2 张")
    assert page.address.endswith("/matters/7?q=%E5%BC%A0")
    assert provider.calls["authorize"] == 1
    assert provider.refusals == []


def test_request_is_pushed_with_pkce_nonce_and_state(browser: Browser, provider: FakeProvider) -> None:
    """The browser carries only client_id and request_uri; the pushed request has S256, nonce, state, acr_values."""
    page = browser.open("/matters/7", stop_before="/authorize")
    assert set(parse_qs(urlsplit(page.address).query)) == {"client_id", "request_uri"}
    browser.open("/matters/7")
    sent = provider.authorizations[-1]
    assert sent["code_challenge_method"] == "S256"
    assert len(sent["code_challenge"]) == len(sent["nonce"]) == len(sent["state"]) == 43
    assert sent["acr_values"] == "urn:crosshall:loa:2"
    assert sent["ui_locales"] == "zh-CN zh-Hans zh-TW zh-Hant en pt"


def test_without_par_the_request_is_in_the_address(browser: Browser, provider: FakeProvider) -> None:
    """A provider that does not advertise PAR gets an ordinary request, with PKCE all the same."""
    provider.par = False
    assert browser.open("/matters/7").status == 200
    assert provider.authorizations[-1]["code_challenge_method"] == "S256"


def test_cookies_are_host_bound_sealed_and_small(browser: Browser, window: Window) -> None:
    """Every cookie is `__Host-`, Secure, HttpOnly, Lax, and holds neither token nor claim."""
    browser.open("/matters/7")
    cookies = list(browser.client._cookies.values())
    assert cookies
    for cookie in cookies:
        assert cookie.key.startswith("__Host-window-")
        assert cookie.secure
        assert cookie.http_only
        assert cookie.same_site == "Lax"
        assert cookie.path == "/"
    assert len(window.cookie(browser)) < 200
    assert CITIZEN.subject("window") not in str(cookies)


def test_two_tabs_opened_at_once(browser: Browser) -> None:
    """Two tabs leave for the provider before either is back: both arrive where they were going."""
    first = browser.open("/matters/1", stop_before="/authorize")
    second = browser.open("/matters/2", stop_before="/authorize")
    assert _finish(browser, first.address) == "1 level 2 "
    assert _finish(browser, second.address) == "2 level 2 "


def _finish(browser: Browser, address: str) -> str:
    """Go on from the provider's address."""
    _, headers, _ = browser._fetch(address, {})
    return browser.open(headers["location"].removeprefix(browser.base_url)).text


def test_identifier_is_new_at_each_sign_in(browser: Browser, window: Window) -> None:
    """Sign-in and step-up give a new session identifier, and the old one opens nothing."""
    browser.open("/matters/7")
    old = window.cookie(browser)
    browser.open("/high")
    new = window.cookie(browser)
    assert old != new
    assert window.party.current(old) is None
    assert window.party.current(new) is not None


@pytest.mark.parametrize(
    "target",
    [
        "https://attacker.example/",
        "//attacker.example/",
        "/\\attacker.example/",
        "\\\\attacker.example",
        "/\t/attacker.example",
        "javascript:alert(1)",
        "matters/7",
        "/a\r\nSet-Cookie: x=y",
        "/" + "a" * 3000,
        "",
    ],
)
def test_no_open_redirect(browser: Browser, target: str) -> None:
    """Whatever is not a plain path of this site leads to the first page instead."""
    page = browser.open("/oidc/login?" + _query(return_to=target))
    assert page.address == browser.base_url + "/"


def _query(**values: str) -> str:
    return urlencode(values)


def _callback(browser: Browser, path: str = "/matters/7") -> str:
    """The callback address of a sign-in that is not finished yet."""
    page = browser.open(path, stop_before="/oidc/callback")
    return page.address.removeprefix(browser.base_url)


def test_callback_twice(browser: Browser) -> None:
    """A callback that was used is refused by its own code, and the session of the first stays."""
    address = _callback(browser)
    assert browser.open(address).status == 200
    again = browser.open(address)
    assert (again.status, "rp.callback_replayed" in again.text) == (400, True)
    assert browser.open("/matters/7").text == "7 level 2 "


def test_callback_after_the_session_ended(window: Window, browser: Browser, provider: FakeProvider) -> None:
    """The callback of a session that was signed out signs nobody in again, nor does its code at the provider."""
    address = _callback(browser)
    assert browser.open(address).status == 200
    browser.open("/oidc/logout", method="POST")
    again = browser.open(address)
    assert (again.status, "rp.callback_replayed" in again.text) == (400, True)
    assert browser.open("/").text == "nobody"
    assert provider.calls["token"] == 1


@pytest.mark.parametrize("fault", [Fault.DOWN, Fault.HTML, Fault.HUGE, Fault.SLOW, Fault.REDIRECT])
def test_provider_fails_at_the_callback(window: Window, browser: Browser, provider: FakeProvider, fault: Fault) -> None:
    """A provider that fails between page and code: an error page with a way to try again, no session, no loop."""
    address = _callback(browser)
    transport = window.party._transport
    assert isinstance(transport, Urllib3Transport)
    transport._timeout = Timeout(connect=0.3, read=0.3)
    provider.faults.add(fault)
    page = browser.open(address)
    assert (page.status in (502, 503), "rp.provider_" in page.text, len(page.hops)) == (True, True, 1)
    assert "return_to=%2Fmatters%2F7" in page.text
    provider.faults.clear()
    transport._timeout = Timeout(connect=20, read=20)
    assert window.cookie(browser) == ""
    assert browser.open("/matters/7").status == 200


def test_callback_in_another_browser(window: Window, browser: Browser) -> None:
    """A sign-in begun in one browser cannot be finished in another; the first one still can."""
    address = _callback(browser)
    other = window.browser().open(address)
    assert (other.status, "rp.other_browser" in other.text) == (400, True)
    assert browser.open(address).text == "7 level 2 "


def test_callback_too_late(browser: Browser, clock: Clock) -> None:
    """After `sign_in` seconds the pending sign-in is gone."""
    address = _callback(browser)
    clock.pass_(601)
    assert "rp.state" in browser.open(address).text


@pytest.mark.parametrize(
    "query",
    [
        "",
        "code=x",
        "state=x",
        "state=x&code=a&code=b",
        "state=x&state=y&code=a",
        "state=x&code=a&error=b",
        "state=" + "x" * 999,
    ],
)
def test_callback_malformed(browser: Browser, query: str) -> None:
    """A callback without its parameters, or with one twice, is refused."""
    page = browser.open(f"/oidc/callback?{query}")
    assert (page.status, "rp.callback" in page.text) == (400, True)


def test_state_of_nobody(browser: Browser) -> None:
    """A state that was never given out is refused."""
    assert "rp.state" in browser.open("/oidc/callback?state=invented&code=x").text


@pytest.mark.parametrize("fault", [Fault.CALLBACK_WRONG_ISS, Fault.CALLBACK_NO_ISS])
def test_callback_of_another_provider(browser: Browser, provider: FakeProvider, fault: Fault) -> None:
    """`iss` is compared exactly, and must be there when the provider promised it (RFC 9207 §2.4); no code is spent."""
    provider.faults.add(fault)
    page = browser.open("/matters/7")
    assert (page.status, "rp.callback_iss" in page.text) == (400, True)
    assert provider.calls["token"] == 0


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        ("access_denied", "rp.denied", 403),
        ("login_required", "rp.denied", 403),
        ("temporarily_unavailable", "rp.provider_busy", 503),
        ("invalid_request", "rp.provider_refused", 502),
        ("<script>", "rp.provider_refused", 502),
    ],
)
def test_provider_answers_with_an_error(
    browser: Browser, provider: FakeProvider, error: str, code: str, status: int
) -> None:
    """An error answer becomes a page with a code of ours and a way to try again to the same matter; no redirect."""
    provider.error = error
    page = browser.open("/matters/7")
    assert (page.status, code in page.text, "<script>" in page.text) == (status, True, False)
    assert "return_to=%2Fmatters%2F7" in page.text


def test_code_of_another_sign_in(browser: Browser, provider: FakeProvider) -> None:
    """A code injected into another sign-in fails at PKCE (RFC 9700 §4.5)."""
    first, second = _callback(browser, "/matters/1"), _callback(browser, "/matters/2")
    mixed = parse_qs(urlsplit(first).query) | {"code": parse_qs(urlsplit(second).query)["code"]}
    page = browser.open("/oidc/callback?" + _query(**{name: values[0] for name, values in mixed.items()}))
    assert (page.status, "rp.provider_refused" in page.text) == (502, True)
    assert provider.refusals == ["token: PKCE or redirect_uri"]


def test_error_page_has_strict_policy_and_no_store(browser: Browser) -> None:
    """The SDK's page loads nothing, runs nothing, and is not kept."""
    page = browser.open("/oidc/callback")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["cache-control"] == "no-store"


def test_post_is_not_lost_silently(browser: Browser, window: Window) -> None:
    """A form sent without a session is answered with a page that says so; after signing in, sending again works."""
    page = browser.open("/matters/7", method="POST", data={"note": "long text"})
    assert (page.status, "rp.form_not_sent" in page.text, 'target="_blank"' in page.text) == (401, True, True)
    assert window.posted == []
    browser.open("/matters/7")
    browser.open("/matters/7", method="POST", data={"note": "long text"})
    assert window.posted == ["long text"]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Requested-With": "XMLHttpRequest"},
        {"Sec-Fetch-Mode": "cors"},
        {"Accept": "application/json"},
        {"Authorization": "Bearer x"},
    ],
)
def test_script_gets_json(browser: Browser, headers: dict[str, str]) -> None:
    """A script gets 401 JSON with a challenge instead of a redirect that it cannot follow (RFC 9470 §3)."""
    page = browser.open("/high", headers=headers)
    assert page.status == 401
    assert page.headers["content-type"] == "application/json"
    assert '"error":"rp.sign_in_required"' in page.text.replace(" ", "")
    assert page.headers["www-authenticate"] == 'Bearer acr_values="urn:crosshall:loa:3", max_age="600"'
    assert len(page.hops) == 1


def test_tab_cookies_do_not_pile_up(browser: Browser) -> None:
    """Forty abandoned sign-ins leave no more cookies than a server takes."""
    for number in range(40):
        browser.open(f"/matters/{number}", stop_before="/authorize")
    assert len(browser.client._cookies) <= 12


def test_pages_about_a_person_are_not_cached(browser: Browser) -> None:
    """What depends on the session carries no-store and Vary: Cookie."""
    page = browser.open("/matters/7")
    assert page.headers["cache-control"] == "no-store"
    assert "Cookie" in page.headers["vary"]
