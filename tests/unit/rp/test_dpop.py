"""DPoP (RFC 9449): tokens bound to a key, from the sign-in to somebody else's API; every wrong proof is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from relying_party_sdk import RelyingParty, RPError, Settings
from relying_party_sdk.api import Api, needs
from relying_party_sdk.clientauth import ClientKey
from relying_party_sdk.dpop import AGE, check_proof, make_proof, plain_url, token_hash
from relying_party_sdk.errors import TokenError
from relying_party_sdk.metadata import process_metadata
from relying_party_sdk.resource import Needs, Presented
from relying_party_sdk.sealing import b64
from relying_party_sdk.testing import CITIZEN, Browser, FakeProvider
from relying_party_sdk.testing.provider import Login
from relying_party_sdk.transport import HttpResponse, get
from relying_party_sdk.web import Call, Stopped
from tests.unit.rp.conftest import Clock, Window, make_window

URL = "https://api.example/cases/7"
NOW = 1_800_000_000.0


@pytest.fixture(name="bound")
def _bound(provider: FakeProvider, settings: Settings, clock: Clock) -> Iterator[Window]:
    """A window whose tokens are bound."""
    window = make_window(provider, settings.with_(dpop="on"), clock)
    yield window
    window.party.close()


@pytest.mark.parametrize("nonce", ["", "n-1"])
def test_sign_in_refresh_and_calls(bound: Window, provider: FakeProvider, clock: Clock, nonce: str) -> None:
    """Code, refresh and attributes carry proofs, with the server's nonce when it wants one; nothing is refused else."""
    provider.apis.nonce = nonce
    browser = bound.browser()
    assert browser.open("/who").status == 200
    assert "dpop_jkt" in provider.authorizations[-1]
    session = bound.party.current(bound.cookie(browser))
    assert session is not None
    assert provider.apis.given[session.access_token].claims["cnf"]["jkt"] == provider.authorizations[-1]["dpop_jkt"]
    provider.apis.nonce = nonce and "n-2"
    clock.pass_(61)
    assert browser.open("/matters/7").status == 200
    assert provider.calls["refresh"] == (2 if nonce else 1)
    answer = bound.party.call(session, get(f"{provider.issuer}/userinfo"))
    assert answer.status == 200
    assert all("use_dpop_nonce" in refusal or "nonce" in refusal for refusal in provider.refusals)
    assert len(provider.refusals) <= (2 if nonce else 0)


