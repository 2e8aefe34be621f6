"""Verdicts of earlier versions, judged again by this one: none may differ.

The corpus in `tests/vectors/replay` holds the verdicts of the version that wrote it (`scripts/replay_corpus.py`). The
previous release is taken out of git and judges the same people.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from ca_bridge.verdict.evidence import Evidence
from ca_bridge.verdict.replay import Outcome, replay
from tests.parts.previous import build

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


def test_an_earlier_version_is_judged_as_it_was(tmp_path: Path) -> None:
    """Its own code, out of git, writes its verdicts of the demo's people; this version must agree with each."""
    earlier = build(tmp_path / "earlier")
    environment = earlier.environment(XDG_CACHE_HOME=str(tmp_path / "cache"))
    subprocess.run([sys.executable, earlier.root / SCRIPT], env=environment, cwd=earlier.root, check=True, timeout=300)
    codes, wrong = differing(earlier.root / "tests" / "vectors" / "replay")
    assert not wrong, "\n".join(wrong)
    assert codes["ok"] >= 10
