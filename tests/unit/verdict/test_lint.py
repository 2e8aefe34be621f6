"""`lint`: every finding provoked in a bundle that is clean but for the one fault, and none without it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import tomli_w
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from ca_bridge.verdict.lint import RULES, Finding, Wishes, lint, lint_folder
from tests.pki import DAY, NOW, Authority, ca, der, mappings, name, pem, policies
from tests.unit.verdict.conftest import POLICY, Federation

OTHER = "1.3.6.1.4.1.99999.3.2"
THEIRS = "1.3.6.1.4.1.99999.4.1"
LEVELS = {
    "assigned": [{"ca": "gd", "type": "person", "level": 4}],
    "storage": {"token": 4},
    "ways": {"tls": 4},
}


@pytest.fixture
def clean(federation: Federation) -> Federation:
    """A federation about which there is nothing to say."""
    federation.table("levels.toml", LEVELS)
    return federation


def found(federation: Federation, **wishes: timedelta) -> tuple[Finding, ...]:
    """What lint says now."""
    return lint_folder(federation.folder, NOW, Wishes(**wishes))


def codes(federation: Federation, **wishes: timedelta) -> list[str]:
    """The codes alone, each once."""
    return sorted({finding.code for finding in found(federation, **wishes)})


def directory(*pairs: tuple[str, str]) -> x509.DirectoryName:
    """A subtree."""
    return x509.DirectoryName(name(pairs))


def constraints(
    *, permitted: list[x509.GeneralName] | None = None, excluded: list[x509.GeneralName] | None = None
) -> tuple[x509.ExtensionType, bool]:
    """nameConstraints."""
    return x509.NameConstraints(permitted, excluded), True


def explicit(skip: int = 0, mapping: int | None = None) -> tuple[x509.ExtensionType, bool]:
    """policyConstraints."""
    return x509.PolicyConstraints(skip, mapping), True


def recertify(federation: Federation, *extensions: tuple[x509.ExtensionType, bool]) -> None:
    """The anchor's certificate for the national root, with these extensions."""
    federation.write("cross/root.pem", pem(federation.anchor.certify(federation.root, extensions)))


def signed_by_rsa(bits: int, digest: hashes.HashAlgorithm, federation: Federation) -> x509.Certificate:
    """A CA certificate for an RSA key of `bits`, signed by the anchor with `digest`."""
    key = rsa.generate_private_key(65537, bits)
    builder = x509.CertificateBuilder().subject_name(name("Weak")).issuer_name(federation.anchor.subject)
    builder = builder.public_key(key.public_key()).serial_number(77)
    builder = builder.not_valid_before(NOW - DAY).not_valid_after(NOW + 365 * DAY)
    for value, critical in ca():
        builder = builder.add_extension(value, critical)
    return builder.sign(federation.anchor.key, digest)


def test_a_good_bundle_is_clean(clean: Federation) -> None:
    """Nothing is said of a bundle with nothing wrong."""
    assert found(clean) == ()


def test_a_bundle_that_cannot_be_read_is_a_finding(clean: Federation, tmp_path: Path) -> None:
    """Never an exception: a changed file, an absent folder."""
    (clean.folder / "levels.toml").write_text("changed = true")
    assert codes(clean) == ["lint.unreadable"]
    assert [f.code for f in lint_folder(tmp_path / "nowhere", NOW)] == ["lint.unreadable"]


def test_a_bundle_without_an_anchor(clean: Federation) -> None:
    """No path begins; everything below is unreachable."""
    (clean.folder / "anchors" / "bridge.pem").unlink()
    clean.publish()
    assert {"lint.no_anchor", "lint.unreachable", "lint.profile_unreached", "lint.crl_stray"} == set(codes(clean))


def test_a_ca_without_a_path(clean: Federation) -> None:
    """Its issuer is not in the bundle, or another key of the issuer's name signed it."""
    stranger = Authority.create("Stranger").subordinate("Lost")
    impostor = Authority.create("Root").subordinate("Forged")
    clean.write("cross/lost.pem", pem(stranger.certificate))
    clean.write("cross/forged.pem", pem(impostor.certificate))
    said = {f.subject.split(",")[0]: f.detail for f in found(clean)}
    assert codes(clean) == ["lint.unreachable"]
    assert "no path leads to its issuer" in said["CN=Lost"]
    assert "no reached key" in said["CN=Forged"]


def test_a_second_way_that_is_shut_is_no_finding(clean: Federation) -> None:
    """A CA that one path reaches may have another that leads nowhere: nobody is refused for it."""
    clean.write("cross/second.pem", pem(Authority.create("Elsewhere").certify(clean.issuing)))
    assert codes(clean) == []


