"""The supervisor stops what it started, tells why a part did not start, and leaves nothing behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ca_bridge.errors import ConfigError
from crosshall.supervisor import Part, Supervisor


@pytest.fixture(name="supervisor")
def _supervisor(tmp_path: Path) -> Supervisor:
    return Supervisor(tmp_path / "logs", lambda _: None)


def alive(pid: int) -> bool:
    """Whether a process of that id runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_part_runs_until_it_is_stopped(supervisor: Supervisor, tmp_path: Path) -> None:
    """Ready when its probe says so; gone, with its children, when stopped."""
    flag = tmp_path / "child"
    supervisor.start(
        Part("p", ("sh", "-c", f"sleep 1000 & echo $! >{flag}; wait"), lambda: bool(flag.exists() and flag.read_text()))
    )
    child = int(flag.read_text())
    assert alive(child)
    supervisor.stop_all()
    assert not alive(child)


def test_a_part_that_dies_is_told_with_its_last_words(supervisor: Supervisor) -> None:
    """`run.part_died` carries the end of the part's log."""
    with pytest.raises(ConfigError) as caught:
        supervisor.start(Part("p", ("sh", "-c", "echo no space left; exit 7"), lambda: False))
    assert caught.value.code == "run.part_died"
    assert "no space left" in caught.value.detail
    supervisor.stop_all()


def test_a_part_that_is_never_ready_is_told(supervisor: Supervisor) -> None:
    """`run.part_slow` after the part's own time."""
    with pytest.raises(ConfigError) as caught:
        supervisor.start(Part("p", ("sleep", "1000"), lambda: False, start_seconds=0.2))
    assert caught.value.code == "run.part_slow"
    supervisor.stop_all()


def test_a_stubborn_part_is_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    """A part that ignores TERM is killed after its time."""
    flag = tmp_path / "up"
    supervisor.start(
        Part("p", ("sh", "-c", f"trap '' TERM; touch {flag}; while :; do sleep 1; done"), flag.exists, stop_seconds=0.2)
    )
    pid = supervisor.pid("p")
    supervisor.stop_all()
    assert not alive(pid)


def test_parts_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    """`kill -9` of the supervisor leaves no part behind."""
    flag = tmp_path / "pid"
    program = (
        "import sys, time, pathlib; from crosshall.supervisor import *\n"
        f"s = Supervisor(pathlib.Path({str(tmp_path)!r}), print)\n"
        f"flag = pathlib.Path({str(flag)!r})\n"
        "ready = lambda: flag.exists() and flag.read_text()\n"
        "s.start(Part('p', ('sh', '-c', f'echo $$ >{flag}; exec sleep 1000'), ready))\n"
        "print('up', flush=True); time.sleep(1000)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    pid = int(flag.read_text())
    descriptor = os.pidfd_open(pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    ready, _, _ = select.select([descriptor], [], [], 10)
    os.close(descriptor)
    assert ready, "the part is still running"
