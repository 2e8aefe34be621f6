"""Trusted time in a test's hand: fresh by the test's clock until the test moves down the ladder."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from ca_bridge.policy.rungs import Rung, rung_of
from ca_bridge.policy.trusted_time import TrustedTime


class Ladder:
    """`Services.trusted` of a test."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.age = timedelta(0)
        self.ahead = timedelta(0)
        """Of trusted now before the machine's clock."""
        self.code = ""

    def __call__(self) -> TrustedTime:
        now = self.clock() + self.ahead
        if self.code:
            return TrustedTime(now, timedelta.max, Rung.CLOSED, self.code)
        return TrustedTime(now, self.age, rung_of(self.age))

    def cut(self, **since: float) -> None:
        """The line has been cut for so long (`hours=5`)."""
        self.age = timedelta(**since)

    def back(self) -> None:
        """The line is back."""
        self.age = timedelta(0)
