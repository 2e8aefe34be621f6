"""Signing in with status by another CRL issuer, without any status (RFC 9608), and beside CRLs that nobody can read."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ca_bridge.verdict.lint import lint_folder
from tests.pki import DAY, NOW, Authority, Extension, build, der, name, pem, unknown, usage
from tests.unit.verdict.conftest import Federation

POINT = x509.IssuingDistributionPoint(
    full_name=None, relative_name=None, only_contains_user_certs=False, only_contains_ca_certs=False,
    only_some_reasons=None, indirect_crl=True, only_contains_attribute_certs=False,
)  # fmt: skip
NO_STATUS: Extension = (x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.56"), b"\x05\x00"), False)


def crl_issuer(issuer: Authority, text: str = "CRL issuer", **wishes: Any) -> Authority:
    """An end entity that signs CRLs and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = build(name(text), key.public_key(), issuer.subject, issuer.key, [usage("crl_sign")], **wishes)
    return Authority(name(text), made, key)


def named(issuer: Authority) -> Extension:
    """A distribution point whose CRLs that issuer signs (RFC 5280 §4.2.1.13)."""
    names = [x509.DirectoryName(issuer.subject)]
    return x509.CRLDistributionPoints([x509.DistributionPoint(None, None, None, names)]), False


def indirect(issuer: Authority, revoked: int | None = None, owner: x509.Name | None = None) -> bytes:
    """An indirect CRL, with one certificate of `owner` in it when `revoked` is given."""
    made = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject)
    made = made.last_update(NOW - DAY).next_update(NOW + DAY)
    made = made.add_extension(x509.CRLNumber(1), critical=False).add_extension(POINT, critical=True)
    if revoked is not None and owner is not None:
        entry = x509.RevokedCertificateBuilder().serial_number(revoked).revocation_date(NOW - DAY)
        entry = entry.add_extension(x509.CertificateIssuer([x509.DirectoryName(owner)]), critical=True)
        made = made.add_revoked_certificate(entry.build())
    return der(made.sign(issuer.key, hashes.SHA256()))


def admit(federation: Federation, issuer: Authority, *, listed: bool = True) -> None:
    """Put a CRL issuer into the bundle, and its key into the CA's profile when `listed`."""
    federation.write("cross/crl-issuer.pem", pem(issuer.certificate))
    keys = [hashlib.sha256(issuer.spki).hexdigest()] if listed else []
    federation.profile("gd", federation.issuing, status={"crl_issuers": keys})


def sign_in(federation: Federation, issuer: Authority, revoked: bool = False) -> str:
    """The code for a person whose status that issuer's CRL alone says."""
    leaf = federation.leaf(extensions=[usage("digital_signature"), named(issuer)])
    serial = leaf.serial_number if revoked else None
    federation.crls()
    (federation.folder / "crls/issuing.crl").unlink()
    federation.write("crls/indirect.crl", indirect(issuer, serial, federation.issuing.subject))
    return federation.judge(leaf).code


def test_an_indirect_crl_of_a_listed_issuer_counts(federation: Federation) -> None:
    """RFC 5280 §6.3.3: it makes good and revokes, and the bundle has no fault for it."""
    issuer = crl_issuer(federation.root)
    admit(federation, issuer)
    assert sign_in(federation, issuer) == "ok"
    assert sign_in(federation, issuer, revoked=True) == "revocation.revoked"
    codes = {finding.code for finding in lint_folder(federation.folder, NOW)}
    assert not codes & {"lint.crl_stray", "lint.crl_missing", "lint.unusable", "lint.unreachable"}, codes


def test_a_name_alone_makes_no_crl_issuer(federation: Federation) -> None:
    """Trust is by key: the same name with another key, and a key that the profile does not list, say nothing."""
    admit(federation, crl_issuer(federation.root))
    assert sign_in(federation, crl_issuer(federation.root)) == "revocation.unknown"
    unlisted = crl_issuer(federation.root)
    admit(federation, unlisted, listed=False)
    assert sign_in(federation, unlisted) == "revocation.unknown"


def test_a_crl_issuer_needs_a_good_path_of_its_own(federation: Federation) -> None:
    """§6.3.3 (f): expired, revoked, from a stranger, or without cRLSign: its CRLs say nothing."""
    for issuer in (
        crl_issuer(federation.root, not_after=NOW - DAY / 2),
        crl_issuer(Authority.create("Root")),
    ):
        admit(federation, issuer)
        assert sign_in(federation, issuer) == "revocation.unknown"
    issuer = crl_issuer(federation.root)
    admit(federation, issuer)
    leaf = federation.leaf(extensions=[usage("digital_signature"), named(issuer)])
    federation.crls()
    (federation.folder / "crls/issuing.crl").unlink()
    federation.write("crls/indirect.crl", indirect(issuer))
    assert federation.judge(leaf).code == "ok"
    federation.write("crls/root.crl", der(federation.root.crl([issuer.certificate.serial_number], number=2)))
    assert federation.judge(leaf).code == "revocation.unknown"


