"""One contract for every store, each a real one; and what happens while its server is away."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from relying_party_sdk import StoreError
from relying_party_sdk.stores import Store, open_store
from relying_party_sdk.stores.sql import TABLES
from tests.contract.rp.conftest import Clock
from tests.parts.postgres import Cluster, postgres
from tests.parts.redis import Server, redis_server


def test_put_get_overwrite_delete(store: Store, clock: Clock) -> None:
    """What is put is got, the last one wins, kinds do not mix, and a deleted record is gone."""
    store.put("a", "k", b"1", clock.now + 10)
    store.put("a", "k", b"2", clock.now + 10)
    assert (store.get("a", "k"), store.get("b", "k"), store.get("a", "other")) == (b"2", None, None)
    assert (store.delete("a", "k"), store.delete("a", "k"), store.get("a", "k")) == (True, False, None)


def test_expired_is_gone_for_every_reader(store: Store, clock: Clock) -> None:
    """From `expires` on a record cannot be got, taken, found, or written to, purged or not."""
    store.put("a", "k", b"1", clock.now + 10, ["t"])
    token = store.lock("l", 100)
    assert token is not None
    clock.pass_(10)
    assert store.get("a", "k") is None
    assert list(store.find("a", "t")) == []
    assert store.put_fenced("a", "k", b"2", lock="l", token=token) is False
    assert store.take("a", "k") is None


def test_take_is_once(store: Store, clock: Clock) -> None:
    """Of many threads that take, one receives."""
    store.put("a", "k", b"1", clock.now + 10)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: store.take("a", "k"), range(8)))
    assert sorted(taken, key=str).count(b"1") == 1
    assert taken.count(None) == 7


def test_add_once(store: Store, clock: Clock) -> None:
    """Of many threads that add, one is first; after the time it may be added again."""
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: store.add_once("a", "k", clock.now + 10), range(8))).count(True) == 1
    clock.pass_(10)
    assert store.add_once("a", "k", clock.now + 10) is True


def test_find_by_tag(store: Store, clock: Clock) -> None:
    """Records are found by each tag they were last put with, and by no other."""
    store.put("a", "1", b"", clock.now + 10, ["x", "y"])
    store.put("a", "2", b"", clock.now + 10, ["x"])
    store.put("b", "3", b"", clock.now + 10, ["x"])
    assert sorted(store.find("a", "x")) == ["1", "2"]
    store.put("a", "1", b"", clock.now + 10, ["y"])
    store.delete("a", "2")
    assert (list(store.find("a", "x")), list(store.find("a", "y"))) == ([], ["1"])


def test_lock_is_exclusive_and_fenced(store: Store, clock: Clock) -> None:
    """One holder at a time; a later grant has a greater token, and an old one can neither write nor unlock."""
    store.put("a", "k", b"0", clock.now + 1000)
    first = store.lock("l", 10)
    assert first is not None
    assert store.lock("l", 10) is None
    assert store.lock("other", 10) is not None
    clock.pass_(10)
    second = store.lock("l", 10)
    assert second is not None
    assert second > first
    assert store.put_fenced("a", "k", b"1", lock="l", token=first) is False
    store.unlock("l", first)
    assert store.lock("l", 10) is None
    assert store.put_fenced("a", "k", b"2", lock="l", token=second) is True
    store.unlock("l", second)
    assert store.put_fenced("a", "k", b"3", lock="l", token=second) is False
    assert store.get("a", "k") == b"2"
    third = store.lock("l", 10)
    assert third is not None
    assert third > second


def test_fenced_write_never_creates(store: Store) -> None:
    """A record that was deleted is not written back, and a fenced write keeps expiry and tags."""
    token = store.lock("l", 10)
    assert token is not None
    assert store.put_fenced("a", "gone", b"1", lock="l", token=token) is False


def test_purge(store: Store, clock: Clock) -> None:
    """Purging removes what has expired (with Redis the server does so itself), and nothing else."""
    store.put("a", "old", b"", clock.now + 10, ["t"])
    store.put("a", "new", b"", clock.now + 20, ["t"])
    clock.pass_(10)
    assert store.purge() in (0, 1)
    assert store.purge() == 0
    assert list(store.find("a", "t")) == ["new"]
    assert (store.get("a", "old"), store.get("a", "new")) == (None, b"")


def test_overwriting_changes_expiry_and_tags(store: Store, clock: Clock) -> None:
    """The last put decides value, end and tags, all of them."""
    store.put("a", "k", b"1", clock.now + 10, ["x"])
    store.put("a", "k", b"2", clock.now + 30, ["y"])
    clock.pass_(20)
    assert (store.get("a", "k"), list(store.find("a", "x")), list(store.find("a", "y"))) == (b"2", [], ["k"])
    store.put("a", "k", b"3", clock.now + 1)
    clock.pass_(1)
    assert (store.get("a", "k"), list(store.find("a", "y"))) == (None, [])


def test_fenced_write_keeps_expiry_and_tags(store: Store, clock: Clock) -> None:
    """A fenced write changes the value alone."""
    store.put("a", "k", b"1", clock.now + 10, ["x"])
    token = store.lock("l", 5)
    assert token is not None
    assert store.put_fenced("a", "k", b"2", lock="l", token=token) is True
    assert (store.get("a", "k"), list(store.find("a", "x"))) == (b"2", ["k"])
    clock.pass_(10)
    assert (store.get("a", "k"), list(store.find("a", "x"))) == (None, [])


def test_values_are_bytes_of_any_kind(store: Store, clock: Clock) -> None:
    """Zero bytes, nothing, and a hundred kilobytes come back as they were; keys keep case and colons."""
    for number, value in enumerate((b"", bytes(range(256)), b"x" * 100_000)):
        store.put("a", f"Key:{number}", value, clock.now + 10)
        assert store.get("a", f"Key:{number}") == value
        assert store.get("a", f"key:{number}") is None
        assert store.take("a", f"Key:{number}") == value


def test_put_at_once(store: Store, clock: Clock) -> None:
    """Threads that put under one key at once all succeed, and one of them is what is there."""
    gate = threading.Barrier(8)

    def put(number: int) -> None:
        gate.wait(10)
        store.put("a", "k", b"%d" % number, clock.now + 10, ["t", f"t{number}"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(8)))
    value = store.get("a", "k")
    assert value is not None
    assert list(store.find("a", "t")) == ["k"]
    assert [n for n in range(8) if list(store.find("a", f"t{n}"))] == [int(value)]


def test_lock_at_once(store: Store) -> None:
    """Of threads that want a lock at once, one gets it; each grant has a token of its own."""
    gate = threading.Barrier(8)

    def lock(number: int) -> tuple[int | None, int | None]:
        gate.wait(10)
        return store.lock("all", 10), store.lock(f"own{number}", 10)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lock, range(8)))
    shared = [token for token, _ in found if token is not None]
    own = [token for _, token in found]
    assert len(shared) == 1
    assert None not in own
    assert len({*shared, *own}) == 9


_CONTEND = """
import sys, time
from relying_party_sdk.stores import open_store
store = open_store(sys.argv[1], time.time)
print("ready", flush=True)
sys.stdin.readline()
added = sum(store.add_once("a", str(n), time.time() + 60) for n in range(40))
taken = sum(store.take("b", str(n)) is not None for n in range(40))
locks = [store.lock(f"l{n}", 60) for n in range(40)]
print(added, taken, *[token for token in locks if token is not None])
"""


def test_across_processes(address: str) -> None:
    """Real processes at one store: each key is added once, taken once, locked once, and no token is given twice."""
    if address == "memory:":  # is one process's by definition
        return
    store = open_store(address, lambda: 1_000.0)
    for number in range(40):
        store.put("b", str(number), b"1", 4_000_000_000.0)
    store.close()
    command = [sys.executable, "-c", _CONTEND, address]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [[int(word) for word in process.communicate(timeout=60)[0].split()] for process in running]
    assert [sum(column) for column in zip(*(each[:2] for each in outputs), strict=True)] == [40, 40]
    tokens = [token for each in outputs for token in each[2:]]
    assert len(tokens) == len(set(tokens)) == 40


def test_tables_are_made_once(cluster: Cluster, clock: Clock) -> None:
    """Workers that start together on an empty database make its tables without disturbing each other."""
    with cluster.database("rp_fresh") as url:
        stores = [open_store(url, clock) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda s: s.add_once("a", "k", clock.now + 10), stores)).count(True) == 1
        for store in stores:
            store.close()


def test_tables_made_beforehand(cluster: Cluster, clock: Clock) -> None:
    """Where an administrator made the tables, the store needs no right to make any; without them it says so."""
    with cluster.database("rp_given") as url:
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE ROLE modest LOGIN"))
            connection.execute(sa.text("REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
        modest = url.replace("crosshall@", "modest@")
        store = open_store(modest, clock)
        with pytest.raises(StoreError, match=r"rp\.store"):
            store.get("a", "k")
        with engine.begin() as connection:
            for statement in TABLES:
                connection.execute(sa.text(statement.format(name="VARCHAR(255)", blob="BYTEA")))
            connection.execute(sa.text("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO modest"))
        store.put("a", "k", b"1", clock.now + 10, ["t"])
        assert store.get("a", "k") == b"1"
        assert store.lock("l", 10) == 1
        store.close()
        with engine.begin() as connection:
            connection.execute(sa.text("DROP OWNED BY modest"))
            connection.execute(sa.text("DROP ROLE modest"))
        engine.dispose()


def _every_call(store: Store, clock: Clock) -> list[str]:
    """The error codes of every method."""
    calls = {
        "get": lambda: store.get("a", "k"),
        "put": lambda: store.put("a", "k", b"1", clock.now + 10),
        "take": lambda: store.take("a", "k"),
        "add_once": lambda: store.add_once("a", "x", clock.now + 10),
        "delete": lambda: store.delete("a", "k"),
        "find": lambda: store.find("a", "t"),
        "lock": lambda: store.lock("l", 10),
        "unlock": lambda: store.unlock("l", 1),
        "put_fenced": lambda: store.put_fenced("a", "k", b"1", lock="l", token=1),
    }
    codes = []
    for call in calls.values():
        with pytest.raises(StoreError) as caught:
            call()
        codes.append(caught.value.code)
    return codes


def test_redis_away_and_back(clock: Clock) -> None:
    """Every call while the server is away is StoreError `rp.store`; when it is back the same store works again."""
    with redis_server() as server:
        store = open_store(server.url, clock)
        store.put("a", "k", b"1", clock.now + 10)
        server.stop()
        assert set(_every_call(store, clock)) == {"rp.store"}
        server.start()
        assert store.get("a", "k") is None
        store.put("a", "k", b"2", clock.now + 10)
        assert store.take("a", "k") == b"2"
        store.close()


def test_postgresql_away_and_back(clock: Clock) -> None:
    """Every call while the server is away is StoreError `rp.store`; after its restart the same store goes on."""
    with postgres() as cluster, cluster.database("away") as url:
        late = open_store(url, clock)
        store = open_store(url, clock)
        with ThreadPoolExecutor(4) as pool:  # several connections, all dead afterwards
            list(pool.map(lambda n: store.put("a", f"k{n}", b"1", clock.now + 10), range(8)))
        cluster.control("-m", "immediate", "stop")
        assert set(_every_call(store, clock)) == {"rp.store"}
        assert set(_every_call(late, clock)) == {"rp.store"}
        cluster.start()
        assert store.get("a", "k3") == b"1"
        assert late.take("a", "k4") == b"1"
        cluster.control("-m", "fast", "restart")
        assert store.add_once("a", "again", clock.now + 10) is True
        cluster.control("-m", "fast", "restart")
        assert late.get("a", "k5") == b"1"
        store.close()
        late.close()


def test_redis_keeps_nothing_behind(redis_store: Server, clock: Clock) -> None:
    """Every key but the fencing counter has a time to live a minute beyond its end; a tag's lives as long as needed."""
    with redis_store.client() as client:
        client.flushall()
        store = open_store(redis_store.url, clock)
        store.put("a", "long", b"1", clock.now + 1000, ["t"])
        store.put("a", "short", b"1", clock.now + 10, ["t"])
        store.add_once("a", "once", clock.now + 20)
        store.lock("l", 30)
        lives = {name.decode(): client.ttl(name) for name in client.scan_iter()}
        ends = {"a:long": 1060, "a:short": 70, "a:once": 80, "lock:l": 90, "tag:a:t": 1060, "fence": 31_536_000}
        assert {name.partition("}:")[2]: True for name in lives} == dict.fromkeys(ends, True)
        for name, end in ends.items():
            assert end - 5 <= lives["{crosshall-rp}:" + name] <= end, name
        clock.pass_(500)
        store.put("a", "new", b"1", clock.now + 10, ["t"])
        assert client.zcard("{crosshall-rp}:tag:a:t") == 2
        for name in ("long", "new", "short"):
            store.delete("a", name)
        assert not client.exists("{crosshall-rp}:tag:a:t")
        store.close()


def test_fork_after_use(database: str, clock: Clock) -> None:
    """A worker forked from a process that had used the database speaks over a connection of its own."""
    program = (
        "import os, sys; from relying_party_sdk.stores import open_store\n"
        "store = open_store(sys.argv[1], lambda: 1.0); store.put('a', 'fork', b'1', 9e9)\n"
        "child = os.fork()\n"
        "for n in range(50): assert store.get('a', 'fork') == b'1'\n"
        "sys.exit(0) if not child else print(os.waitpid(child, 0)[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", program, database], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr


def test_database_of_another_kind() -> None:
    """What is no address of a supported database is refused at start."""
    for address in ("oracle://x/y", "postgresql+nothing://x/y", "mysql+absent://x"):
        with pytest.raises(Exception, match=r"rp\.settings"):
            open_store(address, lambda: 0.0)
