"""A second bridge of the same node, its own database and limits: for faults that would spoil the first."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ca_bridge.store import migrate
from crosshall.node import NodeFolder, bridge_parts
from crosshall.supervisor import Supervisor
from demo.stack import Demo


@dataclass(frozen=True, slots=True)
class Alone:
    """The second bridge: its socket, its SQLite file, its log."""

    socket: Path
    database: Path
    log_file: Path
    master: int
    """Process id of its gunicorn."""

    def workers(self) -> list[int]:
        """Process ids of its workers."""
        return [int(pid) for pid in Path(f"/proc/{self.master}/task/{self.master}/children").read_text().split()]

    def log(self) -> str:
        """Everything it has logged."""
        return self.log_file.read_text("utf-8", "replace")

    def sqlite(self) -> sqlite3.Connection:
        """A connection of our own to its database, without waiting and without transactions of its own."""
        return sqlite3.connect(self.database, timeout=0, isolation_level=None)


@contextmanager
def alone(demo: Demo, *, rate_per_minute: int = 6000) -> Iterator[Alone]:
    """A bridge of one worker on SQLite, with the node's keys and trust, at a socket of its own."""
    folder = NodeFolder(Path(tempfile.mkdtemp(prefix="crosshall-alone-")))
    shutil.copytree(demo.folder.state, folder.state, ignore=shutil.ignore_patterns("*.sqlite*", ".lock"))
    shutil.copytree(demo.folder.bundle, folder.bundle)
    text = demo.folder.settings.read_text().replace(
        demo.settings.database.url, f"sqlite:///{folder.state}/bridge.sqlite"
    )
    old = f"rate_per_minute = {demo.settings.bridge.rate_per_minute}"
    assert old in text
    folder.settings.write_text(text.replace(old, f"rate_per_minute = {rate_per_minute}"))
    migrate(f"sqlite:///{folder.state}/bridge.sqlite")
    supervisor = Supervisor(folder.logs, print)
    try:
        supervisor.start(bridge_parts(folder, workers=1)[0])
        yield Alone(folder.socket, folder.state / "bridge.sqlite", folder.logs / "bridge.log", supervisor.pid("bridge"))
    finally:
        supervisor.stop_all()
        with (demo.folder.logs / "alone.log").open("ab") as kept:  # the test of privacy reads it too
            kept.write((folder.logs / "bridge.log").read_bytes())
        shutil.rmtree(folder.root)
