"""Authorization requests that must be refused: before the client is known as a page, afterwards to the client."""

from __future__ import annotations

import pytest

from ca_bridge.provider import cookies
from ca_bridge.web import guard
from tests.parts.bridge import ISSUER, REDIRECT, Bridge, cookie, parameters


@pytest.mark.parametrize(
    "redirect_uri",
    [
        REDIRECT + "/",
        REDIRECT + "?a=b",
        REDIRECT.replace("https", "http"),
        REDIRECT.replace("broker", "Broker"),
        REDIRECT[:-1],
        REDIRECT + "#",
        REDIRECT.replace("sso.", "sso.evil."),
        REDIRECT.replace("/broker", "/x/../broker"),
        REDIRECT.replace("bridge", "b%72idge"),
        'https://evil.example/"><script>',
        "https://evil.example/你好",
        "javascript:alert(1)",
        "",
        None,
    ],
)
def test_a_redirect_uri_that_differs_in_one_character_is_never_followed(bridge: Bridge, redirect_uri: str | None):
    """Our own page with a stable code; nothing is sent anywhere, and nothing begins."""
    answer = bridge.authorize(bridge.browser(), redirect_uri=redirect_uri)
    assert answer.status_code == 400
    assert "provider.redirect_uri" in answer.get_data(as_text=True)
    assert "Location" not in answer.headers
    assert "evil" not in answer.get_data(as_text=True)


@pytest.mark.parametrize("client_id", ["Keycloak", "keycloak ", "other", "", None])
def test_an_unknown_client_is_shown_a_page(bridge: Bridge, client_id: str | None):
    """Exact client_id; without it nobody may be redirected to."""
    answer = bridge.authorize(bridge.browser(), client_id=client_id)
    assert answer.status_code == 400
    assert "provider.client" in answer.get_data(as_text=True)


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_client_or_redirect_uri_given_twice_is_shown_a_page(bridge: Bridge, name: str):
    """RFC 6749 §3.1: parameters must not be repeated; with two values nobody knows whom to answer."""
    asked = list(bridge.asked().items())
    answer = bridge.get(bridge.browser(), "/authorize", query_string=[*asked, (name, dict(asked)[name])])
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": None}, "unsupported_response_type"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_type": 'co"de'}, "unsupported_response_type"),
        ({"response_mode": "form_post"}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "profile"}, "invalid_scope"),
        ({"scope": "openid\n"}, "invalid_request"),
        ({"nonce": None}, "invalid_request"),
        ({"nonce": "n" * 513}, "invalid_request"),
        ({"state": None}, "invalid_request"),
        ({"state": "s" * 2049}, "invalid_request"),
        ({"state": "张"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": "v" * 44}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": "s256"}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "hurry"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "1.5"}, "invalid_request"),
        ({"max_age": "9" * 30}, "invalid_request"),
        ({"max_age": "٣"}, "invalid_request"),
        ({"acr_values": "urn:crosshall:loa:5"}, "invalid_request"),
        ({"acr_values": "1"}, "invalid_request"),
        ({"claims": "{"}, "invalid_request"),
        ({"claims": "[]"}, "invalid_request"),
        ({"claims": '{"id_token":[]}'}, "invalid_request"),
        ({"claims": '{"id_token":{"acr":3}}'}, "invalid_request"),
        ({"claims": '{"id_token":{"acr":{"values":"x"}}}'}, "invalid_request"),
        ({"claims": '{"id_token":{"acr":{"essential":true,"value":"urn:other"}}}'}, "invalid_request"),
        ({"claims": "[" * 4000}, "invalid_request"),
        ({"request": "ey"}, "request_not_supported"),
        ({"request_uri": "https://evil.example/"}, "request_uri_not_supported"),
    ],
)
def test_a_bad_request_goes_back_to_the_client(bridge: Bridge, changes: dict[str, str], error: str):
    """The error with `iss` (RFC 9207) and the `state` when that was usable; no sign-in begins, never a 500."""
    client = bridge.browser()
    answer = bridge.authorize(client, **changes)
    assert answer.status_code == 303
    assert answer.location.startswith(f"{REDIRECT}?")
    back = parameters(answer)
    assert back["error"] == error
    assert back["iss"] == ISSUER
    if "state" not in changes:
        assert back["state"] == "st.ate"
    assert not cookie(client, cookies.BROWSER)


def test_any_other_parameter_given_twice_goes_back(bridge: Bridge):
    """RFC 6749 §3.1."""
    asked = [*bridge.asked().items(), ("nonce", "other")]
    answer = bridge.get(bridge.browser(), "/authorize", query_string=asked)
    assert parameters(answer)["error"] == "invalid_request"


def test_several_levels_are_alternatives(bridge: Bridge):
    """acr_values names alternatives: the lowest would do; unknown ones beside known ones are passed over."""
    client = bridge.browser()
    bridge.code(client)
    asked = "urn:crosshall:loa:4 urn:crosshall:loa:2 urn:other"
    assert "code" in parameters(bridge.authorize(client, acr_values=asked))


def test_a_request_by_post_is_the_same(bridge: Bridge):
    """OpenID Connect Core §3.1.2.1: GET and POST."""
    assert "/sign-in/" in bridge.post(bridge.browser(), "/authorize", bridge.asked()).location


def test_the_certificate_host_has_nothing_of_the_provider(bridge: Bridge):
    """At `*.cert…` there is no authorize, no token, no keys: a click there can touch nothing of the hall."""
    host = f"https://{'a' * 26}.cert.gd.localhost:8443"
    for path in ("/authorize", "/jwks", "/attributes", "/authorize/continue", "/.well-known/openid-configuration"):
        assert bridge.browser().get(path, base_url=host).status_code == 404
    for path in ("/token", "/logout"):
        assert bridge.browser().post(path, base_url=host).status_code == 404


def test_an_unknown_host_is_not_answered(bridge: Bridge):
    """A name that is not ours gets nothing (rebinding)."""
    assert bridge.browser().get("/authorize", base_url="https://evil.example").status_code == 404


def test_the_cookies_are_those_of_the_pages():
    """Provider and pages read the same two cookies, of the same form."""
    assert (cookies.BROWSER, cookies.SESSION) == (guard.BROWSER, guard.SESSION)


def test_the_browser_cookie_is_host_only_and_closed_to_scripts(bridge: Bridge):
    """`__Host-`: Secure, Path=/, no Domain; HttpOnly, SameSite=Lax; kept when it is there already."""
    client = bridge.browser()
    header = bridge.authorize(client).headers["Set-Cookie"]
    assert header.startswith("__Host-crosshall-browser=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(header.split("; "))
    assert "Domain" not in header
    first = cookie(client, cookies.BROWSER)
    bridge.authorize(client)
    assert cookie(client, cookies.BROWSER) == first
