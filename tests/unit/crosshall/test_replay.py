"""`crosshall replay` as an auditor uses it: keep, judge again, shred, count."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ca_bridge.errors import ConfigError
from crosshall.main import app
from demo import pki
from demo.addresses import Addresses
from demo.personas import personas

NOW = datetime.now(UTC)
CORPUS = Path(__file__).resolve().parents[2] / "vectors" / "replay"


@pytest.fixture
def run(tmp_path: Path) -> pki.DemoRun:
    """A run of the demo of the test's own."""
    return pki.materialise(tmp_path / "run", Addresses(9443), NOW)


def command(*arguments: object) -> Result:
    """`crosshall replay …`."""
    return CliRunner().invoke(app, ["replay", *map(str, arguments)])


def test_the_demos_people_are_kept_and_judged_again(run: pki.DemoRun, tmp_path: Path) -> None:
    """Every persona's verdict, as `demo/personas.toml` expects it or a step later, is the same again; exit code 0."""
    files = [persona.files(run.folder).certificate for persona in personas()]
    kept = command("record", *files, "--bundle", run.bundle, "--evidence", tmp_path / "evidence")
    assert kept.exit_code == 0
    assert len(kept.output.splitlines()) == len(personas())
    again = command("run", "--evidence", tmp_path / "evidence")
    assert again.exit_code == 0
    assert again.output.startswith(f"{len(personas())} records: same {len(personas())}, differs 0")


def test_what_differs_is_shown(tmp_path: Path) -> None:
    """Exit code 1, with the rule then and now; in JSON for programs."""
    shutil.copytree(CORPUS, tmp_path / "evidence")
    for file in (tmp_path / "evidence" / "records").glob("*.jsonl"):
        file.write_text(file.read_text().replace('"code":"path.policy"', '"code":"ok"'))
    text = command("run", "--evidence", tmp_path / "evidence")
    assert text.exit_code == 1
    assert "→ path.policy (RFC 5280" in text.output
    rows = [
        json.loads(row) for row in command("run", "--json", "--evidence", tmp_path / "evidence").output.splitlines()
    ]
    assert {row["outcome"] for row in rows} == {"same", "differs"}


def test_shredded_records_are_counted(tmp_path: Path) -> None:
    """One by its id, then all before a day; a second time there is nothing to destroy."""
    shutil.copytree(CORPUS, tmp_path / "evidence")
    folder = tmp_path / "evidence"
    first = sorted((folder / "records").glob("*.jsonl"))[0]
    name = json.loads(first.read_text().splitlines()[0])["id"]
    assert command("shred", name, "--evidence", folder).exit_code == 0
    assert isinstance(command("shred", name, "--evidence", folder).exception, ConfigError)
    assert "shredded 1," in command("run", "--evidence", folder).output
    assert command("shred", "--before", "2100-01-01", "--evidence", folder).exit_code == 0
    again = command("run", "--evidence", folder)
    assert (again.exit_code, "same 0, differs 0, shredded 63" in again.output) == (0, True)


def test_a_bundle_is_archived_once(run: pki.DemoRun, tmp_path: Path) -> None:
    """Twice the same bundle is one folder, named by its hash."""
    said = {command("archive", "--bundle", run.bundle, "--evidence", tmp_path / "e").output.strip() for _ in range(2)}
    assert [path.name for path in (tmp_path / "e" / "bundles").iterdir()] == [*said]


@pytest.mark.parametrize(
    "wrong", [["shred"], ["shred", "x", "--before", "2026-01-01"], ["shred", "--before", "soon"], ["record"]]
)
def test_wrong_use(tmp_path: Path, wrong: list[str]) -> None:
    """Exit code 2."""
    assert command(*wrong, "--evidence", tmp_path).exit_code == 2
