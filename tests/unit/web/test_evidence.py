"""Evidence of verdicts is off by default; when it is on, every verdict of a sign-in is kept before it counts."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from ca_bridge.app import build
from ca_bridge.crypto import challenge as challenges
from ca_bridge.errors import StoreError
from ca_bridge.types import Verdict
from ca_bridge.verdict.evidence import Recorder
from demo.pki import certificates, keys
from tests.unit.web.hall import LI, START, Authority, Hall, Held, code_of, path_of, session_of


class Spy:
    """A recorder that remembers, or has no room."""

    def __init__(self, *, full: bool = False) -> None:
        self.full = full
        self.kept: list[tuple[bytes, Verdict]] = []

    def __call__(self, _snapshot: object, leaf: bytes, verdict: Verdict) -> None:
        if self.full:
            raise StoreError("store.full", "evidence: no space left on device")
        self.kept.append((leaf, verdict))


def watched(hall: Hall, spy: Spy) -> None:
    """Give the hall a recorder."""
    replace(hall.services, recorder=spy).install(hall.app)


def test_off_by_default(hall: Hall) -> None:
    """Nothing is kept that nobody asked for."""
    assert hall.services.settings.bridge.evidence is False
    assert hall.services.recorder is None


@pytest.mark.parametrize("on", [True, False])
def test_the_setting_decides(hall: Hall, on: bool) -> None:
    """`bridge.evidence` puts a recorder into the services."""
    settings = hall.services.settings
    folder = settings.bridge.channel_secret_file.parent
    (folder / "attributes").write_bytes(bytes(32))
    (folder / "master").write_bytes(bytes(32))
    bridge = settings.bridge.model_copy(update={"evidence": on, "keys": folder})
    parts = build(settings.model_copy(update={"bridge": bridge}), store=hall.services.store)
    assert isinstance(parts.services.recorder, Recorder) is on


def test_each_verdict_of_a_sign_in_is_kept(hall: Hall, li: Held) -> None:
    """The certificate as it was judged, with its verdict."""
    spy = Spy()
    watched(hall, spy)
    browser = hall.browser()
    assert browser.tls(browser.begin().id, li).status_code == 200
    assert [verdict.code for _, verdict in spy.kept] == ["ok"]
    assert spy.kept[0][0] == li.der


def test_refusals_are_kept_too(hall: Hall) -> None:
    """Before the person is told."""
    spy = Spy()
    watched(hall, spy)
    browser = hall.browser()
    stranger = Authority("nobody", "nobody-01").issue("王样例", "11010119900307201X")
    browser.tls(browser.begin().id, stranger)
    assert [verdict.accepted for _, verdict in spy.kept] == [False]


def sm2_person(authority: Authority) -> tuple[str, keys.Key]:
    """A citizen whose token holds an SM2 key: the certificate in PEM, and the key."""
    key = keys.generate("sm2")
    template = certificates.Template(
        subject=[("CN", "李示范"), ("OU", "个人证书")],
        issuer=[("CN", authority.name.rdns[0].rfc4514_string().removeprefix("CN="))],
        spki=key.spki,
        not_before=START - timedelta(days=1),
        not_after=START + timedelta(days=1),
        extensions=(certificates.private_extension("1.2.156.10260.4.1.1", LI),),
    )
    issuer = keys.Key("ecdsa-p256", b"", authority.key)
    return certificates.pem(certificates.issue(template, issuer, 5)), key


def sm2_proof(challenge: dict[str, Any], pem: str, key: keys.Key) -> dict[str, str]:
    """What a signer makes of a challenge with an SM2 token."""
    names = ("origin", "transaction", "nonce")
    expires = datetime.fromisoformat(challenge["expires"])
    asked = challenges.Challenge(*(challenge[name] for name in names), challenges.key_hash(key.spki), expires)
    signature = urlsafe_b64encode(key.sign(challenges.message(asked)).value).decode().rstrip("=")
    return {"certificate": pem, "algorithm": "SM2", "signature": signature}


def test_an_sm2_token_counts_once(hall: Hall, province: Authority) -> None:
    """Its certificate is judged before the signature too, for the holder's distinguishing ID: that is no sign-in."""
    spy = Spy()
    watched(hall, spy)
    browser, (pem, key) = hall.browser(), sm2_person(province)
    tx = browser.begin()
    answer = browser.json(f"/sign-in/{tx.id}/proof", tx.id, sm2_proof(browser.challenge(tx.id), pem, key))
    assert answer.status_code == 200, answer.text
    assert spy.kept == []
    browser.get(path_of((answer.json or {})["continue"]))
    assert session_of(browser) is not None
    assert [verdict.code for _, verdict in spy.kept] == ["ok"]


