"""A store in a file of SQLite: opening it, and other hands at the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from iotio.core.storage.contract import (
    DropDevice,
    DropMessages,
    Heard,
    PutDevice,
    PutMessage,
    Run,
    Snapshot,
    Store,
    StoreError,
    StoreLost,
)
from iotio.store import open_store
from iotio.store.sql import SqlStore
from iotio.store.sqlite import SqliteDatabase

from .records import device, message


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """A store in this file."""
    with closing(open_store(f"sqlite:///{path}")) as found:
        yield found


def test_the_log_beside_the_file_is_cut_after_a_burst(store: Store, path: Path) -> None:
    log = path.with_name(path.name + "-wal")
    store.commit([PutMessage(message(number, value=bytes(10_000))) for number in range(1, 3000)])
    assert log.stat().st_size > 16 * 1024 * 1024
    for number in range(3000, 3003):
        store.commit([PutMessage(message(number))])
    assert log.stat().st_size <= 16 * 1024 * 1024


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


def test_it_is_kept_as_the_module_says(path: Path, store: Store) -> None:
    def look(connection: Connection) -> None:
        found.extend(connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous"))

    found: list[Any] = []
    store.commit([Run(look)])
    assert found == ["wal", 2]


def test_a_lock_of_another_connection_is_told_and_passes(path: Path) -> None:
    with closing(SqlStore(SqliteDatabase(f"sqlite:///{path}", busy_timeout=0))) as store:
        store.open()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="cannot be written: another process has locked it"):
                store.commit([PutDevice(device())])
            other.execute("ROLLBACK")
        assert store.load() == Snapshot()
        store.commit([PutDevice(device())])
        assert store.load().devices == (device(),)


def test_a_deleted_file_is_told_at_the_next_commit(path: Path, store: Store) -> None:
    store.commit([PutDevice(device())])
    path.unlink()
    with pytest.raises(StoreLost, match=r"iotio\.db was deleted or replaced while it was open"):
        store.commit([PutDevice(device("other"))])
    store.close()
    store.open()
    assert store.load() == Snapshot(), "a new file"


def test_another_program_can_read_what_was_written(path: Path, store: Store) -> None:
    """Text is UTF-8, data and rooms are JSON, and None is NULL."""
    store.commit(
        [PutDevice(device(data=b"null", rooms=("küche",))), Heard("lamp", "d1", 2**40), PutMessage(message(3))]
    )
    store.commit([PutMessage(message(number)) for number in (4, 5)])
    store.commit(
        [DropMessages("lamp", (4,)), PutDevice(device("old")), PutMessage(message(1, "old")), DropDevice("old")]
    )
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute(
            "SELECT id, data, rooms, wakes, counter, heard_stream, heard FROM iotio_devices"
        ).fetchall() == [("lamp", None, '["k\\u00fcche"]', None, 5, "d1", 2**40)]
        assert raw.execute("SELECT device_id, number, value, expires FROM iotio_messages").fetchall() == [
            ("lamp", 3, b"\x00\xff", None),
            ("lamp", 5, b"\x00\xff", None),
        ]
