"""What nodes say to each other: one algorithm, one kind of document, one key; anything else is refused."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc import jwe, jws
from joserfc.jwk import ECKey

from ca_bridge.crypto import between, jwk
from ca_bridge.errors import ConfigError, CryptoError

TYP, LIMIT = "crosshall-test+jwt", 4096


def b64(raw: bytes | dict[str, Any]) -> str:
    """base64url without padding; objects as JSON."""
    data = json.dumps(raw).encode() if isinstance(raw, dict) else raw
    return urlsafe_b64encode(data).decode().rstrip("=")


@pytest.fixture(scope="module")
def key() -> ECKey:
    """A node's key."""
    return ECKey.generate_key("P-256", private=True)


def public(key: ECKey) -> dict[str, str]:
    """As the roster has it."""
    return {**jwk.public_members(key.as_dict(private=False)), "kid": key.thumbprint()}


def code(call: Any, *arguments: Any) -> str:
    """The code of the refusal."""
    with pytest.raises(CryptoError) as caught:
        call(*arguments)
    return caught.value.code


def test_signed_and_read(key: ECKey) -> None:
    """The claims come back, under the signer's name."""
    token = between.sign(key, key.thumbprint(), TYP, {"a": "甲"})
    assert between.signer_of(token, TYP, LIMIT) == key.thumbprint()
    assert between.verify(token, public(key), TYP, LIMIT) == {"a": "甲"}


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"typ": "crosshall-other+jwt"},
        {"typ": None},
        {"kid": "other"},
        {"kid": 1},
        {"crit": ["b64"], "b64": False},
        {"jwk": {}},
        {"jku": "https://evil.test/"},
    ],
)
def test_other_headers_are_refused(key: ECKey, header: dict[str, Any]) -> None:
    """The signature itself is right each time: the header alone refuses."""
    full = {"alg": "ES256", "kid": key.thumbprint(), "typ": TYP, **header}
    signed = b64(full) + "." + b64({"a": 1})
    der = key.private_key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
    r, s = decode_dss_signature(der)
    token = f"{signed}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
    assert code(between.verify, token, public(key), TYP, LIMIT) == "crypto.jws"


def test_a_public_key_is_no_shared_secret(key: ECKey) -> None:
    """HS256 with the public key's bytes as the secret, under ES256's name and its own (RFC 8725 §2.1)."""
    secret = key.as_pem(private=False)
    for alg in ("HS256", "ES256"):
        signed = b64({"alg": alg, "kid": key.thumbprint(), "typ": TYP}) + "." + b64({"a": 1})
        forged = f"{signed}.{b64(hmac.digest(secret, signed.encode(), 'sha256'))}"
        assert code(between.verify, forged, public(key), TYP, LIMIT) == "crypto.jws"


@pytest.mark.parametrize("spoil", ["payload", "signature", "another key", "empty signature", "array"])
def test_forged(key: ECKey, spoil: str) -> None:
    """Anything but the signer's own bytes."""
    by = ECKey.generate_key("P-256", private=True) if spoil == "another key" else key
    token = between.sign(by, key.thumbprint(), TYP, {"a": 1})
    header, payload, signature = token.split(".")
    token = {
        "payload": f"{header}.{b64({'a': 2})}.{signature}",
        "signature": f"{header}.{payload}.{b64(bytes(64))}",
        "empty signature": f"{header}.{payload}.",
        "array": jws.serialize_compact(
            {"alg": "ES256", "kid": key.thumbprint(), "typ": TYP}, b"[]", key, algorithms=["ES256"]
        ),
    }.get(spoil, token)
    assert code(between.verify, token, public(key), TYP, LIMIT) == "crypto.jws"


@pytest.mark.parametrize("token", ["", "a", "..", "a.b", "a.b.c.d", "!!!.a.b", "é.a.b", b64(b"[]") + ".a.b", "{}..."])
def test_what_is_no_token(key: ECKey, token: str) -> None:
    """Refused by form, for both kinds."""
    assert code(between.verify, token, public(key), TYP, LIMIT) == "crypto.jws"
    assert code(between.unseal, token, key, TYP, LIMIT) == "crypto.jwe"


def test_sizes_come_first(key: ECKey) -> None:
    """Nothing is decoded of what is too long."""
    assert code(between.verify, "a" * (LIMIT + 1), public(key), TYP, LIMIT) == "crypto.size"
    assert code(between.unseal, "a" * (LIMIT + 1), key, TYP, LIMIT) == "crypto.size"


