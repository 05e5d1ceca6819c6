"""The native host's own promises: where user code runs, in which order, and what leaves in one write."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import flask
import pytest

from iotio import DeviceType, IoTClient, IoTManager, Options
from iotio.core.lane import Kind, Step
from iotio.hosts.native.connection import NativeConnection
from iotio_protocol import v1
from iotio_protocol.frames import BINARY
from iotio_protocol.reasons import DisconnectReason
from tests.support.hosts import FAST, eventually
from tests.support.wire import Opcode, RawPeer, encode_frame, v1_headers

WAIT = 5.0  # seconds


class Probe(DeviceType):
    """Writes down what runs, and where."""

    def __init__(self, type_name: str = "probe") -> None:
        super().__init__(type_name)
        self.journal: list[str] = []
        self.threads: dict[str, int] = {}
        self.gate = threading.Event()

    def note(self, what: str) -> None:
        self.journal.append(what)
        self.threads[what] = threading.get_ident()

    def on_connect(self, client: IoTClient) -> None:
        self.note("connect")

    def on_disconnect(self, client: IoTClient, reason: Any = None) -> None:
        self.note(f"disconnect {reason}")

    def on_echo(self, message: Any, client: IoTClient) -> Any:
        return message

    async def on_aecho(self, message: Any, client: IoTClient) -> Any:
        return message

    def on_half(self, message: Any, client: IoTClient) -> Any:
        return "half a surrogate pair \ud800"

    async def on_ahalf(self, message: Any, client: IoTClient) -> Any:
        return "half a surrogate pair \ud800"

    def on_sync(self, message: Any, client: IoTClient) -> None:
        time.sleep(0.01)
        self.note(f"sync {message}")

    async def on_async(self, message: Any, client: IoTClient) -> None:
        self.note(f"first {message}")
        await asyncio.sleep(0.01)
        self.note(f"async {message}")

    def on_stuck(self, message: Any, client: IoTClient) -> None:
        self.note("stuck")
        self.gate.wait(WAIT)
        self.note("unstuck")

    async def on_burst(self, message: int, client: IoTClient) -> None:
        for number in range(message):
            client.emit("n", number)

    def on_exit(self, message: Any, client: IoTClient) -> None:
        raise SystemExit(message)

    async def on_cancel(self, message: Any, client: IoTClient) -> None:
        raise asyncio.CancelledError

    async def on_cancel_and_fail(self, message: Any, client: IoTClient) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        raise RuntimeError("cancelled before")

    async def on_at_once(self, message: Any, client: IoTClient) -> Any:
        return message


class SlowToConnect(Probe):
    """Its `on_connect` takes its time on a worker."""

    def on_connect(self, client: IoTClient) -> None:
        self.gate.wait(WAIT)
        self.note("connect")


class Server:
    """An application with one device type, served natively."""

    def __init__(self, device_type: Probe, options: Options, **run: Any) -> None:
        self.app = flask.Flask("native")
        self.manager = IoTManager(self.app, options=options)
        self.manager.add_type(device_type)
        self.port = self.manager.start(**run)
        assert self.manager._running is not None
        self.server = self.manager._running[0]
        self.loop_thread = self.server.native.thread

    @contextmanager
    def device(self, client_id: str = "d", client_type: str = "probe", **headers: Any) -> Iterator[RawPeer]:
        with RawPeer("127.0.0.1", self.port) as peer:
            assert peer.upgrade(headers=v1_headers(client_id, client_type, **headers)).status == 101
            yield peer

    def connection(self, client_id: str = "d") -> NativeConnection:
        eventually(lambda: self.manager.client(client_id) is not None)
        client = self.manager.client(client_id)
        assert client is not None
        assert isinstance(client.socket, NativeConnection)
        return client.socket


@contextmanager
def serving(device_type: Probe, options: Options = FAST, **run: Any) -> Iterator[Server]:
    server = Server(device_type, options, **run)
    try:
        yield server
    finally:
        device_type.gate.set()
        server.manager.stop()


def frames(*events: tuple[str, Any]) -> bytes:
    return b"".join(encode_frame(Opcode.BINARY, v1.encode(event, value)) for event, value in events)


def packet(peer: RawPeer) -> tuple[str, Any]:
    frame = peer.expect_frame()
    assert frame.opcode == BINARY, frame
    return v1.decode(frame.payload)


class CountedWrites:
    """The writes of a connection's transport."""

    def __init__(self, connection: NativeConnection, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        real = connection._transport

        class Counting:
            def write(_, data: bytes) -> None:
                self.sizes.append(len(data))
                real.write(data)

            def __getattr__(_, name: str) -> Any:
                return getattr(real, name)

        monkeypatch.setattr(connection, "_transport", Counting())


@pytest.mark.parametrize("loop", ["asyncio", "auto"])
def test_replies_to_one_read_leave_in_one_write(monkeypatch: pytest.MonkeyPatch, loop: str) -> None:
    with serving(Probe(), loop=loop) as server, server.device() as peer:
        writes = CountedWrites(server.connection(), monkeypatch)
        peer.send_bytes(frames(*(("aecho", number) for number in range(16))))
        assert [packet(peer) for _ in range(16)] == [("aecho", number) for number in range(16)]
        assert len(writes.sizes) == 1


@pytest.mark.parametrize("before", ["", "a"], ids=["def", "async def"])
def test_an_answer_that_is_no_valid_text_is_logged(before: str, caplog: pytest.LogCaptureFixture) -> None:
    echo, half = f"{before}echo", f"{before}half"
    with serving(Probe()) as server, server.device() as peer:
        peer.send_bytes(frames((echo, "prepares the quick way"), (half, "x"), (echo, "goes on")))
        assert [packet(peer) for _ in range(2)] == [(echo, "prepares the quick way"), (echo, "goes on")]
        peer.send_bytes(frames((half, "y"), (echo, "ü")))
        assert packet(peer) == (echo, "ü")
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert said == [f"the answer of handler on_{half}, type 'probe', device 'd', cannot be sent"] * 2


def test_emits_of_one_turn_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Probe()) as server, server.device() as peer, server.device("other") as other:
        writes = CountedWrites(server.connection("other"), monkeypatch)

        def emit() -> None:
            for number in range(10):
                server.manager.emit("n", number, client_type="probe")

        server.server.native.loop.call_soon_threadsafe(emit)
        for one in (peer, other):
            assert [packet(one) for _ in range(10)] == [("n", number) for number in range(10)]
        assert len(writes.sizes) == 1


