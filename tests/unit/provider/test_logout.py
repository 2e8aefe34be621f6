"""Logout both ways: Keycloak or a browser ends our session; we end a person's and tell Keycloak until it takes it."""

from __future__ import annotations

from typing import Any

import jwt as pyjwt
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from ca_bridge.errors import UpstreamError
from ca_bridge.provider import cookies
from ca_bridge.provider.logout import AT_ONCE
from ca_bridge.store.logouts import Logouts
from tests.parts.bridge import ISSUER, REDIRECT, Bridge, cookie

RETURN = f"{REDIRECT}/logout_response"


def signed_in(bridge: Bridge, client: Any) -> tuple[str, dict[str, Any]]:
    """An ID token of a new sign-in, and its claims."""
    token = bridge.token(bridge.code(client)).json["id_token"]
    return token, bridge.claims(token)


def test_keycloak_ends_one_session_with_an_old_id_token(bridge: Bridge):
    """Server to server, no cookie, the token long expired: that session is over, the person's other one is not."""
    one, two = bridge.browser(), bridge.browser()
    token, claims = signed_in(bridge, one)
    _, other = signed_in(bridge, two)
    assert claims["sub"] == other["sub"]
    assert claims["sid"] != other["sid"]
    bridge.clock.forward(7 * 3600)
    answer = bridge.get(bridge.browser(), "/logout", query_string={"id_token_hint": token, "state": "x"})
    assert answer.status_code == 200
    assert bridge.parts.services.sessions.by_sid(claims["sid"]) is None
    assert bridge.parts.services.sessions.by_sid(other["sid"]) is not None
    assert bridge.realm.logouts == [], "who told us need not be told"
    again = bridge.get(bridge.browser(), "/logout", query_string={"id_token_hint": token})
    assert again.status_code == 200, "a session that is over is over"


def test_a_browser_comes_back_with_its_state(bridge: Bridge):
    """RP-Initiated Logout §3: to the registered address only; the cookie is taken back."""
    client = bridge.browser()
    token, _ = signed_in(bridge, client)
    query = {"id_token_hint": token, "post_logout_redirect_uri": RETURN, "state": "s&x=1"}
    answer = bridge.get(client, "/logout", query_string=query)
    assert answer.location == f"{RETURN}?state=s%26x%3D1"
    assert not cookie(client, cookies.SESSION)


@pytest.mark.parametrize("target", [RETURN + "/", "https://evil.example/", RETURN.replace("https", "http"), ISSUER])
def test_another_return_address_is_refused(bridge: Bridge, target: str):
    """No open redirect; the session stays."""
    client = bridge.browser()
    token, claims = signed_in(bridge, client)
    query = {"id_token_hint": token, "post_logout_redirect_uri": target}
    answer = bridge.get(client, "/logout", query_string=query)
    assert answer.status_code == 400
    assert "provider.redirect_uri" in answer.get_data(as_text=True)
    assert bridge.parts.services.sessions.by_sid(claims["sid"])


def test_a_hint_that_we_did_not_sign_ends_nothing(bridge: Bridge):
    """Another key, audience or issuer, no signature, a logout token, rubbish: an error, and the session stays."""
    client = bridge.browser()
    token, claims = signed_in(bridge, client)
    kid = pyjwt.get_unverified_header(token)["kid"]
    ours = bridge.parts.keys.ring().keys[kid]

    def made(key: Any, typ: str = "JWT", **changes: Any) -> str:
        return jwt.encode({"alg": "ES256", "kid": kid, "typ": typ}, claims | changes, key, algorithms=["ES256"])

    assert bridge.parts.tokens.read_hint(made(ours)) == claims["sid"]
    for hint in (
        made(ECKey.generate_key("P-256", private=True)),
        made(ours, aud="police"),
        made(ours, iss="https://other.example"),
        made(ours, typ="logout+jwt"),
        made(ours, sid=""),
        pyjwt.encode(claims, None, algorithm="none", headers={"kid": kid}),
        token[:-4] + "AAAA",
        "rubbish",
        "a." * 10000,
    ):
        answer = bridge.get(bridge.browser(), "/logout", query_string={"id_token_hint": hint})
        assert answer.status_code == 400
        assert "provider.logout_hint" in answer.get_data(as_text=True)
    assert bridge.parts.services.sessions.by_sid(claims["sid"])


def test_a_link_cannot_sign_a_person_out(bridge: Bridge):
    """Without an ID token only our own page may: GET and a POST from elsewhere are refused."""
    client = bridge.browser()
    _, claims = signed_in(bridge, client)
    assert bridge.get(client, "/logout").status_code == 400
    assert bridge.post(client, "/logout").status_code == 400
    assert bridge.post(client, "/logout", headers={"Origin": "https://evil.example"}).status_code == 400
    assert bridge.parts.services.sessions.by_sid(claims["sid"])


