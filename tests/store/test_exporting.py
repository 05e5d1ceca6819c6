"""Exports: what is in the file, beside a store that is in use, and what ends one."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from iotio import IoTManager
from iotio.core.storage.contract import PutDevice, PutMessage, Store, StoreError
from iotio.store import MemoryStore, export_store, open_store
from tests.support.postgres import PostgresServer

from .records import device, message
from .test_failures import can_mount


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A store in a database of either kind, in use."""
    with closing(open_store(url)) as found:
        found.commit([PutDevice(device("b\0")), PutDevice(device("a", since=3)), PutDevice(device("ä", data=b"null"))])
        found.commit([PutMessage(message(number, "b\0")) for number in (10, 9)])
        yield found


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where the export is to be."""
    return tmp_path / "iotio.jsonl.gz"


def lines_of(path: Path) -> list[dict[str, object]]:
    """What is in an export."""
    with gzip.open(path) as file:
        return [json.loads(line) for line in file]


def test_what_is_in_it(url: str, store: Store, target: Path) -> None:
    """The form is that of docs/reference/export.md: devices by id, then messages by device and number."""
    export_store(url, str(target))
    head, *records, end = lines_of(target)
    assert head == {"iotio": "export", "version": 1}
    assert end == {"record": "end", "records": 5}
    assert [(one["record"], one.get("id")) for one in records] == [
        ("device", "a"),
        ("device", "b\0"),
        ("device", "ä"),
        ("message", "m9"),
        ("message", "m10"),
    ]
    assert records[0] == {
        "record": "device",
        "id": "a",
        "type": "lamp",
        "data": {"name": "Küche", "size": [1, 2.5, None]},
        "rooms": ["kitchen", "all"],
        "presence": "online",
        "since": 3.0,
        "last_seen": 1001.25,
        "wakes": None,
        "returned": False,
        "declaration": None,
        "name": "",
        "note": "",
        "stream": "s1",
        "counter": 0,
        "heard_stream": None,
        "heard": 0,
    }
    assert records[2]["data"] is None
    assert records[3] == {
        "record": "message",
        "device_id": "b\0",
        "number": 9,
        "id": "m9",
        "event": "set",
        "kind": 2,
        "value": "AP8=",
        "created": 1002.0,
        "expires": None,
        "coalesce": None,
    }


def test_the_same_records_are_the_same_bytes(url: str, store: Store, target: Path) -> None:
    other = target.with_name("other name.gz")
    export_store(url, str(target))
    export_store(url, str(other))
    assert target.read_bytes() == other.read_bytes()


def test_what_is_written_meanwhile_is_not_in_it(url: str, store: Store, target: Path) -> None:
    """It is of one moment, and neither waits for the other."""
    store.commit([PutMessage(message(number, "a")) for number in range(2000)])
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        store.commit([PutMessage(message(10_000 + len(told), "zzz"))])

    export_store(url, str(target), progress=progress)
    assert told == [(1000, 2005), (2000, 2005), (2005, 2005)]
    assert len(lines_of(target)) == 2005 + 2
    assert "zzz" in {one.device_id for one in store.load().messages}


def test_all_kinds_of_records_are_of_one_moment(url: str, store: Store, target: Path) -> None:
    store.commit([PutDevice(device(f"one {number}")) for number in range(1000)])

    def progress(done: int, total: int) -> None:
        store.commit([PutMessage(message(10_000 + done, "a"))])

    export_store(url, str(target), progress=progress)
    assert [one["id"] for one in lines_of(target) if one.get("record") == "message"] == ["m9", "m10"]


def test_an_export_that_is_given_up_leaves_nothing(url: str, store: Store, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_store(url, str(tmp_path / "absent.gz"), progress=interrupt)
    assert not [one for one in tmp_path.iterdir() if "absent" in one.name]
    store.commit([PutDevice(device("c"))])


def test_a_file_is_not_replaced_unasked(url: str, store: Store, target: Path) -> None:
    target.write_text("mine")
    with pytest.raises(StoreError, match=r"iotio\.jsonl\.gz exists already: name another file, or replace it"):
        export_store(url, str(target))
    assert target.read_text() == "mine"
    export_store(url, str(target), force=True)
    assert len(lines_of(target)) == 7
    if os.name == "posix":
        assert target.stat().st_mode & 0o777 == 0o600, "it is all that devices have said"


def test_the_store_itself_is_not_replaced(tmp_path: Path) -> None:
    with closing(open_store(f"sqlite:///{tmp_path}/iotio.db")) as store:
        with pytest.raises(StoreError, match="is the store itself: name another file"):
            export_store(f"sqlite:///{tmp_path}/iotio.db", str(tmp_path / "iotio.db"), force=True)
        assert store.load().devices == ()


def test_no_store(tmp_path: Path, target: Path, postgres: PostgresServer) -> None:
    with pytest.raises(StoreError, match=r"there is no store '.*absent\.db'"):
        export_store(f"sqlite:///{tmp_path}/absent.db", str(target))
    empty = postgres.new_database()
    with pytest.raises(StoreError, match=f"there is no store in postgresql://postgres@127.0.0.1:.*/{empty}"):
        export_store(postgres.url(empty), str(target))
    (tmp_path / "rubbish.db").write_bytes(b"rubbish" * 1000)
    with pytest.raises(StoreError, match=r"rubbish\.db cannot be read: file is not a database"):
        export_store(f"sqlite:///{tmp_path}/rubbish.db", str(target))
    with pytest.raises(StoreError, match="there is no store for 'mysql'"):
        export_store("mysql://host/db", str(target))
    assert [one.name for one in tmp_path.iterdir()] == ["rubbish.db"]


@pytest.mark.parametrize(
    ("version", "words"),
    [("9999", "has the schema 9999 of a newer iotio"), ("0001", "is of an earlier iotio: start the server once")],
)
def test_another_schema(postgres: PostgresServer, target: Path, version: str, words: str) -> None:
    database = postgres.new_database()
    open_store(postgres.url(database)).close()
    with postgres.connect(database) as connection:
        connection.execute("UPDATE iotio_schema SET version_num = %s", (version,))
    with pytest.raises(StoreError, match=words):
        export_store(postgres.url(database), str(target))


def test_a_damaged_row_is_named(postgres: PostgresServer, target: Path) -> None:
    database = postgres.new_database()
    with closing(open_store(postgres.url(database))) as store:
        store.commit([PutDevice(device("lamp"))])
        with postgres.connect(database) as connection:
            connection.execute("UPDATE iotio_devices SET data = '{cut'")
        with pytest.raises(
            StoreError, match=r"the device 'lamp' cannot be read: data is '{cut', which is not JSON: .*"
        ):
            export_store(postgres.url(database), str(target))
        assert not target.exists()
        assert store.load().devices == (), "set aside, as the error says"
        export_store(postgres.url(database), str(target))
    with postgres.connect(database) as connection:
        ((why, content),) = connection.execute("SELECT why, content FROM iotio_set_aside").fetchall()
        assert b"which is not JSON" in why
        assert json.loads(content)["data"] == "{cut"


FULL = """
import sys
from iotio.core.storage.contract import StoreError
from iotio.store import export_store
from pathlib import Path
try:
    export_store(sys.argv[1], "/mnt/export.gz")
