"""K=filter: revocation as a Golomb-coded set: octets an entry, look-up time, and no false no over all entries."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime

from ca_bridge.revocation.filter import Source, build, read

_SOURCE = Source(b"k" * 32, b"c" * 32, 1, datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 6, 8, tzinfo=UTC))
OTHERS = 100_000


def run() -> None:
    """Print `bytes`, `rate` and `ratio` lines for CRLs of 3,000 and 30,000 entries (of 100,000 and 1,000,000)."""
    for name, revoked, issued in (("3k_of_100k", 3_000, 100_000), ("30k_of_1m", 30_000, 1_000_000)):
        chance = random.Random(1)
        serials = [chance.getrandbits(127) for _ in range(issued)]
        data = build(_SOURCE, serials[:revoked])
        started = time.process_time()
        found = read(data)
        loaded = time.process_time() - started
        missed = sum(not found.may_hold(serial) for serial in serials[:revoked])
        good = serials[revoked : revoked + OTHERS]
        started = time.process_time()
        needless = sum(map(found.may_hold, good))
        spent = time.process_time() - started
        print(f"bytes filter.{name} {len(data)}")
        print(f"ratio filter.{name}.octets_an_entry {len(data) / revoked:.3f}")
        print(f"ratio filter.{name}.false_no {missed}")
        print(f"ratio filter.{name}.needless_look_ups {needless / len(good):.6f}")
        print(f"rate filter.{name}.load {revoked / loaded:.0f} entries/s")
        print(f"rate filter.{name}.look_up {len(good) / spent:.0f} look-ups/s")
