"""One contract for every store; and what SQLite adds: other processes, restarts, a file of its owner's only."""

from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from relying_party_sdk import SettingsError, StoreError
from relying_party_sdk.stores import MemoryStore, SQLiteStore, Store, open_store
from tests.unit.rp.conftest import Clock


@pytest.fixture(name="store", params=["memory", "sqlite"])
def _store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    store: Store = MemoryStore(clock) if request.param == "memory" else SQLiteStore(tmp_path / "s.sqlite", clock)
    yield store
    store.close()


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
    """Purging removes what has expired, and nothing else."""
    store.put("a", "old", b"", clock.now + 10, ["t"])
    store.put("a", "new", b"", clock.now + 20, ["t"])
    clock.pass_(10)
    assert (store.purge(), store.purge()) == (1, 0)
    assert list(store.find("a", "t")) == ["new"]


def test_sqlite_is_kept_over_a_restart(tmp_path: Path, clock: Clock) -> None:
    """Another process (or the next one) on the same file sees the same records, and fencing goes on."""
    path = tmp_path / "deep" / "s.sqlite"
    first = SQLiteStore(path, clock)
    first.put("a", "k", b"1", clock.now + 10, ["t"])
    token = first.lock("l", 1)
    first.close()
    clock.pass_(1)
    second = SQLiteStore(path, clock)
    assert (second.get("a", "k"), list(second.find("a", "t"))) == (b"1", ["k"])
    later = second.lock("l", 1)
    assert token is not None
    assert later is not None
    assert later > token
    second.close()


def test_sqlite_file_is_its_owner_s(tmp_path: Path, clock: Clock) -> None:
    """The file and its companions can be read by nobody else."""
    store = SQLiteStore(tmp_path / "s.sqlite", clock)
    store.put("a", "k", b"1", clock.now + 10)
    for file in tmp_path.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    store.close()


_CONTEND = """
import sys, time
from relying_party_sdk.stores import SQLiteStore
store = SQLiteStore(sys.argv[1], time.time)
won = sum(store.add_once("a", str(n), time.time() + 60) for n in range(200))
print(won)
"""


def test_sqlite_across_processes(tmp_path: Path) -> None:
    """Four real processes that open a new file together: each key is added once."""
    command = [sys.executable, "-c", _CONTEND, str(tmp_path / "s.sqlite")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    outputs = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4
    assert sum(int(text) for text in outputs) == 200


def test_sqlite_after_a_fork(tmp_path: Path, clock: Clock) -> None:
    """A worker forked from a process that had the file open uses a connection of its own."""
    store = SQLiteStore(tmp_path / "s.sqlite", clock)
    store.put("a", "k", b"1", clock.now + 10)
    context = multiprocessing.get_context("fork")
    child = context.Process(target=lambda: store.put("a", "child", b"2", clock.now + 10))
    child.start()
    child.join(30)
    assert (child.exitcode, store.get("a", "child")) == (0, b"2")
    store.close()


def test_sqlite_locked(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that another program holds is StoreError `rp.store` after the wait, and works again afterwards."""
    monkeypatch.setattr("relying_party_sdk.stores.sqlite._BUSY", 0.05)
    store = SQLiteStore(tmp_path / "s.sqlite", clock)
    store.close()
    holder = sqlite3.connect(tmp_path / "s.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"rp\.store"):
        store.put("a", "k", b"1", clock.now + 10)
    holder.execute("ROLLBACK")
    holder.close()
    store.put("a", "k", b"1", clock.now + 10)
    assert store.get("a", "k") == b"1"
    store.close()


def test_sqlite_full(tmp_path: Path, clock: Clock) -> None:
    """A database that cannot grow is StoreError `rp.store`, and nothing is half written."""
    store = SQLiteStore(tmp_path / "s.sqlite", clock)
    with store._connection() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match=r"rp\.store"):
        store.put("a", "k", b"x" * 1_000_000, clock.now + 10, ["t"])
    assert (store.get("a", "k"), list(store.find("a", "t"))) == (None, [])
    store.close()


@pytest.mark.parametrize("content", [b"no database" * 100, b""])
def test_sqlite_of_another_kind(tmp_path: Path, clock: Clock, content: bytes) -> None:
    """A file that is no database is StoreError; an empty one becomes a store."""
    path = tmp_path / "s.sqlite"
    path.write_bytes(content)
    if content:
        with pytest.raises(StoreError):
            SQLiteStore(path, clock)
        return
    SQLiteStore(path, clock).close()


def test_folder_that_cannot_be(clock: Clock, tmp_path: Path) -> None:
    """A path below a file is StoreError at start."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError):
        SQLiteStore(tmp_path / "file" / "s.sqlite", clock)


@pytest.mark.parametrize("address", ["", "sqlite:", "redis://x", "memory", "/path"])
def test_address_of_no_store(address: str, clock: Clock) -> None:
    """Only `memory:` and `sqlite:<path>` name a store."""
    with pytest.raises(SettingsError):
        open_store(address, clock)
