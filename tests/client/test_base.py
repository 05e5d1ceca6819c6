"""What both clients have in common: the device that they describe, its handlers, its numbers and its log."""

from __future__ import annotations

import asyncio
import logging
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio_client import (
    AsyncIoTClient,
    Backoff,
    Buffer,
    BufferFull,
    ClientError,
    ConnectFailed,
    ConnectionLost,
    EncodeError,
    EndpointInfo,
    EndpointType,
    InvalidEndpoint,
    IoTClient,
    NotConnected,
    Options,
    UpgradeRefused,
    __version__,
)
from iotio_client.failures import ERROR_HEADER
from iotio_client.packets import DefaultPacketEncoder
from iotio_protocol import v2
from tests.support.wire import Opcode

from .devices import AsyncDevice, Device, Handlers, Kind, Running, SyncDevice, make
from .fake_server import FakeServer, Peer

KINDS = pytest.mark.parametrize("kind", [SyncDevice, AsyncDevice])
TIME = datetime(2026, 1, 1, tzinfo=UTC)  # what `greet` says


class Encoder(DefaultPacketEncoder):
    """An encoder of the program's own."""


@pytest.fixture(autouse=True)
def _levels() -> Iterator[None]:
    """Leave the loggers as they were."""
    yield
    for name in ("d1", "a_b"):
        logging.getLogger(f"iotio.client.{name}").setLevel(logging.NOTSET)


def see_off(peer: Peer) -> None:
    """Answer the device's CLOSE; what comes before it is dropped."""
    while (frame := peer.recv()).opcode != Opcode.CLOSE:
        pass
    peer.send(Opcode.CLOSE, frame.payload)


def add(device: Device, event: str, function: Callable[[Any], object], info: EndpointInfo | None = None) -> None:
    """Make a function the handler of an event; the async client wants a coroutine function."""
    if isinstance(device, IoTClient):
        device.on(event, info)(function)
        return

    async def handler(message: Any) -> object:
        return function(message)

    device.on(event, info)(handler)


# Making a client.


