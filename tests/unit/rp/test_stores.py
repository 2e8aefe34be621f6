"""What SQLite adds to the contract of stores: other processes, restarts, a file of its owner's only; addresses."""

from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from relying_party_sdk import SettingsError, StoreError
from relying_party_sdk.stores import SQLiteStore, open_store
from relying_party_sdk.stores.sql import TABLES
from tests.unit.rp.conftest import Clock


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
    with store._database._connection() as db:  # type: ignore[attr-defined]
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


@pytest.mark.parametrize(
    "address",
    ["", "sqlite:", "redis:x", "memory", "/path", "http://x/y", "oracle://x/y", "postgresql:x", "redis://x:port"],
)
def test_address_of_no_store(address: str, clock: Clock) -> None:
    """What names no store that there is fails at start."""
    with pytest.raises(SettingsError):
        open_store(address, clock)


def test_tables_of_the_guide() -> None:
    """The statements that an administrator is given make exactly the tables that the store would make."""
    guide = (Path(__file__).parents[3] / "docs" / "windows-stores.md").read_text("utf-8")
    given = guide.partition("```sql\n")[2].partition("```")[0].split(";")[:-1]
    ours = [each.format(name="VARCHAR(255)", blob="BYTEA") for each in TABLES]
    plain = [[" ".join(each.split()).replace("( ", "(") for each in side] for side in (given, ours)]
    assert plain[0] == plain[1]
