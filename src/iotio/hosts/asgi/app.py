"""Devices in a foreign ASGI server: at `/iot.io` over its WebSockets, everything else to the application.

The server frames, answers pings and keeps the connection alive. All that is about devices is the native host's:
a `Link` stands for its transport, and turns what the session writes into events of ASGI.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from iotio_protocol import v2
from iotio_protocol.frames import BINARY, CLOSE, TEXT
from iotio_protocol.reasons import DisconnectReason
from iotio_protocol.session import State
from iotio_protocol.v2 import SUBPROTOCOL

from ...core.connection import Scope
from ...core.manager import Manager
from ..blocking.wsgi import NO_UPGRADE
from ..native.connection import NativeConnection
from ..native.host import NativeHost
from ..upgrade import PATHS, UpgradeRequest
from .lifespan import ends_before
from .messages import client_frame, server_frames
from .types import ASGIApp, AsgiScope, Receive, Send

if TYPE_CHECKING:
    from ..native.server import NativeServer

__all__ = ["AsgiConnection", "DeviceMount", "Link", "native_server"]

logger = logging.getLogger("iotio.hosts")

ScopeOf: TypeAlias = Callable[[UpgradeRequest, str, str], "Scope | None"]
"""From an upgrade request, the peer's address and the prefix of the application to the scope of its handlers."""

_GRACE = 5.0  # seconds that devices and handlers get at shutdown, as on the native server
_HIGH = 64 * 1024  # bytes that wait for the server before its slowness counts, as in asyncio's transports
_LOW = 16 * 1024
_NO_STATUS, _ABNORMAL, _SERVICE_RESTART = 1005, 1006, 1012  # RFC 6455, 7.4.1, and IANA's registry
_LAST_WORD = 1.0  # seconds for a CLOSE event in a task that was cancelled
_SILENT = 2.0  # seconds in which a server that can no longer send has said so on the reading side too

_REASONS = {
    None: DisconnectReason.TRANSPORT_CLOSED,
    _NO_STATUS: DisconnectReason.TRANSPORT_CLOSED,
    _ABNORMAL: DisconnectReason.TRANSPORT_CLOSED,
    _SERVICE_RESTART: DisconnectReason.SERVER_SHUTDOWN,  # what uvicorn says while it goes down
    1002: DisconnectReason.PROTOCOL_ERROR,  # the server's own findings come in this way
    1007: DisconnectReason.PROTOCOL_ERROR,
    1009: DisconnectReason.PROTOCOL_ERROR,
}


class AsgiConnection(NativeConnection):
    """A device's connection whose frames are a foreign server's business.

    That server keeps it alive, too: an ASGI application can send no PING, so silence says nothing here.
    """

    @property
    def deadline(self) -> float:
        return float("inf") if self._session.state is State.OPEN else super().deadline

    def tick(self, now: float) -> None:
        """See `Connection.tick`."""
        if self._session.state is not State.OPEN:
            super().tick(now)

    @property
    def host(self) -> NativeHost:
        """The loop's host."""
        return self._host

    def probe(self, upto: int) -> None:
        """See `Connection.probe`. No ping can be sent here: what the server has taken counts as read."""
        self._host.call_later(lambda: self.handle(v2.Ack(upto)))

    def disconnected(self, code: int | None) -> None:
        """The server says that the WebSocket is gone.

        Args:
            code: the close code, as the server has it; None if it said nothing.
        """
        reason = _REASONS.get(code, DisconnectReason.CLIENT_CLOSE)
        if reason is DisconnectReason.SERVER_SHUTDOWN:
            self.close(reason)
        else:
            with self._lock:
                self._let_go(reason)
        self.ended()


