"""What a store promises: one protocol, kept by every store, with one contract test for all.

Values are bytes that the core has already sealed; tags are keyed hashes. A store learns nothing about a person.
Times are seconds since 1970 (UTC). Every failure is StoreError `rp.store`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

Clock = Callable[[], float]
"""Returns now in seconds since 1970 (UTC). Passed in wherever time matters."""


class Store(Protocol):
    """What the core asks of a store; each method is atomic across threads and across all processes that share it."""

    def put(self, kind: str, key: str, value: bytes, expires: float, tags: Sequence[str] = ()) -> None:
        """Write or overwrite; after `expires` the record is gone for every reader."""

    def get(self, kind: str, key: str) -> bytes | None:
        """The value, unless absent or expired."""

    def take(self, kind: str, key: str) -> bytes | None:
        """The value, once: of several callers exactly one receives it."""

    def add_once(self, kind: str, key: str, expires: float) -> bool:
        """True for the first caller until `expires`, False for all others."""

    def delete(self, kind: str, key: str) -> bool:
        """Remove; True when something was there."""

    def find(self, kind: str, tag: str) -> Sequence[str]:
        """Keys of the live records that carry `tag`."""

    def lock(self, name: str, seconds: float) -> int | None:
        """A fencing token that grows with every grant, or None while another holder's time is not over."""

    def unlock(self, name: str, token: int) -> None:
        """Give the lock back; nothing happens when it has passed to another holder."""

    def put_fenced(self, kind: str, key: str, value: bytes, *, lock: str, token: int) -> bool:
        """Overwrite an existing record, only if `token` is still the newest grant of `lock`; False when not."""

    def purge(self) -> int:
        """Remove what has expired; how many records went."""

    def close(self) -> None:
        """Give back files and connections."""
