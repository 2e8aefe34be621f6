"""Where sessions and pending sign-ins are kept: memory, SQLite, an SQL server, Redis or Valkey."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from relying_party_sdk.errors import SettingsError
from relying_party_sdk.stores.database import Database
from relying_party_sdk.stores.memory import MemoryStore
from relying_party_sdk.stores.protocol import Clock, Store
from relying_party_sdk.stores.sql import SQLStore
from relying_party_sdk.stores.sqlite import SQLiteDatabase

__all__ = [
    "Clock", "MemoryStore", "SQLStore", "SQLiteStore", "Store", "is_redis", "located", "open_database", "open_store",
]  # fmt: skip

_REDIS = ("redis", "rediss", "valkey", "valkeys", "unix")
_SQL = ("postgresql", "postgres", "mysql", "mariadb")


def SQLiteStore(path: str | Path, clock: Clock) -> SQLStore:  # noqa: N802 - reads as the class that it makes
    """The store in one SQLite file. Raises StoreError `rp.store` at once for a file that cannot be."""
    store = SQLStore(SQLiteDatabase(path), clock)
    store.prepare()
    return store


def open_store(address: str, clock: Clock) -> Store:
    """The store that an address names; a server is connected to at the first use, not before.

    `memory:`, `sqlite:<path>`, `redis[s]://…`, `valkey[s]://…`, `unix://<socket>` (Redis), or what SQLAlchemy calls a
    database of PostgreSQL, MySQL or MariaDB. Raises SettingsError `rp.settings`, StoreError `rp.store` (SQLite's file).
    """
    if address == "memory:":
        return MemoryStore(clock)
    if is_redis(address):
        return load_extra("redis").RedisStore(address, clock)  # type: ignore[no-any-return]
    scheme, _, path = address.partition(":")
    return SQLiteStore(path, clock) if scheme == "sqlite" and path else SQLStore(open_database(address), clock)


def open_database(address: str) -> Database:
    """The SQL database that an address names. Raises as `open_store`."""
    scheme, _, path = address.partition(":")
    if scheme == "sqlite" and path:
        return SQLiteDatabase(path)
    name, plus, _ = scheme.partition("+")
    if name not in _SQL or not path.startswith("//"):
        raise SettingsError("rp.settings", "no such kind of store; see `store` in the guide")
    if name == "postgres":  # the spelling of libpq, which SQLAlchemy does not take
        address = f"postgresql{plus}{address.removeprefix('postgres').removeprefix(plus)}"
    return load_extra("alchemy").AlchemyDatabase(address)  # type: ignore[no-any-return]


def is_redis(address: str) -> bool:
    """True for an address of Redis or Valkey."""
    scheme, _, rest = address.partition(":")
    return scheme in _REDIS and rest.startswith("//")


def located(address: str, folder: Path) -> str:
    """`address` as it is opened: a path alone is SQLite's, and relative ones start at `folder`."""
    scheme, colon, rest = address.partition(":")
    if scheme == "sqlite" and colon:
        return f"sqlite:{folder / rest}"
    is_address = colon and (address == "memory:" or rest.startswith("//"))
    return address if is_address or not address else f"sqlite:{folder / address}"


def load_extra(name: str) -> Any:
    """A store's module whose packages are an extra of the distribution. Raises SettingsError without them."""
    try:
        return import_module(f"relying_party_sdk.stores.{name}")
    except ImportError as error:
        extra = {"alchemy": "sql"}.get(name, "redis")
        raise SettingsError("rp.settings", f"this store needs crosshall-rp[{extra}]") from error
