"""Token requests that must be refused, and what a refused one leaves behind."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import jwt as pyjwt
import pytest
from joserfc.jwk import ECKey

from ca_bridge.provider import cookies
from tests.parts.bridge import ISSUER, REDIRECT, Bridge, cookie


def refused(answer: Any, error: str) -> None:
    """An OAuth error, not cached, without any token in it."""
    assert answer.status_code == 400, answer.get_data(as_text=True)
    assert answer.json["error"] == error
    assert answer.headers["Cache-Control"] == "no-store"
    assert "id_token" not in answer.json
    assert "access_token" not in answer.json


def test_a_code_used_twice_ends_its_session(bridge: Bridge):
    """The second use gives nothing, ends the session of the first and tells Keycloak (RFC 6749 §4.1.2)."""
    client = bridge.browser()
    code = bridge.code(client)
    claims = bridge.claims(bridge.token(code).json["id_token"])
    refused(bridge.token(code), "invalid_grant")
    assert bridge.parts.services.sessions.by_sid(claims["sid"]) is None
    assert [bridge.claims(token)["sub"] for token in bridge.realm.logouts] == [claims["sub"]]
    assert "/sign-in/" in bridge.authorize(client).location, "the cookie opens nothing any more"


def test_a_code_is_used_up_by_a_wrong_try(bridge: Bridge):
    """A wrong verifier burns the code: it cannot be guessed at."""
    code = bridge.code(bridge.browser())
    refused(bridge.token(code, code_verifier="w" * 43), "invalid_grant")
    refused(bridge.token(code), "invalid_grant")


def test_a_stranger_cannot_burn_a_code(bridge: Bridge):
    """Without the realm's signature the code is not even looked at."""
    code = bridge.code(bridge.browser())
    refused(
        bridge.token(code, client_assertion=bridge.realm.assertion(key=ECKey.generate_key("P-256"))), "invalid_client"
    )
    assert bridge.token(code).status_code == 200


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": None}, "invalid_request"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"code_verifier": "v" * 42}, "invalid_request"),
        ({"code_verifier": "V" * 43}, "invalid_grant"),
        ({"code_verifier": "v" * 44}, "invalid_grant"),
        ({"redirect_uri": None}, "invalid_grant"),
        ({"redirect_uri": REDIRECT + "/"}, "invalid_grant"),
        ({"redirect_uri": 'https://evil.example/"你好'}, "invalid_grant"),
        ({"code": None}, "invalid_request"),
        ({"code": "0" * 64}, "invalid_grant"),
        ({"code": "0" * 10000}, "invalid_grant"),
        ({"grant_type": "refresh_token"}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"grant_type": None}, "unsupported_grant_type"),
        ({"grant_type": '你"'}, "unsupported_grant_type"),
        ({"client_assertion": None}, "invalid_client"),
        ({"client_assertion": ""}, "invalid_client"),
        ({"client_assertion": "x.y.z"}, "invalid_client"),
        ({"client_assertion": "a" * 20000}, "invalid_client"),
        ({"client_assertion_type": "urn:other"}, "invalid_client"),
        ({"client_id": "other"}, "invalid_client"),
        ({"client_assertion": None, "client_secret": "secret"}, "invalid_client"),
    ],
)
def test_a_bad_token_request_is_refused(bridge: Bridge, changes: dict[str, Any], error: str):
    """Each with the error of RFC 6749 §5.2, and never a 500."""
    refused(bridge.token(bridge.code(bridge.browser()), **changes), error)


def test_a_parameter_given_twice_is_refused(bridge: Bridge):
    """RFC 6749 §3.2."""
    code = bridge.code(bridge.browser())
    form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("code", code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", bridge.verifier),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", bridge.realm.assertion()),
    ]
    body = "&".join(f"{name}={value}" for name, value in form)
    answer = bridge.post(bridge.browser(), "/token", body, content_type="application/x-www-form-urlencoded")
    refused(answer, "invalid_request")


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": f"{ISSUER}/token"},
        {"aud": f"{ISSUER}/"},
        {"aud": [ISSUER, "https://other.example"]},
        {"aud": []},
        {"aud": None},
        {"iss": "other"},
        {"iss": None},
        {"sub": "other"},
        {"sub": 7},
        {"sub": "other", "iss": "other"},
        {"jti": None},
        {"jti": ""},
        {"jti": "j" * 257},
        {"jti": 7},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"iat": None},
    ],
)
def test_a_bad_client_assertion_is_refused(bridge: Bridge, changes: dict[str, Any]):
    """RFC 7523 §3: iss and sub are the client, aud is our issuer alone, jti and times are there."""
    code = bridge.code(bridge.browser())
    refused(bridge.token(code, client_assertion=bridge.realm.assertion(**changes)), "invalid_client")
    assert bridge.token(code).status_code == 200, "the code was not touched"


