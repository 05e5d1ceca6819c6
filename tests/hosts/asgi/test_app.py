"""Devices over plain ASGI: what reaches the server, event by event, and ASGI applications under the native server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import flask
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from iotio import DeviceType, IoTClient, IoTManager, Options
from iotio_protocol import v1
from iotio_protocol.reasons import DisconnectReason
from tests.support.asgi import UvicornThread
from tests.support.hosts import eventually
from tests.support.memory import v1_device
from tests.support.wire import Opcode, RawPeer, v1_headers

TIMEOUT = 5.0


class Echo(DeviceType):
    """Answers, and keeps what it saw."""

    def __init__(self) -> None:
        super().__init__("echo")
        self.seen: list[str] = []

    def on_same(self, message: Any, client: IoTClient) -> Any:
        return message

    async def on_now(self, message: Any, client: IoTClient) -> Any:
        return message

    def on_connect(self, client: IoTClient) -> None:
        self.seen.append(f"+{client.id}")

    async def on_disconnect(self, client: IoTClient, reason: DisconnectReason = DisconnectReason.REMOVED) -> None:
        await asyncio.sleep(0.01)
        self.seen.append(f"-{client.id} {reason}")


def make(app: Any = None, **options: Any) -> tuple[IoTManager, Echo]:
    settings = {"refusal_delay": 0.05, "close_timeout": 0.3, **options}
    manager = IoTManager(app or flask.Flask("asgi"), options=Options(**settings))
    manager.add_type(echo := Echo())
    return manager, echo


class Server:
    """A foreign server with one WebSocket: what it receives and sends is the test's to decide."""

    def __init__(
        self, manager: IoTManager, headers: list[tuple[str, str]], path: str = "/iot.io", root_path: str = ""
    ) -> None:
        self.incoming: asyncio.Queue[Any] = asyncio.Queue()
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        self.open = asyncio.Event()  # send() waits for it
        self.open.set()
        self.error: Exception | None = None
        scope = {
            "type": "websocket",
            "path": path,
            "root_path": root_path,
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
            "client": ("192.0.2.1", 5),
        }
        self.say({"type": "websocket.connect"})
        self.task = asyncio.get_running_loop().create_task(self._run(manager.asgi, scope))

    async def _run(self, app: Any, scope: Any) -> None:
        await app(scope, self.incoming.get, self._send)

    async def _send(self, event: Any) -> None:
        await self.open.wait()
        if self.error is not None:
            raise self.error
        self.sent.put_nowait(event)

    def say(self, event: Any) -> None:
        self.incoming.put_nowait(event)

    def packet(self, event: str, value: Any) -> None:
        self.say({"type": "websocket.receive", "bytes": v1.encode(event, value)})

    def disconnect(self, code: int | None) -> None:
        self.say({"type": "websocket.disconnect"} | ({} if code is None else {"code": code}))

    async def next(self) -> Any:
        return await asyncio.wait_for(self.sent.get(), TIMEOUT)

    async def answer(self) -> Any:
        return v1.decode((await self.next())["bytes"])

    async def end(self) -> None:
        await asyncio.wait_for(self.task, TIMEOUT)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def connected(client_id: str = "d", **options: Any) -> AsyncIterator[tuple[Server, IoTManager, Echo]]:
    manager, echo = make(**options)
    server = Server(manager, v1_headers(client_id, "echo"))
    try:
        assert await server.next() == {"type": "websocket.accept"}
        await until(lambda: echo.seen == [f"+{client_id}"])
        yield server, manager, echo
    finally:
        server.open.set()
        server.disconnect(1006)
        with suppress(asyncio.CancelledError):
            await server.end()
        await manager.asgi.shutdown()


# Events.


