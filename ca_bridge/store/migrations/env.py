"""Alembic's entry: runs inside the transaction that `ca_bridge.store.migrate` opened."""

from alembic import context

from ca_bridge.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=False)
# transactional_ddl off: alembic must not open or end transactions of its own, the caller's is the one
context.run_migrations()
