"""The device that is written by hand from the page of protocol v2: against the server, and against a scripted one."""

from __future__ import annotations

import ast
import importlib.util
import queue
import socket
import sys
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import pytest
from flask import Flask

from iotio import DeviceType, IoTClient, IoTManager, Options
from iotio.hosts.upgrade import welcome
from iotio_protocol import v2
from iotio_protocol.frames import BINARY, Close, FrameDecoder, Ping, encode_close, encode_frame
from scripts.tools.readme import ROOT

FILE = ROOT / "examples" / "v2_by_hand.py"
WAIT_SECONDS = 10.0
NUMBERS = {"server": "test 1.0", "time": 0, "max_unacknowledged": 2, "ping_interval": 20, "ping_timeout": 10}


def load_device() -> Any:
    """The class of the example."""
    spec = importlib.util.spec_from_file_location("v2_by_hand", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Device


def test_it_is_short_and_needs_the_standard_library_only() -> None:
    source = FILE.read_text(encoding="utf-8")
    assert source.count("\n") < 220
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    assert names <= sys.stdlib_module_names


class Sensor(DeviceType):
    """What the device by hand talks to."""

    def __init__(self) -> None:
        super().__init__("sensor")
        self.connected: queue.Queue[IoTClient] = queue.Queue()

    def on_connect(self, client: IoTClient) -> None:
        self.connected.put(client)

    def on_echo(self, value: Any, client: IoTClient) -> tuple[str, Any]:
        return "echoed", value

    def on_twice(self, value: Any, client: IoTClient) -> Any:
        return value * 2


@pytest.fixture
def sensor() -> Iterator[tuple[Sensor, int]]:
    """A server and its port."""
    sensors = Sensor()
    manager = IoTManager(Flask(__name__))
    manager.add_type(sensors)
    yield sensors, manager.start()
    manager.stop()


VALUES: list[Any] = [b"\x00\xff", True, False, -5, "h\u00e9", 1.5, {"a": [1]}, ["x"], "x" * 70_000, "x" * 200]


def test_events_and_calls_both_ways(sensor: tuple[Sensor, int]) -> None:
    sensors, port = sensor
    got: queue.Queue[Any] = queue.Queue()

    def ask(value: Any) -> None:
        device.call("twice", value, lambda result, failure: got.put((result, failure)))

    def fail(value: Any) -> None:
        raise ValueError("no bulb")

    handlers: dict[str, Any] = {
        "echoed": got.put,
        "say": lambda value: device.send("echo", value),
        "ask": ask,
        "fail": fail,
    }
    device: Any = load_device()("s1", "sensor", handlers)
    thread = threading.Thread(target=device.run, args=("127.0.0.1", port))
    thread.start()
    client = sensors.connected.get(timeout=WAIT_SECONDS)
    for value in VALUES:
        client.emit("say", value)
        echoed = got.get(timeout=WAIT_SECONDS)
        assert (type(echoed), echoed) == (type(value), value)
    client.emit("ask", 21)
    assert got.get(timeout=WAIT_SECONDS) == (42, None)
    client.emit("ask", None)
    result, failure = got.get(timeout=WAIT_SECONDS)
    assert (result, failure["error"], failure["name"]) == (None, "exception", "TypeError")
    assert client.call("say", "x", timeout=WAIT_SECONDS) is None
    assert got.get(timeout=WAIT_SECONDS) == "x"
    with pytest.raises(Exception, match="ValueError: no bulb"):
        client.call("fail", timeout=WAIT_SECONDS)
    with pytest.raises(Exception, match="no handler"):
        client.call("nosuch", timeout=WAIT_SECONDS)
    client.close()
    thread.join(WAIT_SECONDS)
    assert not thread.is_alive()


class Script:
    """One connection of a server that says what the test says.

    Args:
        listener: where the device connects.
        fields: of WELCOME.
    """

    def __init__(self, listener: socket.socket, fields: dict[str, object]) -> None:
        self._socket, _ = listener.accept()
        self._socket.settimeout(WAIT_SECONDS)
        self._decoder = FrameDecoder(1 << 20)
        self._items: list[Any] = []
        request, self._rest = self._socket.recv(65536).split(b"\r\n\r\n", 1)
        key = request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0].decode()
        self._socket.sendall(welcome(key, v2.SUBPROTOCOL))
        hello = self.next()
        assert isinstance(hello, v2.Greeting)
        self.hello = hello.fields
        self.send(v2.encode_json(v2.WELCOME, {**NUMBERS, **fields}))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, packet: bytes) -> None:
        """Send one packet."""
        self._socket.sendall(encode_frame(BINARY, packet))

    def frame(self, data: bytes) -> None:
        """Send any bytes."""
        self._socket.sendall(data)

    def next(self) -> Any:
        """The next packet, or control frame, of the device."""
        while not self._items:
            data, self._rest = self._rest or self._socket.recv(65536), b""
            assert data
            self._items += self._decoder.feed(data)
        item = self._items.pop(0)
        return v2.decode(item) if isinstance(item, bytes) else item


