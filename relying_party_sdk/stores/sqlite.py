"""A store in one SQLite file (WAL): shared by threads and processes of one machine, and kept over restarts."""

# ruff: noqa: D102 - the methods speak in the protocol, `stores/protocol.py`

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from relying_party_sdk.errors import StoreError
from relying_party_sdk.stores.protocol import Clock

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (kind TEXT, key TEXT, value BLOB NOT NULL, expires REAL NOT NULL,
    PRIMARY KEY (kind, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS records_expires ON records (expires);
CREATE TABLE IF NOT EXISTS tags (kind TEXT, tag TEXT, key TEXT, PRIMARY KEY (kind, tag, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tags_key ON tags (kind, key);
CREATE TABLE IF NOT EXISTS locks (name TEXT PRIMARY KEY, token INTEGER NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fence (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL);
INSERT OR IGNORE INTO fence VALUES (1, 0);
"""
_BUSY = 5.0
"""How long a writer waits for another one, seconds."""


class SQLiteStore:
    """Keeps the store protocol for every process that opens the same file; the file is readable by its owner only."""

    def __init__(self, path: str | os.PathLike[str], clock: Clock) -> None:
        self._path = Path(path)
        self._clock = clock
        self._guard = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._pid = os.getpid()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreError("rp.store", f"cannot open {self._path}: {type(error).__name__}") from error
        self._prepare()

    def put(self, kind: str, key: str, value: bytes, expires: float, tags: Sequence[str] = ()) -> None:
        with self._writing() as db:
            db.execute("REPLACE INTO records VALUES (?, ?, ?, ?)", (kind, key, value, expires))
            db.execute("DELETE FROM tags WHERE kind = ? AND key = ?", (kind, key))
            db.executemany("INSERT OR IGNORE INTO tags VALUES (?, ?, ?)", [(kind, tag, key) for tag in tags])

    def get(self, kind: str, key: str) -> bytes | None:
        with self._connection() as db:
            return self._value(db, kind, key)

    def take(self, kind: str, key: str) -> bytes | None:
        with self._writing() as db:
            value = self._value(db, kind, key)
            self._remove(db, kind, key)
            return value

    def add_once(self, kind: str, key: str, expires: float) -> bool:
        with self._writing() as db:
            if self._value(db, kind, key) is not None:
                return False
            db.execute("REPLACE INTO records VALUES (?, ?, ?, ?)", (kind, key, b"", expires))
            return True

    def delete(self, kind: str, key: str) -> bool:
        return self.take(kind, key) is not None

    def find(self, kind: str, tag: str) -> Sequence[str]:
        query = (
            "SELECT records.key FROM tags JOIN records ON records.kind = tags.kind AND records.key = tags.key "
            "WHERE tags.kind = ? AND tag = ? AND expires > ?"
        )
        with self._connection() as db:
            return [row[0] for row in db.execute(query, (kind, tag, self._clock()))]

    def lock(self, name: str, seconds: float) -> int | None:
        with self._writing() as db:
            now = self._clock()
            if db.execute("SELECT 1 FROM locks WHERE name = ? AND until > ?", (name, now)).fetchone():
                return None
            db.execute("UPDATE fence SET last = last + 1")
            token = int(db.execute("SELECT last FROM fence").fetchone()[0])
            db.execute("REPLACE INTO locks VALUES (?, ?, ?)", (name, token, now + seconds))
            return token

    def unlock(self, name: str, token: int) -> None:
        with self._writing() as db:
            db.execute("DELETE FROM locks WHERE name = ? AND token = ?", (name, token))

    def put_fenced(self, kind: str, key: str, value: bytes, *, lock: str, token: int) -> bool:
        query = (
            "UPDATE records SET value = ? WHERE kind = ? AND key = ? AND expires > ? "
            "AND EXISTS (SELECT 1 FROM locks WHERE name = ? AND token = ?)"
        )
        with self._writing() as db:
            return db.execute(query, (value, kind, key, self._clock(), lock, token)).rowcount == 1

    def purge(self) -> int:
        with self._writing() as db:
            now = self._clock()
            gone = db.execute("DELETE FROM records WHERE expires <= ?", (now,)).rowcount
            if gone:
                db.execute(
                    "DELETE FROM tags WHERE NOT EXISTS "
                    "(SELECT 1 FROM records WHERE records.kind = tags.kind AND records.key = tags.key)"
                )
            db.execute("DELETE FROM locks WHERE until <= ?", (now,))
            return gone

    def close(self) -> None:
        with self._guard:
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()

    def _prepare(self) -> None:
        """Make the tables; workers that start together wait for each other (the switch to WAL has no busy wait)."""
        for last in (*[False] * 40, True):
            try:
                with self._connection() as db:
                    db.execute("PRAGMA journal_mode = WAL")
                    db.executescript(_SCHEMA)
                return
            except StoreError as error:
                if last or not isinstance(error.__cause__, sqlite3.OperationalError):
                    raise
                time.sleep(0.05)

    def _value(self, db: sqlite3.Connection, kind: str, key: str) -> bytes | None:
        query = "SELECT value FROM records WHERE kind = ? AND key = ? AND expires > ?"
        row = db.execute(query, (kind, key, self._clock())).fetchone()
        return bytes(row[0]) if row else None

    @staticmethod
    def _remove(db: sqlite3.Connection, kind: str, key: str) -> None:
        db.execute("DELETE FROM records WHERE kind = ? AND key = ?", (kind, key))
        db.execute("DELETE FROM tags WHERE kind = ? AND key = ?", (kind, key))

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            db = self._borrow()
        except sqlite3.Error as error:
            raise StoreError("rp.store", type(error).__name__) from error
        try:
            yield db
        except sqlite3.Error as error:
            db.close()
            raise StoreError("rp.store", type(error).__name__) from error
        except BaseException:
            db.close()
            raise
        with self._guard:
            self._idle.append(db)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")

    def _borrow(self) -> sqlite3.Connection:
        with self._guard:
            if self._pid != os.getpid():  # a connection must not cross a fork (sqlite.org, "How To Corrupt", 2.6)
                self._idle, self._pid = [], os.getpid()
            if self._idle:
                return self._idle.pop()
        db = sqlite3.connect(self._path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA synchronous = NORMAL")
        return db
