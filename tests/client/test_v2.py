"""Protocol v2 as both clients speak it: byte for byte with a server that does what a test tells it."""

from __future__ import annotations

import asyncio
import logging
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from iotio_client import Buffer, EndpointInfo, EndpointType
from iotio_client.errors import (
    ClientError,
    ConnectFailed,
    ConnectionLost,
    ConnectTimeout,
    DeviceRejected,
    VersionNotSpoken,
)
from iotio_protocol import v2
from iotio_protocol.errors import (
    CallDisconnected,
    CallsUnsupported,
    CallTimeout,
    EncodeError,
    ErrorCode,
    TooManyCalls,
)
from iotio_protocol.options import Options
from iotio_protocol.version import __version__
from tests.support.wire import Opcode, encode_frame

from .devices import AsyncDevice, Device, Kind, Running, SyncDevice, make
from .fake_server import TIMEOUT, FakeServer, Peer, Script
from .test_behaviours import GOOD, serve_hello

BOTH = pytest.mark.parametrize("kind", [SyncDevice, AsyncDevice], ids=["sync", "async"])
STREAM = "0123456789abcdef"
GOODBYE = b'\x14\x00\x00\x00\x00\x00\x00\x15{"reason": "stopped"}'


def call(device: Device, event: str, data: Any = None, **more: Any) -> Any:
    """Call from a thread that receives nothing."""
    if isinstance(device, SyncDevice):
        return device.call(event, data, **more)
    assert device._shell.loop is not None
    return asyncio.run_coroutine_threadsafe(device.call(event, data, **more), device._shell.loop).result(TIMEOUT)


def connect(device: Device, domain: str, **more: Any) -> BaseException | None:
    """`connect` or `begin`; what it raised."""
    if isinstance(device, SyncDevice):
        return Running(device.connect, domain, **more).join()
    begin = device.begin
    return Running(lambda: asyncio.run(begin(domain, **more))).join()


def let_in(peer: Peer, **fields: Any) -> None:
    """Greet, and go on when the device knows that it is connected."""
    peer.greet(**fields)
    packet(peer, "echo", "in")
    assert peer.recv_v2() == v2.Packet("echo", "in")


def packet(peer: Peer, event: str, value: Any, flags: int = 0, **more: int) -> None:
    peer.send(Opcode.BINARY, v2.encode(event, value, flags, **more))


def quit_in_order(peer: Peer) -> None:
    packet(peer, "quit", 0)
    assert peer.recv_v2() == v2.Packet("quit", "bye")
    assert peer.recv().payload == GOODBYE
    assert peer.recv_close() == 1000


def run(kind: Kind, *scripts: Script, **arguments: Any) -> Device:
    """A device that runs until a script ends it in order."""
    with FakeServer(*scripts) as server:
        device = make(kind, **arguments)
        assert Running(device.run, server.domain).join() is None
        assert server.connections == len(scripts)
    return device


# Opening.


