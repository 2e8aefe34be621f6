"""`make deep`: 10,000 chains against pyhanko, 10,000 leaves through both engines, 10⁶ executions of each fuzz target.

`python -m tests.deep [differential|engines|fuzz|refresh|versions …] [PERCENT%]`; every figure is printed; anything
unexplained is exit code 1. With `10%` a tenth of each is run, for a busy machine; the rules stay.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.deep import versions as versions_of_sdk
from tests.deep.differential import report
from tests.deep.engines import compare
from tests.deep.targets import TARGETS
from tests.parts.kill import run
from tests.parts.postgres import postgres
from tests.parts.redis import redis_server

SEED = 1
CORPUS = Path(__file__).parent / "corpus"
EXECUTIONS = 1_000_000
CHAINS = 10_000
BUNDLES = 200


def say(*lines: str) -> None:
    """Lines on standard output, at once."""
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def differential(share: float) -> bool:
    """Ten thousand generated chains, or a share of them."""
    count = int(CHAINS * share)
    found = report(SEED, range(count))
    say(str(found))
    enough = found.valid >= count * 2 // 5 and not found.rare(int(200 * share))
    return enough and not found.unexplained


def engines(share: float) -> bool:
    """Ten thousand leaves under 200 random bundles, or a share of them."""
    with tempfile.TemporaryDirectory() as folder:
        found = compare(SEED, range(int(BUNDLES * share)), 50, Path(folder))
    say(f"leaves {found.accepted + found.refused}, accepted {found.accepted}, codes {dict(found.codes)}")
    say(f"refused by the compiled engine alone, CRL signers held to the bundle's inputs: {found.stricter}")
    say(f"disagreements: {len(found.disagreements)}", *found.disagreements[:20])
    return not found.disagreements and found.stricter <= 50


def fuzz(share: float) -> bool:
    """A million executions, or a share of them, of each target; what breaks one is left in `.cache/fuzz/`."""
    good = True
    for name in TARGETS:
        found = Path(".cache/fuzz") / name
        found.mkdir(parents=True, exist_ok=True)
        options = [f"-runs={int(EXECUTIONS * share)}", "-timeout=20", f"-artifact_prefix={found}-"]
        command = [sys.executable, "-m", "tests.deep.fuzz", name, str(found), str(CORPUS / name), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        figures = [line for line in done.stderr.splitlines() if line.startswith("stat::") or "DONE" in line]
        say(f"fuzz {name}: exit code {done.returncode}", *figures)
        good = good and done.returncode == 0
        if done.returncode:
            say(done.stdout[-3000:], done.stderr[-1500:])
    return good


def refresh(share: float) -> bool:
    """200 sessions at two workers, one of them killed in the middle of refreshes, 20 times; on each kind of store."""
    good, rounds = True, max(2, int(20 * share))
    with (
        tempfile.TemporaryDirectory() as name,
        redis_server() as server,
        postgres() as cluster,
        cluster.database("window") as url,
    ):
        for kind, store in (("sqlite", ""), ("postgresql", url), ("redis", server.url)):
            folder = Path(name) / kind
            folder.mkdir()
            found = run(store or f"sqlite:{folder / 'store.sqlite'}", folder, sessions=200, rounds=rounds)
            say(f"refresh {kind}: {found}")
            good = good and found.signed_out == found.spent_twice == 0 < found.killed_in_flight
    return good


def versions(_: float) -> bool:
    """The SDK with the lowest and the newest of what it needs, on every Python of this machine; always whole."""
    return versions_of_sdk.versions(say)


def main() -> int:
    """Run the parts that are named, or all."""
    named = [word for word in sys.argv[1:] if not word.endswith("%")]
    shares = [int(word[:-1]) / 100 for word in sys.argv[1:] if word.endswith("%")]
    good = True
    for part in (differential, engines, fuzz, refresh, versions):
        if not named or part.__name__ in named:
            started = time.monotonic()
            good = part(shares[0] if shares else 1.0) and good
            say(f"{part.__name__}: {time.monotonic() - started:.0f} s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
