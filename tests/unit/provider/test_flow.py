"""The code flow between Keycloak and the bridge, from the authorization request to the ID token."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from ca_bridge.provider import cookies
from tests.parts.bridge import ISSUER, LEAF, NAME, NUMBER, REDIRECT, Bridge, FakeSnapshot, cookie, parameters


def test_from_request_to_id_token(bridge: Bridge):
    """A person signs in: code, `state`, `iss` at the exact redirect_uri, then an ID token of the contract."""
    client = bridge.browser()
    answer = bridge.authorize(client, acr_values="urn:crosshall:loa:3")
    assert answer.status_code == 303
    tx = urlsplit(answer.location).path.removeprefix("/sign-in/")
    opened = bridge.sign_in(client, answer)
    back = bridge.get(client, "/authorize/continue", query_string={"tx": tx})
    assert back.location.startswith(f"{REDIRECT}?")
    assert parameters(back)["state"] == "st.ate"
    assert parameters(back)["iss"] == ISSUER
    token = bridge.token(parameters(back)["code"])
    assert token.status_code == 200, token.json
    claims = bridge.claims(token.json["id_token"])
    now = int(bridge.clock().timestamp())
    session = opened.session
    keys = bridge.parts.services.person_keys
    assert claims == {
        "iss": ISSUER,
        "sub": session.person,
        "aud": "keycloak",
        "iat": now,
        "exp": now + 120,
        "nonce": "n-0S6_WzA2Mj",
        "auth_time": now,
        "acr": "urn:crosshall:loa:3",
        "sid": session.sid,
        "crosshall_subject_police": keys.subject("police", session.person),
        "crosshall_subject_environment": keys.subject("environment", session.person),
        "crosshall_kind": "citizen",
        "crosshall_level": "3",
        "crosshall_auth_time": str(now),
        "crosshall_domain": "gd",
        "crosshall_checked_at": str(now),
        "crosshall_status_issued_at": str(now - 300),
        "crosshall_rung": "fresh",
    }


def test_no_name_or_number_leaves_for_the_realm(bridge: Bridge):
    """Neither name nor identifier is in the token answer: Keycloak would keep it in clear."""
    answer = bridge.token(bridge.code(bridge.browser()))
    text = answer.get_data(as_text=True) + str(bridge.claims(answer.json["id_token"]))
    assert NAME not in text
    assert NUMBER not in text


def test_a_live_session_answers_without_a_page(bridge: Bridge):
    """The second request in the same browser gets its code at once, also with prompt=none, with the same sid."""
    client = bridge.browser()
    first = bridge.claims(bridge.token(bridge.code(client)).json["id_token"])
    for changes in ({}, {"prompt": "none"}, {"acr_values": "urn:crosshall:loa:3"}, {"max_age": "3600"}):
        answer = bridge.authorize(client, **changes)
        again = bridge.claims(bridge.token(parameters(answer)["code"]).json["id_token"])
        assert again["sid"] == first["sid"]


@pytest.mark.parametrize("silent", [False, True])
def test_a_live_session_is_judged_again_before_it_answers(bridge: Bridge, silent: bool):
    """Revoked a moment ago, or while no watcher works: no code, the session is over, Keycloak is told."""
    client = bridge.browser()
    bridge.code(client)
    bridge.source.snapshot = FakeSnapshot(hash="b" * 64, refused={LEAF + NUMBER.encode(): "revocation.revoked"})
    answer = bridge.authorize(client, **({"prompt": "none"} if silent else {}))
    assert "code" not in parameters(answer)
    if silent:
        assert parameters(answer)["error"] == "login_required"
    else:
        assert "/sign-in/" in answer.location
    assert bridge.parts.services.sessions.find(cookie(client, cookies.SESSION)) is None
    assert [bridge.claims(token)["sub"] for token in bridge.realm.logouts] == [bridge.signin().person]


def test_what_answers_has_just_been_judged(bridge: Bridge):
    """The next ID token says when the certificate was judged last: at this request."""
    client = bridge.browser()
    bridge.code(client)
    bridge.clock.forward(200)
    told = bridge.claims(bridge.token(bridge.code(client)).json["id_token"])
    assert told["crosshall_checked_at"] == str(int(bridge.clock().timestamp()))
    assert told["auth_time"] == int(bridge.clock().timestamp()) - 200


@pytest.mark.parametrize(
    "changes",
    [
        {"acr_values": "urn:crosshall:loa:4"},
        {"claims": '{"id_token":{"acr":{"essential":true,"values":["urn:crosshall:loa:4"]}}}'},
        {"claims": '{"id_token":{"acr":{"value":"urn:crosshall:loa:4"}}}', "acr_values": "urn:crosshall:loa:2"},
        {"prompt": "login"},
        {"prompt": "select_account"},
        {"max_age": "0"},
        {"max_age": "59"},
    ],
)
def test_a_session_that_does_not_satisfy_is_not_answered(bridge: Bridge, changes: dict[str, str]):
    """Level above the session's, a fresh proof asked, or a proof too old: the page, and with prompt=none an error."""
    client = bridge.browser()
    bridge.code(client)
    bridge.clock.forward(60)
    assert "/sign-in/" in bridge.authorize(client, **changes).location
    if "prompt" not in changes:
        back = parameters(bridge.authorize(client, **changes, prompt="none"))
        level = "acr_values" in changes or "claims" in changes
        assert back["error"] == ("interaction_required" if level else "login_required")
        assert "code" not in back


