"""A store in an SQL database: SQLite, PostgreSQL, MySQL, MariaDB; one set of portable statements for all."""

# ruff: noqa: D102 - the methods speak in the protocol, `stores/protocol.py`

from __future__ import annotations

from collections.abc import Sequence

from relying_party_sdk.stores.database import Cursor, Database
from relying_party_sdk.stores.protocol import Clock

TABLES = (
    """CREATE TABLE crosshall_rp_records (
    kind VARCHAR(32) NOT NULL, name {name} NOT NULL, value {blob} NOT NULL, expires DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (kind, name))""",
    "CREATE INDEX crosshall_rp_records_expires ON crosshall_rp_records (expires)",
    """CREATE TABLE crosshall_rp_tags (
    kind VARCHAR(32) NOT NULL, tag {name} NOT NULL, name {name} NOT NULL, expires DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (kind, tag, name))""",
    "CREATE INDEX crosshall_rp_tags_name ON crosshall_rp_tags (kind, name)",
    "CREATE INDEX crosshall_rp_tags_expires ON crosshall_rp_tags (expires)",
    """CREATE TABLE crosshall_rp_locks (
    name {name} NOT NULL, token BIGINT NOT NULL, expires DOUBLE PRECISION NOT NULL, PRIMARY KEY (name))""",
    "CREATE TABLE crosshall_rp_fence (id INTEGER NOT NULL, last BIGINT NOT NULL, PRIMARY KEY (id))",
)
"""What a database administrator may make beforehand; else the store does. `{name}` and `{blob}` are types."""

_GET = "SELECT value FROM crosshall_rp_records WHERE kind = :kind AND name = :name AND expires > :now"
_UPDATE = "UPDATE crosshall_rp_records SET value = :value, expires = :expires WHERE kind = :kind AND name = :name"
_INSERT = "INSERT INTO crosshall_rp_records (kind, name, value, expires) VALUES (:kind, :name, :value, :expires)"
_DELETE = "DELETE FROM crosshall_rp_records WHERE kind = :kind AND name = :name"
_EXPIRED = _DELETE + " AND expires <= :now"  # no other: one may have been added since it was looked for
_FENCED = (
    "UPDATE crosshall_rp_records SET value = :value WHERE kind = :kind AND name = :name AND expires > :now "
    "AND EXISTS (SELECT 1 FROM crosshall_rp_locks WHERE name = :lock AND token = :token)"
)
_TAG = "INSERT INTO crosshall_rp_tags (kind, tag, name, expires) VALUES (:kind, :tag, :name, :expires)"
_UNTAG = "DELETE FROM crosshall_rp_tags WHERE kind = :kind AND name = :name"
_FIND = "SELECT name FROM crosshall_rp_tags WHERE kind = :kind AND tag = :tag AND expires > :now"
_HELD = "SELECT expires FROM crosshall_rp_locks WHERE name = :name"
_NEXT = "UPDATE crosshall_rp_fence SET last = last + 1 WHERE id = 1"
_LAST = "SELECT last FROM crosshall_rp_fence WHERE id = 1"
_FIRST = "INSERT INTO crosshall_rp_fence (id, last) VALUES (1, 1)"
_RELOCK = "UPDATE crosshall_rp_locks SET token = :token, expires = :expires WHERE name = :name"
_LOCK = "INSERT INTO crosshall_rp_locks (name, token, expires) VALUES (:name, :token, :expires)"
_UNLOCK = "DELETE FROM crosshall_rp_locks WHERE name = :name AND token = :token"
_PURGE = "DELETE FROM crosshall_rp_{table} WHERE expires <= :now"


class SQLStore:
    """Keeps the store protocol for every process that uses the same database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._prepared = False

    def put(self, kind: str, key: str, value: bytes, expires: float, tags: Sequence[str] = ()) -> None:
        def work(cursor: Cursor) -> None:
            record = {"kind": kind, "name": key, "value": value, "expires": expires}
            if not cursor.run(_UPDATE, **record):  # the record first, always: its row makes others wait
                cursor.run(_INSERT, **record)
            cursor.run(_UNTAG, kind=kind, name=key)
            for tag in dict.fromkeys(tags):
                cursor.run(_TAG, kind=kind, tag=tag, name=key, expires=expires)

        self._ready.together(work)

    def get(self, kind: str, key: str) -> bytes | None:
        rows = self._ready.rows(_GET, kind=kind, name=key, now=self._clock())
        return bytes(rows[0][0]) if rows else None

    def take(self, kind: str, key: str) -> bytes | None:
        database = self._ready

        def work(cursor: Cursor) -> bytes | None:
            rows = cursor.rows(_GET + database.for_update, kind=kind, name=key, now=self._clock())
            if not rows:
                return None
            cursor.run(_UNTAG, kind=kind, name=key)
            gone = cursor.run(_DELETE, kind=kind, name=key)
            return bytes(rows[0][0]) if gone else None

        return database.together(work)

    def add_once(self, kind: str, key: str, expires: float) -> bool:
        def work(cursor: Cursor) -> bool:
            if cursor.rows(_GET, kind=kind, name=key, now=self._clock()):
                return False
            cursor.run(_EXPIRED, kind=kind, name=key, now=self._clock())
            cursor.run(_INSERT, kind=kind, name=key, value=b"", expires=expires)
            return True

        return self._ready.together(work)

    def delete(self, kind: str, key: str) -> bool:
        return self.take(kind, key) is not None

    def find(self, kind: str, tag: str) -> Sequence[str]:
        return [str(row[0]) for row in self._ready.rows(_FIND, kind=kind, tag=tag, now=self._clock())]

    def lock(self, name: str, seconds: float) -> int | None:
        database = self._ready

        def work(cursor: Cursor) -> int | None:
            now = self._clock()
            held = cursor.rows(_HELD + database.for_update, name=name)
            if held and held[0][0] > now:
                return None
            if not cursor.run(_NEXT):
                cursor.run(_FIRST)
            token = int(cursor.rows(_LAST)[0][0])
            cursor.run(_RELOCK if held else _LOCK, name=name, token=token, expires=now + seconds)
            return token

        return database.together(work)

    def unlock(self, name: str, token: int) -> None:
        self._ready.run(_UNLOCK, name=name, token=token)

    def put_fenced(self, kind: str, key: str, value: bytes, *, lock: str, token: int) -> bool:
        values = {"kind": kind, "name": key, "value": value, "now": self._clock(), "lock": lock, "token": token}
        return self._ready.run(_FENCED, **values) == 1

    def purge(self) -> int:
        def work(cursor: Cursor) -> int:
            now = self._clock()
            for table in ("tags", "locks"):
                cursor.run(_PURGE.format(table=table), now=now)
            return cursor.run(_PURGE.format(table="records"), now=now)

        return self._ready.together(work)

    def prepare(self) -> None:
        """Make the tables now, and not at the first use. Raises StoreError `rp.store`."""
        self._database.prepare(TABLES)
        self._prepared = True

    def close(self) -> None:
        self._database.close()

    @property
    def _ready(self) -> Database:
        """The database with its tables: a server that is down when the application starts is asked again."""
        if not self._prepared:
            self.prepare()
        return self._database
