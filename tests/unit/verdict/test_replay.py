"""Replay: a kept verdict is judged again at its time, what differs is named, a destroyed key leaves its line."""

from __future__ import annotations

import hashlib
import json
import secrets
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from ca_bridge.errors import InputError, PathError, StoreError
from ca_bridge.revocation.overlay import write_overlay
from ca_bridge.verdict.evidence import Evidence, Recorder
from ca_bridge.verdict.replay import Outcome, Record, Replayed, parse, record, replay
from ca_bridge.verdict.snapshot import SnapshotSource
from tests.pki import DAY, NOW, der
from tests.unit.verdict.conftest import Federation


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    """An empty folder of evidence."""
    return Evidence(tmp_path / "evidence")


def keep(evidence: Evidence, federation: Federation, leaf: x509.Certificate | bytes | None = None) -> Record:
    """A verdict of a good person (or of what is given), kept with its bundle."""
    data = leaf if isinstance(leaf, bytes) else der(federation.leaf() if leaf is None else leaf)
    snapshot = evidence.snapshot(*evidence.archive(federation.folder))
    return evidence.keep(snapshot, data, snapshot.judge(data, NOW), secrets.token_bytes)


def again(evidence: Evidence) -> list[Replayed]:
    """Everything kept, judged again by a process that has nothing in its memory."""
    fresh = Evidence(evidence.folder)
    return [replay(line, fresh.key, fresh.of) for line in fresh.lines()]


def outcomes(evidence: Evidence) -> list[Outcome]:
    """The outcomes alone."""
    return [found.outcome for found in again(evidence)]


def rewrite(evidence: Evidence, change: Callable[[dict[str, object]], object]) -> None:
    """Change every kept record, as a file that somebody has edited."""
    for file in (evidence.folder / "records").iterdir():
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        for row in rows:
            change(row)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_same_verdict(federation: Federation, evidence: Evidence) -> None:
    """Accepted, refused, and what is no certificate at all: each is judged as it was."""
    for leaf in (None, federation.leaf(not_after=NOW - DAY), b"no certificate"):
        keep(evidence, federation, leaf)
    assert [(found.outcome, found.code) for found in again(evidence)] == [
        (Outcome.SAME, "ok"),
        (Outcome.SAME, "path.expired"),
        (Outcome.SAME, "asn1.certificate"),
    ]


def test_the_bundle_of_then_counts(federation: Federation, evidence: Evidence) -> None:
    """What was revoked later does not change what was judged before; both bundles are kept, shared files once."""
    leaf = federation.leaf()
    keep(evidence, federation, leaf)
    federation.crls([leaf.serial_number], number=2)
    keep(evidence, federation, leaf)
    assert [(found.outcome, found.code) for found in again(evidence)] == [
        (Outcome.SAME, "ok"),
        (Outcome.SAME, "revocation.revoked"),
    ]
    first, second = sorted((evidence.folder / "bundles").iterdir())
    assert (first / "levels.toml").samefile(second / "levels.toml")


def test_the_rule_that_differs_is_named(federation: Federation, evidence: Evidence) -> None:
    """The code with its clause, then and now; level, refusals, inputs too. A clause's new wording is no difference."""
    keep(evidence, federation, federation.leaf(not_after=NOW - DAY))
    rewrite(evidence, lambda row: row["verdict"].update(clause="reworded"))  # type: ignore[attr-defined]
    assert outcomes(evidence) == [Outcome.SAME]

    def change(row: dict[str, object]) -> None:
        row["verdict"].update(code="path.policy", clause="RFC 5280 §6.1.5 (g)", level=3)  # type: ignore[attr-defined]
        row["inputs"].update(require_policy=True)  # type: ignore[attr-defined]

    rewrite(evidence, change)
    (found,) = again(evidence)
    assert found.outcome is Outcome.DIFFERS
    rules = {d.rule: (d.then, d.now) for d in found.differences}
    assert rules["code"] == ("path.policy (RFC 5280 §6.1.5 (g))", "path.expired (RFC 5280 §6.1.3 (a)(2))")
    assert rules["level"] == ("3", "0")
    assert set(rules) == {"code", "level", "inputs"}


