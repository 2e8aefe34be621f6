"""A proof as CMS at the token way: taken like any other, once, under the holder's own ID."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest

from ca_bridge.asn1.certificate import Certificate, parse_certificate
from ca_bridge.ceremony import token
from ca_bridge.ceremony.token import MAX_CMS, MAX_SIGNATURE
from ca_bridge.ceremony.transaction import SignInRequest, Transaction, begin
from ca_bridge.crypto import cms, sm2
from ca_bridge.crypto.challenge import Asked, Challenge
from ca_bridge.crypto.cms import Form
from ca_bridge.errors import CeremonyError, CryptoError
from ca_bridge.store import Store
from ca_bridge.types import Way
from demo.pki import keys
from demo.pki.certificates import Template, extended_usage, issue, pem

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
ORIGIN = "https://hall.gd.localhost:8443"
HOLDER_ID = "holder-of-demo"


@pytest.fixture
def tx(store: Store) -> Transaction:
    """A transaction that has just begun."""
    return begin(store, SignInRequest("keycloak", "https://sso.test/cb", "s", "n", "c" * 43), "b" * 43, NOW)


@pytest.fixture(scope="module")
def key() -> keys.Key:
    """A person's SM2 key."""
    return keys.generate("sm2")


@pytest.fixture(scope="module")
def leaf(key: keys.Key) -> Certificate:
    """Its certificate."""
    name = [["C", "CN"], ["CN", "holder"]]
    day = timedelta(days=1)
    template = Template(name, name, key.spki, NOW - day, NOW + day, (extended_usage(["client_auth"]),))
    return parse_certificate(issue(template, keys.generate("ecdsa-p256"), 7))


def answered(asked: Asked, key: keys.Key, leaf: Certificate, form: Form) -> token.Proof:
    """What middleware makes of a challenge."""
    challenge = Challenge(asked.origin, asked.transaction, asked.nonce, leaf.spki_sha256, asked.expires)

    def sign(message: bytes) -> bytes:
        assert isinstance(key.private, sm2.PrivateKey)
        return sm2.sign(key.private, message, HOLDER_ID)

    data = cms.build(challenge, leaf, "SM2", sign, form)
    text = base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    return token.read_proof({"certificate": pem(leaf.der), "algorithm": "CMS", "signature": text})


@pytest.mark.parametrize("form", list(Form))
def test_proves_possession_once(store: Store, tx: Transaction, key: keys.Key, leaf: Certificate, form: Form) -> None:
    """The holder's ID comes from the profile; the challenge is gone afterwards."""
    proof = answered(token.ask(store, tx, ORIGIN, NOW), key, leaf, form)
    proven = token.prove(store, tx, proof, lambda _leaf: HOLDER_ID, NOW)
    assert (proven.leaf, proven.way) == (leaf.der, Way.TOKEN)
    with pytest.raises(CeremonyError, match=r"ceremony\.challenge"):
        token.prove(store, tx, proof, lambda _leaf: HOLDER_ID, NOW)


def test_another_transactions_challenge_is_refused(
    store: Store, tx: Transaction, key: keys.Key, leaf: Certificate
) -> None:
    """What was signed for an older challenge, or under another ID, proves nothing."""
    older = answered(token.ask(store, tx, ORIGIN, NOW), key, leaf, Form.IETF)
    token.ask(store, tx, ORIGIN, NOW)
    with pytest.raises(CryptoError, match=r"crypto\.cms_content"):
        token.prove(store, tx, older, lambda _leaf: HOLDER_ID, NOW)
    proof = answered(token.ask(store, tx, ORIGIN, NOW), key, leaf, Form.IETF)
    with pytest.raises(CryptoError, match=r"crypto\.signature"):
        token.prove(store, tx, proof, lambda _leaf: sm2.DEFAULT_ID, NOW)


def test_a_bare_signature_is_no_cms(store: Store, tx: Transaction, leaf: Certificate) -> None:
    """The algorithm's name says what the octets are."""
    token.ask(store, tx, ORIGIN, NOW)
    with pytest.raises(CryptoError, match=r"crypto\.cms"):
        token.prove(store, tx, token.Proof(pem(leaf.der), "CMS", "AAAA"), lambda _leaf: HOLDER_ID, NOW)


def test_only_cms_may_be_long() -> None:
    """Other signatures keep their limit, and CMS has one too."""
    body = {"certificate": "PEM", "algorithm": "CMS", "signature": "A" * (MAX_SIGNATURE + 1)}
    assert token.read_proof(body).algorithm == "CMS"
    for wrong in ({**body, "algorithm": "SM2"}, {**body, "signature": "A" * (MAX_CMS + 1)}):
        with pytest.raises(CeremonyError, match=r"ceremony\.proof_form"):
            token.read_proof(wrong)
