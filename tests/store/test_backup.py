"""Copies of a store that is in use."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import flask
import pytest

from iotio import DeviceType, IoTManager
from iotio.core.storage.contract import PutDevice, PutMessage, StoreError
from iotio.store import MemoryStore, backup_store, open_store
from iotio.store.backup import copy_file
from iotio.store.sql import SqlStore

from .records import device, message
from .test_failures import can_mount


def numbers(path: Path) -> list[int]:
    """The messages of a copy, which is opened alone, far from what lay beside the store."""
    with closing(sqlite3.connect(path)) as raw:
        return [number for (number,) in raw.execute("SELECT number FROM iotio_messages ORDER BY number")]


def put(store: SqlStore, *wanted: int, size: int = 10) -> None:
    store.commit([PutMessage(message(number, value=bytes(size))) for number in wanted])


@pytest.fixture
def store(path: Path) -> SqlStore:
    found = open_store(f"sqlite:///{path}")
    assert isinstance(found, SqlStore)
    return found


def test_a_store_in_use(path: Path, store: SqlStore, tmp_path: Path) -> None:
    put(store, 1, 2)
    target = tmp_path / "copy.db"
    store.backup(str(target))
    put(store, 3)
    assert numbers(target) == [1, 2]
    assert [one.name for one in tmp_path.iterdir() if one.name != path.parent.name] == ["copy.db"]
    with closing(open_store(f"sqlite:///{target}")) as copied:
        assert len(copied.load().messages) == 2
    store.close()
    assert target.stat().st_mode == path.stat().st_mode


def test_a_file_is_not_replaced_unasked(store: SqlStore, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    target.write_text("mine")
    with pytest.raises(StoreError, match=r"copy\.db exists already: name another file, or replace it \(--force,"):
        store.backup(str(target))
    assert target.read_text() == "mine"
    put(store, 1)
    store.backup(str(target), force=True)
    assert numbers(target) == [1]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (".", "is a folder: name a file in it"),
        ("absent/copy.db", "cannot be written: No such file or directory"),
        ("iotio.db", "is the store itself"),
    ],
)
def test_what_is_no_place_for_a_copy(path: Path, store: SqlStore, target: str, words: str) -> None:
    put(store, 1)
    with pytest.raises(StoreError, match=words):
        store.backup(str(path.parent / target), force=True)
    assert store.load().messages


def test_a_store_that_nobody_uses(path: Path, store: SqlStore, tmp_path: Path) -> None:
    put(store, 1)
    store.close()
    backup_store(f"sqlite:///{path}", str(tmp_path / "copy.db"))
    assert numbers(tmp_path / "copy.db") == [1]
    assert [one.name for one in path.parent.iterdir()] == ["iotio.db"]


def test_what_is_written_during_the_copy_is_not_in_it(store: SqlStore, tmp_path: Path) -> None:
    put(store, *range(1, 200), size=50_000)
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        put(store, 1000 + len(told))

    store.backup(str(tmp_path / "copy.db"), progress=progress)
    assert numbers(tmp_path / "copy.db") == list(range(1, 200))
    assert len(told) > 1
    assert told[-1][0] == told[-1][1]


def test_a_copy_that_is_given_up_leaves_nothing(store: SqlStore, tmp_path: Path) -> None:
    put(store, 1)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.backup(str(tmp_path / "copy.db"), progress=interrupt)
    assert not [one for one in tmp_path.iterdir() if one.is_file()]


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no store '.*absent\.db' to copy"):
        copy_file(tmp_path / "absent.db", tmp_path / "copy.db")
    (tmp_path / "rubbish.db").write_bytes(b"rubbish" * 1000)
    with pytest.raises(StoreError, match=r"rubbish\.db cannot be copied: file is not a database"):
        copy_file(tmp_path / "rubbish.db", tmp_path / "copy.db")
    assert [one.name for one in tmp_path.iterdir()] == ["rubbish.db"]


def test_a_damaged_store(path: Path, store: SqlStore, tmp_path: Path) -> None:
    put(store, *range(1, 100), size=5000)
    store.close()
    with open(path, "r+b") as file:
        file.seek(8 * 4096)
        file.write(b"\xff" * 20 * 4096)
    with pytest.raises(StoreError, match=r"iotio\.db (is damaged, and was not copied|cannot be copied)"):
        copy_file(path, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


def test_other_databases() -> None:
    with pytest.raises(StoreError, match="postgresql://me@host/db is copied by pg_dump, the tool of PostgreSQL"):
        backup_store("postgresql://me:secret@host/db", "copy.db")
    with pytest.raises(StoreError, match="there is no store for 'mysql'"):
        backup_store("mysql://host/db", "copy.db")
    with pytest.raises(StoreError, match="MemoryStore cannot copy itself: use the tool of its database"):
        MemoryStore().backup("copy.db")


FULL = """
import sys
from pathlib import Path
from iotio.core.storage.contract import StoreError
from iotio.store.backup import copy_file
try:
    copy_file(Path(sys.argv[1]), Path("/mnt/copy.db"))
except StoreError as error:
    print(error)
print(list(Path("/mnt").iterdir()))
"""


def test_a_full_disk(path: Path, store: SqlStore) -> None:
    if not can_mount():
        pytest.skip("needs unshare, and mounts in user namespaces")
    put(store, *range(1, 100), size=5000)
    mount = 'mount -t tmpfs -o size=100k none /mnt && exec "$1" -c "$2" "$3"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, "sh", sys.executable, FULL, path],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == ["/mnt/copy.db cannot be written: database or disk is full", "[]"], done.stderr


def test_the_file_of_a_fresh_server_is_complete(path: Path, store: SqlStore, tmp_path: Path) -> None:
    """`cp` of it alone has the tables; they were in the log beside it."""
    shutil.copy(path, tmp_path / "copied.db")
    assert numbers(tmp_path / "copied.db") == []
    store.close()


def test_a_manager_copies_what_was_sent_before(path: Path, tmp_path: Path) -> None:
    app = flask.Flask("x")
    manager = IoTManager(app, store=f"sqlite:///{path}")
    manager.add_type(DeviceType("lamp"))
    assert manager.store_writer is not None
    manager.store_writer.submit(PutDevice(device()), PutMessage(message(1)))
    threads = [threading.Thread(target=manager.backup, args=(tmp_path / f"{n}.db",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [numbers(tmp_path / f"{n}.db") for n in range(3)] == [[1], [1], [1]]
    manager.close()
    with pytest.raises(StoreError, match="this IoTManager has no store"):
        IoTManager().backup(os.fspath(tmp_path / "none.db"))
