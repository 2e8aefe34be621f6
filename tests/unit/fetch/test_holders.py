"""OCSP about holders: asked before judging, of domestic CAs only, kept, bounded; silence makes nothing good."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from ca_bridge.asn1.ocsp import OcspResponse, parse_ocsp
from ca_bridge.errors import PathError
from ca_bridge.fetch import checks, holders
from ca_bridge.fetch.holders import HolderStatus
from ca_bridge.fetch.http import Client
from ca_bridge.store import Box, Store, migrate, open_store
from ca_bridge.verdict.replay import Outcome, record, replay
from tests.pki import DAY, NOW, Authority, der
from tests.unit.fetch.conftest import World, plain
from tests.unit.fetch.test_ocsp import HOUR, STATUS, Responder


@pytest.fixture(autouse=True)
def produced_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """`cryptography` writes the machine's own time as producedAt: the answer's thisUpdate is taken for it."""

    def parse(data: bytes) -> OcspResponse:
        found = parse_ocsp(data)
        return replace(found, produced_at=max(single.this_update for single in found.singles))

    monkeypatch.setattr(checks, "parse_ocsp", parse)
    monkeypatch.setattr(holders, "parse_ocsp", parse)


class Bridge:
    """A bridge whose issuing CA has no CRL of its holders, and whose responder is the test's server."""

    def __init__(self, world: World, folder: Path, **status: Any) -> None:
        self.world = world
        self.federation = world.federation
        self.responder = Responder(world)
        self.store: Store = open_store(f"sqlite:///{folder}/bridge.sqlite", Box(secrets.token_bytes(32)), self.clock)
        migrate(f"sqlite:///{folder}/bridge.sqlite")
        world.profile(fetch=[], ocsp=[f"http://{world.server.host}/ocsp"], source="ocsp", **status)
        (self.federation.folder / "crls/issuing.crl").unlink()
        self.federation.publish()
        self.leaf = self.federation.leaf()
        self.status = self.new_process()

    def clock(self) -> datetime:
        return self.world.now

    def new_process(self, root: str = "gd") -> HolderStatus:
        """A worker of the bridge."""
        client = Client(lambda host, port: self.world.resolve(host, port))  # noqa: PLW0108 - tests change it
        return HolderStatus(client, self.store, self.clock, root, nonces=lambda size: b"n" * size)

    def give(self, status: ocsp.OCSPCertStatus = STATUS.GOOD, **wishes: Any) -> None:
        """Let the responder say so of the leaf."""
        wishes = {"about": self.leaf, "issuer": self.federation.issuing, "this_update": self.world.now, **wishes}
        self.world.server.reply = plain(self.responder.answer(status, **wishes))

    def code(self, *, ask: bool = True, leaf: x509.Certificate | None = None) -> str:
        """What a sign-in with the leaf comes to."""
        data = der(leaf or self.leaf)
        return self.status(self.federation.snapshot(), data, ask=ask).judge(data, self.world.now).code

    @property
    def asked(self) -> int:
        """How often the responder was asked."""
        return len(self.world.server.requests)


@pytest.fixture
def bridge(world: World, tmp_path: Path) -> Iterator[Bridge]:
    """A bridge with a silent responder."""
    made = Bridge(world, tmp_path)
    yield made
    made.store.close()


def test_a_good_answer_signs_in_and_a_revoked_one_does_not(bridge: Bridge) -> None:
    """Asked with our nonce, about this certificate; good passes, revoked refuses."""
    bridge.give()
    assert bridge.code() == "ok"
    request = ocsp.load_der_ocsp_request(bridge.world.server.requests[0].partition(b"\r\n\r\n")[2])
    assert request.serial_number == bridge.leaf.serial_number
    bridge.leaf = bridge.federation.leaf()
    bridge.give(STATUS.REVOKED)
    assert bridge.code() == "revocation.revoked"


@pytest.mark.parametrize(
    "reply",
    [b"", b"HTTP/1.1 500 No\r\n\r\n", plain(b"no answer"), plain(b"\x30\x03\x0a\x01\x06")],
    ids=["hangs up", "fault", "noise", "unauthorized"],
)
def test_no_answer_makes_nothing_good(bridge: Bridge, reply: bytes) -> None:
    """Unknown never passes."""
    bridge.world.server.reply = reply
    assert bridge.code() == "revocation.unknown"


@pytest.mark.parametrize(
    "wishes",
    [{"status": STATUS.UNKNOWN}, {"nonce": b"another nonce of 16"}, {"signer": "stranger"}, {"about": "other"},
     {"next_update": NOW - HOUR, "this_update": NOW - 2 * HOUR}, {"this_update": NOW + 2 * HOUR}],
)  # fmt: skip
def test_answers_that_do_not_count(bridge: Bridge, wishes: dict[str, Any]) -> None:
    """RFC 6960 §3.2: unknown, replayed, wrongly signed, of somebody else, stale, from the future."""
    if wishes.get("signer"):
        wishes = {"signer": Authority.create("Issuing")}
    if wishes.get("about"):
        wishes = {"about": bridge.federation.leaf()}
    bridge.give(**wishes)
    assert bridge.code() == "revocation.unknown"


def test_an_answer_is_kept_for_all_processes(bridge: Bridge) -> None:
    """Within `refresh_seconds` nobody asks again; afterwards the next one does, and sees a revocation."""
    bridge.give()
    assert (bridge.code(), bridge.asked) == ("ok", 1)
    bridge.status = bridge.new_process()
    bridge.world.later(minutes=30)
    assert (bridge.code(), bridge.asked) == ("ok", 1)
    bridge.world.later(minutes=31)
    bridge.give(STATUS.REVOKED)
    assert (bridge.code(ask=False), bridge.asked) == ("ok", 1)  # who only uses a session asks nobody
    assert (bridge.code(), bridge.asked) == ("revocation.revoked", 2)
    assert bridge.code(ask=False) == "revocation.revoked"


