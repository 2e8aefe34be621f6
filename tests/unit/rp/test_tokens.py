"""ID tokens and claims that must be refused, over the whole way (OpenID RP conformance list, and ours)."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from relying_party_sdk import ProviderError, Settings, TokenError
from relying_party_sdk.claims import check_claims, schema
from relying_party_sdk.jwks import KeyCache, process_jwks
from relying_party_sdk.strict import json_object
from relying_party_sdk.testing import CITIZEN, Browser, FakeProvider, Fault
from relying_party_sdk.testing.minting import Mint
from relying_party_sdk.transport import HttpResponse
from relying_party_sdk.verify import check_id_token, verify_signature
from tests.unit.rp.conftest import Clock, Window

REFUSED = {
    Fault.ALG_NONE: "rp.token_alg",
    Fault.HMAC_PUBLIC_KEY: "rp.token_alg",
    Fault.BAD_SIGNATURE: "rp.token_signature",
    Fault.FOREIGN_KEY: "rp.token_signature",
    Fault.WRONG_ISS: "rp.token_iss",
    Fault.NO_ISS: "rp.token_iss",
    Fault.WRONG_AUD: "rp.token_aud",
    Fault.NO_AUD: "rp.token_aud",
    Fault.EXTRA_AUD: "rp.token_aud",
    Fault.WRONG_AZP: "rp.token_azp",
    Fault.NO_SUB: "rp.token_sub",
    Fault.NO_NONCE: "rp.token_nonce",
    Fault.WRONG_NONCE: "rp.token_nonce",
    Fault.EXPIRED: "rp.token_expired",
    Fault.NO_EXP: "rp.token_expired",
    Fault.FUTURE: "rp.token_iat",
    Fault.NO_IAT: "rp.token_iat",
    Fault.WRONG_AT_HASH: "rp.token_at_hash",
    Fault.ACCESS_TOKEN_TYPE: "rp.token_typ",
    Fault.NO_CLAIM: "rp.claims",
    Fault.MISTYPED_CLAIM: "rp.claims",
}


@pytest.mark.parametrize(("fault", "code"), REFUSED.items(), ids=str)
def test_wrong_id_token_signs_nobody_in(
    browser: Browser, window: Window, provider: FakeProvider, fault: Fault, code: str
) -> None:
    """Each wrong ID token gives an error page with its own code, and no session."""
    provider.faults.add(fault)
    page = browser.open("/matters/7")
    assert (page.status, code in page.text) == (403, True)
    assert window.cookie(browser) == ""
    provider.faults.clear()
    assert browser.open("/").text == "nobody"


def test_key_without_kid(browser: Browser, provider: FakeProvider) -> None:
    """A token without `kid` is taken while exactly one published key fits, refused when several do."""
    provider.faults.add(Fault.NO_KID)
    assert browser.open("/matters/7").status == 200


def test_key_rotated_just_before_signing(browser: Browser, window: Window, provider: FakeProvider) -> None:
    """A token by a key that was published after our last look is verified after one more look."""
    assert browser.open("/matters/7").status == 200
    provider.mint.rotate()
    assert window.browser().open("/matters/7").status == 200
    assert provider.calls["jwks"] == 2


def _keys(mint: Mint) -> KeyCache:
    answer = HttpResponse(200, {"content-type": "application/json"}, json.dumps(mint.jwks()).encode())
    return KeyCache(lambda: process_jwks(answer), mint.clock, wait=1)


@pytest.fixture(name="mint")
def _mint(clock: Clock) -> Mint:
    return Mint("https://provider.example", clock)


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _good(mint: Mint, **changes: Any) -> str:
    claims = {
        "iss": mint.issuer,
        "aud": "window",
        "sub": "x",
        "iat": mint.clock(),
        "exp": mint.clock() + 60,
        "nonce": "n",
    }
    return mint.sign({"alg": "ES256", "kid": mint.signing}, {**claims, **changes})


def _broken(mint: Mint) -> dict[str, str]:
    head, body, signature = _good(mint).split(".")
    return {
        "empty": "",
        "two parts": f"{head}.{body}",
        "five parts": f"{head}.{body}.{signature}.a.b",
        "padding": f"{head}.{body}.{signature}==",
        "standard base64": f"{head}.{body}.+{signature[1:]}",
        "header not JSON": f"{_b64(b'no')}.{body}.{signature}",
        "header a list": f"{_b64(b'[]')}.{body}.{signature}",
        "alg twice": _b64(b'{"alg":"none","alg":"ES256"}') + f".{body}.{signature}",
        "not UTF-8": f"{_b64(bytes([0xFF]))}.{body}.{signature}",
        "huge": "a" * 70_000 + "." + body + "." + signature,
        "deep": _b64(b'{"a":' + b"[" * 20_000 + b"}") + f".{body}.{signature}",
        "crit": mint.sign({"alg": "ES256", "kid": mint.signing, "crit": ["b64"], "b64": True}, {}),
        "kid a number": mint.sign({"alg": "ES256", "kid": 7}, {}),
    }


def test_malformed_tokens_are_refused(mint: Mint) -> None:
    """Whatever is not a compact JWS with unambiguous JSON is `rp.token_format`, before any key is used."""
    for name, token in _broken(mint).items():
        with pytest.raises(TokenError) as caught:
            verify_signature(token, ("ES256",), _keys(mint).find)
        assert caught.value.code == "rp.token_format", name


@pytest.mark.parametrize("alg", ["none", "nOnE", "HS256", "ES512", "RS256", "", None, ["ES256"]])
def test_algorithm_comes_from_the_settings(mint: Mint, alg: object) -> None:
    """Only algorithms of the settings are taken, whatever the header says."""
    header = {"alg": alg, "kid": mint.signing}
    head, body = _b64(json.dumps(header).encode()), _b64(b"{}")
    with pytest.raises(TokenError) as caught:
        verify_signature(f"{head}.{body}.", ("ES256",), _keys(mint).find)
    assert caught.value.code == "rp.token_alg"


def test_key_of_another_kind_is_not_used(mint: Mint) -> None:
    """A token that names an EC key but says RS256 finds no key (RFC 8725 §3.1)."""
    token = mint.sign({"alg": "RS256", "kid": mint.signing}, {})
    with pytest.raises(TokenError) as caught:
        verify_signature(token, ("ES256", "RS256"), _keys(mint).find)
    assert caught.value.code == "rp.token_key"


def test_embedded_key_is_ignored(mint: Mint, clock: Clock) -> None:
    """A key in the token's own header (`jwk`) verifies nothing."""
    attacker = Mint(mint.issuer, clock)
    header = {"alg": "ES256", "jwk": attacker.jwks()["keys"][0]}
    with pytest.raises(TokenError) as caught:
        verify_signature(attacker.sign(header, {}), ("ES256",), _keys(mint).find)
    assert caught.value.code == "rp.token_signature"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": "soon"}, "rp.token_expired"),
        ({"exp": True}, "rp.token_expired"),
        ({"exp": None}, "rp.token_expired"),
        ({"iat": "now"}, "rp.token_iat"),
        ({"nbf": 9_999_999_999}, "rp.token_iat"),
        ({"sub": ""}, "rp.token_sub"),
        ({"sub": 7}, "rp.token_sub"),
        ({"sub": "x" * 256}, "rp.token_sub"),
        ({"nonce": ["n"]}, "rp.token_nonce"),
        ({"nonce": ""}, "rp.token_nonce"),
        ({"aud": []}, "rp.token_aud"),
        ({"aud": {"window": 1}}, "rp.token_aud"),
        ({"iss": "https://provider.example/"}, "rp.token_iss"),
        ({"at_hash": None}, "rp.token_at_hash"),
    ],
)
def test_claims_of_wrong_type(mint: Mint, settings: Settings, changes: dict[str, Any], code: str) -> None:
    """Types are checked as well as values: nothing is converted."""
    own = settings.with_(issuer=mint.issuer)
    with pytest.raises(TokenError) as caught:
        check_id_token(_good(mint, **changes), own, _keys(mint).find, mint.clock(), nonce="n")
    assert caught.value.code == code