@pytest.mark.parametrize(
    ("extensions", "expected"),
    [
        ([constraints(permitted=[directory(("C", "MO"))])], "lint.name_constraints"),
        ([constraints(excluded=[directory(("C", "CN"), ("O", "Test"))])], "lint.name_constraints"),
        ([explicit()], "lint.explicit_policy"),
    ],
)
def test_constraints_that_shut_a_ca_out(
    clean: Federation, extensions: list[tuple[x509.ExtensionType, bool]], expected: str
) -> None:
    """The rule of RFC 5280 §6.1.3 that refuses it is the finding, not just that it is unreachable."""
    recertify(clean, *extensions)
    assert expected in codes(clean)
    assert "lint.unreachable" not in [f.code for f in found(clean) if "CN=Issuing" in f.subject]


def test_a_path_length_that_shuts_a_ca_out(clean: Federation) -> None:
    """pathLenConstraint 0 above a CA that has another CA above it."""
    shut = clean.anchor.subordinate("Root", path_length=0)
    below = shut.subordinate("Below")
    clean.write("cross/shut.pem", pem(shut.certificate))
    clean.write("cross/below.pem", pem(below.certificate))
    assert [f.subject.split(",")[0] for f in found(clean) if f.code == "lint.path_length"] == ["CN=Below"]


def test_a_ca_whose_every_leaf_is_refused(clean: Federation) -> None:
    """The CA is reached; what it issues is not: a policy that can come from nowhere, subtrees that do not meet."""
    issuing = clean.root.certify(clean.issuing, [explicit(1)])
    clean.write("cross/issuing.pem", pem(issuing))
    assert "every leaf is refused" in next(f.detail for f in found(clean) if f.code == "lint.explicit_policy")
    recertify(clean, constraints(permitted=[directory(("C", "CN"))]))
    apart = constraints(permitted=[directory(("C", "HK"))])
    clean.write("cross/issuing.pem", pem(clean.root.certify(clean.issuing, [apart])))
    assert codes(clean) == ["lint.name_constraints"]
    narrower = constraints(permitted=[directory(("C", "CN"), ("O", "Test"))])
    clean.write("cross/issuing.pem", pem(clean.root.certify(clean.issuing, [narrower])))
    assert codes(clean) == []


def test_a_certificate_that_is_no_ca(clean: Federation) -> None:
    """An end entity's certificate in cross/ is of no use there."""
    clean.write("cross/leaf.pem", pem(clean.leaf()))
    assert codes(clean) == ["lint.unusable"]


def test_mappings_that_lead_nowhere(clean: Federation) -> None:
    """The first is not valid here; the second is asserted by nobody below; mapping is inhibited above."""
    issuing = clean.root.certify(clean.issuing, [policies(THEIRS)])
    clean.write("cross/issuing.pem", pem(issuing))
    recertify(clean, policies(POLICY), mappings([(POLICY, THEIRS)]))
    assert codes(clean) == []
    recertify(clean, policies(POLICY), mappings([(POLICY, THEIRS), (OTHER, THEIRS)]))
    assert "not valid on any path" in next(f.detail for f in found(clean) if f.code == "lint.mapping")
    recertify(clean, policies(POLICY), mappings([(POLICY, OTHER)]))
    assert "no certificate below" in next(f.detail for f in found(clean) if f.code == "lint.mapping")
    clean.table("policy.toml", {"inhibit_mapping": True})
    assert "inhibited" in next(f.detail for f in found(clean) if f.code == "lint.mapping")


def test_levels_for_policies_that_no_ca_reaches(clean: Federation) -> None:
    """An asserted level needs a path on which its policy survives."""
    clean.table("levels.toml", {**LEVELS, "policies": {POLICY: 3}})
    assert codes(clean) == ["lint.level_policy"]
    recertify(clean, policies(POLICY))
    assert codes(clean) == ["lint.level_policy"]  # the issuing CA's own certificate has no policies: the set is empty
    clean.write("cross/issuing.pem", pem(clean.root.certify(clean.issuing, [policies(POLICY)])))
    assert codes(clean) == []


def test_types_that_get_no_level(clean: Federation) -> None:
    """No assigned row and no policy; a storage without a ceiling; no way at all."""
    clean.table("levels.toml", {**LEVELS, "assigned": []})
    assert codes(clean) == ["lint.type_without_level"]
    clean.table("levels.toml", {**LEVELS, "storage": {"file": 3}})
    assert codes(clean) == ["lint.type_without_level"]
    clean.table("levels.toml", {**LEVELS, "ways": {}})
    assert codes(clean) == ["lint.no_way"]