class Link(asyncio.Transport):
    """What an `AsgiConnection` takes for its transport. Lives on the loop's thread.

    Args:
        receive: the server's.
        send: the server's; it waits while the network is slow, so one task at a time calls it.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._receive = receive
        self._send = send
        self._connection: AsgiConnection | None = None
        self._waiting: deque[tuple[dict[str, Any], int]] = deque()
        self._size = 0  # bytes in it, and in the event that is being sent
        self._slow = False  # the connection was told that too much waits
        self._writer: asyncio.Task[None] | None = None
        self._said_close = False  # nothing may be sent behind it
        self._closing = False
        self._broken = False  # the server takes no more events
        self._silence: asyncio.TimerHandle | None = None
        self._readable = asyncio.Event()
        self._readable.set()
        self._code: int | None = None
        self._over = asyncio.Event()

    async def serve(self, connection: AsgiConnection) -> None:
        """Serve a device until its WebSocket is gone or we are done with it."""
        self._connection = connection
        reader = self._loop.create_task(self._read(connection))
        try:
            connection.start()
            connection.flush()
            await self._over.wait()
        except asyncio.CancelledError:
            self._code = _SERVICE_RESTART  # the server takes its task away: it goes down
            await self._say_last(connection)
            raise
        finally:
            self._broken = True
            self._waiting.clear()
            for task in (reader, self._writer):
                if task is not None:
                    task.cancel()
            if self._silence is not None:
                self._silence.cancel()
            connection.disconnected(self._code)

    async def _say_last(self, connection: AsgiConnection) -> None:
        """Tell the device before its task goes, if the server still lets us."""
        connection.close(DisconnectReason.SERVER_SHUTDOWN)
        connection.flush()
        if self._writer is not None:
            await asyncio.wait({self._writer}, timeout=_LAST_WORD)

    async def _read(self, connection: AsgiConnection) -> None:
        try:
            while True:
                event = await self._receive()
                if event["type"] != "websocket.receive":
                    self._code = event.get("code", _NO_STATUS)
                    return
                message = event.get("bytes")
                connection.received(client_frame(event["text"] if message is None else message))
                await self._readable.wait()
        except Exception:
            logger.exception("device %r can no longer be read", connection.name)
        finally:
            self._over.set()

    # -- what the connection calls ---------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send whole frames; PINGs and PONGs are the server's business."""
        for opcode, payload in server_frames(bytes(data)):
            if self._said_close or self._broken:
                return
            if opcode == BINARY:
                event: dict[str, Any] = {"type": "websocket.send", "bytes": payload}
            elif opcode == TEXT:
                event = {"type": "websocket.send", "text": payload.decode()}
            elif opcode == CLOSE:
                self._said_close = True
                code, reason = int.from_bytes(payload[:2], "big"), payload[2:].decode()
                event = {"type": "websocket.close", "code": code, "reason": reason}
            else:
                continue
            self._waiting.append((event, len(payload)))
            self._size += len(payload)
        if self._waiting and self._writer is None:
            self._writer = self._loop.create_task(self._drain())
        if self._size > _HIGH and not self._slow and self._connection is not None:
            self._slow = True
            self._connection.pause_writing()

    async def _drain(self) -> None:
        try:
            while self._waiting:
                event, size = self._waiting.popleft()
                await self._send(event)
                self._size -= size
                if self._slow and self._size <= _LOW and self._connection is not None:
                    self._slow = False
                    self._connection.resume_writing()
        except Exception as error:  # each server has its own for a peer that is gone; the reading side tells why
            logger.debug("a device can no longer be sent to: %r", error)
            self._broken = True
            self._waiting.clear()
            self._silence = self._loop.call_later(_SILENT, self._over.set)
        finally:
            self._writer = None
            if self._closing:
                self._over.set()

    def get_write_buffer_size(self) -> int:
        """Bytes that the server has not taken."""
        return self._size

    def can_write_eof(self) -> bool:
        """Whether our end may be sent before the peer's: the CLOSE event is that."""
        return True

    def write_eof(self) -> None:
        """The session is over; its CLOSE has been written, the server's answer to it is awaited."""

    def close(self) -> None:
        """Be done once all that waits is sent."""
        self._closing = True
        if self._writer is None:
            self._over.set()

    def abort(self) -> None:
        """Be done now."""
        self._closing = True
        self._over.set()

    def is_closing(self) -> bool:
        """Whether it is done, or about to be."""
        return self._closing or self._broken

    def pause_reading(self) -> None:
        """Leave what comes to the server, which then leaves it to the network."""
        self._readable.clear()

    def resume_reading(self) -> None:
        """Read on."""
        self._readable.set()


