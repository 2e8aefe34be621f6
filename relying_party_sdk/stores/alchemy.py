"""PostgreSQL, MySQL and MariaDB through SQLAlchemy (`crosshall-rp[sql]` and a driver), shared by all machines.

SQLAlchemy gives pool, drivers and their differences; statements run on the driver's own cursor, for every request of
a window reads its session: measured, that is half of what the expression layer costs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import PoolProxiedConnection as Connection

from relying_party_sdk.errors import SettingsError, StoreError
from relying_party_sdk.stores.database import TRIES, Cursor, Rows, table_name

T = TypeVar("T")

_PATIENCE = 5
"""How long a connection, a free place in the pool or a statement is waited for, seconds."""
_KEPT = 8
"""Connections kept at hand."""
_BEGIN = {
    "postgresql": ("BEGIN ISOLATION LEVEL READ COMMITTED",),
    "mysql": ("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "START TRANSACTION"),
}
_TYPES = {
    "postgresql": {"name": "VARCHAR(255)", "blob": "BYTEA"},
    "mysql": {"name": "VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "blob": "LONGBLOB"},
}
_OPTIONS: Mapping[str, Mapping[str, object]] = {
    "psycopg": {"connect_timeout": _PATIENCE, "options": f"-c statement_timeout={_PATIENCE}s"},
    "psycopg2": {"connect_timeout": _PATIENCE, "options": f"-c statement_timeout={_PATIENCE}s"},
    "pymysql": {"connect_timeout": _PATIENCE, "read_timeout": _PATIENCE, "write_timeout": _PATIENCE},
    "mysqldb": {"connect_timeout": _PATIENCE, "read_timeout": _PATIENCE, "write_timeout": _PATIENCE},
}


_IN_THE_WAY = ("40001", "40P01", "55P03", 1205, 1213)
"""What PostgreSQL (SQLSTATE) and MySQL (numbers) say of a transaction that lost against another one."""


class _Gone(Exception):  # noqa: N818 - a state of a connection
    """The connection is dead."""


class _Cursor:
    """Runs statements on the driver's cursor, each compiled once for its way to write values."""

    def __init__(self, cursor: Any, compiled: Callable[[str], tuple[str, Sequence[str] | None]]) -> None:
        self._cursor = cursor
        self._compiled = compiled

    def rows(self, sql: str, **values: object) -> Rows:
        self._execute(sql, values)
        found: Rows = self._cursor.fetchall()
        return found

    def run(self, sql: str, **values: object) -> int:
        self._execute(sql, values)
        return int(self._cursor.rowcount)

    def _execute(self, sql: str, values: dict[str, object]) -> None:
        text, order = self._compiled(sql)
        self._cursor.execute(text, values if order is None else [values[name] for name in order])


