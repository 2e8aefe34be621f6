"""The challenge: what is signed, when it is over, and which keys may sign it how."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from hypothesis import given
from hypothesis import strategies as st

from ca_bridge.crypto import challenge as c
from ca_bridge.crypto import sm2
from ca_bridge.errors import CryptoError

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ID = sm2.DEFAULT_ID
TX, NONCE = "t" * 22, "n" * 43


def challenge_for(spki: bytes) -> c.Challenge:
    """A challenge that `spki` may sign until 60 s from NOW."""
    return c.Challenge("https://hall.gd.localhost:8443", TX, NONCE, c.key_hash(spki), NOW + timedelta(seconds=60))


def sign(keys, name: str, algorithm: str, message: bytes) -> bytes:  # type: ignore[no-untyped-def]
    """A proof by the key called `name`."""
    if algorithm == "SM2":
        return sm2.sign(keys.sm2, message, ID)
    digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[algorithm[2:]]
    if algorithm.startswith("RS"):
        return keys.rsa.sign(message, padding.PKCS1v15(), digest)  # type: ignore[no-any-return]
    if algorithm.startswith("PS"):
        return keys.rsa.sign(message, padding.PSS(padding.MGF1(digest), 32), digest)  # type: ignore[no-any-return]
    return getattr(keys, name).sign(message, ec.ECDSA(digest))  # type: ignore[no-any-return]


PAIRS = [("rsa", "RS256"), ("rsa", "PS256"), ("p256", "ES256"), ("p384", "ES384"), ("p521", "ES512"), ("sm2", "SM2")]


def refused(code: str, *arguments: object, now: datetime = NOW) -> None:
    """The check raises exactly `code`."""
    with pytest.raises(CryptoError) as caught:
        c.check(*arguments, now=now)  # type: ignore[arg-type]
    assert caught.value.code == code


@pytest.mark.parametrize(("name", "algorithm"), PAIRS)
def test_proofs(keys, name: str, algorithm: str) -> None:  # type: ignore[no-untyped-def]
    """Each kind of key proves itself by its own algorithms, and the names follow from the kind."""
    spki = keys.spki(name)
    challenge = challenge_for(spki)
    proof = sign(keys, name, algorithm, c.message(challenge))
    c.check(challenge, spki, proof, algorithm, ID, now=NOW)
    assert algorithm in c.algorithms_for(c.SCHEMES[algorithm].kind)


@pytest.mark.parametrize(
    "change",
    [
        {"origin": "https://hall.gd.localhost:8444"},
        {"origin": "https://hall.gz.localhost:8443"},
        {"transaction": "u" * 22},
        {"nonce": "m" * 43},
        {"expires": NOW + timedelta(seconds=59)},
    ],
)
@pytest.mark.parametrize(("name", "algorithm"), PAIRS)
def test_proof_of_another_challenge(keys, name: str, algorithm: str, change: dict[str, object]) -> None:  # type: ignore[no-untyped-def]
    """A proof made for another origin, transaction, nonce or time is refused."""
    spki = keys.spki(name)
    proof = sign(keys, name, algorithm, c.message(replace(challenge_for(spki), **change)))  # type: ignore[arg-type]
    refused("crypto.signature", challenge_for(spki), spki, proof, algorithm, ID)


def test_times(keys) -> None:  # type: ignore[no-untyped-def]
    """Good until, not at, its end; 61 s old is over; one that would live longer than 60 s is refused as well."""
    spki = keys.spki("p256")
    challenge = challenge_for(spki)
    proof = sign(keys, "p256", "ES256", c.message(challenge))
    c.check(challenge, spki, proof, "ES256", ID, now=NOW + timedelta(seconds=59, microseconds=999_999))
    for now in (NOW + timedelta(seconds=60), NOW + timedelta(seconds=61), NOW - timedelta(microseconds=1)):
        refused("crypto.challenge_expired", challenge, spki, proof, "ES256", ID, now=now)


def test_another_key(keys) -> None:  # type: ignore[no-untyped-def]
    """A challenge names its key: another key of the same kind is refused even with a right signature of its own."""
    other = ec.generate_private_key(ec.SECP256R1())
    challenge = challenge_for(keys.spki("p384"))
    proof = other.sign(c.message(challenge), ec.ECDSA(hashes.SHA256()))
    refused("crypto.challenge_key", challenge, keys.spki("p256"), proof, "ES256", ID)


@pytest.mark.parametrize(
    "algorithm",
    ["none", "", "HS256", "rs256", "RS384", "RS512", "PS384", "ES256K", "EdDSA", "Ed25519", "SM2-with-SM3", "RS1"],
)
def test_unknown_algorithms(keys, algorithm: str) -> None:  # type: ignore[no-untyped-def]
    """Names that are not on the list are refused, in any case of letters."""
    spki = keys.spki("rsa")
    proof = sign(keys, "rsa", "RS256", c.message(challenge_for(spki)))
    refused("crypto.challenge_algorithm", challenge_for(spki), spki, proof, algorithm, ID)


def test_key_and_algorithm_must_fit(keys) -> None:  # type: ignore[no-untyped-def]
    """Every pair of a key and another kind's algorithm is refused; Ed25519 keys cannot sign challenges at all."""
    for name in ("rsa", "p256", "p384", "p521", "ed25519", "sm2"):
        spki = keys.spki(name)
        own = {algorithm for key, algorithm in PAIRS if key == name}
        for algorithm in c.SCHEMES.keys() - own:
            refused("crypto.challenge_algorithm", challenge_for(spki), spki, b"", algorithm, ID)
    assert c.algorithms_for("ed25519") == ()


