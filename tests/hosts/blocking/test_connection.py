"""What all hosts with a thread or greenlet per connection owe: nobody waits where nobody may."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any
from wsgiref.types import WSGIApplication

import pytest

from iotio import DeviceType, IoTClient, Options
from iotio.hosts.blocking.connection import SocketConnection
from iotio.hosts.blocking.loop_thread import LoopThread
from iotio_protocol import v1, v2
from tests.support.hosts import FAST, GeventHost, eventually, open_descriptors, serve_local
from tests.support.memory import make_manager
from tests.support.v2 import PROTOCOL, V2Device
from tests.support.wire import Opcode, v1_headers

KINDS = ["gevent", "flask"]


class Async(DeviceType):
    """All its handlers run on the loop thread."""

    gone: list[str]

    async def on_kick(self, other: str, client: IoTClient) -> bool:
        return client.manager.remove(other)

    async def on_echo(self, message: Any, client: IoTClient) -> Any:
        await asyncio.sleep(0)
        return message

    async def on_disconnect(self, client: IoTClient, reason: Any = None) -> None:
        await asyncio.sleep(0)
        self.gone.append(f"{client.id} {reason}")


@pytest.mark.parametrize("kind", KINDS)
def test_an_async_handler_may_remove_another_device(kind: str) -> None:
    """Its `on_disconnect` runs on the loop thread too, which must not wait for itself."""
    with serve_local(kind) as host:
        device_type = Async("async")
        device_type.gone = []
        host.manager.add_type(device_type)
        with host.peer() as one, host.peer() as other:
            assert one.upgrade(headers=v1_headers("one", "async")).status == 101
            assert other.upgrade(headers=v1_headers("other", "async")).status == 101
            eventually(lambda: sorted(host.manager.clients) == ["one", "other"])
            for event, value, answer in (("kick", "other", True), ("echo", "still alive", "still alive")):
                one.send_frame(Opcode.BINARY, v1.encode(event, value))
                assert v1.decode(one.expect_frame().payload) == (event, answer)
            eventually(lambda: device_type.gone == ["other removed"])
            eventually(lambda: host.manager.clients == ["one"])


class Asking(DeviceType):
    """Calls its device from a handler, and notes what comes later."""

    seen: list[int]

    def on_ask(self, timeout: float, client: IoTClient) -> Any:
        return client.call("ask", timeout=timeout)

    def on_seq(self, number: int, client: IoTClient) -> None:
        self.seen.append(number)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_put_aside_while_a_handler_calls_is_bounded(kind: str) -> None:
    """Then nobody reads, and silence says nothing; all of it is handled when the call has given up."""
    with serve_local(kind, Options(ping_interval=0.2, ping_timeout=0.2)) as host:
        device_type = Asking("asking")
        device_type.seen = []
        host.manager.add_type(device_type)
        with V2Device(host.port, "d", "asking") as device:
            device.send("ask", 0.8, v2.CALL, call=1)
            number = device.expect_call("ask")
            client = host.manager.client("d")
            assert client is not None
            connection = client.socket
            assert isinstance(connection, SocketConnection)
            assert connection.is_reading
            for n in range(300):
                device.send("seq", n)
            eventually(lambda: not connection.is_reading)
            aside = len(connection._aside)
            assert 256 <= aside <= 300
            for n in range(300, 400):
                device.send("seq", n)
            device.answer(number, "too late, behind too much")
            packet = device.expect()
            assert isinstance(packet, v2.Packet)
            assert packet.flags == v2.FAILURE
            assert packet.value == {
                "error": "exception",
                "name": "CallTimeout",
                "message": "device 'd' did not answer the call of 'ask' within 0.8 s",
            }
            eventually(lambda: device_type.seen == list(range(400)))
            device.send("ask", 5, v2.CALL, call=2)
            device.answer(device.expect_call("ask"), "x")
            assert device.expect() == v2.Packet("", "x", v2.RESULT, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_no_descriptor_is_left_over(kind: str) -> None:
    with serve_local(kind) as host, V2Device(host.port, "warm up") as device:
        host.log.wait("warm up", "on_connect")
        before = open_descriptors()
        for n in range(3):
            device.send("acallself", None, v2.CALL, call=n)
            device.answer(device.expect_call("ask"), n)
            assert device.expect() == v2.Packet("", n, v2.RESULT, n)
            with V2Device(host.port, f"d{n}") as other:
                other.send("callself")
                other.expect_call("ask")
        eventually(lambda: host.manager.clients == ["warm up"])
        eventually(lambda: open_descriptors() <= before)  # those of an earlier test may have been open still


class WrappedHost(GeventHost):
    """The Flask application inside of a middleware that knows nothing of subprotocols."""

    @property
    def application(self) -> WSGIApplication:
        return lambda environ, start_response: self.app(environ, start_response)


def test_a_wrapped_application_agrees_on_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with WrappedHost(FAST) as host, host.peer() as peer, host.peer() as older:
        assert peer.upgrade(headers=PROTOCOL).headers.get("sec-websocket-protocol") is None
        frame = peer.expect_frame()
        assert (frame.opcode, frame.close_code) == (Opcode.CLOSE, 1008)
        words = "client_incompatible_protocol_version {'asked': 'iotio.v2', 'agreed': None}"
        assert frame.close_reason == words
        assert "give it the same attribute app_protocol" in caplog.text
        response = older.upgrade(headers=[*PROTOCOL, *v1_headers("older", "echo")])
        assert (response.status, response.headers.get("sec-websocket-protocol")) == (101, None)
        older.send_binary(v1.encode("same", "x"))
        assert v1.decode(older.expect_frame().payload) == ("same", "x")


@pytest.fixture
def default_timeout() -> Iterator[None]:
    socket.setdefaulttimeout(30)
    yield
    socket.setdefaulttimeout(None)


@pytest.mark.usefixtures("default_timeout")
def test_a_default_timeout_of_the_program_changes_nothing() -> None:
    """`socket.setdefaulttimeout` is for the program's own sockets: a silent device is still noticed in time."""
    with (
        serve_local("flask", Options(ping_interval=0.3, ping_timeout=0.3, close_timeout=0.2)) as host,
        host.peer() as peer,
    ):
        assert peer.upgrade(headers=v1_headers("silent", "echo")).status == 101
        host.log.wait("silent", "on_disconnect", timeout=5)