@pytest.mark.parametrize(("begins", "ends"), [(-70, -6), (6, 60), (0, 61), (-10, 55), (-3600, 3600)])
def test_an_assertion_out_of_its_time_is_refused(bridge: Bridge, begins: int, ends: int):
    """At most 60 seconds from iat to exp, five seconds of leeway, clock of the bridge."""
    now = int(bridge.clock().timestamp())
    code = bridge.code(bridge.browser())
    assertion = bridge.realm.assertion(iat=now + begins, exp=now + ends)
    refused(bridge.token(code, client_assertion=assertion), "invalid_client")


def test_an_assertion_works_once(bridge: Bridge):
    """The same jti again is refused, for another code too."""
    assertion = bridge.realm.assertion()
    assert bridge.token(bridge.code(bridge.browser()), client_assertion=assertion).status_code == 200
    refused(bridge.token(bridge.code(bridge.browser()), client_assertion=assertion), "invalid_client")


def unsigned(assertion: str, algorithm: str, key: bytes | None = None) -> str:
    """The assertion's claims again, under another algorithm."""
    claims = json.loads(base64.urlsafe_b64decode(assertion.split(".")[1] + "=="))
    kid = pyjwt.get_unverified_header(assertion)["kid"]
    return pyjwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid})


def test_algorithm_confusion_is_refused(bridge: Bridge):
    """`none`, HMAC with the public key as secret, or an embedded key: ES256 by a key of the realm, nothing else."""
    code = bridge.code(bridge.browser())
    stranger = ECKey.generate_key("P-256", private=True)
    public = bridge.realm.key.as_dict(private=False)["x"].encode()
    for assertion in (
        unsigned(bridge.realm.assertion(), "none"),
        unsigned(bridge.realm.assertion(), "HS256", public),
        bridge.realm.assertion(key=stranger, header={"jwk": stranger.as_dict(private=False)}),
        bridge.realm.assertion(key=stranger, header={"kid": "unknown"}),
        bridge.realm.assertion(header={"kid": None}),
        bridge.realm.assertion()[:-6] + "AAAAAA",
    ):
        refused(bridge.token(code, client_assertion=assertion), "invalid_client")
    assert bridge.token(code).status_code == 200


def test_a_code_lives_sixty_seconds(bridge: Bridge):
    """At 59 s it works, at 60 s not."""
    early, late = bridge.code(bridge.browser()), bridge.code(bridge.browser())
    bridge.clock.forward(59)
    assert bridge.token(early).status_code == 200
    bridge.clock.forward(1)
    refused(bridge.token(late), "invalid_grant")


def test_a_session_that_ended_meanwhile_gives_no_token(bridge: Bridge):
    """Between code and token the certificate was revoked: nothing."""
    client = bridge.browser()
    code = bridge.code(client)
    session = bridge.parts.services.sessions.find(cookie(client, cookies.SESSION))
    assert session
    bridge.parts.services.sessions.end(session.sid, "revocation.revoked")
    refused(bridge.token(code), "invalid_grant")


def test_parameters_in_the_address_are_refused(bridge: Bridge):
    """RFC 6749 §4.1.3: in the body; an address is written into logs."""
    code = bridge.code(bridge.browser())
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": bridge.verifier}
    refused(bridge.post(bridge.browser(), f"/token?redirect_uri={REDIRECT}", form), "invalid_request")
    assert bridge.token(code).status_code == 200


def test_token_takes_post_only(bridge: Bridge):
    """A code in an address would be in logs."""
    assert bridge.get(bridge.browser(), "/token").status_code == 405


def test_a_body_that_is_too_large_is_refused(bridge: Bridge):
    """A megabyte is not read."""
    answer = bridge.post(bridge.browser(), "/token", {"code": "x" * 1024 * 1024})
    assert answer.status_code == 413


def test_without_the_realms_keys_the_answer_is_503(bridge: Bridge):
    """Keycloak cannot be reached and no key is known: a clear error; when it is back, the same code still works."""
    code = bridge.code(bridge.browser())
    bridge.realm.down = True
    answer = bridge.token(code)
    assert answer.status_code == 503
    assert answer.json == {"error": "temporarily_unavailable", "error_description": "upstream.realm_keys"}
    bridge.realm.down = False
    bridge.clock.now += timedelta(seconds=11)
    assert bridge.token(code).status_code == 200
