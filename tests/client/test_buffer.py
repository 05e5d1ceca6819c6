"""The buffer of a device's durable messages, in memory and in a file; test_buffer_file.py has the file alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iotio_client.buffer import Buffer
from iotio_client.errors import BufferFull
from iotio_client.message import Kept
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


def number_of(item: tuple[int, int, Any] | None) -> int | None:
    return None if item is None else item[1]


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


def test_memory_has_a_new_stream_each_time() -> None:
    assert Buffer().outgoing.name != Buffer().outgoing.name


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
