"""Judging a sign-in against a bundle: every rule refuses with its own code, and nothing raises."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from ca_bridge.asn1.certificate import parse_certificate
from ca_bridge.errors import PathError
from ca_bridge.verdict.snapshot import SnapshotSource
from tests.pki import DAY, NOW, Authority, ca, der, eku, pem, policies, usage
from tests.unit.verdict.conftest import POLICY, Federation


def test_a_person_is_accepted_with_everything_told(federation: Federation) -> None:
    """The verdict carries path, CA, type, level, key and age of status."""
    leaf = federation.leaf()
    verdict = federation.judge(leaf)
    key = hashlib.sha256(federation.issuing.spki).hexdigest()
    assert (verdict.accepted, verdict.code, verdict.level) == (True, "ok", 4)
    assert (verdict.ca, verdict.domain, verdict.accreditation, verdict.certificate_type) == (
        "gd",
        "gd",
        "gd-01",
        "person",
    )
    assert verdict.certificate_key == f"{key}:{leaf.serial_number:x}"
    assert verdict.path[0] == hashlib.sha256(der(leaf)).hexdigest()
    assert len(verdict.path) == 4
    assert verdict.status_issued_at == NOW - DAY
    assert verdict.snapshot == federation.snapshot().hash


@pytest.mark.parametrize("data", [b"", b"x", b"\x30\x03\x02\x01\x05", b"\x30" * 100, bytes(2_000_000)])
def test_bytes_that_are_no_certificate_are_refused_not_raised(federation: Federation, data: bytes) -> None:
    """`judge` never raises for what a person sends."""
    verdict = federation.snapshot().judge(data, NOW)
    assert not verdict.accepted
    assert verdict.code.startswith("asn1.")


@pytest.mark.parametrize("moment", [datetime(1969, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)])
def test_a_clock_far_off_only_refuses(federation: Federation, moment: datetime) -> None:
    """A clock at 1969 or 9999 gives a refusal with a code."""
    assert federation.judge(at=moment).code in ("path.not_yet_valid", "path.expired")


def test_an_unknown_issuer_and_an_impostor_are_refused(federation: Federation) -> None:
    """By name unknown; by name known and by key not."""
    assert federation.judge(federation.leaf(Authority.create("Nobody"))).code == "path.unknown_issuer"
    impostor = federation.judge(federation.leaf(Authority.create("Issuing")))
    assert (impostor.code, impostor.ca, impostor.certificate_key) == ("path.signature", "", "")


@pytest.mark.parametrize(
    ("extensions", "code"),
    [
        ([usage("key_encipherment", "data_encipherment")], "path.encryption_certificate"),
        ([usage("crl_sign")], "path.key_usage"),
        ([], "path.key_usage"),
        ([usage("digital_signature"), eku("1.3.6.1.5.5.7.3.1")], "path.extended_key_usage"),
        ([usage("digital_signature"), eku("1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2")], "ok"),
        (ca(), "path.ca_certificate"),
    ],
)
def test_what_may_sign_in(federation: Federation, extensions: list[object], code: str) -> None:
    """Design §4: digitalSignature, no machine's key usage alone, no encryption certificate, no CA."""
    assert federation.judge(federation.leaf(extensions=extensions)).code == code


def test_a_type_that_the_profile_does_not_list_is_refused(federation: Federation) -> None:
    """Another OU matches no type."""
    assert federation.judge(federation.issuing.issue([("C", "CN"), ("OU", "Mail")])).code == "path.certificate_type"


def test_a_key_algorithm_outside_the_profile_is_refused(federation: Federation) -> None:
    """The profile says which keys its holders have."""
    federation.profile("gd", federation.issuing, algorithms=["rsa", "sm2"])
    assert federation.judge().code == "path.key_algorithm"


def test_a_ca_without_profile_signs_nobody_in(federation: Federation) -> None:
    """The root has a path but no profile."""
    assert federation.judge(federation.leaf(federation.root)).code == "trust.no_profile"


def test_status_must_be_known_and_fresh(federation: Federation) -> None:
    """Revoked, stale and unknown each refuse, the CA's status too."""
    leaf = federation.leaf()
    federation.crls([leaf.serial_number])
    assert federation.judge(leaf).code == "revocation.revoked"
    federation.crls(until=NOW - timedelta(seconds=1))
    assert federation.judge(leaf).code == "revocation.stale"
    federation.crls(issued=NOW + DAY, until=NOW + 2 * DAY)
    assert federation.judge(leaf).code == "revocation.unknown"
    federation.crls()
    federation.write("crls/root.crl", der(federation.root.crl([federation.issuing.certificate.serial_number])))
    assert federation.judge(leaf).code == "revocation.ca_revoked"
    (federation.folder / "crls/root.crl").unlink()
    federation.publish()
    assert federation.judge(leaf).code == "revocation.ca_unknown"


