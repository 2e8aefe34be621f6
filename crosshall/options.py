"""Options that several commands share."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from ca_bridge.errors import LANGUAGES, ConfigError

SettingsFile = Annotated[
    Path,
    typer.Option("--settings", envvar="CROSSHALL_SETTINGS", help="The node's settings file.", show_default="node.toml"),
]
DEFAULT_SETTINGS = Path("node.toml")
_NEAR = {"zh-Hans": "zh-Hant", "zh-Hant": "zh-Hans", "en": "pt", "pt": "en"}
Fingerprint = Annotated[
    str,
    typer.Option(
        prompt="Fingerprint, as it is read to you",
        help="As the other operator reads it to you: eight groups of five digits. Asked for when absent.",
    ),
]


def text_of(path: Path) -> str:
    """A file that an operator names. Raises ConfigError `config.missing`."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("config.missing", f"{path}: {type(error).__name__}") from error


def moment(text: str) -> datetime:
    """A time that an option names, aware. Raises BadParameter: not RFC 3339, or without a zone."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"not a time of RFC 3339: {error}") from error
    if found.tzinfo is None:
        raise typer.BadParameter("a zone is missing (Z or +08:00)")
    return found


def named(texts: list[str]) -> dict[str, str]:
    """A name for each language: `LANGUAGE=name` for that one, a name without a language wherever none was given.

    Without such a name the other script or the other foreign language stands in, else the first that was given. Raises
    ConfigError `config.window`: no name at all.
    """
    named: dict[str, str] = {}
    plain = ""
    for text in texts:
        language, separator, value = text.partition("=")
        if separator and language in LANGUAGES:
            named[language] = value.strip()
        else:
            plain = text.strip()
    given = {language: value for language, value in named.items() if value}
    if not given and not plain:
        raise ConfigError("config.window", "a name is needed")
    first = next(iter(given.values()), "")
    return {language: given.get(language) or plain or given.get(_NEAR[language]) or first for language in LANGUAGES}