@KINDS
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"client_id": None}, "client_id must be a str"),
        ({"client_id": ""}, "client_id must not be empty"),
        ({"client_type": ""}, "client_type must not be empty"),
        ({"client_id": "a\nb"}, "client_id must not hold line breaks"),
        ({"client_type": 5}, "client_type must be a str"),
        ({"client_data": ["no", "dict"]}, "client_data must be a dict"),
        ({"protocol_version": 3}, "protocol_version must be None, 0, 1 or 2, not 3"),
        ({"protocol_version": "2"}, "protocol_version must be None, 0, 1 or 2, not '2'"),
        ({"protocol_version": 2, "encoder": Encoder}, "leave out encoder or protocol_version=2"),
    ],
)
def test_what_cannot_be_a_client(kind: Kind, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make(kind, **arguments)


@KINDS
def test_a_new_client_has_nothing_to_send_and_no_message(kind: Kind) -> None:
    device = kind("d1", "t")
    assert (device.waiting, device.message) == (0, None)


@KINDS
def test_the_logger_bears_the_id_and_keeps_its_level_unless_told(kind: Kind) -> None:
    assert make(kind, client_id="a.b").logger.name == "iotio.client.a_b", "a dot would make it a child of another"
    assert make(kind).logger.level == logging.NOTSET
    assert make(kind, logging_level=logging.ERROR).logger.level == logging.ERROR
    assert make(kind).logger.level == logging.ERROR


def test_only_the_async_client_takes_coroutines() -> None:
    class Late(Handlers):
        async def on_late(self, message: Any) -> Any:
            return message

    class AsyncLate(Late, AsyncIoTClient):
        pass

    class SyncLate(Late, IoTClient):
        pass

    AsyncLate("d1", "t")
    with pytest.raises(TypeError, match="on_late is a coroutine function: use AsyncIoTClient"):
        SyncLate("d1", "t")


# Handlers.


@KINDS
def test_on_makes_a_method_of_a_function(kind: Kind) -> None:
    device: Any = make(kind)

    async def late(message: Any) -> Any:
        return message

    level = (lambda message: message) if kind is SyncDevice else late
    assert device.on("level")(level) is level
    assert device.on_level is level
    with pytest.raises((TypeError, ValueError)):
        device.on("level")(5)
    if kind is SyncDevice:
        with pytest.raises(ValueError, match="on_level must take one argument, the message"):
            device.on("level")(lambda: None)
    assert device.on_level is level, "what is refused changes nothing"


@KINDS
def test_on_checks_an_endpoint_before_it_has_its_function(kind: Kind) -> None:
    wrong = EndpointInfo("Level", EndpointType.ENUM)
    with pytest.raises(InvalidEndpoint):
        make(kind).on("level", wrong)


@KINDS
def test_an_endpoint_is_declared_when_its_function_is_taken(kind: Kind) -> None:
    device = make(kind)
    info = EndpointInfo("Level", EndpointType.INTEGER)
    refused = device.on("refused", info)
    with pytest.raises((TypeError, ValueError)):
        refused(5)  # type: ignore[type-var]
    add(device, "level", lambda message: message, info)
    greetings: list[dict[str, Any]] = []

    def script(peer: Peer) -> None:
        greetings.append(peer.greet())
        peer.close()

    with FakeServer(script) as server:
        running = Running(device.run, server.domain, reconnect=False)
        assert running.join() is None
    assert [declaration["id"] for declaration in greetings[0]["endpoints"]] == ["level"]


# Numbers.


@KINDS
@pytest.mark.parametrize("seconds", [-1, -0.001, 2**32, float("inf"), float("nan")])
def test_nobody_sleeps_so_long(kind: Kind, seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds must be 0 to 4294967295, not"):
        make(kind).sleep(seconds)


@KINDS
@pytest.mark.parametrize(("seconds", "said"), [(0, 0), (0.1, 1), (5, 5), (2**32 - 1, 2**32 - 1)])
def test_sleep_is_said_in_whole_seconds_rounded_up(kind: Kind, seconds: float, said: int) -> None:
    device = make(kind)
    add(device, "bed", lambda message: device.sleep(seconds))
    heard: list[v2.Decoded] = []

    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(Opcode.BINARY, v2.encode("bed", None))
        heard.append(peer.recv_v2())
        see_off(peer)

    with FakeServer(script) as server:
        assert Running(device.run, server.domain).join() is None
    assert v2.encode_sleep(said) == v2.encode_sleep(0)[:-4] + said.to_bytes(4, "big")
    assert heard == [v2.decode(v2.encode_sleep(said))]


@KINDS
@pytest.mark.parametrize("seconds", [-1, 1e308, float("inf"), float("nan")])
def test_waits_that_are_no_limit(kind: Kind, seconds: float) -> None:
    error = Running(make(kind).run, "127.0.0.1:1", reconnect_delay=seconds).join()
    assert isinstance(error, ValueError)
    assert "reconnect_delay must be seconds, 0 or more" in str(error)


@KINDS
@pytest.mark.parametrize("timeout", [0, -1, 1e308, float("inf"), float("nan")])
def test_time_limits_that_are_none(kind: Kind, timeout: float) -> None:
    error = Running(make(kind).run, "127.0.0.1:1", timeout=timeout).join()
    assert isinstance(error, ValueError)
    assert "timeout must be seconds above 0" in str(error)


@KINDS
def test_reconnect_delay_is_the_longest_wait(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    """And 0 is no busy loop."""
    device = make(kind, backoff=Backoff(base=1000, cap=1000, random=lambda: 1.0))

    def last(peer: Peer) -> None:
        peer.greet()
        peer.send(Opcode.BINARY, v2.encode("quit", None))
        see_off(peer)

    with FakeServer(lambda peer: peer.answer(503), last) as server:
        assert Running(device.run, server.domain, reconnect_delay=0).join() is None
    assert "next attempt in 0.1 s" in caplog.text


# What a client knows.


@KINDS
def test_durable_messages_wait_for_a_server(kind: Kind) -> None:
    device = make(kind, buffer=Buffer(max_messages=2))
    send: Callable[..., Any] = device.send

    def keep(number: int) -> None:
        result = send("level", number, durable=True)
        assert (result if kind is SyncDevice else asyncio.run(result)) == number

    for number in (1, 2):
        keep(number)
        assert device.waiting == number
    with pytest.raises(BufferFull):
        keep(3)
    assert device.waiting == 2
    assert make(kind).waiting == 0


@KINDS
def test_nothing_else_can_be_sent_before_there_is_a_connection(kind: Kind) -> None:
    device = make(kind)

    def send() -> None:
        result: Any = device.send("level", 5)
        if result is not None:
            asyncio.run(result)

    with pytest.raises(NotConnected, match="before the client has connected: call run"):
        send()


@KINDS
def test_the_time_of_the_server_comes_with_protocol_2(kind: Kind) -> None:
    device = make(kind)
    with pytest.raises(ClientError, match="the server's time is not known"):
        device.server_time()
    times: list[datetime] = []

    def when(message: Any) -> None:
        times.append(device.server_time())
        device.stop()

    add(device, "when", when)

    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(Opcode.BINARY, v2.encode("when", None))
        see_off(peer)

    with FakeServer(script) as server:
        assert Running(device.run, server.domain).join() is None
    assert TIME <= times[0] < TIME + timedelta(seconds=20)
    assert times[0].tzinfo is UTC


@KINDS
def test_message_tells_of_the_message_of_this_client_only(kind: Kind) -> None:
    device, other = make(kind), make(kind, client_id="other")
    seen: list[Any] = []

    def level(message: Any) -> None:
        seen.append((message, device.message and (device.message.id, device.message.time), other.message))
        if message == 3:
            device.stop()

    add(device, "level", level)

    def script(peer: Peer) -> None:
        peer.greet(sends="theirs")
        peer.send(Opcode.BINARY, v2.encode("level", 1))
        peer.send(Opcode.BINARY, v2.encode("level", 2, v2.TIME, time=5000))
        peer.send(Opcode.BINARY, v2.encode("level", 3, v2.DURABLE, number=7))
        see_off(peer)

    with FakeServer(script) as server:
        assert Running(device.run, server.domain).join() is None
    assert seen == [
        (1, None, None),
        (2, ("", datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)), None),
        (3, ("theirs/7", None), None),
    ]
    assert device.message is None


# What it asks of the WebSocket library, as the server sees it.


@KINDS
def test_the_request_names_the_library_and_no_compression(kind: Kind) -> None:
    heads: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.greet()
        heads.append(peer.head)
        peer.close()

    with FakeServer(script) as server:
        assert Running(make(kind).run, server.domain, reconnect=False).join() is None
    head = heads[0].decode().lower()
    assert f"user-agent: iotio-client/{__version__} python/3." in head
    assert "sec-websocket-protocol: iotio.v2" in head
    assert "sec-websocket-extensions" not in head


@KINDS
@pytest.mark.parametrize("version", [1, None])
def test_a_message_that_is_too_large_ends_the_connection(kind: Kind, version: int | None) -> None:
    """The limit is that of the options; WebSocket's code for it is 1009."""
    device = make(kind, protocol_version=version, options=Options(max_payload=100, max_event=10))
    codes: list[int | None] = []

    def script(peer: Peer) -> None:
        if version is None:
            peer.greet()
        else:
            peer.accept()
        peer.send(Opcode.BINARY, bytes(100_000))
        codes.append(peer.recv_close())

    with FakeServer(script) as server:
        error = Running(device.run, server.domain, reconnect=False).join()
    assert codes == [1009]
    assert isinstance(error, ConnectionLost)


# The log.


@pytest.mark.parametrize(
    "begin",
    [(b"HTTP/1.1 ", b"x"), (b"HTTP/1.1 403 No\r\n", b"a: b\r\n"), (b"HTTP/1.1 403 No\r\n\r\n", b"x")],
    ids=["one line", "many lines", "a body"],
)
@KINDS
def test_little_is_kept_of_a_long_answer_to_the_request(kind: Kind, begin: tuple[bytes, bytes]) -> None:
    answer = begin[0] + begin[1] * (24_000_000 // len(begin[1]))

    def script(peer: Peer) -> None:
        peer.read_request()
        with suppress(ConnectionError):
            peer.socket.sendall(answer)

    device = make(kind)
    with FakeServer(script) as server:
        tracemalloc.start()
        try:
            assert isinstance(Running(device.run, server.domain, reconnect=False).join(), ConnectFailed)
            assert tracemalloc.get_traced_memory()[1] < 6_000_000
        finally:
            tracemalloc.stop()


@KINDS
def test_errors_of_the_server_and_what_is_ignored_are_logged(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "iotio.client.d1")
    device = make(kind)

    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(
            Opcode.BINARY, v2.encode_json(v2.PROBLEM, {"error": "client_invalid_packet", "info": {"problem": "odd"}})
        )
        peer.send(Opcode.BINARY, b"\x00")
        peer.recv_v2()
        peer.close()

    with FakeServer(script) as server:
        assert Running(device.run, server.domain, reconnect=False).join() is None
    assert "the server reports the error client_invalid_packet (info: {'problem': 'odd'})" in caplog.text
    (ignored,) = [record for record in caplog.records if record.getMessage().startswith("ignored")]
    assert ignored.levelno == logging.WARNING


@KINDS
@given(name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=10))
def test_any_id_has_a_logger_of_its_own_level(kind: Kind, name: str) -> None:
    device: Device = make(kind, client_id=name)
    assert device.logger.name.count(".") == 2


# Running beside the program.


def greet_and_hold(peer: Peer) -> None:
    peer.greet()
    see_off(peer)


async def drive(device: Device, function: Callable[[], Any]) -> Any:
    """Call a function of a client that may be a coroutine function."""
    result = function()
    return await result if asyncio.iscoroutine(result) else result


@KINDS
def test_a_client_says_who_it_is_and_a_program_may_use_the_names(kind: Kind) -> None:
    device: Any = kind("kitchen", "lamp")
    assert (device.id, device.type) == ("kitchen", "lamp")

    class Own(kind):  # type: ignore[misc, valid-type]
        type = 5

        def __init__(self) -> None:
            super().__init__("d1", "t")
            self.id = 7

    own: Any = Own()
    assert (own.id, own.type) == (7, 5)
    assert own._session.identity.id == "d1"


@KINDS
async def test_start_emit_and_the_end_of_with(kind: Kind) -> None:
    device: Any = make(kind)
    heard: list[Any] = []

    def script(peer: Peer) -> None:
        peer.greet()
        heard.append(peer.recv_v2())
        heard.append(peer.recv_v2())
        see_off(peer)

    with FakeServer(script, greet_and_hold) as server:
        for number in range(2):
            async with Both(device.start(server.domain)) as same:
                assert same is device
                with pytest.raises(ClientError, match="already"):
                    device.start(server.domain)
                await drive(device, lambda: device.wait_connected(10))
                assert device.connected
                await drive(device, lambda: device.emit("level", 5))
                await drive(device, lambda: device.send("level", 6))
            assert not device.connected, number
            assert device.log.rest() == [("connect",), ("disconnect",)]
    assert [(packet.event, packet.value) for packet in heard] == [("level", 5), ("level", 6)]


class Both:
    """`with` or `async with`, as the client is."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def __aenter__(self) -> Any:
        if isinstance(self._client, IoTClient):
            return self._client.__enter__()
        return await self._client.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        if isinstance(self._client, IoTClient):
            self._client.__exit__(*error)
        else:
            await self._client.__aexit__(*error)


@KINDS
async def test_stop_right_behind_start(kind: Kind) -> None:
    device: Any = make(kind)

    def script(peer: Peer) -> None:
        with suppress(EOFError, ConnectionError):  # wherever it is when it is stopped
            greet_and_hold(peer)

    with FakeServer(script) as server:
        for _ in range(3):
            async with Both(device.start(server.domain)):
                device.stop()
    assert not device.connected


@KINDS
async def test_a_refused_device_is_logged_and_wait_connected_raises_it(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    device: Any = make(kind)
    more = f"{ERROR_HEADER}: not_here\r\n"
    with FakeServer(lambda peer: peer.answer(404, more)) as server:
        async with Both(device.start(server.domain)):
            with pytest.raises(UpgradeRefused, match="the server says not_here"):
                await drive(device, lambda: device.wait_connected(10))
    assert "the client has ended: " in caplog.text
    assert "Traceback" not in caplog.text


@KINDS
async def test_wrong_arguments_are_told_by_start_itself(kind: Kind) -> None:
    device: Any = make(kind)
    with pytest.raises(ValueError, match="is not an address"):
        device.start("")
    with pytest.raises(ValueError, match="timeout must be seconds above 0"):
        device.start("localhost:1", timeout=0)
    with pytest.raises(TimeoutError, match=r"not connected within 0\.01 s"):
        await drive(device, lambda: device.wait_connected(0.01))


def test_start_of_the_async_client_wants_a_loop() -> None:
    with pytest.raises(RuntimeError, match=r"start\(\) needs a running event loop"):
        make(AsyncDevice).start("localhost:1")


# Events without a handler.


@KINDS
@pytest.mark.parametrize("way", ["decorator", "method"])
def test_what_has_no_handler(kind: Kind, way: str) -> None:
    seen: list[Any] = []

    def other(event: str, data: Any) -> Any:
        seen.append((event, data))
        return data

    class Catching(kind):  # type: ignore[misc, valid-type]
        def on_event(self, event: str, data: Any) -> Any:
            return other(event, data)

    made = make(Catching if way == "method" else kind)
    device: Any = made
    if way == "decorator":
        assert device.on_event(other) is other
        add(made, "event", lambda message: seen.append(message))
        assert device.on_event(other) is other, "it is the decorator still"
    answers: list[Any] = []

    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(Opcode.BINARY, v2.encode("nobody", 1))
        answers.append(peer.recv_v2())
        peer.send(Opcode.BINARY, v2.encode("nothing", 2, v2.CALL, call=7))
        answers.append(peer.recv_v2())
        peer.send(Opcode.BINARY, v2.encode("event", 3))
        peer.send(Opcode.BINARY, v2.encode("quit", 0))
        see_off(peer)

    with FakeServer(script) as server:
        assert Running(device.run, server.domain).join() is None
    assert answers == [v2.Packet("nobody", 1), v2.Packet("", 2, v2.RESULT, call=7)]
    assert seen == [("nobody", 1), ("nothing", 2), ("event", 3) if way == "method" else 3]


def test_a_method_on_event_with_one_argument_is_the_handler_of_that_event() -> None:
    class Old(IoTClient):
        def on_event(self, message: Any) -> Any:  # type: ignore[override]
            return message

    old = Old("d1", "t")
    assert old._handlers.fallback is None
    found = old._handlers.find("event")
    assert found is not None
    assert found(5) == 5
    assert IoTClient("d1", "t")._handlers.find("event") is None


# Wrong use is told at the line that is wrong.


def takes_nothing() -> None: ...


async def is_late(event: str, data: Any) -> None: ...


@KINDS
@pytest.mark.parametrize(
    ("use", "error", "text"),
    [
        (
            lambda client: client.on(takes_nothing),
            TypeError,
            r'write @client.on\("event"\), with the name of the event: on\(\) got the function takes_nothing',
        ),
        (lambda client: client.on(5), TypeError, "the name of an event is a str, not 5"),
        (
            lambda client: client.on(""),
            ValueError,
            r'the name of an event must not be empty: write @client.on\("event"\)',
        ),
        (
            lambda client: client.on("level", EndpointType.INTEGER),
            TypeError,
            r"on\(\) takes an EndpointInfo beside the event, not <EndpointType.INTEGER",
        ),
        (lambda client: client.on_event(), TypeError, "write @client.on_event, without parentheses"),
        (lambda client: client.on_event("x"), TypeError, "write @client.on_event, without parentheses"),
        (
            lambda client: client.on_event(lambda message: None),
            ValueError,
            "on_event must take two arguments, the event and its data: too many positional arguments",
        ),
        (lambda client: client.on_event(5), TypeError, "on_event must be a function, not int"),
    ],
)
def test_wrong_use(kind: Kind, use: Callable[[Any], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        use(make(kind))


@pytest.mark.parametrize(
    ("event", "handler", "text"),
    [
        ("level", takes_nothing, "on_level must take one argument, the message: too many positional arguments"),
        (
            "level",
            lambda message, client: None,
            "on_level must take one argument, the message: missing a required argument: 'client'",
        ),
        ("connect", lambda client: None, "on_connect must take no argument: missing a required argument: 'client'"),
        ("error", takes_nothing, "on_error must take one argument, the error"),
    ],
)
def test_a_handler_with_the_wrong_number_of_parameters(event: str, handler: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        IoTClient("d1", "t").on(event)(handler)


def test_coroutine_functions_of_the_sync_client() -> None:
    with pytest.raises(TypeError, match="on_level is a coroutine function: use AsyncIoTClient, or a plain function"):
        IoTClient("d1", "t").on("level")(is_late)
    with pytest.raises(TypeError, match="on_event is a coroutine function: use AsyncIoTClient, or a plain function"):
        IoTClient("d1", "t").on_event(is_late)
    assert AsyncIoTClient("d1", "t").on_event(is_late) is is_late


@KINDS
@pytest.mark.parametrize("name", ["emit", "send", "call"])
async def test_an_event_without_a_name(kind: Kind, name: str) -> None:
    device = make(kind)
    with pytest.raises(EncodeError, match="the name of an event must not be empty"):
        await drive(device, lambda: getattr(device, name)("", 5))