def test_grace_of_a_profile_lets_a_stale_crl_count_longer(federation: Federation) -> None:
    """grace_seconds is after nextUpdate, for this CA alone."""
    federation.crls(until=NOW - timedelta(seconds=30))
    federation.profile("gd", federation.issuing, status={"source": "crl", "grace_seconds": 60})
    assert federation.judge().code == "ok"
    assert federation.judge(at=NOW + timedelta(seconds=31)).code == "revocation.stale"


def test_a_crl_by_another_ca_of_the_same_name_does_not_count(federation: Federation) -> None:
    """Trust is by key: a CRL under the right name and a wrong key says nothing."""
    federation.write("crls/issuing.crl", der(Authority.create("Issuing").crl()))
    assert federation.judge().code == "revocation.unknown"


def test_a_broken_crl_stops_nobody_else(federation: Federation) -> None:
    """It is left out and named; its own CA's certificates are unknown."""
    federation.write("crls/other.crl", b"rubbish")
    assert federation.judge().code == "ok"
    assert any("crls/other.crl" in problem for problem in federation.snapshot().problems)


@pytest.mark.parametrize("what", ["domain", "key", "certificate", "root key"])
def test_denials_win(federation: Federation, what: str) -> None:
    """By domain, by key anywhere in the path, by certificate."""
    leaf = federation.leaf()
    key = hashlib.sha256(federation.issuing.spki).hexdigest()
    row = {
        "domain": {"domain": "gd"},
        "key": {"key": key},
        "certificate": {"certificate": f"{key}:{leaf.serial_number:x}"},
        "root key": {"key": hashlib.sha256(federation.root.spki).hexdigest()},
    }[what]
    federation.table("denials/x.toml", {"deny": [{"why": "test", **row}]})
    assert federation.judge(leaf).code == "trust.denied"
    federation.table("denials/x.toml", {"deny": [{"why": "test", "domain": "g"}]})
    assert federation.judge(leaf).code == "ok"


def test_levels_are_assigned_or_asserted_under_ceilings(federation: Federation) -> None:
    """Neither a row nor a policy: no level. A surviving policy asserts one. Storage and profile are ceilings."""
    federation.table("levels.toml", {"policies": {POLICY: 3}, "storage": {"token": 4}})
    assert federation.judge().code == "policy.no_level"
    asserted = [usage("digital_signature"), policies(POLICY)]
    assert federation.judge(federation.leaf(extensions=asserted)).code == "policy.no_level"
    for name, above in (("root", federation.anchor), ("issuing", federation.root)):
        authority = federation.root if name == "root" else federation.issuing
        federation.write(f"cross/{name}.pem", pem(above.certify(authority, [policies("2.5.29.32.0")])))
    assert federation.judge(federation.leaf(extensions=asserted)).level == 3
    federation.profile("gd", federation.issuing, max_level=2)
    assert federation.judge(federation.leaf(extensions=asserted)).level == 2
    federation.table("levels.toml", {"policies": {POLICY: 3}})
    assert federation.judge(federation.leaf(extensions=asserted)).code == "policy.no_level"


def test_of_two_paths_the_good_one_is_found(federation: Federation) -> None:
    """A second way to the root with an expired or constrained cross-certificate does not spoil the first."""
    narrow = x509.NameConstraints([x509.DNSName("nowhere.invalid")], [x509.DirectoryName(federation.issuing.subject)])
    federation.write("cross/a.pem", pem(federation.anchor.certify(federation.root, [(narrow, True)])))
    assert federation.judge().code == "ok"
    (federation.folder / "cross/root.pem").unlink()
    federation.publish()
    assert federation.judge().code == "path.unknown_issuer"


def test_loops_among_cross_certificates_end(federation: Federation) -> None:
    """Two CAs that certify each other and the anchor's own name are no endless path."""
    federation.write("cross/loop1.pem", pem(federation.root.certify(federation.anchor)))
    federation.write("cross/loop2.pem", pem(federation.issuing.certify(federation.root)))
    verdict = federation.judge()
    assert (verdict.code, len(verdict.path)) == ("ok", 4)


def test_the_source_swaps_good_bundles_and_keeps_the_old_one(federation: Federation) -> None:
    """Looks once a second; a bad bundle leaves the snapshot in force, and says why."""
    clock = [NOW]
    source = SnapshotSource(federation.folder, lambda: clock[0])
    first = source.current()
    federation.table("denials/x.toml", {"deny": [{"why": "test", "domain": "gd"}]})
    assert source.current() is first
    clock[0] += timedelta(seconds=1)
    second = source.current()
    assert second.hash != first.hash
    (federation.folder / "denials/x.toml").write_text("deny = []")
    (federation.folder / "bundle.json").write_bytes((federation.folder / "bundle.json").read_bytes() + b" ")
    clock[0] += timedelta(seconds=1)
    assert source.current() is second
    assert "trust.bundle" in source.problem
    federation.publish()
    clock[0] += timedelta(seconds=1)
    assert source.current().judge(der(federation.leaf()), NOW).accepted
    assert source.problem == ""


