"""What the fetcher remembers of each target between two rounds: `fetch.json` in its folder.

Losing it costs only questions: what was fetched lies in the overlay, and is still the floor under what comes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from ca_bridge.files import write_atomically

FILE = "fetch.json"
MAX_OCTETS = 16 << 20
_log = logging.getLogger(__name__)


class Remembered(BaseModel):
    """One target. `digest`: SHA-256 of its last good copy, empty when there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    etag: str = ""
    last_modified: str = ""
    next_at: AwareDatetime
    failures: int = Field(default=0, ge=0)
    code: str = ""
    """Why the last try failed; empty when it did not."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: int = Field(ge=1, le=1)
    targets: dict[str, Remembered]


def load(folder: Path) -> dict[str, Remembered]:
    """What is remembered; nothing when the file is absent or cannot be read."""
    try:
        with (folder / FILE).open("rb") as file:
            return _File.model_validate_json(file.read(MAX_OCTETS)).targets
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        _log.warning("what the fetcher remembered is lost", extra={"problem": type(error).__name__})
        return {}


def save(folder: Path, targets: Mapping[str, Remembered]) -> None:
    """Replace the file atomically. Raises OSError."""
    body = {"format": 1, "targets": {key: known.model_dump(mode="json") for key, known in targets.items()}}
    write_atomically(folder / FILE, (json.dumps(body, indent=1, sort_keys=True) + "\n").encode())
