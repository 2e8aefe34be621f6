"""NIST PKITS signed over again with SM2/SM3 and with P-256: the rules do not depend on the algorithm."""

from __future__ import annotations

import pytest

from ca_bridge.asn1.certificate import parse_certificate
from ca_bridge.asn1.crl import parse_crl
from tests.conformance.resign import p256_key, resign, sm2_key
from tests.conformance.suite import MANIFEST, Suite, results, wrong

DSA = ("4.1.4", "4.1.5", "4.1.6")
# NIST's bad CA signature cannot even be read, so its issuer is unknown; ours can be read, and is wrong.
CODES = {"4.1.2": "path.signature"}
CASES = [c | {"code": CODES.get(c["test"], c["code"])} for c in MANIFEST["case"] if c["test"] not in DSA]
OIDS = {"sm2": "1.2.156.10197.1.501", "p256": "1.2.840.10045.4.3.2"}
Signed = tuple[str, Suite, list[str]]


@pytest.fixture(scope="module", params=["sm2", "p256"])
def signed(request: pytest.FixtureRequest) -> Signed:
    """The algorithm, the suite under it, and the files whose signatures are bad."""
    nist = Suite.of_nist()
    certificates, crls, bad = resign(nist.certificates, nist.crls, sm2_key if request.param == "sm2" else p256_key)
    return request.param, Suite(certificates, crls), bad


def test_nothing_of_the_old_algorithm_is_left(signed: Signed) -> None:
    """Every file but the DSA ones is there, under the new algorithm, and exactly NIST's bad signatures stayed bad."""
    kind, suite, bad = signed
    assert (len(suite.certificates), len(suite.crls)) == (400, 171)
    for certificate in map(parse_certificate, suite.certificates.values()):
        assert certificate.signature_algorithm == OIDS[kind]
    assert {parse_crl(crl).signature_algorithm for crl in suite.crls.values()} == {OIDS[kind]}
    assert sorted(bad) == ["BadCRLSignatureCACRL", "BadSignedCACert", "InvalidEESignatureTest3EE"]


def test_with_only_the_cases_own_files(signed: Signed) -> None:
    """Each case is right, and refused for the right reason, when it sees only its own certificates and CRLs."""
    _, suite, _ = signed
    assert len(CASES) >= 242
    assert wrong(CASES, results(suite, CASES, everything=False), codes=True) == []


def test_with_every_file_in_the_pool(signed: Signed) -> None:
    """Each case is right when every file is at hand."""
    _, suite, _ = signed
    assert wrong(CASES, results(suite, CASES, everything=True), codes=False) == []