async def test_messages_are_events_of_their_kind() -> None:
    async with connected() as (server, _, _):
        server.packet("now", "x")
        assert await server.next() == {"type": "websocket.send", "bytes": v1.encode("now", "x")}
        server.packet("same", b"")
        assert await server.answer() == ("same", b"")
        server.say({"type": "websocket.receive", "bytes": b"", "text": None})
        assert (await server.answer())[1]["error"] == "client_invalid_packet"


async def test_v0_in_text() -> None:
    manager, _ = make()
    server = Server(manager, [])
    assert await server.next() == {"type": "websocket.accept"}
    server.say({"type": "websocket.receive", "text": '[/"old"/][/"echo"/][/"{}"/]'})
    server.say({"type": "websocket.receive", "text": '[/"now"/][/"5"/]', "bytes": None})
    assert await server.next() == {"type": "websocket.send", "text": '[/"now"/][/"5"/]'}
    server.disconnect(1000)
    await server.end()
    await manager.asgi.shutdown()


async def test_a_refusal() -> None:
    manager, _ = make()
    server = Server(manager, v1_headers("d", "nosuch"))
    assert await server.next() == {"type": "websocket.accept"}
    assert (await server.answer())[1] == {"error": "client_invalid_type", "info": None}
    assert await server.next() == {"type": "websocket.close", "code": 1008, "reason": "refused"}
    await server.end()  # the server says nothing: the close time-out ends it
    assert manager.connections.all() == []
    await manager.asgi.shutdown()


async def test_a_message_over_the_limit() -> None:
    async with connected(max_payload=1000) as (server, _, echo):
        server.packet("same", b"x" * 1000)
        assert await server.answer() == ("same", b"x" * 1000)
        server.packet("same", b"x" * 2000)
        close = await server.next()
        assert (close["type"], close["code"]) == ("websocket.close", 1009)
        server.disconnect(1009)
        await server.end()
        await until(lambda: echo.seen[1:] == ["-d protocol_error"])


async def test_no_ping_and_no_time_out_of_ours() -> None:
    """The server keeps the connection alive, or does not."""
    async with connected(ping_interval=0.05, ping_timeout=0.05) as (server, manager, _):
        connection = manager.connections.all()[0]
        assert connection.deadline == float("inf")
        for later in (1.0, 100.0):
            connection.tick(manager.clock() + later)
        server.packet("now", 1)
        assert await server.answer() == ("now", 1)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1000, "client_close"),
        (1001, "client_close"),
        (4000, "client_close"),
        (None, "transport_closed"),
        (1005, "transport_closed"),
        (1006, "transport_closed"),
        (1002, "protocol_error"),
        (1012, "server_shutdown"),
    ],
)
async def test_the_reason_of_an_end(code: int | None, reason: str) -> None:
    async with connected() as (server, manager, echo):
        server.disconnect(code)
        await server.end()
        await until(lambda: echo.seen[1:] == [f"-d {reason}"])
        await until(lambda: manager.connections.all() == [])
        assert server.sent.empty()


async def test_what_was_sent_before_the_end_is_handled() -> None:
    async with connected() as (server, manager, echo):
        for number in range(50):
            server.packet("same", number)
        server.disconnect(1000)
        await server.end()
        await until(lambda: echo.seen[1:] == ["-d client_close"])
        assert manager.counters["received"] == 50


# A slow network.


