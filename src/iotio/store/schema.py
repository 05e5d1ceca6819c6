"""Brings a database to the schema of this version, with Alembic and no file for it on the user's disk."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident

from alembic import command, util
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from iotio.core.storage.contract import StoreDamaged, StoreError

from .tables import SCHEMA_TABLE

__all__ = ["alembic_config", "upgrade"]

_MIGRATIONS = Path(__file__).with_name("migrations")


def alembic_config() -> Config:
    """Make what an alembic.ini would hold."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def upgrade(connection: Connection, name: str) -> None:
    """Bring the database to the newest schema, in the connection's transaction.

    Args:
        connection: in a transaction.
        name: of the database, for people.

    Raises:
        StoreError: a newer version of iotio has written it.
        StoreDamaged: it does not say which schema it has.
    """
    config = alembic_config()
    script = ScriptDirectory.from_config(config)
    with _quiet():
        context = MigrationContext.configure(connection, opts={"version_table": SCHEMA_TABLE})
    try:
        there = context.get_current_revision()
    except util.CommandError as error:  # several
        raise StoreDamaged(f"the table {SCHEMA_TABLE} does not say which schema it has: {error}") from error
    newest = script.get_current_head()
    if there == newest:
        return
    if there is not None and there not in {one.revision for one in script.walk_revisions()}:
        raise StoreError(
            f"{name} has the schema {there} of a newer iotio, this one knows the schemas up to {newest}:"
            " install the newer iotio again (pip install --upgrade iotio), or name another file"
        )
    config.attributes["connection"] = connection
    with _quiet():
        command.upgrade(config, "head")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Alembic says of its ordinary work out of the log of the program, unless that is at DEBUG."""
    mine = get_ident()  # another thread may use Alembic for itself

    def passes(record: logging.LogRecord) -> bool:
        return record.levelno != logging.INFO or record.thread != mine or log.isEnabledFor(logging.DEBUG)

    log = logging.getLogger("alembic.runtime.migration")
    log.addFilter(passes)
    try:
        yield
    finally:
        log.removeFilter(passes)