def test_profiles_and_keys_without_each_other(clean: Federation) -> None:
    """A profile no way leads to; one key of several; a CA at a path's end that no profile speaks of."""
    clean.profile("lost", Authority.create("Lost"))
    assert [f.subject for f in found(clean) if f.code == "lint.profile_unreached"] == ["profile lost"]
    (clean.folder / "profiles" / "lost.toml").unlink()
    own = hashlib.sha256(clean.issuing.spki).hexdigest()
    clean.profile("gd", clean.issuing, keys=[own, "00" * 32])
    assert codes(clean) == ["lint.profile_key_unreached"]
    clean.profile("gd", clean.issuing)
    clean.write("cross/unknown.pem", pem(clean.root.subordinate("Unknown").certificate))
    assert codes(clean) == ["lint.no_profile"]


def test_weak_keys_and_algorithms(clean: Federation) -> None:
    """RSA below 2,048 bits; a digest that is not accepted, on certificates and CRLs."""
    clean.write("cross/weak.pem", pem(signed_by_rsa(1024, hashes.SHA256(), clean)))
    assert "lint.weak_key" in codes(clean)
    clean.write("cross/weak.pem", pem(signed_by_rsa(2048, hashes.SHA224(), clean)))
    assert {"lint.weak_algorithm", "lint.unreachable"} <= set(codes(clean))


def test_dates_of_ca_certificates(clean: Federation) -> None:
    """Over, nearly over, not yet begun; a newer certificate of the same name and key makes the old one harmless."""
    issuing = clean.issuing

    def until(days: int, begins: int = -30) -> x509.Certificate:
        builder = x509.CertificateBuilder(extensions=[x509.Extension(e.oid, c, e) for e, c in ca()])
        builder = builder.subject_name(issuing.subject).issuer_name(clean.root.subject).serial_number(500 + days)
        builder = builder.not_valid_before(NOW + begins * DAY).not_valid_after(NOW + days * DAY)
        return builder.public_key(issuing.key.public_key()).sign(clean.root.key, hashes.SHA256())

    clean.write("cross/issuing.pem", pem(until(-1)))
    assert codes(clean) == ["lint.ca_expired"]
    clean.write("cross/issuing.pem", pem(until(89)))
    assert codes(clean) == ["lint.ca_expiring"]
    assert codes(clean, left=30 * DAY) == []
    clean.write("cross/next.pem", pem(until(400)))
    assert codes(clean) == []
    clean.write("cross/next.pem", pem(until(400, begins=5)))
    assert codes(clean) == ["lint.ca_expiring", "lint.ca_not_yet_valid"]


def test_one_name_with_two_keys(clean: Federation) -> None:
    """Two CAs of one name are said; two keys of one profile, or a self-issued link, are a change of key."""
    twin = clean.root.subordinate("Issuing")
    clean.write("cross/twin.pem", pem(twin.certificate))
    clean.write("crls/twin.crl", der(twin.crl()))
    assert codes(clean) == ["lint.no_profile", "lint.same_name_two_keys"]
    keys = [hashlib.sha256(a.spki).hexdigest() for a in (clean.issuing, twin)]
    clean.profile("gd", clean.issuing, keys=keys)
    assert codes(clean) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda f: (f.folder / "crls" / "issuing.crl").unlink(), ["lint.crl_missing"]),
        (lambda f: f.crls(issued=NOW - 3 * DAY, until=NOW - DAY), ["lint.crl_expired"]),
        (lambda f: f.crls(issued=NOW - 9 * DAY, until=NOW + 2 * DAY), ["lint.crl_expiring"]),
        (lambda f: f.crls(issued=NOW + DAY, until=NOW + 2 * DAY), ["lint.crl_future"]),
        (lambda f: f.write("crls/odd.crl", der(Authority.create("Odd").crl())), ["lint.crl_stray"]),
        (lambda f: f.write("crls/odd.crl", b"no CRL"), ["lint.crl_unusable"]),
        (lambda f: f.write("crls/issuing.crl", der(Authority.create("Issuing").crl())), None),
    ],
    ids=["missing", "expired", "expiring", "future", "stray", "unreadable", "forged"],
)
def test_crls(clean: Federation, change: Callable[[Federation], object], expected: list[str] | None) -> None:
    """Missing, stale, about to be, from the future, nobody's, broken; a forged one leaves the CA without."""
    change(clean)
    clean.publish()
    assert codes(clean) == (expected or ["lint.crl_missing", "lint.crl_stray"])


