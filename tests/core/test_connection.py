"""What every connection does, whatever the host: handshake, turns, takeover, time-outs, backpressure."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pytest

from iotio import DeviceType, DisconnectReason, IoTClient
from iotio.core.manager import Manager
from iotio.core.primitives import Signal, wait
from iotio.hosts.memory import MemoryConnection, connect
from iotio_protocol import v0, v1, v2
from iotio_protocol.session import State
from tests.support.memory import Clock, Device, frames_of, make_manager, v0_device, v1_device, v2_device
from tests.support.wire import Opcode, encode_frame, v1_headers

from .log import Log

# Order of life.


def test_connect_message_disconnect(log: Log) -> None:
    manager = make_manager(log)
    manager.event(named("on_connect", lambda client: log.calls.append("manager connect")))
    manager.event(named("on_disconnect", lambda client, reason: log.calls.append(f"manager {reason}")))
    device = v1_device(manager)
    assert device.packets() == [], "nothing is said on success"
    device.send("echo", "x")
    assert device.packets() == [("echo", "x")]
    device.close(1001)
    assert device.close_code() == 1001
    device.drop()
    assert log.calls == [
        "connect",
        "manager connect",
        "x",
        "disconnect client_close",
        "manager client_close",
    ]
    assert manager.clients == []
    assert manager.connections.all() == []


def named(name: str, function: Any) -> Any:
    function.__name__ = name
    return function


def test_on_disconnect_still_sees_the_device_in_its_rooms(log: Log) -> None:
    manager = make_manager(log)
    seen: list[Any] = []
    manager.event(
        named("on_disconnect", lambda client: seen.append((manager.clients, client.rooms, bool(client.emit("x", 1)))))
    )
    device = v1_device(manager)
    manager.join("d1", "r")
    device.drop()
    assert seen == [(["d1"], ["r"], False)]
    assert manager.rooms == {"r": ["d1"]}, "they are the device's"


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (Device.close, "client_close"),
        (Device.drop, "transport_closed"),
        (lambda device: device.frame(3), "protocol_error"),
        (lambda device: device.connection.manager.remove("d1"), "removed"),
        (lambda device: device.connection.client.close(), "removed"),
        (lambda device: v1_device(device.connection.manager), "takeover"),
        (lambda device: device.connection.manager.close(0), "server_shutdown"),
    ],
)
def test_reasons(log: Log, end: Any, reason: str) -> None:
    device = v1_device(make_manager(log))
    end(device)
    device.drop()
    assert [call for call in log.calls if call != "connect"] == [f"disconnect {reason}"]
    assert reason in set(DisconnectReason)


def test_the_end_of_one_read_is_not_the_end_of_what_came_before(log: Log) -> None:
    device = v1_device(make_manager(log))
    data = encode_frame(Opcode.BINARY, v1.encode("echo", 1)) + encode_frame(Opcode.BINARY, v1.encode("echo", 2))
    device.connection.deliver(data + encode_frame(Opcode.CLOSE, b"\x03\xe8"))
    assert log.calls == ["connect", 1, 2, "disconnect client_close"]


def test_a_v0_device_that_says_everything_in_one_segment(log: Log) -> None:
    """Found by reading: it was served without on_connect and on_disconnect."""
    device = Device(connect(make_manager(log)))
    texts = [v0.encode_handshake("d0", "echo", {}), v0.encode("echo", 5)]
    data = b"".join(encode_frame(Opcode.TEXT, text.encode()) for text in texts)
    device.connection.deliver(data + encode_frame(Opcode.CLOSE, b"\x03\xe8"))
    assert log.calls == ["connect", 5, "disconnect client_close"]


def test_after_an_end_of_ours_nothing_is_handled(log: Log) -> None:
    manager = make_manager(log)
    device = v1_device(manager)

    class Leaver(Log):
        def on_echo(self, message: Any, client: IoTClient) -> Any:
            client.close()
            return super().on_echo(message, client)

    leaver = Leaver("leaver", log.calls)
    manager.add_type(leaver)
    device = v1_device(manager, "d2", "leaver")
    log.calls.clear()
    device.connection.deliver(encode_frame(Opcode.BINARY, v1.encode("echo", 1)) * 3)
    assert log.calls == [1, "disconnect removed"]
    assert device.close_code() == 1000, "and the answer does not follow the CLOSE frame"


# Handlers.


class Broken(Log):
    def on_connect(self, client: IoTClient) -> None:
        raise ValueError("no entry")

    def on_disconnect(self, client: IoTClient, reason: DisconnectReason = DisconnectReason.REMOVED) -> None:
        raise KeyError("no exit")

    def on_raise(self, message: Any, client: IoTClient) -> Any:
        raise RuntimeError("boom")

    def on_attribute(self, message: Any, client: IoTClient) -> Any:
        return client.nothing  # type: ignore[attr-defined]  # that is the point

    async def on_late(self, message: Any, client: IoTClient) -> Any:
        raise LookupError("late")


@pytest.mark.parametrize("event", ["raise", "attribute", "late"])
def test_what_a_handler_raises_is_logged_with_type_event_and_device(
    event: str, caplog: pytest.LogCaptureFixture
) -> None:
    device = v1_device(make_manager(Broken()))
    caplog.clear()
    device.send(event)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info
    assert record.getMessage() == f"handler on_{event} of type 'echo' failed for device 'd1'"
    device.send("echo", "alive")
    assert device.packets() == [("echo", "alive")]


def test_a_gevent_timeout_in_a_handler_is_one_of_its_exceptions(caplog: pytest.LogCaptureFixture) -> None:
    gevent = pytest.importorskip("gevent")

    class Times(Log):
        def on_wait(self, message: Any, client: IoTClient) -> Any:
            raise gevent.Timeout(1)

    device = v1_device(make_manager(Times()))
    device.send("wait")
    assert "handler on_wait of type 'echo' failed" in caplog.text
    device.send("echo", "alive")
    assert device.packets() == [("echo", "alive")]


def test_broken_connect_and_disconnect_handlers_do_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    manager = make_manager(Broken())
    device = v1_device(manager)
    device.send("echo", 1)
    assert device.packets() == [("echo", 1)]
    device.drop()
    assert manager.clients == []
    assert [record.getMessage() for record in caplog.records] == [
        "handler on_connect of type 'echo' failed for device 'd1'",
        "handler on_disconnect of type 'echo' failed for device 'd1'",
    ]


class Nasty(dict[str, Any]):
    """A value that raises what it likes while it is written."""

    def items(self) -> Any:
        raise LookupError("nasty")


@pytest.mark.parametrize(
    "answer", [2**70, ("x",), (5, "b"), ("a", "b", "c"), {1, 2}, 1.5, {"x": {1}}, Nasty(a=1), ("x" * 70000, 1)]
)
def test_an_answer_that_cannot_be_sent_is_logged(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Answers(Log):
        def on_give(self, message: Any, client: IoTClient) -> Any:
            return answer

    device = v1_device(make_manager(Answers()))
    device.send("give")
    sent = device.packets()
    if sent:  # a json module without its C part asks the dict for its items
        assert isinstance(answer, Nasty)
        return
    (record,) = caplog.records
    assert "the answer of handler on_give, type 'echo', device 'd1', cannot be sent" in record.getMessage()
    device.send("echo", 1)
    assert device.packets() == [("echo", 1)]


def test_answers(log: Log) -> None:
    class Answers(Log):
        def on_give(self, message: Any, client: IoTClient) -> Any:
            return {"none": None, "pair": ("other", 5), "silent": ("other", None)}.get(str(message), message)

    device = v1_device(make_manager(Answers()))
    values: list[Any] = ["same", 0, False, "", [], {}, b""]
    for message in ("none", "pair", "silent", *values):
        device.send("give", message)
    assert device.packets() == [
        ("other", 5),
        *[("give", value) for value in values],
    ]


async def helper(client: IoTClient) -> str:
    return f"async {client.id}"


def test_async_handlers() -> None:
    class Async(Log):
        async def on_connect(self, client: IoTClient) -> None:
            self.calls.append(await helper(client))

        async def on_disconnect(self, client: IoTClient, reason: Any = None) -> None:
            self.calls.append(f"bye {reason}")

        async def on_ask(self, message: Any, client: IoTClient) -> Any:
            return "answer", await helper(client)

        async def on_event(self, event: str, data: Any, client: IoTClient) -> Any:
            return event, await helper(client)

    kind = Async()
    device = v1_device(make_manager(kind))
    device.send("ask")
    device.send("else")
    assert device.packets() == [("answer", "async d1"), ("else", "async d1")]
    device.drop()
    assert kind.calls == ["async d1", "bye transport_closed"]


# The scope of a host, such as a Flask context.


def test_a_scope_is_entered_once_and_left_at_the_end(log: Log) -> None:
    @contextmanager
    def scope(client: IoTClient) -> Iterator[None]:
        log.calls.append(f"enter {client.id}")
        yield
        log.calls.append("leave")

    device = v1_device(make_manager(log), scope=scope)
    device.send("echo", 1)
    device.send("echo", 2)
    device.drop()
    assert log.calls == ["enter d1", "connect", 1, 2, "disconnect transport_closed", "leave"]


def test_a_scope_that_cannot_be_left_is_logged(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    @contextmanager
    def scope(client: IoTClient) -> Iterator[None]:
        yield
        raise ValueError("stuck")

    manager = make_manager(log)
    v1_device(manager, scope=scope).drop()
    assert "the context of device 'd1' could not be left" in caplog.text
    assert manager.clients == []


# Time.


def test_pings_pongs_and_the_end_of_a_silent_device(log: Log) -> None:
    clock = Clock()
    manager = make_manager(log, clock=clock, ping_interval=20, ping_timeout=10)
    device = v1_device(manager)
    clock.now += 19.9
    manager.sweep(clock.now)
    assert device.frames() == []
    clock.now += 0.1
    manager.sweep(clock.now)
    ((opcode, payload),) = device.frames()
    assert opcode == Opcode.PING
    clock.now += 0.25
    device.frame(Opcode.PONG, payload)
    assert device.connection.session.rtt == 0.25
    assert device.connection.session.last_received == clock.now
    clock.now += 20
    manager.sweep(clock.now)
    assert [one for one, _ in device.frames()] == [Opcode.PING]
    clock.now += 10
    device.connection.advance()
    assert device.close_code() == 1001
    assert log.calls == ["connect", "disconnect ping_timeout"]
    assert manager.clients == []


def test_silence_while_a_handler_runs_says_nothing_of_the_device() -> None:
    clock = Clock()

    class Slow(Log):
        def on_work(self, message: Any, client: IoTClient) -> Any:
            clock.now += 100
            manager.sweep(clock.now)
            return "done"

    manager = make_manager(slow := Slow(), clock=clock)
    device = v1_device(manager)
    device.send("work")
    assert device.packets() == [("work", "done")]
    assert slow.calls == ["connect"]


def test_silence_between_the_handlers_of_one_read_says_nothing_either(log: Log) -> None:
    """Found by reading: a sweep between two packets of one read pinged, and a later one gave the device up."""
    clock = Clock()
    manager = make_manager(log, clock=clock, ping_interval=20, ping_timeout=10)
    device = v1_device(manager)
    connection = device.connection
    events = connection.feed(encode_frame(Opcode.BINARY, v1.encode("echo", 1)) * 3)
    for event in events[:2]:
        connection.handle(event)
        clock.now += 25  # so long did the handler take
        manager.sweep(clock.now)
        clock.now += 15
        manager.sweep(clock.now)
    assert [opcode for opcode, _ in device.frames()] == [Opcode.BINARY] * 2
    connection.handle(events[2])
    assert device.packets() == [("echo", 1)]
    manager.sweep(clock.now)
    assert [opcode for opcode, _ in device.frames()] == [Opcode.PING], "now it is to answer"
    assert connection.is_open


def test_a_device_that_does_not_answer_a_close_frame(log: Log) -> None:
    clock = Clock()
    manager = make_manager(log, clock=clock, close_timeout=3)
    device = v1_device(manager)
    manager.remove("d1")
    assert device.close_code() == 1000
    clock.now += 3
    device.connection.advance()
    assert manager.connections.all() == []
    assert log.calls == ["connect", "disconnect removed"]


# Backpressure.


def test_a_slow_device_is_let_go_and_nobody_waits_for_it(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    manager = make_manager(log, max_outbox=1000)
    slow, fast = v1_device(manager, "slow", room=100), v1_device(manager, "fast")
    first = manager.emit("data", b"x" * 900, client_type="echo")
    assert (first.sent, first.dropped) == (2, {})
    second = manager.emit("data", b"y" * 900, client_type="echo")
    assert (second.sent, second.offline, second.dropped) == (1, (), {"slow": "backpressure"})
    third = manager.emit("data", b"z", client_type="echo")
    assert (third.sent, third.offline) == (1, ("slow",))
    assert [value[:1] for _, value in fast.packets()] == [b"x", b"y", b"z"]
    assert "device 'slow' reads too slowly: " in caplog.text
    assert slow.connection.counters["dropped"] == 1
    frames = slow.frames()
    assert [opcode for opcode, _ in frames] == [Opcode.BINARY, Opcode.CLOSE]
    assert frames[1][1][:2] == (1008).to_bytes(2, "big")
    slow.close(1008)
    assert log.calls[2:] == ["disconnect backpressure"]


def test_a_single_large_packet_is_taken_by_a_device_that_waits_for_nothing(log: Log) -> None:
    manager = make_manager(log, max_outbox=10)
    device = v1_device(manager, room=0)
    assert manager.emit("data", b"x" * 100, "d1").sent == 1
    assert manager.emit("data", b"x", "d1").dropped == {"d1": "backpressure"}
    assert device.connection.is_open is False


UNREAD = 64 * 1024
PING_125 = encode_frame(Opcode.PING, b"p" * 125)  # its answer has 127 bytes


def greeting_v2(manager: Manager) -> Device:
    return Device(connect(manager, room=0, subprotocol="iotio.v2"))


def greeting_v0(manager: Manager) -> Device:
    return Device(connect(manager, room=0))


def refused_v1(manager: Manager) -> Device:
    return v1_device(manager, client_type="unknown", room=0)


def refused_v2(manager: Manager) -> Device:
    device = greeting_v2(manager)
    device.frame(Opcode.BINARY, v2.encode_json(v2.HELLO, {"id": "d", "type": "unknown"}))
    return device


def held_in_a_fight(manager: Manager) -> Device:
    """A device whose id others take over again and again: it is out of reach, its CLOSE frame waits."""
    device = v1_device(manager, room=0)
    for _ in range(6):
        last, device = device, v1_device(manager, room=0)
    assert last.connection.session.state is State.REFUSED
    return last


@pytest.mark.parametrize("make", [greeting_v2, greeting_v0, refused_v1, refused_v2, held_in_a_fight])
def test_a_peer_that_is_not_let_in_must_read_its_answers(make: Any, log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """Found by an attack: one socket had 700 MB of PONGs kept in five seconds."""
    manager = make_manager(log)
    device = make(manager)
    most = 0
    for _ in range(UNREAD // 127 + 1):
        device.connection.deliver(PING_125)
        most = max(most, device.connection.buffer.size)
    assert UNREAD - 127 < most <= UNREAD
    assert device.connection.ended
    assert device.connection.buffer.size == 0
    assert device.connection not in manager.connections.all()
    assert [one.getMessage() for one in caplog.records if "does not read its answers" in one.getMessage()]


def test_one_read_of_many_pings_is_bounded_as_well(log: Log) -> None:
    device = greeting_v2(make_manager(log))
    hello = encode_frame(Opcode.BINARY, v2.encode_json(v2.HELLO, {"id": "d", "type": "echo"}))
    device.connection.deliver(hello + PING_125 * 1000)
    assert device.connection.ended
    assert log.calls == [], "it was not let in"


def test_what_waits_for_a_device_that_is_let_in_and_closed_is_kept(log: Log) -> None:
    manager = make_manager(log)
    device = v1_device(manager, room=0)
    manager.emit("data", b"x" * UNREAD * 2, "d1")
    device.connection.close(DisconnectReason.REMOVED)
    device.frame(Opcode.PING, b"p")
    assert [opcode for opcode, _ in device.frames()] == [Opcode.BINARY, Opcode.CLOSE]
    device.close(1000)
    assert device.connection.ended


def test_and_so_is_their_number(log: Log) -> None:
    device = v1_device(make_manager(log, max_outbox_messages=500), room=0)
    for _ in range(500):
        device.connection.deliver(encode_frame(Opcode.PING, b""))
    assert device.connection.is_open
    device.connection.deliver(encode_frame(Opcode.PING, b""))
    assert device.connection.gone is DisconnectReason.BACKPRESSURE
    assert len(device.connection.buffer) <= 502


def test_answers_to_a_device_that_is_let_in_are_bounded_by_its_outbox(log: Log) -> None:
    device = v1_device(make_manager(log, max_outbox=200_000), room=0)
    for _ in range(200_000 // 127):
        device.connection.deliver(PING_125)
    assert device.connection.is_open
    device.connection.deliver(PING_125)
    assert device.connection.gone is DisconnectReason.BACKPRESSURE
    assert device.frames()[-1][0] == Opcode.CLOSE


# Takeover (DESIGN, promise 3).


def test_takeover(log: Log) -> None:
    manager = make_manager(log)
    old = v1_device(manager)
    manager.join("d1", "r")
    new = v1_device(manager)
    assert log.calls == ["connect", "disconnect takeover", "connect"]
    assert old.close_code() == 1008
    assert manager.clients == ["d1"]
    assert manager.client("d1") is new.connection.client
    assert manager.rooms == {"r": ["d1"]}
    old.send("echo", "late")
    old.drop()
    assert log.calls[3:] == []
    assert manager.client("d1") is new.connection.client, "the old end cannot remove the new session"
    assert manager.emit("x", 1, "d1").sent == 1
    assert new.packets() == [("x", 1)]


def test_takeover_between_versions(log: Log) -> None:
    manager = make_manager(log)
    old = v0_device(manager, "same")
    new = v1_device(manager, "same")
    assert old.close_code() == 1008
    again = v0_device(manager, "same")
    assert new.close_code() == 1008
    assert manager.emit("x", 1, "same").sent == 1
    assert again.frames() == [(Opcode.TEXT, b'[/"x"/][/"1"/]')]


def test_takeover_between_types(log: Log) -> None:
    manager = make_manager(log, Log("other", log.calls))
    v1_device(manager, "same")
    v1_device(manager, "same", "other")
    assert manager.emit("x", 1, client_type="echo").sent == 0
    assert manager.emit("x", 1, client_type="other").sent == 1


class ThreadConnection(MemoryConnection):
    """In memory, but with other threads that can set a signal."""

    def wait_for(self, signal: Signal, timeout: float) -> bool:
        return wait(signal, timeout)


def thread_device(manager: Manager, client_id: str = "d1") -> Device:
    connection = ThreadConnection(manager, v1_headers(client_id, "echo"))
    manager.connections.attach(connection)
    return Device(connection)


class Gate(Log):
    """A handler that waits until the test opens the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.gate = threading.Event()

    def on_wait(self, message: Any, client: IoTClient) -> Any:
        self.calls.append("wait")
        self.entered.set()
        assert self.gate.wait(5)
        self.calls.append("waited")
        return "late"


