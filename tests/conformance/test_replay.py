"""Verdicts of earlier versions, judged again by this one: none may differ.

The corpus in `tests/vectors/replay` holds the verdicts of the version that wrote it (`scripts/replay_corpus.py`). The
previous tag, when there is one, is built from git and judges the same people anew.
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


def previous_tag() -> str:
    """The newest tag before this commit; empty when there is none."""
    found = subprocess.run(
        ["git", "describe", "--tags", "--abbrev=0"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    return found.stdout.strip() if found.returncode == 0 else ""


def test_the_previous_tag_is_judged_as_it_was(tmp_path: Path) -> None:
    """The tag's own code, out of git, writes its verdicts of the demo's people; this version must agree."""
    tag = previous_tag()
    if not tag:
        pytest.skip("there is no tag yet: the recorded corpus alone stands for earlier versions")
    archive = tmp_path / "tag.tar"
    subprocess.run(["git", "archive", "-o", archive, tag], cwd=ROOT, check=True, timeout=120)
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "tag", filter="data")
    script = tmp_path / "tag" / "scripts" / "replay_corpus.py"
    if not script.exists():
        pytest.skip(f"{tag} is older than replay: the recorded corpus alone stands for it")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "tag"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("CROSSHALL_CONFIG", None)
    subprocess.run([sys.executable, script], env=environment, cwd=tmp_path / "tag", check=True, timeout=300)
    codes, wrong = differing(tmp_path / "tag" / "tests" / "vectors" / "replay")
    assert not wrong, "\n".join(wrong)
    assert codes["ok"] >= 10
