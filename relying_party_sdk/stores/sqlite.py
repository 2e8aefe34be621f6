"""SQLite in one file (WAL): shared by the threads and processes of one machine, and kept over restarts."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from relying_party_sdk.errors import StoreError
from relying_party_sdk.stores.database import TRIES, Cursor, Rows, table_name

T = TypeVar("T")

_BUSY = 5.0
"""How long a writer waits for another one, seconds."""


class _Cursor:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def rows(self, sql: str, **values: object) -> Rows:
        return self._db.execute(sql, values).fetchall()

    def run(self, sql: str, **values: object) -> int:
        return self._db.execute(sql, values).rowcount


class SQLiteDatabase:
    """Keeps the database protocol for every process that opens the same file; the file is its owner's only.

    Raises StoreError `rp.store` at once for a file that cannot be.
    """

    for_update = ""  # a transaction that writes holds the whole file from its beginning

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._guard = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._pid = os.getpid()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreError("rp.store", f"cannot open {self._path}: {type(error).__name__}") from error

    def rows(self, sql: str, **values: object) -> Rows:
        """See Database."""
        with self._connection() as db:
            return db.execute(sql, values).fetchall()

    def run(self, sql: str, **values: object) -> int:
        """See Database."""
        with self._connection() as db:
            return db.execute(sql, values).rowcount

    def together(self, work: Callable[[Cursor], T]) -> T:
        """See Database. Nobody else writes meanwhile, so nothing gets in the way."""
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            done = work(_Cursor(db))
            db.execute("COMMIT")
            return done

    def prepare(self, tables: Sequence[str]) -> None:
        """See Database. Workers that start together wait for each other: the switch to WAL has no busy wait."""
        for last in (*[False] * (2 * TRIES), True):
            try:
                with self._connection() as db:
                    db.execute("PRAGMA journal_mode = WAL")
                    db.execute("BEGIN IMMEDIATE")
                    self._make(db, tables)
                    db.execute("COMMIT")
                return
            except StoreError as error:
                if last or not isinstance(error.__cause__, sqlite3.OperationalError):
                    raise
                time.sleep(0.05)

    def close(self) -> None:
        """See Database."""
        with self._guard:
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()

    @staticmethod
    def _make(db: sqlite3.Connection, tables: Sequence[str]) -> None:
        there = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
        for each in tables:
            name = each.split()[2] if each.startswith("CREATE INDEX") else table_name(each)
            if name not in there:
                db.execute(each.format(name="TEXT", blob="BLOB"))

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

    def _borrow(self) -> sqlite3.Connection:
        with self._guard:
            if self._pid != os.getpid():  # a connection must not cross a fork (sqlite.org, "How To Corrupt", 2.6)
                self._idle, self._pid = [], os.getpid()
            if self._idle:
                return self._idle.pop()
        db = sqlite3.connect(self._path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA synchronous = NORMAL")
        return db