def test_where_user_code_runs() -> None:
    probe = Probe()
    with serving(probe) as server:
        with server.device() as peer:
            peer.send_bytes(frames(("sync", 1), ("async", 2)))
            eventually(lambda: "async 2" in probe.journal)
        eventually(lambda: "disconnect transport_closed" in probe.journal)
        on_loop = {what for what, thread in probe.threads.items() if thread == server.loop_thread}
    assert on_loop == {"first 2", "async 2"}


def test_one_device_is_served_in_order_whatever_its_handlers_are() -> None:
    probe = Probe()
    kinds = ["sync", "async", "async", "sync", "sync", "sync", "async", "sync", "async"]
    expected = ["connect"]
    for number, kind in enumerate(kinds):
        expected += [f"sync {number}"] if kind == "sync" else [f"first {number}", f"async {number}"]
    with serving(probe) as server, server.device() as peer:
        peer.send_bytes(frames(*((kind, number) for number, kind in enumerate(kinds))))
        peer.half_close()
        eventually(lambda: len(probe.journal) > len(expected))
    assert probe.journal == [*expected, "disconnect transport_closed"]


def test_what_came_before_the_devices_end_is_handled_after_it() -> None:
    probe = Probe()
    with serving(probe) as server, server.device() as peer:
        peer.send_bytes(frames(*(("sync", number) for number in range(10))))
        peer.send_close()
        eventually(lambda: len(probe.journal) == 12)
    assert probe.journal == ["connect", *(f"sync {n}" for n in range(10)), "disconnect client_close"]


def test_answers_still_reach_a_device_that_only_ended_its_half() -> None:
    with serving(Probe()) as server, server.device() as peer:
        peer.send_bytes(frames(*(("echo", number) for number in range(10))))
        peer.half_close()
        assert [packet(peer) for _ in range(10)] == [("echo", number) for number in range(10)]
        assert peer.recv_frames_until_eof() == []


def test_on_connect_comes_before_the_first_message_although_it_is_slow() -> None:
    probe = SlowToConnect()
    with serving(probe) as server, server.device() as peer:
        peer.send_bytes(frames(("async", 1), ("sync", 2)))
        connection = server.connection()
        eventually(lambda: len(connection.lane._steps or ()) == 2)
        probe.gate.set()
        eventually(lambda: "sync 2" in probe.journal)
        assert probe.journal == ["connect", "first 1", "async 1", "sync 2"]


