"""`Store`: short-lived values by kind and key, sealed, each with an end; once-only keys; locks with fencing tokens."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ca_bridge.store.box import Box
from ca_bridge.store.database import BUSY_SECONDS, Database
from ca_bridge.store.tables import items, locks
from ca_bridge.types import Clock, utc_now

PROBE = "probe"
PROBE_OCTETS = 64 * 1024
_PROBE_LIFE = timedelta(minutes=1)
Value = Mapping[str, Any]
"""What JSON can hold: texts, whole numbers, booleans, lists, mappings, null."""


class Store:
    """State shared by all workers. A value past its end is never returned, purged or not. Raises StoreError."""

    def __init__(self, database: Database, box: Box, clock: Clock) -> None:
        self.database = database
        self.box = box
        self.clock = clock

    def put(self, kind: str, key: str, value: Value, expires: datetime) -> None:
        """Keep `value` under (`kind`, `key`) until `expires`, in place of what was there."""
        name = _name(key)
        row = {"kind": kind, "key": name, "value": self._seal(kind, name, value), "expires": expires}
        insert = self.database.insert(items).values(row)
        upsert = insert.on_conflict_do_update(
            index_elements=["kind", "key"], set_={"value": insert.excluded.value, "expires": insert.excluded.expires}
        )
        with self.database.write() as connection:
            connection.execute(upsert)

    def get(self, kind: str, key: str) -> Value | None:
        """What is kept under (`kind`, `key`) now, or None."""
        name = _name(key)
        with self.database.read() as connection:
            sealed = connection.scalar(sa.select(items.c.value).where(*self._live(kind, name)))
        return None if sealed is None else self._open(kind, name, sealed)

    def take(self, kind: str, key: str) -> Value | None:
        """Remove and return what is kept: of all callers, in all processes, at most one receives it."""
        name = _name(key)
        taking = sa.delete(items).where(*self._live(kind, name)).returning(items.c.value)
        with self.database.write() as connection:
            sealed = connection.scalar(taking)
        return None if sealed is None else self._open(kind, name, sealed)

    def add_once(self, kind: str, key: str, expires: datetime) -> bool:
        """True for exactly one caller, in all processes, until `expires` (a nonce, a `jti`)."""
        name = _name(key)
        row = {"kind": kind, "key": name, "value": self._seal(kind, name, {}), "expires": expires}
        insert = self.database.insert(items).values(row)
        upsert = insert.on_conflict_do_update(
            index_elements=["kind", "key"],
            set_={"value": insert.excluded.value, "expires": insert.excluded.expires},
            where=items.c.expires <= self.clock(),
        ).returning(items.c.key)
        with self.database.write() as connection:
            return connection.scalar(upsert) is not None

    def delete(self, kind: str, key: str) -> None:
        """Remove what is kept under (`kind`, `key`), if anything."""
        with self.database.write() as connection:
            connection.execute(sa.delete(items).where(items.c.kind == kind, items.c.key == _name(key)))

    def lock(self, name: str, seconds: float) -> int | None:
        """The lock `name` for `seconds`: a fencing token above every earlier one; None while another holds it."""
        now = self.clock()
        insert = self.database.insert(locks).values(name=name, token=1, expires=now + timedelta(seconds=seconds))
        taking = insert.on_conflict_do_update(
            index_elements=["name"],
            set_={"token": locks.c.token + 1, "expires": insert.excluded.expires},
            where=locks.c.expires <= now,
        ).returning(locks.c.token)
        with self.database.write() as connection:
            token: int | None = connection.scalar(taking)
        return token

    def extend(self, name: str, token: int, seconds: float) -> bool:
        """Hold the lock for `seconds` from now; False when it ran out or another has it: then stop what it guarded."""
        now = self.clock()
        held = (locks.c.name == name, locks.c.token == token, locks.c.expires > now)
        with self.database.write() as connection:
            done = connection.execute(sa.update(locks).where(*held).values(expires=now + timedelta(seconds=seconds)))
        return done.rowcount == 1

    def unlock(self, name: str, token: int) -> None:
        """Give the lock back, if it is still held under `token`. Its tokens go on growing."""
        with self.database.write() as connection:
            connection.execute(
                sa.update(locks).where(locks.c.name == name, locks.c.token == token).values(expires=self.clock())
            )

    def purge(self, now: datetime) -> int:
        """Remove every value whose end has come; returns how many. Locks stay: their tokens must go on growing."""
        with self.database.write() as connection:
            return connection.execute(sa.delete(items).where(items.c.expires <= now)).rowcount

    def ping(self) -> None:
        """Answer, or raise StoreError: reachable, writable, at this version."""
        with self.database.write() as connection:
            connection.execute(sa.select(items.c.kind).limit(1))

    def probe(self, seconds: float = 1.0) -> None:
        """Return when a value of 64 KB can be written within some `seconds`, else raise StoreError: `store.full` too.

        It is removed again: what has room for it has room for a sign-in.
        """
        name = _name(secrets.token_hex(8))
        row = {"kind": PROBE, "key": name, "value": bytes(PROBE_OCTETS), "expires": self.clock() + _PROBE_LIFE}
        with self.database.brief(seconds) as connection:
            connection.execute(sa.insert(items).values(row))
        with self.database.brief(seconds) as connection:
            connection.execute(sa.delete(items).where(items.c.kind == PROBE, items.c.key == name))

    def close(self) -> None:
        """Close the connections."""
        self.database.close()

    def _live(self, kind: str, name: str) -> tuple[sa.ColumnElement[bool], ...]:
        return items.c.kind == kind, items.c.key == name, items.c.expires > self.clock()

    def _seal(self, kind: str, name: str, value: Value) -> bytes:
        return self.box.seal(json.dumps(value, ensure_ascii=False, allow_nan=False).encode(), f"items|{kind}|{name}")

    def _open(self, kind: str, name: str, sealed: bytes) -> Value:
        value: Value = json.loads(self.box.open(sealed, f"items|{kind}|{name}"))
        return value


def open_store(url: str, box: Box, clock: Clock = utc_now, *, busy_seconds: float = BUSY_SECONDS) -> Store:
    """The store at `url` (`sqlite:///file` or `postgresql+psycopg://…`); nothing is read yet. Raises StoreError."""
    return Store(Database(url, busy_seconds=busy_seconds), box, clock)


def _name(key: str) -> str:
    """Keys may be secrets (codes): only their hash is kept."""
    return hashlib.sha256(key.encode()).hexdigest()