def test_a_field_that_is_new_or_gone_is_a_difference(federation: Federation, evidence: Evidence) -> None:
    """Nothing is passed over because one side does not know it."""
    keep(evidence, federation)
    rewrite(evidence, lambda row: row["verdict"].pop("engine"))  # type: ignore[attr-defined]
    rewrite(evidence, lambda row: row["verdict"].update(other=1))  # type: ignore[attr-defined]
    assert [d.rule for d in again(evidence)[0].differences] == ["engine", "other"]


def test_nothing_of_the_person_is_in_clear(federation: Federation, evidence: Evidence) -> None:
    """Neither the certificate, its serial number, any plain hash of it, nor its name; not in the bundle's archive."""
    leaf = federation.leaf()
    made = keep(evidence, federation, leaf)
    verdict = federation.judge(leaf)
    line = made.line()
    for secret in (verdict.path[0], verdict.certificate_key, f'{leaf.serial_number:x}"', "OU=Person"):
        assert secret not in line
    assert made.leaf_hash != verdict.path[0]
    assert "sealed" not in repr(made)


def test_a_destroyed_key_shreds(federation: Federation, evidence: Evidence) -> None:
    """The record of one person is counted still, and can be read by nobody; the others are as they were."""
    first, second = keep(evidence, federation), keep(evidence, federation)
    key = evidence.key(first)
    assert evidence.shred(first.id)
    assert not evidence.shred(first.id)
    assert [(f.id, f.outcome, f.code) for f in again(evidence)] == [
        (first.id, Outcome.SHREDDED, "ok"),
        (second.id, Outcome.SAME, "ok"),
    ]
    assert key is not None
    assert all(key not in file.read_bytes() for file in evidence.folder.rglob("*") if file.is_file())


def test_days_are_shredded_whole(federation: Federation, evidence: Evidence) -> None:
    """All keys before a day; not those of the day itself."""
    keep(evidence, federation)
    assert evidence.shred_before(NOW.date()) == 0
    assert outcomes(evidence) == [Outcome.SAME]
    assert evidence.shred_before(NOW.date() + timedelta(days=1)) == 1
    assert outcomes(evidence) == [Outcome.SHREDDED]
    assert evidence.shred_before(date(2100, 1, 1)) == 0


def test_damage_is_found(federation: Federation, evidence: Evidence) -> None:
    """A sealed part from another record, another key, a hash that was swapped, a line that is none."""
    one, two = keep(evidence, federation), keep(evidence, federation)
    key = evidence.key(one)
    swapped = (replace(one, sealed=two.sealed), replace(one, leaf_hash=two.leaf_hash), replace(one, id=two.id))
    lines = [*(other.line() for other in swapped), "", "{}", "[]", "null", one.line()[:-9], '{"a":' * 5000]
    for line in lines:
        assert replay(line, lambda _record: key, evidence.of).outcome is Outcome.DAMAGED
    assert replay(one.line(), lambda _record: bytes(32), evidence.of).outcome is Outcome.DAMAGED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", 2),
        ("at", "2026-01-01T00:00:00"),
        ("at", 5),
        ("id", "../x"),
        ("snapshot", "0"),
        ("bundle", "../../etc"),
        ("overlay", "x"),
        ("verdict", []),
        ("inputs", None),
        ("sealed", "%"),
        ("extra", 1),
    ],
)
def test_a_malformed_record_is_refused(federation: Federation, evidence: Evidence, name: str, value: object) -> None:
    """With a code, before anything of it is used as a name of a file."""
    row = {**json.loads(keep(evidence, federation).line()), name: value}
    with pytest.raises(InputError, match=r"input\.record"):
        parse(json.dumps(row))


