"""What the SQL store and the table of accounts ask of a database: portable statements with named values (`:name`).

Two keep it: `sqlite.SQLiteDatabase` (standard library) and `alchemy.AlchemyDatabase` (PostgreSQL, MySQL, MariaDB).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Rows = Sequence[Sequence[Any]]

TRIES = 20
"""How often a transaction is tried that others keep getting in the way of."""


class Cursor(Protocol):
    """Runs statements inside one transaction."""

    def rows(self, sql: str, **values: object) -> Rows:
        """What a SELECT finds."""

    def run(self, sql: str, **values: object) -> int:
        """Run a statement that writes; how many rows it was about."""


class Database(Protocol):
    """Safe for threads, and over a fork. Whatever goes wrong is StoreError `rp.store`, without values in it."""

    for_update: str
    """What a SELECT ends with that holds its rows until the transaction's end."""

    def rows(self, sql: str, **values: object) -> Rows:
        """What a SELECT of its own finds."""

    def run(self, sql: str, **values: object) -> int:
        """Run one writing statement of its own; how many rows it was about. May run twice: it says what is, then."""

    def together(self, work: Callable[[Cursor], T]) -> T:
        """Do `work` in one transaction; again from the start when another one was in the way."""

    def prepare(self, tables: Sequence[str]) -> None:
        """Make the tables that are not there yet; processes that start at once may all do it."""

    def close(self) -> None:
        """Give back files and connections."""


def table_name(statement: str) -> str:
    """The name in a CREATE TABLE statement."""
    return statement.partition("(")[0].split()[-1]