async def test_what_waits_is_bounded() -> None:
    async with connected(max_outbox=300_000) as (server, manager, echo):
        server.open.clear()
        results = [manager.emit("big", b"x" * 50_000, "d") for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        connection = manager.connections.all()[0]
        assert 150_000 <= connection.pending() < 151_000
        while not results[-1].dropped:
            results.append(manager.emit("big", b"x" * 50_000, "d"))
            await asyncio.sleep(0)
            assert connection.pending() <= 300_000 + 100
        assert [result.sent for result in results] == [1] * (len(results) - 1) + [0]
        assert results[-1].dropped == {"d": "backpressure"}
        assert not connection.is_open
        await until(lambda: echo.seen[1:] == ["-d backpressure"])  # the close time-out
        await server.end()


async def test_a_slow_network_that_recovers() -> None:
    async with connected() as (server, manager, _):
        server.open.clear()
        for number in range(20):
            manager.emit("big", b"x" * 50_000, "d")
            manager.emit("number", number, "d")
        await asyncio.sleep(0)
        server.open.set()
        numbers = [value for _ in range(40) if isinstance((value := (await server.answer())[1]), int)]
        assert numbers == list(range(20))
        assert manager.connections.all()[0].pending() == 0


async def test_a_server_that_can_no_longer_send() -> None:
    async with connected() as (server, manager, echo):
        server.error = RuntimeError("gone")
        manager.emit("x", 1, "d")
        await asyncio.sleep(0.01)
        server.disconnect(1000)
        await server.end()
        await until(lambda: echo.seen[1:] == ["-d client_close"])


# Ends that the server did not ask for.


async def test_shutdown_tells_devices_and_waits() -> None:
    async with connected() as (server, manager, echo):
        ending = asyncio.get_running_loop().create_task(manager.asgi.shutdown())
        assert await server.next() == {"type": "websocket.close", "code": 1001, "reason": "server_shutdown"}
        server.disconnect(1001)
        await ending
        assert echo.seen[1:] == ["-d server_shutdown"]
        await server.end()


async def test_the_end_of_a_mount_does_not_reopen_a_manager_that_was_closed() -> None:
    async with connected() as (server, manager, _):
        manager.close(0)
        ending = asyncio.get_running_loop().create_task(manager.asgi.shutdown())
        server.disconnect(1001)
        await ending
        assert v1_device(manager, "late").close_code() == 1001
        await server.end()


async def test_a_mount_that_ended_may_begin_again() -> None:
    async with connected() as (server, manager, _):
        ending = asyncio.get_running_loop().create_task(manager.asgi.shutdown())
        assert (await server.next())["code"] == 1001
        assert v1_device(manager, "late").close_code() == 1001
        server.disconnect(1001)
        await ending
        assert v1_device(manager, "later").connection.is_open
        await server.end()


async def test_a_task_that_is_taken_away() -> None:
    async with connected() as (server, _, echo):
        server.task.cancel()
        assert (await server.next())["code"] == 1001
        await until(lambda: echo.seen[1:] == ["-d server_shutdown"])
        assert server.task.cancelled()


async def test_remove() -> None:
    async with connected() as (server, manager, echo):
        manager.remove("d")
        assert await server.next() == {"type": "websocket.close", "code": 1000, "reason": "removed"}
        server.disconnect(1000)
        await server.end()
        await until(lambda: echo.seen[1:] == ["-d removed"])


async def test_a_receive_that_raises() -> None:
    async with connected() as (server, _, echo):
        server.say({})
        await server.end()
        await until(lambda: echo.seen[1:] == ["-d transport_closed"])


# Paths.


@pytest.mark.parametrize(
    ("path", "root"),
    [("/iot.io", ""), ("/iot.io/", ""), ("/a/iot.io", "/a"), ("/iot.io", "/a"), ("/a/b/iot.io", "/a/b")],
)
async def test_the_path_of_devices(path: str, root: str) -> None:
    manager, _ = make()
    server = Server(manager, v1_headers("d", "echo"), path, root)
    assert await server.next() == {"type": "websocket.accept"}
    server.disconnect(1000)
    await server.end()
    await manager.asgi.shutdown()


@pytest.mark.parametrize(("path", "root"), [("/iot.iox", ""), ("/", ""), ("/a/iot.io", ""), ("/aiot.io", "/a")])
async def test_other_paths_are_the_applications(path: str, root: str) -> None:
    manager, _ = make()
    server = Server(manager, v1_headers("d", "echo"), path, root)
    assert (await server.next())["type"] == "websocket.close"
    await server.end()


# ASGI applications.


async def chat(websocket: WebSocket) -> None:
    """A WebSocket of the application's own."""
    await websocket.accept()
    await websocket.send_text("hello " + await websocket.receive_text())
    await websocket.close(4001)


async def page(request: Any) -> PlainTextResponse:
    return PlainTextResponse("page")


def make_starlette(seen: list[str]) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        seen.append("begins")
        yield
        seen.append("ends")

    return Starlette(routes=[Route("/page", page), WebSocketRoute("/chat", chat)], lifespan=lifespan)


def check_whole(port: int) -> None:
    """Devices, pages and WebSockets of the application."""
    with RawPeer("127.0.0.1", port) as device, RawPeer("127.0.0.1", port) as talker, RawPeer("127.0.0.1", port) as web:
        assert device.upgrade(headers=v1_headers("d", "echo")).status == 101
        assert talker.upgrade("/chat").status == 101
        talker.send_text("you")
        answer = talker.expect_frame()
        assert (answer.opcode, answer.payload) == (Opcode.TEXT, b"hello you")
        assert talker.expect_frame().close_code == 4001
        for path, status in (("/page", 200), ("/iot.io", 426), ("/nothing", 404)):
            web.send_bytes(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert web.recv_response().status == status
        device.send_binary(v1.encode("same", "x"))
        assert v1.decode(device.expect_frame().payload) == ("same", "x")
        device.send_close(1000)
        assert device.expect_frame().close_code == 1000


def test_an_asgi_application_under_the_native_server() -> None:
    seen: list[str] = []
    manager, echo = make(make_starlette(seen))
    echo.seen = seen
    port = manager.start()
    try:
        check_whole(port)
        eventually(lambda: "-d client_close" in seen)
        with RawPeer("127.0.0.1", port) as last:
            assert last.upgrade(headers=v1_headers("last", "echo")).status == 101
            stopping = threading.Thread(target=manager.stop)
            stopping.start()
            assert last.expect_frame().close_code == 1001
            last.send_close(1001)
            stopping.join(10)
    finally:
        manager.stop()
    assert seen == ["begins", "+d", "-d client_close", "+last", "-last server_shutdown", "ends"]


@pytest.mark.parametrize("ws", ["websockets-sansio", "wsproto"])
def test_an_asgi_application_in_a_foreign_server(ws: str) -> None:
    seen: list[str] = []
    manager, echo = make(make_starlette(seen))
    echo.seen = seen
    with UvicornThread(manager.asgi, ws=ws) as server:
        check_whole(server.port)
    assert seen == ["begins", "+d", "-d client_close", "ends"]


def test_without_lifespan_and_again_on_another_loop() -> None:
    manager, echo = make()
    for _ in range(2):
        with UvicornThread(manager.asgi, lifespan="off") as server, RawPeer("127.0.0.1", server.port) as peer:
            assert peer.upgrade(headers=v1_headers("d", "echo")).status == 101
            peer.send_binary(v1.encode("same", "x"))
            assert v1.decode(peer.expect_frame().payload) == ("same", "x")
            peer.close()
    assert echo.seen.count("+d") == 2


# What is refused.


def test_wrong_applications() -> None:
    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        return []

    for wrong, words in ((wsgi, "a WSGI application"), (None, "of type NoneType"), (Starlette, "call it first")):
        with pytest.raises(ValueError, match=words):
            IoTManager(wrong)  # type: ignore[arg-type]  # that is the point


def test_what_only_flask_has() -> None:
    with pytest.raises(ValueError, match="endpoint_api serves Flask applications"):
        IoTManager(Starlette(), endpoint_api=True)
    with pytest.raises(ValueError, match="request_context is Flask's"):
        IoTManager(Starlette()).asgi_app(request_context=True)
    with pytest.raises(RuntimeError, match="no application yet"):
        _ = IoTManager().asgi
