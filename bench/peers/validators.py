"""The peers of K=validation: built into the cache when their source changed, run as processes that answer rounds."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Self

_HERE = Path(__file__).parent
KINDS = {
    "pyhanko": ("ecdsa-p256", "rsa-2048"),
    "go": ("ecdsa-p256", "rsa-2048"),
    "openssl": ("ecdsa-p256", "rsa-2048", "sm2"),
}
"""Which algorithms each peer knows."""


class MissingToolError(Exception):
    """A compiler or library that a peer needs is not on this machine; the text says what to install."""


class Peer:
    """One running peer on one chain's folder."""

    def __init__(self, name: str, kind: str, folder: Path) -> None:
        self._name = name
        self._process = subprocess.Popen(
            [*_command(name), str(folder), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_HERE.parent.parent,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def round(self) -> float:
        """CPU seconds of one leaf, in one round over all of them. Raises RuntimeError when the peer has died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().split()
        if len(answer) != 2:
            raise RuntimeError(f"the peer {self._name} died; see above")
        return float(answer[1]) / int(answer[0])


@dataclass(frozen=True, slots=True)
class Share:
    """What a peer found: share of the leaves, CPU seconds of one leaf."""

    share: float
    seconds: float


def found_by(name: str, folder: Path, limit: float) -> Share | None:
    """One round of a peer that counts what it finds a path for; None when `limit` seconds were not enough.

    Raises RuntimeError when the peer has died.
    """
    leaves = (folder / "leaves.pem").read_text().count("BEGIN CERTIFICATE")
    command = [*_command(name), str(folder), "ecdsa-p256", "found"]
    try:
        done = subprocess.run(command, input="\n", capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return None
    answer = done.stdout.split()
    if done.returncode or len(answer) != 2:
        raise RuntimeError(f"the peer {name} died: {done.stderr[-500:]}")
    return Share(int(answer[0]) / leaves, float(answer[1]) / leaves)


def peers_of(kind: str) -> tuple[str, ...]:
    """Names of the peers that know an algorithm."""
    return tuple(name for name, kinds in KINDS.items() if kind in kinds)


def describe() -> str:
    """The peers' versions."""
    go = subprocess.run([_tool("go", "Go 1.21 or newer"), "version"], capture_output=True, text=True, check=True)
    openssl = subprocess.run([*_command("openssl"), "version"], capture_output=True, text=True, check=True)
    return f"{go.stdout.strip()}; {openssl.stdout.strip()}; pyhanko-certvalidator {version('pyhanko-certvalidator')}"


def _command(name: str) -> list[str]:
    if name == "pyhanko":
        return [sys.executable, "-m", "bench.peers.pyhanko"]
    return [str(_built(name))]


def _built(name: str) -> Path:
    """The peer's program, built when there is none of this source yet."""
    source = _HERE / "go" if name == "go" else _HERE / "openssl.c"
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    mark = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
    target = _cache() / f"{name}-{mark}"
    if not target.exists():
        fresh = target.with_suffix(f".{os.getpid()}")
        _build(name, source, fresh)
        fresh.replace(target)
    return target


def _build(name: str, source: Path, target: Path) -> None:
    if name == "go":
        _run([_tool("go", "Go 1.21 or newer (package golang-go)"), "build", "-o", str(target), "."], source)
    else:
        compiler = _tool("cc", "a C compiler (package gcc)")
        _run([compiler, "-O2", "-o", str(target), str(source), "-lcrypto"], source.parent)


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        hint = "; install libssl-dev" if "openssl/" in done.stderr else ""
        raise MissingToolError(f"{' '.join(command)} failed{hint}:\n{done.stderr}")


def _tool(name: str, what: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/local/go/bin:/usr/lib/go/bin")
    if found is None:
        raise MissingToolError(f"{name} is not on this machine: install {what}; no peer is skipped silently")
    return found


def _cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crosshall" / "bench"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder
