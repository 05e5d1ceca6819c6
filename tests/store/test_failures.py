"""What can happen to a file while a server runs.

IOTIO_FULL=1 has another process lock the file for 30 s, with the times that servers have; otherwise all is scaled down.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from iotio.core.storage.contract import (
    DropMessages,
    Heard,
    PutDevice,
    PutMessage,
    Snapshot,
    StoreUnavailable,
)
from iotio.core.storage.writer import StoreWriter, Ticket
from iotio.store.sql import SqlStore
from iotio.store.sqlite import SqliteDatabase
from tests.load.endurance import FULL
from tests.support.processes import Program, python_program

from .records import device, message

PATIENCE = 5.0 if FULL else 0.7  # seconds that an entry waits
BUSY = 1.0 if FULL else 0.05  # seconds that a commit waits for a lock
LOCKED = 30.0 if FULL else 0.7  # seconds that another process holds it
PAUSE = 2.0 if FULL else 0.1  # seconds, at most, between two attempts

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).with_name("programs")

StartWriter = Callable[..., StoreWriter]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file; its folder is its own."""
    (tmp_path / "store").mkdir()
    return tmp_path / "store" / "iotio.db"


@pytest.fixture
def start(path: Path) -> Iterator[StartWriter]:
    """Start a writer that writes to the file."""
    writers = []

    def function(snapshot: Callable[[], Snapshot] = Snapshot, patience: float = PATIENCE) -> StoreWriter:
        store = SqlStore(SqliteDatabase(f"sqlite:///{path}", busy_timeout=BUSY))
        store.open()
        writers.append(StoreWriter(store, snapshot, patience=patience, max_pause=PAUSE))
        return writers[-1]

    yield function
    for writer in writers:
        writer.close(5)


def stored(path: Path) -> Snapshot:
    """What is in the file, read by another connection."""
    with closing(SqlStore(SqliteDatabase(f"sqlite:///{path}"))) as store:
        store.open()
        return store.load()


def refused(ticket: Ticket) -> str:
    """Why an entry was given up."""
    with pytest.raises(StoreUnavailable) as caught:
        ticket.wait(PATIENCE + 20)
    return str(caught.value)


def quick(writer: StoreWriter, count: int = 200) -> list[Ticket]:
    """Submit messages, and see that nobody waits for it."""
    took = time.thread_time(), time.perf_counter()
    tickets = [writer.submit(PutMessage(message(number))) for number in range(1, count + 1)]
    assert time.thread_time() - took[0] < 0.1
    assert time.perf_counter() - took[1] < min(PATIENCE, 5)
    return tickets


@pytest.mark.timeout(180)
def test_a_lock_of_another_process(path: Path, start: StartWriter, caplog: pytest.LogCaptureFixture) -> None:
    writer = start()
    writer.submit(PutDevice(device()), PutMessage(message(900)), PutMessage(message(901))).wait(10)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        kept = [
            writer.submit(change)
            for change in (PutDevice(device(presence="away")), Heard("lamp", "d1", 4), DropMessages("lamp", (900,)))
        ]
        for ticket in quick(writer):
            assert "another process has locked it" in refused(ticket)
        # Each waiting entry is refused for itself; nobody else is held up meanwhile.
        while time.monotonic() - began < LOCKED:
            assert "another process has locked it" in refused(writer.submit(PutMessage(message(902))))
        assert not any(ticket.done.is_set for ticket in kept)
        other.execute("ROLLBACK")
    for ticket in kept:
        ticket.wait(10)
    writer.submit(PutMessage(message(903))).wait(10)
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]
    assert "iotio.db cannot be written: another process has locked it; durable" in caplog.records[0].getMessage()
    assert writer.close()
    assert stored(path) == Snapshot(
        (device(presence="away", counter=903, heard_stream="d1", heard=4),), (message(901), message(903))
    )


def limit_pages(store: SqlStore, count: int) -> None:
    """Let the file have so many pages more; a negative number takes the limit away."""
    assert store._connection is not None
    now = store._connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    store._connection.exec_driver_sql(f"PRAGMA max_page_count = {2**30 if count < 0 else now + count}")
    store._connection.rollback()


