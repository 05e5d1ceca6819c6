"""Serve devices in a foreign ASGI server: at `/iot.io` over its WebSockets, everything else by the application.

The server frames, answers pings and keeps the connection alive. All that is about devices is the native host's:
an `AsgiTransport` stands for its socket, and turns what the session writes into events of ASGI.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from websockets.datastructures import Headers
from websockets.http11 import Response

from iotio_protocol.reasons import DisconnectReason
from iotio_protocol.v2 import SUBPROTOCOL

from ...core.connection import Scope
from ...core.manager import Manager
from ...core.waiting import wait_on_loop
from ..announce import announce, place_of
from ..forks import serves_at
from ..native.connection import NativeConnection
from ..native.host import NativeHost
from ..native.options import THREADS
from ..proxies import TrustedProxies
from ..timing import SHUTDOWN_GRACE
from ..upgrade import NO_UPGRADE, PATH, PATHS, UpgradeRequest, turn_away
from .lifespan import ends_before
from .transport import AsgiTransport
from .types import ASGIApp, AsgiScope, Receive, Send

if TYPE_CHECKING:
    from ..native.server import NativeServer

__all__ = ["DeviceMount", "devices_alone", "native_server"]

_NOTHING_HERE = f"There is nothing here: this server has devices only, at the WebSocket path {PATH}.\n"

ScopeOf: TypeAlias = Callable[[UpgradeRequest, str, str], "Scope | None"]
"""Returns the scope of a device's handlers, from its upgrade request, its address and the application's prefix."""


class DeviceMount:
    """Serve devices and an application as one ASGI application, which is `IoTManager.asgi`.

    Args:
        manager: the manager whose devices are served.
        app: the ASGI application for all other paths.
        scope_of: see `ScopeOf`.
        threads: threads for `def` handlers, at most.
        slow_handler: seconds after which a handler that still runs is named in the log.
        on_first_device: called on a loop's thread when the first device of that loop comes.
    """

    def __init__(
        self,
        manager: Manager,
        app: ASGIApp,
        *,
        scope_of: ScopeOf,
        threads: int = THREADS,
        slow_handler: float = 1.0,
        on_first_device: Callable[[], None] = lambda: None,
    ) -> None:
        self.manager = manager
        self._scope_of = scope_of
        self._threads = threads
        self._slow_handler = slow_handler
        self._hosts: dict[asyncio.AbstractEventLoop, NativeHost] = {}
        self._on_first_device = on_first_device
        self._joined: set[NativeHost] = set()  # those that have had a device
        self._serve = TrustedProxies(manager.options.trusted_proxies).before(self._route)
        self._announced = False
        self._rest = _tell_browsers(ends_before(app, self.shutdown))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.manager!r}>"

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        await self._serve(scope, receive, send)

    async def _route(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if not self._announced and scope["type"] in ("http", "websocket"):
            self._announced = True
            announce(self.manager, [_place(scope)], "an ASGI server")
        if self.manager.background.waits_for_begin and not self.manager._disowned:
            self._host()
            await wait_on_loop(self.manager.background.begin(), None)
        if scope["type"] == "websocket" and _path(scope) in PATHS:
            await self._serve_device(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    async def _serve_device(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        headers, peer = list(_decoded(scope["headers"])), _peer(scope)
        refusal = turn_away(self.manager, headers, peer)
        if refusal is not None:
            await _refuse(scope, send, refusal)
            return
        offered = list(scope.get("subprotocols", ()))
        subprotocol = SUBPROTOCOL if SUBPROTOCOL in offered else None
        with contextlib.suppress(OSError):  # uvicorn's way to say that the device has gone already
            await send({"type": "websocket.accept", **({"subprotocol": subprotocol} if subprotocol else {})})
        if offered and not any(name.lower() == "sec-websocket-protocol" for name, _ in headers):
            headers.append(("Sec-WebSocket-Protocol", ", ".join(offered)))  # uvicorn with wsproto has taken it out
        serves_at(_own_name(scope))
        root = str(scope.get("root_path", ""))
        transport = AsgiTransport(receive, send)
        wanted = self._scope_of(_request(scope, headers), peer, root)
        host = self._host()
        if host not in self._joined:
            self._joined.add(host)
            self._on_first_device()
        connection = NativeConnection(
            host, headers, transport, peer=peer, scope=wanted, subprotocol=subprotocol, keeps_alive=False
        )
        await transport.serve(connection)

    def _host(self) -> NativeHost:
        """Get or create the host of the running event loop, and end those whose loop is closed.

        A server may run several loops, one after the other or at once.
        """
        loop = asyncio.get_running_loop()
        host = self._hosts.get(loop)
        if host is None:
            for other in [one for one in list(self._hosts) if one.is_closed()]:
                self._let_go(self._hosts.pop(other))
            host = NativeHost(self.manager, threads=self._threads, slow_handler=self._slow_handler)
            self._hosts[loop] = host
        return host

    def _let_go(self, host: NativeHost) -> None:
        self._joined.discard(host)
        host.close()

    async def shutdown(self) -> None:
        """Close the connections of this loop, run every `on_disconnect`, finish what runs, within a deadline."""
        loop = asyncio.get_running_loop()
        host = self._hosts.pop(loop, None)
        if host is None:
            return
        self.manager.connections.begin_shutdown()
        deadline = loop.time() + SHUTDOWN_GRACE
        try:
            for connection in self._devices_of(host):
                connection.close(DisconnectReason.SERVER_SHUTDOWN)
            while self._devices_of(host) and loop.time() < deadline:
                await asyncio.sleep(0.02)
            if not self._hosts:  # the last of several loops
                await host.end_work(max(deadline - loop.time(), 0))
        finally:
            self._let_go(host)
            self.manager.connections.end_shutdown()

    def _devices_of(self, host: NativeHost) -> list[NativeConnection]:
        connections = self.manager.connections.all()
        return [one for one in connections if isinstance(one, NativeConnection) and one.host is host]


async def devices_alone(scope: AsgiScope, receive: Receive, send: Send) -> None:
    """Answer all requests but those of devices with 404, in the place of an application; an ASGI application."""
    if scope["type"] == "http":
        await _answer(scope, send, 404, _NOTHING_HERE)
    elif scope["type"] == "websocket":
        await receive()  # websocket.connect
        body = _NOTHING_HERE.encode()
        headers = Headers({"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))})
        await _refuse(scope, send, Response(404, "Not Found", headers, body))


def native_server(manager: Manager, app: ASGIApp, *, scope_of: ScopeOf, **options: Any) -> NativeServer:
    """Make the native server with an ASGI application, whose own WebSockets are uvicorn's business.

    Args:
        manager: the manager whose devices are served.
        app: the application; its lifespan ends after the connections of all devices, and `on_stop`. `devices_alone` has
            no WebSockets.
        scope_of: see `ScopeOf`.
        options: for `NativeServer`.
    """
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    from ..native.server import NativeServer

    async def shutdown() -> None:
        deadline = manager.clock() + SHUTDOWN_GRACE
        await server.wait_for_teardowns(deadline)
        await server.native.end_work(max(deadline - manager.clock(), 0))

    whole = _tell_browsers(ends_before(app, shutdown))
    server = NativeServer(
        manager,
        whole,
        scope_of=lambda request, peer: scope_of(request, peer, ""),
        other_websockets=None if app is devices_alone else WebSocketsSansIOProtocol,
        **options,
    )
    return server


def _tell_browsers(app: ASGIApp) -> ASGIApp:
    """Wrap an application: HTTP requests to the path of devices are told what is there."""

    async def told(scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _path(scope) not in PATHS:
            await app(scope, receive, send)
            return
        await _answer(scope, send, 426, NO_UPGRADE, (b"upgrade", b"websocket"))

    return told


async def _answer(scope: AsgiScope, send: Send, status: int, text: str, *more: tuple[bytes, bytes]) -> None:
    """Answer an HTTP request with a text."""
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _path(scope: AsgiScope) -> str:
    """Return the path within the application, without `root_path`, its prefix; older servers have cut that off."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    if root and path.startswith(root) and path[len(root) :][:1] in ("", "/"):
        return path[len(root) :]
    return path


