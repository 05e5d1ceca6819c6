"""A server on the loop of a program, or for the time of a block."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any

import pytest
from starlette.applications import Starlette

from iotio import DeviceType, IoTClient, IoTManager
from iotio_protocol import v1
from tests.support.hosts import FAST
from tests.support.processes import free_port
from tests.support.wire import RawPeer, v1_headers


class Where(DeviceType):
    """Answers with the name of the thread, and keeps why devices went."""

    def __init__(self) -> None:
        super().__init__("where")
        self.gone: list[str] = []
        self.come = asyncio.Event()

    async def on_connect(self, client: IoTClient) -> None:
        self.come.set()

    async def on_thread(self, message: Any, client: IoTClient) -> Any:
        return threading.current_thread().name

    def on_disconnect(self, client: IoTClient, reason: str) -> None:
        self.gone.append(str(reason))


def make_manager() -> tuple[IoTManager, Where]:
    manager = IoTManager(options=FAST)
    manager.add_type(where := Where())
    return manager, where


def ask(port: int) -> str:
    """The thread in which handlers run."""
    with RawPeer("127.0.0.1", port) as peer:
        assert peer.upgrade(headers=v1_headers("d", "where")).status == 101
        peer.send_binary(v1.encode("thread", ""))
        return str(v1.decode(peer.expect_frame().payload)[1])


def stay(port: int) -> int | None:
    """The code of the CLOSE frame that a device gets in the end."""
    with RawPeer("127.0.0.1", port) as peer:
        assert peer.upgrade(headers=v1_headers("d", "where")).status == 101
        code = peer.expect_frame().close_code
        peer.send_close(1001)
        return code


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_with_serves_in_a_thread() -> None:
    manager, _ = make_manager()
    with manager.started() as port:
        assert ask(port) == "iotio-server"
        with pytest.raises(RuntimeError, match="the server runs already"):
            manager.start()
    assert refuses(port)
    with manager.started() as port:
        assert ask(port) == "iotio-server", "it may be started again"


def test_a_block_that_fails_ends_the_server() -> None:
    manager, _ = make_manager()
    with pytest.raises(KeyError), manager.started() as port:
        raise KeyError
    assert refuses(port)


async def test_async_with_serves_on_the_loop_of_the_block() -> None:
    manager, where = make_manager()
    async with manager.started() as port:
        assert await asyncio.to_thread(ask, port) == "MainThread"
        where.come.clear()
        device = asyncio.create_task(asyncio.to_thread(stay, port))
        await where.come.wait()
    assert await device == 1001
    assert where.gone[-1] == "server_shutdown"
    assert refuses(port)
    assert manager.loops == []


async def test_serve_ends_in_order_when_it_is_cancelled() -> None:
    manager, where = make_manager()
    port = free_port()
    serving = asyncio.create_task(manager.serve("127.0.0.1", port))
    while refuses(port):
        await asyncio.sleep(0.01)
    device = asyncio.create_task(asyncio.to_thread(stay, port))
    await where.come.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert await device == 1001
    assert where.gone == ["server_shutdown"]
    assert refuses(port)
    assert manager.loops == []


async def test_a_second_cancellation_ends_it_at_once() -> None:
    manager, where = make_manager()
    port = free_port()
    serving = asyncio.create_task(manager.serve("127.0.0.1", port))
    while refuses(port):
        await asyncio.sleep(0.01)
    with RawPeer("127.0.0.1", port) as silent:
        await asyncio.to_thread(silent.upgrade, headers=v1_headers("d", "where"))
        await where.come.wait()
        serving.cancel()
        assert (await asyncio.to_thread(silent.expect_frame)).close_code == 1001
        assert not serving.done(), "the device has not answered"
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        with suppress(ConnectionResetError):
            assert await asyncio.to_thread(silent.recv_frame) is None, "its stream has ended"
    assert refuses(port)
    assert manager.loops == []


async def test_serve_says_what_is_wrong() -> None:
    manager, _ = make_manager()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"^port {port} is in use; choose another with port=$"):
            await manager.serve("127.0.0.1", port)
    with pytest.raises(
        RuntimeError,
        match=r"^manager\.run\(\) would block the event loop that runs in this thread:"
        r" write await manager\.serve\(\), or manager\.start\(\) to go on at once$",
    ):
        manager.run("127.0.0.1", port)


async def test_an_application_that_fails_at_its_start(caplog: pytest.LogCaptureFixture) -> None:
    def lifespan(app: Any) -> Any:
        raise KeyError("mine")

    manager = IoTManager(Starlette(lifespan=lifespan))
    with pytest.raises(RuntimeError, match="the application could not start; see the log"):
        await manager.serve("127.0.0.1", 0, lifespan="on")
    assert "mine" in caplog.text
    assert manager.loops == []
