"""The offline ladder (design §6): how old a node's trust data is, and what that still allows."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from ca_bridge.errors import PolicyDenied
from ca_bridge.trust.rules import Offline
from ca_bridge.types import Verdict


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


def lower(rung: Rung) -> Rung:
    """The next rung down; `closed` stays."""
    order = list(Rung)
    return order[min(order.index(rung) + 1, len(order) - 1)]


def across_border(verdict: Verdict, offline: Offline, root: str) -> bool:
    """Whether an accepted certificate is a foreign one: by a trust list, or of a domain outside the federation.

    `root`: the federation's own domain, which counts when the province names no `home`.
    """
    home = offline.home or (root,)
    inside = any(verdict.domain == one or verdict.domain.startswith(f"{one}/") for one in home)
    return verdict.engine == "list" or not inside


def admit(verdict: Verdict, rung: Rung | str, offline: Offline, root: str) -> None:
    """Returns when the rung lets this certificate sign in at all; the level's ceiling is `levels.decide`'s.

    Raises PolicyDenied `policy.offline` (closed: nobody), `policy.offline_border` (from `day` down no certificate from
    across the border, or from the rung that policy.toml names). ValueError for an unknown rung.
    """
    order, now = list(Rung), Rung(rung)
    if now is Rung.CLOSED:
        raise PolicyDenied("policy.offline", "the offline ladder is closed", reached=0)
    if order.index(now) > order.index(Rung(offline.border)) and across_border(verdict, offline, root):
        raise PolicyDenied("policy.offline_border", f"{verdict.domain} at {now}, allowed down to {offline.border}")
