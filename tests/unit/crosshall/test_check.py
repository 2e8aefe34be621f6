"""`crosshall check` and `trust show` as a person uses them: exit codes, words, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from crosshall.main import app
from tests.pki import DAY, NOW, Authority, der, pem

ROOT = Authority.create("Root")
ISSUING = ROOT.subordinate("Issuing")
AT = NOW.isoformat()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """An anchor, a pool with rubbish in it, CRLs, a good and an expired leaf."""
    leaf = ISSUING.issue("Leaf")
    for path, data in {
        "root.pem": pem(ROOT.certificate),
        "pool/issuing.pem": pem(ISSUING.certificate),
        "pool/readme.txt": "rubbish",
        "crls/root.crl": der(ROOT.crl()),
        "crls/issuing.crl": der(ISSUING.crl()),
        "leaf.der": der(leaf),
        "chain.pem": pem(leaf) + pem(ISSUING.certificate),
        "old.pem": pem(ISSUING.issue("Old", not_after=NOW - DAY)),
        "broken.pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    }.items():
        target = tmp_path / path
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(data.encode() if isinstance(data, str) else data)
    return tmp_path


def run(*arguments: object, text: bytes | None = None) -> Result:
    """The command's result."""
    return CliRunner().invoke(app, ["check", *map(str, arguments)], input=text)


def test_accept_refuse_and_wrong_use_have_exit_codes(files: Path) -> None:
    """0 accept, 1 refuse, 2 usage (design §9)."""
    common = ("--anchor", files / "root.pem", "--pool", files / "pool", "--at", AT)
    assert run(files / "leaf.der", *common).exit_code == 0
    assert run(files / "chain.pem", "--anchor", files / "root.pem", "--at", AT).exit_code == 0
    assert run(files / "leaf.der", files / "old.pem", *common).exit_code == 1
    assert run(files / "broken.pem", *common).exit_code == 1
    for wrong in (
        [],
        ["--batch", files / "leaf.der"],
        [files / "leaf.der"],
        [files / "leaf.der", *common, "--at", "now"],
    ):
        assert run(*wrong).exit_code == 2


def test_a_refusal_tells_rule_reason_and_remedy(files: Path) -> None:
    """In the language asked for, with the path drawn."""
    found = run(
        files / "old.pem", "--anchor", files / "root.pem", "--pool", files / "pool", "--at", AT, "--language", "zh-Hans"
    )
    assert "path.expired" in found.output
    assert "您的证书已经过期" in found.output
    assert "RFC 5280 §6.1.3 (a)(2)" in found.output


def test_status_can_be_required(files: Path) -> None:
    """--revocation require needs CRLs of every issuer."""
    common = (files / "leaf.der", "--anchor", files / "root.pem", "--pool", files / "pool", "--at", AT)
    assert run(*common, "--revocation", "require").exit_code == 1
    assert run(*common, "--revocation", "require", "--crl", files / "crls").exit_code == 0


def test_json_is_one_object_a_certificate(files: Path) -> None:
    """For programs."""
    found = run(files / "leaf.der", "--anchor", files / "root.pem", "--at", AT, "--json")
    parsed = json.loads(found.output)
    assert (parsed["verdict"], parsed["code"]) == ("refuse", "path.unknown_issuer")


def test_batch_answers_every_line_of_standard_input(files: Path) -> None:
    """In order, octets that are no UTF-8 included."""
    good = json.dumps({"id": "g", "leaf": (files / "chain.pem").read_text(), "anchors": [pem(ROOT.certificate)]})
    found = run("--batch", text=b"x\n\xff\xfe\n" + good.encode() + b"\n")
    answers = [json.loads(line) for line in found.output.splitlines()]
    assert [(a["id"], a["code"]) for a in answers] == [(None, "input.line"), (None, "input.line"), ("g", "asn1.pem")]
    assert found.exit_code == 0
