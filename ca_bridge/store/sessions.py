"""Who is signed in at the bridge. One browser session keeps one `sid` for one person; ending one queues its logout.

The cookie's secret is kept as SHA-256. The holder (leaf certificate and `Identity`) is sealed under a data key
of the session, itself sealed under `state/keys/attributes`: when the row goes, nothing opens the holder any more.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ca_bridge.errors import StoreError
from ca_bridge.store import links
from ca_bridge.store.box import Box
from ca_bridge.store.items import Store
from ca_bridge.store.logouts import queue
from ca_bridge.store.tables import session_subjects, sessions
from ca_bridge.types import Capacity, Identifier, IdentifierType, Identity, Organisation, Session, Way

SIGNED_OUT = "signed_out"
"""Reason of an end that the person asked for."""
EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class SignIn:
    """What a finished ceremony proved; every field is of this one proof."""

    person: str
    capacity: Capacity
    level: int
    way: Way
    domain: str
    ca: str
    certificate_key: str
    leaf: bytes = field(repr=False)
    """The certificate, DER."""
    identity: Identity = field(repr=False)
    auth_time: datetime
    checked_at: datetime
    status_issued_at: datetime | None
    rung: str = "fresh"
    snapshot: str = ""
    """Hash of the snapshot that judged the certificate; unknown: the watcher judges it again at once."""
    subjects: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sector → subject, only of sectors whose windows may receive attributes (`registry.attribute_sectors`)."""
    signed: Mapping[str, Any] | None = field(default=None, repr=False)
    """The signed challenge that a browser's key belongs to: what may travel to another hall (`codes.Signed`)."""
    arrival: links.Arrival | None = None
    """Where the sign-in came from, when from another hall."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A session and the new secret of its cookie; the secret is nowhere else."""

    session: Session
    secret: str = field(repr=False)
    renewed: bool = False
    """It was there before: Keycloak may know its sid already."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The sealed part of a session, opened: never logged."""

    leaf: bytes = field(repr=False)
    identity: Identity = field(repr=False)
    signed: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Recheck:
    """A session's certificate, judged again and accepted."""

    sid: str
    certificate_key: str
    checked_at: datetime
    status_issued_at: datetime | None
    rung: str
    snapshot: str


