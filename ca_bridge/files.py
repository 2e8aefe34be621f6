"""Where the data files are, and how a file is replaced so that nobody ever sees half of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def config_dir() -> Path:
    """The folder of shipped data: `CROSSHALL_CONFIG`, else the checkout's or the wheel's own."""
    named = os.environ.get("CROSSHALL_CONFIG")
    if named:
        return Path(named)
    root = Path(__file__).resolve().parent.parent
    shipped = root / "crosshall" / "config"
    return shipped if shipped.is_dir() else root / "config"


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Put `data` at `path` whole or not at all (written aside, synced, renamed); `mode` holds from the first byte."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        os.fchmod(handle, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
