"""The theme: our words in four languages, and nothing that shows a person key or breaks at upgrades."""

from __future__ import annotations

import string
from pathlib import Path

import pytest

from ca_bridge.files import config_dir

THEME = config_dir() / "realm" / "theme" / "crosshall" / "login"
LANGUAGES = ("zh_Hans", "zh_Hant", "en", "pt")
MAY_HAVE_ARGUMENT = {"invalidParameterMessage", "missingParameterMessage"}


def messages(language: str) -> dict[str, str]:
    """One language's texts by key."""
    lines = (THEME / "messages" / f"messages_{language}.properties").read_text("utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    assert len({key for key, _, _ in pairs}) == len(pairs)
    return {key: text for key, _, text in pairs}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_each_text(language: str) -> None:
    """The same keys everywhere, none empty, no apostrophe (which Java's MessageFormat swallows)."""
    texts = messages(language)
    assert set(texts) == set(messages("en"))
    assert all(len(text) > 1 and "'" not in text for text in texts.values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_repeats_what_keycloak_would_fill_in(language: str) -> None:
    """Arguments of these messages may be a user name: only names of parameters are repeated."""
    for key, text in messages(language).items():
        arguments = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
        assert arguments == (["0"] if key in MAY_HAVE_ARGUMENT else []), key


def test_words_and_colours_only() -> None:
    """No templates and no scripts of our own: they would break at upgrades."""
    assert {path.suffix for path in THEME.rglob("*") if path.is_file()} == {".properties", ".css"}
    assert "http" not in Path(THEME / "resources" / "css" / "crosshall.css").read_text()
