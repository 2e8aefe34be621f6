"""A bundle with filters in the place of its CRLs: the verdicts of the CRLs, or none that passes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import pytest
from cryptography import x509

from ca_bridge.asn1.certificate import parse_certificate
from ca_bridge.asn1.crl import parse_crl
from ca_bridge.path.state import Anchor, Inputs, State, initial_state
from ca_bridge.path.validate import DEFAULT_SM2_ID
from ca_bridge.revocation.status import Kind, Status
from ca_bridge.trust.filter import build, parse_filter
from ca_bridge.verdict.status import StatusBook
from tests.pki import DAY, NOW, Authority, der, usage
from tests.unit.verdict.conftest import Federation, federation

__all__ = ["federation"]


def filtered(federation: Federation, name: str, signer: Authority) -> str:
    """Put a filter in a CRL's place; the CRL's hash."""
    path = federation.folder / "crls" / f"{name}.crl"
    whole = parse_crl(path.read_bytes())
    path.unlink()
    federation.write(f"filters/{name}.gcs", build(whole, hashlib.sha256(signer.spki).hexdigest(), DEFAULT_SM2_ID))
    return whole.sha256


def test_a_bundle_of_filters_judges_as_one_of_crls(federation: Federation) -> None:
    """Good and stale alike; what may be revoked passes nowhere, and the verdict names the CRL."""
    revoked = federation.leaf(serial=77)
    federation.crls([77])
    expected = [federation.judge(), federation.judge(at=NOW + 3 * DAY), federation.judge(revoked)]
    for name, signer in (("anchor", federation.anchor), ("root", federation.root)):
        filtered(federation, name, signer)
    whole = filtered(federation, "issuing", federation.issuing)
    found = [federation.judge(), federation.judge(at=NOW + 3 * DAY), federation.judge(revoked)]
    assert [v.code for v in expected] == ["ok", "revocation.stale", "revocation.revoked"]
    assert [v.code for v in found] == ["ok", "revocation.stale", "revocation.unknown"]
    assert (found[0].status_issued_at, found[0].oldest_data) == (expected[0].status_issued_at, expected[0].oldest_data)
    assert [row.wanted for row in found[2].refusals] == [whole]
    assert federation.snapshot().compiled.book.compact


def test_a_hit_on_a_ca_refuses_all_below_it_and_names_the_crl(federation: Federation) -> None:
    """A CA certificate that may be revoked is no better than a leaf that may be."""
    federation.write("crls/root.crl", der(federation.root.crl([federation.issuing.certificate.serial_number])))
    whole = filtered(federation, "root", federation.root)
    found = federation.judge()
    assert (found.code, found.refusals[0].wanted) == ("revocation.ca_unknown", whole)


def test_the_crl_beside_its_filter_is_the_one_that_counts(federation: Federation) -> None:
    """Both in one bundle, as a node of the last version writes it: the CRL is read, the filter is not."""
    federation.crls([77])
    data = (federation.folder / "crls" / "issuing.crl").read_bytes()
    filtered(federation, "issuing", federation.issuing)
    federation.write("crls/issuing.crl", data)
    assert not federation.snapshot().compiled.book.compact
    assert federation.judge(federation.leaf(serial=77)).code == "revocation.revoked"


@pytest.mark.parametrize("data", [b"", b"crosshall-gcs-1\n" + b"\0" * 200, b"\xff" * 500])
def test_a_filter_that_cannot_be_read_is_named_and_leaves_its_certificates_unknown(
    federation: Federation, data: bytes
) -> None:
    """As a CRL that cannot be read: nobody passes by it, and operators are told."""
    filtered(federation, "issuing", federation.issuing)
    federation.write("filters/issuing.gcs", data)
    assert federation.judge().code == "revocation.unknown"
    assert federation.snapshot().problems == ("filters/issuing.gcs: revocation.filter",)


def _book(federation: Federation, crls: Iterable[Any], responses: Iterable[Any] = ()) -> StatusBook:
    return StatusBook(crls, {}, lambda _: DEFAULT_SM2_ID, {}, responses)


def _state(authority: Authority) -> State:
    return initial_state(Anchor.of(parse_certificate(der(authority.certificate))), Inputs())


def test_good_by_ocsp_hides_no_hit(federation: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the CRL may list is no better than what it lists."""
    leaf, issuing = parse_certificate(der(federation.leaf(serial=77))), federation.issuing
    whole = parse_crl(der(issuing.crl([77])))
    small = parse_filter(build(whole, hashlib.sha256(issuing.spki).hexdigest(), DEFAULT_SM2_ID))
    good = Status(Kind.GOOD, "", NOW, NOW + DAY)
    monkeypatch.setattr("ca_bridge.verdict.status.ocsp_status", lambda *_: good)
    for crls, kind in (([small], Kind.LISTED), ([whole], Kind.REVOKED), ([], Kind.GOOD)):
        book = _book(federation, crls)
        book._responses = {77: (object(),)}  # type: ignore[dict-item]
        assert book.leaf(leaf, _state(issuing), NOW).kind is kind


def test_norevavail_hides_no_hit(federation: Federation) -> None:
    """RFC 9608: it passes without a status, not with one that may say "revoked"."""
    federation.profile("gd", federation.issuing, status={"no_rev_avail_seconds": 7 * 86400})
    says = (x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.56"), b"\x05\x00"), False)
    brief = {"not_before": NOW - DAY, "not_after": NOW + DAY, "extensions": [usage("digital_signature"), says]}
    leaf = federation.leaf(serial=77, **brief)
    (federation.folder / "crls" / "issuing.crl").unlink()
    federation.publish()
    assert federation.judge(leaf).code == "ok"
    federation.crls([77])
    filtered(federation, "issuing", federation.issuing)
    assert federation.judge(leaf).code == "revocation.unknown"


def test_leaves_after_the_first_are_settled_by_the_filter_too(federation: Federation) -> None:
    """The CRL that decides alone may be a filter: its misses are good at a glance, its hits never."""
    issuing = federation.issuing
    whole = parse_crl(der(issuing.crl([77])))
    small = parse_filter(build(whole, hashlib.sha256(issuing.spki).hexdigest(), DEFAULT_SM2_ID))
    book, state = _book(federation, [small]), _state(issuing)
    leaves = [parse_certificate(der(federation.leaf(serial=serial))) for serial in (1, 2, 77)]
    assert [book.leaf(leaf, state, NOW).kind for leaf in leaves] == [Kind.GOOD, Kind.GOOD, Kind.LISTED]
    assert book._settled.leaf(leaves[1], state, NOW) is not None
    assert book._settled.leaf(leaves[2], state, NOW) is None