def test_how_long_a_crl_must_last_can_be_said(clean: Federation) -> None:
    """By default a quarter of its time; else what the operator says. Grace is told of, and does not silence."""
    assert codes(clean, crl_left=2 * DAY) == ["lint.crl_expiring"]
    clean.profile("gd", clean.issuing, status={"source": "crl", "grace_seconds": 2 * 86400})
    clean.crls(issued=NOW - 3 * DAY, until=NOW - DAY)
    assert codes(clean) == ["lint.crl_expiring"]


def test_a_newer_crl_makes_the_old_one_harmless(clean: Federation) -> None:
    """Of one scope the newest in force counts."""
    clean.write("crls/old.crl", der(clean.issuing.crl(issued=NOW - 9 * DAY, until=NOW - 8 * DAY)))
    assert codes(clean) == []


def test_a_revoked_ca(clean: Federation) -> None:
    """A CA certificate in the bundle that its issuer has revoked."""
    serial = clean.issuing.certificate.serial_number
    clean.write("crls/root.crl", der(clean.root.crl([serial])))
    assert codes(clean) == ["lint.ca_revoked"]


def listed(federation: Federation, valid_to: str, root: Authority | None = None) -> None:
    """A trust list with one entry, whose CA has a profile, a level and CRLs."""
    far = Authority.create("Far root")
    signing = far.subordinate("Far")
    federation.profile("hk", signing)
    rows = [*LEVELS["assigned"], {"ca": "hk", "type": "person", "level": 3}]  # type: ignore[misc]
    federation.table("levels.toml", {**LEVELS, "assigned": rows})
    federation.write("crls/far.crl", der(signing.crl()))
    federation.write("lists/root.pem", pem((root or far).certificate))
    federation.write("lists/far.pem", pem(signing.certificate))
    entry = {
        "ca": "hk",
        "root": "root.pem",
        "signing": "far.pem",
        "type_name": "Person",
        "policy_prefix": "2.16.344.1",
    }
    text = tomli_w.dumps({"entry": [entry]})
    text += f"valid_from = 2020-01-01T00:00:00Z\nvalid_to = {valid_to}\n"
    federation.write("lists/hk.toml", text)


def test_trust_lists(clean: Federation) -> None:
    """Entries over or nearly over; a root that did not sign. A root needs no CRL of its own."""
    listed(clean, "2030-01-01T00:00:00Z")
    assert codes(clean) == []
    listed(clean, "2026-07-01T00:00:00Z")
    assert codes(clean) == ["lint.list_entry_expiring"]
    listed(clean, "2026-05-01T00:00:00Z")
    assert codes(clean) == ["lint.list_entry_expired"]
    listed(clean, "2030-01-01T00:00:00Z", root=Authority.create("Another"))
    assert "lint.list_entry" in codes(clean)


@pytest.mark.parametrize(
    "row",
    [{"domain": "nowhere"}, {"key": "00" * 32}, {"certificate": "00" * 32 + ":1"}],
    ids=["domain", "key", "certificate"],
)
def test_denials_that_hit_nothing(clean: Federation, row: dict[str, str]) -> None:
    """A typing error in a denial would leave somebody in whom the province has shut out."""
    clean.table("denials/odd.toml", {"deny": [{"why": "test", **row}]})
    assert codes(clean) == ["lint.denial"]


def test_denials_that_hit(clean: Federation) -> None:
    """A domain of a profile, a CA's key, a certificate of a known issuer."""
    key = hashlib.sha256(clean.issuing.spki).hexdigest()
    rows = [{"domain": "gd"}, {"key": key}, {"certificate": f"{key}:1f"}]
    clean.table("denials/some.toml", {"deny": [{"why": "test", **row} for row in rows]})
    assert codes(clean) == []


def test_accreditations_that_nobody_has(clean: Federation) -> None:
    """A row that names two CAs equal must name CAs of the bundle."""
    clean.table("policy.toml", {"equivalent": [{"type": "cn-id", "accreditations": ["gd-01", "gd-99"]}]})
    assert [f.subject for f in found(clean)] == ["policy.toml: gd-99"]


def test_every_finding_has_a_severity_and_a_remedy(clean: Federation) -> None:
    """The table is whole, errors come first, and findings are values for programs."""
    (clean.folder / "crls" / "issuing.crl").unlink()
    clean.table("levels.toml", {**LEVELS, "policies": {POLICY: 3}})
    said = lint(clean.snapshot(), NOW)
    assert [f.severity for f in said] == ["error", "warning"]
    assert all(set(f.as_dict()) == {"code", "severity", "subject", "detail", "remedy"} for f in said)
    assert all(code.startswith("lint.") and rule.remedy.endswith(".") for code, rule in RULES.items())
