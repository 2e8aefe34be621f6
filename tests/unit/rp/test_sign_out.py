"""Signing out: by the person, and by the provider's back channel, in every process."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from relying_party_sdk import RelyingParty
from relying_party_sdk.testing import CITIZEN, Browser, FakeProvider
from relying_party_sdk.verify import LOGOUT_EVENT
from tests.unit.rp.conftest import Clock, Window


def _call(window: Window, token: str, **request: Any) -> tuple[int, dict[str, str]]:
    """Post a logout token as the provider does: no cookie, no browser."""
    answer = window.app.test_client().post(
        "/oidc/backchannel-logout",
        base_url=window.settings.base_url,
        **{"data": {"logout_token": token}, **request},
    )
    return answer.status_code, {"cache": answer.headers["Cache-Control"], "body": answer.get_data(as_text=True)}


@pytest.fixture(name="cookie")
def _cookie(window: Window, browser: Browser) -> str:
    """The cookie of a person who is signed in."""
    browser.open("/matters/7")
    return window.cookie(browser)


def test_person_signs_out_everywhere(browser: Browser, window: Window, provider: FakeProvider, cookie: str) -> None:
    """The button ends the session here, at the provider, and returns to the first page."""
    page = browser.open("/oidc/logout", method="POST")
    assert (page.text, page.address) == ("nobody", "https://window.test/")
    logout = parse_qs(urlsplit(next(hop for hop in page.hops if "/logout?" in hop)).query)
    assert set(logout) == {"id_token_hint", "client_id", "post_logout_redirect_uri"}
    assert logout["post_logout_redirect_uri"] == ["https://window.test/"]
    assert window.party.current(cookie) is None
    assert window.cookie(browser) == ""
    assert provider.login is None


def test_signing_out_is_never_a_link(browser: Browser, cookie: str) -> None:
    """A GET signs nobody out: an image on another site could do it."""
    assert browser.open("/oidc/logout").status == 405
    assert browser.open("/matters/7").status == 200


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://attacker.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}],
)
def test_signing_out_from_another_site(browser: Browser, cookie: str, headers: dict[str, str]) -> None:
    """A form of another site, a sibling host included, signs nobody out."""
    page = browser.open("/oidc/logout", method="POST", headers=headers)
    assert (page.status, "rp.cross_site" in page.text) == (403, True)
    assert browser.open("/matters/7").status == 200


def test_signing_out_without_a_session(browser: Browser) -> None:
    """Without a session the button leads home, and calls nobody."""
    assert browser.open("/oidc/logout", method="POST").address == "https://window.test/"


def test_by_sid_and_sub(window: Window, provider: FakeProvider, cookie: str) -> None:
    """The provider's call ends the session: 200, not cached."""
    status, answer = _call(window, provider.logout_token("window"))
    assert (status, answer["cache"]) == (200, "no-store")
    assert window.party.current(cookie) is None


def test_by_sub_ends_all_sessions_of_the_person(window: Window, provider: FakeProvider) -> None:
    """A token with `sub` alone ends that person's sessions in all browsers, and nobody else's."""
    browsers = [window.browser() for _ in range(3)]
    for browser in browsers:
        browser.open("/matters/7")
    cookies = [window.cookie(browser) for browser in browsers]
    assert _call(window, provider.logout_token("window", sid=None, sub="someone-else"))[0] == 200
    assert all(window.party.current(cookie) for cookie in cookies)
    assert _call(window, provider.logout_token("window", sid=None))[0] == 200
    assert not any(window.party.current(cookie) for cookie in cookies)


def test_by_sid_ends_that_session_only(window: Window, browser: Browser, provider: FakeProvider, cookie: str) -> None:
    """A token with `sid` leaves the person's other sessions alone; sid and sub that do not belong together end none."""
    token = provider.logout_token("window", sub=None)
    mixed = provider.logout_token("window", sub="someone-else")
    provider.end_login()
    other = window.browser()
    other.open("/matters/7")
    assert _call(window, mixed)[0] == 200
    assert window.party.current(cookie) is not None
    assert _call(window, token)[0] == 200
    assert window.party.current(cookie) is None
    assert window.party.current(window.cookie(other)) is not None


def test_across_processes(window: Window, provider: FakeProvider, clock: Clock, cookie: str) -> None:
    """A call that reaches one worker ends the session in all, and a replay is known to all."""
    other = RelyingParty(window.settings, clock=clock)
    token = provider.logout_token("window")
    assert other.back_channel(token) == 1
    assert window.party.current(cookie) is None
    status, answer = _call(window, token)
    assert (status, "rp.logout_replayed" in answer["body"]) == (400, True)
    other.close()


def test_signed_out_while_a_sign_in_returns(
    window: Window, browser: Browser, provider: FakeProvider, clock: Clock, cookie: str
) -> None:
    """A provider tells windows before its own session is gone: what it issues in between is confirmed at once."""
    assert _call(window, provider.logout_token("window"))[0] == 200
    assert browser.open("/matters/7").status == 200  # its own session still answers
    cookie = window.cookie(browser)
    provider.end_login()
    assert window.party.current(cookie) is not None
    clock.pass_(3)
    assert window.party.current(cookie) is None


def test_signed_in_again_at_once(window: Window, browser: Browser, provider: FakeProvider, clock: Clock) -> None:
    """Whoever has a session at the provider after a sign-out keeps the one here: confirmed once more, then as ever."""
    browser.open("/matters/7")
    assert _call(window, provider.logout_token("window"))[0] == 200
    browser.open("/matters/7")
    cookie = window.cookie(browser)
    for seconds, asked in ((1, 0), (2, 1), (55, 1), (10, 2)):
        clock.pass_(seconds)
        assert window.party.current(cookie) is not None
        assert provider.calls["refresh"] == asked, seconds