@pytest.mark.parametrize("kind", KINDS)
def test_close_waits_for_every_farewell(kind: str) -> None:
    """Also where it is called in the very hub that serves the devices."""
    with serve_local(kind, FAST) as host, host.peer() as peer:
        assert peer.upgrade(headers=v1_headers("d", "echo")).status == 101
        host.log.wait("d", "mgr_on_connect")
        status, _ = host.request("POST", "/call", {"method": "close", "args": [2.0], "kw": {}})
        assert status == 200
        assert host.log.of("d")[-1] == "mgr_on_disconnect"
        frame = peer.expect_frame()
        assert (frame.opcode, frame.close_code) == (Opcode.CLOSE, 1001)


def test_a_stopped_loop_fails_what_is_submitted() -> None:
    class Stopped(LoopThread):
        @property
        def loop(self) -> asyncio.AbstractEventLoop:
            loop = asyncio.new_event_loop()
            loop.close()
            return loop

    async def never() -> None: ...

    outcome = Stopped(make_manager()).submit(never(), copy_context())
    assert outcome.done.is_set
    with pytest.raises(RuntimeError, match="stopped"):
        outcome.result()


def test_a_blocked_loop_is_named(caplog: pytest.LogCaptureFixture) -> None:
    loops = LoopThread(make_manager())
    clock = loops._manager.clock
    swept = threading.Event()
    loops.loop.call_soon_threadsafe(swept.set)
    assert swept.wait(5)
    clock.now += 5  # type: ignore[attr-defined]  # the fake clock of the memory host
    eventually(lambda: "has blocked the loop thread" in caplog.text)
    loops.stop()
