"""`crosshall trust lint` as an operator uses it: exit codes, words, JSON; the demo's bundle is clean."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ca_bridge.trust.bundle import refresh_manifest
from crosshall.main import app
from demo import pki
from demo.addresses import Addresses

NOW = datetime.now(UTC)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The demo's bundle, of a run of its own."""
    return pki.materialise(tmp_path / "run", Addresses(9443), NOW).bundle


def lint(bundle: Path, *arguments: str) -> Result:
    """The command's result."""
    return CliRunner().invoke(app, ["trust", "lint", "--bundle", str(bundle), *arguments])


def test_the_demo_is_clean(bundle: Path) -> None:
    """Nothing is said of the demo's bundle; exit code 0."""
    result = lint(bundle)
    assert (result.exit_code, result.output) == (0, "clean\n")
    assert (lint(bundle, "--json").exit_code, lint(bundle, "--json").output) == (0, "")


def test_findings_are_told_with_a_remedy(bundle: Path) -> None:
    """Exit code 1; every finding says code, subject, what is wrong and what to do, or is one JSON object."""
    (bundle / "crls" / "gz-public.crl").unlink()
    refresh_manifest(bundle, NOW)
    result = lint(bundle)
    assert result.exit_code == 1
    assert "error   lint.crl_missing: " in result.output
    assert "→ Add the CA's CRL" in result.output
    found = [json.loads(line) for line in lint(bundle, "--json").output.splitlines()]
    assert [row["code"] for row in found] == ["lint.crl_missing"]
    assert found[0]["severity"] == "error"


def test_it_can_be_asked_of_another_time(bundle: Path) -> None:
    """Next week the CRLs are stale; in 30 years the CAs are over as well."""
    week = (NOW + timedelta(days=7)).isoformat()
    assert {json.loads(line)["code"] for line in lint(bundle, "--json", "--at", week).output.splitlines()} == {
        "lint.crl_expired"
    }
    ages = (NOW + timedelta(days=11000)).isoformat()
    assert "lint.ca_expired" in lint(bundle, "--at", ages).output
    assert lint(bundle, "--crl-hours", "100").exit_code == 1


@pytest.mark.parametrize("wrong", [["--at", "soon"], ["--at", "2026-01-01T00:00:00"], ["--days", "-1"]])
def test_wrong_use(bundle: Path, wrong: list[str]) -> None:
    """Exit code 2."""
    assert lint(bundle, *wrong).exit_code == 2


def test_a_broken_bundle_is_a_finding(bundle: Path) -> None:
    """Not an exception: the reason is told."""
    (bundle / "policy.toml").write_text("changed")
    result = lint(bundle)
    assert (result.exit_code, "trust.bundle" in result.output) == (1, True)
