"""The stream of a device that is served by a thread: any thread writes, and none waits for the device."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from iotio.hosts.blocking.loop_thread import LoopThread
from iotio.hosts.blocking.stream import SocketStream, read_buffered
from iotio.hosts.blocking.threads import ThreadWaits
from tests.support.hosts import eventually
from tests.support.memory import make_manager

WAIT = 5.0  # seconds
MUCH = bytes(range(256)) * 32 * 1024  # 8 MiB: more than the kernel keeps


class Owner:
    """A connection that has nothing but a lock and a name."""

    name = "d1"

    def __init__(self) -> None:
        self._lock = threading.Lock()


@pytest.fixture
def loop_thread() -> Iterator[LoopThread]:
    made = LoopThread(make_manager())
    yield made
    made.stop()


class Pair:
    """A stream, and the device's end of it."""

    def __init__(self, loop_thread: LoopThread) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.theirs.settimeout(WAIT)
        self.owner = Owner()
        self.waits = ThreadWaits(self.ours)
        self.stream = SocketStream(self.owner, self.ours, self.waits, loop_thread)

    def write(self, data: bytes) -> None:
        with self.owner._lock:
            self.stream.write(data)

    def read(self, size: int) -> bytes:
        """What the device reads."""
        found = b""
        while len(found) < size:
            found += self.theirs.recv(size - len(found))
        return found

    def linger(self) -> None:
        self.stream.linger(WAIT, lambda: 0.0)


@pytest.fixture
def pair(loop_thread: LoopThread) -> Iterator[Pair]:
    made = Pair(loop_thread)
    yield made
    made.waits.close()
    made.ours.close()
    made.theirs.close()


def test_what_the_kernel_takes_leaves_at_once(pair: Pair) -> None:
    pair.write(b"one")
    pair.write(b"two")
    assert pair.read(6) == b"onetwo"
    assert pair.stream.buffer.size == 0


def test_what_the_kernel_does_not_take_is_kept_in_order_and_sent_by_the_loop(pair: Pair) -> None:
    pair.write(MUCH)
    assert pair.stream.buffer.size > 0
    pair.write(b"behind it")
    assert pair.read(len(MUCH) + 9) == MUCH + b"behind it"
    eventually(lambda: pair.stream.buffer.size == 0)


def test_nothing_is_kept_for_a_device_that_is_gone(pair: Pair) -> None:
    pair.theirs.close()
    pair.write(MUCH)
    pair.write(b"more")
    assert pair.stream.buffer.size == 0
    assert pair.stream.read() == b""


def test_reading_waits_for_bytes(pair: Pair) -> None:
    with pair.owner._lock:
        assert pair.stream.receive() is None
    assert not pair.stream.is_unread()
    threading.Timer(0.05, pair.theirs.sendall, (b"hello",)).start()
    assert pair.stream.read() == b"hello"
    pair.theirs.sendall(b"more")
    assert pair.stream.is_unread()
    assert pair.stream.read() == b"more"
    pair.theirs.close()
    assert pair.stream.is_unread(), "the end is to be read, too"
    assert pair.stream.read() == b""


def test_a_thread_that_reads_wakes_up_when_it_is_hung_up(pair: Pair) -> None:
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(pair.stream.read()))
    reader.start()
    with pair.owner._lock:
        pair.stream.hang_up()
    reader.join(WAIT)
    assert found == [b""]


def test_the_last_bytes_are_written_and_the_end_of_the_device_is_awaited(pair: Pair) -> None:
    pair.write(MUCH)
    ended = threading.Thread(target=pair.linger)
    ended.start()
    assert pair.read(len(MUCH)) == MUCH
    assert pair.theirs.recv(1) == b"", "our end is behind it"
    assert ended.is_alive(), "it waits for the end of the device"
    pair.theirs.close()
    ended.join(WAIT)
    assert not ended.is_alive()
    with pair.owner._lock:
        pair.stream.hang_up()  # the descriptor may be another socket's by now
    assert not pair.stream.is_unread()
    pair.write(b"nothing")
    assert pair.stream.buffer.size == 0


def test_a_loop_that_has_ended_gives_the_stream_up(pair: Pair, loop_thread: LoopThread) -> None:
    _ = loop_thread.loop
    loop_thread.stop()
    loop_thread.call = lambda function, *arguments: False  # type: ignore[method-assign]  # as while the program ends
    pair.write(MUCH)
    assert pair.stream.buffer.size == 0
    pair.theirs.settimeout(WAIT)
    while pair.theirs.recv(1 << 20):
        pass


def test_what_a_stream_has_read_ahead() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with ours.makefile("rb") as stream:
            assert read_buffered(stream) == b"", "nothing is there now"
            theirs.sendall(b"line\nand more")
            assert stream.readline() == b"line\n"
            assert read_buffered(stream) == b"and more"
            theirs.close()
            assert read_buffered(stream) == b""
