"""Rounds of the fetcher against a real server: what is taken, what is refused, what stays, when it is asked again."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from filelock import FileLock

from ca_bridge.errors import RevocationError
from ca_bridge.fetch import memory
from ca_bridge.fetch.fetcher import PER_HOST_PER_MINUTE
from ca_bridge.fetch.plan import next_time, plan
from ca_bridge.trust.bundle import read_bundle
from ca_bridge.verdict.snapshot import SnapshotSource
from tests.pki import DAY, NOW, Authority, build, ca, der, pem, usage
from tests.unit.fetch.conftest import World, plain

REFUSED = "revocation.fetch_refused"
HOUR = timedelta(hours=1)


def source(world: World) -> SnapshotSource:
    """The bridge's side."""
    return SnapshotSource(world.federation.folder, lambda: world.now, world.status)


def test_a_revocation_comes_in_force_without_a_new_bundle(world: World) -> None:
    """Fetched, verified, laid beside the bundle; the snapshot has another hash, and the bundle is as it was."""
    leaf, snapshots = world.federation.leaf(), source(world)
    before = snapshots.current()
    assert before.judge(der(leaf), world.now).accepted
    world.publish(leaf.serial_number, number=2, issued=NOW - HOUR)
    report = world.round()
    assert (report.asked, report.fresh, report.failed) == (1, 1, ())
    world.later(seconds=2)
    after = snapshots.current()
    assert after.judge(der(leaf), world.now).code == "revocation.revoked"
    assert after.hash != before.hash
    assert after.bundle is before.bundle
    assert len(after.hash) == 64


def test_fresh_status_keeps_sign_ins_going_when_the_bundles_is_stale(world: World) -> None:
    """The bundle's CRL has run out; the fetched one has not."""
    leaf, snapshots = world.federation.leaf(), source(world)
    world.federation.crls(until=NOW + HOUR)
    world.later(hours=2)
    assert snapshots.current().judge(der(leaf), world.now).code == "revocation.stale"
    world.publish(number=2, issued=world.now - HOUR, until=world.now + DAY)
    world.round()
    world.later(seconds=2)
    verdict = snapshots.current().judge(der(leaf), world.now)
    assert verdict.accepted
    assert verdict.status_issued_at == NOW + HOUR


def test_pem_is_taken_too(world: World) -> None:
    """Some CAs publish PEM."""
    world.server.reply = plain(pem(world.federation.issuing.crl(number=2, issued=NOW - HOUR)).encode())
    assert world.round().fresh == 1
    assert world.numbers() == [2]


@pytest.mark.parametrize(
    "wishes",
    [
        {"number": 1, "issued": NOW - 2 * DAY},
        {"number": 3, "issued": NOW - 2 * DAY},
        {"number": 1, "issued": NOW - HOUR / 2},
        {"number": 2, "issued": NOW - HOUR, "revoked": [77]},
        {"number": 9, "issued": NOW + 2 * HOUR, "until": NOW + DAY},
        {"number": 9, "issued": NOW - HOUR / 2, "extensions": [(x509.IssuingDistributionPoint(
            full_name=None, relative_name=None, only_contains_user_certs=True, only_contains_ca_certs=False,
            only_some_reasons=None, indirect_crl=False, only_contains_attribute_certs=False), True)]},
        {"number": 9, "issued": NOW - HOUR / 2, "delta_of": 2},
        {"number": 9, "issued": NOW - HOUR / 2, "extensions": [
            (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)]},
    ],
)  # fmt: skip
def test_what_would_take_something_back_is_refused(world: World, wishes: dict[str, Any]) -> None:
    """Older, a lower number, twice the same number, the future, another scope, unusable: the last good copy stays."""
    world.publish(number=2, issued=NOW - HOUR)
    world.round()
    revoked = wishes.pop("revoked", ())
    world.publish(*revoked, **wishes)
    assert world.refused() == REFUSED
    assert world.numbers() == [2]


