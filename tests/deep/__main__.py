"""`make deep`: 10,000 chains against pyhanko, 10,000 leaves through both engines, 10⁶ executions of each fuzz target.

`python -m tests.deep [differential|engines|fuzz …]`; every figure is printed, and anything unexplained is exit code 1.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.deep.differential import report
from tests.deep.engines import compare
from tests.deep.targets import TARGETS

SEED = 1
CORPUS = Path(__file__).parent / "corpus"
EXECUTIONS = 1_000_000


def say(*lines: str) -> None:
    """Lines on standard output, at once."""
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def differential() -> bool:
    """Ten thousand generated chains."""
    found = report(SEED, range(10_000))
    say(str(found))
    enough = found.valid >= 4_000 and not found.rare(200)
    return enough and not found.unexplained


def engines() -> bool:
    """Ten thousand leaves under 200 random bundles."""
    with tempfile.TemporaryDirectory() as folder:
        found = compare(SEED, range(200), 50, Path(folder))
    say(f"leaves {found.accepted + found.refused}, accepted {found.accepted}, codes {dict(found.codes)}")
    say(f"refused by the compiled engine alone, CRL signers held to the bundle's inputs: {found.stricter}")
    say(f"disagreements: {len(found.disagreements)}", *found.disagreements[:20])
    return not found.disagreements and found.stricter <= 50


def fuzz() -> bool:
    """A million executions of each target; what breaks one is left in `.cache/fuzz/`."""
    good = True
    for name in TARGETS:
        found = Path(".cache/fuzz") / name
        found.mkdir(parents=True, exist_ok=True)
        options = [f"-runs={EXECUTIONS}", "-timeout=20", f"-artifact_prefix={found}-"]
        command = [sys.executable, "-m", "tests.deep.fuzz", name, str(found), str(CORPUS / name), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        figures = [line for line in done.stderr.splitlines() if line.startswith("stat::") or "DONE" in line]
        say(f"fuzz {name}: exit code {done.returncode}", *figures)
        good = good and done.returncode == 0
        if done.returncode:
            say(done.stdout[-3000:], done.stderr[-1500:])
    return good


def main() -> int:
    """Run the parts that are named, or all."""
    good = True
    for part in (differential, engines, fuzz):
        if len(sys.argv) == 1 or part.__name__ in sys.argv[1:]:
            started = time.monotonic()
            good = part() and good
            say(f"{part.__name__}: {time.monotonic() - started:.0f} s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