def test_wrong_sm2_id(keys) -> None:  # type: ignore[no-untyped-def]
    """An SM2 proof counts only under the ID that the holder's CA is registered with."""
    spki = keys.spki("sm2")
    challenge = challenge_for(spki)
    proof = sm2.sign(keys.sm2, c.message(challenge), "ALICE123@YAHOO.COM")
    refused("crypto.signature", challenge, spki, proof, "SM2", ID)


@pytest.mark.parametrize(
    "change",
    [
        {"origin": "http://hall.gd.localhost"},
        {"origin": "https://hall.gd.localhost/"},
        {"origin": "https://HALL.gd.localhost"},
        {"origin": "https://hall.gd.localhost\n"},
        {"origin": "https://user@hall.gd.localhost"},
        {"origin": "https://"},
        {"origin": "null"},
        {"origin": "https://大厅.gd"},
        {"transaction": "short"},
        {"transaction": "t" * 129},
        {"nonce": "n" * 42 + "="},
        {"nonce": "n" * 21},
        {"nonce": b"n" * 43},
        {"key": "0" * 63},
        {"key": "A" * 64},
        {"expires": datetime(2026, 11, 23, 12, 1)},  # noqa: DTZ001 - the fault itself
        {"expires": NOW + timedelta(microseconds=1)},
        {"browser": "b" * 42},
        {"browser": "b" * 42 + "="},
    ],
)
def test_malformed(change: dict[str, object]) -> None:
    """A challenge is whole and well formed, or there is none."""
    with pytest.raises(CryptoError, match=r"crypto\.challenge:"):
        replace(challenge_for(b""), **change)  # type: ignore[arg-type]


def test_a_browser_is_one_field_more() -> None:
    """With a browser's key the bytes are those without it and one field; without one nothing is added."""
    plain = challenge_for(b"spki")
    with_key = replace(plain, browser="b" * 43)
    assert c.message(with_key) == c.message(plain) + (43).to_bytes(4, "big") + b"b" * 43


def test_bytes_are_fixed() -> None:
    """The signed bytes, field by field: a change here breaks every signer."""
    challenge = c.Challenge("https://a.b", "t" * 22, "n" * 22, "0" * 64, datetime(2026, 1, 1, tzinfo=UTC))
    expected = (
        b"crosshall-signin-v1\0\0\0\x0bhttps://a.b\0\0\0\x16" + b"t" * 22 + b"\0\0\0\x16" + b"n" * 22 + b"\0\0\0\x40"
        + b"0" * 64 + b"\0\0\0\x0a1767225600"
    )  # fmt: skip
    assert c.message(challenge) == expected
    assert c.message(challenge)[0] != 0x31


token = st.text("abcXYZ019-_", min_size=22, max_size=60)
challenges = st.builds(
    c.Challenge,
    st.sampled_from(["https://a.b", "https://a.b:1", "https://a.b:12"]),
    token,
    token,
    st.text("0123456789abcdef", min_size=64, max_size=64),
    st.integers(0, 10**10).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
)


@given(challenges, challenges)
def test_no_two_challenges_share_bytes(one: c.Challenge, other: c.Challenge) -> None:
    """Length prefixes make the encoding one-to-one."""
    assert (c.message(one) == c.message(other)) == (one == other)
