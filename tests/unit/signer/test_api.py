"""What a hall's page may do with the signer, and what nobody else may."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from ca_bridge.asn1.certificate import parse_pem
from ca_bridge.crypto import challenge as challenges
from ca_bridge.errors import CryptoError
from tests.parts.signer import HALL, Person


@pytest.mark.parametrize(
    ("persona_id", "algorithm"),
    [("gd-zhang", "RS256"), ("gd-zhang-file", "RS256"), ("gz-li", "ES256"), ("mo-ho", "ES384"), ("ch-huang", "SM2")],
)
def test_signature_is_the_bridges_challenge(person: Person, persona_id: str, algorithm: str) -> None:
    """What comes back passes the bridge's own check, for every kind of key and token."""
    asked = person.challenge()
    made = person.ask({"challenge": asked, "level": 4, "languages": ["zh-Hans"]}).json
    assert made is not None
    assert made["page"] == f"{person.own}/requests/{made['id']}"
    assert person.collect(made).json == {"state": "waiting"}
    assert person.submit(made, persona_id).status_code == 303
    answer = person.collect(made).json
    assert answer is not None
    assert (answer["state"], answer["algorithm"]) == ("done", algorithm)
    leaf = parse_pem(answer["certificate"])
    challenge = challenges.Challenge(
        HALL, asked["transaction"], asked["nonce"], leaf.spki_sha256, datetime.fromisoformat(asked["expires"])
    )
    signature = base64.urlsafe_b64decode(answer["signature"] + "==")
    challenges.check(challenge, leaf.spki, signature, algorithm, "1234567812345678", now=person.now())


def test_the_browser_s_key_is_shown_and_signed(person: Person) -> None:
    """A sixth field: the person sees it, the signature holds it, and without it the bytes are other ones."""
    asked = person.challenge(browser="b" * 43)
    made = person.ask({"challenge": asked, "level": 4, "languages": ["en"]}).json
    assert made is not None
    assert "bbbbbbbb…" in person.page(made)
    person.submit(made, "gz-li")
    answer = person.collect(made).json
    assert answer is not None
    leaf = parse_pem(answer["certificate"])
    expires = datetime.fromisoformat(asked["expires"])
    challenge = challenges.Challenge(
        HALL, asked["transaction"], asked["nonce"], leaf.spki_sha256, expires, asked["browser"]
    )
    signature = base64.urlsafe_b64decode(answer["signature"] + "==")
    challenges.check(challenge, leaf.spki, signature, "ES256", "", now=person.now())
    for other in ("", "c" * 43):
        with pytest.raises(CryptoError, match=r"crypto\.signature"):
            challenges.check(replace(challenge, browser=other), leaf.spki, signature, "ES256", "", now=person.now())


@pytest.mark.parametrize("browser", ["", "b" * 42, "b" * 44, "é" * 43, 1, None])
def test_a_browser_s_key_that_is_none(person: Person, browser: object) -> None:
    """A thumbprint is 43 characters of base64url; nothing else is shown to the person."""
    challenge = {**person.challenge(), "browser": browser}
    assert person.ask({"challenge": challenge, "level": 3}).status_code == 400


def test_answer_is_handed_out_once(person: Person) -> None:
    """A second call with the right secret learns nothing."""
    made = person.ask().json
    assert made is not None
    person.submit(made, "gz-li")
    assert person.collect(made).json["state"] == "done"  # type: ignore[index]
    again = person.collect(made)
    assert (again.status_code, again.json["error"]) == (404, "signer.unknown_request")  # type: ignore[index]