async def _refuse(scope: AsgiScope, send: Send, answer: Response) -> None:
    """Answer a request for a WebSocket; a server that lacks the extension for that says 403 in its place."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    wanted = ("content-type", "content-length")  # the connection is the server's business
    headers = [(name.encode(), answer.headers[name].encode()) for name in wanted]
    with contextlib.suppress(OSError):  # as above
        await send({"type": "websocket.http.response.start", "status": answer.status_code, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": answer.body or b""})


def _decoded(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[str, str]]:
    return ((bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in headers)


def _request(scope: AsgiScope, headers: list[tuple[str, str]]) -> UpgradeRequest:
    query = bytes(scope.get("query_string", b"")).decode("latin-1")
    scheme = "https" if scope.get("scheme") in ("wss", "https") else "http"
    return UpgradeRequest(f"{_path(scope)}?{query}" if query else _path(scope), headers, scheme)


def _own_name(scope: AsgiScope) -> Any:
    """Return where the server listens, as `getsockname` does; None if it does not say."""
    server = scope.get("server")
    if not server:
        return None
    return server[0] if server[1] is None else tuple(server)


def _place(scope: AsgiScope) -> str:
    name = _own_name(scope)
    if not isinstance(name, tuple):
        return "an address that it does not tell" if name is None else f"the Unix socket {name}"
    host, port = name
    scheme = "https" if scope.get("scheme") in ("wss", "https") else "http"
    return place_of(scheme, host, port)


def _peer(scope: AsgiScope) -> str:
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if client else "?"