def test_frames_in_the_segment_of_the_upgrade_request_are_handled() -> None:
    with serving(Probe()) as server, RawPeer("127.0.0.1", server.port) as peer:
        assert peer.upgrade(headers=v1_headers("d", "probe"), leftover=frames(("echo", 1), ("aecho", 2))).status == 101
        assert sorted([packet(peer), packet(peer)]) == [("aecho", 2), ("echo", 1)]


def test_an_upgrade_request_in_the_smallest_pieces() -> None:
    with serving(Probe()) as server, RawPeer("127.0.0.1", server.port) as peer:
        request = peer.request_bytes(headers=v1_headers("d", "probe"))
        for index in range(len(request) - 1):
            peer.send_bytes(request[index : index + 1])
        peer.send_bytes(request[-1:] + frames(("echo", 1)))
        assert peer.recv_response().status == 101
        assert packet(peer) == ("echo", 1)


# Too many steps.


@pytest.mark.parametrize("event", ["echo", "aecho"])
def test_a_full_lane_stops_reading_and_loses_nothing(event: str) -> None:
    probe = SlowToConnect()
    with serving(probe) as server, server.device() as peer:
        connection = server.connection()
        for start in range(0, 2000, 100):
            peer.send_bytes(frames(*((event, number) for number in range(start, start + 100))))
        eventually(lambda: not connection.lane.is_reading)
        probe.gate.set()
        assert [packet(peer) for _ in range(2000)] == [(event, number) for number in range(2000)]
        eventually(lambda: connection.lane.is_reading)


def test_steps_that_wait_on_a_worker_count_too() -> None:
    probe = Probe()
    with serving(probe) as server, server.device() as peer:
        connection = server.connection()
        peer.send_bytes(frames(("stuck", 0), *(("echo", number) for number in range(300))))
        eventually(lambda: not connection.lane.is_reading)
        probe.gate.set()
        assert [packet(peer) for _ in range(300)] == [("echo", number) for number in range(300)]


# A device that goes while its handler runs.


class Endless(Probe):
    """Its `async def` handler never ends."""

    async def on_endless(self, message: Any, client: IoTClient) -> None:
        self.note("endless")
        await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("event", ["stuck", "endless"])
@pytest.mark.parametrize("end", ["close frame", "end of stream", "reset"])
def test_a_handler_that_never_ends_does_not_keep_a_device_that_has_gone(
    event: str, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    probe = Endless()
    with serving(probe, options=replace(FAST, takeover_timeout=0.2)) as server, server.device() as peer:
        peer.send_bytes(frames((event, 0), ("echo", 1)))
        eventually(lambda: event in probe.journal)
        if end == "close frame":
            peer.send_close()
        elif end == "end of stream":
            peer.socket.shutdown(socket.SHUT_WR)
        else:
            peer.reset()
        eventually(lambda: probe.journal[-1].startswith("disconnect"))
        eventually(lambda: not server.manager.connections.all())
        assert server.manager.clients == []
        assert probe.journal[:2] == ["connect", event]
        assert f"the handler on_{event} of type 'probe' still runs 0 s after device 'd' has gone" in caplog.text


def test_handlers_that_go_on_are_waited_for_although_the_device_has_gone() -> None:
    probe = Probe()
    with serving(probe, options=replace(FAST, takeover_timeout=0.2)) as server, server.device() as peer:
        peer.send_bytes(frames(*(("sync", number) for number in range(40))))  # 0.01 s each
        eventually(lambda: "sync 0" in probe.journal)
        peer.send_close()
        eventually(lambda: probe.journal[-1].startswith("disconnect"))
        assert probe.journal == ["connect", *(f"sync {number}" for number in range(40)), "disconnect client_close"]


# Taking an id over.


def test_a_stuck_handler_of_the_old_connection_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "iotio")
    probe = Probe()
    options = Options(takeover_timeout=0.2, close_timeout=0.2)
    with serving(probe, options, request_context=True) as server, server.device() as old:
        old.send_bytes(frames(("stuck", 1), ("sync", 1), ("sync", 2), ("async", 3)))
        eventually(lambda: "stuck" in probe.journal)
        with server.device() as new:
            new.send_bytes(frames(("echo", "served")))
            assert packet(new) == ("echo", "served")
            assert [frame.close_code for frame in old.recv_frames_until_eof()] == [1008]
            assert probe.journal == ["connect", "stuck", "disconnect takeover", "connect"]
            probe.gate.set()
            eventually(lambda: probe.journal[-1] == "unstuck")
            new.send_bytes(frames(("echo", "still served")))
            assert packet(new) == ("echo", "still served")
            eventually(lambda: len(server.manager.connections.all()) == 1)
    assert probe.journal.count("unstuck") == 1
    assert not any(line.startswith(("sync", "first")) for line in probe.journal)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert sum("not waited for any longer" in record.getMessage() for record in caplog.records) == 1


