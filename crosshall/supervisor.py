"""Starts the parts of a node, watches them, and stops what it started – and nothing else.

Each part is a process group of its own. A part dies with the supervisor, however that ends (`setpriv --pdeathsig`),
so that nothing is left behind by Ctrl-C, a closed terminal or `kill -9`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import urllib3

from ca_bridge.errors import ConfigError

Say = Callable[[str], None]
Probe = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Part:
    """One process of a node: how it is started and when it is ready."""

    name: str
    command: Sequence[str | Path]
    ready: Probe
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    start_seconds: float = 60.0
    stop_seconds: float = 10.0


def http_ready(url: str) -> Probe:
    """A probe: `url` answers 200 within a second."""
    pool = urllib3.PoolManager(retries=False, timeout=1.0)

    def probe() -> bool:
        try:
            return pool.request("GET", url).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    return probe


def socket_ready(path: Path) -> Probe:
    """A probe: a unix socket is there and somebody listens (what was killed leaves its socket behind)."""
    return lambda: _connects(socket.AF_UNIX, str(path))


def port_ready(address: str) -> Probe:
    """A probe: somebody listens at `address:port`."""
    host, _, port = address.rpartition(":")
    return lambda: _connects(socket.AF_INET, (host, int(port)))


class Supervisor:
    """The parts that this process started. Not thread safe: one thread starts and stops."""

    def __init__(self, logs: Path, say: Say) -> None:
        self._logs = logs
        self._say = say
        self._running: dict[str, tuple[Part, subprocess.Popen[bytes]]] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def launch(self, part: Part) -> None:
        """Start `part` without waiting for it. Its output goes to `<logs>/<name>.log`."""
        if part.name in self._running:
            raise ConfigError("run.part_twice", part.name)
        with (self._logs / f"{part.name}.log").open("ab") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "--", *map(str, part.command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **part.environment},
                cwd=part.folder,
                start_new_session=True,
            )
        self._running[part.name] = (part, process)

    def wait_ready(self, name: str) -> None:
        """Return when the part is ready. Raises ConfigError `run.part_died` or `run.part_slow`, with the log's end."""
        part, process = self._running[name]
        deadline = time.monotonic() + part.start_seconds
        while not part.ready():
            if process.poll() is not None:
                raise ConfigError("run.part_died", f"{name} ended with {process.returncode}:\n{self.log_end(name)}")
            if time.monotonic() > deadline:
                raise ConfigError(
                    "run.part_slow", f"{name} not ready in {part.start_seconds:.0f} s:\n{self.log_end(name)}"
                )
            time.sleep(0.05)

    def start(self, part: Part) -> None:
        """Start `part` and return when it is ready."""
        self.launch(part)
        self.wait_ready(part.name)

    def dead(self) -> list[str]:
        """Names of parts that ended by themselves."""
        return [name for name, (_, process) in self._running.items() if process.poll() is not None]

    def log_end(self, name: str, lines: int = 15) -> str:
        """The last lines of a part's log."""
        path = self._logs / f"{name}.log"
        return "\n".join(path.read_text("utf-8", "replace").splitlines()[-lines:]) if path.exists() else ""

    def pid(self, name: str) -> int:
        """Process id of a running part (and id of its process group)."""
        return self._running[name][1].pid

    def stop(self, name: str, *, kill: bool = False) -> Part:
        """Stop one part: TERM, and KILL when it does not go in time (at once with `kill`). Returns it."""
        part, process = self._running.pop(name)
        _signal_group(process, signal.SIGKILL if kill else signal.SIGTERM)
        try:
            process.wait(part.stop_seconds)
        except subprocess.TimeoutExpired:
            self._say(f"{name} did not stop in {part.stop_seconds:.0f} s: killed")
        _signal_group(process, signal.SIGKILL)
        process.wait()
        _wait_gone(process)
        return part

    def stop_all(self) -> None:
        """Stop everything, last started first; a second interrupt does not leave anything behind."""
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            for _, process in reversed(self._running.values()):
                _signal_group(process, signal.SIGTERM)
            for name in reversed(list(self._running)):
                self.stop(name)
        finally:
            signal.signal(signal.SIGINT, previous)


def _wait_gone(process: subprocess.Popen[bytes], seconds: float = 1.0) -> None:
    """Return when no process of the part is left: a worker still dying holds the port that the next one needs."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        except PermissionError:
            pass
        time.sleep(0.01)


def _connects(family: socket.AddressFamily, address: str | tuple[str, int]) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(address)
        except OSError:
            return False
    return True


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