def test_numbers_that_are_all_0_are_ordered_by_time(world: World) -> None:
    """As real national CRLs are."""
    world.federation.crls(number=0)
    for hours, fresh in ((3, 1), (1, 1), (2, 0)):
        world.publish(number=0, issued=NOW - hours * HOUR)
        assert world.round().fresh == fresh
    assert [crl.this_update for crl in world.kept().crls.values()] == [NOW - HOUR]


def test_the_bundles_crl_is_a_floor_as_well(world: World) -> None:
    """An answer older than what the province published is not laid beside it."""
    world.federation.crls(number=5, issued=NOW - HOUR)
    world.publish(number=4, issued=NOW - 2 * HOUR)
    assert world.refused() == REFUSED
    assert not world.kept().crls


@pytest.mark.parametrize("wrong", ["key", "name", "no cRLSign", "root"])
def test_crls_of_the_wrong_issuer(world: World, wrong: str) -> None:
    """Only this CA's keys, under its name, and only where they may sign CRLs."""
    signer = {
        "key": Authority.create("Issuing"),
        "name": Authority.create("Other"),
        "root": world.federation.root,
        "no cRLSign": world.federation.issuing,
    }[wrong]
    if wrong == "no cRLSign":
        own, root = world.federation.issuing, world.federation.root
        extensions = [*ca()[:1], usage("key_cert_sign")]
        changed = build(own.subject, own.key.public_key(), root.subject, root.key, extensions)
        world.federation.write("cross/issuing.pem", pem(changed))
    world.server.reply = plain(der(signer.crl(number=9, issued=NOW - HOUR)))
    assert world.refused() == REFUSED
    assert not world.kept().crls


@pytest.mark.parametrize("body", [b"x", b"<html>login</html>", b"\x30\x82\x01"])
def test_what_is_no_crl(world: World, body: bytes) -> None:
    """A captive portal's page, or half a list."""
    world.server.reply = plain(body)
    assert world.refused() == REFUSED


def test_a_list_cut_off_in_flight(world: World) -> None:
    """By length and by form; the last good copy stays in force."""
    data = world.publish(number=2, issued=NOW - HOUR)
    world.round()
    newer = der(world.federation.issuing.crl([5], number=3, issued=NOW))
    world.server.reply = plain(newer[:100], length=len(newer))
    assert world.refused() == "revocation.fetch_failed"
    world.server.reply = plain(newer[:100])
    assert world.refused() == REFUSED
    assert [crl.der for crl in world.kept().crls.values()] == [data]


def test_another_scope_is_taken_when_the_last_copy_is_of_no_use(world: World) -> None:
    """Else a CA that parts its CRLs anew would be frozen for ever."""
    world.publish(number=2, issued=NOW - HOUR, until=NOW + HOUR)
    world.round()
    world.later(hours=2)
    world.publish(number=3, issued=NOW, delta_of=2)
    assert world.round().fresh == 1
    assert world.numbers() == [3]


def test_conditional_questions(world: World) -> None:
    """ETag and date are sent back while the copy counts; a 304 keeps it; after a failure or nextUpdate all is asked."""
    data = der(world.federation.issuing.crl(number=2, issued=NOW - HOUR, until=NOW + DAY))
    world.server.reply = plain(data, 'ETag: "7"', "Last-Modified: Mon, 01 Jun 2026 00:00:00 GMT")
    world.round()
    world.server.reply = b"HTTP/1.1 304 Not Modified\r\n\r\n"
    assert world.round().unchanged == 1
    assert b'If-None-Match: "7"\r\nIf-Modified-Since: Mon, 01 Jun 2026 00:00:00 GMT' in world.server.requests[1]
    assert world.numbers() == [2]
    world.later(days=2)
    assert world.refused() == "revocation.fetch_failed"  # a 304 to a question without a condition
    assert b"If-None-Match" not in world.server.requests[2]
    assert world.numbers() == [2]


