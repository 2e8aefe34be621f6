"""Which of several paths is taken, and that ending the search early changes no verdict."""

from __future__ import annotations

import hashlib

import pytest

from tests.pki import Authority, der, mappings, pem, policies, usage
from tests.unit.verdict.conftest import POLICY, Federation

LOW = "1.3.6.1.4.1.99999.3.2"


def _two_paths(federation: Federation) -> None:
    """A short path that maps the leaf's policy to the low level, and a longer one that keeps it."""
    table = {"policies": {POLICY: 4, LOW: 1}, "storage": {"token": 4}}
    federation.table("levels.toml", table)
    middle = federation.anchor.subordinate("Middle", extensions=[policies(POLICY)])
    short = [policies(LOW), mappings([(LOW, POLICY)])]
    federation.write("cross/middle.pem", pem(middle.certificate))
    federation.write("cross/root.pem", pem(federation.anchor.certify(federation.root)))
    federation.write("cross/issuing.pem", pem(federation.anchor.certify(federation.issuing, short)))
    federation.write("cross/long.pem", pem(middle.certify(federation.issuing, [policies(POLICY)])))
    federation.write("crls/middle.crl", der(middle.crl()))


def test_the_level_counts_before_the_length(federation: Federation) -> None:
    """A longer path with a higher level is found although a shorter one was accepted first."""
    _two_paths(federation)
    leaf = federation.leaf(extensions=[usage("digital_signature"), policies(POLICY)])
    verdict = federation.judge(leaf)
    assert (verdict.code, verdict.level, len(verdict.path)) == ("ok", 4, 4)


def test_a_table_s_level_takes_the_shortest_path(federation: Federation) -> None:
    """When the level does not hang on the path, the shortest good one is taken and no other is looked at."""
    _two_paths(federation)
    federation.table("levels.toml", {"assigned": [{"ca": "gd", "type": "person", "level": 3}], "storage": {"token": 4}})
    verdict = federation.judge()
    assert (verdict.code, verdict.level, len(verdict.path), verdict.refusals) == ("ok", 3, 3, ())


@pytest.mark.parametrize("what", ["domain", "key", "issuer"])
def test_a_denial_of_one_path_leaves_the_other(federation: Federation, what: str) -> None:
    """A denied CA in the longer path does not deny the shorter one, and the reverse refusal is told."""
    _two_paths(federation)
    middle_key = hashlib.sha256(federation.issuing.spki).hexdigest()
    row = {"domain": {"domain": "gd"}, "key": {"key": middle_key}, "issuer": {"certificate": f"{'0' * 64}:1"}}[what]
    federation.table("denials/x.toml", {"deny": [{"why": "test", **row}]})
    code = federation.judge(federation.leaf(extensions=[usage("digital_signature"), policies(POLICY)])).code
    assert code == ("ok" if what == "issuer" else "trust.denied")


def test_two_cas_of_one_name_are_both_tried(federation: Federation) -> None:
    """A leaf of the namesake with another profile is not taken for the first one's."""
    other = federation.root.subordinate("Issuing")
    federation.profile("other", other)
    federation.table(
        "levels.toml",
        {
            "assigned": [{"ca": ca, "type": "person", "level": 3} for ca in ("gd", "other")],
            "storage": {"token": 4},
        },
    )
    federation.write("cross/other.pem", pem(other.certificate))
    federation.write("crls/other.crl", der(other.crl()))
    assert federation.judge(federation.leaf(other)).ca == "other"
    assert federation.judge().ca == "gd"
    assert federation.judge(federation.leaf(Authority.create("Issuing"))).code == "path.signature"
