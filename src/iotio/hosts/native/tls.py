"""Have TLS shake hands on a new connection, which already holds a place, and can be dropped.

`loop.create_server(ssl=...)` would tell of a connection only behind the handshake: until then nobody could count it, or
end it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

from .acceptor import peer_of
from .protocols import DeviceServer, FirstReadProtocol

__all__ = ["TlsProtocol"]

_HANDSHAKE = 10.0  # seconds for it


class TlsProtocol(asyncio.Protocol):
    """Begin a connection with TLS: shake hands, then leave it to its first protocol.

    Args:
        server: the native server.
        context: of TLS.
        connections: the protocols that uvicorn shuts down.
        make_protocol: makes the protocol that is told of the connection, and gets its first bytes.
    """

    def __init__(
        self,
        server: DeviceServer,
        context: ssl.SSLContext,
        connections: set[Any],
        make_protocol: Callable[[], FirstReadProtocol],
    ) -> None:
        self._server = server
        self._context = context
        self._connections = connections
        self._make_protocol = make_protocol
        self._received: list[bytes] = []  # before the handshake, then behind it, as the task is not told at once
        self._secure: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, and begin the handshake."""
        self._raw = cast(asyncio.Transport, transport)
        peer, server = peer_of(transport), self._server
        if server.acceptor.accepted(self, self._raw, peer, server.proxies.share_of(peer), self.shutdown):
            self._connections.add(self)
            self._raw.pause_reading()  # uvloop begins to read all the same
            self._task = server.native.loop.create_task(self._shake_hands())

    def data_received(self, data: bytes) -> None:
        self._received.append(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._leave()
        if self._secure is not None:  # it was lost while it was handed over
            current = cast(asyncio.Protocol, self._secure.get_protocol())
            if current is not self:
                current.connection_lost(error)

    def shutdown(self) -> None:
        """Abort the handshake: another gets the place, or uvicorn is going down."""
        self._raw.abort()

    async def _shake_hands(self) -> None:
        raw = self._raw
        if raw.is_closing():
            return
        raw.pause_reading()
        if self._received:
            self._server.native.loop.call_soon(self._pass_on)  # before TLS begins, and anything more is read
        try:
            secure = await self._start_tls()
            if secure is not None and not raw.is_closing():  # else it was aborted meanwhile, which no error tells
                self._hand_over(secure)
                return
        finally:
            self._leave()
        raw.abort()

    async def _start_tls(self) -> asyncio.Transport | None:
        """Return the transport to go on with; None if the peer has gone, takes too long, or speaks something else."""
        try:
            return await self._server.native.loop.start_tls(
                self._raw, self, self._context, server_side=True, ssl_handshake_timeout=_HANDSHAKE
            )
        except OSError:
            return None

    def _pass_on(self) -> None:
        """Give TLS what has been read before it was there."""
        data = memoryview(b"".join(self._received))
        self._received = []
        tls = cast(asyncio.BufferedProtocol, self._raw.get_protocol())
        while data:
            room = cast(memoryview, tls.get_buffer(len(data)))
            size = min(len(room), len(data))
            room[:size] = data[:size]
            tls.buffer_updated(size)
            data = data[size:]

    def _hand_over(self, secure: asyncio.Transport) -> None:
        self._secure = secure
        protocol = self._make_protocol()
        protocol.handshake = self
        secure.set_protocol(protocol)
        protocol.connection_made(secure)
        if self._received and not secure.is_closing():
            protocol.data_received(b"".join(self._received))

    def _leave(self) -> None:
        self._connections.discard(self)
        self._server.native.manager.connections.pending.leave(self)
