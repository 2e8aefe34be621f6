"""`make run` as a stranger meets it: a second copy beside this one, checked, interrupted, and refused a taken port."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.addresses import Addresses, free_block, require_free
from demo.stack import Demo

pytestmark = pytest.mark.live
SEED = int.from_bytes(os.urandom(4))


@pytest.fixture(name="folder")
def _folder() -> Iterator[Path]:
    """Where the copies of one test keep their files."""
    with tempfile.TemporaryDirectory(prefix="crosshall-run-") as folder:
        yield Path(folder)


@pytest.fixture(name="addresses")
def _addresses(demo: Demo) -> Addresses:
    """A free block of ports beside the running copy's."""
    return free_block(demo.addresses.port + 2000)


def start(folder: Path, port: int, *options: str) -> subprocess.Popen[bytes]:
    """`crosshall demo run`, as `make run` starts it at a terminal (where Ctrl-C is not ignored)."""
    return subprocess.Popen(
        [
            "env",
            "--default-signal=INT",
            sys.executable,
            "-m",
            "crosshall",
            "demo",
            "run",
            "--port",
            str(port),
            *options,
        ],
        env={**os.environ, "CROSSHALL_RUN": str(folder), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[bytes], seconds: float) -> str:
    """Everything it says until its end; fails when that does not come in time."""
    try:
        return process.communicate(timeout=seconds)[0].decode()
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise


def running(folder: Path) -> list[str]:
    """Processes that name the folder in their command line or their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes() + b"\0" + (entry / "environ").read_bytes()
        except (OSError, PermissionError):
            continue
        if str(folder).encode() in words:
            found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")[:120])
    return found


def nothing_left(folder: Path, addresses: Addresses) -> None:
    """No process of the copy is alive, and each of its ports is free."""
    assert running(folder) == []
    require_free(addresses)


def test_selfcheck(folder: Path, addresses: Addresses) -> None:
    """`make run SELFCHECK=1` on another port signs in, exits 0, and leaves no process and no listening port."""
    process = start(folder, addresses.port, "--selfcheck")
    _first_line(process)
    assert running(folder), "the search for processes finds nothing at all"
    text = finish(process, 120)
    assert process.returncode == 0, text
    assert "signed out once, out at both windows, at the archive and at the old system" in text
    assert "ready after" in text
    nothing_left(folder, addresses)


def test_interrupted_anywhere(folder: Path, addresses: Addresses) -> None:
    """Ctrl-C at three random moments: it says that it stops, nothing is left, and it can be started again at once."""
    moments = random.Random(SEED)
    for _ in range(3):
        after = moments.uniform(0.2, 5.0)
        process = start(folder, addresses.port)
        _interrupt(process, after)
        text = finish(process, 40)
        assert "Traceback" not in text, (SEED, after, text)
        nothing_left(folder, addresses)


def _first_line(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], 20)
    assert ready, "it said nothing"


def _interrupt(process: subprocess.Popen[bytes], seconds: float) -> None:
    """SIGINT `seconds` after the first line, so that Python's own start is not what is interrupted."""
    _first_line(process)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)


def test_a_port_in_use(demo: Demo, folder: Path) -> None:
    """A taken port is told by its code, at once, and the copy that has it is not disturbed."""
    started = time.monotonic()
    process = start(folder, demo.addresses.port, "--selfcheck")
    text = finish(process, 30)
    assert process.returncode not in (0, None)
    assert "run.port_taken" in text
    assert str(demo.addresses.port) in text
    assert "Traceback" not in text
    assert time.monotonic() - started < 20
    assert running(folder) == []
    assert demo.supervisor.dead() == []