def test_an_sm2_token_that_proves_nothing_is_no_sign_in(hall: Hall, province: Authority) -> None:
    """A good certificate that anybody may have copied, without its key."""
    spy = Spy()
    watched(hall, spy)
    browser, (pem, _), (_, other) = hall.browser(), sm2_person(province), sm2_person(province)
    tx = browser.begin()
    answer = browser.json(f"/sign-in/{tx.id}/proof", tx.id, sm2_proof(browser.challenge(tx.id), pem, other))
    assert (answer.json or {})["code"] == "crypto.signature"
    assert spy.kept == []


def test_a_refused_sm2_token_counts_once(hall: Hall, province: Authority) -> None:
    """Refused before its signature is looked at: the ceremony ends there."""
    spy = Spy()
    watched(hall, spy)
    hall.snapshots.refuse = "revocation.revoked"
    browser, (pem, key) = hall.browser(), sm2_person(province)
    tx = browser.begin()
    answer = browser.json(f"/sign-in/{tx.id}/proof", tx.id, sm2_proof(browser.challenge(tx.id), pem, key))
    assert (answer.json or {})["code"] == "revocation.revoked"
    assert [verdict.code for _, verdict in spy.kept] == ["revocation.revoked"]


def test_a_question_in_between_counts_nothing(hall: Hall, operator: Held) -> None:
    """The page that asks for the capacity and the answer judge again, for the same proof."""
    spy = Spy()
    watched(hall, spy)
    browser = hall.browser()
    tx = browser.begin()
    browser.follow(browser.tls(tx.id, operator))
    browser.get(f"/sign-in/{tx.id}/capacity")
    browser.post(f"/sign-in/{tx.id}/capacity", tx.id, data={"capacity": "operator"})
    assert session_of(browser) is not None
    assert hall.snapshots.judged > 2
    assert [verdict.code for _, verdict in spy.kept] == ["ok"]


def test_somebody_elses_session_in_between(hall: Hall, li: Held, wang: Held) -> None:
    """Signing the other person out first is another question, no other sign-in."""
    spy = Spy()
    watched(hall, spy)
    browser = hall.browser()
    browser.tls(browser.begin().id, li)
    tx = browser.begin()
    browser.tls(tx.id, wang)
    browser.post(f"/sign-in/{tx.id}/switch", tx.id)
    assert [leaf for leaf, _ in spy.kept] == [li.der, wang.der]


def test_a_second_proof_is_a_second_verdict(hall: Hall, li: Held) -> None:
    """Another try in the same transaction, with what was kept of the first: each proof counts."""
    spy = Spy()
    watched(hall, spy)
    browser = hall.browser()
    tx = browser.begin(level=4)  # TLS gives 3 here
    browser.tls(tx.id, li)
    browser.token(tx.id, li)
    assert session_of(browser) is not None
    assert [verdict.code for _, verdict in spy.kept] == ["ok", "ok"]


def test_revoked_while_the_person_thinks_is_kept(hall: Hall, operator: Held) -> None:
    """What refuses is another verdict than the one that asked."""
    spy = Spy()
    watched(hall, spy)
    browser = hall.browser()
    tx = browser.begin()
    browser.tls(tx.id, operator)
    hall.snapshots.refuse = "revocation.revoked"
    browser.post(f"/sign-in/{tx.id}/capacity", tx.id, data={"capacity": "operator"})
    assert session_of(browser) is None
    assert [verdict.code for _, verdict in spy.kept] == ["ok", "revocation.revoked"]


def test_without_room_nobody_signs_in(hall: Hall, li: Held) -> None:
    """A verdict that cannot be kept does not count: its code is told, and no session begins."""
    watched(hall, Spy(full=True))
    browser = hall.browser()
    page = browser.tls(browser.begin().id, li)
    assert page.status_code >= 500
    assert code_of(page.text) == "store.full"