def test_good_token_passes(mint: Mint, settings: Settings) -> None:
    """The token that the cases above spoil is taken, `aud` as text or as a list of one."""
    own = settings.with_(issuer=mint.issuer)
    for audience in ("window", ["window"]):
        claims = check_id_token(_good(mint, aud=audience), own, _keys(mint).find, mint.clock(), nonce="n")
        assert claims["sub"] == "x"


def test_clock_leeway_is_bounded(mint: Mint, settings: Settings) -> None:
    """Ten seconds of difference are forgiven, eleven are not."""
    own, token = settings.with_(issuer=mint.issuer), _good(mint)
    check_id_token(token, own, _keys(mint).find, mint.clock() + 69, nonce="n")
    with pytest.raises(TokenError, match="token_expired"):
        check_id_token(token, own, _keys(mint).find, mint.clock() + 70, nonce="n")


def test_contract_is_the_project_s() -> None:
    """The SDK ships an equal copy of `config/claims.schema.json`."""
    root = Path(__file__).parents[3]
    assert schema() == json.loads((root / "config" / "claims.schema.json").read_text("utf-8"))


def test_contract_uses_only_what_is_enforced() -> None:
    """Every keyword in the contract is one that `check_claims` enforces: nothing is silently not checked."""
    assert set(schema()) <= {"$schema", "title", "type", "required", "properties"}
    for rule in schema()["properties"].values():
        assert set(rule) <= {"type", "enum", "pattern", "minimum", "maximum", "description"}


