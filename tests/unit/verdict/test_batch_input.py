"""`check --batch`: what a question's texts and times may look like, and the ends of the calendar."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from ca_bridge.verdict import batch
from tests.pki import NOW, Authority, pem
from tests.unit.verdict.test_batch import CRLS, ISSUING, LEAF, ROOT, answers, ask

FIRST, LAST = datetime(1950, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-06-01T20:00:00+08:00",
        "2026-06-01t12:00:00.123456789z",
        "2026-06-01 12:00:00Z",
        "2026-05-31T23:59:60Z",
        "2026-06-01T12:00:00-00:00",
    ],
)
def test_times_of_rfc_3339_are_taken(text: str) -> None:
    """RFC 3339 §5.6: any offset, any fraction, either case, a leap second."""
    assert ask(time=text)["code"] == "ok"


@pytest.mark.parametrize(
    "text",
    ["1780315200", "2026-06-01", "2026-06-01T12:00:00", "2026-06-01T12:00Z", "2026-06-01T12:00:00+0800", "",
     "2026-06-01T24:00:00Z", "2026-06-01T12:00:61Z", "２026-06-01T12:00:00Z", "9999-12-31T23:59:60Z", "now"],
)  # fmt: skip
def test_other_times_are_malformed(text: str) -> None:
    """A time that somebody could read otherwise is no time at all."""
    assert ask(time=text)["code"] == "input.line"


def test_a_leap_second_is_the_second_after() -> None:
    """23:59:60 is past a certificate that ends at 23:59:59."""
    end = datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC)
    leaf = pem(ISSUING.issue("Leaf", not_after=end))
    assert ask(leaf=leaf, time="2026-06-30T23:59:59.9Z")["code"] == "ok"
    assert ask(leaf=leaf, time="2026-06-30T23:59:60Z")["code"] == "path.expired"


def test_the_last_second_of_an_anchor_belongs_to_it_too() -> None:
    """RFC 5280 §4.1.2.5: the last second of a validity, whole; RFC 5937 binds an anchor's dates alike."""
    root = Authority.create("Ends", not_after=NOW)
    changes = {"leaf": pem(root.issue("x")), "anchors": [pem(root.certificate)], "anchor_constraints": True}
    half, after = NOW + timedelta(milliseconds=500), NOW + timedelta(seconds=1)
    assert ask(**changes, time=half.isoformat())["code"] == "ok"
    assert ask(**changes, time=after.isoformat())["code"] == "path.anchor_time"


def test_chain_files_in_pool_and_crls() -> None:
    """Each block of a text counts for itself; what is broken is counted, and hides nothing."""
    broken = pem(ISSUING.certificate).replace("M", "N", 3)
    assert ask(pool=[broken + pem(ISSUING.certificate) + pem(ROOT.certificate)])["ignored"] == 1
    assert ask(pool=["words\r\n" + pem(ISSUING.certificate).replace("\n", "\r\n") + "words"])["code"] == "ok"
    assert ask(crls=["".join(CRLS)], revocation="require")["code"] == "ok"
    assert ask(pool=["", "x"])["ignored"] == 2


def test_leaf_and_anchor_are_one_certificate() -> None:
    """Of two it would be a guess which is meant; and base64 without its label is not PEM."""
    two = pem(ROOT.certificate) + pem(ISSUING.certificate)
    assert ask(anchors=[two])["code"] == "asn1.pem"
    assert ask(leaf=two)["code"] == "asn1.pem"
    assert ask(leaf=base64.b64encode(LEAF.public_bytes(Encoding.DER)).decode())["code"] == "asn1.pem"


def test_an_id_that_cannot_be_written_is_malformed() -> None:
    """Half a character (a lone surrogate) has no UTF-8: the line is refused, and the output stays whole."""
    found = list(batch.run(['{"id":"\\ud800"}', '{"id":"\\ud800","leaf":"x"}'], lambda: NOW))
    assert [json.loads(line)["code"] for line in found] == ["input.line", "input.line"]
    assert all(json.loads(line)["id"] is None and line.encode() for line in found)


