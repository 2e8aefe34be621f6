"""The SDK with the lowest and the newest versions of what it needs, on every Python ≥ 3.11 of this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = (
    "test_sign_in.py",
    "test_sign_out.py",
    "test_refresh.py",
    "test_tokens.py",
    "test_transport.py",
    "test_levels.py",
    "test_keys_and_shared.py",
    "test_other_providers.py",
    "test_proxy.py",
    "test_adapters.py",
    "test_stores.py",
)
"""What rests on the versions: signatures, HTTP, the adapters of every framework, stores."""


def pythons(uv: str) -> list[tuple[str, str]]:
    """(version, path) of each CPython ≥ 3.11 that is installed; of one minor version the newest."""
    listed = subprocess.run([uv, "python", "list", "--only-installed"], check=True, capture_output=True, text=True)
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    for line in listed.stdout.splitlines():
        match = re.match(r"cpython-(\d+)\.(\d+)\.(\d+)\S*\s+(\S+)", line)
        if match is None:
            continue
        version = tuple(int(part) for part in match.groups()[:3])
        minor = f"{version[0]}.{version[1]}"
        if version >= (3, 11) and (minor not in found or found[minor][0] < version):
            found[minor] = (version, match.group(4))
    return [(".".join(map(str, version)), path) for _, (version, path) in sorted(found.items())]


def versions(say: Callable[..., None]) -> bool:
    """True when the core of the SDK's tests passes in each environment; prints which, and what was installed."""
    uv = str(Path(sys.executable).parent / "uv")
    good = True
    for version, python in pythons(uv):
        for resolution in ("lowest-direct", "highest"):
            with tempfile.TemporaryDirectory() as name:
                good = _one(say, uv, (version, python), resolution, Path(name)) and good
    return good


def _one(say: Callable[..., None], uv: str, python: tuple[str, str], resolution: str, folder: Path) -> bool:
    environment = str(folder / "bin" / "python")
    subprocess.run([uv, "venv", "-q", "--allow-existing", "--python", python[1], str(folder)], check=True)
    extras = f"{ROOT / 'relying_party_sdk'}[django,fastapi,flask,proxy,redis,sql,starlette]"
    wanted = [extras, "pytest>=9.2", "httpx2>=2.16", "psycopg[binary]>=3.3"]
    install = [uv, "pip", "install", "-q", "--python", environment, "--resolution", resolution, *wanted]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        say(f"versions: Python {python[0]}, {resolution}: not installed", done.stderr[-1500:])
        return False
    listed = subprocess.run([uv, "pip", "freeze", "--python", environment], check=True, capture_output=True, text=True)
    direct = ("cryptography", "pyjwt", "urllib3", "flask", "django", "fastapi", "starlette", "redis", "sqlalchemy")
    chosen = [line for line in listed.stdout.split() if line.partition("==")[0].lower() in direct]
    work = folder / "work"  # away from the checkout: what is tested is what was installed
    for part in ("tests/unit/rp", "tests/parts", "docs", "config"):
        shutil.copytree(ROOT / part, work / part)
    options = work / "pytest.ini"
    options.write_text("[pytest]\npythonpath = .\naddopts = --import-mode=importlib\n")
    command = [environment, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(options)]
    command += [f"tests/unit/rp/{name}" for name in CORE]
    paths = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    ran = subprocess.run(command, cwd=work, env=paths, capture_output=True, text=True, check=False)
    last = (ran.stdout.strip() or ran.stderr.strip() or "nothing").splitlines()[-1]
    say(f"versions: Python {python[0]}, {resolution}: {last}", "  " + " ".join(chosen))
    if ran.returncode:
        said = [*ran.stdout.splitlines(), *ran.stderr.splitlines()]
        say(*[line for line in said if line.startswith(("E  ", "FAILED", "ERROR"))][:20])
    return ran.returncode == 0
