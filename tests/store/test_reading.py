"""Rows as they are. What is wrong with them is seen in test_rows.py."""

from __future__ import annotations

from contextlib import closing

from iotio.core.storage.contract import PutDevice, PutMessage
from iotio.store import open_store
from iotio.store.postgresql import PostgresDatabase
from iotio.store.reading import read_rows
from iotio.store.sqlite import SqliteDatabase
from iotio.store.tables import devices, messages

from .records import device, message


def test_rows_come_by_their_keys(url: str) -> None:
    with closing(open_store(url)) as store:
        store.commit([PutDevice(device(name)) for name in ("ü", "b\0", "a")])
        store.commit([PutMessage(message(number, name)) for number in (10, 9) for name in ("ü", "a")])
        database = SqliteDatabase(url) if url.startswith("sqlite") else PostgresDatabase(url)
        with database.reading() as connection:
            rows = list(read_rows(connection, devices, database.row_id))
            assert [row["id"] for _, row in rows] == ["a", "b\0", "ü"]
            assert len({number for number, _ in rows}) == 3
            waiting = [row for _, row in read_rows(connection, messages, database.row_id)]
            assert [(row["device_id"], row["number"]) for row in waiting] == [("a", 9), ("a", 10), ("ü", 9), ("ü", 10)]
            assert list(waiting[0]) == messages.c.keys()