def test_the_last_good_copy_outlives_restarts_and_lost_memory(world: World) -> None:
    """What is on the disk counts, and is still a floor, when the fetcher has forgotten all else."""
    data = world.publish(number=5, issued=NOW - HOUR)
    world.round()
    for lost in (None, b"", b"{", b'{"format": 2}', b"\xff"):
        if lost is None:
            (world.status / memory.FILE).unlink()
        else:
            (world.status / memory.FILE).write_bytes(lost)
        world.fetcher = world.new_fetcher()
        world.publish(number=4, issued=NOW - 2 * HOUR)
        assert world.refused() == REFUSED
        world.server.reply = plain(b"", status="503 Busy")
        assert world.refused() == "revocation.fetch_failed"
        assert [crl.der for crl in world.kept().crls.values()] == [data]


def test_a_broken_overlay_is_mended(world: World) -> None:
    """A file that was changed on the disk is dropped and fetched anew; meanwhile the bridge keeps what it has."""
    world.publish(number=2, issued=NOW - HOUR)
    world.round()
    running = source(world)
    held = running.current()
    file = next((world.status / "crls").glob("*.crl"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(RevocationError, match=r"revocation\.overlay"):
        world.kept()
    world.later(seconds=2)
    assert running.current() is held
    started = source(world)
    assert started.current().overlay == ""
    assert started.status_problem
    world.fetcher = world.new_fetcher()
    assert not world.round().failed
    assert world.numbers() == [2]
    world.later(seconds=2)
    assert started.current().overlay == held.overlay
    assert not started.status_problem


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2, "files": {}}', '{"format": 1, "files": {"../x": "y"}}'])
def test_a_list_that_cannot_be_read_stops_nobody(world: World, text: str) -> None:
    """The bundle's own CRLs count on."""
    world.status.mkdir(parents=True)
    (world.status / "status.json").write_text(text)
    snapshots = source(world)
    assert snapshots.current().judge(der(world.federation.leaf()), world.now).accepted
    assert snapshots.status_problem


def test_overlay_files_that_nobody_signed_for_change_nothing(world: World) -> None:
    """Trust is by signature: whoever can write the folder revokes nobody and saves nobody."""
    leaf = world.federation.leaf()
    world.publish(leaf.serial_number, number=2, issued=NOW - HOUR)
    world.round()
    from ca_bridge.revocation.overlay import write_overlay  # noqa: PLC0415 - what an intruder would do

    impostor = Authority.create("Issuing")
    forged = der(impostor.crl([], number=99, issued=NOW))
    import hashlib  # noqa: PLC0415

    other = world.federation.leaf()
    kept = {path.stem: None for path in (world.status / "crls").glob("*")}
    write_overlay(world.status, {**kept, hashlib.sha256(forged).hexdigest(): forged}, {})
    current = source(world).current()
    assert current.judge(der(leaf), world.now).code == "revocation.revoked"
    assert current.judge(der(other), world.now).accepted


def test_a_delta_beside_its_base(world: World) -> None:
    """Two addresses of one CA: base and delta, both kept."""
    leaf, host = world.federation.leaf(), world.server.host
    world.profile(fetch=[f"http://{host}/base.crl", f"http://{host}/delta.crl"])
    issuing = world.federation.issuing
    base = der(issuing.crl(number=5, issued=NOW - HOUR))
    delta = der(issuing.crl([leaf.serial_number], number=6, issued=NOW - HOUR / 2, delta_of=5))
    world.server.reply = lambda request, _connection: plain(delta if b"/delta.crl" in request else base)
    assert world.round().fresh == 2
    assert source(world).current().judge(der(leaf), world.now).code == "revocation.revoked"


def test_an_address_that_the_profile_no_longer_lists_is_forgotten(world: World) -> None:
    """And its copy goes."""
    world.publish(number=2, issued=NOW - HOUR)
    world.round()
    world.profile(fetch=[])
    assert world.round().asked == 0
    assert not world.kept().crls
    assert not list((world.status / "crls").iterdir())


def test_ssrf_by_the_profiles_own_address(world: World) -> None:
    """Loopback that `private` does not list is not connected to."""
    world.profile(private=[])
    assert world.refused() == "revocation.fetch_address"
    assert not world.server.requests


def test_one_failing_ca_stops_nobody_else(world: World) -> None:
    """Each target for itself."""
    host = world.server.host
    world.profile(fetch=[f"http://{host}/bad", f"http://{host}/good"])
    good = plain(der(world.federation.issuing.crl(number=2, issued=NOW - HOUR)))
    world.server.reply = lambda request, _connection: plain(b"x") if b"/bad" in request else good
    report = world.round()
    assert (report.asked, report.fresh, len(report.failed)) == (2, 1, 1)
    assert world.numbers() == [2]


def test_only_what_is_due_is_asked_for(world: World) -> None:
    """After success within the hour; after failures in growing steps; a clock that was wrong does not silence it."""
    world.publish(number=2, issued=NOW - HOUR, until=NOW + DAY)
    report = world.fetcher.round()
    assert report.next_at == NOW + 0.8 * HOUR
    assert world.fetcher.round().asked == 0
    world.later(minutes=49)
    assert world.fetcher.round().asked == 1
    world.now -= timedelta(days=300)
    assert world.fetcher.round().asked == 1


def test_schedule(world: World) -> None:
    """Before nextUpdate, jittered, never more often than in 48 s, backing off up to an hour."""
    (target,) = plan(read_bundle(world.federation.folder))

    def minutes(until: datetime | None, failures: int = 0, chance: float = 0.0) -> float:
        return (next_time(target, NOW, until, failures, lambda: chance) - NOW).total_seconds() / 60

    assert minutes(NOW + DAY) == pytest.approx(48)
    assert minutes(NOW + DAY, chance=1.0) == pytest.approx(60)
    assert minutes(NOW + HOUR) == pytest.approx(24)
    assert minutes(NOW + HOUR / 600) == pytest.approx(0.8)
    assert minutes(NOW - HOUR) == pytest.approx(4)
    assert [minutes(None, n) for n in (1, 2, 3, 20, 10**6)] == pytest.approx([0.8, 1.6, 3.2, 48, 48])


def test_questions_to_one_host_are_limited(world: World) -> None:
    """More addresses than that wait for the next minute."""
    host = world.server.host
    world.profile(fetch=[f"http://{host}/{n}" for n in range(PER_HOST_PER_MINUTE + 3)])
    world.publish(number=2, issued=NOW - HOUR)
    assert world.round().asked == PER_HOST_PER_MINUTE
    world.later(seconds=61)
    assert world.fetcher.round().asked == 3


def test_two_fetchers_do_not_work_in_one_folder(world: World) -> None:
    """The second says so and changes nothing."""
    world.status.mkdir(parents=True)
    with FileLock(world.status / ".lock"), pytest.raises(RevocationError, match=r"revocation\.overlay"):
        world.round()


def test_certificates_are_kept_as_candidates_only(world: World) -> None:
    """AIA caIssuers: CA certificates, for the province to look at; nothing trusts them."""
    other = world.federation.root.subordinate("New")
    world.profile(fetch=[], certificates=[f"http://{world.server.host}/ca.cer"])
    world.server.reply = plain(der(other.certificate))
    assert world.round().fresh == 1
    assert [file.read_bytes() for file in (world.status / "candidates").iterdir()] == [der(other.certificate)]
    leaf = world.federation.leaf(other)
    assert source(world).current().judge(der(leaf), world.now).code == "path.unknown_issuer"
    for body, code in (
        (der(world.federation.leaf()), REFUSED),
        (b"x", REFUSED),
        (b"x" * 70_000, "revocation.fetch_too_large"),
    ):
        world.server.reply = plain(body)
        assert world.refused() == code


def test_a_bundle_without_addresses_asks_nobody(world: World) -> None:
    """And writes no overlay."""
    world.profile(fetch=[])
    assert world.round().next_at is None
    assert world.kept().hash == ""
    shutil.rmtree(world.status)
    assert source(world).current().overlay == ""


def test_the_fetched_copy_is_what_was_signed(world: World) -> None:
    """Octet for octet, under its own hash."""
    data = world.publish(number=2, issued=NOW - HOUR)
    world.round()
    (file,) = (world.status / "crls").iterdir()
    assert file.read_bytes() == data
    digest = hashes.Hash(hashes.SHA256())
    digest.update(data)
    assert file.stem == digest.finalize().hex()
