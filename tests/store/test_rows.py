"""Rows that cannot be read, and files: what is damaged is set aside, and the rest is used."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from iotio import IoTManager
from iotio.core.storage.contract import PutDevice, PutMessage, PutTwin, Snapshot, StoreDamaged, StoreError
from iotio.store import MemoryStore, open_store
from iotio.store.rows import DamagedRow, describe, device_of, message_of, row_of, twin_of
from iotio.store.tables import devices, messages, twins

from .records import device, message, twin

GARBAGE = {
    "null": None,
    "text": "rubbish",
    "empty": "",
    "cut": '{"a": [1',
    "list": "[1, null]",
    "deep": "[" * 100_000,
    "long": "9" * 5000,
    "bytes": b"\xff\xfe\x00",
    "infinite": 1e999,
    "huge": 1e300,
    "negative": -1,
    "large": 2**63 - 1,
}
COLUMNS = [f"{table.name}.{column.name}" for table in (devices, messages, twins) for column in table.c]


@pytest.fixture
def filled(path: Path) -> Path:
    """Two devices, each with two messages."""
    with closing(open_store(f"sqlite:///{path}")) as store:
        for name in ("lamp", "other"):
            store.commit([PutDevice(device(name, heard_stream="d"))])
            store.commit(
                [PutMessage(message(number, name, id=f"{name}{number}", value=b"x", kind=0)) for number in (1, 2)]
            )
            store.commit([PutTwin(twin(name=name))])
    return path


def damage(path: Path, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute(statement, values)


def set_aside(path: Path) -> list[tuple[str, str, dict[str, Any]]]:
    with closing(sqlite3.connect(path)) as raw:
        try:
            found = raw.execute("SELECT origin, why, content FROM iotio_set_aside").fetchall()
        except sqlite3.OperationalError:
            return []
    return [(origin, why, json.loads(content)) for origin, why, content in found]


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_no_value_in_any_column_keeps_the_server_from_starting(
    filled: Path, column: str, garbage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    table, _, name = column.partition(".")
    keys = {"iotio_devices": "id", "iotio_messages": "number = 1 AND device_id", "iotio_twins": "device_id"}
    key = keys[table]
    try:
        damage(filled, f"UPDATE {table} SET {name} = ? WHERE {key} = 'lamp'", garbage)
    except sqlite3.IntegrityError:
        pytest.skip("SQLite does not take it")
    for _ in range(2):  # the second time, nothing is left to say
        manager = IoTManager(store=f"sqlite:///{filled}")
        try:
            for one in manager.devices.values():
                assert [one.type, one.presence, one.since, one.last_seen, one.rooms, one.data, one.name, repr(one)]
                assert not one.endpoints
                assert one.state is not None
            assert "other" in manager.devices
            assert manager.durable_messages.waiting >= 2
        finally:
            manager.close()
        caplog_first = caplog.text
    aside = set_aside(filled)
    assert len(caplog.records) == len(aside)
    for origin, why, content in aside:
        assert why in caplog_first
        assert origin in caplog_first
        assert content
    if name in ("since", "last_seen", "counter", "heard", "number", "created") and isinstance(garbage, (str, bytes)):
        assert aside


def test_a_row_that_was_set_aside_is_whole(filled: Path, caplog: pytest.LogCaptureFixture) -> None:
    damage(filled, "UPDATE iotio_devices SET data = '{cut' WHERE id = 'lamp'")
    manager = IoTManager(store=f"sqlite:///{filled}")
    assert list(manager.devices) == ["other"]
    manager.close()
    (origin, why, content), *rest = set_aside(filled)
    assert origin == "iotio_devices"
    assert why.startswith("data is '{cut', which is not JSON: ")
    assert content == {**row_of(device("lamp", counter=2, heard_stream="d")), "data": "{cut"}
    assert [(origin, content["number"], content["value"]) for origin, _, content in rest[:2]] == [
        ("iotio_messages", 1, {"hex": "78"}),
        ("iotio_messages", 2, {"hex": "78"}),
    ]
    assert [(origin, content["endpoint_id"], content["desired"]) for origin, _, content in rest[2:]] == [
        ("iotio_twins", "level", "21.5")
    ]
    assert f"{filled}: a row of iotio_devices cannot be used and is kept in the table iotio_set_aside" in caplog.text


def test_a_presence_that_is_none(filled: Path) -> None:
    damage(filled, "UPDATE iotio_devices SET presence = 'onlime' WHERE id = 'lamp'")
    manager = IoTManager(store=f"sqlite:///{filled}")
    assert list(manager.devices) == ["other"]
    manager.close()
    assert set_aside(filled)[0][1] == "presence is 'onlime', which is none"


def test_a_status_that_is_none(filled: Path) -> None:
    damage(filled, "UPDATE iotio_twins SET status = 'pendent' WHERE device_id = 'lamp'")
    manager = IoTManager(store=f"sqlite:///{filled}")
    assert manager.devices["lamp"].state == {}
    assert manager.devices["other"].state["level"].desired == 21.5
    manager.close()
    assert [why for _, why, _ in set_aside(filled)] == ["status is 'pendent', which is none"]


def test_a_value_that_no_device_could_read(filled: Path) -> None:
    """It would be sent again for ever."""
    damage(filled, "UPDATE iotio_messages SET kind = 77 WHERE device_id = 'lamp' AND number = 1")
    manager = IoTManager(store=f"sqlite:///{filled}")
    assert manager.durable_messages.waiting == 3
    manager.close()
    assert len(set_aside(filled)) == 1


def test_many_rows_are_named_by_their_number(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(open_store(f"sqlite:///{path}")) as store:
        store.commit([PutDevice(device(f"d{number}")) for number in range(100)])
    damage(path, "UPDATE iotio_devices SET rooms = 'x'")
    with closing(open_store(f"sqlite:///{path}")) as store:
        assert store.load() == Snapshot()
    assert len(caplog.records) == 11
    assert caplog.records[-1].getMessage() == f"{path}: and 90 rows more"
    assert len(set_aside(path)) == 100


def overwrite(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


def rubbish(path: Path) -> None:
    path.write_bytes(b"rubbish" * 1000)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "overwritten": overwrite,
    "rubbish": rubbish,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "no table": lambda path: damage(path, "DROP TABLE iotio_messages"),
    "no column": lambda path: damage(path, "ALTER TABLE iotio_devices DROP COLUMN rooms"),
    "no schema": lambda path: damage(path, "DELETE FROM iotio_schema"),
    "two schemas": lambda path: damage(path, "INSERT INTO iotio_schema VALUES ('0001')"),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_is_refused_with_words(filled: Path, how: str) -> None:
    DAMAGES[how](filled)
    before = filled.read_bytes()
    with pytest.raises(StoreDamaged, match=r'iotio\.db cannot be .*restore a backup, .*damaged="set_aside"'):
        IoTManager(store=f"sqlite:///{filled}")
    assert filled.read_bytes() == before


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_is_moved_aside(filled: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    DAMAGES[how](filled)
    before = filled.read_bytes()
    manager = IoTManager(store=f"sqlite:///{filled}", damaged="set_aside")
    assert list(manager.devices) == []
    manager.close()
    (aside,) = [one for one in filled.parent.iterdir() if one.name.startswith("iotio.db.damaged-")]
    assert aside.read_bytes() == before
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert f"it is {aside} now, and a new one begins" in caplog.text
    with closing(open_store(f"sqlite:///{filled}")) as store:
        assert store.load() == Snapshot()


def test_two_damaged_files_in_one_second(filled: Path) -> None:
    for _ in range(3):
        rubbish(filled)
        open_store(f"sqlite:///{filled}", damaged="set_aside").close()
    assert len(list(filled.parent.iterdir())) == 4


def test_a_file_of_a_newer_version_is_not_moved(filled: Path) -> None:
    damage(filled, "UPDATE iotio_schema SET version_num = '9999'")
    with pytest.raises(StoreError, match="of a newer iotio"):
        open_store(f"sqlite:///{filled}", damaged="set_aside")


def test_a_wrong_word_for_what_is_damaged(path: Path) -> None:
    with pytest.raises(ValueError, match="damaged is one of refuse, set_aside, not 'move'"):
        open_store(f"sqlite:///{path}", damaged="move")  # type: ignore[arg-type]


def test_a_store_in_memory_loses_what_is_set_aside() -> None:
    store = MemoryStore()
    store.commit([PutDevice(device(presence="onlime")), PutMessage(message(1)), PutDevice(device("other"))])
    manager = IoTManager(store=store)
    assert list(manager.devices) == ["other"]
    manager.close()
    assert store.load() == Snapshot((device("other"),))


def test_rows_and_records() -> None:
    one = device(counter=3)
    assert device_of(row_of(one)) == one
    two = message(3)
    row = {name: getattr(two, name) for name in (column.name for column in messages.c)}
    assert message_of(row) == two
    assert describe({"a": b"\xff", "b": None, "c": 1.5}) == '{"a": {"hex": "ff"}, "b": null, "c": 1.5}'
    with pytest.raises(DamagedRow, match=r"^kind is '2', not a number from 0 on$"):
        message_of({**row, "kind": "2"})
    three = twin(reason="\0")
    assert twin_of(row_of(three)) == three
    with pytest.raises(DamagedRow, match=r"^desired is '\{', which is not JSON"):
        twin_of({**row_of(three), "desired": "{"})
    with pytest.raises(DamagedRow, match=r"^rooms is '\[1\]', not a list of names$"):
        device_of({**row_of(one), "rooms": "[1]"})
