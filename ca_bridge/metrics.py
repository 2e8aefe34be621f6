"""What the workers of a bridge count: how sign-ins end, and the time of verdicts. No label says who anybody is.

The workers of one gunicorn share their counts by files when `PROMETHEUS_MULTIPROC_DIR` names a folder; without it each
counts by itself. The provider's `/metrics` hands them out.
"""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Histogram, multiprocess

from ca_bridge.errors import catalogue

DONE = "ok"
SHARED = "PROMETHEUS_MULTIPROC_DIR"
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2)
_OWN = CollectorRegistry()
SIGN_INS = Counter(
    "crosshall_sign_ins",
    "Sign-ins by way, stable code (ok: done) and rung",
    ("way", "code", "rung"),
    registry=_OWN,
)
VERDICT = Histogram("crosshall_verdict_seconds", "Time to judge one certificate", registry=_OWN, buckets=_BUCKETS)


def sign_in(way: str, code: str, rung: str) -> None:
    """Count how a sign-in ended, or was stopped; a code that the catalogue does not know counts as `other`."""
    SIGN_INS.labels(way, code if code == DONE or code in catalogue() else "other", rung).inc()


def counted() -> CollectorRegistry:
    """The counts of all workers, or of this one alone when none are shared."""
    if not os.environ.get(SHARED):
        return _OWN
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
