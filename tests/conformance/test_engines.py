"""The compiled engine and the slow path: one verdict wherever both apply (`make deep`: 10,000 leaves)."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest

from tests import pki
from tests.deep.engines import compare
from tests.pki import Authority
from tests.unit.verdict.conftest import Federation


def test_a_slice_of_random_bundles(tmp_path: Path) -> None:
    """800 leaves under 20 random bundles: the same verdict, and the same policies by the same path."""
    found = compare(1, range(20), 40, tmp_path)
    assert found.disagreements == []
    assert found.stricter <= 5
    assert found.accepted > 100
    assert found.refused > 100
    assert len(found.codes) > 7


@pytest.fixture
def rolled(tmp_path: Path) -> tuple[Federation, Authority]:
    """A federation whose issuing CA has rolled over to a new key, certified by the old one; the profile names both."""
    federation = Federation(tmp_path / "bundle")
    old = federation.issuing
    made = Authority.create("Issuing")
    new = Authority(old.subject, old.certify(made), made.key)
    federation.write("cross/new.pem", pki.pem(new.certificate))
    keys = [hashlib.sha256(old.spki).hexdigest(), hashlib.sha256(new.spki).hexdigest()]
    federation.profile("gd", old, keys=keys)
    return federation, new


def test_old_keys_crl_vouches_for_the_new(rolled: tuple[Federation, Authority]) -> None:
    """While both keys are good the old key's CRL still covers what the new one issued, and its certificate."""
    federation, new = rolled
    assert federation.judge(federation.leaf(new)).code == "ok"


def test_no_key_vouches_for_itself(rolled: tuple[Federation, Authority]) -> None:
    """When only the new key's own CRL could say that the new key is good, nobody says so (RFC 5280 §6.3.3 (f))."""
    federation, new = rolled
    federation.write("crls/issuing.crl", pki.der(new.crl()))
    assert federation.judge(federation.leaf(new)).code == "revocation.ca_unknown"


def test_a_revoked_sibling_vouches_for_nobody(rolled: tuple[Federation, Authority]) -> None:
    """A CRL by a key whose own certificate is revoked says nothing of leaves of the CA's other key."""
    federation, new = rolled
    serial = new.certificate.serial_number
    federation.crls([serial], issued=pki.NOW - timedelta(days=20), until=pki.NOW - timedelta(days=10))
    federation.write("crls/new.crl", pki.der(new.crl()))
    assert federation.judge(federation.leaf()).code == "revocation.stale"
