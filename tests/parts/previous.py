"""The previous release of this repository, out of git: its own code runs beside this version's."""

from __future__ import annotations

import os
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ca_bridge.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
RELEASES = ROOT / "config" / "releases.toml"


@dataclass(frozen=True, slots=True)
class Tree:
    """The sources of one version. Its code runs with this environment's packages: no `pip install`."""

    version: str
    root: Path

    def environment(self, **more: str) -> dict[str, str]:
        """Variables under which `python -m …` is this version."""
        kept = {name: value for name, value in os.environ.items() if name != "CROSSHALL_CONFIG"}
        return {**kept, "PYTHONPATH": str(self.root), **more}


THIS = Tree(VERSION, ROOT)


def git(*words: str) -> str:
    """What git says of this checkout; empty when it does not answer."""
    found = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    return found.stdout.strip() if found.returncode == 0 else ""


def previous() -> tuple[str, str]:
    """Version and commit of the newest release before this commit: its tag's, else the newest of `releases.toml`.

    Skips where there is no git at all (a tarball of the sources); fails where the clone has cut its history off.
    """
    if not git("rev-parse", "--git-dir"):
        pytest.skip("no git checkout: the previous release cannot be built")
    head = git("rev-parse", "HEAD")
    tags = git("tag", "--list", "v[0-9]*", "--merged", "HEAD", "--sort=-version:refname").splitlines()
    named = [(tag.removeprefix("v"), git("rev-parse", f"{tag}^{{commit}}")) for tag in tags]
    named += [(row["version"], row["commit"]) for row in _table(RELEASES)["release"]]
    version, commit = next((version, commit) for version, commit in named if commit != head)
    assert git("cat-file", "-t", commit) == "commit", (
        f"{version} is commit {commit}, which this clone does not hold: fetch the whole history (git fetch --unshallow)"
    )
    return version, commit


def build(folder: Path) -> Tree:
    """The previous release's tree in `folder`, with the metadata that an installation would give it."""
    version, commit = previous()
    archive = folder.with_suffix(".tar")
    archive.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "archive", "-o", archive, commit], cwd=ROOT, check=True, timeout=120)
    folder.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", folder], check=True, timeout=120)
    archive.unlink()
    # 0.1.0 reads its version from the environment, which would say what this checkout was installed as
    about = folder / f"crosshall-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: crosshall\nVersion: {version}\n", "utf-8")
    points = _table(folder / "pyproject.toml")["project"]["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in rows.items()) for group, rows in points.items()]
    (about / "entry_points.txt").write_text("\n".join(lines), "utf-8")
    return Tree(version, folder)


def _table(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8"))
