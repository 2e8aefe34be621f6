"""A real Redis for tests: its own server on a unix socket in a temporary folder, removed at the end."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis


@dataclass
class Server:
    """A server that can be stopped and started again; it keeps nothing over a stop."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of its store."""
        return f"unix://{self.folder / 'socket'}"

    def client(self) -> redis.Redis:
        """A client of its own, to look inside."""
        return redis.Redis(unix_socket_path=str(self.folder / "socket"))

    def start(self) -> None:
        """Start, and wait until it answers."""
        binary = shutil.which("redis-server")
        if binary is None:
            raise RuntimeError("Redis is not installed: apt-get install redis-server")
        options = ["--port", "0", "--unixsocket", str(self.folder / "socket"), "--save", "", "--appendonly", "no"]
        with (self.folder / "log").open("ab") as output:
            self.process = subprocess.Popen([binary, *options], cwd=self.folder, stdout=output, stderr=output)
        until = time.monotonic() + 20
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis.ConnectionError:
                if time.monotonic() > until or self.process.poll() is not None:
                    raise
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(0.02)

    def stop(self) -> None:
        """Stop at once."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def redis_server() -> Iterator[Server]:
    """A running server of our own."""
    folder = Path(tempfile.mkdtemp(prefix="chrd-"))
    server = Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
