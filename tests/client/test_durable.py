"""Durable messages with both clients: exact bytes, and nothing lost, twice or out of order with the real server."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from iotio import DeviceType
from iotio import IoTClient as ServerSide
from iotio_client import Buffer, BufferFailed, BufferFull, NotConnected
from iotio_client.calls import ThreadCall
from iotio_client.durable import Flushes
from iotio_client.session import State
from iotio_protocol import v2
from iotio_protocol.errors import EncodeError
from tests.support.hosts import LocalHost, eventually, serve_local
from tests.support.wire import Opcode

from .devices import AsyncDevice, Device, Kind, Running, SyncDevice, make
from .fake_server import TIMEOUT, FakeServer, Peer
from .test_v2 import BOTH, STREAM, packet, quit_in_order

HOSTS = pytest.mark.parametrize("host_kind", ["native", "flask"])
NOON = 1_767_225_600  # when WELCOME of the fake server is, seconds


def send(device: Device, event: str, message: Any, **more: Any) -> int | None:
    """`send` of a thread that is none of the client's."""
    if isinstance(device, SyncDevice):
        return device.send(event, message, **more)
    if device._shell.loop is None or not device._shell.loop.is_running():
        return asyncio.run(device.send(event, message, **more))
    return asyncio.run_coroutine_threadsafe(device.send(event, message, **more), device._shell.loop).result(TIMEOUT)


def flush(device: Device, timeout: float = TIMEOUT) -> None:
    if isinstance(device, SyncDevice):
        device.flush(timeout)
    elif device._shell.loop is None or not device._shell.loop.is_running():
        asyncio.run(device.flush(timeout))
    else:
        asyncio.run_coroutine_threadsafe(device.flush(timeout), device._shell.loop).result(2 * timeout)


def cut(device: Device) -> None:
    """End TCP without a word, if there is a connection."""
    connection = device._driver.connection
    if connection is None:
        return
    if isinstance(device, SyncDevice):
        with suppress(OSError):
            device._driver.connection.socket.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
    else:
        assert device._shell.loop is not None
        device._shell.loop.call_soon_threadsafe(connection.transport.abort)  # type: ignore[union-attr]


def named(**more: Any) -> Buffer:
    buffer = Buffer(**more)
    buffer.outgoing.name = STREAM
    return buffer


# Byte for byte.


