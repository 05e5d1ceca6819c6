"""The store in a file: opening it, other hands at it, and what the program's own statements may do in it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from iotio.core.storage.contract import (
    Change,
    DropDevice,
    DropMessages,
    Heard,
    PutDevice,
    PutMessage,
    Run,
    Snapshot,
    Store,
    StoreError,
)
from iotio.core.storage.writer import StoreWriter
from iotio.store import open_store

from .records import device, message


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """A store in this file."""
    with closing(open_store(f"sqlite:///{path}")) as found:
        yield found


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


@pytest.mark.parametrize(
    "change",
    [
        PutDevice(device(data=b"\xff")),
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


# Other hands at the file.


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    with pytest.raises(StoreError, match=r"iotio\.db is not open"):
        store.load()
    with pytest.raises(StoreError, match=r"iotio\.db is not open"):
        store.replace(Snapshot())


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
