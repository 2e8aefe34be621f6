"""NIST PKITS through the batch interface: every case right but the two that need DSA accepted, revocation required."""

from __future__ import annotations

import pytest

from tests.conformance.suite import MANIFEST, Suite, results, wrong

CASES = MANIFEST["case"]
SUPPORTED = [case for case in CASES if case["test"] not in MANIFEST["unsupported"]]


@pytest.fixture(scope="module")
def suite() -> Suite:
    """The suite, read once."""
    return Suite.of_nist()


def test_the_manifest_covers_the_whole_document() -> None:
    """Each of NIST's 224 tests has at least one row (sections 4.1 to 4.16, all numbers)."""
    counts = (6, 8, 11, 21, 8, 17, 5, 20, 8, 14, 11, 10, 38, 35, 10, 2)
    wanted = {f"4.{section}.{n}" for section, count in enumerate(counts, 1) for n in range(1, count + 1)}
    assert {case["test"] for case in CASES} == wanted
    assert len(wanted) == 224


def test_with_only_the_cases_own_files(suite: Suite) -> None:
    """Each case is right, and refused for the right reason, when it sees only its own certificates and CRLs."""
    assert wrong(SUPPORTED, results(suite, SUPPORTED, everything=False), codes=True) == []


def test_with_every_file_in_the_pool(suite: Suite) -> None:
    """Each case is right when all 405 certificates and 173 CRLs are at hand."""
    assert (len(suite.certificates), len(suite.crls)) == (405, 173)
    assert wrong(SUPPORTED, results(suite, SUPPORTED, everything=True), codes=False) == []


def test_dsa_is_refused_not_misread(suite: Suite) -> None:
    """The two valid cases that need DSA are refused, so that nobody thinks they passed."""
    dsa = [case for case in CASES if case["test"] in MANIFEST["unsupported"]]
    assert [case["test"] for case in dsa] == ["4.1.4", "4.1.5"]
    assert "ok" not in results(suite, dsa, everything=False).values()
