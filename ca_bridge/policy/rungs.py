"""The offline ladder (design §6): how old a node's trust data is, and what that still allows."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum


class Rung(StrEnum):
    """A step of the ladder, the best first. Windows enforce `day` for each matter; levels fall from `days` on."""

    FRESH = "fresh"
    NEAR = "near"
    DAY = "day"
    DAYS = "days"
    CLOSED = "closed"


LIMITS = (
    (Rung.FRESH, timedelta(minutes=15)),
    (Rung.NEAR, timedelta(hours=4)),
    (Rung.DAY, timedelta(hours=24)),
    (Rung.DAYS, timedelta(hours=72)),
)
"""The greatest age of each rung."""
CEILINGS = {Rung.FRESH: 4, Rung.NEAR: 4, Rung.DAY: 4, Rung.DAYS: 2, Rung.CLOSED: 0}
"""The highest level on each rung; 0: nobody signs in."""
SKEW = timedelta(seconds=60)
"""Ours: how far `issued` may lie ahead of the node's clock."""


def rung_of(age: timedelta) -> Rung:
    """The rung of a node whose trust data is `age` old (trusted now − `issued`).

    Data from more than 60 s ahead is `closed`: a clock that runs behind would make stale data look fresh.
    """
    if age < -SKEW:
        return Rung.CLOSED
    return next((rung for rung, limit in LIMITS if age <= limit), Rung.CLOSED)


def worst(one: Rung, other: Rung) -> Rung:
    """The lower of two rungs."""
    order = list(Rung)
    return max(one, other, key=order.index)