def test_answer_needs_the_secret_and_the_origin_that_asked(person: Person) -> None:
    """Neither the request's id (it is in the window's address) nor another origin collects the answer."""
    made = person.ask().json
    assert made is not None
    person.submit(made, "gz-li")
    assert person.collect(made, secret="x" * 43).status_code == 404
    assert person.collect(made, origin="https://evil.example").status_code == 403
    without = person.get(f"/v1/requests/{made['id']}", Origin=HALL)
    assert without.status_code == 404
    assert person.collect(made).json["state"] == "done"  # type: ignore[index]


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "https://evil.example",
        "https://hall.gd.localhost",
        "http://hall.gd.localhost:8443",
        "https://hall.gd.localhost:8443/",
        "https://HALL.gd.localhost:8443",
        "https://hall.gd.localhost:8443.evil.example",
    ],
)
def test_only_listed_origins_ask(person: Person, origin: str) -> None:
    """An origin that is absent or differs in one character is refused, and gets no CORS headers to read why."""
    answer = person.ask(Origin=origin)
    assert (answer.status_code, answer.json["error"]) == (403, "signer.origin")  # type: ignore[index]
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("host", ["evil.example", "localhost:28443", "127.0.0.1", "127.0.0.1:80", "[::1]:28443"])
def test_foreign_host_is_refused(person: Person, host: str) -> None:
    """DNS rebinding: a name of somebody's own that resolves to loopback opens nothing, the page neither."""
    assert person.ask(Host=host).json["error"] == "signer.host"  # type: ignore[index]
    assert person.get("/requests/x", Host=host).status_code == 403
    assert person.get("/v1/status", Host=host, Origin=HALL).status_code == 403


Change = Callable[[Person], Any]
CHALLENGES: dict[str, tuple[Change, str]] = {
    "other_host": (lambda p: p.challenge(origin="https://other.example"), "signer.challenge_origin"),
    "other_port": (lambda p: p.challenge(origin="https://hall.gd.localhost:8444"), "signer.challenge_origin"),
    "over_now": (lambda p: p.challenge(expires=p.now().isoformat()), "signer.challenge_time"),
    "long_over": (lambda p: p.challenge(expires="2020-01-01T00:00:00+00:00"), "signer.challenge_time"),
    "in_a_year": (
        lambda p: p.challenge(expires=p.now().replace(year=p.now().year + 1).isoformat()),
        "signer.challenge_time",
    ),
    "no_zone": (lambda p: p.challenge(expires="2030-01-01T00:00:00"), "signer.request"),
    "no_time": (lambda p: p.challenge(expires="soon"), "signer.request"),
    "short_nonce": (lambda p: p.challenge(nonce="short"), "signer.request"),
    "long_nonce": (lambda p: p.challenge(nonce="x" * 500), "signer.request"),
    "control_characters": (lambda p: p.challenge(transaction="1" + "\n" * 30), "signer.request"),
    "text_to_sign": (lambda p: {**p.challenge(), "message": "sign this contract"}, "signer.request"),
    "field_missing": (lambda p: {k: v for k, v in p.challenge().items() if k != "nonce"}, "signer.request"),
    "number": (lambda p: {**p.challenge(), "nonce": 7}, "signer.request"),
    "cms": (lambda p: "MIAGCSqGSIb3DQEHAqCAMIACAQEx", "signer.request"),
    "absent": (lambda p: None, "signer.request"),
}


@pytest.mark.parametrize("case", CHALLENGES)
def test_nothing_but_a_good_challenge_is_taken(person: Person, case: str) -> None:
    """No signing oracle: only well-formed challenges, for the asking origin, good for 60 s at most."""
    change, code = CHALLENGES[case]
    answer = person.ask({"challenge": change(person), "level": 3})
    assert answer.json["error"] == code  # type: ignore[index]


def test_challenge_lives_60_seconds(person: Person) -> None:
    """60 s by the hall's clock, which may be 5 s ahead of this one: 65 is taken and signed, 66 not."""
    later = person.now().timestamp() + 66
    expires = datetime.fromtimestamp(later, person.now().tzinfo).isoformat()
    answer = person.ask({"challenge": person.challenge(expires=expires), "level": 3})
    assert answer.json["error"] == "signer.challenge_time"  # type: ignore[index]
    expires = datetime.fromtimestamp(later - 1, person.now().tzinfo).isoformat()
    made = person.ask({"challenge": person.challenge(expires=expires), "level": 3}).json
    assert made is not None
    assert person.submit(made, "gz-li").status_code == 303


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"challenge": {}, "level": 3, "extra": 1}',
        b"[" * 5000,
    ],
)
def test_broken_bodies_are_refused(person: Person, body: bytes) -> None:
    """Bodies that are not the object of the protocol get a code, never a fault."""
    answer = person.ask(body)
    assert (answer.status_code, answer.json["error"]) == (400, "signer.request")  # type: ignore[index]


