"""What the driver decides, without threads, loops and sockets: a shell of plain functions does what it asks for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.protocol import State as WireState
from websockets.typing import Subprotocol

from iotio_client import Backoff
from iotio_client.calls import ThreadCall
from iotio_client.commands import perform
from iotio_client.driver import Driver, OnOneLoop
from iotio_client.errors import (
    BufferFailed,
    ClientError,
    ConnectFailed,
    ConnectionBroken,
    ConnectionLost,
    ConnectTimeout,
    DeviceRejected,
    NotConnected,
)
from iotio_client.handlers import Handlers
from iotio_client.identity import Identity
from iotio_client.inbox import ThreadInbox
from iotio_client.message import current_message
from iotio_client.periodic import Periodic
from iotio_client.session import Session, State
from iotio_client.target import Target
from iotio_protocol import v1, v2
from iotio_protocol.errors import CallDisconnected, CallTimeout, EncodeError, ErrorCode
from iotio_protocol.options import Options

TARGET = Target.parse("localhost:1")
CLOSED = ConnectionClosedError(None, None)
GOODBYE = v2.encode_json(v2.GOODBYE, {"reason": "stopped"})
WELCOME = v2.encode_json(v2.WELCOME, {"server": "fake", "time": 0, "sends": "s1"})


class FakeConnection:
    """A connection that keeps what is sent."""

    def __init__(self, subprotocol: str | None = v2.SUBPROTOCOL) -> None:
        self.state = WireState.OPEN
        self.protocol = SimpleNamespace(receive_data=lambda data: None)
        self.subprotocol = None if subprotocol is None else Subprotocol(subprotocol)
        self.sent: list[bytes | str] = []


class Device:
    """What the handlers of a client see."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.then: Callable[[], object] = lambda: None

    def on_connect(self) -> None:
        self.seen.append("connect")

    def on_disconnect(self) -> None:
        self.seen.append("disconnect")

    def on_error(self, error: str) -> None:
        self.seen.append(error)

    def on_echo(self, message: Any) -> Any:
        self.seen.append(message)
        self.then()
        return message