except StoreError as error:
    print(error)
print(list(Path("/mnt").iterdir()))
"""


def test_a_full_disk(tmp_path: Path) -> None:
    if not can_mount():
        pytest.skip("needs unshare, and mounts in user namespaces")
    url = f"sqlite:///{tmp_path}/iotio.db"
    with closing(open_store(url)) as store:
        store.commit([PutMessage(message(1, value=os.urandom(500_000)))])
    mount = 'mount -t tmpfs -o size=100k none /mnt && exec "$1" -c "$2" "$3"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, "sh", sys.executable, FULL, url],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == ["/mnt/export.gz cannot be written: No space left on device", "[]"], done.stderr


def test_a_manager_exports_what_was_sent_before(url: str, target: Path) -> None:
    manager = IoTManager(store=url)
    try:
        assert manager.store_writer is not None
        manager.store_writer.submit(PutDevice(device()), PutMessage(message(1)))
        told: list[tuple[int, int]] = []
        manager.export(target, lambda done, total: told.append((done, total)))
        assert told == [(2, 2)]
        assert len(lines_of(target)) == 4
        manager.export(os.fspath(target), force=True)
        assert repr(manager.export).startswith("<StoreExport of <iotio.store.sql.SqlStore")

        async def in_a_coroutine() -> None:
            manager.export(target)

        with pytest.raises(RuntimeError, match=r"await asyncio\.to_thread\(manager\.export, path\)"):
            asyncio.run(in_a_coroutine())
    finally:
        manager.close()


def test_what_has_no_database(target: Path) -> None:
    with pytest.raises(StoreError, match="this IoTManager has no store"):
        IoTManager().export(target)
    with pytest.raises(StoreError, match="MemoryStore cannot be exported: use a store in SQLite or PostgreSQL"):
        MemoryStore().export("x")
