"""`crosshall-rp new flask police`: a small application that signs people in, with its test; ready to run."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from string import Template

from relying_party_sdk.errors import SettingsError

FRAMEWORKS = ("flask", "django", "fastapi")


def write(framework: str, folder: Path) -> list[Path]:
    """The files written, in a folder made now. Raises SettingsError `rp.settings` (there already, name unfit)."""
    name = folder.name
    if framework not in FRAMEWORKS:
        raise SettingsError("rp.settings", f"there is no example for {framework}: {', '.join(FRAMEWORKS)}")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
        raise SettingsError("rp.settings", "the folder's name is a client_id: a–z, 0–9 and _, at most 32 characters")
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise SettingsError("rp.settings", f"{folder} is there already") from error
    except OSError as error:
        raise SettingsError("rp.settings", f"{folder}: {type(error).__name__}") from error
    written = []
    templates = resources.files("relying_party_sdk") / "templates"
    for source in (templates / "any", templates / framework):
        for each in sorted(source.iterdir(), key=lambda entry: entry.name):
            target = folder / each.name.removesuffix(".txt")
            text = Template(each.read_text("utf-8")).substitute(name=name, framework=framework)
            target.write_text(text, "utf-8")
            written.append(target)
    return written
