"""Generated chains against pyhanko-certvalidator, OpenSSL as tie-break; `make deep` puts ten thousand to both."""

from __future__ import annotations

from tests.deep.chains import generate
from tests.deep.differential import report

SLICE = range(600)


def test_a_slice_of_generated_chains() -> None:
    """Verdicts and policy sets are the same, or the difference is explained; each feature is on both sides."""
    found = report(1, SLICE)
    assert found.unexplained == [], str(found)
    assert found.valid >= 0.4 * len(SLICE)
    assert found.rare(15) == [], str(found)
    assert found.policies_compared > 100


def test_a_chain_is_the_same_each_time() -> None:
    """Seed and number decide over every octet, so that a disagreement can be looked at again."""
    assert [generate(7, n) for n in range(40)] == [generate(7, n) for n in range(40)]
    assert generate(7, 1) != generate(8, 1)