def test_a_key_for_crls_alone_may_bear_the_cas_name(federation: Federation) -> None:
    """A CA that signs its CRLs with another key: a direct CRL, counted only when the profile lists that key."""
    issuer = crl_issuer(federation.root, "Issuing")
    federation.write("crls/issuing.crl", der(issuer.crl()))
    admit(federation, issuer, listed=False)
    assert federation.judge().code == "revocation.unknown"
    admit(federation, issuer)
    assert federation.judge().code == "ok"


@pytest.mark.parametrize(("days", "code"), [(3, "ok"), (10, "revocation.unknown")])
def test_a_short_life_needs_no_status_where_the_profile_says_so(federation: Federation, days: int, code: str) -> None:
    """RFC 9608 §4: noRevAvail passes without a status up to the profile's limit; the data is as old as the leaf."""
    (federation.folder / "crls/issuing.crl").unlink()
    start: datetime = NOW - timedelta(days=1)
    wishes = {"not_before": start, "not_after": start + timedelta(days=days)}
    silent = federation.leaf(extensions=[usage("digital_signature"), NO_STATUS], **wishes)
    federation.publish()
    assert federation.judge(silent).code == "revocation.unknown"  # the profile says nothing of it
    federation.profile("gd", federation.issuing, status={"no_rev_avail_seconds": 7 * 86400})
    found = federation.judge(silent)
    assert found.code == code
    assert found.code != "ok" or found.status_issued_at == start
    assert federation.judge(federation.leaf(**wishes)).code == "revocation.unknown"  # it does not say noRevAvail


def test_who_is_revoked_all_the_same_is_refused(federation: Federation) -> None:
    """Ours: any "no" wins, also one that noRevAvail says will never come."""
    federation.profile("gd", federation.issuing, status={"no_rev_avail_seconds": 86400 * 7})
    wishes = {"not_before": NOW - DAY, "not_after": NOW + DAY}
    silent = federation.leaf(extensions=[usage("digital_signature"), NO_STATUS], **wishes)
    federation.crls([silent.serial_number])
    assert federation.judge(silent).code == "revocation.revoked"


def test_a_ca_that_says_no_status_has_none(federation: Federation) -> None:
    """RFC 9608 §4: a CA certificate may not say so, whatever CRL there is."""
    federation.issuing = federation.root.subordinate("Issuing", extensions=[NO_STATUS])
    federation.profile("gd", federation.issuing)
    federation.write("cross/issuing.pem", pem(federation.issuing.certificate))
    federation.crls()
    assert federation.judge().code == "revocation.ca_unknown"


@pytest.mark.parametrize("data", [b"no CRL", b""])
def test_a_crl_that_cannot_be_read_is_a_problem(federation: Federation, data: bytes) -> None:
    """An older list stays in force in its place: the operator must hear of it."""
    assert federation.snapshot().compiled.book.problems == ()
    federation.write("crls/newer.crl", data)
    assert len(federation.snapshot().compiled.book.problems) == 1
    assert federation.judge().code == "ok"


def test_a_crl_that_must_not_be_used_is_a_problem(federation: Federation) -> None:
    """An unknown critical extension (RFC 5280 §5.2): the list is left out, and said so."""
    federation.crls(number=2, extensions=[unknown(critical=True)])
    problems = federation.snapshot().compiled.book.problems
    assert len(problems) == 1
    assert "1.3.6.1.4.1.99999.1" in problems[0]


def test_a_crl_without_number_is_ordered_by_time(federation: Federation) -> None:
    """Design §4: real lists say crlNumber 0, or none; the later thisUpdate is in force."""
    leaf = federation.leaf()
    federation.crls(number=0)

    def bare(*serials: int, issued: datetime) -> bytes:
        made = x509.CertificateRevocationListBuilder().issuer_name(federation.issuing.subject)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(federation.issuing.key.public_key())
        made = made.last_update(issued).next_update(NOW + DAY).add_extension(identifier, critical=False)
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(issued)
            made = made.add_revoked_certificate(entry.build())
        return der(made.sign(federation.issuing.key, hashes.SHA256()))

    federation.write("crls/issuing.crl", bare(leaf.serial_number, issued=NOW - DAY))
    assert federation.judge(leaf).code == "revocation.revoked"
    federation.write("crls/newer.crl", bare(issued=NOW - DAY / 2))
    assert federation.judge(leaf).code == "ok"
