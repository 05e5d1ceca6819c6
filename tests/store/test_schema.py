"""Migrations: from nothing, from an earlier version, from a newer one, and what fails on the way."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from iotio.core.storage.contract import PutDevice, StoreError
from iotio.store import open_store
from iotio.store.schema import alembic_config, upgrade
from iotio.store.tables import SCHEMA_TABLE

from .records import device

NEWEST = ScriptDirectory.from_config(alembic_config()).get_current_head()


def versions(path: Path) -> list[tuple[str]]:
    """The rows of the table that says which schema the file has."""
    with closing(sqlite3.connect(path)) as raw:
        return raw.execute(f"SELECT version_num FROM {SCHEMA_TABLE}").fetchall()


def test_a_schema_of_a_newer_version(path: Path) -> None:
    with closing(open_store(f"sqlite:///{path}")) as store:
        store.commit([PutDevice(device())])
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute(f"UPDATE {SCHEMA_TABLE} SET version_num = '9999'")
    with pytest.raises(
        StoreError, match=rf"has the schema 9999 of a newer iotio, .* up to {NEWEST}: install the newer iotio"
    ):
        open_store(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as raw, raw:
        assert raw.execute("SELECT count(*) FROM iotio_devices").fetchone() == (1,)
        raw.execute(f"UPDATE {SCHEMA_TABLE} SET version_num = '{NEWEST}'")
    with closing(open_store(f"sqlite:///{path}")) as store:
        assert store.load().devices == (device(),)


def test_a_file_of_an_earlier_version(path: Path) -> None:
    """What it holds stays, and there is no word in it of when a device wakes up."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            text("INSERT INTO iotio_devices VALUES ('lamp', 'lamp', NULL, '[]', 'sleeping', 1, 2, 's', 3, NULL, 0)")
        )
    engine.dispose()
    with closing(open_store(f"sqlite:///{path}")) as store:
        (kept,) = store.load().devices
        assert (kept.id, kept.presence, kept.wakes, kept.counter) == ("lamp", "sleeping", None, 3)
        assert kept.returned, "nobody knows"
        assert kept.declaration is None
        assert (kept.name, kept.note) == ("", "")
        assert store.load().twins == ()
        store.commit([PutDevice(device(wakes=9.5))])
        assert [one.wakes for one in store.load().devices] == [9.5]


def test_there_is_one_newest_schema() -> None:
    script = ScriptDirectory.from_config(alembic_config())
    assert script.get_heads() == [script.get_current_head()]
    assert [one.revision for one in script.walk_revisions()][-1] == "0001"


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = command.upgrade

    def fails(*arguments: Any) -> None:
        upgrade(*arguments)
        raise KeyError("after the tables were made")

    monkeypatch.setattr(command, "upgrade", fails)
    with pytest.raises(KeyError):
        open_store(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT name FROM sqlite_master").fetchall() == []
    monkeypatch.undo()
    open_store(f"sqlite:///{path}").close()


def test_a_second_upgrade_changes_nothing(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    for _ in range(2):
        with engine.begin() as connection:
            upgrade(connection, str(path))
        assert versions(path) == [(NEWEST,)]
    engine.dispose()


def test_the_schema_is_rolled_back_with_the_transaction_of_the_caller(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")  # which sqlite3 does not do before it makes a table
        upgrade(connection, "it")
        connection.rollback()
        assert connection.execute(text("SELECT name FROM sqlite_master")).fetchall() == []
    engine.dispose()


def test_the_migrations_are_found_wherever_they_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alembic reads its settings as an ini file, in which % begins a name."""
    monkeypatch.setattr("iotio.store.schema._MIGRATIONS", Path("/srv/100%(here)s/migrations"))
    assert alembic_config().get_main_option("script_location") == "/srv/100%(here)s/migrations"


@pytest.mark.parametrize(("level", "told"), [(logging.INFO, False), (logging.DEBUG, True)])
def test_what_alembic_does_is_not_told(path: Path, level: int, told: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(level)
    open_store(f"sqlite:///{path}").close()
    assert any(one.name.startswith("alembic") and one.levelno == logging.INFO for one in caplog.records) is told
