"""The store's contract: values, once-only keys and locks, the same on every database."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from ca_bridge.errors import StoreError
from ca_bridge.store import Box, Store, migrate, open_store
from ca_bridge.store.migrate import newest, version
from ca_bridge.store.tables import items, metadata
from tests.contract.conftest import Hand


def soon(clock: Hand, seconds: float = 60):
    """A time from now."""
    return clock() + timedelta(seconds=seconds)


def at_once(number, work):
    """Run `work(i)` in `number` threads that start together."""
    gate = threading.Barrier(number)

    def one(index):
        gate.wait(10)
        return work(index)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(one, range(number)))


def test_a_value_comes_back_as_it_was_put(store: Store, clock: Hand):
    """put, then get: the same value, and the last put wins."""
    store.put("tx", "one", {"a": 1}, soon(clock))
    store.put("tx", "one", {"name": "张三", "list": [1, None, True]}, soon(clock))
    assert store.get("tx", "one") == {"name": "张三", "list": [1, None, True]}


def test_kinds_are_apart(store: Store, clock: Hand):
    """The same key of another kind is another value."""
    store.put("tx", "one", {"a": 1}, soon(clock))
    assert store.get("code", "one") is None
    assert store.take("code", "one") is None


def test_a_value_past_its_end_is_gone_before_any_purge(store: Store, clock: Hand):
    """At `expires` neither get nor take returns it."""
    store.put("tx", "one", {"a": 1}, soon(clock, 60))
    clock.forward(60)
    assert store.get("tx", "one") is None
    assert store.take("tx", "one") is None


def test_of_many_takers_one_receives(store: Store, clock: Hand):
    """take is atomic: of 8 callers at once exactly one gets the value."""
    store.put("code", "c", {"sid": "s"}, soon(clock))
    got = at_once(8, lambda _: store.take("code", "c"))
    assert sorted(value is not None for value in got) == [False] * 7 + [True]


def test_of_many_adders_one_is_first(store: Store, clock: Hand):
    """add_once is atomic: of 8 callers at once exactly one is told True."""
    assert sum(at_once(8, lambda _: store.add_once("jti", "j", soon(clock)))) == 1


def test_add_once_is_free_again_after_its_end_only(store: Store, clock: Hand):
    """A once-only key can be added again when its time is over, not a microsecond before."""
    assert store.add_once("jti", "j", soon(clock, 60))
    clock.forward(59.999999)
    assert not store.add_once("jti", "j", soon(clock, 60))
    clock.forward(0.000001)
    assert store.add_once("jti", "j", soon(clock, 60))


def test_delete_removes_and_may_be_repeated(store: Store, clock: Hand):
    """delete of what is not there is no error."""
    store.put("tx", "one", {}, soon(clock))
    store.delete("tx", "one")
    store.delete("tx", "one")
    assert store.get("tx", "one") is None


def test_purge_removes_exactly_what_is_over(store: Store, clock: Hand):
    """purge(now) removes values whose end has come and no other."""
    store.put("tx", "old", {}, soon(clock, 10))
    store.put("tx", "new", {}, soon(clock, 11))
    assert store.purge(soon(clock, 10)) == 1
    assert store.get("tx", "new") == {}


def test_nothing_readable_lies_in_the_database(store: Store, clock: Hand):
    """Neither the key nor the value is in the row: the key is hashed, the value sealed."""
    store.put("tx", "secret-key", {"number": "440105199001011234"}, soon(clock))
    with store.database.read() as connection:
        row = connection.execute(sa.select(items)).one()
    assert b"440105199001011234" not in row.value
    assert "secret-key" not in row.key


def test_a_sealed_value_opens_only_in_its_place(store: Store, clock: Hand):
    """A value copied to another key (by somebody who can write the database) is refused."""
    store.put("tx", "mine", {"person": "a"}, soon(clock))
    store.put("tx", "yours", {"person": "b"}, soon(clock))
    with store.database.write() as connection:
        values = connection.scalars(sa.select(items.c.value)).all()
        connection.execute(sa.update(items).values(value=values[0]))
    taken = [key for key in ("mine", "yours") if opens(store, key)]
    assert len(taken) == 1, "each opens in its own place only"


def opens(store: Store, key: str) -> bool:
    """Whether the value under `key` opens; it may only be refused as sealed."""
    try:
        return store.get("tx", key) is not None
    except StoreError as error:
        if error.code != "store.sealed":
            raise
        return False


def test_another_key_opens_nothing(store: Store, clock: Hand, url: str):
    """With another attribute key a value is refused, not returned as rubbish."""
    store.put("tx", "one", {"a": 1}, soon(clock))
    other = open_store(url, Box(b"x" * 32), clock)
    try:
        with pytest.raises(StoreError, match=r"store\.sealed"):
            other.get("tx", "one")
    finally:
        other.close()


def test_a_lock_is_held_by_one(store: Store, clock: Hand):
    """Of 8 callers at once one gets the lock; the others None."""
    tokens = at_once(8, lambda _: store.lock("watcher", 30))
    assert [token for token in tokens if token] == [1]


def test_the_fencing_token_only_grows(store: Store, clock: Hand):
    """After time or unlock the next token is greater; the old holder can no longer extend."""
    first = store.lock("watcher", 30)
    clock.forward(30)
    second = store.lock("watcher", 30)
    assert first is not None
    assert second is not None
    assert second > first
    assert not store.extend("watcher", first, 30)
    store.unlock("watcher", first)
    assert store.lock("watcher", 30) is None, "an old token must not unlock the new holder's lock"
    store.unlock("watcher", second)
    store.purge(soon(clock, 9999))
    assert store.lock("watcher", 30) == second + 1


def test_extend_keeps_the_lock(store: Store, clock: Hand):
    """The holder may go on; nobody else gets in meanwhile."""
    token = store.lock("watcher", 30)
    assert token
    clock.forward(29)
    assert store.extend("watcher", token, 30)
    clock.forward(29)
    assert store.lock("watcher", 30) is None


def test_a_transaction_that_raises_leaves_nothing(store: Store, clock: Hand):
    """Whole or not at all: an error in the block undoes what was written."""
    row = {"kind": "tx", "key": "k", "value": b"v", "expires": clock()}

    def fail() -> None:
        with store.database.write() as connection:
            connection.execute(sa.insert(items).values(row))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with store.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(items)) == 0


def test_a_locked_database_is_an_error_with_a_code(store: Store, clock: Hand, url: str, box: Box):
    """While another holds what we need, we wait our time, then `store.locked`; nothing is half done; then it works."""
    store.put("tx", "one", {"a": 1}, soon(clock))
    impatient = open_store(url, box, clock, busy_seconds=0.05)
    try:
        with store.database.write() as connection:
            connection.execute(sa.update(items).values(expires=soon(clock, 1000)))
            with pytest.raises(StoreError) as refused:
                impatient.put("tx", "one", {"a": 2}, soon(clock))
        assert refused.value.code == "store.locked"
        assert impatient.get("tx", "one") == {"a": 1}
        impatient.put("tx", "one", {"a": 2}, soon(clock))
    finally:
        impatient.close()


def test_a_database_without_tables_is_an_error_with_a_code(url: str, box: Box, clock: Hand):
    """Before `bridge migrate`: `store.version`, never a traceback of the driver."""
    empty = open_store(url, box, clock)
    try:
        with pytest.raises(StoreError) as refused:
            empty.ping()
        assert refused.value.code == "store.version"
    finally:
        empty.close()


def test_migrating_twice_and_at_once_is_the_same_as_once(url: str, box: Box, clock: Hand):
    """Four starts at once: one makes the tables, all succeed, the version is the newest."""
    at_once(4, lambda _: migrate(url))
    store = open_store(url, box, clock)
    try:
        assert version(store.database) == newest()
        store.ping()
    finally:
        store.close()


def test_a_database_of_a_newer_version_is_refused(store: Store, url: str):
    """`migrate` never touches what it does not know."""
    with store.database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError) as refused:
        migrate(url)
    assert refused.value.code == "store.version"


def test_the_migrations_make_the_tables_that_the_code_uses(store: Store):
    """Same tables, columns, nullability and indexes in the database as in `tables.py`."""
    seen = sa.inspect(store.database.engine)
    for table in metadata.sorted_tables:
        columns = {column["name"]: column["nullable"] for column in seen.get_columns(table.name)}
        assert columns == {column.name: bool(column.nullable) for column in table.columns}
        indexes = {index["name"] for index in seen.get_indexes(table.name) if not index.get("duplicates_constraint")}
        assert {index.name for index in table.indexes} == {name for name in indexes if not name.startswith("sqlite_")}