def test_a_full_database(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As SQLite itself tells it."""
    store = SqlStore(SqliteDatabase(f"sqlite:///{path}"))
    store.open()
    limit_pages(store, 10)
    writer = StoreWriter(store, Snapshot, patience=PATIENCE, max_pause=PAUSE)
    kept = writer.submit(PutDevice(device()))
    kept.wait(10)
    big = writer.submit(PutMessage(message(1, value=bytes(200_000))))
    kept = writer.submit(PutDevice(device(presence="away")))
    assert "database or disk is full" in refused(big)
    kept.wait(10)
    writer.submit(PutMessage(message(2))).wait(10)
    assert writer.close()
    assert stored(path) == Snapshot((device(presence="away", counter=2),), (message(2),))
    assert "database or disk is full; durable messages are refused" in caplog.records[0].getMessage()
    assert len(caplog.records) == 2


FULL_DISK = """
import logging, os, resource, sys
from iotio.core.storage.writer import StoreWriter
from iotio.core.storage.contract import PutDevice, PutMessage, Snapshot, StoreUnavailable
from iotio.store import open_store
from tests.store.records import device, message
logging.basicConfig(format="%(message)s", stream=sys.stdout)
folder, how = sys.argv[1:]
writer = StoreWriter(open_store(f"sqlite:///{folder}/iotio.db"), Snapshot, patience=0.7, max_pause=0.1)
writer.submit(PutDevice(device()), PutMessage(message(1))).wait(10)
if how == "limit":
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
else:
    with open(f"{folder}/rubbish", "wb", buffering=0) as file:
        for size in (65536, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError as error:
                print("full", error.errno)
for number, ticket in [(number, writer.submit(PutMessage(message(number, value=bytes(20_000))))) for number in (2, 3)]:
    try:
        ticket.wait(10)
    except StoreUnavailable:
        print("refused", number)
kept = writer.submit(PutDevice(device(presence="away")))
assert not kept.done.is_set
if how == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
else:
    os.unlink(f"{folder}/rubbish")
kept.wait(10)
writer.submit(PutMessage(message(4))).wait(10)
assert writer.close()
found = open_store(f"sqlite:///{folder}/iotio.db").load()
print(found.devices[0].presence, [one.number for one in found.messages])
"""


def test_a_limit_of_the_files_size(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path.parent, "limit"], capture_output=True, text=True, timeout=60
    )
    begin, *rest = done.stdout.splitlines()
    assert begin.startswith("the store cannot be written: ")
    assert rest == ["refused 2", "refused 3", "the store can be written again", "away [1, 4]"]
    assert done.stderr == ""


def can_mount() -> bool:
    """Whether this machine lets us make a small file system of our own."""
    if shutil.which("unshare") is None:
        return False
    command = "mount -t tmpfs -o size=64k none /mnt"
    return subprocess.run(["unshare", "-rm", "sh", "-c", command], capture_output=True).returncode == 0


def test_a_full_disk(path: Path) -> None:
    if not can_mount():
        pytest.skip("needs unshare, and mounts in user namespaces")
    mount = 'mount -t tmpfs -o size=400k none "$1" && exec "$2" -c "$3" "$1" disk'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, "sh", path.parent, sys.executable, FULL_DISK],
        capture_output=True,
        text=True,
        timeout=60,
    )
    full, again, begin, *rest = done.stdout.splitlines()
    assert full == again == "full 28"
    assert begin.startswith("the store cannot be written: ")
    assert begin.endswith("database or disk is full; durable messages are refused until it can")
    assert rest == ["refused 2", "refused 3", "the store can be written again", "away [1, 4]"]
    assert done.stderr == ""


@pytest.mark.parametrize("how", ["deleted", "deleted without its log", "moved", "replaced"])
def test_the_file_is_gone(path: Path, start: StartWriter, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """Another is written, with all that should be in it."""
    memory = Snapshot((device(counter=2), device("other")), (message(1), message(2)))
    writer = start(lambda: memory, patience=10)
    writer.submit(*(PutDevice(one) for one in memory.devices), *(PutMessage(one) for one in memory.messages)).wait(10)
    if how == "moved":
        path.rename(path.with_name("old.db"))
    elif how == "replaced":
        other = SqlStore(SqliteDatabase(f"sqlite:///{path.with_name('new.db')}"))
        other.open()
        other.commit([PutDevice(device("stranger"))])
        other.close()
        path.with_name("new.db").replace(path)
    else:
        for name in ("", "-wal", "-shm")[: 1 if "log" in how else 3]:
            os.unlink(f"{path}{name}")
    writer.submit(PutMessage(message(3))).wait(10)
    assert writer.close()
    assert stored(path) == Snapshot((device(counter=3), device("other")), (message(1), message(2), message(3)))
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]
    assert "iotio.db was deleted or replaced while it was open" in caplog.text


def test_the_folder_is_gone(path: Path, start: StartWriter, caplog: pytest.LogCaptureFixture) -> None:
    writer = start(lambda: Snapshot((device(),)))
    writer.submit(PutDevice(device())).wait(10)
    shutil.rmtree(path.parent)
    kept = writer.submit(PutDevice(device("new")))
    assert "does not exist" in refused(writer.submit(PutMessage(message(1))))
    assert not kept.done.is_set
    path.parent.mkdir()
    kept.wait(10)
    assert writer.close()
    assert {one.id for one in stored(path).devices} == {"lamp", "new"}
    assert len(caplog.records) == 2


def test_a_file_that_becomes_rubbish(path: Path, start: StartWriter, caplog: pytest.LogCaptureFixture) -> None:
    """There is nothing that we could do, but the devices do not notice and the log says so, once."""
    writer = start()
    writer.submit(PutDevice(device())).wait(10)
    rubbish = path.with_name("rubbish")
    rubbish.write_bytes(bytes(100_000))
    rubbish.replace(path)
    for ticket in quick(writer):
        assert "file is not a database" in refused(ticket)
    assert len(caplog.records) == 1
    assert not writer.close(0.1)


@pytest.mark.timeout(180)
def test_what_was_safe_survives_sigkill(path: Path) -> None:
    """20 times, each at a moment of its own, in the same file."""
    chance = random.Random(1)
    safe: set[int] = set()
    modules = os.pathsep.join([str(ROOT), *sys.path])
    with Program(python_program(PROGRAMS / "writer.py"), environment={"PYTHONPATH": modules}) as program:
        for _ in range(20):
            start = len(program.lines)
            program.send_line(f"sqlite:///{path}")
            writer = int(program.wait_line("writer ", 20, start=start).split()[1])
            program.wait_line(str.isdigit, 20, start=start)
            time.sleep(chance.uniform(0, 0.04))  # anywhere in a commit
            os.kill(writer, signal.SIGKILL)
            program.wait_line("killed", 20, start=start)
            told = {int(line) for line in program.lines[start:] if line.isdigit()}
            assert told
            assert not told & safe, "numbers only grow"
            safe |= told
            with closing(sqlite3.connect(path)) as raw:
                assert safe <= {number for (number,) in raw.execute("SELECT number FROM iotio_messages")}
    assert {one.number for one in stored(path).messages} >= safe
    print(f"{len(safe)} messages were safe, none is lost")