def test_a_third_connection_waits_for_the_first() -> None:
    """The second comes and goes while the first is stuck; nothing is greeted before the first has said goodbye."""
    probe = Probe()
    with serving(probe) as server, server.device() as first:
        first.send_bytes(frames(("stuck", 1)))
        eventually(lambda: "stuck" in probe.journal)
        with server.device() as second, server.device() as third:
            assert [frame.close_code for frame in first.recv_frames_until_eof(1)][:1] == [1008]
            third.send_bytes(frames(("echo", 1)))
            assert third.quiet_for(0.1)
            assert probe.journal == ["connect", "stuck"]
            probe.gate.set()
            assert packet(third) == ("echo", 1)
            assert second.expect_frame().close_code == 1008
            assert probe.journal == ["connect", "stuck", "unstuck", "disconnect takeover", "connect"]


def test_a_device_that_came_spoke_and_went_while_the_old_one_was_stuck() -> None:
    probe = Probe()
    with serving(probe) as server, server.device() as first:
        first.send_bytes(frames(("stuck", 1)))
        eventually(lambda: "stuck" in probe.journal)
        with server.device() as second:
            second.send_bytes(frames(("sync", 1)))
            second.send_close()
            second.expect_frame()
        probe.gate.set()
        eventually(lambda: probe.journal[-1] == "disconnect client_close")
        expected = ["connect", "stuck", "unstuck", "disconnect takeover", "connect", "sync 1"]
        assert probe.journal[:-1] == expected


# Failures.


def test_nothing_that_a_handler_raises_ends_a_worker() -> None:
    with serving(Probe(), threads=1) as server, server.device() as peer:
        peer.send_bytes(frames(("exit", 3), ("cancel", 1), ("echo", 1), ("aecho", 2)))
        assert [packet(peer), packet(peer)] == [("echo", 1), ("aecho", 2)]
        assert server.manager.clients == ["d"]


def test_a_step_that_cancelled_itself_and_failed_leaves_nothing_to_the_next() -> None:
    with serving(Probe()) as server, server.device() as peer:
        for _ in range(2):  # the second read takes the short way
            peer.send_bytes(frames(("at_once", "a"), ("cancel_and_fail", 1), ("at_once", "b"), ("at_once", "c")))
            assert [packet(peer) for _ in range(3)] == [("at_once", "a"), ("at_once", "b"), ("at_once", "c")]


def test_a_loop_that_was_blocked_takes_no_device_for_dead(caplog: pytest.LogCaptureFixture) -> None:
    options = Options(ping_interval=0.3, ping_timeout=0.3)
    with serving(Probe(), options, loop="auto") as server, server.device() as peer:
        assert peer.expect_frame().opcode == Opcode.PING
        with caplog.at_level(logging.WARNING, "iotio"):
            server.server.native.loop.call_soon_threadsafe(time.sleep, 1.5)
            time.sleep(0.1)
            peer.send_frame(Opcode.PING, b"alive")
            frame = peer.expect_frame()
            while frame.opcode == Opcode.PING:
                frame = peer.expect_frame()
            assert frame.opcode == Opcode.PONG
        eventually(lambda: "has blocked the loop" in caplog.text)
        assert server.manager.clients == ["d"]


def test_ping_timeout() -> None:
    probe = Probe()
    options = Options(ping_interval=0.2, ping_timeout=0.3, close_timeout=0.2)
    with serving(probe, options) as server, server.device() as peer:
        assert peer.expect_frame().opcode == Opcode.PING
        assert peer.expect_frame().close_code == 1001
        eventually(lambda: probe.journal == ["connect", "disconnect ping_timeout"])
        eventually(lambda: server.manager.clients == [])
        eventually(lambda: server.manager.connections.all() == [])


