"""Brings a machine to where `make run` and `make test` work: Debian packages and the `.venv`.

Runs on the bare system's Python (3.11 or newer), standard library only. Says what it does, does nothing twice, and
may be interrupted anywhere: the next run goes on from there. Packages are installed when this user may; else they are
listed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PACKAGES = {
    "setup": (),
    "run": ("nginx", "softhsm2", "openjdk-17-jre-headless", "maven"),
    "test": (
        "nginx", "softhsm2", "openjdk-17-jre-headless", "maven", "postgresql", "chromium", "fonts-noto-cjk",
        "libnss3-tools", "libatomic1", "iproute2", "openssl", "redis-server",
    ),
    "chaos": ("nginx", "softhsm2", "openjdk-17-jre-headless", "maven", "iproute2", "nftables", "gcc", "libc6-dev"),
}  # fmt: skip
NO_SERVICES = Path("/usr/sbin/policy-rc.d")


def say(text: str) -> None:
    """One line of progress, at once."""
    print(text, flush=True)


def main() -> int:
    """Set up for `setup`, `run` or `test` (the argument); exit code 0, or 3 with a list of packages to install."""
    purpose = sys.argv[1] if len(sys.argv) > 1 else "setup"
    if sys.version_info < (3, 11):
        say(f"setup: Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
        return 3
    missing = [name for name in PACKAGES[purpose] if not installed(name)]
    if missing and not install(missing):
        say("setup: these Debian packages are missing and this user may not install them. Please run:")
        say(f"    sudo apt-get install --no-install-recommends {' '.join(missing)}")
        return 3
    with locked(ROOT / ".cache" / "setup.lock"):
        environment()
    return 0


def installed(package: str) -> bool:
    """Whether dpkg has the package, configured."""
    answer = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status}", package], capture_output=True, text=True, check=False
    )
    return answer.returncode == 0 and answer.stdout == "installed"


def install(packages: list[str]) -> bool:
    """Install with apt-get when this user may (root, or sudo that asks nothing); False when not."""
    prefix: list[str] = []
    if os.geteuid() != 0:
        if (
            not shutil.which("sudo")
            or subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode
        ):
            return False
        prefix = ["sudo", "-n"]
    say(f"setup: installing Debian packages (about a minute): {' '.join(packages)}")
    started = time.monotonic()
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-qq", "-o", "Dpkg::Use-Pty=0"]
    with no_services(prefix), Path(os.devnull).open("w") as quiet:
        for step in (["update"], ["install", "--no-install-recommends", *packages]):
            done = subprocess.run([*apt, *step], stdout=quiet, stderr=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                say(f"setup: apt-get {step[0]} failed:\n{done.stderr}")
                return False
    say(f"setup: packages installed in {time.monotonic() - started:.0f} s")
    return True


@contextlib.contextmanager
def no_services(prefix: list[str]) -> Iterator[None]:
    """Keep packages from starting their services: Crosshall starts its own, on its own ports and folders."""
    if NO_SERVICES.exists():
        yield
        return
    subprocess.run(
        [*prefix, "sh", "-c", f"printf '#!/bin/sh\\nexit 101\\n' >{NO_SERVICES}; chmod 755 {NO_SERVICES}"], check=True
    )
    try:
        yield
    finally:
        subprocess.run([*prefix, "rm", "-f", str(NO_SERVICES)], check=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file lock, so that two commands in one checkout do not set it up at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def environment() -> None:
    """The `.venv` of exactly what the lock names, and both distributions installed from the checkout."""
    wanted = hashlib.sha256(sys.version.encode())
    for name in (
        "requirements/bootstrap.lock",
        "requirements/dev.lock",
        "pyproject.toml",
        "relying_party_sdk/pyproject.toml",
    ):
        wanted.update((ROOT / name).read_bytes())
    stamp = VENV / "setup.stamp"
    if stamp.is_file() and stamp.read_text() == wanted.hexdigest():
        return
    say("setup: Python environment in .venv (half a minute the first time)")
    stamp.unlink(missing_ok=True)
    python = VENV / "bin" / "python"
    if (
        not python.exists()
        or subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode
    ):
        shutil.rmtree(VENV, ignore_errors=True)
        run([sys.executable, "-m", "venv", VENV])
    run(
        [
            python,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "--require-hashes",
            "-r",
            "requirements/bootstrap.lock",
        ]
    )
    uv = [VENV / "bin" / "uv", "pip"]
    run([*uv, "sync", "-q", "--python", python, "--require-hashes", "requirements/dev.lock"])
    run(
        [
            *uv,
            "install",
            "-q",
            "--python",
            python,
            "--no-deps",
            "--no-build-isolation",
            "-e",
            ".",
            "-e",
            "relying_party_sdk",
        ]
    )
    stamp.write_text(wanted.hexdigest())


def run(command: list[str | Path]) -> None:
    """Run a step; what it printed is shown only when it fails."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        say(done.stdout)
        say(f"setup: failed: {' '.join(map(str, command))}")
        raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main())
