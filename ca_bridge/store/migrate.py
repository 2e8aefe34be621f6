"""Bringing a database to this version of the tables, by alembic; the scripts travel in the wheel beside this file."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from ca_bridge.errors import StoreError
from ca_bridge.store.database import Database

_ADVISORY_LOCK = 0x63726F7373  # any number that only we use


def migrate(url: str, *, busy_seconds: float = 30.0) -> str:
    """Bring the database at `url` to this version, in one transaction, one caller at a time; returns the version.

    Raises StoreError: `store.version` when a newer Crosshall has written it, else the database's fault.
    """
    database = Database(url, busy_seconds=busy_seconds)
    config = _config()
    try:
        with database.write() as connection:
            if database.dialect == "postgresql":
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ADVISORY_LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError("store.version", "the database was written by a newer version") from error
    finally:
        database.close()
    return newest()


def version(database: Database) -> str:
    """The version the database is at; empty when it has no tables. Raises StoreError."""
    with database.read() as connection:
        return MigrationContext.configure(connection).get_current_revision() or ""


def newest() -> str:
    """The version that this code needs."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config
