"""`crosshall demo …`, and the page that describes it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ca_bridge.errors import ConfigError
from demo import pki
from demo.addresses import Addresses
from demo.cli import app
from demo.personas import personas

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pki.DemoRun:
    """A run where the commands look for one."""
    monkeypatch.setenv("CROSSHALL_RUN", str(tmp_path))
    return pki.materialise(tmp_path / "9443", Addresses(9443), datetime.now(UTC))


def test_personas_are_listed_in_the_language_asked_for() -> None:
    """Everybody, with the outcome."""
    for language in ("zh-Hans", "zh-Hant", "en", "pt"):
        told = CliRunner().invoke(app, ["personas", "--language", language]).output
        for person in personas():
            assert person.id in told
            assert person.description[language] in told
            assert person.expected.accepted or person.expected.code in told


def test_unknown_language_is_told() -> None:
    """An error of ours, not a traceback."""
    result = CliRunner().invoke(app, ["personas", "--language", "fr"])
    assert isinstance(result.exception, ConfigError)


def test_revoke_and_renew_work_on_the_run_of_the_port(started: pki.DemoRun) -> None:
    """The CRL changes on disk; a persona that is not there is told."""
    crl = started.bundle / "crls" / "gz-public.crl"
    before = crl.read_bytes()
    assert CliRunner().invoke(app, ["revoke", "gz-li", "--port", "9443"]).exit_code == 0
    revoked = crl.read_bytes()
    assert revoked != before
    assert CliRunner().invoke(app, ["renew", "--port", "9443"]).exit_code == 0
    assert isinstance(CliRunner().invoke(app, ["revoke", "nobody", "--port", "9443"]).exception, ConfigError)


def test_commands_without_a_run_are_told(started: pki.DemoRun) -> None:
    """Another port, where nothing was started."""
    for command in (["revoke", "gz-li"], ["renew"]):
        result = CliRunner().invoke(app, [*command, "--port", "9444"])
        assert isinstance(result.exception, ConfigError)
        assert result.exception.code == "run.not_running"
    assert not (started.folder.parent / "9444").exists()


def test_page_describes_everybody() -> None:
    """docs/demo.md has a row for each persona, with ways and outcome as the tests hold them."""
    page = (DOCS / "demo.md").read_text("utf-8")
    for person in personas():
        outcome = f"level {person.expected.level}" if person.expected.accepted else f"`{person.expected.code}`"
        row = f"| `{person.id}` | {person.description['en']} | {', '.join(person.ways)} | {outcome} |"
        assert row in page