def _claims() -> dict[str, Any]:
    return {
        "crosshall_subject": CITIZEN.subject("window"),
        "crosshall_kind": "citizen",
        "crosshall_level": 2,
        "acr": "urn:crosshall:loa:2",
        "crosshall_auth_time": 1_800_000_000,
        "crosshall_domain": "gd",
        "crosshall_checked_at": 1_800_000_000,
        "crosshall_status_issued_at": 1_800_000_000,
        "crosshall_rung": "fresh",
    }


@pytest.mark.parametrize("name", sorted(_claims()))
def test_missing_claim_is_named(name: str) -> None:
    """Keycloak drops a note silently when it cannot convert it: a missing claim is an error that names it."""
    claims = _claims()
    del claims[name]
    with pytest.raises(TokenError, match=f"{name} is missing"):
        check_claims(claims)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("crosshall_subject", "s1:short"),
        ("crosshall_subject", CITIZEN.subject("window").upper()),
        ("crosshall_subject", CITIZEN.subject("window") + "\n"),
        ("crosshall_kind", "admin"),
        ("crosshall_level", "2"),
        ("crosshall_level", 2.0),
        ("crosshall_level", True),
        ("crosshall_level", 0),
        ("crosshall_level", 5),
        ("crosshall_level", 3),
        ("acr", "urn:crosshall:loa:4"),
        ("crosshall_auth_time", "1800000000"),
        ("crosshall_auth_time", 10**40),
        ("crosshall_rung", ""),
        ("crosshall_domain", None),
    ],
)
def test_mistyped_claim_is_refused(name: str, value: object) -> None:
    """A claim of another type or outside its range is an error; `acr` and level must agree."""
    with pytest.raises(TokenError) as caught:
        check_claims({**_claims(), name: value})
    assert caught.value.code == "rp.claims"


@pytest.mark.parametrize("raw", [b"[]", b'{"a":1,"a":2}', b'{"a":NaN}', b"\xff", b"", b'{"a":' + b"[" * 50_000])
def test_json_is_unambiguous(raw: bytes) -> None:
    """Duplicates, constants that are not JSON, other types and endless nesting are refused."""
    with pytest.raises(ValueError, match=r"."):
        json_object(raw)


@pytest.mark.parametrize(
    "keys",
    ["no", [{"kty": "oct", "k": "AA", "kid": "a"}] * 51, None],
)
def test_key_set_of_wrong_shape(keys: object) -> None:
    """A key set that is no list, or an endless one, is refused."""
    answer = HttpResponse(200, {"content-type": "application/json"}, json.dumps({"keys": keys}).encode())
    with pytest.raises(ProviderError, match="provider_answer"):
        process_jwks(answer)


def test_unusable_keys_are_left_out(mint: Mint) -> None:
    """Symmetric, private, encryption, malformed and unknown keys are never candidates."""
    good = mint.jwks()["keys"][0]
    rows = [
        good,
        {"kty": "oct", "k": "AAAA", "kid": "a"},
        {**good, "d": "AAAA", "kid": "b"},
        {**good, "use": "enc", "kid": "c"},
        {**good, "x": "AAAA", "kid": "d"},
        {**good, "alg": "none", "kid": "e"},
        {"kty": "RSA", "n": _b64(b"\xc1" * 64), "e": "AQAB", "kid": "f"},
        "text",
    ]
    answer = HttpResponse(200, {"content-type": "application/json"}, json.dumps({"keys": rows}).encode())
    assert [key.kid for key in process_jwks(answer)] == [good["kid"]]


def test_no_person_in_errors_or_representations(browser: Browser, window: Window) -> None:
    """Neither `repr` of a session or person, nor the error page, carries subject, token or name."""
    browser.open("/who")
    session = window.party.current(window.cookie(browser))
    assert session is not None
    shown = repr(session) + repr(window.party.person(session)) + repr(window.party.attributes(session))
    for secret in (CITIZEN.subject("window"), session.sub, session.access_token, session.id_token, "张三"):
        assert secret not in shown
    assert not re.search(r"110105", shown)