def test_a_burst_within_one_turn_is_bounded() -> None:
    """Nothing has been written yet, nothing is slow yet: what is collected is limited all the same."""
    probe = Probe()
    with serving(probe, Options(max_outbox=10_000, close_timeout=0.2)) as server, server.device() as peer:
        peer.send_bytes(frames(("burst", 100_000)))
        eventually(lambda: "disconnect backpressure" in probe.journal)
        assert server.manager.counters["sent"] * 2 < 20_000
        assert peer.recv_frames_until_eof()[-1].close_code == 1008


# Emitting from everywhere.


class Emitting(Probe):
    """Emits from its handlers."""

    def on_from_def(self, message: Any, client: IoTClient) -> None:
        assert client.manager.emit("from def", message, client_id=client.id)

    async def on_from_async(self, message: Any, client: IoTClient) -> None:
        assert client.emit("from async", message)
        await asyncio.sleep(0)
        assert client.emit("from async", message)

    def on_from_timer(self, message: Any, client: IoTClient) -> None:
        threading.Timer(0.01, lambda: client.emit("from timer", message)).start()

    def on_from_loop(self, message: Any, client: IoTClient) -> None:
        async def emit() -> None:
            await asyncio.sleep(0)
            client.emit("from loop", message)

        asyncio.run(emit())


def test_answers_and_what_other_threads_emit_keep_their_order() -> None:
    """A usual answer takes no lock: what a thread emits meanwhile may be before or behind it, and is never lost."""
    count = 2000
    with serving(Probe()) as server, server.device() as peer:
        peer.send_bytes(frames(("at_once", "in")))
        assert packet(peer) == ("at_once", "in")

        turns = {"a": threading.Semaphore(0), "b": threading.Semaphore(0)}

        def emit(name: str) -> None:
            for number in range(count):
                assert turns[name].acquire(timeout=WAIT)
                assert server.manager.emit(name, number, client_id="d")

        threads = [threading.Thread(target=emit, args=(name,)) for name in turns]
        for thread in threads:
            thread.start()
        seen: dict[str, list[Any]] = {"a": [], "b": [], "at_once": []}
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for number in range(count):
                for turn in turns.values():
                    turn.release()
                peer.send_bytes(frames(("at_once", str(number))))
                for _ in range(3):
                    event, value = packet(peer)
                    seen[event].append(value)
        finally:
            sys.setswitchinterval(interval)
        for thread in threads:
            thread.join()
        numbers = list(range(count))
        assert seen == {"a": numbers, "b": numbers, "at_once": list(map(str, numbers))}
        assert server.manager.counters["sent"] == 3 * count + 1


def test_emit_from_everywhere() -> None:
    with serving(Emitting()) as server:

        @server.app.get("/emit")
        def view() -> dict[str, int]:
            return {"sent": server.manager.emit("from view", 5, client_id="d").sent}

        with server.device() as peer:
            for where, count in (("def", 1), ("async", 2), ("timer", 1), ("loop", 1)):
                peer.send_bytes(frames((f"from_{where}", 5)))
                for _ in range(count):
                    assert packet(peer) == (f"from {where}", 5)
            with RawPeer("127.0.0.1", server.port) as browser:
                browser.send_bytes(b"GET /emit HTTP/1.1\r\nHost: x\r\n\r\n")
                assert packet(peer) == ("from view", 5)
                assert browser.recv_response().body.strip() == b'{"sent":1}'


def test_what_many_threads_emit_arrives_in_the_order_of_each() -> None:
    with serving(Probe()) as server, server.device() as peer:
        server.connection()

        def work(thread: int) -> None:
            for number in range(200):
                assert server.manager.emit("n", [thread, number], client_id="d")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        got: list[list[int]] = [packet(peer)[1] for _ in range(800)]
        for thread in threads:
            thread.join()
    for number in range(4):
        assert [one for thread, one in got if thread == number] == list(range(200))


# Flask's contexts.


