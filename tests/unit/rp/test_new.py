"""`crosshall-rp new`: what it writes runs, and its own test passes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from relying_party_sdk import Settings
from relying_party_sdk.cli import main
from relying_party_sdk.new import FRAMEWORKS

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_is_written_runs(framework: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The example's own test signs a citizen in, and the settings file holds together."""
    folder = tmp_path / "police"
    assert main(["new", framework, str(folder)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert Settings.from_toml(folder / "window.toml").client_id == "police"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "relying_party_sdk.testing.plugin", "-p", "no:cacheprovider"]
    paths = {"PYTHONPATH": f"{ROOT}:{folder}", "PATH": "/usr/bin:/bin", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run([*command, "test_app.py"], cwd=folder, env=paths, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert "$" not in (folder / "app.py").read_text()


@pytest.mark.parametrize("name", ["Police", "1st", "a" * 33, "a b"])
def test_unfit_names(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that cannot be a client_id is refused, and nothing is written."""
    assert main(["new", "flask", str(tmp_path / "made" / name)]) == 2
    assert not (tmp_path / "made" / "Police").exists()
    capsys.readouterr()


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is there is left as it is."""
    (tmp_path / "police").mkdir()
    assert main(["new", "flask", str(tmp_path / "police")]) == 2
    assert list((tmp_path / "police").iterdir()) == []
    assert "rp.settings" in capsys.readouterr().err
