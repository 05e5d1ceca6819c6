"""Run by Alembic, from `iotio.store.schema`, which passes the connection; not to be imported."""

from __future__ import annotations

from alembic import context

from iotio.store.tables import SCHEMA_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=SCHEMA_TABLE,
    transactional_ddl=True,  # the caller's transaction: a kill in the middle leaves the old schema
    render_as_batch=True,  # SQLite alters a table by making it anew
)
context.run_migrations()