@BOTH
def test_request_and_hello(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        peer.accept(subprotocol="iotio.v2")
        assert b"\r\nSec-WebSocket-Protocol: iotio.v2\r\n" in peer.head
        assert peer.device_lines() == [
            b"IoT-IO-Id: d1",
            b"IoT-IO-Type: t",
            b"IoT-IO-Data: {}",
            b"IoT-IO-Endpoints: []",
            b"IoT-IO-ProtocolVersion: 1",
        ]
        hello = (
            f'{{"id": "d1", "type": "t", "library": "iotio_client {__version__}",'
            f' "max_payload": 1048576, "max_unacknowledged": 256, "sends": "{STREAM}"}}'
        )
        body = hello.encode()
        assert peer.recv().payload == b"\x10\x00\x00\x00" + len(body).to_bytes(4, "big") + body
        peer.send(Opcode.BINARY, v2.encode_json(v2.WELCOME, {}))
        quit_in_order(peer)

    buffer = Buffer()
    buffer.outgoing.name = STREAM
    assert run(kind, script, buffer=buffer).log.rest() == [("connect",), ("disconnect",)]


@BOTH
def test_hello_holds_data_and_endpoints(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        fields = peer.greet()
        assert peer.device_lines() == []
        assert fields["data"] == {"k": "é", "n": [1, None, 1.5]}
        assert [declared["id"] for declared in fields["endpoints"]] == ["level"]
        assert "heard" not in fields
        assert len(fields["sends"]) == 16
        quit_in_order(peer)

    device = make(kind, client_data={"k": "é", "n": [1, None, 1.5]}, protocol_version=2)
    device._session.identity.endpoints["level"] = EndpointInfo("L", EndpointType.INTEGER).get_info("level")
    with FakeServer(script) as server:
        assert Running(device.run, server.domain).join() is None


@BOTH
@pytest.mark.parametrize("version", [0, 1])
def test_an_older_version_asks_for_no_subprotocol(kind: Kind, version: int) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        assert b"Sec-WebSocket-Protocol" not in peer.head

    with FakeServer(script) as server:
        device = make(kind, protocol_version=version)
        ended = Running(device.run, server.domain, reconnect=False).join()
        assert isinstance(ended, (ConnectionLost, ConnectFailed))  # a v0 device may still be saying who it is


@BOTH
def test_old_server_is_named_once(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    refused: list[type[Exception]] = []

    def old(peer: Peer) -> None:
        peer.accept()
        peer.packet("hello", "x")
        assert peer.recv_packet() == ("reply", "x")
        try:
            call(device, "anything")
        except CallsUnsupported as error:
            assert "install iotio" in str(error)
            refused.append(type(error))

    device = make(kind)
    with caplog.at_level(logging.INFO, "iotio.client"), FakeServer(old, serve_hello) as server:
        assert Running(device.run, server.domain).join() is None
    assert refused == [CallsUnsupported]
    told = [record for record in caplog.records if "speaks protocol 1" in record.getMessage()]
    assert len(told) == 1
    assert device.log.rest() == GOOD + GOOD


@BOTH
def test_insisting_on_v2(kind: Kind) -> None:
    def old(peer: Peer) -> None:
        peer.accept()
        assert peer.device_lines() == []
        assert peer.recv_close() == 1000

    with FakeServer(old) as server:
        for error in (
            Running(make(kind, protocol_version=2).run, server.domain).join(),
            connect(make(kind, protocol_version=2), server.domain),
        ):
            assert isinstance(error, VersionNotSpoken)
            assert "install iotio" in str(error)
        assert server.connections == 2


def test_an_encoder_of_the_program_stays_on_v1() -> None:
    class Encoder:
        @staticmethod
        def encode(event: str, message: Any) -> bytes:
            return event.encode()

        @staticmethod
        def decode(data: bytes) -> tuple[str, Any]:
            return data.decode(), None

    assert make(SyncDevice, encoder=Encoder)._session.subprotocols == []
    with pytest.raises(ValueError, match="protocol_version"):
        make(SyncDevice, encoder=Encoder, protocol_version=2)


def refuse(code: str, info: object = None) -> Script:
    def script(peer: Peer) -> None:
        peer.accept(subprotocol="iotio.v2")
        peer.recv_v2()
        peer.send(Opcode.BINARY, v2.encode_json(v2.PROBLEM, {"error": code, "info": info}))
        assert peer.recv_close() == 1000

    return script


@BOTH
@pytest.mark.parametrize(
    "code", [ErrorCode.CLIENT_INVALID_TYPE, ErrorCode.CLIENT_INVALID_ENDPOINTS, ErrorCode.CLIENT_INVALID_PACKET]
)
def test_refusal_before_welcome(kind: Kind, code: ErrorCode) -> None:
    with FakeServer(refuse(code, {"a": 1})) as server:
        for once in (False, True):
            device = make(kind)
            error = connect(device, server.domain) if once else Running(device.run, server.domain).join()
            assert isinstance(error, DeviceRejected)
            assert (error.code, error.info) == (code, {"a": 1})
            assert not device.connected
            assert device.log.rest() == [("error", code)]
        assert server.connections == 2


def say_nothing(peer: Peer) -> None:
    peer.accept(subprotocol="iotio.v2")
    peer.recv_v2()
    peer.wait_eof()


def close_before_welcome(peer: Peer) -> None:
    peer.accept(subprotocol="iotio.v2")
    peer.recv_v2()
    peer.close(1013, "later")


def serve_v2(peer: Peer) -> None:
    peer.greet()
    packet(peer, "hello", "x")
    assert peer.recv_v2() == v2.Packet("reply", "x")
    quit_in_order(peer)


@BOTH
@pytest.mark.parametrize(
    ("script", "text"),
    [
        (refuse("server_busy"), "server_busy"),
        (refuse("never heard of"), "never heard of"),
        (close_before_welcome, "did not let the device in.*1013: later"),
    ],
)
def test_tries_again_when_it_was_not_let_in(kind: Kind, script: Script, text: str) -> None:
    device = run(kind, script, serve_v2)
    assert [entry for entry in device.log.rest() if entry[0] != "error"] == GOOD
    with FakeServer(script) as server:
        error = connect(make(kind), server.domain)
        assert type(error) is ConnectFailed
        with pytest.raises(ConnectFailed, match=text):
            raise error


@BOTH
def test_time_limit_holds_until_welcome(kind: Kind) -> None:
    with FakeServer(say_nothing) as server:
        assert isinstance(connect(make(kind), server.domain, timeout=0.2), ConnectTimeout)


@BOTH
def test_stop_before_welcome(kind: Kind) -> None:
    arrived = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept(subprotocol="iotio.v2")
        peer.recv_v2()
        arrived.set()
        peer.wait_eof()

    with FakeServer(script) as server:
        device = make(kind)
        running = Running(device.run, server.domain)
        assert arrived.wait(TIMEOUT)
        device.stop()
        assert running.join() is None
        assert device.log.rest() == []


@BOTH
@pytest.mark.parametrize(
    "first",
    [v2.encode("early", 1), v2.encode_json(v2.HELLO, {}), v2.encode_json(v2.WELCOME, {"time": "noon"}), b"\x04\x00"],
)
def test_what_is_no_welcome_ends_the_attempt(kind: Kind, first: bytes) -> None:
    """Nothing is answered: two sides that tell each other of invalid packets would not end."""

    def script(peer: Peer) -> None:
        peer.accept(subprotocol="iotio.v2")
        peer.recv_v2()
        peer.send(Opcode.BINARY, first)
        assert peer.recv_close() == 1000

    with FakeServer(script) as server:
        error = connect(make(kind), server.domain)
        assert type(error) is ConnectFailed
        assert "neither WELCOME nor PROBLEM" in str(error)
        assert error.retry


# Packets.


@BOTH
def test_values(kind: Kind) -> None:
    values = [1.5, -0.0, None, True, 7, "text", b"\x00", {"a": [None, 1.5]}, [1]]

    def script(peer: Peer) -> None:
        peer.greet()
        for value in values:
            packet(peer, "echo", value)
            if value is not None:  # a handler that returns None answers nothing
                assert peer.recv_v2() == v2.Packet("echo", value)
            packet(peer, "hello", value)
            if value is not None:
                assert peer.recv_v2() == v2.Packet("reply", value)
        quit_in_order(peer)

    device = run(kind, script)
    assert device.log.rest() == [("connect",), *(("hello", value) for value in values), ("disconnect",)]


@BOTH
def test_problem_and_malformed_packets(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(Opcode.BINARY, v2.encode_json(v2.PROBLEM, {"error": "client_invalid_packet", "info": None}))
        for wrong, code in (
            (b"\x63\x00\x00\x00\x00\x00\x00\x00", "unsupported_packet"),
            (b"\x03\x80\x00\x00\x00\x00\x00\x00", "unsupported_packet"),
            (b"\x03\x00\x00", "client_invalid_packet"),
            (v2.encode_json(v2.WELCOME, {}), "client_invalid_packet"),
            (v2.encode_ack(1), "client_invalid_packet"),
            (v2.encode("hello", 1, v2.DURABLE, number=1), "client_invalid_packet"),  # of no stream
        ):
            peer.send(Opcode.BINARY, wrong)
            problem = peer.recv_v2()
            assert isinstance(problem, v2.Problem)
            assert problem.error == code
        peer.send(Opcode.TEXT, b"words")
        assert isinstance(peer.recv_v2(), v2.Problem)
        for reserved in ("connect", "disconnect", "error"):
            packet(peer, reserved, "")
        quit_in_order(peer)

    device = run(kind, script)
    assert device.log.rest() == [("connect",), ("error", "client_invalid_packet"), ("disconnect",)]
    assert device._session.codec.invalid_packets == 7


@BOTH
def test_a_ping_is_answered_while_a_handler_runs(kind: Kind) -> None:
    entered, leave = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        let_in(peer)
        packet(peer, "stay", 1)
        assert entered.wait(TIMEOUT)
        peer.send(Opcode.BINARY, v2.PONG_PACKET)  # nobody has asked for it
        for _ in range(2):
            peer.send(Opcode.BINARY, v2.PING_PACKET)
            assert peer.recv_v2() == v2.Pong()
        leave.set()
        assert peer.recv_v2() == v2.Packet("stay", "left")
        quit_in_order(peer)

    with FakeServer(script) as server:
        device = make(kind)

        def stay(_: Any) -> str:
            entered.set()
            assert leave.wait(TIMEOUT)
            return "left"

        async def stay_async(_: Any) -> str:
            entered.set()
            assert await asyncio.to_thread(leave.wait, TIMEOUT)
            return "left"

        device.on("stay")(stay if isinstance(device, SyncDevice) else stay_async)
        assert Running(device.run, server.domain).join() is None


@BOTH
def test_limits_of_the_server(kind: Kind) -> None:
    problems: list[str] = []

    def script(peer: Peer) -> None:
        let_in(peer, max_event=5, max_payload=100)
        for event, value in (("events", 1), ("event", "x" * 101)):
            with pytest.raises(EncodeError) as caught:
                call(device, event, value)
            problems.append(str(caught.value))
        quit_in_order(peer)

    device = make(kind)
    with FakeServer(script) as server:
        assert Running(device.run, server.domain).join() is None
    assert "5 bytes" in problems[0]
    assert "100 bytes" in problems[1]


# The end.


@BOTH
def test_goodbye_of_the_server_is_the_reason(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(Opcode.BINARY, v2.encode_json(v2.GOODBYE, {"reason": "takeover"}))

    with FakeServer(script) as server:
        error = Running(make(kind).run, server.domain, reconnect=False).join()
        assert isinstance(error, ConnectionLost)
        assert (error.code, error.reason) == (1006, "takeover")
        assert "takeover" in str(error)


@BOTH
def test_stop_says_goodbye_once(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        assert peer.recv().payload == GOODBYE
        assert peer.recv_close() == 1000

    with FakeServer(script) as server:
        device = make(kind)
        running = Running(device.run, server.domain)
        assert device.log.next() == ("connect",)
        device.stop()
        device.stop()
        assert running.join() is None


@BOTH
def test_sleep_then_run_again(kind: Kind) -> None:
    def asleep(peer: Peer) -> None:
        peer.greet()
        assert peer.recv().payload == b"\x13\x00\x00\x00\x00\x00\x00\x04\x00\x00\x0e\x11"
        assert peer.recv_close() == 1000

    with FakeServer(asleep, serve_v2) as server:
        device = make(kind)
        running = Running(device.run, server.domain)
        assert device.log.next() == ("connect",)
        device.sleep(3600.5)
        assert running.join() is None
        assert device.log.rest() == [("disconnect",)]
        assert Running(device.run, server.domain).join() is None
        assert device.log.rest() == GOOD
    for wrong in (-1, float("nan"), 2**32):
        with pytest.raises(ValueError, match="seconds"):
            device.sleep(wrong)


@BOTH
def test_sleep_in_a_handler(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        packet(peer, "nap", 5, v2.CALL, call=9)
        assert peer.recv_v2() == v2.Packet("", "good night", v2.RESULT, 9)
        assert peer.recv_v2() == v2.Sleep(5)
        assert peer.recv_close() == 1000

    device = make(kind)

    def nap(seconds: int) -> str:
        device.sleep(seconds)
        return "good night"

    vars(device)["on_nap"] = nap
    with FakeServer(script) as server:
        assert Running(device.run, server.domain).join() is None


@BOTH
def test_server_time(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        let_in(peer, time=1_767_225_600_000)
        times.append(device.server_time())
        quit_in_order(peer)

    times: list[Any] = []
    device = make(kind)
    with pytest.raises(ClientError, match="protocol 2"):
        device.server_time()
    with FakeServer(script) as server:
        assert Running(device.run, server.domain).join() is None
    assert times[0].isoformat().startswith("2026-01-01T00:00:0")
    assert times[0].utcoffset().total_seconds() == 0


# Calls of the device.


def end_by_reset(peer: Peer) -> None:
    peer.reset()


def end_by_close(peer: Peer) -> None:
    peer.close(1001)


@BOTH
@pytest.mark.parametrize("end", [end_by_reset, end_by_close])
def test_call_fails_at_once_when_the_connection_ends(kind: Kind, end: Callable[[Peer], None]) -> None:
    def script(peer: Peer) -> None:
        let_in(peer)
        calls.extend(Running(call, device, "slow", number, timeout=1000) for number in range(3))
        for _ in calls:
            asked = peer.recv_v2()
            assert isinstance(asked, v2.Packet)
            assert (asked.event, asked.flags) == ("slow", v2.CALL)
        end(peer)

    calls: list[Running] = []
    device = make(kind)
    with FakeServer(script, serve_v2) as server:
        assert Running(device.run, server.domain).join() is None
    for one in calls:
        assert isinstance(one.join(), CallDisconnected)
    assert not device._session.calls
    with pytest.raises(CallDisconnected):
        asyncio.run(device.call("x")) if isinstance(device, AsyncDevice) else device.call("x")


@BOTH
def test_stop_fails_calls(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        let_in(peer)
        calls.append(Running(call, device, "slow", timeout=1000))
        peer.recv_v2()
        device.stop()
        assert peer.recv().payload == GOODBYE
        assert peer.recv_close() == 1000

    calls: list[Running] = []
    device = make(kind)
    with FakeServer(script) as server:
        assert Running(device.run, server.domain).join() is None
    assert isinstance(calls[0].join(), CallDisconnected)


@BOTH
def test_late_answer_is_dropped(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        let_in(peer)
        first = Running(call, device, "slow", timeout=0.05)
        assert peer.recv_v2() == v2.Packet("slow", None, v2.CALL, 1)
        assert isinstance(first.join(), CallTimeout)
        second = Running(lambda: results.append(call(device, "quick", 2)))
        assert peer.recv_v2() == v2.Packet("quick", 2, v2.CALL, 2)
        packet(peer, "", "late", v2.RESULT, call=1)
        packet(peer, "", "never asked for", v2.FAILURE, call=77)
        packet(peer, "", "in time", v2.RESULT, call=2)
        assert second.join() is None
        quit_in_order(peer)

    results: list[Any] = []
    device = make(kind)
    with FakeServer(script) as server:
        assert Running(device.run, server.domain).join() is None
    assert results == ["in time"]


@BOTH
def test_calls_are_limited(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        let_in(peer)
        for _ in range(1000):
            device._session.calls.begin(Waiter())
        with pytest.raises(TooManyCalls):
            call(device, "one more")
        quit_in_order(peer)

    class Waiter:
        event = "e"

        def settle(self, value: Any) -> None:
            raise AssertionError

        def fail(self, error: Exception) -> None:
            failed.append(error)

    failed: list[Exception] = []
    device = make(kind)
    with FakeServer(script) as server:
        assert Running(device.run, server.domain).join() is None
    assert len(failed) == 1000


class SyncAsker(SyncDevice):
    """Calls the server in a handler."""

    def on_ask(self, message: Any) -> Any:
        self.log.put("asks", message)
        result = self.call("question", message)
        self.log.put("got", result)
        return result

    def on_mark(self, message: Any) -> None:
        self.log.put("mark", message)


class AsyncAsker(AsyncDevice):
    async def on_ask(self, message: Any) -> Any:
        self.log.put("asks", message)
        result = await self.call("question", message)
        self.log.put("got", result)
        return result

    async def on_mark(self, message: Any) -> None:
        self.log.put("mark", message)


ASKERS = pytest.mark.parametrize("kind", [SyncAsker, AsyncAsker], ids=["sync", "async"])


@ASKERS
@pytest.mark.parametrize("way", ["event", "call"])
def test_call_in_a_handler_leaves_other_messages_for_later(kind: Kind, way: str) -> None:
    flags = v2.CALL if way == "call" else 0

    def script(peer: Peer) -> None:
        peer.greet()
        packet(peer, "ask", 1, flags, call=5)
        packet(peer, "mark", "a")
        assert peer.recv_v2() == v2.Packet("question", 1, v2.CALL, 1)
        packet(peer, "mark", "b")
        other = Running(call, device, "other")
        assert peer.recv_v2() == v2.Packet("other", None, v2.CALL, 2)
        packet(peer, "", None, v2.RESULT, call=2)
        assert other.join() is None  # answered while the handler is still waiting
        packet(peer, "", 1.5, v2.RESULT, call=1)
        packet(peer, "mark", "c")
        answer = v2.Packet("", 1.5, v2.RESULT, 5) if flags else v2.Packet("ask", 1.5)
        assert peer.recv_v2() == answer
        quit_in_order(peer)

    device = make(kind)
    with FakeServer(script) as server:
        assert Running(device.run, server.domain).join() is None
    marks = [("mark", "a"), ("mark", "b"), ("mark", "c")]
    assert device.log.rest() == [("connect",), ("asks", 1), ("got", 1.5), *marks, ("disconnect",)]


@ASKERS
def test_connection_that_ends_under_a_call_in_a_handler(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        packet(peer, "ask", 1)
        packet(peer, "mark", "a")
        peer.recv_v2()
        peer.reset()

    device = run(kind, script, serve_v2)
    assert device.log.rest() == [("connect",), ("asks", 1), ("mark", "a"), ("disconnect",), *GOOD]
    assert caplog.records[0].exc_info
    assert caplog.records[0].exc_info[0] is CallDisconnected


@ASKERS
def test_call_in_on_connect(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        packet(peer, "mark", "a")
        assert peer.recv_v2() == v2.Packet("question", "first", v2.CALL, 1)
        packet(peer, "", "yes", v2.RESULT, call=1)
        quit_in_order(peer)

    device = make(kind)
    vars(device)["on_connect"] = lambda: device.on_ask("first")  # type: ignore[union-attr]
    with FakeServer(script) as server:
        assert Running(device.run, server.domain).join() is None
    assert device.log.rest() == [("asks", "first"), ("got", "yes"), ("mark", "a"), ("disconnect",)]


def test_sync_call_with_nobody_in_handle() -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        packet(peer, "hello", "x")
        assert peer.recv_v2() == v2.Packet("question", 1, v2.CALL, 1)
        packet(peer, "", "yes", v2.RESULT, call=1)
        assert peer.recv_v2() == v2.Packet("reply", "x")
        quit_in_order(peer)

    with FakeServer(script) as server:
        device = make(SyncDevice)
        assert isinstance(device, SyncDevice)
        device.connect(server.domain)
        assert device.call("question", 1) == "yes"
        device.handle()
        assert device.log.rest() == GOOD


@ASKERS
@pytest.mark.parametrize(("count", "size"), [(1100, 1), (40, 60_000)], ids=["number", "bytes"])
def test_messages_put_aside_are_bounded(kind: Kind, count: int, size: int, caplog: pytest.LogCaptureFixture) -> None:
    """The call fails at once and says why; nothing is lost."""

    def script(peer: Peer) -> None:
        peer.greet()
        packet(peer, "ask", 1)
        peer.recv_v2()
        for number in range(count):
            packet(peer, "mark", [number, "x" * size])
        quit_in_order(peer)

    device = run(kind, script)
    assert device.log.rest() == [
        ("connect",),
        ("asks", 1),
        *(("mark", [number, "x" * size]) for number in range(count)),
        ("disconnect",),
    ]
    assert "1000 messages, or 2097152 bytes, came before the answer of the call of 'question'" in caplog.text


@ASKERS
def test_an_answer_behind_much_is_found(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        packet(peer, "ask", 1)
        peer.recv_v2()
        for number in range(30):
            packet(peer, "mark", [number, "x" * 60_000])
        packet(peer, "", "yes", v2.RESULT, call=1)
        assert peer.recv_v2() == v2.Packet("ask", "yes")
        quit_in_order(peer)

    assert ("got", "yes") in run(kind, script).log.rest()


@BOTH
def test_large_json_is_read_when_its_turn_comes(kind: Kind) -> None:
    """What is none is answered then."""
    broken = v2.encode("mark", "x" * 1000)

    def script(peer: Peer) -> None:
        let_in(peer)
        packet(peer, "echo", ["x" * 1000])
        assert peer.recv_v2() == v2.Packet("echo", ["x" * 1000])
        peer.send(Opcode.BINARY, bytes((4,)) + broken[1:])
        problem = peer.recv_v2()
        assert isinstance(problem, v2.Problem)
        assert problem.error == "client_invalid_packet"
        quit_in_order(peer)

    run(kind, script)


@pytest.mark.parametrize("kind", [SyncDevice, AsyncDevice], ids=["sync", "async"])
def test_memory_of_what_waits_for_a_handler(kind: Any) -> None:
    """A server sends JSON as fast as it can, whose objects are 12 times as large; all of it is handled in the end."""
    count, release, sent = 300, threading.Event(), [0]
    filler = b",[]" * 10_000 + b',"' + b"x" * 30_000 + b'"'

    def wait() -> None:
        release.wait(TIMEOUT)

    class Slow(kind):  # type: ignore[misc]  # it is a class
        def on_mark(self, message: Any) -> None:
            self.log.put("mark", message[0])

        def on_slow(self, message: Any) -> Any:
            if kind is AsyncDevice:
                return asyncio.to_thread(wait)
            return wait()

    def script(peer: Peer) -> None:
        let_in(peer)
        packet(peer, "slow", 0)
        for number in range(count):
            body = b"[%d%s]" % (number, filler)
            peer.send(Opcode.BINARY, v2.encode_head(4, "mark") + len(body).to_bytes(4, "big") + body)
            sent[0] = number
        quit_in_order(peer)

    device = make(Slow)
    tracemalloc.start()
    try:
        with FakeServer(script) as server:
            running = Running(device.run, server.domain, reconnect=False)
            assert device.log.next() == ("connect",)
            before = -1
            while before != sent[0]:
                before = sent[0]
                running._thread.join(0.3)
            assert before < count - 1, "it is not read"
            assert tracemalloc.get_traced_memory()[1] < 32 * 1024 * 1024
            tracemalloc.stop()
            release.set()
            assert running.join() is None
    finally:
        tracemalloc.stop()
    assert [found[1] for found in device.log.rest() if found[0] == "mark"] == list(range(count))


@BOTH
def test_pongs_that_the_server_does_not_read(kind: Kind) -> None:
    """A client with threads reads no more until they are; one on a loop ends the connection."""
    pings = encode_frame(Opcode.PING, b"x" * 125, mask=None) * 8000  # a mebibyte

    def script(peer: Peer) -> None:
        let_in(peer)
        peer.socket.settimeout(1)
        with pytest.raises((TimeoutError, ConnectionError)):
            peer.socket.sendall(pings * 64)

    device = make(kind)
    with FakeServer(script) as server:
        assert isinstance(Running(device.run, server.domain, reconnect=False).join(), ConnectionLost)


def test_async_handler_that_is_slow_stops_the_reader() -> None:
    """Calls still learn that the connection is over, and all that came before is handled."""
    release = threading.Event()

    class Slow(AsyncDevice):
        async def on_slow(self, message: Any) -> None:
            await asyncio.to_thread(release.wait, TIMEOUT)

        async def on_mark(self, message: Any) -> None:
            self.log.put("mark", message)

    def script(peer: Peer) -> None:
        let_in(peer)
        packet(peer, "slow", 0)
        waiting.append(Running(call, device, "question", timeout=1000))
        asked.set()
        peer.recv_v2()
        for number in range(300):
            packet(peer, "mark", number)
        peer.close(1001)

    asked = threading.Event()
    waiting: list[Running] = []
    device = make(Slow)
    with FakeServer(script) as server:
        running = Running(device.run, server.domain, reconnect=False)
        assert device.log.next() == ("connect",)
        assert asked.wait(TIMEOUT)
        assert isinstance(waiting[0].join(), CallDisconnected)
        release.set()
        assert running.join() is None
    assert device.log.rest() == [*(("mark", number) for number in range(300)), ("disconnect",)]


# Calls of the server.


@BOTH
def test_calls_of_the_server(kind: Kind) -> None:
    def ask(peer: Peer, event: str, value: Any = None) -> tuple[int, Any]:
        packet(peer, event, value, v2.CALL, call=0xFFFFFFFF)
        answer = peer.recv_v2()
        assert isinstance(answer, v2.Packet)
        assert (answer.event, answer.call) == ("", 0xFFFFFFFF)
        return answer.flags, answer.value

    def failure(code: str, name: str = "", message: str = "") -> tuple[int, Any]:
        return v2.FAILURE, {"error": code, "name": name, "message": message}

    def script(peer: Peer) -> None:
        peer.greet()
        assert ask(peer, "echo", 1.5) == (v2.RESULT, 1.5)
        assert ask(peer, "echo", None) == (v2.RESULT, None)
        assert ask(peer, "hello", "x") == (v2.RESULT, "x")  # a tuple (event, value): the value
        assert ask(peer, "raises") == failure("exception", "ValueError", "from the handler")
        for event in ("nobody", "connect", "error", "connected", "_handlers"):
            assert ask(peer, event) == failure("no_handler")
        assert ask(peer, "unsendable")[1]["error"] == "invalid_data"
        assert ask(peer, "badtuple")[1]["error"] == "invalid_data"
        assert (
            ask(peer, "level", 101)[1]["message"] == "the endpoint 'level' does not take this value: invalid_data_type"
        )
        assert ask(peer, "level", True) == (v2.RESULT, True)
        assert ask(peer, "level", "true") == (v2.RESULT, True)  # converted, as by the REST API
        quit_in_order(peer)

    device = make(kind)
    more: dict[str, Callable[[Any], Any]] = {
        "on_unsendable": lambda message: object(),
        "on_badtuple": lambda message: (1, 2, 3),
        "on_level": lambda message: message,
    }
    vars(device).update(more)
    device._session.identity.endpoints["level"] = EndpointInfo("L", EndpointType.BOOLEAN).get_info("level")
    with FakeServer(script) as server:
        assert Running(device.run, server.domain).join() is None


# Durable messages of the server.


@BOTH
def test_durable_messages_take_effect_once_over_reconnects(kind: Kind) -> None:
    def durable(peer: Peer, number: int, event: str = "hello", *, previous: int | None = None) -> None:
        before = number - 1 if previous is None else previous
        packet(peer, event, number, v2.DURABLE, number=number, previous=before)

    def first(peer: Peer) -> None:
        assert "heard" not in peer.greet(sends="s1")
        durable(peer, 1)
        assert peer.recv_v2() == v2.Packet("reply", 1)
        assert peer.recv_v2() == v2.Ack(1)
        durable(peer, 3, "raises", previous=1)  # 2 never comes; and an exception: it is through
        assert peer.recv_v2() == v2.Ack(3)
        durable(peer, 4, "nobody")
        assert peer.recv_v2() == v2.Ack(4)
        durable(peer, 3)  # a repetition: the last one that was handled is acknowledged
        assert peer.recv_v2() == v2.Ack(4)
        durable(peer, 5)
        peer.reset()

    def second(peer: Peer) -> None:
        heard = peer.greet(sends="s1")["heard"]
        assert heard["stream"] == "s1"
        assert heard["upto"] in (4, 5)  # it may have come before the reset
        durable(peer, 4)
        assert peer.recv_v2() == v2.Ack(heard["upto"])
        peer.close(1001)

    def without(peer: Peer) -> None:
        assert peer.greet(sends=None)["heard"]["stream"] == "s1"
        peer.close(1001)

    def another(peer: Peer) -> None:
        assert peer.greet(sends="s2")["heard"]["stream"] == "s1"
        durable(peer, 1)
        assert peer.recv_v2() == v2.Packet("reply", 1)
        assert peer.recv_v2() == v2.Ack(1)
        quit_in_order(peer)

    device = run(kind, first, second, without, another)
    seen = [entry[1] for entry in device.log.rest() if entry[0] == "hello"]
    assert seen in ([1, 1], [1, 5, 1])


@BOTH
def test_durable_message_that_cannot_be_taken_is_dropped_and_acknowledged(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        hello = peer.greet(sends="s1")
        assert (hello["max_payload"], hello["max_unacknowledged"]) == (100, 256)
        packet(peer, "hello", 1, v2.DURABLE, number=1)
        packet(peer, "hello", "x" * 101, v2.DURABLE, number=2, previous=1)
        peer.send(Opcode.BINARY, b"\x07" + v2.encode("hello", 3, v2.DURABLE, number=3, previous=2)[1:])
        packet(peer, "hello", 4, v2.DURABLE, number=4, previous=3)
        assert [peer.recv_v2(), peer.recv_v2()] == [v2.Packet("reply", 1), v2.Ack(1)]
        for number, code in ((2, "client_invalid_packet"), (3, "unsupported_packet")):
            problem = peer.recv_v2()
            assert isinstance(problem, v2.Problem)
            assert problem.error == code
            assert peer.recv_v2() == v2.Ack(number)
        assert [peer.recv_v2(), peer.recv_v2()] == [v2.Packet("reply", 4), v2.Ack(4)]
        packet(peer, "hello", "x" * 101, v2.DURABLE, number=4, previous=3)
        assert isinstance(peer.recv_v2(), v2.Problem)
        assert peer.recv_v2() == v2.Ack(4)
        packet(peer, "hello", "x" * 101, v2.DURABLE, number=6, previous=5)
        assert isinstance(peer.recv_v2(), v2.Problem)
        gap = peer.recv_v2()
        assert isinstance(gap, v2.Problem)
        assert gap.error == "stream_gap"
        peer.recv_close()

    def second(peer: Peer) -> None:
        assert peer.greet()["heard"] == {"stream": "s1", "upto": 4}
        packet(peer, "hello", "x" * 101, v2.DURABLE, number=1)  # of no stream
        assert isinstance(peer.recv_v2(), v2.Problem)
        quit_in_order(peer)

    device = run(kind, script, second, options=Options(max_payload=100))
    assert [entry[1] for entry in device.log.rest() if entry[0] == "hello"] == [1, 4]


@BOTH
def test_durable_message_that_stop_left_behind_comes_again(kind: Kind) -> None:
    def first(peer: Peer) -> None:
        peer.greet(sends="s1")
        packet(peer, "quit", 1, v2.DURABLE, number=1)
        packet(peer, "hello", 2, v2.DURABLE, number=2, previous=1)
        assert peer.recv_v2() == v2.Packet("quit", "bye")
        assert peer.recv_v2() == v2.Ack(1)
        assert peer.recv().payload == GOODBYE
        assert peer.recv_close() == 1000

    def second(peer: Peer) -> None:
        assert peer.greet(sends="s1")["heard"] == {"stream": "s1", "upto": 1}
        packet(peer, "hello", 2, v2.DURABLE, number=2, previous=1)
        assert peer.recv_v2() == v2.Packet("reply", 2)
        assert peer.recv_v2() == v2.Ack(2)
        quit_in_order(peer)

    with FakeServer(first, second) as server:
        device = make(kind, options=Options(close_timeout=1.0))
        assert Running(device.run, server.domain).join() is None
        assert Running(device.run, server.domain).join() is None
    assert [entry for entry in device.log.rest() if entry[0] == "hello"] == [("hello", 2)]


# What no server should say.


@BOTH
@pytest.mark.parametrize(
    "fields",
    [
        {"time": 10**300},
        {"time": "now"},
        {"max_unacknowledged": -1},
        {"max_payload": 10**300},
        {"max_event": []},
        {"sends": "x" * 65},
        {"heard": {"stream": STREAM, "upto": v2.MAX_NUMBER}},
        {"heard": {"stream": STREAM, "upto": 1e9}},
    ],
    ids=lambda fields: str(fields)[:40],
)
def test_a_welcome_of_nonsense_does_no_harm(kind: Kind, fields: dict[str, Any]) -> None:
    """Above all it takes no numbers from the device's stream: they are never given again."""

    def nonsense(peer: Peer) -> None:
        peer.greet(**fields)
        peer.recv_close()

    def sense(peer: Peer) -> None:
        assert peer.greet()["sends"] == STREAM
        packet = peer.recv_v2()
        assert isinstance(packet, v2.Packet)
        assert (packet.number, packet.value) == (1, "kept")
        peer.send(Opcode.BINARY, v2.encode_ack(1))
        quit_in_order(peer)

    buffer = Buffer()
    buffer.outgoing.name = STREAM
    buffer.put("temp", *v2.encode_value("kept"), 0)
    run(kind, nonsense, sense, buffer=buffer)
    assert buffer.outgoing.counter == 1
