"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SettingsFile = Annotated[
    Path,
    typer.Option("--settings", envvar="CROSSHALL_SETTINGS", help="The node's settings file.", show_default="node.toml"),
]
DEFAULT_SETTINGS = Path("node.toml")