def test_without_its_bundle_nothing_is_judged(federation: Federation, evidence: Evidence) -> None:
    """A bundle that is gone, or has been changed, or another one under its name."""
    keep(evidence, federation)
    (folder,) = (evidence.folder / "bundles").iterdir()
    (folder / "levels.toml").unlink()
    (folder / "levels.toml").write_text("")
    assert outcomes(evidence) == [Outcome.NO_BUNDLE]
    folder.rename(folder.parent / ("0" * 64))
    assert outcomes(evidence) == [Outcome.NO_BUNDLE]
    with pytest.raises(PathError):
        evidence.snapshot("0" * 64)


def test_status_data_beside_the_bundle_counts(federation: Federation, evidence: Evidence, tmp_path: Path) -> None:
    """What the fetcher had laid beside the bundle is kept too: a revocation that came that way is replayed."""
    leaf = federation.leaf()
    crl = der(federation.issuing.crl([leaf.serial_number], number=2, issued=NOW))
    status = tmp_path / "status"
    write_overlay(status, {hashlib.sha256(crl).hexdigest(): crl}, {})
    snapshot = SnapshotSource(federation.folder, lambda: NOW, status).current()
    recorder = Recorder(evidence, federation.folder, status, secrets.token_bytes)
    recorder(snapshot, der(leaf), snapshot.judge(der(leaf), NOW))
    assert [(f.outcome, f.code) for f in again(evidence)] == [(Outcome.SAME, "revocation.revoked")]
    rewrite(evidence, lambda row: row.update(overlay=""))
    assert outcomes(evidence) == [Outcome.NO_BUNDLE]


def test_a_bundle_that_is_gone_already_stops_nobody(federation: Federation, evidence: Evidence) -> None:
    """The record is written; that it cannot be replayed is counted."""
    snapshot = federation.snapshot()
    federation.crls(number=2)
    leaf = der(federation.leaf())
    Recorder(evidence, federation.folder, federation.folder / "none", secrets.token_bytes)(
        snapshot, leaf, snapshot.judge(leaf, NOW)
    )
    assert outcomes(evidence) == [Outcome.NO_BUNDLE]


def test_files_are_the_owners_alone(federation: Federation, evidence: Evidence) -> None:
    """Folders 0700, records and keys 0600, from the first byte and after shredding."""
    made = keep(evidence, federation)
    keep(evidence, federation)
    evidence.shred(made.id)
    for path in (evidence.folder, evidence.folder / "records", evidence.folder / "keys"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.iterdir() if file.is_file()} <= {0o600}


def test_a_torn_line_harms_no_other(federation: Federation, evidence: Evidence) -> None:
    """A crash in the middle of a line leaves one damaged record, not two."""
    keep(evidence, federation)
    (file,) = (evidence.folder / "records").iterdir()
    with file.open("a") as records:
        records.write('{"format": 1, "id"')
    keep(evidence, federation)
    assert outcomes(evidence) == [Outcome.SAME, Outcome.DAMAGED, Outcome.SAME]


def test_several_write_at_once(federation: Federation, evidence: Evidence) -> None:
    """Each line whole, each key with its record."""
    evidence.archive(federation.folder)

    def work() -> None:
        own = Evidence(evidence.folder)
        for _ in range(5):
            keep(own, federation)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes(evidence) == [Outcome.SAME] * 20


def test_a_folder_that_cannot_be_written(federation: Federation, tmp_path: Path) -> None:
    """StoreError: with evidence switched on there is no sign-in without it."""
    (tmp_path / "evidence").write_text("a file")
    snapshot, leaf = federation.snapshot(), der(federation.leaf())
    verdict = snapshot.judge(leaf, NOW)
    with pytest.raises(StoreError, match=r"store\.unavailable"):
        Evidence(tmp_path / "evidence").keep(snapshot, leaf, verdict, secrets.token_bytes)


def test_each_record_has_a_key_of_its_own(federation: Federation) -> None:
    """Two records of one certificate cannot be told to be of one."""
    snapshot, leaf = federation.snapshot(), der(federation.leaf())
    verdict = snapshot.judge(leaf, NOW)
    (one, first), (two, second) = (record(snapshot, leaf, verdict, secrets.token_bytes) for _ in range(2))
    assert first != second
    assert one.leaf_hash != two.leaf_hash
    assert one.sealed != two.sealed
