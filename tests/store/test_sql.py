"""The store in a database of either kind, and what the program's own statements may do in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from iotio.core.storage.contract import (
    Change,
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
def store(url: str) -> Iterator[Store]:
    """A store in a database of either kind."""
    with closing(open_store(url)) as found:
        yield found


def test_tables_of_the_program_live_beside_it(url: str) -> None:
    """Alembic of its own included."""

    def begin(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('mine')"))
        connection.execute(text("CREATE TABLE effects (number INTEGER PRIMARY KEY)"))

    def effect(connection: Connection) -> None:
        connection.execute(text("INSERT INTO effects VALUES (:number)"), {"number": 7})

    with closing(open_store(url)) as store:
        store.commit([Run(begin)])
        store.commit([PutMessage(message(1)), Run(effect)])
        with pytest.raises(Exception, match=r"UNIQUE constraint failed|duplicate key value"):
            store.commit([PutMessage(message(2)), Run(effect)])
    with closing(open_store(url)) as store:
        assert [one.number for one in store.load().messages] == [1], "the same transaction"
        found: list[Any] = []
        store.commit([Run(lambda connection: found.extend(connection.execute(text("SELECT * FROM effects"))))])
        assert [tuple(row) for row in found] == [(7,)]


def hide(connection: Connection) -> None:
    """Pass over an error: PostgreSQL's transaction is over then, and SQLite's is if the disk is full."""
    with suppress(DBAPIError):
        connection.execute(text("INSERT INTO nowhere VALUES (1)"))
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("ROLLBACK")


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
        Run(hide),
    ],
    ids=[
        *("data", "text", "number", "null", "value", "statement", "commit", "raw commit", "raw rollback", "close"),
        "hidden error",
    ],
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
    with pytest.raises(Exception, match=r"too large|out of range") as caught:
        bad.wait(10)
    assert not isinstance(caught.value, StoreError)
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
writer = StoreWriter(open_store(sys.argv[1]), Snapshot)
def send(name):
    return [writer.submit(PutMessage(message(number, name))) for number in range(200) if not gevent.sleep(0)]
tickets = [ticket for sender in [gevent.spawn(send, f"d{n}") for n in range(10)] for ticket in sender.get()]
while not all(ticket.done.is_set for ticket in tickets):
    gevent.sleep(0.001)
assert not any(ticket.error for ticket in tickets)
assert turns
assert writer.close()
print(len(open_store(sys.argv[1]).load().messages))
"""


def test_in_a_program_that_gevent_has_patched(url: str) -> None:
    done = subprocess.run([sys.executable, "-c", GEVENT, url], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("2000\n", "")


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    with pytest.raises(StoreError, match=r"(iotio\.db|/test_\d+) is not open"):
        store.load()
    with pytest.raises(StoreError, match=r"(iotio\.db|/test_\d+) is not open"):
        store.replace(Snapshot())