def test_signing_out_at_the_hall_ends_everything(bridge: Bridge):
    """All of the person's sessions, here and, by one logout token with `sub`, at Keycloak."""
    one, two = bridge.browser(), bridge.browser()
    _, claims = signed_in(bridge, one)
    _, other = signed_in(bridge, two)
    assert bridge.post(one, "/logout", headers={"Origin": ISSUER}).status_code == 303
    for sid in (claims["sid"], other["sid"]):
        assert bridge.parts.services.sessions.by_sid(sid) is None
    assert len(bridge.realm.logouts) == 1


def test_the_logout_token_is_as_the_standard_says(bridge: Bridge):
    """Back-Channel Logout §2.4: typ, iss, aud, iat, exp, jti, the event, sub; no nonce; ES256 by a published key."""
    client = bridge.browser()
    _, claims = signed_in(bridge, client)
    bridge.post(client, "/logout", headers={"Origin": ISSUER})
    (token,) = bridge.realm.logouts
    header = pyjwt.get_unverified_header(token)
    assert (header["typ"], header["alg"]) == ("logout+jwt", "ES256")
    told = bridge.claims(token)
    jti = told.pop("jti")
    assert jti
    now = int(bridge.clock().timestamp())
    assert told == {
        "iss": ISSUER,
        "aud": "keycloak",
        "iat": now,
        "exp": now + 120,
        "sub": claims["sub"],
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    }


def test_a_logout_is_told_until_keycloak_takes_it(bridge: Bridge):
    """Keycloak down, then failing, then well: told after growing pauses, once taken never again, a new jti each."""
    client = bridge.browser()
    signed_in(bridge, client)
    bridge.realm.down = True
    bridge.post(client, "/logout", headers={"Origin": ISSUER})
    deliver = bridge.parts.services.deliver_logouts
    assert deliver() == 0, "not before the pause is over"
    bridge.realm.down = False
    assert deliver() == 0
    bridge.clock.forward(2)
    bridge.realm.status = 504
    assert deliver() == 0
    assert len(bridge.realm.logouts) == 1
    bridge.realm.status = 200
    bridge.clock.forward(3)
    assert deliver() == 0, "the second pause is longer"
    bridge.clock.forward(1)
    assert deliver() == 1
    assert Logouts(bridge.parts.services.store).waiting() == 0
    assert len({bridge.claims(token)["jti"] for token in bridge.realm.logouts}) == 2


def test_when_keycloak_is_down_only_one_round_waits(bridge: Bridge):
    """Ten logouts do not cost ten time-outs but one, that of calls made at once; all are told later."""
    calls = []

    def sign_out(number: int) -> None:
        client = bridge.browser()
        answer = bridge.authorize(client)
        opened = bridge.sign_in(client, answer, bridge.signin(f"44010519900101{number:04}"))
        bridge.parts.services.sessions.end(opened.session.sid, "signed_out")

    for number in range(10):
        sign_out(number)
    bridge.realm.down = True
    post = bridge.realm.post
    bridge.realm.post = lambda *a, **k: (calls.append(1), post(*a, **k))[1]
    assert bridge.parts.services.deliver_logouts() == 0
    assert len(calls) == AT_ONCE
    bridge.realm.down = False
    bridge.clock.forward(2)
    assert bridge.parts.services.deliver_logouts() == 10


def end_many(bridge: Bridge, number: int) -> None:
    """As many people, all of whose sessions have just been ended."""
    for index in range(number):
        session = bridge.parts.services.sessions.open(bridge.signin(f"4401051990010{index:05}")).session
        bridge.parts.services.sessions.end(session.sid, "trust.denied")


def test_a_domain_switched_off_is_told_in_one_turn(bridge: Bridge):
    """R4, within 60 seconds: not fifty now and fifty at the next tick."""
    end_many(bridge, 120)
    assert bridge.parts.services.deliver_logouts() == 120
    assert len({bridge.claims(token)["sub"] for token in bridge.realm.logouts}) == 120


def test_one_without_an_answer_holds_back_no_other(bridge: Bridge, monkeypatch: pytest.MonkeyPatch):
    """A window that hangs makes Keycloak too slow for those who are signed in there; everybody else is signed out."""
    end_many(bridge, 20)
    take, hung = bridge.realm.post, bridge.signin("4401051990010" + "00000").person

    def post(url: str, form: dict[str, str]) -> Any:
        if pyjwt.decode(form["logout_token"], options={"verify_signature": False})["sub"] == hung:
            raise UpstreamError("upstream.unavailable", "POST sso: ReadTimeoutError")
        return take(url, form)

    monkeypatch.setattr(bridge.realm, "post", post)
    assert bridge.parts.services.deliver_logouts() == 19
    bridge.clock.forward(2)
    monkeypatch.undo()
    assert bridge.parts.services.deliver_logouts() == 1


def test_a_keycloak_that_is_down_is_not_asked_for_everybody(bridge: Bridge):
    """Each would cost the whole time-out again: the rest is not tried, and not put off either."""
    end_many(bridge, 40)
    bridge.realm.down = True
    assert bridge.parts.services.deliver_logouts() == 0
    bridge.realm.down = False
    assert bridge.parts.services.deliver_logouts() == 40 - AT_ONCE
    bridge.clock.forward(2)
    assert bridge.parts.services.deliver_logouts() == AT_ONCE
