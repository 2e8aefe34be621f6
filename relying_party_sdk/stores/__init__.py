"""Where sessions and pending sign-ins are kept: in memory (one process) or in SQLite (all processes of a machine)."""

from __future__ import annotations

from relying_party_sdk.errors import SettingsError
from relying_party_sdk.stores.memory import MemoryStore
from relying_party_sdk.stores.protocol import Clock, Store
from relying_party_sdk.stores.sqlite import SQLiteStore

__all__ = ["Clock", "MemoryStore", "SQLiteStore", "Store", "open_store"]


def open_store(address: str, clock: Clock) -> Store:
    """The store that `memory:` or `sqlite:<path>` names. Raises SettingsError `rp.settings`, StoreError `rp.store`."""
    if address == "memory:":
        return MemoryStore(clock)
    scheme, _, path = address.partition(":")
    if scheme == "sqlite" and path:
        return SQLiteStore(path, clock)
    raise SettingsError("rp.settings", "store is neither memory: nor sqlite:<path>")
