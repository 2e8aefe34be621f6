"""`crosshall node cuts`: sign-ins of a cut that are refused since."""

from __future__ import annotations

import json
import secrets
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ca_bridge.verdict.cuts import FOLDER, REPORT, Cuts
from crosshall.nodes import app
from tests.pki import der
from tests.unit.crosshall.settings import write_settings
from tests.unit.verdict.conftest import NOW, Federation, federation

__all__ = ["federation"]


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A node's settings."""
    return write_settings(tmp_path / "node", name="gd/guangzhou", role="city", parent="gd")


def run(settings: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and what the command says."""
    done = CliRunner().invoke(app, ["cuts", *arguments, "--settings", str(settings)], catch_exceptions=False)
    return done.exit_code, done.output


def cut(settings: Path, federation: Federation) -> str:
    """Two sign-ins during a cut, one of a certificate that is revoked meanwhile: its serial number."""
    cuts = Cuts(settings.parent / "state" / FOLDER, secrets.token_bytes)
    snapshot = federation.snapshot()
    good, revoked = federation.leaf(), federation.leaf()
    for leaf in (good, revoked):
        cuts.note(snapshot, der(leaf), snapshot.judge(der(leaf), NOW))
    federation.crls([revoked.serial_number])
    return f"{revoked.serial_number:x}"


def test_nothing_to_tell(settings: Path):
    """A node that was never cut."""
    assert run(settings) == (0, "0 refused since, 0 to be judged when the line is back\n")


def test_still_cut(settings: Path, federation: Federation):
    """What waits is counted, and refuses nobody yet."""
    cut(settings, federation)
    assert run(settings) == (0, "0 refused since, 2 to be judged when the line is back\n")


def test_who_was_revoked_meanwhile(settings: Path, federation: Federation):
    """The certificate, the time, the reason; exit code 1, and each sign-in once however often it is reported."""
    serial = cut(settings, federation)
    folder = settings.parent / "state" / FOLDER
    Cuts(folder, secrets.token_bytes).settle(federation.snapshot(), NOW + timedelta(hours=1))
    lines = (folder / REPORT).read_text()
    (folder / REPORT).write_text(lines + lines + lines[:20])
    code, told = run(settings)
    assert code == 1
    assert "revocation.revoked  gd gd  level 4" in told
    assert serial in told.lower()
    assert told.endswith("1 refused since, 0 to be judged when the line is back\n")
    code, told = run(settings, "--json")
    assert code == 1
    assert [json.loads(line)["code"] for line in told.splitlines()] == ["revocation.revoked"]
