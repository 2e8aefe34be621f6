"""A store in this process's memory: for tests and single-process tools. Other workers do not see it."""

# ruff: noqa: D102 - the methods speak in the protocol, `stores/protocol.py`

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from relying_party_sdk.stores.protocol import Clock


@dataclass(slots=True)
class _Record:
    value: bytes
    expires: float
    tags: frozenset[str]


class MemoryStore:
    """Keeps the store protocol for the threads of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._records: dict[tuple[str, str], _Record] = {}
        self._locks: dict[str, tuple[int, float]] = {}
        self._fence = 0

    def put(self, kind: str, key: str, value: bytes, expires: float, tags: Sequence[str] = ()) -> None:
        with self._guard:
            self._records[kind, key] = _Record(value, expires, frozenset(tags))

    def get(self, kind: str, key: str) -> bytes | None:
        with self._guard:
            record = self._live(kind, key)
            return record.value if record else None

    def take(self, kind: str, key: str) -> bytes | None:
        with self._guard:
            record = self._live(kind, key)
            self._records.pop((kind, key), None)
            return record.value if record else None

    def add_once(self, kind: str, key: str, expires: float) -> bool:
        with self._guard:
            if self._live(kind, key):
                return False
            self._records[kind, key] = _Record(b"", expires, frozenset())
            return True

    def delete(self, kind: str, key: str) -> bool:
        return self.take(kind, key) is not None

    def find(self, kind: str, tag: str) -> Sequence[str]:
        with self._guard:
            now = self._clock()
            return [k for (n, k), r in self._records.items() if n == kind and tag in r.tags and r.expires > now]

    def lock(self, name: str, seconds: float) -> int | None:
        with self._guard:
            now = self._clock()
            if self._locks.get(name, (0, 0.0))[1] > now:
                return None
            self._fence += 1
            self._locks[name] = (self._fence, now + seconds)
            return self._fence

    def unlock(self, name: str, token: int) -> None:
        with self._guard:
            if self._locks.get(name, (0, 0.0))[0] == token:
                del self._locks[name]

    def put_fenced(self, kind: str, key: str, value: bytes, *, lock: str, token: int) -> bool:
        with self._guard:
            record = self._live(kind, key)
            if record is None or self._locks.get(lock, (0, 0.0))[0] != token:
                return False
            record.value = value
            return True

    def purge(self) -> int:
        with self._guard:
            now = self._clock()
            gone = [name for name, record in self._records.items() if record.expires <= now]
            for name in gone:
                del self._records[name]
            self._locks = {name: held for name, held in self._locks.items() if held[1] > now}
            return len(gone)

    def close(self) -> None:
        with self._guard:
            self._records.clear()

    def _live(self, kind: str, key: str) -> _Record | None:
        record = self._records.get((kind, key))
        return record if record and record.expires > self._clock() else None
