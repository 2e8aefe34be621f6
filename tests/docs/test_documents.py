"""The documentation is true: tables come from code, links lead somewhere, commands exist."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import typer

from ca_bridge.settings import Settings
from crosshall.main import COMMANDS, app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "relying_party_sdk" / "README.md"]


def tables() -> dict[str, object]:
    """The tables of `scripts/document.py`."""
    spec = importlib.util.spec_from_file_location("document", ROOT / "scripts" / "document.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, object] = module.TABLES
    return found


@pytest.mark.parametrize("name", ["docs/settings.md", "docs/errors.md"])
def test_a_table_is_what_the_code_says(name: str) -> None:
    """`python scripts/document.py` has been run after the last change."""
    table = tables()[name]
    assert callable(table)
    assert (ROOT / name).read_text("utf-8") == table()


def test_every_setting_has_its_meaning() -> None:
    """No key of `node.toml` is without a text in the table."""
    text = (ROOT / "docs" / "settings.md").read_text("utf-8")
    for section in Settings.model_fields.values():
        for key in section.annotation.model_fields:  # type: ignore[union-attr]
            rows = re.findall(rf"^\| `{key}` \| [^|]+ \| (.*) \|$", text, re.MULTILINE)
            assert rows, key
            assert all(len(row) > 10 for row in rows), key


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page is a file of the checkout."""
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    """Every `crosshall X Y` that a page names can be given; every `make X` is a target."""
    text = page.read_text("utf-8")
    root = typer.main.get_command(app)
    for line in re.findall(r"`(?:\.venv/bin/)?crosshall ([a-z][^`\n]*)`", text):
        command = root
        for word in line.split():
            if not hasattr(command, "get_command") or not re.fullmatch(r"[a-z]+", word):
                break
            for verb in word.split("|"):
                found = command.get_command(None, verb)
                assert found is not None, f"crosshall {line}"
            command = found
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for target in re.findall(r"`make ([a-z]+)", text):
        assert target in targets, target


def test_every_command_is_documented() -> None:
    """A person finds each command in the documentation."""
    everything = "\n".join(page.read_text("utf-8") for page in PAGES)
    for name in COMMANDS:
        assert f"crosshall {name}" in everything, name
