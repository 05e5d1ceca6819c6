"""What all hosts with a thread or greenlet per connection owe: nobody waits where nobody may."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.types import WSGIApplication

import pytest

from iotio import DeviceType, IoTClient, Options
from iotio.core.connection import Connection
from iotio_protocol import v1
from tests.support.hosts import FAST, GeventHost, LocalHost, eventually, serve_local
from tests.support.v2 import PROTOCOL
from tests.support.wire import Opcode, RawPeer, v1_headers

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


# A peer that reads slowly.


def emit_until_it_waits(host: LocalHost, name: str, kept: list[bytes]) -> Connection:
    """Emit random bytes until some of them wait for the device, whatever the buffers of the system take."""
    (connection,) = host.manager.connections.all()
    while not connection.pending():
        kept.append(os.urandom(1 << 20))
        assert host.manager.emit("big", kept[-1], name).sent == 1
        assert len(kept) < 100
    return connection


@pytest.mark.parametrize("kind", KINDS)
def test_what_waits_for_a_slow_reader_arrives_whole_and_in_order(kind: str) -> None:
    with serve_local(kind, Options(max_outbox=1 << 28, close_timeout=0.5)) as host, host.peer() as peer:
        assert peer.upgrade(headers=v1_headers("slow", "echo")).status == 101
        host.log.wait("slow", "mgr_on_connect")
        kept: list[bytes] = []
        connection = emit_until_it_waits(host, "slow", kept)
        for text in ("behind it", "and this"):
            host.manager.emit("small", text, "slow")
        for sent in kept:
            assert v1.decode(peer.expect_frame().payload, Options(max_payload=1 << 21)) == ("big", sent)
        assert [v1.decode(peer.expect_frame().payload)[1] for _ in range(2)] == ["behind it", "and this"]
        eventually(lambda: not connection.pending())
        peer.send_binary(v1.encode("same", "x"))
        assert v1.decode(peer.expect_frame().payload) == ("same", "x"), "it writes directly again"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", [RawPeer.reset, RawPeer.close])
def test_a_peer_that_goes_leaves_nothing_waiting(kind: str, end: Callable[[RawPeer], None]) -> None:
    with serve_local(kind, Options(max_outbox=1 << 28, close_timeout=0.5)) as host, host.peer() as peer:
        assert peer.upgrade(headers=v1_headers("slow", "echo")).status == 101
        host.log.wait("slow", "mgr_on_connect")
        connection = emit_until_it_waits(host, "slow", [])
        end(peer)
        host.log.wait("slow", "mgr_on_disconnect")
        eventually(lambda: not host.manager.connections.all())
        assert connection.pending() == 0
        assert host.manager.emit("late", 1, "slow").offline == ("slow",)


@pytest.mark.parametrize("kind", KINDS)
def test_a_device_that_is_removed_is_not_waited_for_longer_than_close_timeout(kind: str) -> None:
    """Its CLOSE stands behind what it does not read."""
    with serve_local(kind, Options(max_outbox=1 << 28, close_timeout=0.3)) as host, host.peer() as peer:
        assert peer.upgrade(headers=v1_headers("slow", "echo")).status == 101
        host.log.wait("slow", "mgr_on_connect")
        emit_until_it_waits(host, "slow", [])
        assert host.manager.remove("slow")
        host.log.wait("slow", "mgr_on_disconnect")
        eventually(lambda: not host.manager.connections.all())