def test_sealed_and_opened(key: ECKey) -> None:
    """Only by the key it was sealed to."""
    token = between.seal("text", public(key), TYP)
    assert between.unseal(token, key, TYP, LIMIT) == "text"
    other = ECKey.generate_key("P-256", private=True)
    assert code(between.unseal, token, other, TYP, LIMIT) == "crypto.jwe"
    assert code(between.unseal, token, key, "another", LIMIT) == "crypto.jwe"
    assert code(between.unseal, token[:-4] + "AAAA", key, TYP, LIMIT) == "crypto.jwe"


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ({"zip": "DEF"}, ["ECDH-ES", "A256GCM", "DEF"]),
        ({"alg": "ECDH-ES+A256KW"}, ["ECDH-ES+A256KW", "A256GCM"]),
        ({"enc": "A128CBC-HS256"}, ["ECDH-ES", "A128CBC-HS256"]),
        ({"apu": "AA"}, ["ECDH-ES", "A256GCM"]),
    ],
)
def test_other_ways_to_seal_are_refused(key: ECKey, header: dict[str, Any], names: list[str]) -> None:
    """Compression above all: a few kilobytes could become gigabytes."""
    full = {"alg": "ECDH-ES", "enc": "A256GCM", "kid": key.thumbprint(), "typ": TYP, **header}
    token = jwe.encrypt_compact(full, b"text", ECKey.import_key(key.as_dict(private=False)), algorithms=names)
    assert code(between.unseal, token, key, TYP, LIMIT) == "crypto.jwe"


def test_a_point_beside_the_curve_opens_nothing(key: ECKey) -> None:
    """An ephemeral key that is no point would leak our key bit by bit."""
    token = between.seal("text", public(key), TYP)
    _, *rest = token.split(".")
    epk = {"kty": "EC", "crv": "P-256", "x": b64(bytes(31) + b"\1"), "y": b64(bytes(31) + b"\1")}
    header = {"alg": "ECDH-ES", "enc": "A256GCM", "kid": "a", "typ": TYP, "epk": epk}
    assert code(between.unseal, ".".join([b64(header), *rest]), key, TYP, LIMIT) == "crypto.jwe"


def test_keys_of_a_node(tmp_path: Path, key: ECKey) -> None:
    """None: no federation. One of two, readable by others, another curve, no key: said at once."""
    assert between.read_node_keys(tmp_path) is None
    for name in (between.SIGN_FILE, between.BOX_FILE):
        (tmp_path / name).write_bytes(key.as_pem(private=True))
        (tmp_path / name).chmod(0o600)
        if name == between.SIGN_FILE:
            with pytest.raises(ConfigError, match=r"config\.node_keys"):
                between.read_node_keys(tmp_path)
    assert between.read_node_keys(tmp_path) is not None
    box = tmp_path / between.BOX_FILE
    for bad in (b"x", key.as_pem(private=False), ECKey.generate_key("P-384", private=True).as_pem(private=True)):
        box.write_bytes(bad)
        with pytest.raises(ConfigError, match=r"config\.node_keys"):
            between.read_node_keys(tmp_path)
    box.write_bytes(key.as_pem(private=True))
    box.chmod(0o644)
    with pytest.raises(ConfigError, match=r"config\.node_keys"):
        between.read_node_keys(tmp_path)


def test_a_browser_s_signature(key: ECKey) -> None:
    """r and s as WebCrypto gives them; another message, key or form is refused."""
    members = jwk.public_members(key.as_dict(private=False))
    data = jwk.abroad_message("https://hall.test", "n" * 43)
    r, s = decode_dss_signature(key.private_key.sign(data, ec.ECDSA(hashes.SHA256())))
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    jwk.check_signature(members, data, raw)
    assert code(jwk.check_signature, members, data + b"x", raw) == "crypto.signature"
    for bad in (b"", raw + b"\0", bytes(32) + raw[32:], raw[:32] + bytes(32)):
        assert code(jwk.check_signature, members, data, bad) == "crypto.signature_form"
    assert jwk.thumbprint(members) == key.thumbprint()
    assert jwk.abroad_message("ab", "c") != jwk.abroad_message("a", "bc")


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        {},
        {"kty": "RSA"},
        {"kty": "EC", "crv": "P-384", "x": "A" * 43, "y": "A" * 43},
        {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43},
        {"kty": "EC", "crv": "P-256", "x": "A" * 42, "y": "A" * 43},
        {"kty": "EC", "crv": "P-256", "x": 1, "y": 2},
    ],
)
def test_what_is_no_browser_s_key(raw: Any) -> None:
    """Not P-256, no point, other lengths: refused before anything is kept."""
    assert code(jwk.public_members, raw) == "crypto.jwk"


def test_a_private_key_is_not_taken(key: ECKey) -> None:
    """Somebody who sends it has lost it."""
    assert code(jwk.public_members, key.as_dict(private=True)) == "crypto.jwk"
