"""Every store of the SDK, each a real one: memory, SQLite, PostgreSQL, Redis; empty for every test.

`CROSSHALL_TEST_STORE` adds the address of another empty database, such as a MariaDB.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from relying_party_sdk.stores import Store, open_store
from tests.parts.postgres import Cluster
from tests.parts.redis import Server, redis_server
from tests.unit.rp.conftest import Clock

MORE = {"more": os.environ["CROSSHALL_TEST_STORE"]} if "CROSSHALL_TEST_STORE" in os.environ else {}
STORES = ("memory", "sqlite", "postgresql", "redis", *MORE)


@pytest.fixture(scope="session", name="redis_store")
def _redis() -> Iterator[Server]:
    """One Redis for the whole run."""
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session", name="database")
def _database(cluster: Cluster) -> Iterator[str]:
    """One PostgreSQL database for the whole run."""
    with cluster.database("rp") as url:
        yield url


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


@pytest.fixture(name="address", params=STORES)
def _address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store of each kind."""
    return empty(request.param, request, tmp_path)


def empty(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """The address of a store of a kind, emptied."""
    if kind == "memory":
        return "memory:"
    if kind == "sqlite":
        return f"sqlite:{folder / 'store.sqlite'}"
    if kind == "redis":
        server: Server = request.getfixturevalue("redis_store")
        with server.client() as client:
            client.flushall()
        return server.url
    address: str = MORE[kind] if kind in MORE else request.getfixturevalue("database")
    engine = sa.create_engine(address)
    with engine.begin() as connection:
        for table in sa.inspect(connection).get_table_names():
            connection.execute(sa.text(f"DELETE FROM {table}"))
    engine.dispose()
    return address


@pytest.fixture(name="store")
def _store(address: str, clock: Clock) -> Iterator[Store]:
    store = open_store(address, clock)
    yield store
    store.close()
