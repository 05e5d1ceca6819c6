"""The buffer of a device's durable messages, in memory and in a file."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iotio_client.buffer import Buffer, Kept
from iotio_client.errors import BufferFailed, BufferFull
from iotio_protocol.errors import InvalidPacket


@pytest.fixture(params=["memory", "file"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return None if request.param == "memory" else tmp_path / "buffer.db"


@pytest.fixture
def buffer(path: Path | None) -> Iterator[Buffer]:
    buffer = Buffer(path)
    yield buffer
    buffer.close()


def put(buffer: Buffer, *bodies: bytes) -> list[int]:
    return [buffer.put("e", 0, body, 0) for body in bodies]


def waiting(buffer: Buffer) -> list[tuple[int, bytes]]:
    return [(number, kept.body) for number, kept in buffer.outgoing]


def test_numbers_from_one(buffer: Buffer) -> None:
    assert put(buffer, b"a", b"b") == [1, 2]
    assert len(buffer) == 2


def test_what_is_sent_in_order_and_forgotten_when_acknowledged(buffer: Buffer) -> None:
    put(buffer, b"a", b"b", b"c")
    assert buffer.next(2) is None  # there is no connection
    buffer.resume(None, 0, None)
    assert buffer.next(2) == (0, 1, Kept("e", 0, b"a", 0))
    assert buffer.next(2) == (1, 2, Kept("e", 0, b"b", 0))
    assert buffer.next(2) is None  # as many as may be are on their way
    buffer.acknowledge(1)
    assert waiting(buffer) == [(2, b"b"), (3, b"c")]
    assert buffer.next(2) == (2, 3, Kept("e", 0, b"c", 0))
    with pytest.raises(InvalidPacket):
        buffer.acknowledge(4)


def test_a_new_connection_begins_behind_what_the_server_has(buffer: Buffer) -> None:
    put(buffer, b"a", b"b", b"c")
    buffer.resume(None, 0, None)
    buffer.next(9)
    buffer.suspend()
    assert buffer.next(9) is None
    buffer.resume(buffer.outgoing.name, 2, None)
    assert buffer.next(9) == (2, 3, Kept("e", 0, b"c", 0))
    assert waiting(buffer) == [(3, b"c")]


def test_a_server_that_has_forgotten_all_gets_all_again(buffer: Buffer) -> None:
    put(buffer, b"a", b"b")
    buffer.resume("another", 9, None)
    assert buffer.next(9) == (0, 1, Kept("e", 0, b"a", 0))


def test_what_comes_is_taken_once(buffer: Buffer) -> None:
    buffer.resume(None, 0, "s")
    assert buffer.is_new(3, 0)
    buffer.took(3)
    assert not buffer.is_new(3, 0)
    buffer.resume(None, 0, "s")
    assert not buffer.is_new(3, 0)
    buffer.resume(None, 0, "new")  # a server that has lost its memory
    assert buffer.is_new(1, 0)


def test_a_full_buffer_refuses(path: Path | None) -> None:
    buffer = Buffer(path, max_messages=2)
    put(buffer, b"a", b"b")
    with pytest.raises(BufferFull, match="2 durable messages wait"):
        put(buffer, b"c")
    assert waiting(buffer) == [(1, b"a"), (2, b"b")]
    buffer.close()


def test_or_drops_the_oldest(path: Path | None) -> None:
    buffer = Buffer(path, max_messages=2, drop_oldest=True)
    put(buffer, b"a", b"b", b"c")
    assert waiting(buffer) == [(2, b"b"), (3, b"c")]
    assert buffer.dropped == 1
    buffer.close()


def test_at_least_one(path: Path | None) -> None:
    with pytest.raises(ValueError, match="max_messages"):
        Buffer(path, max_messages=0)


# The file.


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "buffer.db"


def test_all_survives_a_restart(file: Path) -> None:
    first = Buffer(file)
    put(first, b"a", b"b", b"c")
    first.resume(first.outgoing.name, 1, "s")
    first.took(7)
    name = first.outgoing.name
    first.close()
    second = Buffer(file)
    assert (second.outgoing.name, second.outgoing.counter) == (name, 3)
    assert waiting(second) == [(2, b"b"), (3, b"c")]
    assert (second.incoming.stream, second.incoming.last) == ("s", 7)
    assert put(second, b"d") == [4]
    second.close()


def test_numbers_go_on_though_nothing_waits(file: Path) -> None:
    first = Buffer(file)
    put(first, b"a", b"b")
    first.resume(first.outgoing.name, 2, None)
    first.close()
    second = Buffer(file)
    assert len(second) == 0
    assert put(second, b"c") == [3]
    second.close()


def test_memory_has_a_new_stream_each_time() -> None:
    assert Buffer().outgoing.name != Buffer().outgoing.name


def test_an_effect_and_its_note_are_one(file: Path) -> None:
    buffer = Buffer(file)
    buffer.resume(None, 0, "s")

    def effect(connection: Any) -> None:
        connection.execute("CREATE TABLE done (value)")
        connection.execute("INSERT INTO done VALUES (1)")
        raise RuntimeError("the handler's own")

    with pytest.raises(RuntimeError, match="own"):
        buffer.took(1, [effect])
    assert buffer.is_new(1, 0)
    with pytest.raises(RuntimeError, match="no such table"):
        buffer.took(1, [lambda connection: connection.execute("INSERT INTO nowhere VALUES (1)")])
    assert buffer.is_new(1, 0)
    buffer.took(1, [lambda connection: connection.execute("CREATE TABLE done (value)")])
    assert not buffer.is_new(1, 0)
    buffer.close()


def test_a_closed_buffer_says_so(file: Path) -> None:
    buffer = Buffer(file)
    buffer.close()
    buffer.close()
    with pytest.raises(BufferFailed, match="closed"):
        put(buffer, b"a")
    assert len(buffer) == 0


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BufferFailed, match="does its folder exist"):
        Buffer(tmp_path / "nowhere" / "buffer.db")


def test_no_database(file: Path) -> None:
    file.write_bytes(b"something else" * 100)
    with pytest.raises(BufferFailed, match="cannot be used"):
        Buffer(file)


def test_a_file_of_a_newer_version(file: Path) -> None:
    Buffer(file).close()
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(BufferFailed, match="newer iotio"):
        Buffer(file)


def test_a_file_that_somebody_locks(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = Buffer(file, patience=0.05)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BufferFailed, match="locked"):
        put(buffer, b"a")
    other.execute("ROLLBACK")
    other.close()
    assert put(buffer, b"a") == [1]
    assert waiting(buffer) == [(1, b"a")]
    buffer.close()


FULL_DISK = """
import resource, signal, sys
from iotio_client.buffer import Buffer
from iotio_client.errors import BufferFailed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
buffer = Buffer(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
kept = 0
try:
    while kept < 1000:
        kept = buffer.put("e", 0, bytes(2000), 0)
except BufferFailed as error:
    print(kept, len(buffer), error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="resource limits")
def test_a_full_disk(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(file)], capture_output=True, text=True, check=True, timeout=30
    )
    kept, length, *words = done.stdout.split()
    assert 0 < int(kept) == int(length) < 1000, done.stdout
    assert "cannot" in words
    buffer = Buffer(file)
    assert len(buffer) == int(kept)
    buffer.close()


