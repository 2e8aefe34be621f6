"""Connections and transactions: SQLite in WAL mode, or PostgreSQL by psycopg 3; every fault becomes a StoreError.

A write on SQLite begins with BEGIN IMMEDIATE: it waits for its turn (`busy_seconds`) before it reads anything, so that
it never has to be given up half-way, and `synchronous = FULL` keeps what was committed through a power cut.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from ca_bridge.errors import StoreError

BUSY_SECONDS = 5.0

_SQLSTATES = {
    "55P03": "store.locked",  # lock_not_available
    "57014": "store.locked",  # query_canceled: statement_timeout
    "40001": "store.locked",  # serialization_failure
    "40P01": "store.locked",  # deadlock_detected
    "53100": "store.full",  # disk_full
    "53200": "store.full",  # out_of_memory
    "25006": "store.unavailable",  # read_only_sql_transaction: a standby
    "42P01": "store.version",  # undefined_table
    "42703": "store.version",  # undefined_column
}
_SQLSTATE_CLASSES = {
    "08": "store.unavailable",
    "53": "store.unavailable",
    "57": "store.unavailable",
    "28": "store.unavailable",
}
_SQLITE_NAMES = {
    "SQLITE_BUSY": "store.locked",
    "SQLITE_LOCKED": "store.locked",
    "SQLITE_FULL": "store.full",
    "SQLITE_CANTOPEN": "store.unavailable",
    "SQLITE_READONLY": "store.unavailable",
    "SQLITE_IOERR": "store.unavailable",
    "SQLITE_CORRUPT": "store.unavailable",
    "SQLITE_NOTADB": "store.unavailable",
}


class Database:
    """One database; `read()` and `write()` are its transactions, whole or not at all."""

    def __init__(self, url: str, *, busy_seconds: float = BUSY_SECONDS) -> None:
        self.engine = _engine(url, busy_seconds)
        self._busy_seconds = busy_seconds
        self.dialect = self.engine.dialect.name

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads, on one consistent state. Raises StoreError."""
        with _faults(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that may write; committed when the block ends, undone when it raises. Raises StoreError."""
        with _faults(), self.engine.connect() as plain:
            connection = plain.execution_options(crosshall_write=True)
            with connection.begin():
                yield connection

    @contextmanager
    def brief(self, seconds: float) -> Iterator[sa.Connection]:
        """As `write`, waiting no longer than `seconds` for its turn. Raises StoreError."""
        milliseconds = int(1000 * min(seconds, self._busy_seconds))
        with _faults(), self.engine.connect() as plain:
            connection = plain.execution_options(crosshall_write=True)
            sqlite_file = self.dialect == "sqlite"
            raw = connection.connection.dbapi_connection
            if sqlite_file and raw is not None:
                raw.execute(f"PRAGMA busy_timeout = {milliseconds}").close()
            try:
                with connection.begin():
                    if not sqlite_file:
                        for name in ("lock_timeout", "statement_timeout"):
                            connection.exec_driver_sql(f"SET LOCAL {name} = {milliseconds}")
                    yield connection
            finally:
                if sqlite_file and raw is not None:
                    raw.execute(f"PRAGMA busy_timeout = {int(1000 * self._busy_seconds)}").close()

    def insert(self, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
        """An INSERT that knows ON CONFLICT in this database's dialect."""
        return sqlite.insert(table) if self.dialect == "sqlite" else postgresql.insert(table)

    def close(self) -> None:
        """Close the pooled connections."""
        self.engine.dispose()


def _engine(url: str, busy_seconds: float) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as error:
        raise StoreError("store.unavailable", "the database URL cannot be read") from error
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise StoreError("store.unavailable", "SQLite needs a file: the workers share it")
        _make_private(Path(parsed.database))
        engine = sa.create_engine(parsed, connect_args={"timeout": busy_seconds})
        sa.event.listen(engine, "connect", _sqlite_connect)
        sa.event.listen(engine, "begin", _sqlite_begin)
        return engine
    if backend == "postgresql":
        milliseconds = int(busy_seconds * 1000)
        options = f"-c lock_timeout={milliseconds} -c statement_timeout={2 * milliseconds} -c timezone=UTC"
        return sa.create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            connect_args={"connect_timeout": 3, "options": options},
        )
    raise StoreError("store.unavailable", f"no such database: {backend}; SQLite or PostgreSQL")


def _make_private(file: Path) -> None:
    """The file is there, its owner's alone; SQLite gives what it writes beside it the same mode."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):  # what cannot be opened is told by the first transaction, with its code
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
        if file.stat().st_mode & 0o077:
            file.chmod(0o600)


def _sqlite_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _sqlite_begin, not by the driver's guess
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _sqlite_begin(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("crosshall_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


@contextmanager
def _faults() -> Iterator[None]:
    """Database faults as StoreError; the detail names the fault's class only, for a message may quote values."""
    try:
        yield
    except DBAPIError as error:
        raise StoreError(fault_code(error.orig), type(error.orig).__name__) from None
    except sqlite3.Error as error:
        raise StoreError(fault_code(error), type(error).__name__) from None
    except SQLAlchemyError as error:
        code = "store.locked" if isinstance(error, sa.exc.TimeoutError) else "store.fault"
        raise StoreError(code, type(error).__name__) from None


def fault_code(fault: BaseException | None) -> str:
    """The stable code of a driver's exception."""
    if isinstance(fault, sqlite3.Error):
        name = getattr(fault, "sqlite_errorname", "") or ""
        for known, code in _SQLITE_NAMES.items():
            if name == known or name.startswith(f"{known}_"):
                return code
        return "store.version" if "no such table" in str(fault) or "no such column" in str(fault) else "store.fault"
    state = getattr(fault, "sqlstate", None)
    if state:
        return _SQLSTATES.get(state) or _SQLSTATE_CLASSES.get(state[:2], "store.fault")
    # psycopg gives no SQLSTATE when the server could not be reached, or went away
    return "store.unavailable" if type(fault).__name__ in ("OperationalError", "ConnectionTimeout") else "store.fault"