@BOTH
def test_exact_bytes_and_the_clock(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    def script(peer: Peer) -> None:
        fields = peer.greet(time=NOON * 1000)
        assert fields["sends"] == STREAM
        assert peer.recv().payload == (
            b"\x05\x18" + (1).to_bytes(8, "big") + (0).to_bytes(8, "big") + (NOON * 1000).to_bytes(8, "big")
            + b"\x00\x04temp\x00\x00\x00\x08\x40\x35\x80\x00\x00\x00\x00\x00"
        )  # fmt: skip
        second = peer.recv_v2()
        assert second == v2.Packet("temp", 2, v2.DURABLE | v2.TIME, number=2, previous=1, time=NOON * 1000 + 1500)
        peer.send(Opcode.BINARY, v2.encode_ack(2))
        packet(peer, "echo", "in")
        assert peer.recv_v2() == v2.Packet("echo", "in")
        assert device.waiting == 0
        quit_in_order(peer)

    now = time.time() - 1000.0  # a clock that is wrong by a thousand seconds, and some for the test itself
    monkeypatch.setattr("iotio_client.driver.wall_clock", lambda: now)
    device = make(kind, buffer=named())
    assert send(device, "temp", 21.5, durable=True) == 1
    later = datetime.fromtimestamp(now + 1.5, timezone(timedelta(hours=2)))
    assert send(device, "temp", 2, durable=True, time=later) == 2
    assert device.waiting == 2
    with FakeServer(script) as server:
        assert Running(device.run, server.domain).join() is None


@BOTH
def test_a_clock_that_is_right_is_left_alone(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        peer.greet(time=round(time.time() * 1000) - 300)
        got = peer.recv_v2()
        assert isinstance(got, v2.Packet)
        assert got.time == 12_345_678
        packet(peer, "echo", "in")
        assert peer.recv_v2() == v2.Packet("echo", "in")
        send(device, "live", None, time=12.5)
        assert peer.recv_v2() == v2.Packet("live", None, v2.TIME, time=12_500)
        quit_in_order(peer)

    device = make(kind)
    send(device, "temp", 1, durable=True, time=12_345.678)
    with FakeServer(script) as server:
        assert Running(device.run, server.domain).join() is None


@BOTH
def test_what_cannot_be_sent_is_refused_at_once(kind: Kind) -> None:
    device = make(kind, buffer=Buffer(max_messages=1))
    for wrong in (object(), 2**70, float("nan"), "\ud800"):
        with pytest.raises(EncodeError):
            send(device, "e", wrong, durable=True)
    with pytest.raises(ValueError, match="time zone"):
        send(device, "e", 1, durable=True, time=datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="1970 to 9999"):
        send(device, "e", 1, durable=True, time=1e15)
    with pytest.raises(TypeError, match="datetime or seconds"):
        send(device, "e", 1, durable=True, time="now")
    with pytest.raises(NotConnected):
        send(device, "e", 1)
    send(device, "e", 1, durable=True)
    with pytest.raises(BufferFull, match="max_messages"):
        send(device, "e", 2, durable=True)
    with pytest.raises(TimeoutError, match="1 durable messages"):
        flush(device, 0.05)
    assert device.waiting == 1


@BOTH
def test_window_and_ack(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        peer.greet(max_unacknowledged=2)
        numbers = [peer.recv_v2().number for _ in range(2)]  # type: ignore[union-attr]
        packet(peer, "echo", "none of the others comes before this")
        assert isinstance(peer.recv_v2(), v2.Packet)
        for upto in (1, 2, 3, 4):
            peer.send(Opcode.BINARY, v2.encode_ack(upto))
            if upto < 4:
                numbers.append(peer.recv_v2().number)  # type: ignore[union-attr]
        assert numbers == [1, 2, 3, 4, 5]
        peer.send(Opcode.BINARY, v2.encode_ack(9))  # never sent
        problem = peer.recv_v2()
        assert isinstance(problem, v2.Problem)
        assert problem.error == "client_invalid_packet"
        peer.close(1001)

    def second(peer: Peer) -> None:
        peer.greet(heard={"stream": STREAM, "upto": 4})
        got = peer.recv_v2()
        assert isinstance(got, v2.Packet)
        assert (got.number, got.previous, got.value) == (5, 4, 4)
        quit_in_order(peer)

    device = make(kind, buffer=named())
    for value in range(5):
        send(device, "e", value, durable=True)
    with FakeServer(script, second) as server:
        assert Running(device.run, server.domain).join() is None
    assert device.waiting == 1


@BOTH
def test_what_the_server_has_no_room_for_is_dropped(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    def script(peer: Peer) -> None:
        peer.greet(max_payload=10)
        values = [peer.recv_v2() for _ in range(2)]
        assert [(one.number, one.previous) for one in values] == [(1, 0), (3, 1)]  # type: ignore[union-attr]
        quit_in_order(peer)

    device = make(kind, buffer=named())
    for value in ("a", "x" * 11, "b"):
        send(device, "e", value, durable=True)
    with FakeServer(script) as server:
        assert Running(device.run, server.domain).join() is None
    assert device._session.buffer.dropped == 1
    assert "10 bytes" in caplog.text


@BOTH
def test_a_server_of_protocol_1_gets_plain_events_until_it_answers_a_ping(kind: Kind) -> None:
    def first(peer: Peer) -> None:
        peer.accept()
        assert [peer.recv_packet() for _ in range(2)] == [("e", 0), ("e", 1)]
        ping = peer.recv()
        assert ping.opcode == Opcode.PING
        peer.reset()

    def second(peer: Peer) -> None:
        peer.accept()
        assert [peer.recv_packet() for _ in range(2)] == [("e", 0), ("e", 1)]
        peer.send(Opcode.PONG, peer.recv().payload)
        peer.packet("ready", 0)
        assert peer.recv_packet() == ("e", 2)
        peer.send(Opcode.PONG, peer.recv().payload)
        eventually(lambda: device.waiting == 0)
        peer.packet("quit", 0)
        assert peer.recv_packet() == ("quit", "bye")
        assert peer.recv_close() == 1000

    device = make(kind)
    vars(device)["on_ready"] = ready(device)
    for value in range(2):
        send(device, "e", value, durable=True)
    with FakeServer(first, second) as server:
        assert Running(device.run, server.domain).join() is None


def ready(device: Device) -> Any:
    if isinstance(device, SyncDevice):
        return lambda message: device.send("e", 2, durable=True) and None

    async def on_ready(message: Any) -> None:
        assert isinstance(device, AsyncDevice)
        with pytest.raises(EncodeError):
            await device.send("e", None, durable=True)
        await device.send("e", 2, durable=True)

    return on_ready


# From the server.


@BOTH
def test_a_gap_is_told_and_the_connection_made_anew(kind: Kind) -> None:
    def first(peer: Peer) -> None:
        peer.greet(sends="s1")
        packet(peer, "hello", 3, v2.DURABLE, number=3, previous=2)
        problem = peer.recv_v2()
        assert isinstance(problem, v2.Problem)
        assert problem.error == "stream_gap"
        assert peer.recv_close() == 1008  # no GOODBYE: it comes again

    def second(peer: Peer) -> None:
        peer.greet(sends="s1")
        packet(peer, "hello", 2, v2.DURABLE, number=2)
        assert [peer.recv_v2() for _ in range(2)] == [v2.Packet("reply", 2), v2.Ack(2)]
        quit_in_order(peer)

    device = make(kind)
    with FakeServer(first, second) as server:
        assert Running(device.run, server.domain).join() is None


@BOTH
def test_message_and_transaction(kind: Kind, tmp_path: Path) -> None:
    def script(peer: Peer) -> None:
        peer.greet(sends="s1")
        for number, what in enumerate(("write", "raise", "wrong"), 1):
            packet(peer, "note", what, v2.DURABLE | v2.TIME, number=number, previous=number - 1, time=NOON * 1000)
            assert peer.recv_v2() == v2.Ack(number)
        packet(peer, "note", "live", v2.TIME, time=NOON * 1000)
        packet(peer, "note", "now")
        quit_in_order(peer)

    seen: list[Any] = []

    def note(message: Any) -> None:
        about = device.message
        seen.append(None if about is None else (about.id, about.time))
        if about is None or not about.id:
            return
        column = "value" if message != "wrong" else "no_such_column, value"
        about.transaction(lambda file: file.execute(f"INSERT INTO effect ({column}) VALUES (?)", (message,)))
        if message == "raise":
            raise ValueError(message)

    async def anote(message: Any) -> None:
        note(message)

    path = tmp_path / "buffer.db"
    buffer = Buffer(path)
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE effect (value TEXT, no_such_column TEXT)")
    file.close()
    device = make(kind, buffer=buffer)
    vars(device)["on_note"] = note if kind is SyncDevice else anote
    with FakeServer(script) as server:
        assert Running(device.run, server.domain).join() is None
    noon = datetime.fromtimestamp(NOON, UTC)
    assert seen == [("s1/1", noon), ("s1/2", noon), ("s1/3", noon), ("", noon), None]
    assert device.message is None
    buffer.close()
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT value FROM effect").fetchall() == [("write",)]
        assert file.execute("SELECT heard_stream, heard FROM stream").fetchall() == [("s1", 3)]
    file.close()
    with pytest.raises(BufferFailed, match="closed"):
        send(device, "e", 1, durable=True)


@BOTH
def test_a_file_that_cannot_be_written_brings_the_message_again(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / "buffer.db"
    buffer = Buffer(path, patience=0.05)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def first(peer: Peer) -> None:
        peer.greet(sends="s1")
        packet(peer, "echo", "in")
        assert peer.recv_v2() == v2.Packet("echo", "in")
        other.execute("BEGIN IMMEDIATE")
        packet(peer, "hello", 1, v2.DURABLE, number=1)
        assert peer.recv_close() == 1008
        other.execute("ROLLBACK")

    def second(peer: Peer) -> None:
        assert peer.greet(sends="s1")["heard"] == {"stream": "s1", "upto": 0}
        packet(peer, "hello", 1, v2.DURABLE, number=1)
        assert [peer.recv_v2() for _ in range(2)] == [v2.Packet("reply", 1), v2.Ack(1)]
        quit_in_order(peer)

    device = make(kind, buffer=buffer)
    with FakeServer(first, second) as server:
        assert Running(device.run, server.domain).join() is None
    other.close()
    buffer.close()


# With the real server.


class Sensor(DeviceType):
    """Notes what durable messages bring."""

    def __init__(self) -> None:
        super().__init__("sensor")
        self.seen: list[Any] = []
        self.live: list[Any] = []
        self.seen_before_live = 0

    def on_reading(self, message: Any, client: ServerSide) -> None:
        assert client.message is not None
        client.message.transaction(lambda _: self.seen.append(message))

    def on_live(self, message: Any, client: ServerSide) -> None:
        self.seen_before_live = len(self.seen)
        self.live.append(message)

    def on_ask(self, message: Any, client: ServerSide) -> None:
        assert client.message is not None
        self.seen.append(client.call("echo", message))


@contextmanager
def running(host: LocalHost, device: Device) -> Iterator[None]:
    thread = Running(device.run, f"127.0.0.1:{host.port}")
    try:
        assert device.log.next() == ("connect",)
        yield
    finally:
        device.stop()
        assert thread.join() is None


@BOTH
@HOSTS
def test_both_ways_over_cut_connections(kind: Kind, host_kind: str) -> None:
    count = 300
    commands: list[int] = []
    with serve_local(host_kind) as host:
        sensor = Sensor()
        host.manager.add_type(sensor)
        device = make(kind, client_id="cut", client_type="sensor")
        vars(device)["on_command"] = noting(kind, commands)
        for value in range(5):
            send(device, "reading", value, durable=True)
        with running(host, device):
            eventually(lambda: host.manager.device("cut") is not None)
            remote = host.manager.device("cut")
            assert remote is not None
            for value in range(5, count):
                send(device, "reading", value, durable=True)
                remote.emit("command", value, durable=True)
                if value % 50 == 0:
                    cut(device)
                elif value % 75 == 0 and (known := host.manager.client("cut")) is not None:
                    known.close()
            flush(device)
            assert device.waiting == 0
            eventually(lambda: len(commands) >= count - 5)
    assert sensor.seen == list(range(count))
    assert commands == list(range(5, count))


def noting(kind: Kind, found: list[int]) -> Any:
    if kind is SyncDevice:
        return found.append

    async def note(message: int) -> None:
        found.append(message)

    return note


@BOTH
def test_a_device_that_starts_again_with_its_file(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / "buffer.db"
    with serve_local("native") as host:
        sensor = Sensor()
        host.manager.add_type(sensor)
        for start in range(3):
            buffer = Buffer(path)
            device = make(kind, client_id="again", client_type="sensor", buffer=buffer)
            assert send(device, "reading", 3 * start, durable=True) == 3 * start + 1
            with running(host, device):
                send(device, "reading", 3 * start + 1, durable=True)
                flush(device)
            send(device, "reading", 3 * start + 2, durable=True)
            assert device.waiting == 1
            buffer.close()
        last = Buffer(path)
        device = make(kind, client_id="again", client_type="sensor", buffer=last)
        assert device.waiting == 1
        with running(host, device):
            flush(device)
        last.close()
    assert sensor.seen == list(range(9))


@BOTH
@HOSTS
def test_a_backlog_leaves_room_for_live_messages(kind: Kind, host_kind: str) -> None:
    with serve_local(host_kind) as host:
        sensor = Sensor()
        host.manager.add_type(sensor)
        device = make(kind, client_id="backlog", client_type="sensor")
        body = "x" * 200
        for value in range(3000):
            send_quickly(device, [value, body])
        assert device.waiting == 3000
        with running(host, device):
            send(device, "live", 1)
            # What is acknowledged was seen, and 1000 more may be on their way: it has not waited for the whole backlog.
            most = len(sensor.seen) + 1000
            eventually(lambda: sensor.live)
            assert sensor.seen_before_live <= most
            flush(device, 30.0)
    assert [value for value, _ in sensor.seen] == list(range(3000))


def send_quickly(device: Device, value: Any) -> None:
    device._session.durable.keep("reading", value, 0)


@BOTH
def test_handlers_of_the_server_may_call_a_device_with_a_backlog(kind: Kind) -> None:
    with serve_local("native") as host:
        sensor = Sensor()
        host.manager.add_type(sensor)
        device = make(kind, client_id="asked", client_type="sensor")
        values = [f"{value:07}" * 20_000 for value in range(40)]  # 5.6 MB: more than sockets hold
        for value in values:
            send(device, "ask", value, durable=True)
        with running(host, device):
            flush(device)
    assert sensor.seen == values


@BOTH
def test_flush_in_a_handler(kind: Kind) -> None:
    def sync_last(message: Any) -> None:
        assert isinstance(device, SyncDevice)
        device.send("reading", message, durable=True)
        device.flush(TIMEOUT)
        device.log.put("flushed", device.waiting)
        device.sleep(60)

    async def async_last(message: Any) -> None:
        assert isinstance(device, AsyncDevice)
        await device.send("reading", message, durable=True)
        await device.flush(TIMEOUT)
        device.log.put("flushed", device.waiting)
        device.sleep(60)

    with serve_local("native") as host:
        host.manager.add_type(Sensor())
        device = make(kind, client_id="last-words", client_type="sensor")
        vars(device)["on_last"] = sync_last if kind is SyncDevice else async_last
        thread = Running(device.run, f"127.0.0.1:{host.port}")
        assert device.log.next() == ("connect",)
        remote = host.manager.device("last-words")
        assert remote is not None
        remote.emit("last", 1, durable=True)
        assert thread.join() is None
        assert device.log.next() == ("flushed", 0)


def test_threads_that_send_at_once() -> None:
    with serve_local("native") as host:
        sensor = Sensor()
        host.manager.add_type(sensor)
        device = make(SyncDevice, client_id="threads", client_type="sensor")

        def work(name: int) -> None:
            for value in range(100):
                send(device, "reading", [name, value], durable=True)

        with running(host, device):
            threads = [Running(work, name) for name in range(6)]
            for thread in threads:
                assert thread.join() is None
            flush(device)
    assert len(sensor.seen) == 600
    for name in range(6):
        assert [value for one, value in sensor.seen if one == name] == list(range(100))


def test_tasks_that_send_at_once_to_a_file(tmp_path: Path) -> None:
    buffer = Buffer(tmp_path / "buffer.db")

    async def work(device: AsyncDevice) -> None:
        await asyncio.gather(*(device.send("reading", value, durable=True) for value in range(100)))
        await device.flush(TIMEOUT)

    with serve_local("native") as host:
        sensor = Sensor()
        host.manager.add_type(sensor)
        device = make(AsyncDevice, client_id="tasks", client_type="sensor", buffer=buffer)
        assert isinstance(device, AsyncDevice)
        with running(host, device):
            assert device._shell.loop is not None
            asyncio.run_coroutine_threadsafe(work(device), device._shell.loop).result(2 * TIMEOUT)
    buffer.close()
    assert sensor.seen == list(range(100))


def test_flush_where_nobody_receives() -> None:
    with serve_local("native") as host:
        sensor = Sensor()
        host.manager.add_type(sensor)
        device = make(SyncDevice, client_id="steps", client_type="sensor")
        assert isinstance(device, SyncDevice)
        device.connect(f"127.0.0.1:{host.port}")
        device.send("reading", 1, durable=True)
        device.flush(TIMEOUT)
        assert device.waiting == 0
        device.stop()
        device.send("reading", 2, durable=True)
        with pytest.raises(TimeoutError):
            device.flush(0.1)

        async def steps() -> None:
            other = make(AsyncDevice, client_id="steps2", client_type="sensor")
            assert isinstance(other, AsyncDevice)
            await other.begin(f"127.0.0.1:{host.port}")
            await other.send("reading", 3, durable=True)
            await other.flush(TIMEOUT)
            other.stop()
            async with asyncio.timeout(TIMEOUT):
                while other._session.state is not State.ENDED:
                    await asyncio.sleep(0.01)

        asyncio.run(steps())
    assert sensor.seen == [1, 3]


# Who waits in flush.


def test_flushes_are_settled_by_what_they_wait_for() -> None:
    buffer = Buffer()
    flushes = Flushes(buffer, lambda: ThreadCall("flush"))
    none = flushes.add()
    flushes.settle()
    assert none.done.is_set()
    buffer.put("e", 0, b"", 0)
    first = flushes.add()
    buffer.put("e", 0, b"", 0)
    second, third = flushes.add(), flushes.add()
    flushes.remove(third)
    flushes.remove(third)
    buffer.resume(buffer.outgoing.name, 1, None)
    flushes.settle()
    assert [waiter.done.is_set() for waiter in (first, second)] == [True, False]
    buffer.resume(buffer.outgoing.name, 2, None)
    flushes.settle()
    assert [waiter.done.is_set() for waiter in (second, third)] == [True, False]


@BOTH
@pytest.mark.parametrize("seconds", [0, 1e308, float("inf")])
def test_flush_has_a_time_that_can_pass(kind: Kind, seconds: float) -> None:
    device = make(kind)
    outcome = device.flush(seconds) if isinstance(device, AsyncDevice) else Running(device.flush, seconds).join()
    if isinstance(device, AsyncDevice):
        outcome = Running(asyncio.run, outcome).join()
    assert isinstance(outcome, ValueError)
    assert "timeout must be seconds above 0 and at most 1000000000" in str(outcome)
