"""`check --batch`: one answer a line, in order, whatever the line is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from ca_bridge.verdict import batch
from tests.pki import DAY, NOW, Authority, mappings, pem, policies, usage

ROOT = Authority.create("Root")
ISSUING = ROOT.subordinate("Issuing")
LEAF = ISSUING.issue("Leaf")
CRLS = [pem(ROOT.crl()), pem(ISSUING.crl())]


def ask(**changes: Any) -> dict[str, Any]:
    """The answer to a good question with changes."""
    question = {
        "id": "1",
        "leaf": pem(LEAF),
        "anchors": [pem(ROOT.certificate)],
        "pool": [pem(ISSUING.certificate)],
        "time": NOW.isoformat(),
        **changes,
    }
    return answers(json.dumps(question))[0]


def answers(*lines: str) -> list[dict[str, Any]]:
    """What the batch says to lines."""
    return [json.loads(line) for line in batch.run(lines, lambda: NOW)]


def test_an_answer_has_all_the_fields() -> None:
    """Design §9, the table of outputs."""
    found = ask()
    assert set(found) == {"id", "verdict", "code", "detail", "clause", "path", "policies", "ignored", "seconds"}
    assert (found["id"], found["verdict"], len(found["path"])) == ("1", "accept", 3)


def test_absent_and_null_are_the_defaults() -> None:
    """Lists empty, time now, revocation off, policies anyPolicy."""
    nulls = dict.fromkeys(
        (
            "pool",
            "crls",
            "ocsp",
            "time",
            "revocation",
            "initial_policies",
            "require_policy",
            "max_intermediates",
            "purpose",
        )
    )
    assert ask(**nulls)["code"] == "path.unknown_issuer"
    del nulls["pool"]
    assert ask(**nulls)["verdict"] == "accept"


@pytest.mark.parametrize(
    "line",
    ["", "x", "[]", "null", "{", '{"id": 1}', '{"id": "a"}', '{"id": "a", "leaf": 5}', "[" * 100_000, '"\\ud800"'],
)
def test_a_malformed_line_gets_its_own_code(line: str) -> None:
    """Never a crash, and the next line is answered as ever."""
    first, second = answers(line, json.dumps({"id": "b", "leaf": pem(LEAF)}))
    assert (first["verdict"], first["code"]) == ("refuse", "input.line")
    assert (second["id"], second["code"]) == ("b", "path.unknown_issuer")


@given(st.text(max_size=80))
def test_any_text_is_answered(line: str) -> None:
    """Whatever a line holds, one refusal comes back."""
    assert answers(line)[0]["verdict"] == "refuse"


@pytest.mark.parametrize(
    "changes",
    [
        {"time": 5},
        {"time": "2026-06-01T00:00:00"},
        {"time": "never"},
        {"revocation": "maybe"},
        {"purpose": "mail"},
        {"max_intermediates": -1},
        {"initial_policies": ["x"]},
        {"require_policy": "yes"},
        {"pool": "x"},
        {"wish": 1},
    ],
)
def test_a_wish_that_is_not_understood_refuses(changes: dict[str, Any]) -> None:
    """A field of a wrong type, value or name is never passed over."""
    found = ask(**changes)
    assert (found["code"], found["id"]) == ("input.line", "1")


def test_what_cannot_be_parsed_is_counted() -> None:
    """In pool and crls it is passed over and counted; a leaf or an anchor refuses."""
    found = ask(pool=["x", pem(ISSUING.certificate), ""], crls=["y"])
    assert (found["verdict"], found["ignored"]) == ("accept", 3)
    assert ask(leaf="x")["code"] == "asn1.pem"
    assert ask(anchors=["x"])["code"] == "asn1.pem"
    assert ask(leaf=pem(LEAF) + pem(LEAF))["code"] == "asn1.pem"


def test_revocation_modes() -> None:
    """`require` needs every status, `if-available` refuses what is known to be bad, `off` asks nothing."""
    revoked = [CRLS[0], pem(ISSUING.crl([LEAF.serial_number]))]
    stale = [CRLS[0], pem(ISSUING.crl(until=NOW - DAY / 2))]
    expected = {
        "require": ("revocation.unknown", "ok", "revocation.revoked", "revocation.stale"),
        "if-available": ("ok", "ok", "revocation.revoked", "revocation.stale"),
        "off": ("ok", "ok", "ok", "ok"),
    }
    for mode, wanted in expected.items():
        found = tuple(ask(revocation=mode, crls=crls)["code"] for crls in ([CRLS[0]], CRLS, revoked, stale))
        assert found == wanted, mode
    assert ask(revocation="require", crls=[CRLS[1]])["code"] == "revocation.ca_unknown"


def test_a_hostile_pool_hides_no_good_path() -> None:
    """Certificates that only bear the issuer's name cost one signature each, within the budget."""
    fakes = [pem(Authority.create("Issuing").certificate) for _ in range(20)]
    assert ask(pool=[*fakes, pem(ISSUING.certificate)])["verdict"] == "accept"


def test_copied_key_identifiers_hide_no_good_path() -> None:
    """200 certificates with the issuer's name and key identifier, but other keys: the key's hash tells them apart."""
    known = x509.SubjectKeyIdentifier.from_public_key(ISSUING.key.public_key())
    named = x509.AuthorityKeyIdentifier(known.digest, None, None)
    leaf = ISSUING.issue("x", extensions=[usage("digital_signature"), (named, False)])
    fakes = [pem(ROOT.certify(Authority.create("Issuing"), [(known, False)])) for _ in range(200)]
    assert ask(leaf=pem(leaf), pool=[*fakes, pem(ISSUING.certificate)])["verdict"] == "accept"


def test_a_budget_is_named_when_it_is_spent() -> None:
    """Too many candidates end in a refusal that names the budget, never in a long search."""
    other = Authority.create("Root")
    fakes = [pem(other.certify(Authority.create("Issuing"))) for _ in range(80)]
    found = ask(pool=fakes)
    assert found["code"] == "path.budget"
    assert "signatures" in found["detail"]


def test_a_mesh_with_loops_ends() -> None:
    """Ten CAs that all certify each other and lead nowhere: a refusal, soon."""
    cas = [Authority.create(f"CA {n}") for n in range(10)]
    pool = [pem(a.certify(b)) for a in cas for b in cas if a is not b]
    found = ask(leaf=pem(cas[0].issue("x")), pool=pool)
    assert found["code"] == "path.unknown_issuer"
    entry = [*pool, pem(ROOT.certify(cas[9]))]
    found = ask(leaf=pem(cas[0].issue("x")), pool=entry)
    assert (found["verdict"], len(found["path"])) == ("accept", 4)


def test_policy_blow_up_is_answered() -> None:
    """RFC 9618: 20 CAs with 8 policies, all mapped to all, are answered within the default budgets."""
    oids = [f"1.3.6.1.4.1.99999.4.{n}" for n in range(8)]
    every = [policies(*oids), mappings((a, b) for a in oids for b in oids)]
    above, pool = ROOT, []
    for number in range(20):
        above = above.subordinate(f"CA {number}", extensions=every)
        pool.append(pem(above.certificate))
    leaf = pem(above.issue("x", extensions=[policies(oids[0])]))
    found = ask(leaf=leaf, pool=pool, max_intermediates=30, require_policy=True)
    assert (found["verdict"], found["policies"]) == ("accept", oids)
    assert ask(leaf=leaf, pool=pool)["code"] == "path.budget"
