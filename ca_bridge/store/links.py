"""Links between a session here and one at another hall, on both sides; and sign-outs that the other hall must hear of.

    given   this hall gave evidence of its session to `node`
    taken   this hall opened its session on evidence of `node`; the evidence is kept, sealed

Both halls call the link by its `handle`, 32 random bytes that are in no address and no log. A session that ends here
queues, in the same transaction, one sign-out for every link of it. What a hall says of a handle counts for the links
with that hall only: it can end what came from it or went to it, nothing else.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa

from ca_bridge.store.box import Box
from ca_bridge.store.items import Store
from ca_bridge.store.tables import hall_logouts, links

GIVEN, TAKEN = "given", "taken"
KEPT = timedelta(days=180)
"""Logs are kept six months (网络安全法 §21 (3)); a hall's sign-ins can be listed so long."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a sign-in from another hall came with."""

    node: str
    handle: str = field(repr=False)
    evidence: str = field(repr=False)
    """The other hall's signed evidence, whole."""


@dataclass(frozen=True, slots=True)
class Link:
    """One link, as it is listed; nothing of it says who."""

    id: str
    side: str
    node: str
    sid: str
    certificate_key: str
    level: int
    auth_time: datetime
    at: datetime
    ended: datetime | None


def arrive(
    connection: sa.Connection,
    box: Box,
    arrival: Arrival,
    *,
    sid: str,
    certificate_key: str,
    level: int,
    auth_time: datetime,
    now: datetime,
) -> None:
    """Note, in the transaction that opens session `sid`, where it came from."""
    row = _row(box, TAKEN, arrival.node, arrival.handle, arrival.evidence)
    about = {"sid": sid, "certificate_key": certificate_key, "level": level, "auth_time": auth_time, "at": now}
    connection.execute(sa.insert(links).values(**row, **about))


def ended(connection: sa.Connection, box: Box, sids: Collection[str], now: datetime, *, tell: bool = True) -> None:
    """The sessions `sids` end: their links too, and unless `tell` is False the other halls will hear of it."""
    rows = connection.execute(
        sa.select(links.c.id, links.c.node, links.c.sealed).where(links.c.sid.in_(sids), links.c.ended.is_(None))
    ).all()
    for row in rows:
        connection.execute(sa.update(links).where(links.c.id == row.id).values(ended=now))
        if tell:
            handle = json.loads(box.open(row.sealed, f"links|{row.id}"))["handle"]
            _queue(connection, box, row.node, handle, now)


class Links:
    """The links, for ceremonies and operators. Raises StoreError."""

    def __init__(self, store: Store) -> None:
        self._database = store.database
        self._box = store.box
        self._clock = store.clock

    def give(self, node: str, sid: str, certificate_key: str, level: int, auth_time: datetime) -> str:
        """Evidence of session `sid` goes to `node`: a new handle for the link."""
        handle = secrets.token_urlsafe(32)
        about = {"sid": sid, "certificate_key": certificate_key, "level": level, "auth_time": auth_time}
        with self._database.write() as connection:
            row = _row(self._box, GIVEN, node, handle, "")
            connection.execute(sa.insert(links).values(**row, **about, at=self._clock()))
        return handle

    def told(self, node: str, handles: Collection[str]) -> tuple[str, ...]:
        """`node` says that its ends of these links are over: which sessions here they hold, each once.

        Handles that are not of a live link with `node` are passed over. The links are over from now on, so that ending
        the sessions tells every other hall, and not the one that told us.
        """
        sids: list[str] = []
        with self._database.write() as connection:
            for handle in handles:
                over = (
                    sa.update(links)
                    .where(links.c.node == node, links.c.handle == _hash(handle), links.c.ended.is_(None))
                    .values(ended=self._clock())
                    .returning(links.c.sid)
                )
                sids += [row.sid for row in connection.execute(over)]
        return tuple(dict.fromkeys(sids))

    def source(self, sid: str) -> str:
        """The node on whose evidence session `sid` stands last; empty when it came from none."""
        query = (
            sa.select(links.c.node)
            .where(links.c.sid == sid, links.c.side == TAKEN, links.c.ended.is_(None))
            .order_by(links.c.at.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            return connection.scalar(query) or ""

    def taken(self, node: str, since: datetime) -> tuple[Link, ...]:
        """Sign-ins here by evidence of `node` or of a node below it, since `since` (aware UTC), oldest first."""
        below = f"{node}/"
        named = sa.or_(links.c.node == node, sa.func.substr(links.c.node, 1, len(below)) == below)
        names = list(Link.__dataclass_fields__)
        query = sa.select(*(links.c[name] for name in names)).where(links.c.side == TAKEN, named, links.c.at >= since)
        with self._database.read() as connection:
            return tuple(Link(**row._asdict()) for row in connection.execute(query.order_by(links.c.at)))

    def evidence(self, link_id: str) -> str:
        """The signed evidence that a link was taken by; empty when there is no such link. It says who: never log it."""
        with self._database.read() as connection:
            sealed = connection.scalar(sa.select(links.c.sealed).where(links.c.id == link_id))
        return "" if sealed is None else str(json.loads(self._box.open(sealed, f"links|{link_id}"))["evidence"])

    def purge(self, now: datetime) -> int:
        """Remove links older than `KEPT`; returns how many."""
        with self._database.write() as connection:
            return connection.execute(sa.delete(links).where(links.c.at < now - KEPT)).rowcount


def _row(box: Box, side: str, node: str, handle: str, evidence: str) -> dict[str, object]:
    link_id = secrets.token_hex(16)
    secret = json.dumps({"handle": handle, "evidence": evidence}).encode()
    sealed = box.seal(secret, f"links|{link_id}")
    return {"id": link_id, "side": side, "node": node, "handle": _hash(handle), "sealed": sealed, "ended": None}


def _queue(connection: sa.Connection, box: Box, node: str, handle: str, now: datetime) -> None:
    row_id = secrets.token_hex(16)
    sealed = box.seal(handle.encode(), f"hall_logouts|{row_id}")
    row = {"id": row_id, "node": node, "sealed": sealed, "queued": now, "due": now, "attempts": 0}
    connection.execute(sa.insert(hall_logouts).values(row))


def _hash(handle: str) -> str:
    return hashlib.sha256(handle.encode()).hexdigest()