def test_prompt_none_without_a_session_is_login_required(bridge: Bridge):
    """No page is shown for prompt=none, whatever the cookies."""
    client = bridge.browser()
    client.set_cookie(cookies.SESSION, "x" * 43, domain="hall.gd.localhost")
    assert parameters(bridge.authorize(client, prompt="none"))["error"] == "login_required"


def test_a_step_up_keeps_the_sid_and_raises_the_level(bridge: Bridge):
    """One sid for one browser session: a new one would make later logouts end nothing at Keycloak."""
    client = bridge.browser()
    first = bridge.claims(bridge.token(bridge.code(client)).json["id_token"])
    answer = bridge.authorize(client, acr_values="urn:crosshall:loa:4")
    secret = cookie(client, cookies.SESSION)
    bridge.sign_in(client, answer, bridge.signin(level=4))
    tx = urlsplit(answer.location).path.removeprefix("/sign-in/")
    back = bridge.get(client, "/authorize/continue", query_string={"tx": tx})
    second = bridge.claims(bridge.token(parameters(back)["code"]).json["id_token"])
    assert second["sid"] == first["sid"]
    assert second["crosshall_level"] == "4"
    assert cookie(client, cookies.SESSION) != secret
    assert bridge.parts.services.sessions.find(secret) is None, "the old cookie is dead"


def test_a_sign_in_below_what_was_asked_is_never_answered(bridge: Bridge):
    """Whatever the ceremony made of it: level 3 for a request of level 4 gives interaction_required."""
    client = bridge.browser()
    answer = bridge.authorize(client, acr_values="urn:crosshall:loa:4")
    bridge.sign_in(client, answer)
    tx = urlsplit(answer.location).path.removeprefix("/sign-in/")
    back = parameters(bridge.get(client, "/authorize/continue", query_string={"tx": tx}))
    assert back["error"] == "interaction_required"
    assert "code" not in back


def test_an_old_proof_does_not_answer_a_fresh_request(bridge: Bridge):
    """prompt=login, ended with a proof from before the request: refused."""
    client = bridge.browser()
    bridge.code(client)
    old = bridge.signin()
    bridge.clock.forward(30)
    answer = bridge.authorize(client, prompt="login")
    bridge.sign_in(client, answer, old)
    tx = urlsplit(answer.location).path.removeprefix("/sign-in/")
    back = parameters(bridge.get(client, "/authorize/continue", query_string={"tx": tx}))
    assert back["error"] == "interaction_required"


def test_a_sign_in_begun_in_one_browser_cannot_be_finished_in_another(bridge: Bridge):
    """The transaction's id alone gets nothing: neither without the browser's cookie nor with another's."""
    mine, yours = bridge.browser(), bridge.browser()
    answer = bridge.authorize(mine)
    bridge.sign_in(mine, answer)
    tx = urlsplit(answer.location).path.removeprefix("/sign-in/")
    bridge.authorize(yours)
    for client in (bridge.browser(), yours):
        refused = bridge.get(client, "/authorize/continue", query_string={"tx": tx})
        assert refused.status_code >= 400
        assert "ceremony.other_browser" in refused.get_data(as_text=True)
    assert "code" in parameters(bridge.get(mine, "/authorize/continue", query_string={"tx": tx}))


def test_another_sessions_cookie_gets_no_code(bridge: Bridge):
    """The right browser cookie with somebody else's session: the code would be of the wrong person."""
    client, other = bridge.browser(), bridge.browser()
    bridge.code(other)
    answer = bridge.authorize(client)
    bridge.sign_in(client, answer)
    client.set_cookie(cookies.SESSION, cookie(other, cookies.SESSION), domain="hall.gd.localhost", secure=True)
    tx = urlsplit(answer.location).path.removeprefix("/sign-in/")
    refused = bridge.get(client, "/authorize/continue", query_string={"tx": tx})
    assert refused.status_code == 403
    assert "provider.session_lost" in refused.get_data(as_text=True)


def test_continue_answers_once(bridge: Bridge):
    """The second call finds the transaction gone; before the end of the sign-in there is nothing to continue."""
    client = bridge.browser()
    answer = bridge.authorize(client)
    tx = urlsplit(answer.location).path.removeprefix("/sign-in/")
    assert bridge.get(client, "/authorize/continue", query_string={"tx": tx}).status_code >= 400
    bridge.sign_in(client, answer)
    assert "code" in parameters(bridge.get(client, "/authorize/continue", query_string={"tx": tx}))
    assert bridge.get(client, "/authorize/continue", query_string={"tx": tx}).status_code >= 400
