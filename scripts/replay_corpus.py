"""Makes `tests/vectors/replay` anew: this version's verdicts of every persona of the demo, for later versions to meet.

`python scripts/replay_corpus.py` – only when the format of records changes, or a verdict is meant to change (say why in
the commit). Everybody in it is invented; the keys lie beside the records, so that they can be replayed.
"""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ca_bridge.asn1.certificate import pem_blocks
from ca_bridge.verdict.evidence import Evidence
from demo import pki
from demo.addresses import Addresses
from demo.personas import personas

TARGET = Path(__file__).resolve().parent.parent / "tests" / "vectors" / "replay"
LATER = (timedelta(minutes=1), timedelta(days=4), timedelta(days=4000))
"""When each is judged: at once, with stale CRLs, and long after the certificates have ended."""


def make(target: Path) -> int:
    """Write the corpus to `target`; returns how many records."""
    count = 0
    now = datetime.now(UTC).replace(microsecond=0)
    with tempfile.TemporaryDirectory() as folder:
        run = pki.materialise(Path(folder) / "run", Addresses(9443), now)
        evidence = Evidence(Path(folder) / "evidence")
        snapshot = evidence.snapshot(*evidence.archive(run.bundle))
        for persona in personas():
            leaf = pem_blocks(persona.files(run.folder).certificate.read_bytes(), "CERTIFICATE")[0]
            for later in LATER:
                verdict = snapshot.judge(leaf, now + later)
                evidence.keep(snapshot, leaf, verdict, secrets.token_bytes)
                count += 1
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(evidence.folder, target, ignore=shutil.ignore_patterns("objects", ".lock"))
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return count


if __name__ == "__main__":
    sys.stdout.write(f"{make(TARGET)} records in {TARGET}\n")