class Sessions:
    """The live sessions. Raises StoreError; a session past its end is never returned."""

    def __init__(self, store: Store, seconds: int) -> None:
        self._database = store.database
        self._box = store.box
        self._clock = store.clock
        self._seconds = seconds

    def open(self, signin: SignIn, previous: str = "") -> Opened:
        """The session of this sign-in: a new one, or, where `previous` is the cookie of this person's, that one.

        Renewed, it keeps its sid; the secret is new and the old one dead; everything else is of the new sign-in.

        Raises StoreError `store.other_person` when the cookie is another person's: they must be signed out first.
        """
        now = self._clock()
        secret = secrets.token_urlsafe(32)
        with self._database.write() as connection:
            old = self._row(connection, sessions.c.secret == _hash(previous), lock=True) if previous else None
            if old is not None and old.person != signin.person:
                raise StoreError("store.other_person", "the browser's session is another person's")
            sid = old.sid if old is not None else secrets.token_urlsafe(24)
            row = self._new_row(sid, secret, signin, now)
            if old is None:
                connection.execute(sa.insert(sessions).values(row))
            else:
                row["created"] = old.created
                connection.execute(sa.update(sessions).where(sessions.c.sid == sid).values(row))
                connection.execute(sa.delete(session_subjects).where(session_subjects.c.sid == sid))
            for sector, subject in signin.subjects.items():
                connection.execute(sa.insert(session_subjects).values(sid=sid, sector=sector, subject=subject))
            if signin.arrival is not None:
                links.arrive(
                    connection,
                    self._box,
                    signin.arrival,
                    sid=sid,
                    certificate_key=signin.certificate_key,
                    level=signin.level,
                    auth_time=signin.auth_time,
                    now=now,
                )
        return Opened(_session(row, signin.subjects), secret, old is not None)

    def find(self, secret: str) -> Session | None:
        """The live session whose cookie this is."""
        return self._one(sessions.c.secret == _hash(secret)) if secret else None

    def by_sid(self, sid: str) -> Session | None:
        """The live session of that sid."""
        return self._one(sessions.c.sid == sid)

    def by_subject(self, sector: str, subject: str) -> Session | None:
        """The latest live session of the person that a sector knows as `subject`; only of sectors with attributes."""
        known = sa.select(session_subjects.c.sid).where(
            session_subjects.c.sector == sector, session_subjects.c.subject == subject
        )
        return self._one(sessions.c.sid.in_(known))

    def holder(self, sid: str) -> Holder | None:
        """The certificate and identity of a live session."""
        with self._database.read() as connection:
            row = self._row(connection, sessions.c.sid == sid)
        return None if row is None else self._unseal(row)

    def live(self, after: str = "", limit: int = 100) -> tuple[Session, ...]:
        """Live sessions in the order of their sid, the first `limit` after sid `after`."""
        return self._page(after, limit)

    def due(self, snapshot: str, rung: str, before: datetime, after: str = "", limit: int = 100) -> tuple[Session, ...]:
        """Live sessions judged last by another snapshot, on another rung, or before `before`; a page after sid `after`.

        By the snapshot, not by time: a sign-in judged by the old one and finished after the change is found too.
        """
        stale = sa.or_(sessions.c.snapshot != snapshot, sessions.c.rung != rung, sessions.c.checked_at <= before)
        return self._page(after, limit, stale)

    def unjudged(self, before: datetime) -> bool:
        """Whether the certificate of any live session was judged last before `before`: nobody watches, then."""
        late = sa.exists().where(sessions.c.expires > self._clock(), sessions.c.checked_at < before)
        with self._database.read() as connection:
            return bool(connection.scalar(sa.select(late)))

    def count(self) -> int:
        """How many live sessions there are."""
        live = sa.select(sa.func.count()).select_from(sessions).where(sessions.c.expires > self._clock())
        with self._database.read() as connection:
            return connection.scalar(live) or 0

    def _page(self, after: str, limit: int, *conditions: sa.ColumnElement[bool]) -> tuple[Session, ...]:
        query = (
            sa.select(sessions)
            .where(sessions.c.expires > self._clock(), sessions.c.sid > after, *conditions)
            .order_by(sessions.c.sid)
            .limit(limit)
        )
        with self._database.read() as connection:
            return tuple(_session(row._asdict(), {}) for row in connection.execute(query))

    def rechecked(self, checks: Iterable[Recheck]) -> None:
        """Note certificates that were judged again and accepted, where the session still stands on that certificate."""
        with self._database.write() as connection:
            for check in checks:
                connection.execute(
                    sa.update(sessions)
                    .where(sessions.c.sid == check.sid, sessions.c.certificate_key == check.certificate_key)
                    .values(
                        checked_at=check.checked_at,
                        status_issued_at=check.status_issued_at,
                        rung=check.rung,
                        snapshot=check.snapshot,
                    )
                )

    def end(self, sid: str, reason: str) -> int:
        """End the session and every other one of its person, and queue one logout of them; returns how many ended.

        All of them: Keycloak is told by `sub`, which ends all of the person's sessions there (a `sid` it may not know).
        """
        with self._database.write() as connection:
            person = connection.scalar(sa.select(sessions.c.person).where(sessions.c.sid == sid))
            return 0 if person is None else self._end_person(connection, person, reason)

    def end_refused(self, sid: str, certificate_key: str, reason: str) -> int:
        """As `end`, but only while the session still stands on the certificate that was refused."""
        with self._database.write() as connection:
            row = self._row(connection, sessions.c.sid == sid, lock=True)
            if row is None or row.certificate_key != certificate_key:
                return 0
            return self._end_person(connection, row.person, reason)

    def end_told(self, sid: str, *, halls: bool = True) -> bool:
        """End this one session because Keycloak says so: it is not told, other halls are. True when there was one.

        `halls` False: of a sign-in that did not come about.
        """
        with self._database.write() as connection:
            links.ended(connection, self._box, [sid], self._clock(), tell=halls)
            return connection.execute(sa.delete(sessions).where(sessions.c.sid == sid)).rowcount == 1

    def end_one(self, sid: str, reason: str) -> bool:
        """End this one session, tell Keycloak by its `sid`, and other halls: for who may speak for this one only."""
        now = self._clock()
        with self._database.write() as connection:
            row = self._row(connection, sessions.c.sid == sid, lock=True)
            if row is None:
                return False
            links.ended(connection, self._box, [sid], now)
            queue(connection, row.person, sid, reason, now)
            connection.execute(sa.delete(sessions).where(sessions.c.sid == sid))
        return True

    def purge(self, now: datetime) -> int:
        """Remove sessions whose time is over, each with a logout of its sid: what nobody watches must end there too."""
        with self._database.write() as connection:
            over = connection.execute(
                sa.select(sessions.c.sid, sessions.c.person).where(sessions.c.expires <= now).with_for_update()
            ).all()
            # the other hall's session has an end of its own
            links.ended(connection, self._box, [row.sid for row in over], now, tell=False)
            for row in over:
                queue(connection, row.person, row.sid, EXPIRED, now)
                connection.execute(sa.delete(sessions).where(sessions.c.sid == row.sid))
        return len(over)

    def _end_person(self, connection: sa.Connection, person: str, reason: str) -> int:
        now = self._clock()
        sids = connection.scalars(sa.select(sessions.c.sid).where(sessions.c.person == person)).all()
        links.ended(connection, self._box, sids, now)
        queue(connection, person, "", reason, now)
        return connection.execute(sa.delete(sessions).where(sessions.c.person == person)).rowcount

    def _one(self, condition: sa.ColumnElement[bool]) -> Session | None:
        with self._database.read() as connection:
            row = self._row(connection, condition)
            if row is None:
                return None
            subjects = connection.execute(
                sa.select(session_subjects.c.sector, session_subjects.c.subject).where(
                    session_subjects.c.sid == row.sid
                )
            )
            return _session(row._asdict(), {row.sector: row.subject for row in subjects})

    def _row(self, connection: sa.Connection, condition: sa.ColumnElement[bool], *, lock: bool = False) -> Any:
        query = (
            sa.select(sessions)
            .where(condition, sessions.c.expires > self._clock())
            .order_by(sessions.c.auth_time.desc())
            .limit(1)
        )
        return connection.execute(query.with_for_update() if lock else query).one_or_none()

    def _new_row(self, sid: str, secret: str, signin: SignIn, now: datetime) -> dict[str, Any]:
        box, key = Box.fresh()
        holder = {"leaf": base64.b64encode(signin.leaf).decode(), "identity": _dump(signin.identity)}
        if signin.signed is not None:
            holder["signed"] = dict(signin.signed)
        ends = now + timedelta(seconds=self._seconds)
        if signin.arrival is not None:  # no hall lengthens a sign-in that another one began
            ends = min(ends, signin.auth_time + timedelta(seconds=self._seconds))
        return {
            "sid": sid,
            "secret": _hash(secret),
            "person": signin.person,
            "capacity": signin.capacity.value,
            "level": signin.level,
            "way": signin.way.value,
            "domain": signin.domain,
            "ca": signin.ca,
            "certificate_key": signin.certificate_key,
            "auth_time": signin.auth_time,
            "checked_at": signin.checked_at,
            "status_issued_at": signin.status_issued_at,
            "rung": signin.rung,
            "snapshot": signin.snapshot,
            "created": now,
            "expires": ends,
            "wrapped_key": self._box.seal(key, f"sessions|{sid}|key"),
            "holder": box.seal(json.dumps(holder).encode(), f"sessions|{sid}|holder"),
        }

    def _unseal(self, row: Any) -> Holder:
        box = Box(self._box.open(row.wrapped_key, f"sessions|{row.sid}|key"))
        raw = json.loads(box.open(row.holder, f"sessions|{row.sid}|holder"))
        return Holder(base64.b64decode(raw["leaf"]), _load(raw["identity"]), raw.get("signed"))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _session(row: Mapping[str, Any], subjects: Mapping[str, str]) -> Session:
    same = (
        "sid",
        "person",
        "level",
        "domain",
        "ca",
        "certificate_key",
        "auth_time",
        "checked_at",
        "status_issued_at",
        "rung",
    )
    return Session(
        **{name: row[name] for name in same},
        capacity=Capacity(row["capacity"]),
        way=Way(row["way"]),
        created=row["created"],
        expires=row["expires"],
        subjects=dict(subjects),
    )


def _dump(identity: Identity) -> dict[str, Any]:
    organisation = identity.organisation
    return {
        "name": identity.name,
        "identifiers": [_dump_identifier(one) for one in identity.identifiers],
        "organisation": organisation and [organisation.name, _dump_identifier(organisation.identifier)],
        "capacities": [capacity.value for capacity in identity.capacities],
    }


def _dump_identifier(identifier: Identifier) -> list[str]:
    return [identifier.type.value, identifier.state, identifier.value]


def _load(raw: Mapping[str, Any]) -> Identity:
    organisation = raw["organisation"]
    return Identity(
        name=raw["name"],
        identifiers=tuple(_load_identifier(one) for one in raw["identifiers"]),
        organisation=organisation and Organisation(organisation[0], _load_identifier(organisation[1])),
        capacities=tuple(Capacity(one) for one in raw["capacities"]),
    )


def _load_identifier(raw: list[str]) -> Identifier:
    return Identifier(IdentifierType(raw[0]), raw[1], raw[2])
