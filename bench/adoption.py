"""What adopting costs: lines of the same window with each library, and packages in a fresh environment.

Lines: those with code, without blank ones, comments and docstrings. Packages: `uv pip install` of the library with the
framework's extra into an empty venv, everything counted but the framework's own; needs the package index.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tempfile
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "bench" / "peers" / "adoption"
WINDOWS: dict[str, tuple[str, str]] = {
    "crosshall_flask": ("flask", "crosshall-rp"),
    "crosshall_django": ("django", "crosshall-rp"),
    "crosshall_fastapi": ("fastapi", "crosshall-rp"),
    "authlib_flask": ("flask", "authlib requests"),
    "flask_oidc": ("flask", "flask-oidc"),
    "mozilla_django": ("django", "mozilla-django-oidc"),
}
_QUIET = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING)


def lines(source: str) -> int:
    """Lines that hold code."""
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in (*_QUIET, tokenize.ENDMARKER):
            found |= set(range(token.start[0], token.end[0] + 1))
    return len(found)


def packages(what: list[str]) -> set[str]:
    """Names installed in an empty environment."""
    folder = Path(tempfile.mkdtemp(prefix="adoption-"))
    uv = str(Path(sys.executable).parent / "uv")
    try:
        python = str(folder / "venv" / "bin" / "python")
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(folder / "venv")], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", python, *what], check=True)
        listed = subprocess.run(
            [uv, "pip", "list", "--format", "json", "--python", python], check=True, capture_output=True, text=True
        )
        return {row["name"].lower() for row in json.loads(listed.stdout)}
    finally:
        shutil.rmtree(folder)


def run() -> None:
    """Prints `lines NAME VALUE` and `packages NAME VALUE` (beyond the framework)."""
    frameworks = {name: packages([name]) for name in sorted({row[0] for row in WINDOWS.values()})}
    for name, (framework, what) in WINDOWS.items():
        own = what == "crosshall-rp"
        wanted = [str(ROOT / "relying_party_sdk")] if own else what.split()
        more = packages([framework, *wanted]) - frameworks[framework]
        files = [*(PEERS / name).glob("*.py")] or [PEERS / f"{name}.py"]
        print(f"lines {name} {sum(lines(file.read_text('utf-8')) for file in files)}")
        print(f"packages {name} {len(more)}  {' '.join(sorted(more))}", flush=True)