def test_a_fault_of_ours_in_a_new_bundle_keeps_the_old_one(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong with new data, the snapshot in force judges on, and it is tried once a second, not each time.

    Else one odd file would stop every sign-in, each of which would compile the bundle again.
    """
    clock, tried = [NOW], []
    source = SnapshotSource(federation.folder, lambda: clock[0])
    first = source.current()

    def broken(*_: object) -> None:
        tried.append(1)
        raise AttributeError("a name that stands in no log: 张三")

    monkeypatch.setattr("ca_bridge.verdict.snapshot.compile_bundle", broken)
    federation.table("denials/x.toml", {"deny": [{"why": "test", "domain": "gd"}]})
    clock[0] += timedelta(seconds=1)
    assert all(source.current() is first for _ in range(3))
    assert source.problem == "run.fault: AttributeError"
    assert len(tried) == 1
    monkeypatch.undo()
    clock[0] += timedelta(seconds=1)
    assert source.current() is not first
    assert source.problem == ""


def test_no_bundle_at_all_is_an_error_with_a_code(federation: Federation) -> None:
    """Nothing in force: `trust.bundle`, never a snapshot that accepts nothing in silence."""
    source = SnapshotSource(federation.folder / "absent", lambda: NOW)
    with pytest.raises(PathError) as caught:
        source.current()
    assert caught.value.code == "trust.bundle"


def listed(federation: Federation) -> Authority:
    """Adds Hong Kong's CA by trust list."""
    root = Authority.create("HK Root")
    signing = root.subordinate("HK e-Cert")
    federation.profile("hk", signing)
    federation.write("lists/root.pem", pem(root.certificate))
    federation.write("lists/signing.pem", pem(signing.certificate))
    federation.write("crls/hk.crl", der(signing.crl()))
    federation.table(
        "levels.toml",
        {"assigned": [{"ca": "hk", "type": "person", "level": 3}], "storage": {"token": 4}},
    )
    entry = {
        "ca": "hk",
        "root": "root.pem",
        "signing": "signing.pem",
        "valid_from": NOW - 10 * DAY,
        "valid_to": NOW + 10 * DAY,
        "type_name": "Person",
        "policy_prefix": "2.16.344.8.2.2008.810.2",
    }
    federation.table("lists/hk.toml", {"entry": [entry]})
    return signing


@pytest.mark.parametrize(
    ("policy", "days", "code"),
    [
        ("2.16.344.8.2.2008.810.2.2018.1.0", 0, "ok"),
        ("2.16.344.8.2.2008.810.21.2018.1.0", 0, "path.list_entry"),
        ("2.16.344.8.2.2008.810.2.2018.1", 0, "path.list_entry"),
        ("2.16.344.8.2.2008.810.2.2018.1.0.1", 0, "path.list_entry"),
        ("2.16.344.8.2.2008.810.2.2018.1.0", -11, "path.list_entry"),
        ("2.16.344.8.2.2008.810.2.2018.1.0", 11, "path.list_entry"),
    ],
)
def test_trust_list_entries(federation: Federation, policy: str, days: int, code: str) -> None:
    """Whole arcs, exactly three free, and only within the entry's dates (the past ones too)."""
    signing = listed(federation)
    leaf = federation.leaf(signing, extensions=[usage("digital_signature"), policies(policy)])
    verdict = federation.judge(leaf, NOW + days * DAY)
    assert verdict.code == code
    assert verdict.engine == "list"
    assert (verdict.level == 3) is (code == "ok")


def test_a_list_entry_is_terminal(federation: Federation) -> None:
    """A CA below the signing CA is nobody."""
    below = listed(federation).subordinate("Below")
    assert federation.judge(federation.leaf(below)).code == "path.unknown_issuer"


def test_a_denied_domain_is_denied_in_the_list_too(federation: Federation) -> None:
    """The switch of a domain reaches both engines."""
    signing = listed(federation)
    federation.table("denials/hk.toml", {"deny": [{"why": "test", "domain": "hk"}]})
    policy = policies("2.16.344.8.2.2008.810.2.2018.1.0")
    leaf = federation.leaf(signing, extensions=[usage("digital_signature"), policy])
    assert federation.judge(leaf).code == "trust.denied"
    assert parse_certificate(der(leaf)).policies is not None
