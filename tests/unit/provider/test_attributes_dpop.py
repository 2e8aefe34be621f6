"""The attribute endpoint and tokens that are bound to a key: with the proof of that key, for this request, once."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ca_bridge.crypto.jwk import thumbprint
from tests.parts.bridge import ISSUER, NAME, Bridge
from tests.unit.provider.test_attributes import subject_of

URL = f"{ISSUER}/attributes"
KEY = ec.generate_private_key(ec.SECP256R1())


def jwk_of(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    """The public half."""
    members: dict[str, Any] = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    return {name: members[name] for name in ("crv", "kty", "x", "y")}


JKT = thumbprint(jwk_of(KEY))
CNF = {"jkt": JKT, "kc-jkt-type": "DPoP"}


@pytest.fixture(name="token", params=["Bearer", "DPoP"])
def _token(bridge: Bridge, request: pytest.FixtureRequest) -> str:
    """An access token as Keycloak binds it: `typ` may stay what it is for others (26.7.3)."""
    return bridge.realm.access_token(subject_of(bridge), typ=request.param, cnf=CNF)


def prove(bridge: Bridge, token: str, key: Any = KEY, head: dict[str, Any] | None = None, **changes: Any) -> str:
    """A proof that is good but for the changes; None removes."""
    ath = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).decode().rstrip("=")
    claims = {"jti": secrets.token_hex(8), "htm": "GET", "htu": URL, "iat": int(bridge.clock().timestamp()), "ath": ath}
    header = {"typ": "dpop+jwt", "jwk": jwk_of(KEY), "alg": "ES256"} | (head or {})
    body = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(body, key, algorithm=header["alg"], headers=header)


def ask(bridge: Bridge, token: str, proof: str | None, scheme: str = "DPoP") -> Any:
    """GET /attributes."""
    headers = {"Authorization": f"{scheme} {token}"} | ({} if proof is None else {"DPoP": proof})
    return bridge.get(bridge.browser(), "/attributes", headers=headers)


def refused(answer: Any) -> bool:
    """401 with RFC 9449's challenge and without a name."""
    challenge = answer.headers.get("WWW-Authenticate", "")
    assert NAME not in answer.get_data(as_text=True)
    return bool(
        answer.status_code == 401
        and answer.json["error_description"] == "provider.dpop"
        and challenge.startswith('DPoP error="invalid_token"')
        and 'algs="ES256"' in challenge
    )


def test_a_bound_token_with_its_proof(bridge: Bridge, token: str) -> None:
    """Each request has a proof of its own; case of the host, the default port and a query are no difference."""
    for htu in (URL, f"{URL}?x=1", URL.replace("hall.", "HALL."), f"{URL}#part"):
        answer = ask(bridge, token, prove(bridge, token, htu=htu))
        assert answer.status_code == 200, (htu, answer.json)
        assert answer.json["name"] == NAME


def test_a_proof_counts_once(bridge: Bridge, token: str) -> None:
    """Replayed it is refused, and one of an identifier that was used with this key as well."""
    proof = prove(bridge, token, jti="one")
    assert ask(bridge, token, proof).status_code == 200
    assert refused(ask(bridge, token, proof))
    assert refused(ask(bridge, token, prove(bridge, token, jti="one")))


def test_bound_and_unbound_are_kept_apart(bridge: Bridge, token: str) -> None:
    """A bound token as a bearer token, an unbound one as bound, one bound to a certificate: refused (RFC 9449 §7.2)."""
    assert refused(ask(bridge, token, None, "Bearer"))
    assert refused(ask(bridge, token, prove(bridge, token), "Bearer"))
    assert refused(ask(bridge, token, None))
    subject = subject_of(bridge)
    plain = bridge.realm.access_token(subject)
    assert refused(ask(bridge, plain, prove(bridge, plain)))
    for changes in (
        {"typ": "DPoP"},
        {"typ": "DPoP", "cnf": {}},
        {"typ": "DPoP", "cnf": "text"},
        {"typ": "DPoP", "cnf": {"jkt": 7}},
        {"typ": "DPoP", "cnf": {"x5t#S256": JKT}},
        {"typ": "DPoP", "cnf": {"jkt": JKT, "x5t#S256": JKT}},
        {"typ": "Bearer", "cnf": {"x5t#S256": JKT}},
    ):
        odd = bridge.realm.access_token(subject, **changes)
        assert refused(ask(bridge, odd, prove(bridge, odd))), changes
        assert refused(ask(bridge, odd, None, "Bearer")), changes


@pytest.mark.parametrize(
    "changes",
    [
        {"htm": "POST"},
        {"htm": "get"},
        {"htm": None},
        {"htu": None},
        {"htu": 7},
        {"htu": f"{ISSUER}/attributes/"},
        {"htu": f"{ISSUER}/token"},
        {"htu": URL.replace("https:", "http:")},
        {"htu": URL.replace("8443", "8444")},
        {"htu": URL.replace("8443", "84430000")},
        {"htu": URL.replace("//hall", "//user@hall")},
        {"ath": None},
        {"ath": "of another"},
        {"iat": None},
        {"iat": "now"},
        {"iat": True},
        {"iat": 10**400},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 256},
        {"jti": 7},
    ],
    ids=str,
)
def test_a_proof_of_something_else(bridge: Bridge, token: str, changes: dict[str, Any]) -> None:
    """Method, address, token, time and identifier are all there and right."""
    assert refused(ask(bridge, token, prove(bridge, token, **changes)))


@pytest.mark.parametrize("seconds", [-61, 6, -86400])
def test_a_proof_of_another_time(bridge: Bridge, token: str, seconds: int) -> None:
    """At most a minute old, at most five seconds ahead."""
    now = int(bridge.clock().timestamp())
    assert refused(ask(bridge, token, prove(bridge, token, iat=now + seconds)))


def _another_key(bridge: Bridge, token: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return prove(bridge, token, key, {"jwk": jwk_of(key)})


@pytest.mark.parametrize(
    "make",
    [
        lambda b, t: "",
        lambda b, t: "x.y.z",
        lambda b, t: "a" * 5000,
        lambda b, t: f"{prove(b, t)},{prove(b, t)}",
        lambda b, t: prove(b, t, head={"typ": "JWT"}),
        lambda b, t: prove(b, t, head={"crit": ["b64"], "b64": True}),
        lambda b, t: prove(b, t, head={"jwk": None}),
        lambda b, t: prove(b, t, head={"jwk": {**jwk_of(KEY), "d": "AAAA"}}),
        lambda b, t: prove(b, t, head={"jwk": {**jwk_of(KEY), "y": jwk_of(KEY)["x"]}}),
        lambda b, t: prove(b, t, "a shared secret of thirty-two octets", {"alg": "HS256"}),
        lambda b, t: prove(b, t, rsa.generate_private_key(65537, 2048), {"alg": "PS256"}),
        lambda b, t: prove(b, t, ec.generate_private_key(ec.SECP256R1())),
        _another_key,
        lambda b, t: prove(b, t)[:-8] + "AAAAAAAA",
    ],
    ids=range(14),
)
def test_a_proof_by_something_else(bridge: Bridge, token: str, make: Callable[[Bridge, str], str]) -> None:
    """One ES256 JWS, typed, by the key inside it, which is the token's."""
    assert refused(ask(bridge, token, make(bridge, token)))
