"""Logouts still to be told to Keycloak: queued in the transaction that ends the session, told until it answers."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from ca_bridge.store.items import Store
from ca_bridge.store.tables import logouts

FIRST_RETRY_SECONDS = 2
LONGEST_RETRY_SECONDS = 30
GIVEN_UP = timedelta(days=2)
"""Longer than any session of the realm may last."""
CLAIM_SECONDS = 10
"""A worker that took a logout has so long to tell it before another may try."""


@dataclass(frozen=True, slots=True)
class PendingLogout:
    """One logout still to be told: of one session, or (`sid` empty) of all the person's."""

    id: str
    person: str
    sid: str
    reason: str
    queued: datetime
    attempts: int


def queue(connection: sa.Connection, person: str, sid: str, reason: str, now: datetime) -> None:
    """Queue a logout inside the caller's transaction. One of all a person's sessions swallows the same again."""
    if not sid and connection.scalar(
        sa.select(logouts.c.id).where(logouts.c.person == person, logouts.c.sid == "", logouts.c.attempts == 0)
    ):
        return
    connection.execute(
        sa.insert(logouts).values(
            id=secrets.token_hex(16), person=person, sid=sid, reason=reason, queued=now, due=now, attempts=0
        )
    )


class Logouts:
    """The queue, as the sender sees it. Raises StoreError."""

    def __init__(self, store: Store) -> None:
        self._database = store.database
        self._clock = store.clock

    def claim(self, limit: int = 50) -> tuple[PendingLogout, ...]:
        """Logouts that are due, oldest first; each is handed to one caller at a time, and again unless `sent`.

        Again and again until `GIVEN_UP`: a session that was ended must end at Keycloak.
        """
        now = self._clock()
        with self._database.write() as connection:
            found = connection.execute(
                sa.select(logouts)
                .where(logouts.c.due <= now)
                .order_by(logouts.c.queued)
                .limit(limit)
                .with_for_update(skip_locked=True)
            ).all()
            connection.execute(
                sa.update(logouts)
                .where(logouts.c.id.in_([row.id for row in found]))
                .values(attempts=logouts.c.attempts + 1, due=now + timedelta(seconds=CLAIM_SECONDS))
            )
        return tuple(
            PendingLogout(row.id, row.person, row.sid, row.reason, row.queued, row.attempts + 1) for row in found
        )

    def sent(self, logout_id: str) -> None:
        """Keycloak has answered: the logout is done."""
        with self._database.write() as connection:
            connection.execute(sa.delete(logouts).where(logouts.c.id == logout_id))

    def failed(self, logout: PendingLogout) -> None:
        """Keycloak did not take it: due again after 2, 4, 8 … 30 seconds."""
        wait = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(logout.attempts - 1, 10))
        with self._database.write() as connection:
            connection.execute(
                sa.update(logouts).where(logouts.c.id == logout.id).values(due=self._clock() + timedelta(seconds=wait))
            )

    def purge(self, now: datetime) -> int:
        """Give up logouts older than `GIVEN_UP`: by then Keycloak's own session is over; returns how many."""
        with self._database.write() as connection:
            return connection.execute(sa.delete(logouts).where(logouts.c.queued < now - GIVEN_UP)).rowcount

    def waiting(self) -> int:
        """How many logouts are still to be told."""
        with self._database.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(logouts)) or 0
