"""What serves one connection of the native server, from its first bytes on: uvicorn's protocol, or a device's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, cast

import uvicorn

from iotio_protocol.log_throttle import LogThrottle
from iotio_protocol.reasons import DisconnectReason

from ...core.connection import Scope
from ..proxies import TrustedProxies
from ..upgrade import PATHS, UpgradeRequest, agreed, judge, read_again, read_usual, turn_away
from . import http
from .acceptor import Acceptor, peer_of
from .connection import NativeConnection
from .host import NativeHost
from .http_places import HttpPlaces

__all__ = ["DeviceServer", "FirstReadProtocol", "UpgradeProtocol"]


_NO_SUCH_PATH = (  # with the header that tells a device of ours that no proxy says so
    b"HTTP/1.1 404 Not Found\r\niotio-error: no_such_path\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)
_PROXY_PROTOCOL = (b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n")  # how its versions 1 and 2 begin


class DeviceServer(Protocol):
    """What the protocols need of their server.

    Attributes:
        other_websockets: uvicorn's WebSocket protocol class for other paths than devices have, or None for none.
        proxies: those that are believed.
        access_log: takes a line for each HTTP request, or None.
    """

    access_log: LogThrottle | None
    other_websockets: Callable[..., Any] | None
    proxies: TrustedProxies

    @property
    def native(self) -> NativeHost:
        """Return the host of the running loop."""

    @property
    def acceptor(self) -> Acceptor:
        """Return what accepts the connections."""

    @property
    def http_places(self) -> HttpPlaces:
        """Return the places for HTTP connections."""

    def scope_of(self, request: UpgradeRequest, peer: str, /) -> Scope | None:
        """Return the scope of a device's handlers, from its upgrade request and its address."""


class _Protocol(asyncio.Protocol):
    """Keep what uvicorn gives a protocol that it makes.

    Args:
        server: the native server.
        config: uvicorn's arguments for its protocols.
        server_state: uvicorn's; uvicorn shuts down the protocols in its `connections`.
        app_state: uvicorn's.
    """

    def __init__(
        self, server: DeviceServer, config: uvicorn.Config, server_state: Any, app_state: Any, _loop: Any = None
    ) -> None:
        self._server = server
        self._config = config
        self._state = server_state
        self._app_state = app_state


class FirstReadProtocol(_Protocol):
    """Begin each connection: serve a device that asks as usual at once, and leave all else to uvicorn.

    Attributes:
        handshake: what has held the place of the connection so far, or None.
    """

    handshake: object | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._state.connections.add(self)
        native = self._server.native
        self._peer = peer_of(self._transport)
        self._since = native.loop.time()
        self._patience = native.loop.call_later(http.PATIENCE, self._drop)
        self._address = self._server.proxies.share_of(self._peer)
        self._pending = native.manager.connections.pending
        handshake, self.handshake = self.handshake, None
        if handshake is None or not self._pending.hand_over(handshake, self, self._drop):
            self._server.acceptor.accepted(self, self._transport, self._peer, self._address, self._drop)

    def _drop(self) -> None:
        """Abort the connection: a peer that never says what it wants must not hold it for ever."""
        if not self._transport.is_closing():
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Choose by the first bytes who serves the connection. Later data goes past this method."""
        server = self._server
        manager = server.native.manager
        self._leave()
        usual = read_usual(data)
        if usual is None and data.startswith(_PROXY_PROTOCOL):
            self._refuse_proxy_protocol()
            return
        if usual is None or usual[2] > http.MAX_HEAD or len(usual[0].headers) > http.MAX_LINES:
            protocol: Any = http.HttpProtocol(config=self._config, server_state=self._state, app_state=self._app_state)
            protocol.begin(
                self._transport,
                data,
                address=self._address,
                since=self._since,
                places=server.http_places,
                log=manager.log_throttle,
                access_log=server.access_log,
            )
            return
        request, answer, size = usual
        upgrade = UpgradeProtocol(server, self._config, self._state, self._app_state)
        upgrade.connection_made(self._transport)
        upgrade.serve(*upgrade.seen(request.path, request.headers, self._peer), answer)
        if size != len(data):
            upgrade.data_received(data[size:])

    def _refuse_proxy_protocol(self) -> None:
        """End the connection. What the line claims could be anybody's, and no request is read behind it."""
        self._server.native.manager.log_throttle.warning(
            "proxy protocol",
            "the proxy at %s speaks the PROXY protocol, which is not spoken here: take send-proxy (HAProxy),"
            " proxy_protocol (nginx, Caddy) out of its configuration, and have it say X-Forwarded-For to"
            " Options(trusted_proxies=)",
            self._peer,
        )
        self._transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._leave()

    def shutdown(self) -> None:
        """Close the connection, as uvicorn is going down."""
        self._transport.close()

    def _leave(self) -> None:
        """Give up the place: the connection has ended, or is another protocol's."""
        self._patience.cancel()
        self._state.connections.discard(self)
        self._pending.leave(self)