def test_nonce_is_tried_once(bound: Window, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never takes its own nonce is asked twice, and no more."""
    session = _session(bound)
    monkeypatch.setattr(type(provider.apis), "nonce", property(lambda _: b64(__import__("os").urandom(6)), None), False)
    provider.apis.__dict__.pop("nonce", None)
    before = provider.calls["userinfo"]
    assert bound.party.call(session, get(f"{provider.issuer}/userinfo")).status == 401
    assert provider.calls["userinfo"] == before + 2


def _session(window: Window) -> Any:
    browser = window.browser()
    browser.open("/matters/7")
    return window.party.current(window.cookie(browser))


def test_provider_that_binds_nothing(bound: Window, browser: Browser, provider: FakeProvider) -> None:
    """An unbound token where a bound one was asked for is not taken: no silent step back."""
    provider.apis.possession = lambda *_: ""  # type: ignore[method-assign]
    page = bound.browser().open("/matters/7")
    assert (page.status, "rp.provider_" in page.text) == (502, True)


def test_provider_without_dpop(settings: Settings) -> None:
    """A provider that does not advertise it is refused at discovery."""
    raw = b'{"issuer": "%s", "authorization_endpoint": "https://a/a", "token_endpoint": "https://a/t", "jwks_uri": "https://a/j"}'
    answer = HttpResponse(200, {"content-type": "application/json"}, raw % settings.issuer.encode())
    process_metadata(answer, settings)
    with pytest.raises(RPError, match=r"rp\.metadata"):
        process_metadata(answer, settings.with_(dpop="on"))


# ---- proofs at an API


@pytest.fixture(name="key")
def _key(tmp_path: Path) -> ClientKey:
    return ClientKey(tmp_path / "client.dpop", lambda n: b"r" * n)


def _proof(key: ClientKey, header: dict[str, Any] | None = None, **changes: Any) -> str:
    claims = {"jti": "j", "htm": "GET", "htu": URL, "iat": int(NOW), "ath": token_hash("token"), **changes}
    kept = {name: value for name, value in claims.items() if value is not None}
    return key.sign({"typ": "dpop+jwt", "jwk": dict(key.public), **(header or {})}, kept)


def _check(proof: str, method: str = "GET", url: str = URL) -> str:
    try:
        return check_proof(proof, method=method, url=url, now=NOW, leeway=10, access_token="token").jkt
    except TokenError as error:
        return error.code


def test_good_proofs(key: ClientKey) -> None:
    """What our client makes is taken; the thumbprint is the key's; query and fragment of the address do not count."""
    made = make_proof(key, lambda n: b"r" * n, "GET", URL + "?q=1#f", NOW, access_token="token", nonce="n")
    assert _check(made) == _check(_proof(key)) == key.kid
    assert _check(_proof(key, iat=NOW - AGE - 10)) == _check(_proof(key, iat=NOW + 10)) == key.kid
    assert _check(_proof(key, htu="HTTPS://API.example:443/cases/%37")) == key.kid


WRONG: dict[str, dict[str, Any]] = {
    "typ": {"header": {"typ": "JWT"}},
    "no typ": {"header": {"typ": None}},
    "crit": {"header": {"crit": ["x"]}},
    "no key": {"header": {"jwk": None}},
    "key a text": {"header": {"jwk": "x"}},
    "symmetric key": {"header": {"jwk": {"kty": "oct", "k": "AAAA"}}},
    "point not on the curve": {"header": {"jwk": {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43}}},
    "another method": {"htm": "POST"},
    "method in small letters": {"htm": "get"},
    "another path": {"htu": "https://api.example/cases/8"},
    "another host": {"htu": "https://api.example.attacker/cases/7"},
    "another scheme": {"htu": "http://api.example/cases/7"},
    "another port": {"htu": "https://api.example:8443/cases/7"},
    "user in the address": {"htu": "https://api.example@attacker/cases/7"},
    "an encoded slash": {"htu": "https://api.example/cases%2F7"},
    "address a list": {"htu": [URL]},
    "no address": {"htu": None},
    "old": {"iat": NOW - AGE - 11},
    "future": {"iat": NOW + 11},
    "no iat": {"iat": None},
    "iat a text": {"iat": "now"},
    "no jti": {"jti": None},
    "endless jti": {"jti": "j" * 256},
    "nonce a number": {"nonce": 7},
    "no ath": {"ath": None},
    "ath of another token": {"ath": token_hash("another")},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG.keys())
def test_wrong_proof(key: ClientKey, changes: dict[str, Any]) -> None:
    """Each wrong proof is `rp.dpop_proof` (RFC 9449 §4.3)."""
    assert _check(_proof(key, **changes)) == "rp.dpop_proof"


def test_proof_by_another_key(key: ClientKey, tmp_path: Path) -> None:
    """A signature that is not by the key in the proof, unsigned, private keys inside, small RSA keys, two proofs."""
    other = ClientKey(tmp_path / "other.dpop", lambda n: b"r" * n)
    assert _check(_proof(other, {"jwk": dict(key.public)})) == "rp.dpop_proof"
    assert _check(_proof(key, {"jwk": {**key.public, "d": "AAAA"}})) == "rp.dpop_proof"
    head, body, signature = _proof(key).split(".")
    none = b64(b'{"typ":"dpop+jwt","alg":"none"}')
    small = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)
    assert _check(_proof(key, {"jwk": small})) == "rp.dpop_proof"
    for broken in ("", "a.b", f"{none}.{body}.", f"{head}.{body}.", f"{_proof(key)}, {_proof(key)}", "x" * 9000):
        assert _check(broken) == "rp.dpop_proof"
    assert signature