class FakeShell:
    """Does at once what the driver asks for, and notes its name. A list of results may hold errors, to be raised.

    `incoming` are messages for `receive`, and for `next` once the device is in.
    """

    def __init__(self, *incoming: bytes | BaseException, **session: Any) -> None:
        self.device = Device()
        self.session = Session(Identity("d1", "t", {}), backoff=Backoff(random=lambda: 1.0), **session)
        self.asked: list[str] = []
        self.fails: dict[str, list[BaseException | None]] = {}
        self.incoming = list(incoming)
        self.connection = FakeConnection()
        self.inbox = ThreadInbox()
        self.slept: list[float] = []
        self.answer: Callable[[ThreadCall], object] = lambda waiter: None
        logger = logging.getLogger("iotio.client.driven")
        self.driver: Driver[FakeConnection, ThreadCall] = Driver(
            self.device,
            self.session,
            Handlers(self.device, allow_async=False, logger=logger),
            Options(),
            logger,
            changed=OnOneLoop(),
            waiter=ThreadCall,
        )

    def note(self, name: str) -> None:
        self.asked.append(name)
        errors = self.fails.get(name)
        if errors and (error := errors.pop(0)) is not None:
            raise error

    def pop(self) -> bytes:
        found = self.incoming.pop(0) if self.incoming else ConnectionLost(1000)
        if isinstance(found, BaseException):
            raise found
        return found

    def open(self, target: Target, arguments: Any, limit: float) -> FakeConnection:
        self.note("open")
        return self.connection

    def abort(self, connection: FakeConnection | None) -> None:
        self.note("abort")

    def start_reading(self, connection: FakeConnection) -> None:
        self.note("start_reading")

    def announce(self) -> None:
        self.note("announce")

    def receive(self, connection: FakeConnection, limit: float) -> bytes:
        self.note("receive")
        return self.pop()

    def knock(self, connection: FakeConnection, limit: float) -> None:
        self.note("knock")

    def make_room(self, inbox: ThreadInbox, connection: FakeConnection) -> None:
        self.note("make_room")

    def next(self) -> Any:
        self.note("next")
        return self.session.codec.receive(self.pop())

    def invoke(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        self.note(f"invoke {function.__name__}")
        return function(*args)

    def in_buffer(self, function: Callable[[], Any], quick: bool, alone: bool) -> Any:
        self.note(f"in_buffer {getattr(function, 'func', function).__name__}")
        return function()

    def send(self, packet: bytes | str, connection: FakeConnection, limit: float) -> None:
        self.note("send")
        connection.sent.append(packet)

    def send_more(self) -> None:
        self.note("send_more")

    def ping(self, connection: FakeConnection, upto: int) -> None:
        self.note(f"ping {upto}")

    def wait(self, waiter: ThreadCall, deadline: float) -> None:
        self.note("wait")
        self.answer(waiter)

    def await_turn(self, over: Any, due: float, latest: float) -> bool:
        self.asked.append(f"turn {latest - due:g}")
        return bool(over and over.pop())

    def take_turn(self, periodic: Periodic) -> None:
        periodic.function()

    def sleep(self, seconds: float) -> None:
        self.note("sleep")
        self.slept.append(seconds)

    def close(self, connection: FakeConnection) -> None:
        self.note("close")

    def finish(self, connection: FakeConnection, farewell: bytes | None, code: int) -> None:
        self.note("finish")
        if farewell is not None:
            connection.sent.append(farewell)

    def run(self, reconnect: bool = False) -> None:
        perform(self.driver.run(TARGET, 1.0, Backoff(random=lambda: 1.0) if reconnect else None), self)

    def open_now(self) -> None:
        """Be connected, and forget how that went."""
        perform(self.driver.open(TARGET, 1.0), self)
        self.asked.clear()
        self.connection.sent.clear()


IN = [
    "open",
    "send",
    "receive",
    "in_buffer resume",
    "start_reading",
    "send_more",
    "invoke on_connect",
]
OUT = ["finish", "invoke on_disconnect"]


def durable(number: int, value: Any = None, previous: int | None = None) -> bytes:
    return v2.encode("echo", value, v2.DURABLE, number=number, previous=number - 1 if previous is None else previous)


# The life of a connection.


def test_a_connection_from_begin_to_end() -> None:
    shell = FakeShell(WELCOME, v2.encode("echo", 1))
    shell.run()
    assert shell.asked == [*IN, "announce", "next", "invoke on_echo", "send", "next", *OUT]
    assert shell.device.seen == ["connect", 1, "disconnect"]
    assert shell.connection.sent[1:] == [v2.encode("echo", 1), GOODBYE]
    assert (shell.driver.connection, shell.driver.finishing) == (None, False)


def test_a_server_of_protocol_1_is_not_waited_for() -> None:
    shell = FakeShell()
    shell.connection.subprotocol = None
    shell.run()
    assert shell.asked == [
        "open",
        "in_buffer resume",
        "start_reading",
        "send_more",
        "invoke on_connect",
        "announce",
        "next",
        *OUT,
    ]
    assert not shell.connection.sent


def test_waits_grow_until_stop() -> None:
    shell = FakeShell()
    shell.fails["open"] = [OSError(), OSError()]
    shell.fails["sleep"] = [None, None, KeyboardInterrupt()]
    shell.incoming = [WELCOME, ConnectionLost(1001)]
    with pytest.raises(KeyboardInterrupt):
        shell.run(reconnect=True)
    assert shell.slept == [1.0, 2.0]
    assert shell.asked == [*["open", "abort", "sleep"] * 2, *IN, "announce", "next", *OUT, "sleep"]


@pytest.mark.parametrize(
    ("error", "raised", "text"),
    [
        (CLOSED, ConnectFailed, "did not let the device in"),
        (TimeoutError(), ConnectTimeout, "within 1 s"),
        (OSError("no route"), ConnectFailed, "no route"),
        (KeyboardInterrupt(), KeyboardInterrupt, ""),
        (asyncio.CancelledError(), asyncio.CancelledError, ""),
    ],
)
@pytest.mark.parametrize("at", ["send", "receive", "in_buffer resume", "start_reading"])
def test_what_fails_before_the_connection_counts(
    error: BaseException, raised: type[BaseException], text: str, at: str
) -> None:
    shell = FakeShell(WELCOME)
    shell.fails[at] = [error]
    with pytest.raises(raised) as caught:
        shell.run()
    if at != "start_reading":
        assert text in str(caught.value)
    assert shell.asked == [*IN[: IN.index(at) + 1], "abort"]
    assert (shell.device.seen, shell.driver.connection) == ([], None)


def test_no_welcome() -> None:
    shell = FakeShell(b"\x00")
    with pytest.raises(ConnectFailed):
        shell.run()
    assert shell.asked == ["open", "send", "receive", "close", "abort"]


def test_refused_in_the_place_of_welcome() -> None:
    refusal = v2.encode_json(v2.PROBLEM, {"error": ErrorCode.CLIENT_INVALID_TYPE.value})
    shell = FakeShell(refusal)
    with pytest.raises(DeviceRejected):
        shell.run(reconnect=True)
    assert shell.asked == ["open", "send", "receive", "invoke on_error", "close", "abort"]
    assert shell.device.seen == ["client_invalid_type"]


def test_refused_later() -> None:
    shell = FakeShell(v1.error_packet(ErrorCode.CLIENT_INVALID_TYPE))
    shell.connection.subprotocol = None
    with pytest.raises(DeviceRejected):
        shell.run(reconnect=True)
    assert shell.asked[-4:] == ["next", "invoke on_error", *OUT]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_what_ends_the_program_ends_the_connection_in_order(error: type[BaseException]) -> None:
    shell = FakeShell(WELCOME)
    shell.fails["invoke on_connect"] = [error()]
    with pytest.raises(error):
        shell.run()
    assert shell.asked == [*IN, *OUT]
    shell = FakeShell(WELCOME)
    shell.fails["next"] = [error()]
    with pytest.raises(error):
        shell.run()
    assert shell.asked == [*IN, "announce", "next", *OUT]
    shell = FakeShell(WELCOME)
    shell.fails["finish"] = [error()]
    with pytest.raises(error):
        shell.run()
    assert shell.asked == [*IN, "announce", "next", *OUT]
    shell = FakeShell(WELCOME)
    shell.fails["invoke on_disconnect"] = [error()]
    with pytest.raises(error):
        shell.run()
    assert (shell.driver.connection, shell.driver.finishing) == (None, False)


def test_a_connection_is_finished_once() -> None:
    shell = FakeShell(WELCOME)
    shell.open_now()
    for _ in range(2):
        perform(shell.driver.finish(shell.connection), shell)
    assert shell.asked == OUT
    assert shell.connection.sent == [GOODBYE]
    assert shell.driver.farewell(shell.connection) is None


def test_a_generator_that_is_left_asks_for_nothing_more() -> None:
    """As after a Ctrl-C that nothing could catch: another generator has finished the connection."""
    shell = FakeShell(WELCOME)
    shell.open_now()
    left = shell.driver.receive()
    next(left)
    perform(shell.driver.finish(shell.connection), shell)
    other = FakeConnection()
    shell.driver.connection = other
    left.close()
    assert shell.driver.connection is other


def test_callbacks_may_raise(caplog: pytest.LogCaptureFixture) -> None:
    shell = FakeShell(WELCOME)
    shell.fails = {f"invoke on_{name}": [ValueError(name)] for name in ("connect", "disconnect")}
    shell.run()
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["connect", "disconnect"]


def test_stop_in_a_handler_ends_after_the_answer() -> None:
    shell = FakeShell(WELCOME, v2.encode("echo", 1), v2.encode("echo", 2))
    shell.device.then = lambda: setattr(shell.driver, "stopping", True)
    shell.run(reconnect=True)
    assert shell.asked == [*IN, "announce", "next", "invoke on_echo", "send", *OUT]
    assert shell.device.seen == ["connect", 1, "disconnect"]


def test_stop_before_anything() -> None:
    shell = FakeShell()
    shell.driver.stopping = True
    shell.run(reconnect=True)
    assert not shell.asked
    shell.driver.end()
    assert not shell.driver.stopping


def test_stop_is_no_error_of_the_connection() -> None:
    def stopped() -> None:
        shell.driver.stopping = True
        raise ConnectionLost(1006)

    shell = FakeShell(WELCOME)
    shell.open_now()
    vars(shell)["next"] = stopped
    assert perform(shell.driver.receive(), shell) is None
    assert shell.asked == OUT


def test_a_dead_connection_is_left_and_a_live_one_is_not() -> None:
    shell = FakeShell(WELCOME)
    assert not perform(shell.driver.leave_dead(), shell)
    shell.open_now()
    assert not perform(shell.driver.leave_dead(), shell)
    with pytest.raises(ClientError, match="already"):
        shell.driver.check_free()
    shell.connection.state = WireState.CLOSED
    assert perform(shell.driver.leave_dead(), shell)
    assert shell.asked == OUT
    assert not shell.connection.sent
    shell.driver.end()
    shell.driver.check_free()


# Messages of the server.


def test_a_durable_message_is_acknowledged_after_its_handler() -> None:
    shell = FakeShell(WELCOME, durable(1, "x"))
    shell.run()
    steps = ["in_buffer known", "invoke on_echo", "in_buffer handled", "send", "send"]
    assert shell.asked == [*IN, "announce", "next", *steps, "next", *OUT]
    assert shell.connection.sent[1:] == [v2.encode("echo", "x"), v2.encode_ack(1), GOODBYE]


def test_what_came_before_is_acknowledged_only() -> None:
    shell = FakeShell(WELCOME, durable(1), durable(1))
    shell.run()
    assert shell.asked[-6:] == ["next", "in_buffer known", "send", "next", *OUT]
    assert shell.device.seen == ["connect", None, "disconnect"]
    assert shell.connection.sent.count(v2.encode_ack(1)) == 2


def test_a_gap_is_told_and_the_connection_left_without_goodbye() -> None:
    shell = FakeShell(WELCOME, durable(3, previous=2))
    with pytest.raises(ConnectionBroken):
        shell.run()
    assert shell.asked == [*IN, "announce", "next", "in_buffer known", "send", *OUT]
    assert isinstance(shell.connection.sent[1], bytes)
    assert isinstance(v2.decode(shell.connection.sent[1]), v2.Problem)
    assert len(shell.connection.sent) == 2


def test_effects_of_a_handler_that_raises_are_dropped(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    def then() -> None:
        message = current_message.get()
        assert message is not None
        assert message.owner is shell.device
        message.transaction(lambda _: done.append("effect"))
        if len(shell.device.seen) == 2:
            raise ValueError("no")

    shell = FakeShell(WELCOME, durable(1), durable(2))
    shell.device.then = then
    shell.run()
    assert done == ["effect"]
    assert v2.encode_ack(1) in shell.connection.sent
    assert v2.encode_ack(2) in shell.connection.sent
    assert caplog.records[0].exc_info
    assert current_message.get() is None


def test_an_effect_that_fails_is_logged_and_the_message_acknowledged(caplog: pytest.LogCaptureFixture) -> None:
    def wrong(_: Any) -> None:
        raise ValueError("in the effect")

    shell = FakeShell(WELCOME, durable(1))
    shell.device.then = lambda: current_message.get().transaction(wrong)  # type: ignore[union-attr]
    shell.run()
    assert shell.asked.count("in_buffer handled") == 2
    assert v2.encode_ack(1) in shell.connection.sent
    assert "on_echo" in caplog.text


def test_a_file_that_fails_brings_the_message_again() -> None:
    shell = FakeShell(WELCOME, durable(1))
    shell.fails["in_buffer handled"] = [BufferFailed("full")]
    with pytest.raises(ConnectionBroken, match="full"):
        shell.run()
    assert shell.asked[-3:] == ["in_buffer handled", *OUT]
    assert len(shell.connection.sent) == 1  # HELLO: no answer, no ACK and no GOODBYE


def test_nothing_is_current_after_what_ends_the_program() -> None:
    shell = FakeShell(WELCOME, durable(1))
    shell.device.then = lambda: (_ for _ in ()).throw(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        shell.run()
    assert current_message.get() is None
    assert v2.encode_ack(1) not in shell.connection.sent


@pytest.mark.parametrize("error", [StopIteration(), ValueError()])
def test_a_call_whose_handler_raises_is_answered(error: Exception) -> None:
    shell = FakeShell(WELCOME, v2.encode("echo", 1, v2.CALL, call=7))
    shell.fails["invoke on_echo"] = [error]
    shell.run()
    assert isinstance(shell.connection.sent[1], bytes)
    answer = v2.decode(shell.connection.sent[1])
    assert isinstance(answer, v2.Packet)
    assert (answer.flags, answer.call) == (v2.FAILURE, 7)
    assert type(error).__name__ in str(answer.value)


@pytest.mark.parametrize("error", [CLOSED, TimeoutError()])
def test_an_answer_that_is_lost_is_logged(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    shell = FakeShell(WELCOME, v2.encode("echo", 1))
    shell.fails["send"] = [None, error]
    shell.run()
    assert "the answer of on_echo is lost" in caplog.text
    assert shell.device.seen == ["connect", 1, "disconnect"]


# What reads.


def test_what_is_read_goes_where_it_belongs() -> None:
    shell = FakeShell(WELCOME)
    shell.open_now()
    pending = ThreadCall("ask")
    number = shell.session.calls.begin(pending)
    shell.incoming = [
        v2.encode("echo", 1),
        v2.encode("", "yes", v2.RESULT, call=number),
        v2.encode("", "late", v2.RESULT, call=77),
        TimeoutError(),
        v2.encode("echo", 2),
        v2.encode_ack(9),
        CLOSED,
    ]
    inbox = ThreadInbox(1)
    other = ThreadCall("other")
    shell.session.calls.begin(other)
    perform(shell.driver.read(shell.connection, inbox), shell)
    receive = ["receive"] * 4
    acknowledged = ["in_buffer acknowledged", "send_more", "make_room"]
    assert shell.asked == [*receive, "receive", "make_room", "receive", *acknowledged, "receive"]
    assert pending.result() == "yes"
    with pytest.raises(CallDisconnected):
        other.result()
    assert len(inbox._waiting) == 3
    assert inbox.ended


def test_a_closing_handshake_gets_a_deadline() -> None:
    shell = FakeShell(WELCOME)
    shell.open_now()
    shell.connection.state = WireState.CLOSING
    shell.incoming = [TimeoutError(), CLOSED]
    perform(shell.driver.read(shell.connection, ThreadInbox()), shell)
    assert shell.asked == ["receive", "close", "receive"]


class Silence(FakeShell):
    """A shell in which time passes as `receive` waits: it may say at which time what comes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: Mapping[float, bytes | None], welcome: bytes) -> None:
        super().__init__(welcome)
        self.now = 0.0
        self.at = dict(at)
        self.pings: list[float] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.open_now()

    def receive(self, connection: FakeConnection, limit: float) -> bytes:
        if self.driver.connection is None:
            return super().receive(connection, limit)
        until = self.now + limit
        for moment in sorted(self.at):
            if moment <= until:
                self.now, message = moment, self.at.pop(moment)
                connection.protocol.receive_data(message or b"")
                if message is not None:
                    return message
        self.now = until
        raise TimeoutError

    def knock(self, connection: FakeConnection, limit: float) -> None:
        self.pings.append(self.now)

    def end(self) -> tuple[float, str]:
        inbox = ThreadInbox()
        why = perform(self.driver.read(self.connection, inbox), self)
        return self.now, why


SLOW = v2.encode_json(v2.WELCOME, {"server": "fake", "ping_interval": 60, "ping_timeout": 5})


def test_silence_of_the_server_ends_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Silence(monkeypatch, {}, SLOW)
    now, why = shell.end()
    assert (shell.pings, now) == ([60], 65)
    assert why == "the connection ended without a CLOSE frame: nothing came for 5 s after a ping"
    assert shell.asked[-1] == "abort"  # nobody would answer a CLOSE frame


def test_a_server_that_says_nothing_of_pings_has_20_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Silence(monkeypatch, {}, WELCOME)
    assert (shell.end()[0], shell.pings) == (30, [20])


def test_a_busy_receiver_sends_no_ping(monkeypatch: pytest.MonkeyPatch) -> None:
    busy: dict[float, bytes | None] = {moment: v2.encode("echo", 1) for moment in (50.0, 100.0, 150.0, 200.0)}
    shell = Silence(monkeypatch, busy, SLOW)
    assert (shell.end()[0], shell.pings) == (265, [260])


def test_bytes_without_a_message_are_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Silence(monkeypatch, {50.0: None, 64.5: None, 110.0: None, 172.0: None}, SLOW)
    assert shell.end()[0] == 237
    assert shell.pings == [170, 232]  # the one at 170 is answered


def test_what_the_device_sends_is_no_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Silence(monkeypatch, {}, SLOW)
    receive = shell.receive

    def sending(connection: FakeConnection, limit: float) -> bytes:
        perform(shell.driver.send("temp", 21, False, None), shell)
        return receive(connection, limit)

    monkeypatch.setattr(shell, "receive", sending)
    assert (shell.end()[0], shell.pings) == (65, [60])
    assert len(shell.connection.sent) > 20


def test_a_bug_of_the_reader_is_raised_by_what_handles() -> None:
    shell = FakeShell(WELCOME)
    shell.open_now()
    inbox = ThreadInbox()
    shell.incoming = [RuntimeError("a bug")]
    assert perform(shell.driver.read(shell.connection, inbox), shell) == "a bug"
    with pytest.raises(RuntimeError, match="a bug"):
        inbox.get()


def test_a_cancelled_reader_says_nothing() -> None:
    shell = FakeShell(WELCOME)
    shell.open_now()
    shell.incoming = [asyncio.CancelledError()]
    inbox = ThreadInbox()
    with pytest.raises(asyncio.CancelledError):
        perform(shell.driver.read(shell.connection, inbox), shell)
    assert not inbox.ended
    inbox.close()
    assert perform(shell.driver.read(shell.connection, inbox), shell) == "it is closed"


# What is sent.


def test_send() -> None:
    shell = FakeShell(WELCOME)
    with pytest.raises(NotConnected, match="before the client has connected"):
        perform(shell.driver.send("e", 1, False, None), shell)
    with pytest.raises(EncodeError):
        perform(shell.driver.send("e", object(), False, None), shell)
    assert not shell.asked
    assert perform(shell.driver.send("e", 1, True, 12.5), shell) == 1
    assert shell.asked == ["in_buffer keep", "send_more"]
    shell.open_now()
    assert perform(shell.driver.send("e", 1, False, None), shell) is None
    assert shell.connection.sent == [v2.encode("e", 1)]
    shell.fails["send"] = [TimeoutError(), CLOSED]
    with pytest.raises(NotConnected, match="took nothing for 1 s"):
        perform(shell.driver.send("e", 1, False, None), shell)
    with pytest.raises(NotConnected, match="nothing can be sent"):
        perform(shell.driver.send("e", 1, False, None), shell)


def test_call() -> None:
    shell = FakeShell(WELCOME)
    with pytest.raises(CallDisconnected):
        perform(shell.driver.call("ask", 1, 5.0), shell)
    shell.open_now()
    shell.answer = lambda waiter: waiter.settle("yes")
    assert perform(shell.driver.call("ask", 1, 5.0), shell) == "yes"
    assert shell.asked == ["send", "wait"]
    shell.answer = lambda waiter: None
    with pytest.raises(CallTimeout, match="within 5 s"):
        perform(shell.driver.call("ask", 1, 5.0), shell)
    shell.fails = {"send": [CLOSED], "wait": [KeyboardInterrupt()]}
    with pytest.raises(CallDisconnected, match="cannot be sent"):
        perform(shell.driver.call("ask", 1, 5.0), shell)
    with pytest.raises(KeyboardInterrupt):
        perform(shell.driver.call("ask", 1, 5.0), shell)
    with pytest.raises(ValueError, match="timeout"):
        perform(shell.driver.call("ask", 1, 0), shell)
    assert not shell.session.calls


def test_flush() -> None:
    shell = FakeShell(WELCOME)
    perform(shell.driver.flush(1.0), shell)
    perform(shell.driver.send("e", 1, True, None), shell)
    with pytest.raises(TimeoutError, match="1 durable messages"):
        perform(shell.driver.flush(1.0), shell)
    shell.answer = lambda waiter: waiter.fail(CallDisconnected("in a handler"))
    with pytest.raises(TimeoutError, match="1 durable messages"):
        perform(shell.driver.flush(1.0), shell)
    assert not shell.driver.flushes._waiting


def test_durable_messages_are_sent_in_order_and_a_dropped_one_is_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shell = FakeShell(v2.encode_json(v2.WELCOME, {"server": "fake", "time": 0, "max_payload": 10}))
    for value in ("a", "x" * 11, "b"):
        perform(shell.driver.send("e", value, True, time.time()), shell)
    shell.open_now()
    perform(shell.driver.send_durable(shell.connection), shell)
    following = "in_buffer next"
    assert shell.asked == [following, "send", "sleep", following, following, "send", "sleep", following]
    assert "was dropped" in caplog.text
    assert shell.slept == [0, 0]
    shell.asked.clear()
    perform(shell.driver.send_durable(FakeConnection()), shell)  # the connection before
    assert not shell.asked


def test_a_server_without_ack_is_pinged() -> None:
    shell = FakeShell()
    shell.connection.subprotocol = None
    perform(shell.driver.send("e", 1, True, None), shell)
    shell.open_now()
    shell.fails["ping 1"] = [CLOSED]
    perform(shell.driver.send_durable(shell.connection), shell)
    assert shell.asked[-1] == "ping 1"
    assert len(shell.session.buffer) == 1
    assert perform(shell.driver.acknowledged(1), shell) is None
    assert len(shell.session.buffer) == 0


def test_an_ack_that_cannot_be_noted_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    shell = FakeShell(WELCOME)
    shell.open_now()
    shell.fails["in_buffer acknowledged"] = [BufferFailed("full")]
    assert perform(shell.driver.acknowledged(0), shell) is None
    assert shell.asked == ["in_buffer acknowledged", "send_more"]
    assert "not noted in the file" in caplog.text


def test_a_buffer_that_cannot_begin_makes_no_connection() -> None:
    shell = FakeShell(WELCOME)
    shell.fails["in_buffer resume"] = [ConnectFailed("durable messages cannot be noted")]
    with pytest.raises(ConnectFailed, match="cannot be noted"):
        shell.run()
    assert shell.asked == [*IN[:4], "close", "abort"]
    assert shell.session.state is State.CONNECTING


def test_turns_follow_each_other_until_the_run_has_ended() -> None:
    shell = FakeShell()
    called: list[int] = []

    def function() -> None:
        called.append(1)
        raise NotConnected("away")

    perform(shell.driver.repeat(Periodic(function, 5), [True, True]), shell)
    assert called == [1, 1]
    assert shell.asked == ["turn 5"] * 3


def test_the_log_tells_of_connections(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "iotio.client")
    shell = FakeShell(WELCOME, ConnectionLost(1001, "shutdown"), WELCOME, ConnectionLost(1006), WELCOME)
    shell.fails["open"] = [None, OSError("refused")]
    shell.fails["next"] = [None, None]

    def stop(seconds: float) -> None:
        shell.slept.append(seconds)
        if len(shell.slept) == 3:
            shell.driver.stopping = True

    shell.sleep = stop  # type: ignore[method-assign]
    shell.run(reconnect=True)
    where = TARGET.where
    connected = f"{where}: device 'd1', type 't', protocol 2"
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [
        ("INFO", f"connected to {connected}"),
        (
            "INFO",
            f"disconnected from {where} after 0.0 s: the server closed the connection with code 1001: shutdown",
        ),
        ("INFO", "next attempt in 1.0 s"),
        ("WARNING", f"no connection to {where}: refused; next attempt in 2.0 s"),
        ("INFO", f"connected to {connected}".replace(where, f"{where} again after 0.0 s")),
        ("WARNING", f"disconnected from {where} after 0.0 s: the connection ended without a CLOSE frame"),
        ("INFO", "next attempt in 4.0 s"),
    ]


def test_the_log_tells_that_this_program_ends_a_connection(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "iotio.client")
    shell = FakeShell(WELCOME)
    shell.open_now()
    perform(shell.driver.finish(shell.connection), shell)
    where = TARGET.where
    assert caplog.messages[1:] == [f"disconnected from {where} after 0.0 s: this program has ended the connection"]


def test_a_refusal_that_is_not_tried_again_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    shell = FakeShell(v2.encode_json(v2.PROBLEM, {"error": "client_invalid_type"}))
    with pytest.raises(DeviceRejected):
        shell.run(reconnect=True)
    assert caplog.messages == [
        "the server refuses this device (client_invalid_type): it does not know the device type 't': change"
        " client_type, or add a DeviceType of this name on the server; it is not tried again"
    ]
    shell = FakeShell(protocol_version=2)
    shell.connection.subprotocol = None
    caplog.clear()
    with pytest.raises(ConnectFailed):
        shell.run(reconnect=True)
    assert caplog.messages[0].startswith("the server does not speak protocol 2, ")
    assert caplog.messages[0].endswith("; it is not tried again")


def test_an_event_without_a_handler_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "iotio.client")
    shell = FakeShell(WELCOME, *(v2.encode(event, 1) for event in ("ecko", "ecko", "volume", "no such")))
    shell.run()
    assert [line for line in caplog.messages if line.startswith("no handler")] == [
        "no handler takes the event 'ecko' of the server: on_echo exists; did you mean on_ecko?",
        "no handler takes the event 'volume' of the server: on_volume would take it",
        "no handler takes the event 'no such' of the server: @client.on('no such') makes one",
    ]