def in_thread(function: Any, *args: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("gone_before", [None, DisconnectReason.REMOVED, DisconnectReason.BACKPRESSURE])
def test_the_new_connection_waits_for_the_handler_of_the_old_one(gone_before: DisconnectReason | None) -> None:
    """Whatever had ended the old one before: `on_disconnect` comes as soon as its handler ends."""
    kind = Gate()
    manager = make_manager(kind, takeover_timeout=5)
    old, new = thread_device(manager), thread_device(manager)
    old.connection.start()
    turn = in_thread(old.send, "wait")
    assert kind.entered.wait(5)
    if gone_before is not None:
        old.connection.close(gone_before)
    takeover = in_thread(new.connection.start)
    while manager.client("d1") is not new.connection.client:
        assert takeover.is_alive()
    assert kind.calls == ["connect", "wait"]
    kind.gate.set()
    turn.join(5)
    takeover.join(2)
    assert not takeover.is_alive()
    reason = gone_before or DisconnectReason.TAKEOVER
    assert kind.calls == ["connect", "wait", "waited", f"disconnect {reason}", "connect"]
    assert new.packets() == []
    assert [opcode for opcode, _ in old.frames()] == [Opcode.CLOSE], "the late answer goes nowhere"


def test_a_stuck_handler_is_not_waited_for_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    kind = Gate()
    manager = make_manager(kind, takeover_timeout=0.05)
    old, new = thread_device(manager), thread_device(manager)
    old.connection.start()
    turn = in_thread(old.send, "wait")
    assert kind.entered.wait(5)
    new.connection.start()
    assert kind.calls == ["connect", "wait", "disconnect takeover", "connect"]
    assert "it is not waited for any longer" in caplog.text
    kind.gate.set()
    turn.join(5)
    assert kind.calls[4:] == ["waited"]
    assert manager.client("d1") is new.connection.client


def test_what_a_device_sent_before_its_own_close_is_handled_before_its_successor_connects(log: Log) -> None:
    """Found by reading: a takeover between two packets of one read lost the second."""
    manager = make_manager(log, takeover_timeout=5)
    old, new = thread_device(manager), thread_device(manager)
    old.connection.start()
    data = encode_frame(Opcode.BINARY, v1.encode("echo", 1)) + encode_frame(Opcode.BINARY, v1.encode("echo", 2))
    events = old.connection.feed(data + encode_frame(Opcode.CLOSE, b"\x03\xe8"))
    old.connection.handle(events[0])
    takeover = in_thread(new.connection.start)
    while manager.client("d1") is not new.connection.client:
        assert takeover.is_alive()
    for event in events[1:]:
        old.connection.handle(event)
    old.connection.finish()
    takeover.join(2)
    assert not takeover.is_alive()
    assert log.calls == ["connect", 1, 2, "disconnect client_close", "connect"]


@pytest.mark.parametrize("_", range(50))
def test_many_reconnects_at_once_leave_one_session_and_balanced_callbacks(_: int) -> None:
    kind = Log()
    manager = make_manager(kind, takeover_timeout=5)
    devices = [thread_device(manager) for _ in range(8)]
    barrier = threading.Barrier(len(devices))

    def run(device: Device) -> None:
        barrier.wait(5)
        device.connection.start()
        device.connection.deliver(encode_frame(Opcode.BINARY, v1.encode("echo", "x")))

    threads = [in_thread(run, device) for device in devices]
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    life = [call for call in kind.calls if call != "x"]
    assert life.count("connect") == life.count("disconnect takeover") + 1
    assert life == ["connect", "disconnect takeover"] * (len(life) // 2) + ["connect"], "never two at once"
    assert manager.clients == ["d1"]
    assert [device.connection.is_open for device in devices].count(True) == 1
    for device in devices:
        device.drop()
    assert manager.clients == []
    assert manager.connections.all() == []
    assert kind.calls.count("connect") == len(kind.calls) - kind.calls.count("x") - kind.calls.count("connect")


def test_remove_from_another_thread_while_a_handler_runs() -> None:
    kind = Gate()
    manager = make_manager(kind)
    device = thread_device(manager)
    device.connection.start()
    turn = in_thread(device.send, "wait")
    assert kind.entered.wait(5)
    assert manager.remove("d1")
    assert kind.calls == ["connect", "wait"], "not before the handler has ended"
    kind.gate.set()
    turn.join(5)
    assert kind.calls == ["connect", "wait", "waited", "disconnect removed"]
    assert manager.clients == []


# The base class.


def test_state_of_a_connection(log: Log) -> None:
    device = v1_device(make_manager(log))
    connection = device.connection
    assert (connection.session.wire, connection.is_open, connection.lane.is_busy, connection.over) == (
        "v1",
        True,
        False,
        False,
    )
    assert connection.session.rtt is None
    assert connection.name == "d1"
    assert MemoryConnection(connection.manager, (), peer="1.2.3.4:5").name == "1.2.3.4:5"
    device.send("echo", 1)
    assert connection.counters == {
        "received": 1,
        "sent": 1,
        "invalid": 0,
        "unhandled": 0,
        "dropped": 0,
        "invalid_report": 0,
        "wrong_clock": 0,
    }
    device.drop()
    assert (connection.is_open, connection.over, connection.session.state) == (False, True, State.CLOSED)
    assert frames_of(connection.read())[0][0] == Opcode.BINARY


def test_what_the_scope_holds_is_let_go_at_the_end() -> None:
    """An environ holds the socket's file, which keeps the descriptor: it must not wait for the garbage collector."""

    class Environ:
        pass

    environ = Environ()
    seen = weakref.ref(environ)

    def scope(client: IoTClient, environ: Environ = environ) -> AbstractContextManager[Environ]:
        return nullcontext(environ)

    connection = connect(make_manager(DeviceType("echo")), v1_headers("d", "echo"), scope=scope)
    del environ, scope
    assert seen() is not None
    gc.disable()
    try:
        connection.deliver(b"")
        assert seen() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("packets", "presence"),
    [
        ([v2.encode_sleep(60)], "sleeping"),
        ([v2.encode_json(v2.GOODBYE, {"reason": "stopped"})], "offline"),
        ([v2.encode_sleep(60), v2.encode_json(v2.GOODBYE, {"reason": "stopped"})], "sleeping"),
        ([], "online"),
    ],
    ids=["SLEEP", "GOODBYE", "both", "neither"],
)
def test_the_last_words_of_a_device_may_come_in_one_read_with_its_close(
    log: Log, packets: list[bytes], presence: str
) -> None:
    manager = make_manager(log)
    device = v2_device(manager, "d", "echo")
    words = b"".join(encode_frame(Opcode.BINARY, packet) for packet in packets)
    device.connection.deliver(words + encode_frame(Opcode.CLOSE, b"\x03\xe8"))
    lasting = manager.device("d")
    assert lasting is not None
    assert lasting.presence == presence
    assert not lasting.connected
