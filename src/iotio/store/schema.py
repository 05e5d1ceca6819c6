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

__all__ = ["alembic_config", "check", "upgrade"]

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
    there = _revision(connection)
    if there == script.get_current_head():
        return
    _check_known(there, script, name)
    config.attributes["connection"] = connection
    with _quiet():
        command.upgrade(config, "head")


def check(connection: Connection, name: str) -> None:
    """See to it that the database has the newest schema, without a change to it.

    Args:
        connection: to the database.
        name: of the database, for people.

    Raises:
        StoreError: it has another one, or none.
        StoreDamaged: it does not say which schema it has.
    """
    script = ScriptDirectory.from_config(alembic_config())
    there = _revision(connection)
    if there is None:
        raise StoreError(f"there is no store in {name}")
    _check_known(there, script, name)
    if there != script.get_current_head():
        raise StoreError(f"{name} is of an earlier iotio: start the server once, which brings it up to date")


def _revision(connection: Connection) -> str | None:
    with _quiet():
        context = MigrationContext.configure(connection, opts={"version_table": SCHEMA_TABLE})
    try:
        return context.get_current_revision()
    except util.CommandError as error:  # several
        raise StoreDamaged(f"the table {SCHEMA_TABLE} does not say which schema it has: {error}") from error


def _check_known(there: str | None, script: ScriptDirectory, name: str) -> None:
    if there is not None and there not in {one.revision for one in script.walk_revisions()}:
        raise StoreError(
            f"{name} has the schema {there} of a newer iotio, this one knows the schemas up to"
            f" {script.get_current_head()}: install the newer iotio again (pip install --upgrade iotio),"
            " or name another file"
        )


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
