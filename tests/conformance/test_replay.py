"""Verdicts of earlier versions, judged again by this one: none may differ.

The corpus in `tests/vectors/replay` holds the verdicts of the version that wrote it (`scripts/replay_corpus.py`). The
previous tag – before the first one: the first commit that had replay – is taken out of git and judges the same people.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from ca_bridge.verdict.evidence import Evidence
from ca_bridge.verdict.replay import Outcome, replay

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests" / "vectors" / "replay"
SCRIPT = "scripts/replay_corpus.py"


def differing(folder: Path) -> tuple[Counter[str], list[str]]:
    """How many records each code has, and what is not the same."""
    evidence = Evidence(folder)
    found = [replay(line, evidence.key, evidence.of) for line in evidence.lines()]
    return Counter(f.code for f in found), [repr(f) for f in found if f.outcome is not Outcome.SAME]


def test_the_corpus_is_judged_as_it_was() -> None:
    """Every persona of the demo at three times: accepted ones and a dozen kinds of refusal."""
    codes, wrong = differing(CORPUS)
    assert not wrong, "\n".join(wrong)
    assert codes.total() >= 60
    assert codes["ok"] >= 10
    assert len(codes) >= 10


def git(*words: str, timeout: int = 120) -> str:
    """What git says of this checkout; empty when it does not answer."""
    found = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=timeout)
    return found.stdout.strip() if found.returncode == 0 else ""


def earlier_version() -> str:
    """The newest tag before this commit; without one, the first commit that had replay."""
    tag = git("describe", "--tags", "--abbrev=0", "HEAD^") or git("describe", "--tags", "--abbrev=0")
    if tag and git("cat-file", "-t", f"{tag}:{SCRIPT}"):
        return tag
    return git("log", "--diff-filter=A", "--format=%H", "--reverse", "--", SCRIPT).partition("\n")[0]


def test_an_earlier_version_is_judged_as_it_was(tmp_path: Path) -> None:
    """Its own code, out of git, writes its verdicts of the demo's people; this version must agree with each.

    Without the history (a tarball, a clone of the last commit only) there is nothing to build: said, and not passed
    over in CI, which must fetch it.
    """
    if not git("rev-parse", "--git-dir"):
        pytest.skip("no git checkout: the recorded corpus alone stands for earlier versions")
    version = earlier_version()
    shallow = git("rev-parse", "--is-shallow-repository") == "true"
    assert not (shallow and (not version or version == git("rev-parse", "HEAD"))), (
        "this clone is shallow, so no earlier version can be built: fetch the whole history (git fetch --unshallow)"
    )
    assert version, "the history holds no version that has replay"
    archive = tmp_path / "earlier.tar"
    subprocess.run(["git", "archive", "-o", archive, version], cwd=ROOT, check=True, timeout=120)
    earlier = tmp_path / "earlier"
    with tarfile.open(archive) as tar:
        tar.extractall(earlier, filter="data")
    environment = {**os.environ, "PYTHONPATH": str(earlier), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("CROSSHALL_CONFIG", None)
    subprocess.run([sys.executable, earlier / SCRIPT], env=environment, cwd=earlier, check=True, timeout=300)
    codes, wrong = differing(earlier / "tests" / "vectors" / "replay")
    assert not wrong, "\n".join(wrong)
    assert codes["ok"] >= 10
