"""Which accreditations (CAs, outliving their keys) have proved a person.

A new CA's first certificate for a known person is held.
Design §5: held until proved by the earlier credential or an officer, unless the province names the two equivalent.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from ca_bridge.store.items import Store
from ca_bridge.store.tables import people, proofs


class Standing(StrEnum):
    """How an accreditation stands to a person."""

    FIRST = "first"
    """Nobody had proved this person before; this accreditation is now the first."""
    KNOWN = "known"
    """It proved this person before, or has been confirmed."""
    EQUIVALENT = "equivalent"
    """New for this person, but named equal to one that is known; known from now on. Tell the person."""
    HELD = "held"
    """New for this person: must be confirmed before it signs anybody in."""


class People:
    """What proved whom. Raises StoreError."""

    def __init__(self, store: Store) -> None:
        self._database = store.database
        self._clock = store.clock

    def prove(self, person: str, accreditation: str, equivalent: Iterable[str] = ()) -> Standing:
        """Record that `accreditation` has a certificate for `person`, and say how it stands.

        Of several sign-ins of one new person at once exactly one accreditation is `FIRST`, in all processes.
        `equivalent`: accreditations that the province names equal to this one for the identifier's type.
        """
        now = self._clock()
        with self._database.write() as connection:
            claim = self._database.insert(people).values(
                person=person, first_accreditation=accreditation, first_seen=now
            )
            first = connection.scalar(
                claim.on_conflict_do_nothing(index_elements=["person"]).returning(people.c.person)
            )
            if first is not None:
                self._add(connection, person, accreditation, confirmed_by="first")
                return Standing.FIRST
            # one decision at a time for one person (PostgreSQL; SQLite's writes are one after the other anyway)
            connection.execute(sa.select(people.c.person).where(people.c.person == person).with_for_update())
            known = self._confirmed(connection, person)
            if accreditation in known:
                return Standing.KNOWN
            if not known.isdisjoint(equivalent):
                self._add(connection, person, accreditation, confirmed_by="equivalent")
                return Standing.EQUIVALENT
            self._add(connection, person, accreditation, confirmed_by="")
            return Standing.HELD

    def confirm(self, person: str, accreditation: str, by: str) -> bool:
        """Confirm a held accreditation; False when none is held, or `by` may not.

        `by`: a confirmed accreditation of this person that was just proved, or `officer:<id>`.
        """
        with self._database.write() as connection:
            if not by.startswith("officer:") and by not in self._confirmed(connection, person):
                return False
            done = connection.execute(
                sa.update(proofs)
                .where(
                    proofs.c.person == person,
                    proofs.c.accreditation == accreditation,
                    proofs.c.confirmed.is_(None),
                )
                .values(confirmed=self._clock(), confirmed_by=by)
            )
        return done.rowcount == 1

    def first_seen(self, person: str) -> datetime | None:
        """When a certificate first named this person here (aware UTC); None for nobody."""
        with self._database.read() as connection:
            seen: datetime | None = connection.scalar(sa.select(people.c.first_seen).where(people.c.person == person))
        return seen

    def known(self, person: str) -> frozenset[str]:
        """Accreditations that may sign this person in."""
        with self._database.read() as connection:
            return self._confirmed(connection, person)

    def held(self, person: str) -> frozenset[str]:
        """Accreditations that wait for confirmation."""
        with self._database.read() as connection:
            found = sa.select(proofs.c.accreditation).where(proofs.c.person == person, proofs.c.confirmed.is_(None))
            return frozenset(connection.scalars(found))

    def newly_equal(self, person: str, accreditation: str, after: datetime) -> bool:
        """Whether `accreditation` was admitted as equal to a known one since `after` (aware UTC)."""
        with self._database.read() as connection:
            found = sa.select(proofs.c.person).where(
                proofs.c.person == person,
                proofs.c.accreditation == accreditation,
                proofs.c.confirmed_by == "equivalent",
                proofs.c.confirmed >= after,
            )
            return connection.scalar(found) is not None

    def _add(self, connection: sa.Connection, person: str, accreditation: str, *, confirmed_by: str) -> None:
        now = self._clock()
        insert = self._database.insert(proofs).values(
            person=person,
            accreditation=accreditation,
            since=now,
            confirmed=now if confirmed_by else None,
            confirmed_by=confirmed_by,
        )
        upsert = insert.on_conflict_do_update(
            index_elements=["person", "accreditation"],
            set_={"confirmed": insert.excluded.confirmed, "confirmed_by": insert.excluded.confirmed_by},
            where=proofs.c.confirmed.is_(None),
        )
        connection.execute(upsert)

    @staticmethod
    def _confirmed(connection: sa.Connection, person: str) -> frozenset[str]:
        found = sa.select(proofs.c.accreditation).where(proofs.c.person == person, proofs.c.confirmed.is_not(None))
        return frozenset(connection.scalars(found))
