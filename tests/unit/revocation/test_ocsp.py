"""OCSP responses at hand (RFC 6960), asked through the batch: who may answer, for whom, and for how long."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from ca_bridge.verdict import batch
from tests.pki import DAY, NOW, Authority, build, eku, pem, usage

ROOT = Authority.create("Root")
LEAF = ROOT.issue("Leaf")
OCSP_SIGNING = "1.3.6.1.5.5.7.3.9"
STATUS = ocsp.OCSPCertStatus


def reply(
    signer: Authority = ROOT,
    *,
    status: ocsp.OCSPCertStatus = STATUS.GOOD,
    about: x509.Certificate = LEAF,
    issuer: Authority = ROOT,
    this_update: datetime = NOW - DAY / 2,
    next_update: datetime | None = NOW + DAY,
    extra: list[x509.Certificate] | None = None,
) -> str:
    """A response in base64."""
    revoked = status is STATUS.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=about,
        issuer=issuer.certificate,
        algorithm=hashes.SHA1(),  # of a CertID: RFC 6960 §4.3
        cert_status=status,
        this_update=this_update,
        next_update=next_update,
        revocation_time=this_update if revoked else None,
        revocation_reason=None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    if extra:
        builder = builder.certificates(extra)
    return base64.b64encode(builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)).decode()


def ask(*replies: str, mode: str = "require", **more: Any) -> str:
    """The code of the answer."""
    question = {
        "id": "1",
        "leaf": pem(LEAF),
        "anchors": [pem(ROOT.certificate)],
        "ocsp": replies,
        "revocation": mode,
        "time": NOW.isoformat(),
        **more,
    }
    return str(json.loads(next(iter(batch.run([json.dumps(question)], lambda: NOW))))["code"])


def responder(*extensions: Any, issuer: Authority = ROOT) -> Authority:
    """A delegated responder."""
    made = issuer.subordinate("Responder")
    certificate = build(made.subject, made.key.public_key(), issuer.subject, issuer.key, extensions)
    return Authority(made.subject, certificate, made.key)


NO_CHECK = (x509.OCSPNoCheck(), False)


def test_the_issuers_own_answer_counts() -> None:
    """Good passes, revoked refuses, unknown says nothing."""
    assert ask(reply()) == "ok"
    assert ask(reply(status=STATUS.REVOKED)) == "revocation.revoked"
    assert ask(reply(status=STATUS.UNKNOWN)) == "revocation.unknown"
    assert ask(reply(status=STATUS.REVOKED), mode="if-available") == "revocation.revoked"


def test_revoked_wins_whoever_says_so() -> None:
    """By CRL and by OCSP, in any order: revoked wins over good."""
    assert ask(reply(), reply(status=STATUS.REVOKED)) == "revocation.revoked"
    assert ask(reply(), crls=[pem(ROOT.crl([LEAF.serial_number]))]) == "revocation.revoked"
    assert ask(reply(status=STATUS.REVOKED), crls=[pem(ROOT.crl())]) == "revocation.revoked"


@pytest.mark.parametrize(
    ("wishes", "code"),
    [
        ({"next_update": NOW - DAY / 4}, "revocation.stale"),
        ({"next_update": None}, "ok"),
        ({"next_update": None, "this_update": NOW - 2 * DAY}, "revocation.stale"),
        ({"this_update": NOW + DAY / 2}, "revocation.unknown"),
        ({"about": ROOT.issue("Other")}, "revocation.unknown"),
        ({"issuer": Authority.create("Root")}, "revocation.unknown"),
        ({"signer": Authority.create("Root")}, "revocation.unknown"),
    ],
)
def test_stale_future_and_foreign_answers_do_not_pass(wishes: dict[str, Any], code: str) -> None:
    """Bounded age without nextUpdate; another certificate, another issuer key, another signer."""
    assert ask(reply(**wishes)) == code


@pytest.mark.parametrize(
    ("extensions", "issuer", "code"),
    [
        ((eku(OCSP_SIGNING), NO_CHECK), ROOT, "ok"),
        ((eku(OCSP_SIGNING), NO_CHECK, usage("key_encipherment")), ROOT, "revocation.unknown"),
        ((NO_CHECK,), ROOT, "revocation.unknown"),
        ((eku("1.3.6.1.5.5.7.3.2"), NO_CHECK), ROOT, "revocation.unknown"),
        ((eku(OCSP_SIGNING),), ROOT, "revocation.unknown"),
        ((eku(OCSP_SIGNING), NO_CHECK), Authority.create("Root"), "revocation.unknown"),
    ],
)
def test_delegated_responders(extensions: Any, issuer: Authority, code: str) -> None:
    """RFC 6960 §4.2.2.2: appointed by the issuer's own key, for OCSP, with ocsp-nocheck or a known good status."""
    found = responder(*extensions, issuer=issuer)
    assert ask(reply(found, extra=[found.certificate])) == code


def test_a_responder_without_nocheck_needs_a_good_status() -> None:
    """Its own status comes from the issuer's CRL."""
    found = responder(eku(OCSP_SIGNING))
    answer = reply(found, extra=[found.certificate])
    serial = found.certificate.serial_number
    assert ask(answer) == "revocation.unknown"
    assert ask(answer, crls=[pem(ROOT.crl())]) == "ok"
    assert ask(reply(found, status=STATUS.REVOKED, extra=[found.certificate]), crls=[pem(ROOT.crl([serial]))]) == "ok"


@pytest.mark.parametrize("text", ["", "x", "!!", base64.b64encode(b"\x30\x03\x0a\x01\x06").decode(), "AAAA" * 600_000])
def test_what_is_no_response_is_passed_over(text: str) -> None:
    """Broken, unsuccessful or too large: it says nothing, and nothing crashes."""
    assert ask(text) == "revocation.unknown"
    assert ask(text, reply()) == "ok"


def test_no_mutation_of_a_good_answer_turns_revoked_into_good() -> None:
    """Every octet of a signed response is protected, or does not matter: never `ok`."""
    data = base64.b64decode(reply(status=STATUS.REVOKED))
    for position in range(0, len(data), 5):
        mutated = data[:position] + bytes([data[position] ^ 0x01]) + data[position + 1 :]
        assert ask(base64.b64encode(mutated).decode()) != "ok"
