"""Foreign ASGI servers: uvicorn in a thread, and one whose events a test decides."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self

import flask
import uvicorn

from iotio import DeviceType, IoTClient, IoTManager, Options
from iotio_protocol import v1
from iotio_protocol.reasons import DisconnectReason
from tests.support.processes import START_SECONDS
from tests.support.wire import v1_headers

__all__ = ["AsgiServer", "Echo", "UvicornThread", "connected", "make_manager", "until"]

TIMEOUT = 5.0


class UvicornThread:
    """A running uvicorn on a free port; a context manager.

    Args:
        app: what it serves.
        options: for `uvicorn.Config`.
    """

    def __init__(self, app: Any, **options: Any) -> None:
        settings: dict[str, Any] = {"port": 0, "log_config": None, "access_log": False, **options}
        self._server = uvicorn.Server(uvicorn.Config(app, h11_max_incomplete_event_size=256 * 1024, **settings))
        self._thread = threading.Thread(target=self._server.run, name="uvicorn", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._server.started:
            assert self._thread.is_alive(), "uvicorn could not start"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        self.port: int = self._server.servers[0].sockets[0].getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it in order."""
        self._server.should_exit = True
        self._thread.join(15)
        assert not self._thread.is_alive()


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


def make_manager(app: Any = None, **options: Any) -> tuple[IoTManager, Echo]:
    settings = {"refusal_delay": 0.05, "close_timeout": 0.3, **options}
    manager = IoTManager(app or flask.Flask("asgi"), options=Options(**settings))
    manager.add_type(echo := Echo())
    return manager, echo


class AsgiServer:
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
async def connected(client_id: str = "d", **options: Any) -> AsyncIterator[tuple[AsgiServer, IoTManager, Echo]]:
    manager, echo = make_manager(**options)
    server = AsgiServer(manager, v1_headers(client_id, "echo"))
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
