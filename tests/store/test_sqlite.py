"""The file: opening it, its versions, and what the program's own statements may do in it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from iotio.core.storage.contract import Change, PutDevice, PutMessage, Run, Snapshot, Store, StoreError
from iotio.core.storage.writer import StoreWriter
from iotio.store import open_store
from iotio.store.schema import alembic_config
from iotio.store.tables import SCHEMA_TABLE, metadata

from .records import device, message


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is to be; a folder with all that a URL or an ini file might trip over."""
    folder = tmp_path / "a folder 100%(here)s ü"
    folder.mkdir()
    return folder / "iotio.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """A store in this file."""
    with closing(open_store(f"sqlite:///{path}")) as found:
        yield found


def test_the_packages_are_loaded_when_a_store_is_opened(tmp_path: Path) -> None:
    code = (
        "import sys, iotio, iotio.core.storage.writer\nfrom iotio.store import open_store, MemoryStore\n"
        "iotio.IoTManager()\n"
        "loaded = lambda: print([name in sys.modules for name in ('sqlalchemy', 'alembic')])\n"
        "loaded()\nopen_store('sqlite:///iotio.db')\nloaded()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines() == ["[False, False]", "[True, True]"]


def test_relative_and_absolute_urls(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    with closing(open_store("sqlite:///iotio.db")) as store:
        monkeypatch.chdir(path.parent.parent)
        store.commit([PutDevice(device())])
    with closing(open_store(f"sqlite:///{path}")) as store:
        assert len(store.load().devices) == 1


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "sqlite:", "sqlite:///", "sqlite:///file:x?uri=true"]
)
def test_a_url_without_a_file(url: str) -> None:
    with pytest.raises(StoreError, match=r"names no file: write sqlite:///iotio.db"):
        open_store(url)


@pytest.mark.parametrize("url", ["iotio.db", "postgresql://host/db", ""])
def test_an_unknown_kind(url: str) -> None:
    with pytest.raises(StoreError, match=r"there is no store for .*: write sqlite:///iotio.db"):
        open_store(url)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match=r"the folder '.*absent' does not exist: make it, or name a file in another one"
    ):
        open_store(f"sqlite:///{tmp_path / 'absent' / 'iotio.db'}")
    assert not (tmp_path / "absent").exists()


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened: unable to open database file"):
        open_store(f"sqlite:///{tmp_path}")


@pytest.mark.parametrize("content", [b"name,value\n" * 200, b"SQLite format 3\x00" + b"\xff" * 5000, b"x"])
def test_a_file_that_is_no_database(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError, match="cannot be opened: file is not a database; name another file"):
        open_store(f"sqlite:///{path}")
    assert path.read_bytes() == content, "somebody's work"


def test_a_schema_of_a_newer_version(path: Path, store: Store) -> None:
    store.commit([PutDevice(device())])
    store.close()
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute(f"UPDATE {SCHEMA_TABLE} SET version_num = '9999'")
    with pytest.raises(
        StoreError, match=r"has the schema 9999 of a newer iotio, .* up to 0002: install the newer iotio"
    ):
        store.open()
    with closing(sqlite3.connect(path)) as raw, raw:
        assert raw.execute("SELECT count(*) FROM iotio_devices").fetchone() == (1,)
        raw.execute(f"UPDATE {SCHEMA_TABLE} SET version_num = '0002'")
    store.open()
    assert len(store.load().devices) == 1


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
        store.commit([PutDevice(device(wakes=9.5))])
        assert [one.wakes for one in store.load().devices] == [9.5]


def test_the_migrations_lead_to_the_tables_of_the_code(path: Path, store: Store) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": SCHEMA_TABLE})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


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


def test_tables_of_the_program_live_in_the_same_file(path: Path) -> None:
    """Alembic of its own included."""
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("CREATE TABLE alembic_version (version_num TEXT)")
        raw.execute("INSERT INTO alembic_version VALUES ('mine')")
        raw.execute("CREATE TABLE effects (number INTEGER PRIMARY KEY)")
    with closing(open_store(f"sqlite:///{path}")) as store:

        def effect(connection: Connection) -> None:
            connection.execute(text("INSERT INTO effects VALUES (:number)"), {"number": 7})

        store.commit([PutMessage(message(1)), Run(effect)])
        with pytest.raises(Exception, match="UNIQUE constraint failed"):
            store.commit([PutMessage(message(2)), Run(effect)])
        assert [one.number for one in store.load().messages] == [1], "the same transaction"
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT * FROM effects").fetchall() == [(7,)]


def test_it_is_kept_as_the_module_says(path: Path, store: Store) -> None:
    def look(connection: Connection) -> None:
        found.extend(connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous"))

    found: list[Any] = []
    store.commit([Run(look)])
    assert found == ["wal", 2]


@pytest.mark.parametrize(
    "change",
    [
        PutDevice(device(data={1, 2})),
        PutDevice(device("\ud800")),
        PutMessage(message(2**63)),
        PutMessage(message(1, event=None)),
        PutMessage(message(1, value=object())),
        Run(lambda connection: connection.execute(text("INSERT INTO nowhere VALUES (1)"))),
        Run(lambda connection: connection.commit()),
        Run(lambda connection: connection.exec_driver_sql("COMMIT")),
        Run(lambda connection: connection.exec_driver_sql("ROLLBACK")),
        Run(lambda connection: connection.close()),
    ],
    ids=["data", "text", "number", "null", "value", "statement", "commit", "raw commit", "raw rollback", "close"],
)
def test_what_can_never_be_written_is_not_taken_for_trouble(store: Store, change: Change) -> None:
    with pytest.raises(Exception, match=r".") as caught:
        store.commit([PutMessage(message(3)), change, PutMessage(message(4))])
    assert not isinstance(caught.value, StoreError)
    store.commit([PutMessage(message(5))])
    assert message(5) in store.load().messages


def test_it_fails_alone(store: Store) -> None:
    writer = StoreWriter(store, Snapshot)
    good = [writer.submit(PutMessage(message(number))) for number in range(50)]
    bad = writer.submit(PutDevice(device()), PutMessage(message(2**63)))
    good += [writer.submit(PutMessage(message(number))) for number in range(50, 100)]
    for ticket in good:
        ticket.wait(10)
    with pytest.raises(OverflowError):
        bad.wait(10)
    assert writer.close()
    store.open()
    assert [one.number for one in store.load().messages] == list(range(100))
    assert store.load().devices == ()


GEVENT = """
from gevent import monkey; monkey.patch_all()
import gevent, sys
from iotio.core.storage.writer import StoreWriter
from iotio.core.storage.contract import PutMessage, Snapshot
from iotio.store import open_store
from tests.store.records import message
turns = 0
def count():
    global turns
    while True:
        gevent.sleep(0.001)
        turns += 1
gevent.spawn(count)
writer = StoreWriter(open_store("sqlite:///" + sys.argv[1]), Snapshot)
def send(name):
    return [writer.submit(PutMessage(message(number, name))) for number in range(200) if not gevent.sleep(0)]
tickets = [ticket for sender in [gevent.spawn(send, f"d{n}") for n in range(10)] for ticket in sender.get()]
while not all(ticket.done.is_set for ticket in tickets):
    gevent.sleep(0.001)
assert not any(ticket.error for ticket in tickets)
assert turns
assert writer.close()
print(len(open_store("sqlite:///" + sys.argv[1]).load().messages))
"""


def test_in_a_program_that_gevent_has_patched(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", GEVENT, path], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("2000\n", "")