def test_a_fault_of_ours_refuses_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody expected is a refusal with a code, and the lines after it are answered."""

    def fail(supplied: object) -> None:
        raise OverflowError

    question = json.dumps({"id": "a", "leaf": pem(ROOT.certificate)})
    monkeypatch.setattr(batch, "validate", fail)
    found = answers(question, "", question)
    assert [(answer["id"], answer["code"]) for answer in found] == [
        ("a", "run.fault"), (None, "input.line"), ("a", "run.fault"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("at", "code"),
    [
        ("9999-12-31T23:59:59Z", "ok"),
        ("1950-01-01T00:00:00Z", "ok"),
        ("9999-12-31T23:59:59-08:00", "path.ca_expired"),
        ("0001-01-01T00:00:00+08:00", "path.ca_not_yet_valid"),
    ],
)
def test_the_ends_of_the_calendar(at: str, code: str) -> None:
    """A validity to 9999 is what "no end" is written as (RFC 5280 §4.1.2.5); skews beyond it overflow nothing."""
    root = Authority.create("Long", not_after=LAST)
    issuing = root.subordinate("Long issuing", not_before=FIRST, not_after=LAST)
    crls = [pem(ca.crl(issued=FIRST, until=LAST)) for ca in (root, issuing)]
    found = ask(
        leaf=pem(issuing.issue("Leaf", not_before=FIRST, not_after=LAST)),
        anchors=[pem(root.certificate)],
        pool=[pem(issuing.certificate)],
        crls=crls,
        revocation="require",
        time=at,
    )
    assert found["code"] == code


def test_an_answer_from_the_year_9999_says_nothing() -> None:
    """OCSP without nextUpdate counts for a day after thisUpdate, also where the calendar ends before that day."""
    made = ocsp.OCSPResponseBuilder().add_response(
        LEAF, ISSUING.certificate, hashes.SHA256(), ocsp.OCSPCertStatus.GOOD, LAST, None, None, None
    )
    made = made.responder_id(ocsp.OCSPResponderEncoding.HASH, ISSUING.certificate)
    answer: Any = made.sign(ISSUING.key, hashes.SHA256()).public_bytes(Encoding.DER)
    found = ask(crls=[pem(ROOT.crl())], ocsp=[base64.b64encode(answer).decode()], revocation="require")
    assert found["code"] == "revocation.unknown"


@pytest.mark.parametrize("serial", [b"\x00", b"\x01" * 21])
def test_an_old_root_may_have_any_serial_number(serial: bytes) -> None:
    """RFC 5280 §4.1.2.2 asks certificate users to cope; an anchor is its name and key. No path goes through one."""
    made = ROOT.certificate.public_bytes(Encoding.DER)
    number = ROOT.certificate.serial_number
    old = b"\x02" + bytes([number.bit_length() // 8 + 1]) + number.to_bytes(number.bit_length() // 8 + 1, "big")
    odd = _resized(made, old, b"\x02" + bytes([len(serial)]) + serial)
    text = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(odd).decode()}\n-----END CERTIFICATE-----\n"
    assert ask(anchors=[text])["code"] == "ok"
    assert ask(leaf=text, anchors=[text])["code"] == "asn1.serial"
    assert ask(pool=[pem(ISSUING.certificate), text])["ignored"] == 1


def _resized(certificate: bytes, old: bytes, new: bytes) -> bytes:
    """A certificate with its serial number replaced, lengths put right; its own signature is good no more."""
    outer, inner = 4, 8  # 30 82 xx xx 30 82 xx xx: every certificate of these tests is longer than 255 octets
    tbs = int.from_bytes(certificate[outer + 2 : inner], "big")
    body = certificate[inner : inner + tbs].replace(old, new, 1)
    whole = b"\x30\x82" + len(body).to_bytes(2, "big") + body + certificate[inner + tbs :]
    return b"\x30\x82" + len(whole).to_bytes(2, "big") + whole
