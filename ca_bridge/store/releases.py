"""Every release of attributes is recorded before it is answered: whose, to whom, which, when – never the values."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from ca_bridge.store.items import Store
from ca_bridge.store.tables import releases

KEPT_DAYS = 183
"""At least six months (design §8)."""


@dataclass(frozen=True, slots=True)
class Release:
    """One release that took place."""

    person: str
    window: str
    attributes: tuple[str, ...]
    at: datetime


class Releases:
    """The record of releases. Raises StoreError: then nothing may be released."""

    def __init__(self, store: Store) -> None:
        self._database = store.database
        self._clock = store.clock

    def record(self, person: str, window: str, attributes: tuple[str, ...]) -> None:
        """Record that `window` receives these attributes of `person` now."""
        with self._database.write() as connection:
            connection.execute(
                sa.insert(releases).values(
                    id=secrets.token_hex(16),
                    person=person,
                    window=window,
                    attributes=",".join(attributes),
                    at=self._clock(),
                )
            )

    def of(self, person: str) -> tuple[Release, ...]:
        """Releases of one person, oldest first."""
        query = sa.select(releases).where(releases.c.person == person).order_by(releases.c.at, releases.c.id)
        with self._database.read() as connection:
            return tuple(
                Release(row.person, row.window, tuple(filter(None, row.attributes.split(","))), row.at)
                for row in connection.execute(query)
            )

    def purge(self, now: datetime) -> int:
        """Remove what is older than `KEPT_DAYS`; returns how many."""
        with self._database.write() as connection:
            return connection.execute(
                sa.delete(releases).where(releases.c.at < now - timedelta(days=KEPT_DAYS))
            ).rowcount
