"""The CRL itself, where a filter says that it may list a certificate (docs/adr/0009).

    judged as LISTED ─▶ a file in state/federation/wanted/ ─▶ the sync agent brings the CRL ─▶ the bundle holds it
                    └─▶ waits for that snapshot, 5 s at most ─▶ judged there as everything else

When it does not come the status stays unknown, and unknown never passes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from ca_bridge.ceremony.services import Answered
from ca_bridge.policy.trusted_time import TrustedTime
from ca_bridge.verdict.snapshot import Snapshot

SECONDS = 5.0
"""How long a sign-in waits for a CRL."""
REST = 30.0
"""How many seconds nobody waits after one did not come: a cut line must not hold every sign-in up, nor the watcher."""
PAUSE = 0.25
WANTED = "federation/wanted"
"""Below `state`: empty files named by the SHA-256 of CRLs."""
_log = logging.getLogger(__name__)


class WholeCrls:
    """Finds the snapshot that holds the CRLs which a leaf must be looked up in. Thread safe."""

    def __init__(
        self,
        folder: Path,
        current: Callable[[], Snapshot],
        trusted: Callable[[], TrustedTime],
        *,
        ticks: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`folder`: where wishes are written (`WANTED`); `current`: the snapshot in force."""
        self._folder = folder
        self._current = current
        self._trusted = trusted
        self._ticks = ticks
        self._sleep = sleep
        self._rests_until = 0.0

    def __call__(self, snapshot: Snapshot, leaf: bytes, at: datetime | None = None) -> Snapshot:
        """`snapshot`, or the newest one when `leaf` (DER) cannot be judged under it without a CRL that is not at hand.

        `at`: aware; None: trusted now. Raises PathError `trust.bundle`; nothing for a CRL that does not come.
        """
        wanted = self._wanted(snapshot, leaf, at)
        if not wanted:
            return snapshot
        self._wish(wanted)
        ends = self._ticks() + SECONDS
        while True:
            newest = self._current()
            still = self._wanted(newest, leaf, at) if newest.hash != snapshot.hash else wanted
            if not still or self._ticks() < self._rests_until:
                break
            if self._ticks() >= ends:
                self._rests_until = self._ticks() + REST
                break
            if not still <= wanted:
                self._wish(still)
            self._sleep(PAUSE)
        return newest

    def beside(self, answered: Answered) -> Answered:
        """`answered`, under the snapshot that holds the CRLs."""

        def both(snapshot: Snapshot, leaf: bytes, *, ask: bool = True) -> Snapshot:
            return answered(self(snapshot, leaf), leaf, ask=ask)

        return both

    def _wanted(self, snapshot: Snapshot, leaf: bytes, at: datetime | None) -> frozenset[str]:
        time = self._trusted()
        if not snapshot.compiled.book.compact or time.code:
            return frozenset()
        verdict = snapshot.judge(leaf, at or time.now)
        return frozenset() if verdict.accepted else frozenset(r.wanted for r in verdict.refusals if r.wanted)

    def _wish(self, wanted: frozenset[str]) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for name in wanted:
                (self._folder / name).touch()
        except OSError as error:
            _log.error("a CRL cannot be asked for", extra={"code": "revocation.unknown", "error": error.strerror})
