"""The bridge's state: one store over SQLite (WAL) or PostgreSQL, shared by every worker (design §7).

    store = open_store(settings.database.url, box, clock)     Store: put, get, take, add_once, delete, lock, purge
    Sessions(store, seconds)                                   who is signed in, and logouts still to be told
    People(store)                                              which accreditations proved a person
    Releases(store)                                            which attributes went to which window

Everything that is kept is sealed (AES-256-GCM) except pseudonymous keys, times and levels. Times are aware UTC.
Faults are StoreError: `store.locked`, `store.full`, `store.unavailable`, `store.version`, `store.fault`.
"""

from ca_bridge.store.box import Box
from ca_bridge.store.items import Store, open_store
from ca_bridge.store.migrate import migrate

__all__ = ["Box", "Store", "migrate", "open_store"]