@pytest.mark.parametrize("url", ["", "/cases", "ftp://a/", "https://", "https://a:b/"])
def test_addresses_that_are_none(url: str) -> None:
    """What is no http(s) address equals nothing."""
    with pytest.raises(ValueError, match=r"."):
        plain_url(url)


# ---- an API of our own


@pytest.fixture(name="given")
def _given(window: Window, key: ClientKey) -> str:
    """A token bound to `key`."""
    return window.provider.apis.give(window.provider._clients["window"], Login(CITIZEN, 2, NOW), key.kid)


def _admit(window: Window, token: str, proof: str | None, scheme: str = "DPoP") -> str:
    presented = Presented(f"{scheme} {token}", proof, "GET", f"{window.settings.base_url}/api")
    try:
        window.party.resource.admit(presented, Needs())
    except RPError as error:
        return error.code
    return "ok"


def _made(window: Window, key: ClientKey, token: str, **more: Any) -> str:
    count = iter(range(1_000_000))
    window.posted.append("")
    raw = f"{len(window.posted)}-{next(count)}".encode()
    url = f"{window.settings.base_url}/api"
    return make_proof(key, lambda n: raw.ljust(n, b"-"), "GET", url, NOW, access_token=token, **more)


def test_bound_token_at_our_api(window: Window, key: ClientKey, given: str, tmp_path: Path, clock: Clock) -> None:
    """With its proof it opens, once; not without, as bearer, with another's proof, or with a used one anywhere."""
    proof = _made(window, key, given)
    assert _admit(window, given, proof) == "ok"
    assert _admit(window, given, proof) == "rp.dpop_proof"
    other = RelyingParty(window.settings, clock=clock)
    window.party, kept = other, window.party
    assert _admit(window, given, proof) == "rp.dpop_proof"
    window.party = kept
    other.close()
    stranger = ClientKey(tmp_path / "stranger", lambda n: b"r" * n)
    assert _admit(window, given, _made(window, stranger, given)) == "rp.dpop_proof"
    assert _admit(window, given, None) == "rp.dpop_proof"
    assert _admit(window, given, _made(window, key, given), "Bearer") == "rp.token_binding"
    free = window.provider.apis.give(window.provider._clients["window"], Login(CITIZEN, 2, NOW), "")
    assert _admit(window, free, _made(window, key, free)) == "rp.token_binding"


def test_nonce_of_ours(provider: FakeProvider, settings: Settings, clock: Clock, key: ClientKey) -> None:
    """With `api_dpop_nonce` a proof without one is told one, good for five minutes; invented ones fail."""
    window = make_window(provider, settings.with_(api_dpop_nonce="on"), clock)
    token = provider.apis.give(provider._clients["window"], Login(CITIZEN, 2, NOW), key.kid, exp=int(NOW) + 3600)
    proof = _made(window, key, token)
    call = Call("GET", "/api", headers={"authorization": f"DPoP {token}", "dpop": proof})
    with pytest.raises(Stopped) as stopped:
        Api(window.party).admit(call, needs())
    headers = dict(stopped.value.reply.headers)
    assert headers["WWW-Authenticate"].startswith('DPoP error="use_dpop_nonce"')
    nonce = headers["DPoP-Nonce"]
    assert _admit(window, token, _made(window, key, token, nonce=nonce)) == "ok"
    assert _admit(window, token, _made(window, key, token, nonce=nonce[:-2] + "AA")) == "rp.dpop_nonce"
    assert _admit(window, token, _made(window, key, token, nonce="é")) == "rp.dpop_nonce"
    clock.pass_(301)
    late = make_proof(
        key, lambda n: b"l" * n, "GET", "https://window.test/api", clock.now, access_token=token, nonce=nonce
    )
    assert _admit(window, token, late) == "rp.dpop_nonce"
    window.party.close()