def test_bytes_on_their_way_are_bounded() -> None:
    buffer = Buffer(max_messages=4, drop_oldest=True)
    for _ in range(4):
        buffer.put("e", 0, b"x" * 10, 0)
    buffer.resume(None, 0, None)
    assert [number_of(buffer.next(9, 15)) for _ in range(3)] == [1, 2, None]
    buffer.acknowledge(1)
    assert [number_of(buffer.next(9, 15)) for _ in range(2)] == [3, None]
    buffer.put("e", 0, b"x" * 10, 0)  # there is room
    buffer.put("e", 0, b"x" * 10, 0)  # drops 2, which was on its way
    assert [number_of(buffer.next(9, 15)) for _ in range(2)] == [4, None]
    buffer.suspend()
    buffer.resume(None, 0, None)
    assert [number_of(buffer.next(9, 15)) for _ in range(3)] == [3, 4, None]


def number_of(item: tuple[int, int, Any] | None) -> int | None:
    return None if item is None else item[1]


def test_what_is_dropped_instead_of_sent_leaves_no_gap(file: Path) -> None:
    buffer = Buffer(file)
    for _ in range(3):
        buffer.put("e", 0, b"x", 0)
    buffer.resume(None, 0, None)
    assert buffer.next(9)
    previous, number, _ = buffer.next(9) or (0, 0, None)
    assert (previous, number) == (1, 2)
    buffer.drop_unsent(previous, number)
    previous, number, _ = buffer.next(9) or (0, 0, None)
    assert (previous, number) == (1, 3)
    assert (buffer.dropped, buffer.outgoing.on_their_way) == (1, 2)
    buffer.acknowledge(3)
    buffer.close()
    again = Buffer(file)
    assert len(again) == 0
    again.close()


def test_a_transaction_cannot_send(file: Path) -> None:
    buffer = Buffer(file)
    buffer.resume(None, 0, "s")
    with pytest.raises(RuntimeError, match="within a transaction"):
        buffer.took(1, [lambda _: buffer.put("e", 0, b"", 0)])
    assert len(buffer) == 0
    assert buffer.is_new(1, 0)
    buffer.close()


@pytest.mark.parametrize("patience", [-1, 1e308, float("nan")])
def test_patience_is_what_sqlite_can_wait(patience: float) -> None:
    with pytest.raises(ValueError, match="patience must be seconds, 0 or more and at most 2000000, not"):
        Buffer(patience=patience)