class Contexts(Probe):
    """Says what it sees of Flask."""

    see: Callable[[], str]

    def on_connect(self, client: IoTClient) -> None:
        self.note(f"connect {self.see()}")

    def on_disconnect(self, client: IoTClient, reason: Any = None) -> None:
        self.note(f"disconnect {self.see()}")

    def on_sync(self, message: Any, client: IoTClient) -> None:
        self.note(f"sync {self.see()}")

    async def on_async(self, message: Any, client: IoTClient) -> None:
        self.note(f"async {self.see()}")
        await asyncio.sleep(0)
        self.note(f"later {self.see()}")

    def on_returned(self, message: Any, client: IoTClient) -> Any:
        return self.on_async(message, client)


@pytest.mark.parametrize("request_context", [False, True])
def test_contexts(request_context: bool, caplog: pytest.LogCaptureFixture) -> None:
    probe = Contexts()
    if request_context:
        probe.see = lambda: f"{flask.current_app.name} {flask.request.headers['IoT-IO-Id']}"
    else:
        probe.see = lambda: f"{flask.current_app.name} {flask.has_request_context()}"
    seen = "native d" if request_context else "native False"
    with serving(probe, request_context=request_context) as server:
        with server.device() as peer:
            peer.send_bytes(frames(("sync", 1), ("async", 1), ("returned", 1)))
            peer.send_close()
            eventually(lambda: len(probe.journal) == 7)
        eventually(lambda: server.manager.connections.all() == [])
    words = ("connect", "sync", "async", "later", "async", "later", "disconnect")
    assert probe.journal == [f"{word} {seen}" for word in words]
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


class Quiet(DeviceType):
    """Has no code that runs when a device comes or goes."""

    async def on_who(self, message: Any, client: IoTClient) -> str:
        return str(id(flask.g._get_current_object()))

    def on_where(self, message: Any, client: IoTClient) -> str:
        return flask.current_app.name


@pytest.mark.parametrize("first", ["who", "where"])
def test_the_context_is_entered_for_the_first_user_code(first: str) -> None:
    with serving(Probe()) as server:
        server.manager.add_type(Quiet("quiet"))
        torn_down: list[Any] = []
        server.app.teardown_appcontext(torn_down.append)
        with server.device("silent", "quiet") as silent:
            server.connection("silent")
            silent.send_close()
            silent.expect_frame()
        eventually(lambda: server.manager.connections.all() == [])
        assert torn_down == []
        with server.device("talker", "quiet") as peer:
            asked = [first, "who", "where", "who"]
            for event in asked:
                peer.send_bytes(frames((event, 0)))
            answers = [packet(peer) for _ in asked]
            assert [event for event, _ in answers] == asked
            assert len(set(answers)) == 2  # one application, one `flask.g`
            assert torn_down == []
        eventually(lambda: torn_down == [None])


def test_close_from_a_handler() -> None:
    probe = Probe()
    with serving(probe) as server, server.device() as peer:
        connection = server.connection()
        connection.close(DisconnectReason.REMOVED)
        assert peer.expect_frame().close_code == 1000
        peer.send_close()
        assert peer.recv_frame() is None
        eventually(lambda: probe.journal == ["connect", "disconnect removed"])


def test_steps_do_not_keep_their_connection() -> None:
    class Owner:
        def handle(self) -> None: ...

    owner = Owner()
    seen = weakref.ref(owner)
    assert not Step.of(Kind.EVENT, "x", owner.handle).is_async
    del owner
    assert seen() is None


def test_an_answer_that_breaks_the_endpoint_of_its_name_is_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    """Not on the short way either: a text that is returned at once."""
    endpoints = [{"id": "at_once", "name": "Text", "type": "string", "constraints": {"length": 2}}]
    with serving(Probe()) as server, server.device(endpoints=endpoints) as peer:
        peer.send_bytes(frames(("at_once", "first"), ("at_once", "no"), ("at_once", "longer"), ("at_once", 42)))
        assert [peer.expect_frame().payload for _ in range(2)] == [v1.encode("at_once", one) for one in ("no", "42")]
    refused = [record for record in caplog.records if "cannot be sent" in record.getMessage()]
    assert len(refused) == 2
    assert "invalid_length" in caplog.text


def test_an_answer_of_another_name_than_the_endpoints_goes_its_short_way() -> None:
    endpoints = [{"id": "level", "name": "Level", "type": "integer"}]
    with serving(Probe()) as server, server.device(endpoints=endpoints) as peer:
        peer.send_bytes(frames(("at_once", "text"), ("at_once", "more")))
        assert [peer.expect_frame().payload for _ in range(2)] == [
            v1.encode("at_once", one) for one in ("text", "more")
        ]