def test_a_silent_responder_is_forgiven_while_its_answer_counts(bridge: Bridge) -> None:
    """The last good answer counts until its own nextUpdate, not longer."""
    bridge.give(next_update=NOW + 3 * HOUR)
    assert bridge.code() == "ok"
    bridge.world.server.reply = b""
    bridge.world.later(hours=2)
    assert bridge.code() == "ok"
    bridge.world.later(hours=2)
    assert bridge.code() == "revocation.stale"


def test_a_replayed_older_answer_takes_nothing_back(bridge: Bridge) -> None:
    """What was revoked stays so, when an older "good" comes again."""
    bridge.give(STATUS.REVOKED)
    assert bridge.code() == "revocation.revoked"
    bridge.world.later(hours=2)
    bridge.give(this_update=NOW - HOUR)
    assert bridge.code() == "revocation.revoked"


def test_a_responder_that_does_not_answer_rests(bridge: Bridge) -> None:
    """An outage must not hold every sign-in up: for a while nobody asks that host; other processes find out alone."""
    bridge.world.server.reply = b""
    assert (bridge.code(), bridge.asked) == ("revocation.unknown", 1)
    assert (bridge.code(), bridge.asked) == ("revocation.unknown", 1)
    bridge.give()
    bridge.status = bridge.new_process()
    assert bridge.code() == "ok"


def test_one_who_is_refused_does_not_stop_the_others(bridge: Bridge) -> None:
    """An answer that does not count is no outage: the next person's question is asked."""
    bridge.give(STATUS.UNKNOWN)
    assert bridge.code() == "revocation.unknown"
    bridge.leaf = bridge.federation.leaf()
    bridge.give()
    assert (bridge.code(), bridge.asked) == ("ok", 2)


def test_a_slow_responder_ends_in_time(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seconds at the most, names included: a look-up that hangs holds nobody."""
    monkeypatch.setattr(holders, "SECONDS", 0.2)
    bridge.world.server.reply = bridge.world.server.drip(b"H")
    assert bridge.code() == "revocation.unknown"
    bridge.status = bridge.new_process()

    def never(_host: str, _port: int) -> list[str]:
        bridge.world.server.stopped.wait(5)
        return []

    bridge.world.resolve = never
    assert bridge.code() == "revocation.unknown"
    bridge.world.server.stopped.set()


def test_across_the_border_nobody_is_asked(bridge: Bridge) -> None:
    """Design §4: a request would report a person's movements."""
    bridge.give()
    bridge.status = bridge.new_process(root="mo")
    assert (bridge.code(), bridge.asked) == ("revocation.unknown", 0)


def test_nobody_is_asked_about_a_forgery(bridge: Bridge) -> None:
    """A certificate in the CA's name that its key did not sign, or octets that are none, lead to no request."""
    forged = Authority.create("Issuing").issue([("C", "CN"), ("OU", "Person"), ("CN", "x")])
    assert (bridge.code(leaf=forged), bridge.asked) == ("path.signature", 0)
    snapshot = bridge.federation.snapshot()
    assert bridge.status(snapshot, b"no certificate") is snapshot


def test_a_ca_whose_status_is_crl_is_not_asked(bridge: Bridge) -> None:
    """Responders of a CA whose source is not OCSP are about CA certificates only."""
    bridge.give()
    bridge.world.profile(fetch=[], ocsp=[f"http://{bridge.world.server.host}/ocsp"])
    assert (bridge.code(), bridge.asked) == ("revocation.unknown", 0)


def test_a_crl_that_revokes_wins_over_a_good_answer(bridge: Bridge) -> None:
    """Any "no" wins."""
    bridge.give()
    bridge.federation.write("crls/issuing.crl", der(bridge.federation.issuing.crl([bridge.leaf.serial_number])))
    assert bridge.code() == "revocation.revoked"


def test_a_verdict_that_rests_on_an_answer_can_be_replayed(bridge: Bridge) -> None:
    """The answer is sealed with the leaf; without it the same record would be judged unknown."""
    bridge.give()
    data = der(bridge.leaf)
    snapshot = bridge.status(bridge.federation.snapshot(), data)
    verdict = snapshot.judge(data, NOW)
    kept, key = record(snapshot, data, verdict, secrets.token_bytes)
    assert verdict.accepted
    plain_snapshot = bridge.federation.snapshot()
    found = replay(kept.line(), lambda _: key, lambda _: plain_snapshot)
    assert found.outcome is Outcome.SAME, found
    assert plain_snapshot.judge(data, NOW).code == "revocation.unknown"
    assert str(bridge.leaf.serial_number) not in kept.line()


def test_what_is_kept_damaged_is_asked_again(bridge: Bridge) -> None:
    """The store's values are another version's, or nobody's: they say nothing."""
    bridge.give()
    assert bridge.code() == "ok"
    digest = holders.parse_certificate(der(bridge.leaf)).tbs_sha256
    for value in ({"answer": "!", "asked": NOW.isoformat()}, {}, {"answer": "AAAA", "asked": "now"}):
        bridge.store.put(holders.KEPT, digest, value, NOW + DAY)
        before = bridge.asked
        assert (bridge.code(), bridge.asked) == ("ok", before + 1)


def test_source_ocsp_needs_a_responder(world: World) -> None:
    """A profile that asks nobody is a mistake, said when it is read."""
    world.profile(fetch=[], source="ocsp")
    with pytest.raises(PathError, match="no responder") as caught:
        world.federation.snapshot()
    assert caught.value.code == "trust.profile"
    assert timedelta(seconds=holders.SECONDS) == timedelta(seconds=3)
