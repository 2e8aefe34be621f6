"""CRL processing (RFC 5280 §6.3.3) on generated CRLs; PKITS covers the scopes, these cover what it does not."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ca_bridge.asn1.certificate import parse_certificate
from ca_bridge.asn1.crl import parse_crl
from ca_bridge.path.state import Inputs
from ca_bridge.verdict.supplied import Supplied, validate
from tests.pki import DAY, NOW, Authority, der, usage

ROOT = Authority.create("Root")
LEAF = ROOT.issue("Leaf")
SERIAL = LEAF.serial_number


def code(*crls: x509.CertificateRevocationList) -> str:
    """`ok` or the code, with these CRLs and status required."""
    found = validate(
        Supplied(
            leaf=parse_certificate(der(LEAF)),
            anchors=[parse_certificate(der(ROOT.certificate))],
            at=NOW,
            crls=[parse_crl(der(crl)) for crl in crls],
            revocation="require",
            inputs=Inputs(),
        )
    )
    return "ok" if found.found is not None else found.refusals[0].code


def test_the_newest_crl_of_a_scope_is_in_force() -> None:
    """A hold that has been lifted stays lifted, and a new revocation is not hidden by an older CRL."""
    older, newer = {"issued": NOW - 2 * DAY, "number": 1}, {"issued": NOW - DAY, "number": 2}
    assert code(ROOT.crl([SERIAL], **older), ROOT.crl(**newer)) == "ok"
    assert code(ROOT.crl(**older), ROOT.crl([SERIAL], **newer)) == "revocation.revoked"


def test_crls_that_all_say_number_0_are_ordered_by_this_update() -> None:
    """Real national CRLs all say crlNumber 0."""
    older, newer = {"issued": NOW - 2 * DAY, "number": 0}, {"issued": NOW - DAY, "number": 0}
    assert code(ROOT.crl([SERIAL], **newer), ROOT.crl(**older)) == "revocation.revoked"


def test_a_stale_crl_that_lists_the_certificate_still_revokes() -> None:
    """Any "no" wins, however old."""
    assert code(ROOT.crl([SERIAL], until=NOW - DAY / 2)) == "revocation.revoked"
    assert code(ROOT.crl([], until=NOW - DAY / 2)) == "revocation.stale"


def test_a_future_crl_says_nothing() -> None:
    """Up to 60 s of skew on thisUpdate, no more."""
    ahead = timedelta(seconds=60)
    assert code(ROOT.crl(issued=NOW + ahead, until=NOW + DAY)) == "ok"
    assert code(ROOT.crl(issued=NOW + 2 * ahead, until=NOW + DAY)) == "revocation.unknown"


def test_deltas_build_on_their_base_only() -> None:
    """§6.3.3 (c): base number, scope and signature must fit; removeFromCRL lifts a hold."""
    base = ROOT.crl(issued=NOW - DAY, number=5)
    assert code(base, ROOT.crl([SERIAL], issued=NOW - DAY / 2, number=6, delta_of=5)) == "revocation.revoked"
    assert code(base, ROOT.crl([SERIAL], issued=NOW - DAY / 2, number=7, delta_of=6)) == "ok"
    impostor = Authority.create("Root")
    assert code(base, impostor.crl([SERIAL], issued=NOW - DAY / 2, number=6, delta_of=5)) == "ok"
    held = ROOT.crl([SERIAL], issued=NOW - DAY, number=5, reason=x509.ReasonFlags.certificate_hold)
    lifted = ROOT.crl([SERIAL], issued=NOW - DAY / 2, number=6, delta_of=5, reason=x509.ReasonFlags.remove_from_crl)
    assert code(held) == "revocation.revoked"
    assert code(held, lifted) == "ok"
    assert code(lifted) == "revocation.unknown"


def test_an_issuer_without_crl_sign_says_nothing_when_it_binds() -> None:
    """§6.3.3 (f): keyUsage of the CRL issuer; the anchor's own only when its constraints bind (RFC 5937)."""
    basic = (x509.BasicConstraints(ca=True, path_length=None), True)
    root = Authority.create("Bare", extensions=[basic, usage("key_cert_sign")])
    leaf = root.issue("Leaf")
    for bind, wanted in ((False, True), (True, False)):
        supplied = Supplied(
            leaf=parse_certificate(der(leaf)),
            anchors=[parse_certificate(der(root.certificate))],
            at=NOW,
            crls=[parse_crl(der(root.crl()))],
            revocation="require",
            anchor_constraints=bind,
        )
        assert (validate(supplied).found is not None) is wanted


def bare(*serials: int, issued: datetime = NOW - DAY) -> x509.CertificateRevocationListBuilder:
    """A CRL of the root without any extension."""
    made = x509.CertificateRevocationListBuilder().issuer_name(ROOT.subject).last_update(issued)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(issued).build()
        made = made.add_revoked_certificate(entry)
    return made.next_update(NOW + DAY)


def test_a_crl_with_extensions_has_a_number_and_it_is_not_critical() -> None:
    """§5.2.3: without one it makes nothing good, and revokes all the same; a critical one is not understood."""
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(ROOT.key.public_key())
    unnumbered = bare().add_extension(identifier, critical=False)
    critical = bare().add_extension(x509.CRLNumber(1), critical=True)
    for made in (unnumbered, critical):
        assert code(made.sign(ROOT.key, hashes.SHA256())) == "revocation.unknown"
    revoking = bare(SERIAL).add_extension(identifier, critical=False)
    assert code(revoking.sign(ROOT.key, hashes.SHA256())) == "revocation.revoked"


def test_lists_without_extensions_are_ordered_by_time() -> None:
    """A list of the first version, or bare, has no place for a number: the later thisUpdate is in force."""
    key, digest = ROOT.key, hashes.SHA256()
    older, newer = bare(SERIAL).sign(key, digest), bare(issued=NOW - DAY / 2).sign(key, digest)
    assert code(newer) == "ok"
    assert code(older, newer) == "ok"
    assert code(bare().sign(key, digest), bare(SERIAL, issued=NOW - DAY / 2).sign(key, digest)) == "revocation.revoked"


@pytest.mark.parametrize("wrong", ["key", "name"])
def test_a_crl_of_another_issuer_says_nothing(wrong: str) -> None:
    """By key or by name wrong: neither revokes nor passes."""
    other = Authority.create("Root" if wrong == "key" else "Other")
    assert code(other.crl([SERIAL])) == "revocation.unknown"
    assert code(other.crl([SERIAL]), ROOT.crl()) == "ok"