@pytest.mark.parametrize("level", [0, 5, "3", 3.0, True, None, [3]])
def test_levels_are_one_to_four(person: Person, level: object) -> None:
    """The page shows the level in words: it must be one that there is."""
    answer = person.ask({"challenge": person.challenge(), "level": level})
    assert answer.json["error"] == "signer.request"  # type: ignore[index]


def test_form_content_types_are_refused(person: Person) -> None:
    """A content type that a cross-site form can send without a preflight is not taken."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert person.ask(Content_Type=kind).status_code == 400


def test_large_body_is_refused(person: Person) -> None:
    """A request is small; 1 MB is not read."""
    assert person.ask(b"x" * (1 << 20)).status_code == 413


def test_preflight_allows_the_hall_alone(person: Person) -> None:
    """CORS and network-access headers for the hall's origin, none for another."""
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Private-Network": "true",
        "Access-Control-Request-Local-Network": "true",
        "Host": person.own.removeprefix("http://"),
    }
    good = person.client.options("/v1/requests", headers={**asked, "Origin": HALL})
    assert good.status_code == 204
    assert good.headers["Access-Control-Allow-Origin"] == HALL
    assert good.headers["Access-Control-Allow-Private-Network"] == "true"
    assert good.headers["Access-Control-Allow-Local-Network"] == "true"
    assert "authorization" in good.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in good.headers
    bad = person.client.options("/v1/requests", headers={**asked, "Origin": "https://evil.example"})
    assert bad.status_code == 403
    assert not [name for name in dict(bad.headers) if name.startswith("Access-Control")]


def test_page_has_no_cors(person: Person) -> None:
    """The signer's own page can be read by no other page, the hall neither."""
    made = person.ask().json
    assert made is not None
    answer = person.get(f"/requests/{made['id']}", Origin=HALL)
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_status_tells_a_hall_that_the_signer_is_here(person: Person) -> None:
    """A hall and a program of this machine are answered; another page is not."""
    expected = {"name": "crosshall-signer", "version": 1, "browser": True}
    assert person.get("/v1/status", Origin=HALL).json == expected
    assert person.get("/v1/status").json == expected
    assert person.get("/v1/status", Origin="https://evil.example").status_code == 403


def test_too_many_waiting_requests_are_refused(person: Person) -> None:
    """No page can bury the person in windows: the ninth waits for nobody."""
    for _ in range(8):
        assert person.ask().status_code == 201
    answer = person.ask()
    assert (answer.status_code, answer.json["error"]) == (429, "signer.busy")  # type: ignore[index]
    person.now.pass_by(61)
    assert person.ask().status_code == 201


def test_rate_is_limited(person: Person) -> None:
    """Requests that are refused at once count too: thirty in a minute, not more."""
    for _ in range(30):
        made = person.ask().json
        assert made is not None
        person.submit(made, "gz-li", to="/refuse")
    assert person.ask().json["error"] == "signer.busy"  # type: ignore[index]


def test_expired_request_is_told_once_over(person: Person) -> None:
    """After 60 s nothing is signed and nothing signed is handed out; after two minutes nothing is known."""
    waiting, signed = person.ask().json, person.ask().json
    assert waiting is not None
    assert signed is not None
    person.submit(signed, "gz-li")
    person.now.pass_by(60)
    assert person.collect(waiting).json == {"state": "expired"}
    assert person.collect(signed).json == {"state": "expired"}
    person.now.pass_by(61)
    assert person.collect(waiting).status_code == 404


def test_answers_speak_the_callers_language(person: Person) -> None:
    """A refusal carries words for the person in the language asked for, and a stable code."""
    answer = person.get("/v1/status", Origin="https://evil.example", Accept_Language="pt-PT,pt;q=0.9")
    assert "lista de balcões" in answer.json["say"]  # type: ignore[index]
    unknown = person.get("/v1/nothing", Origin=HALL, Accept_Language="zh-HK")
    assert unknown.status_code == 404
    assert "簽署" in unknown.json["say"]  # type: ignore[index]
