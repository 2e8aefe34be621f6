"""OCSP answers prefetched about CA certificates: our nonce, this certificate, an appointed signer, never older."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from ca_bridge.asn1.ocsp import OcspResponse, parse_ocsp
from ca_bridge.fetch import checks
from ca_bridge.revocation import overlay
from ca_bridge.verdict.snapshot import SnapshotSource
from tests.pki import DAY, NOW, Authority, build, der, eku, pem
from tests.unit.fetch.conftest import World, plain

REFUSED = "revocation.fetch_refused"
STATUS = ocsp.OCSPCertStatus
HOUR = timedelta(hours=1)
NO_CHECK = (x509.OCSPNoCheck(), False)
OCSP_SIGNING = eku("1.3.6.1.5.5.7.3.9")


class Responder:
    """The OCSP server of the issuing CA, which has one CA below it."""

    def __init__(self, world: World, **status: Any) -> None:
        self.world = world
        self.issuing = world.federation.issuing
        self.below = self.issuing.subordinate("Below")
        world.federation.write("cross/below.pem", pem(self.below.certificate))
        world.federation.write("crls/below.crl", der(self.below.crl()))
        world.federation.profile("below", self.below)
        levels = [{"ca": ca, "type": "person", "level": 4} for ca in ("gd", "below")]
        world.federation.table("levels.toml", {"assigned": levels, "storage": {"token": 4}})
        world.profile(fetch=[], ocsp=[f"http://{world.server.host}/ocsp"], **status)

    def leaf(self) -> bytes:
        """A person's certificate of the CA below."""
        return der(self.world.federation.leaf(self.below))

    def answer(
        self,
        status: ocsp.OCSPCertStatus = STATUS.GOOD,
        *,
        about: x509.Certificate | None = None,
        issuer: Authority | None = None,
        signer: Authority | None = None,
        extra: list[x509.Certificate] | None = None,
        nonce: bytes | None = b"n" * 32,
        this_update: datetime | None = None,
        next_update: datetime | None = NOW + DAY,
    ) -> bytes:
        """A response."""
        signer = signer or self.issuing
        this_update = this_update or self.world.now - HOUR
        revoked = status is STATUS.REVOKED
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=about or self.below.certificate,
            issuer=(issuer or self.issuing).certificate,
            algorithm=hashes.SHA1(),
            cert_status=status,
            this_update=this_update,
            next_update=next_update,
            revocation_time=this_update if revoked else None,
            revocation_reason=None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
        if extra:
            builder = builder.certificates(extra)
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def give(self, **wishes: Any) -> None:
        """Let the server answer so."""
        self.world.server.reply = plain(self.answer(**wishes), "Content-Type: application/ocsp-response")

    def verdict(self) -> str:
        """What the bridge says of a leaf of the CA below."""
        source = SnapshotSource(self.world.federation.folder, lambda: self.world.now, self.world.status)
        return source.current().judge(self.leaf(), self.world.now).code


@pytest.fixture(autouse=True)
def produced_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """`cryptography` writes the machine's own time as producedAt: ours is taken for the time of the test."""

    def parse(data: bytes) -> OcspResponse:
        return replace(parse_ocsp(data), produced_at=NOW)

    for module in (checks, overlay):
        monkeypatch.setattr(module, "parse_ocsp", parse)


def test_good_and_revoked_answers_are_kept(world: World) -> None:
    """A CA that its issuer revokes by OCSP takes its holders with it; the question is a POST with our nonce."""
    responder = Responder(world)
    assert responder.verdict() == "ok"
    responder.give()
    assert world.round().fresh == 1
    asked = ocsp.load_der_ocsp_request(world.server.requests[0].partition(b"\r\n\r\n")[2])
    assert asked.serial_number == responder.below.certificate.serial_number
    assert world.server.requests[0].startswith(b"POST /ocsp ")
    responder.give(status=STATUS.REVOKED)
    assert world.round().fresh == 1
    assert len(world.kept().responses) == 1
    assert responder.verdict() == "revocation.ca_revoked"


def test_a_good_answer_stands_in_for_a_stale_crl(world: World) -> None:
    """Good over stale; when it is over too, stale again."""
    responder = Responder(world)
    world.federation.crls(until=NOW + HOUR)
    world.later(hours=2)
    assert responder.verdict() == "revocation.ca_stale"
    responder.give()
    world.round()
    assert responder.verdict() == "ok"
    world.federation.write("crls/below.crl", der(responder.below.crl(until=NOW + 9 * DAY)))
    world.federation.write("crls/root.crl", der(world.federation.root.crl(until=NOW + 9 * DAY)))
    world.federation.write("crls/anchor.crl", der(world.federation.anchor.crl(until=NOW + 9 * DAY)))
    world.later(days=2)
    assert responder.verdict() == "revocation.ca_stale"