class AlchemyDatabase:
    """Keeps the database protocol for every process that names the same database. Connects at the first use.

    Raises SettingsError `rp.settings` for an address that SQLAlchemy cannot use, or of another kind of database.
    """

    for_update = " FOR UPDATE"

    def __init__(self, address: str) -> None:
        try:
            url = sa.make_url(address)
            given: Mapping[str, object] = _OPTIONS.get(url.get_driver_name(), {})
            self._engine = sa.create_engine(
                url,
                isolation_level="AUTOCOMMIT",
                pool_size=8,
                max_overflow=32,
                pool_timeout=_PATIENCE,
                pool_reset_on_return=None,  # every transaction is ended here, or its connection closed
                connect_args={name: value for name, value in given.items() if name not in url.query},
            )
        except (sa.exc.SQLAlchemyError, ImportError, ValueError) as error:
            raise SettingsError("rp.settings", f"store: {type(error).__name__}; is its driver installed?") from error
        self._dialect = self._engine.dialect
        kind = {"mariadb": "mysql"}.get(self._dialect.name, self._dialect.name)
        if kind not in _BEGIN:
            raise SettingsError("rp.settings", "store names a kind of database that is not supported")
        self._begin = _BEGIN[kind]
        self._types = _TYPES[kind]
        self._driver: Any = self._dialect.loaded_dbapi
        self._statements: dict[str, tuple[str, Sequence[str] | None]] = {}
        self._pid = os.getpid()
        self._options = {"binary": True} if self._dialect.driver == "psycopg" else {}  # values, not their hex
        self._idle: list[Connection] = []  # at hand without the pool's ceremony, which costs as much as the query

    def rows(self, sql: str, **values: object) -> Rows:
        """See Database."""
        return self._alone(lambda cursor: cursor.rows(sql, **values))

    def run(self, sql: str, **values: object) -> int:
        """See Database."""
        return self._alone(lambda cursor: cursor.run(sql, **values))

    def together(self, work: Callable[[Cursor], T]) -> T:
        """See Database."""
        for attempt in range(TRIES):
            try:
                return self._transaction(work)
            except self._driver.Error as error:
                if not self._in_the_way(error):
                    raise StoreError("rp.store", type(error).__name__) from error
            time.sleep(0.002 * attempt)
        raise StoreError("rp.store", "other transactions were always in the way")

    def prepare(self, tables: Sequence[str]) -> None:
        """See Database. Where the tables are there already, no right to make any is needed."""
        for last in (*[False] * TRIES, True):
            missing = self._missing(tables)
            try:
                for statement in missing:
                    self.run(statement.format(**self._types))
                return
            except StoreError:
                if last:
                    raise
                time.sleep(0.05)  # another process makes them at this moment

    def close(self) -> None:
        """See Database."""
        self._forget()

    def _missing(self, tables: Sequence[str]) -> list[str]:
        """The statements of the tables that are not there, each with those of its indexes."""
        try:
            there = set(sa.inspect(self._engine).get_table_names())
        except sa.exc.SQLAlchemyError as error:
            raise StoreError("rp.store", type(error).__name__) from error
        found, absent = [], False
        for each in tables:
            absent = table_name(each) not in there if each.startswith("CREATE TABLE") else absent
            found += [each] if absent else []
        return found

    def _alone(self, work: Callable[[_Cursor], T]) -> T:
        """One statement; once more when its connection is dead, as all are after the server was restarted."""
        try:
            try:
                with self._connection() as connection:
                    return work(_Cursor(connection.cursor(**self._options), self._compiled))
            except _Gone:
                with self._connection() as connection:
                    return work(_Cursor(connection.cursor(**self._options), self._compiled))
        except (_Gone, self._driver.Error) as error:
            raise StoreError("rp.store", type(error).__name__) from error

    def _transaction(self, work: Callable[[Cursor], T]) -> T:
        begun = False
        for _ in range(2):
            try:
                with self._connection() as connection:
                    cursor = _Cursor(connection.cursor(**self._options), self._compiled)
                    for statement in self._begin:
                        cursor.run(statement)
                    begun = True
                    done = work(cursor)
                    cursor.run("COMMIT")
                    return done
            except _Gone as error:
                if begun:
                    raise StoreError("rp.store", str(error)) from error
        raise StoreError("rp.store", "no connection lives")

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """A connection of the pool: given back when all went well, else closed, and with it what it had begun."""
        if self._pid != os.getpid():  # a connection must not cross a fork
            self._idle = []
            self._engine.dispose(close=False)
            self._pid = os.getpid()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            yield connection
        except self._driver.Error as error:
            dead = self._dialect.is_disconnect(error, connection.driver_connection, None)
            connection.invalidate()
            if dead:
                self._forget()
                raise _Gone(type(error).__name__) from error
            raise
        except BaseException:
            connection.invalidate()
            raise
        if len(self._idle) < _KEPT:
            self._idle.append(connection)
        else:
            connection.close()

    def _connect(self) -> Connection:
        try:
            return self._engine.raw_connection()
        except (sa.exc.SQLAlchemyError, self._driver.Error) as error:
            raise StoreError("rp.store", type(error).__name__) from error

    def _forget(self) -> None:
        """Close what is idle."""
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().invalidate()
        self._engine.dispose()

    def _in_the_way(self, error: Exception) -> bool:
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or (error.args or (None,))[0]
        return isinstance(error, self._driver.IntegrityError) or state in _IN_THE_WAY

    def _compiled(self, sql: str) -> tuple[str, Sequence[str] | None]:
        """The statement as the driver reads it, and the order of its values when they go without names."""
        if sql not in self._statements:
            compiled = sa.text(sql).compile(dialect=self._dialect)
            self._statements[sql] = (str(compiled), compiled.positiontup if compiled.positional else None)
        return self._statements[sql]