def durable(number: int, value: Any, previous: int) -> bytes:
    """A durable message of the server."""
    return v2.encode("set", value, v2.DURABLE, number=number, previous=previous)


def count(number: int, previous: int) -> v2.Packet:
    """A durable message of the device, whose value is its number."""
    return v2.Packet("count", number, v2.DURABLE, number=number, previous=previous)


class Line:
    """The device by hand, and a scripted server for each of its connections.

    Attributes:
        device: it.
        took: what its handler of `set` got.
    """

    def __init__(self) -> None:
        self.took: list[Any] = []
        self.device: Any = load_device()("s1", "sensor", {"set": self.took.append})
        self._thread: threading.Thread | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(WAIT_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.join()
        self._listener.close()

    def connect(self, **fields: object) -> Script:
        """The next connection, with these fields of WELCOME."""
        self.join()
        self._thread = threading.Thread(target=run_quietly, args=(self.device, *self._listener.getsockname()))
        self._thread.start()
        return Script(self._listener, fields)

    def join(self) -> None:
        """Wait until the device has ended its connection."""
        if self._thread is not None:
            self._thread.join(WAIT_SECONDS)
            assert not self._thread.is_alive()


@pytest.fixture
def line() -> Iterator[Line]:
    with Line() as line:
        yield line


def test_durable_messages_over_three_connections(line: Line) -> None:
    for value in (1, 2, 3):
        line.device.send_durable("count", value)
    with line.connect(sends="s-1") as script:
        stream = script.hello["sends"]
        assert script.hello["heard"] is None
        assert [script.next(), script.next()] == [count(1, 0), count(2, 1)]  # two at a time
        script.send(v2.encode_ack(1))
        assert script.next() == count(3, 2)
        script.send(durable(4, "a", 0))  # some never come
        assert script.next() == v2.Ack(4)
        script.send(durable(6, "b", 4))
        assert script.next() == v2.Ack(6)
    with line.connect(sends="s-1", heard={"stream": stream, "upto": 2}) as script:  # an ACK was lost
        assert script.hello["sends"] == stream
        assert script.hello["heard"] == {"stream": "s-1", "upto": 6}
        assert script.next() == count(3, 2)
        script.send(durable(6, "b", 4))  # a repetition
        assert script.next() == v2.Ack(6)
        script.send(v2.encode("set", 1, 0x20 | v2.CALL, call=1))  # of a newer protocol
        assert script.next() == v2.Problem("unsupported_packet", None)
        script.send(b"\x07" + durable(7, "x", 6)[1:])  # one that the device cannot take is not sent again
        assert [script.next(), script.next()] == [v2.Problem("unsupported_packet", None), v2.Ack(7)]
        script.frame(bytes.fromhex("890401020304"))
        pong = script.next()
        assert pong.payload == bytes.fromhex("01020304")
    with line.connect(sends="s-2", heard={"stream": "other", "upto": 9}) as script:  # a server without a memory
        assert script.next() == count(3, 0)
        script.send(durable(1, "c", 0))
        assert script.next() == v2.Ack(1)
        script.send(v2.encode_ack(3))
        script.frame(encode_close(1001))
        assert script.next() == Close(1001, "")
    line.join()
    assert line.took == ["a", "b", "c"]
    assert line.device.kept == {}


def test_a_lost_message_of_the_server_comes_over_the_next_connection(line: Line) -> None:
    with line.connect(sends="s-1") as script:
        script.send(durable(1, "a", 0))
        assert script.next() == v2.Ack(1)
        script.send(durable(3, "c", 2))
        assert script.next() == v2.Problem("stream_gap", None)
        assert script.next() == Close(1008, "")
    with line.connect(sends="s-1") as script:
        assert script.hello["heard"] == {"stream": "s-1", "upto": 1}
        for number, value in ((2, "b"), (3, "c")):
            script.send(durable(number, value, number - 1))
            assert script.next() == v2.Ack(number)
    line.join()
    assert line.took == ["a", "b", "c"]


def test_a_lost_message_of_the_device_comes_over_the_next_connection(line: Line) -> None:
    for value in (1, 2):
        line.device.send_durable("count", value)
    with line.connect() as script:
        stream = script.hello["sends"]
        assert [script.next(), script.next()] == [count(1, 0), count(2, 1)]
        script.send(v2.encode_json(v2.PROBLEM, {"error": "stream_gap", "info": None}))  # as if 1 had not come
        script.frame(encode_close(1008, "protocol_error"))
        assert script.next() == Close(1008, "")
    with line.connect(heard={"stream": stream, "upto": 0}) as script:
        assert [script.next(), script.next()] == [count(1, 0), count(2, 1)]
        script.send(v2.encode_ack(2))
        script.frame(encode_close(1001))
        assert script.next() == Close(1001, "")
    line.join()
    assert line.device.kept == {}


def test_a_message_that_is_too_large_ends_the_connection(line: Line) -> None:
    with line.connect() as script:
        assert script.hello["max_payload"] == 100_000
        script.send(v2.encode("set", "x" * 101_000))
        assert script.next() == Close(1009, "")
    line.join()
    assert line.took == []


def test_handlers_that_raise(line: Line) -> None:
    def fail(value: Any) -> None:
        raise ValueError("no bulb")

    line.device.handlers = {"fail": fail, "set": fail}
    with line.connect(sends="s-1") as script:
        script.send(v2.encode("fail", 1))
        script.send(v2.encode("fail", 2, v2.CALL, call=7))
        failure = script.next()
        assert (failure.flags, failure.call, failure.value["error"]) == (v2.FAILURE, 7, "exception")
        script.send(durable(1, "a", 0))
        assert script.next() == v2.Ack(1)
        script.frame(encode_close(1001))
        assert script.next() == Close(1001, "")
    line.join()


def test_it_stops_where_it_is_not_wanted(sensor: tuple[Sensor, int]) -> None:
    _, port = sensor
    with pytest.raises(SystemExit, match="does not want this device"):
        load_device()("s1", "no such type", {}).run("127.0.0.1", port)


def test_three_ping_intervals_of_sending_only() -> None:
    """The server says nothing by itself: its silence has to be told from its death."""
    sensors = Sensor()
    manager = IoTManager(Flask(__name__), options=Options(ping_interval=0.3, ping_timeout=0.3))
    manager.add_type(sensors)
    device: Any = load_device()("s1", "sensor", {})
    thread = threading.Thread(target=device.run, args=("127.0.0.1", manager.start()))
    thread.start()
    try:
        client = sensors.connected.get(timeout=WAIT_SECONDS)
        for _ in range(20):
            device.send("nobody_handles_this", 1)
            assert not thread_ended(thread, 0.1)
        assert client.connected
        assert client.counters["received"] + client.counters["unhandled"] >= 20
    finally:
        manager.stop()
        thread.join(WAIT_SECONDS)
    assert not thread.is_alive(), "it answers CLOSE, and ends"


def thread_ended(thread: threading.Thread, seconds: float) -> bool:
    """Whether a thread has ended within a time, in which it is to go on."""
    thread.join(seconds)
    return not thread.is_alive()


def test_a_server_that_is_dead_is_left(line: Line) -> None:
    began = time.monotonic()
    with line.connect(ping_interval=0.2, ping_timeout=0.3) as script:
        assert isinstance(script.next(), Ping)
        line.join()  # nothing is answered
    assert 0.5 <= time.monotonic() - began < 5


def run_quietly(device: Any, host: str, port: int) -> None:
    """The device until its connection ends."""
    try:
        device.run(host, port)
    except OSError:
        return  # the test has cut the connection
