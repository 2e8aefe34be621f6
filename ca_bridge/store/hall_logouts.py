"""Sign-outs still to be told to other halls: kept until the hall answers, through days of a cut line."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa

from ca_bridge.store.items import Store
from ca_bridge.store.tables import hall_logouts

FIRST_RETRY_SECONDS = 2
LONGEST_RETRY_SECONDS = 30
"""So that a hall hears of everything within a minute of the line's return."""
GIVEN_UP = timedelta(days=30)
"""No session lives so long; a node that is away so long comes back by another ceremony."""
CLAIM_SECONDS = 20


@dataclass(frozen=True, slots=True)
class HallLogouts:
    """Sign-outs for one hall, told in one message."""

    node: str
    ids: tuple[str, ...]
    handles: tuple[str, ...] = field(repr=False)
    attempts: int
    """Of the one that was tried most often."""


class HallQueue:
    """The queue, as the sender sees it. Raises StoreError."""

    def __init__(self, store: Store) -> None:
        self._database = store.database
        self._box = store.box
        self._clock = store.clock

    def due(self, limit: int = 200) -> tuple[str, ...]:
        """Nodes for which something is due, the longest waiting first."""
        first = sa.func.min(hall_logouts.c.due)
        query = sa.select(hall_logouts.c.node).where(hall_logouts.c.due <= self._clock())
        with self._database.read() as connection:
            return tuple(connection.scalars(query.group_by(hall_logouts.c.node).order_by(first).limit(limit)))

    def claim(self, node: str, limit: int) -> HallLogouts | None:
        """What is due for `node`, oldest first, handed to one caller at a time, and again unless `sent`."""
        now = self._clock()
        with self._database.write() as connection:
            found = connection.execute(
                sa.select(hall_logouts)
                .where(hall_logouts.c.node == node, hall_logouts.c.due <= now)
                .order_by(hall_logouts.c.queued)
                .limit(limit)
                .with_for_update(skip_locked=True)
            ).all()
            if not found:
                return None
            ids = tuple(row.id for row in found)
            connection.execute(
                sa.update(hall_logouts)
                .where(hall_logouts.c.id.in_(ids))
                .values(attempts=hall_logouts.c.attempts + 1, due=now + timedelta(seconds=CLAIM_SECONDS))
            )
        handles = tuple(self._box.open(row.sealed, f"hall_logouts|{row.id}").decode() for row in found)
        return HallLogouts(node, ids, handles, 1 + max(row.attempts for row in found))

    def sent(self, ids: Collection[str]) -> None:
        """The hall has answered: done."""
        with self._database.write() as connection:
            connection.execute(sa.delete(hall_logouts).where(hall_logouts.c.id.in_(ids)))

    def failed(self, node: str, attempts: int) -> None:
        """The hall did not take it: all for it waits 2, 4, 8 … 30 seconds: one call probes a dead line."""
        wait = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(attempts - 1, 10))
        again = self._clock() + timedelta(seconds=wait)
        with self._database.write() as connection:
            connection.execute(sa.update(hall_logouts).where(hall_logouts.c.node == node).values(due=again))

    def purge(self, now: datetime) -> int:
        """Give up what is older than `GIVEN_UP`; returns how many."""
        with self._database.write() as connection:
            return connection.execute(sa.delete(hall_logouts).where(hall_logouts.c.queued < now - GIVEN_UP)).rowcount

    def waiting(self) -> int:
        """How many sign-outs are still to be told."""
        with self._database.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(hall_logouts)) or 0