class DeviceMount:
    """The ASGI application behind `IoTManager.asgi`.

    Args:
        manager: whose devices are served.
        app: the ASGI application for all other paths.
        scope_of: see `ScopeOf`.
        workers: threads for `def` handlers, at most.
        slow_handler: seconds after which a handler that still runs is named in the log.
        on_first_device: called on a loop's thread when the first device of that loop comes.
    """

    def __init__(
        self,
        manager: Manager,
        app: ASGIApp,
        *,
        scope_of: ScopeOf,
        workers: int = 32,
        slow_handler: float = 1.0,
        on_first_device: Callable[[], None] = lambda: None,
    ) -> None:
        self.manager = manager
        self._scope_of = scope_of
        self._worker_limit = workers
        self._slow_handler = slow_handler
        self._hosts: dict[asyncio.AbstractEventLoop, NativeHost] = {}
        self._on_first_device = on_first_device
        self._rest = _tell_browsers(ends_before(app, self.shutdown))

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and _path(scope) in PATHS:
            await self._serve_device(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    async def _serve_device(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        offered = list(scope.get("subprotocols", ()))
        subprotocol = SUBPROTOCOL if SUBPROTOCOL in offered else None
        with contextlib.suppress(OSError):  # uvicorn's way to say that the device has gone already
            await send({"type": "websocket.accept", **({"subprotocol": subprotocol} if subprotocol else {})})
        headers = list(_decoded(scope["headers"]))
        if offered and not any(name.lower() == "sec-websocket-protocol" for name, _ in headers):
            headers.append(("Sec-WebSocket-Protocol", ", ".join(offered)))  # uvicorn with wsproto has taken it out
        peer = _peer(scope)
        root = str(scope.get("root_path", ""))
        link = Link(receive, send)
        wanted = self._scope_of(_request(scope, headers), peer, root)
        connection = AsgiConnection(self._host(), headers, link, peer=peer, scope=wanted, subprotocol=subprotocol)
        await link.serve(connection)

    def _host(self) -> NativeHost:
        """The host of the running loop. A server may have several loops, one after the other or at once."""
        loop = asyncio.get_running_loop()
        host = self._hosts.get(loop)
        if host is None:
            for other in [one for one in list(self._hosts) if one.is_closed()]:
                self._hosts.pop(other).workers.close()
            host = NativeHost(self.manager, workers=self._worker_limit, slow_handler=self._slow_handler)
            self._hosts[loop] = host
            self._on_first_device()
        return host

    async def shutdown(self) -> None:
        """Tell the devices of this loop, run every `on_disconnect`, finish what runs, within a deadline."""
        loop = asyncio.get_running_loop()
        host = self._hosts.pop(loop, None)
        if host is None:
            return
        self.manager.connections.begin_shutdown()
        deadline = loop.time() + _GRACE
        try:
            for connection in self._devices_of(host):
                connection.close(DisconnectReason.SERVER_SHUTDOWN)
            while self._devices_of(host) and loop.time() < deadline:
                await asyncio.sleep(0.02)
        finally:
            host.close()
            self.manager.connections.end_shutdown()

    def _devices_of(self, host: NativeHost) -> list[AsgiConnection]:
        connections = self.manager.connections.all()
        return [one for one in connections if isinstance(one, AsgiConnection) and one.host is host]


def native_server(manager: Manager, app: ASGIApp, *, scope_of: ScopeOf, **options: Any) -> NativeServer:
    """The native server with an ASGI application, whose own WebSockets are uvicorn's business.

    Args:
        manager: whose devices are served.
        app: the application; it is told to end when all devices have.
        scope_of: see `ScopeOf`.
        options: for `NativeServer`.
    """
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    from ..native.server import NativeServer

    async def shutdown() -> None:
        await server.wait_for_teardowns(manager.clock() + _GRACE)

    whole = _tell_browsers(ends_before(app, shutdown))
    server = NativeServer(
        manager,
        whole,
        scope_of=lambda request, peer: scope_of(request, peer, ""),
        other_websockets=WebSocketsSansIOProtocol,
        **options,
    )
    return server


def _tell_browsers(app: ASGIApp) -> ASGIApp:
    """The application, less HTTP requests to the path of devices: they are told what is there."""

    async def told(scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _path(scope) not in PATHS:
            await app(scope, receive, send)
            return
        body = NO_UPGRADE.encode()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"upgrade", b"websocket"),
        ]
        await send({"type": "http.response.start", "status": 426, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return told


def _path(scope: AsgiScope) -> str:
    """The path within the application. `root_path` is where it is mounted; older servers have cut it off already."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    if root and path.startswith(root) and path[len(root) :][:1] in ("", "/"):
        return path[len(root) :]
    return path


def _decoded(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[str, str]]:
    return ((bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in headers)


def _request(scope: AsgiScope, headers: list[tuple[str, str]]) -> UpgradeRequest:
    query = bytes(scope.get("query_string", b"")).decode("latin-1")
    return UpgradeRequest(f"{_path(scope)}?{query}" if query else _path(scope), headers)


def _peer(scope: AsgiScope) -> str:
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if client else "?"