class UpgradeProtocol(_Protocol):
    """Choose by the path of a WebSocket upgrade who serves it, and pass everything on to that."""

    _transport: asyncio.Transport | None = None
    _connection: NativeConnection | None = None
    _other: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._state.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Take the upgrade request, which uvicorn has read whole and repeats. Later data goes past this method."""
        assert self._transport is not None
        request = read_again(data)
        if request.path.partition("?")[0] not in PATHS:
            self._pass_on(data)
            return
        response = judge(request)
        wanted, peer = self.seen(request.path, list(request.headers.raw_items()), peer_of(self._transport))
        if response.status_code == 101:
            response = turn_away(self._server.native.manager, wanted.headers, peer) or response
        if response.status_code == 101:
            self.serve(wanted, peer, response.serialize())
        else:
            self._transport.write(response.serialize())
            self._transport.close()

    def seen(self, path: str, headers: list[tuple[str, str]], peer: str) -> tuple[UpgradeRequest, str]:
        """Return a request and its sender's address, as they were before a trusted proxy.

        Args:
            path: with the query.
            headers: of the request.
            peer: the other end's address.
        """
        scheme = "http" if self._config.ssl is None else "https"
        peer, scheme, headers = self._server.proxies.device(peer, scheme, headers)
        return UpgradeRequest(path, headers, scheme), peer

    def serve(self, request: UpgradeRequest, peer: str, answer: bytes) -> None:
        """Answer the upgrade request of a device, and begin its connection."""
        assert self._transport is not None
        self._transport.write(answer)
        connection = NativeConnection(
            self._server.native,
            request.headers,
            self._transport,
            peer=peer,
            scope=self._server.scope_of(request, peer),
            subprotocol=agreed(answer),
        )
        self._connection = connection
        self.data_received = connection.received  # type: ignore[method-assign]  # a hot path without a detour
        self._transport.set_protocol(self)  # now: what is sent from here on may be more than the transport likes
        connection.start()
        connection.flush()

    def _pass_on(self, data: bytes) -> None:
        """Let uvicorn serve the upgrade: at another path an ASGI application may have a WebSocket."""
        assert self._transport is not None
        other_class = self._server.other_websockets
        if other_class is None:
            self._transport.write(_NO_SUCH_PATH)
            self._transport.close()
            return
        self._state.connections.discard(self)
        self._other = other_class(config=self._config, server_state=self._state, app_state=self._app_state)
        self._other.connection_made(self._transport)
        self._other.data_received(data)
        self.data_received = self._other.data_received  # type: ignore[method-assign]  # as above

    def eof_received(self) -> bool | None:
        if self._other is not None:
            return cast("bool | None", self._other.eof_received())
        if self._connection is None:
            return None
        self._connection.stream_ended()
        assert self._transport is not None
        return self._transport.can_write_eof()  # handlers that run may still answer; TLS has no half-closed stream

    def connection_lost(self, error: Exception | None) -> None:
        self._state.connections.discard(self)
        if self._other is not None:
            self._other.connection_lost(error)
        elif self._connection is not None:
            self._connection.ended()

    def pause_writing(self) -> None:
        target = self._other or self._connection
        if target is not None:
            target.pause_writing()

    def resume_writing(self) -> None:
        target = self._other or self._connection
        if target is not None:
            target.resume_writing()

    def shutdown(self) -> None:
        """Close the device's connection, as uvicorn is going down."""
        if self._connection is not None:
            self._connection.close(DisconnectReason.SERVER_SHUTDOWN)
