"""A real PostgreSQL for tests: its own cluster in a temporary folder, on a unix socket only, removed at the end."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

USER = "crosshall"


def binaries() -> Path:
    """The folder of the newest installed PostgreSQL's programs. RuntimeError when there is none: never a skip."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise RuntimeError("PostgreSQL is not installed: apt-get install postgresql")
    return found[-1].parent


@dataclass(frozen=True)
class Cluster:
    """A running server: `socket` is the folder of its unix socket."""

    folder: Path
    socket: Path

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of one database."""
        return f"postgresql+psycopg://{USER}@/{database}?host={self.socket}"

    @contextmanager
    def database(self, name: str) -> Iterator[str]:
        """The URL of a new, empty database, dropped afterwards."""
        self._run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield self.url(name)
        finally:
            self._run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def control(self, *words: str) -> None:
        """Run pg_ctl on this cluster: `stop`, `start` …; waits until done."""
        _as_owner([str(binaries() / "pg_ctl"), "-D", str(self.folder / "data"), "-w", "-s", *words], self.folder)

    def start(self) -> None:
        """Start the server again after `control("stop")`."""
        options = f"-k {self.socket} -c listen_addresses= -c fsync=off -c max_connections=60 -c shared_buffers=16MB"
        self.control("-l", str(self.folder / "log"), "-o", options, "start")

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(f"host={self.socket} user={USER} dbname=postgres", autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def postgres() -> Iterator[Cluster]:
    """A running cluster of our own. As root it runs as the system user `postgres`, who alone may run it."""
    folder = Path(tempfile.mkdtemp(prefix="chpg-"))
    cluster = Cluster(folder, folder)
    try:
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
        command = [str(binaries() / "initdb"), "-D", str(folder / "data"), "-U", USER, "-A", "trust"]
        _as_owner([*command, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"], folder)
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.control("-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_owner(command: list[str], folder: Path) -> None:
    user = "postgres" if os.geteuid() == 0 else None
    # to a file, not a pipe: the server inherits it and would hold a pipe open
    with (folder / "commands.log").open("ab") as output:
        done = subprocess.run(
            command, user=user, cwd=folder, stdout=output, stderr=output, stdin=subprocess.DEVNULL, check=False
        )
    if done.returncode:
        tail = (folder / "commands.log").read_text("utf-8", "replace")[-2000:]
        raise RuntimeError(f"{Path(command[0]).name} failed: {tail}")
