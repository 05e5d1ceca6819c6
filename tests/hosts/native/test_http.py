"""HTTP on the native server: how large a request may be and how long it may take, with either of uvicorn's parsers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from iotio import DeviceType, IoTManager
from iotio.hosts.native import http as limits
from tests.support.wire import KEY, RawPeer, v1_headers

PARSERS = [limits.H11Http, *([limits.HttpToolsHttp] if limits.HttpToolsProtocol is not None else [])]


class Application:
    """An application that reads bodies, and answers at /wait when the test says so.

    Attributes:
        begun: set when a request has begun.
        lost: set when a body has ended before its time.
        go: lets /wait answer.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin a test."""
        self.begun = threading.Event()
        self.lost = threading.Event()
        self.go = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                event = await receive()
                await send({"type": event["type"] + ".complete"})
            return
        self.begun.set()
        if scope["path"] == "/wait":
            await asyncio.to_thread(self.go.wait, 5)
        if scope["path"] == "/much":
            await self.send_much(send)
            return
        size = 0
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                self.lost.set()
                return
            size += len(event["body"])
            if not event.get("more_body"):
                break
        body = b"%d" % size
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    async def send_much(self, send: Any) -> None:
        """Send more than sockets take, in pieces."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % MUCH)]})
        for more in (*[True] * 63, False):
            await send({"type": "http.response.body", "body": bytes(MUCH // 64), "more_body": more})
        self.lost.set()


class Server:
    """A native server with an application and a device type."""

    def __init__(self) -> None:
        self.app = Application()
        self.manager = IoTManager(self.app)
        self.manager.add_type(DeviceType("echo"))
        self.port = self.manager.start()

    def peer(self, requests: int = 0) -> RawPeer:
        """A connection that has had so many requests."""
        peer = RawPeer("127.0.0.1", self.port)
        for _ in range(requests):
            peer.send_bytes(BEGIN + b"\r\n")
            assert peer.recv_response().body == b"0"
        self.app.begin()
        return peer


@pytest.fixture(params=PARSERS, ids=lambda one: one.__name__, scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "HttpProtocol", request.param)
        running = Server()
        yield running
        running.manager.stop()
        running.manager.close(0)


MUCH = 64 * 1024 * 1024  # bytes
BEGIN = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
UPGRADE = (
    "GET /iot.io HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
).encode()
NOT_HTTP = b"HTTP/1.1 400 "  # h11 takes no empty line before a request
FEW = b"a: b\r\n"


def line(size: int) -> bytes:
    """A header line of so many bytes."""
    return b"X: " + b"a" * (size - 5) + b"\r\n"


def send_what_is_taken(peer: RawPeer, data: bytes) -> None:
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        peer.send_bytes(data)


def rest(peer: RawPeer) -> bytes:
    """What comes until the server ends the connection, which it must."""
    with contextlib.suppress(ConnectionResetError):
        return peer.recv_all_until_eof()
    return b""


# Upgrades.


@pytest.mark.parametrize("more", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize("requests", [0, 1], ids=["first", "second"])
def test_an_upgrade_with_a_body_is_refused(server: Server, more: bytes, requests: int) -> None:
    with server.peer(requests) as peer:
        peer.send_bytes(UPGRADE + more + b"\r\n0\r\n\r\n")
        assert peer.recv_response().status == 400
        assert rest(peer) == b""


def test_an_upgrade_behind_a_request_that_is_not_answered_yet(server: Server) -> None:
    """httptools reads it at once, and it is refused; h11 reads it behind the answer."""
    with server.peer() as peer:
        peer.send_bytes(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        assert server.app.begun.wait(5)
        peer.send_bytes(UPGRADE + b"\r\n")
        peer.quiet_for(0.1)
        server.app.go.set()
        first = peer.recv_response().status
        if first == 400:
            assert rest(peer) == b""
        else:
            assert (first, peer.recv_response().status) == (200, 101)


# Size.

TOO_LARGE = {
    "one endless header": (BEGIN + line(70_000)[:-2], 431),
    "one endless name": (BEGIN + b"x" * 70_000, 431),
    "endless headers": (BEGIN + FEW * 12_000, 431),
    "a whole head": (BEGIN + line(30_000) * 3 + b"\r\n", 431),
    "a whole head of a device": (UPGRADE + line(30_000) * 3 + b"\r\n", 431),
    "129 lines": (BEGIN + FEW * 128 + b"\r\n", 431),
    "129 lines of a device": (UPGRADE + FEW * 124 + b"\r\n", 431),
    "129 lines elsewhere": (UPGRADE.replace(b"/iot.io", b"/x") + FEW * 124 + b"\r\n", 431),
    "an endless request line": (b"GET /" + b"a" * 70_000, 414),
    "a whole request line": (b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "127 lines behind a body": (CHUNKED + FEW * 127 + b"\r\n", 431),
    "one endless line behind a body": (CHUNKED + line(600_000)[:-2], 431),  # more than one read
    "no HTTP": (b"\0\0\r\n\r\n", 400),
}


@pytest.mark.parametrize("requests", [0, 1], ids=["first", "second"])
@pytest.mark.parametrize("case", TOO_LARGE)
def test_what_is_too_large_is_answered_and_the_connection_closed(server: Server, case: str, requests: int) -> None:
    data, status = TOO_LARGE[case]
    with server.peer(requests) as peer:
        send_what_is_taken(peer, data)
        response = peer.recv_response()
        assert (response.status, response.headers["connection"]) == (status, "close")
        assert rest(peer) == b""
    with server.peer(1):  # others are served
        pass


def test_who_goes_on_and_on_is_not_listened_to(server: Server) -> None:
    with server.peer() as peer:
        far_more_than_is_on_its_way = BEGIN + line(30_000_000)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            peer.send_bytes(far_more_than_is_on_its_way)


@pytest.mark.parametrize("requests", [0, 1], ids=["first", "second"])
def test_a_head_in_many_pieces_is_counted_as_a_whole(server: Server, requests: int) -> None:
    with server.peer(requests) as peer:
        peer.send_bytes(BEGIN)
        for _ in range(7):
            send_what_is_taken(peer, line(10_000))
        assert peer.recv_response().status == 431


def test_what_is_as_large_as_may_be_is_served(server: Server) -> None:
    with server.peer() as peer:
        peer.send_bytes(BEGIN + line(100) * 126 + line(50_000) + b"\r\n")
        assert peer.recv_response().status == 200
        peer.send_bytes(b"GET /" + b"a" * (8192 - 14) + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert peer.recv_response().status == 200
        peer.send_bytes(CHUNKED + FEW * 100 + b"\r\n")
        assert peer.recv_response().body == b"1"
        peer.send_bytes(POST + b"Content-Length: 300000\r\n\r\n" + bytes(300_000))
        assert peer.recv_response().body == b"300000"
        assert peer.upgrade(headers=[*v1_headers("d", "echo"), *[("a", "b")] * 100]).status == 101


def test_many_requests_at_once_are_no_large_one(server: Server) -> None:
    with server.peer() as peer:
        peer.send_bytes((BEGIN + b"\r\n") * 3000)
        assert [peer.recv_response().status for _ in range(3000)] == [200] * 3000


def test_few_requests_are_read_before_they_can_be_answered(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application answers one after the other, and asks for more of each."""
    count, seen = 12_000, set()
    take = limits._Limits._take

    def noted(connection: Any, data: bytes) -> None:
        take(connection, data)
        seen.add((len(getattr(connection, "pipeline", ())), len(connection._behind)))

    monkeypatch.setattr(limits._Limits, "_take", noted)
    with server.peer() as peer:
        sender = threading.Thread(target=peer.send_bytes, args=(b"GET / HTTP/1.1\r\nHost:x\r\n\r\n" * count,))
        sender.start()
        assert [peer.recv_response().status for _ in range(count)] == [200] * count
        sender.join(5)
    assert max(waiting for waiting, _ in seen) <= 4096 // 26 + 1
    assert max(size for _, size in seen) <= 256 * 1024


def test_wrong_requests_do_not_fill_the_log(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.manager.log_throttle._kinds.clear()  # other tests have sent such, too
    for _ in range(20):
        with server.peer() as peer:
            peer.send_bytes(TOO_LARGE["no HTTP"][0])
            assert peer.recv_response().status == 400
    lines = [one for one in caplog.records if "Invalid HTTP request" in one.getMessage()]
    assert len([one for one in lines if one.levelno == logging.WARNING]) == 10


# Time.


@pytest.mark.parametrize("requests", [0, 1], ids=["first", "second"])
@pytest.mark.parametrize("data", [b"\r", b"GET / HT", BEGIN, POST + b"Content-Length: 9\r\n\r\nx", CHUNKED])
def test_half_a_request_is_not_waited_for(
    server: Server, data: bytes, requests: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PATIENCE", 0.1)
    with server.peer(requests) as peer:
        peer.send_bytes(data)
        assert rest(peer)[:13] in (b"", NOT_HTTP)
        if data.startswith(b"POST"):
            assert server.app.lost.wait(5), "the application waits no longer"


def test_a_body_that_gets_on_is_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PATIENCE", 0.4)
    with server.peer() as peer:
        peer.send_bytes(POST + b"Content-Length: 10\r\n\r\n")
        for _ in range(10):
            assert peer.quiet_for(0.1)  # in all more than a body without progress would get
            peer.send_bytes(b"x")
        assert peer.recv_response().body == b"10"


@pytest.mark.parametrize("more", [b"", b"GET / HT"])
def test_an_application_has_the_time_that_it_needs(
    server: Server, more: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PATIENCE", 0.1)
    with server.peer() as peer:
        peer.send_bytes(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" + more)
        assert server.app.begun.wait(5)
        assert peer.quiet_for(0.5)
        server.app.go.set()
        assert peer.recv_response().status == 200
        if more:
            assert rest(peer) == b"", "now it is the peer's turn"


def test_a_body_that_the_application_does_not_read_yet_is_not_the_peers_fault(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PATIENCE", 0.1)
    with server.peer() as peer:
        size = MUCH
        sender = threading.Thread(target=peer.send_bytes, args=(bytes(size),))
        peer.send_bytes(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        sender.start()
        assert server.app.begun.wait(5)
        assert not server.app.lost.wait(0.5)
        assert sender.is_alive(), "it is not read"
        server.app.go.set()
        assert peer.recv_response().body == b"%d" % size
        sender.join()


def test_a_response_that_is_not_read_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PATIENCE", 0.1)
    with server.peer() as peer:
        peer.send_bytes(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        assert server.app.lost.wait(5), "the application waits no longer"
        assert len(rest(peer)) < MUCH


def test_a_response_that_is_read_slowly_is_not(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PATIENCE", 1.0)
    with server.peer() as peer:
        peer.send_bytes(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        size, began = 0, time.monotonic()
        while time.monotonic() - began < 3:
            size += len(peer.socket.recv(512 * 1024))
            time.sleep(0.2)  # slow is what it is to be
        assert not server.app.lost.is_set()
        while size < MUCH:
            size += len(peer.socket.recv(1024 * 1024))
        assert server.app.lost.wait(5)


def test_a_connection_without_a_request_is_kept_for_75_seconds(server: Server) -> None:
    native, _ = server.manager._running  # type: ignore[misc]  # it runs
    assert native.config.timeout_keep_alive == limits.KEEP_ALIVE == 75
