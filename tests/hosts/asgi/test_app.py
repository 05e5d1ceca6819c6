"""Devices and an application as one ASGI application, and ASGI applications under the native server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from iotio import IoTManager
from iotio_protocol import v1
from tests.support.asgi import AsgiServer, Echo, UvicornThread, connected, make_manager
from tests.support.hosts import eventually
from tests.support.memory import v1_device
from tests.support.wire import Opcode, RawPeer, v1_headers


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


# Paths.


@pytest.mark.parametrize(
    ("path", "root"),
    [("/iot.io", ""), ("/iot.io/", ""), ("/a/iot.io", "/a"), ("/iot.io", "/a"), ("/a/b/iot.io", "/a/b")],
)
async def test_the_path_of_devices(path: str, root: str) -> None:
    manager, _ = make_manager()
    server = AsgiServer(manager, v1_headers("d", "echo"), path, root)
    assert await server.next() == {"type": "websocket.accept"}
    server.disconnect(1000)
    await server.end()
    await manager.asgi.shutdown()


@pytest.mark.parametrize(("path", "root"), [("/iot.iox", ""), ("/", ""), ("/a/iot.io", ""), ("/aiot.io", "/a")])
async def test_other_paths_are_the_applications(path: str, root: str) -> None:
    manager, _ = make_manager()
    server = AsgiServer(manager, v1_headers("d", "echo"), path, root)
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
    manager, echo = make_manager(make_starlette(seen))
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
    manager, echo = make_manager(make_starlette(seen))
    echo.seen = seen
    with UvicornThread(manager.asgi, ws=ws) as server:
        check_whole(server.port)
    assert seen == ["begins", "+d", "-d client_close", "ends"]


def test_without_lifespan_and_again_on_another_loop() -> None:
    manager, echo = make_manager()
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


@pytest.mark.parametrize("ws", ["websockets-sansio", "wsproto"])
def test_devices_alone_in_a_foreign_server(ws: str) -> None:
    manager = IoTManager()
    manager.add_type(Echo())
    words = "There is nothing here: this server has devices only, at the WebSocket path /iot.io.\n"
    with UvicornThread(manager.asgi, ws=ws) as server:
        with RawPeer("127.0.0.1", server.port) as peer:
            assert peer.upgrade(headers=v1_headers("d", "echo")).status == 101
            peer.send_binary(v1.encode("same", "x"))
            assert v1.decode(peer.expect_frame().payload) == ("same", "x")
        with RawPeer("127.0.0.1", server.port) as lost:
            assert lost.upgrade("/devices", headers=v1_headers("d", "echo")).status == 404
        answer = httpx.get(f"http://127.0.0.1:{server.port}/", trust_env=False)
        assert (answer.status_code, answer.text) == (404, words)