def test_unknown_session_is_200(window: Window, provider: FakeProvider) -> None:
    """A session that is not here (any more) is signed out already (Back-Channel Logout 1.0 §2.7)."""
    assert _call(window, provider.logout_token("window"))[0] == 200


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "alg none": ({"alg": "none"}, "rp.token_alg"),
    "hmac with the public key": ({"alg": "HS256"}, "rp.token_alg"),
    "another key": ({"key": ec.generate_private_key(ec.SECP256R1())}, "rp.token_signature"),
    "another issuer": ({"iss": "https://attacker.example"}, "rp.token_iss"),
    "no issuer": ({"iss": None}, "rp.token_iss"),
    "another client": ({"aud": "another-window"}, "rp.token_aud"),
    "no audience": ({"aud": None}, "rp.token_aud"),
    "expired": ({"exp": 1_700_000_000}, "rp.token_expired"),
    "no exp": ({"exp": None}, "rp.token_expired"),
    "no iat": ({"iat": None}, "rp.token_iat"),
    "future": ({"iat": 1_800_000_060}, "rp.token_iat"),
    "old": ({"iat": 1_800_000_000 - 131}, "rp.logout_old"),
    "with nonce": ({"nonce": "n"}, "rp.logout_nonce"),
    "no events": ({"events": None}, "rp.logout_event"),
    "other event": ({"events": {"http://schemas.openid.net/event/other": {}}}, "rp.logout_event"),
    "event not an object": ({"events": {LOGOUT_EVENT: True}}, "rp.logout_event"),
    "events a list": ({"events": [LOGOUT_EVENT]}, "rp.logout_event"),
    "no jti": ({"jti": None}, "rp.logout_jti"),
    "jti a number": ({"jti": 7}, "rp.logout_jti"),
    "neither sub nor sid": ({"sub": None, "sid": None}, "rp.logout_subject"),
    "sid a number": ({"sid": 7}, "rp.logout_subject"),
    "typ of an ID token": ({"typ": "JWT"}, "rp.token_typ"),
    "no typ": ({"typ": None}, "rp.token_typ"),
}


@pytest.mark.parametrize(("changes", "code"), WRONG.values(), ids=WRONG.keys())
def test_wrong_logout_token(
    window: Window, provider: FakeProvider, cookie: str, changes: dict[str, Any], code: str
) -> None:
    """Each wrong logout token is 400 with its own code, and ends nothing."""
    status, answer = _call(window, provider.logout_token("window", **changes))
    assert (status, code in answer["body"], answer["cache"]) == (400, True, "no-store")
    assert window.party.current(cookie) is not None


def test_id_token_is_no_logout_token(window: Window, cookie: str) -> None:
    """The ID token of the session itself, sent as a logout token, is refused."""
    session = window.party.current(cookie)
    assert session is not None
    assert _call(window, session.id_token)[0] == 400
    assert window.party.current(cookie) is not None


def test_replayed(window: Window, browser: Browser, provider: FakeProvider, cookie: str) -> None:
    """A captured logout token cannot end the next session."""
    token = provider.logout_token("window", sid=None)
    assert _call(window, token)[0] == 200
    browser.open("/matters/7")
    status, answer = _call(window, token)
    assert (status, "rp.logout_replayed" in answer["body"]) == (400, True)
    assert browser.open("/").text == "citizen"


@pytest.mark.parametrize(
    "request_",
    [
        {"data": {}},
        {"data": {"logout_token": ["a", "b"]}},
        {"data": {"logout_token": ""}},
        {"data": b"logout_token=x", "content_type": "text/plain"},
        {"data": {"logout_token": "x" * 70_000}},
        {"json": {"logout_token": "x"}, "data": None},
    ],
)
def test_malformed_call(window: Window, request_: dict[str, Any]) -> None:
    """A call that is not one logout token in a form is 400."""
    assert _call(window, "", **request_)[0] == 400


def test_untyped_only_by_a_dangerous_name(window: Window, provider: FakeProvider, clock: Clock, cookie: str) -> None:
    """Older providers' tokens without `typ` are taken only with `dangerously_accept_untyped_logout_tokens`."""
    relaxed = window.settings.with_(dangerously_accept_untyped_logout_tokens=True)
    party = RelyingParty(relaxed, clock=clock)
    assert party.back_channel(provider.logout_token("window", typ=None)) == 1
    party.close()


def test_log_says_nothing_about_the_person(
    window: Window, browser: Browser, provider: FakeProvider, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A whole life of a session, with refusals, logs no subject, sub, sid, name, number, token or state."""
    caplog.set_level("DEBUG", "relying_party_sdk")
    browser.open("/who")
    session = window.party.current(window.cookie(browser))
    assert session is not None
    clock.pass_(61)
    browser.open("/high")
    _call(window, provider.logout_token("window", nonce="n"))
    _call(window, provider.logout_token("window"))
    browser.open("/oidc/callback?state=secret-state&code=secret-code")
    assert caplog.records
    secrets = [
        CITIZEN.subject("window"),
        session.sub,
        str(session.sid),
        "张三",
        "110105",
        "secret-state",
        "secret-code",
    ]
    for secret in (*secrets, session.access_token, session.refresh_token, session.id_token):
        assert secret not in caplog.text