@pytest.mark.parametrize(
    "wishes",
    [
        {"nonce": b"m" * 32},
        {"status": STATUS.UNKNOWN},
        {"about": Authority.create("X").certificate},
        {"issuer": Authority.create("Issuing")},
        {"signer": Authority.create("Issuing")},
        {"this_update": NOW + HOUR},
        {"this_update": NOW - 2 * DAY, "next_update": NOW - DAY},
        {"this_update": NOW - 2 * DAY, "next_update": None},
    ],
)
def test_answers_that_are_refused(world: World, wishes: dict[str, Any]) -> None:
    """Replayed to somebody else, unknown, another certificate, another issuer or signer, future, stale."""
    responder = Responder(world)
    responder.give(**wishes)
    assert world.refused() == REFUSED
    assert not world.kept().responses


def test_a_replay_cannot_take_a_revocation_back(world: World) -> None:
    """An answer older than the last one is refused, with or without a nonce."""
    responder = Responder(world)
    responder.give(status=STATUS.REVOKED, this_update=NOW - HOUR)
    world.round()
    for nonce in (None, b"n" * 32):
        responder.give(this_update=NOW - 2 * HOUR, nonce=nonce)
        assert world.refused() == REFUSED
    assert responder.verdict() == "revocation.ca_revoked"


def test_without_a_nonce_by_age_or_not_at_all(world: World) -> None:
    """Pre-produced answers count by their age, unless the profile asks for a nonce."""
    responder = Responder(world)
    responder.give(nonce=None)
    assert world.round().fresh == 1
    world.profile(fetch=[], ocsp=[f"http://{world.server.host}/ocsp"], ocsp_nonce="required")
    assert world.refused() == REFUSED
    world.profile(fetch=[], ocsp=[f"http://{world.server.host}/ocsp"])
    world.later(hours=25)
    responder.give(nonce=None, next_update=NOW + 9 * DAY)
    assert world.refused() == REFUSED  # producedAt is a day old


@pytest.mark.parametrize(
    ("extensions", "days", "taken"),
    [
        ((OCSP_SIGNING, NO_CHECK), 365, True),
        ((OCSP_SIGNING,), 6, True),
        ((OCSP_SIGNING,), 8, True),  # its status is good by the issuer's CRL
        ((NO_CHECK,), 365, False),
    ],
)
def test_appointed_responders(world: World, extensions: Any, days: int, taken: bool) -> None:
    """With ocsp-nocheck, by a short life, or by a good status of its own; never without the usage."""
    responder = Responder(world)
    found = responder.issuing.subordinate("Responder")
    certificate = build(
        found.subject, found.key.public_key(), responder.issuing.subject, responder.issuing.key, extensions,
        not_before=NOW - DAY, not_after=NOW + (days - 1) * DAY,
    )  # fmt: skip
    signer = Authority(found.subject, certificate, found.key)
    responder.give(signer=signer, extra=[certificate])
    assert (world.round().fresh == 1) is taken
    if not any(extension is NO_CHECK for extension in extensions):
        world.federation.crls([certificate.serial_number], number=2, issued=NOW - HOUR)
        responder.give(signer=signer, extra=[certificate], this_update=NOW)
        assert (world.round().fresh == 1) is (days == 6)


@pytest.mark.parametrize("body", [b"x", b"\x30\x03\x0a\x01\x06", b"\x30\x80\x00\x00"])
def test_what_is_no_answer(world: World, body: bytes) -> None:
    """tryLater, or nothing that can be read."""
    Responder(world)
    world.server.reply = plain(body)
    assert world.refused() == REFUSED


def test_an_answer_above_the_cap(world: World) -> None:
    """32 KB: an answer of 100 MB is never read."""
    responder = Responder(world)
    world.server.reply = plain(b"", length=100_000_000)
    assert world.refused() == "revocation.fetch_too_large"
    padded = responder.answer() + b"\x00" * (32 << 10)
    world.server.reply = plain(padded)
    assert world.refused() == "revocation.fetch_too_large"


def test_nobody_is_asked_about_people(world: World) -> None:
    """Only CA certificates of the bundle are asked about: one question for one CA."""
    responder = Responder(world)
    responder.give()
    assert world.round().asked == 1
    world.federation.profile("gd", world.federation.issuing, status={"ocsp": []})
    assert world.round().asked == 0
    assert not world.kept().responses
