"""One port for everything: uvicorn serves HTTP, and hands the upgrade of `/iot.io` to the native host.

Frames never pass through ASGI. uvicorn's own WebSocket protocol serves all other paths of an ASGI application.
"""

from __future__ import annotations

import _socket
import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from iotio_protocol.reasons import DisconnectReason

from ...core.connection import Scope
from ...core.manager import Manager
from ..keepalive import limit_silence
from ..listen import BACKLOG, CannotServe, address, check_files, listen
from ..upgrade import PATHS, UpgradeRequest, agreed, judge, read_again, read_usual
from .connection import NativeConnection
from .host import NativeHost

__all__ = ["NativeServer"]

logger = logging.getLogger("iotio.server")

_GRACE = 5.0  # seconds that devices, requests and handlers get at shutdown
HEAD_TIMEOUT = 30.0  # seconds that a connection gets for the head of its first request
_MAX_HEAD = 256 * 1024  # bytes of a request's head: devices declare all their endpoints in one header


class _Protocol(asyncio.Protocol):
    """A protocol of ours that uvicorn makes.

    Args:
        server: our server.
        config: uvicorn's arguments for its protocols.
        server_state: uvicorn's; it shuts down the connections in it.
        app_state: uvicorn's.
    """

    def __init__(
        self, server: NativeServer, config: uvicorn.Config, server_state: Any, app_state: Any, _loop: Any = None
    ) -> None:
        self._server = server
        self._config = config
        self._state = server_state
        self._app_state = app_state


class _Door(_Protocol):
    """Where each connection begins. A device that asks as usual is served at once, all else goes to uvicorn."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._state.connections.add(self)
        self._patience = self._server.native.loop.call_later(HEAD_TIMEOUT, self._lose_patience)

    def _lose_patience(self) -> None:
        """A peer that never finishes a request's head must not hold a connection for ever."""
        if not self._transport.is_closing():
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """The first bytes. Later data goes past this method."""
        self._state.connections.discard(self)
        usual = read_usual(data)
        if usual is None:
            http = _Http(config=self._config, server_state=self._state, app_state=self._app_state)
            http.patience = self._patience
            http.connection_made(self._transport)
            self._transport.set_protocol(http)
            http.data_received(data)
            return
        self._patience.cancel()
        request, answer, size = usual
        upgrade = _Upgrade(self._server, self._config, self._state, self._app_state)
        upgrade.connection_made(self._transport)
        upgrade.serve(request, answer)
        if size != len(data):
            upgrade.data_received(data[size:])

    def connection_lost(self, error: Exception | None) -> None:
        self._patience.cancel()
        self._state.connections.discard(self)

    def shutdown(self) -> None:
        """uvicorn is going down."""
        self._transport.close()


class _Http(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # one of two classes, chosen by what is installed
    """uvicorn's HTTP protocol, less one loss: it drops what came in one read with the upgrade request.

    Attributes:
        patience: what ends the connection if no request's head is finished.
    """

    patience: asyncio.TimerHandle
    _tail = b""

    def connection_lost(self, error: Exception | None) -> None:
        self.patience.cancel()
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        tail = self._tail
        self._tail = (tail + data)[-3:]
        super().data_received(data)
        successor = self.transport.get_protocol()
        if successor is not self or self.cycle is not None:
            self.patience.cancel()
        if isinstance(successor, _Upgrade):
            rest = (tail + data).partition(b"\r\n\r\n")[2]
            if rest:
                successor.data_received(rest)


class _Upgrade(_Protocol):
    """What is made for a WebSocket upgrade: finds out who is to serve it, and becomes that."""

    _transport: asyncio.Transport | None = None
    _connection: NativeConnection | None = None
    _other: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._state.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """The upgrade request, which uvicorn has read whole and repeats. Later data goes past this method."""
        assert self._transport is not None
        request = read_again(data)
        if request.path.partition("?")[0] not in PATHS:
            self._pass_on(data)
            return
        response = judge(request)
        if response.status_code == 101:
            self.serve(UpgradeRequest(request.path, list(request.headers.raw_items())), response.serialize())
        else:
            self._transport.write(response.serialize())
            self._transport.close()

    def serve(self, request: UpgradeRequest, answer: bytes) -> None:
        """Answer a device, and begin with it."""
        assert self._transport is not None
        self._transport.write(answer)
        peer = _peer(self._transport)
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
        """Another path, where an ASGI application may have a WebSocket."""
        assert self._transport is not None
        other_class = self._server.other_websockets
        if other_class is None:
            self._transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
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
        """uvicorn is going down."""
        if self._connection is not None:
            self._connection.close(DisconnectReason.SERVER_SHUTDOWN)


class NativeServer(uvicorn.Server):
    """The server behind `IoTManager.run`.

    Args:
        manager: whose devices are served.
        app: the ASGI application for all other paths.
        scope_of: from an upgrade request and the peer's address to the scope of its device's handlers.
        other_websockets: uvicorn's WebSocket protocol class for other paths, or None for none.
        workers: threads for `def` handlers, at most.
        slow_handler: seconds after which a handler that still runs is named in the log.
        options: for `uvicorn.Config`.
    """

    def __init__(
        self,
        manager: Manager,
        app: Any,
        *,
        scope_of: Callable[[UpgradeRequest, str], Scope | None],
        other_websockets: Callable[..., Any] | None = None,
        workers: int = 32,
        slow_handler: float = 1.0,
        **options: Any,
    ) -> None:
        self.manager = manager
        self.scope_of = scope_of
        self.other_websockets = other_websockets
        self._worker_limit = workers
        self._slow_handler = slow_handler
        self._native: NativeHost | None = None
        self._signalled = False
        self.ready = threading.Event()

        super().__init__(
            uvicorn.Config(
                app,
                http=cast(Any, partial(_Door, self)),
                ws=cast(Any, partial(_Upgrade, self)),
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=int(_GRACE),
                h11_max_incomplete_event_size=_MAX_HEAD,
                **{"backlog": BACKLOG, **options},
            )
        )

    def load(self) -> None:
        """Find out, before anything else, what cannot work.

        Raises:
            CannotServe: a certificate or its key cannot be used.
            RuntimeError: gevent has monkey-patched the program.
        """
        _refuse_patches()
        if not self.config.loaded:
            _load(self.config)

    def listen(self) -> list[socket.socket] | None:
        """The sockets that the options ask for, listening, to be given to `run`; None where uvicorn is given one.

        Raises:
            CannotServe: the port is in use, or something else of what `load` and `iotio.hosts.listen.listen` find.
            RuntimeError: gevent has monkey-patched the program.
        """
        self.load()
        config = self.config
        if config.fd is not None:
            return None
        sockets = listen(config.host, config.port, config.uds, backlog=config.backlog)
        for sock in sockets:
            logger.info("listening on %s", address(sock))
        return sockets

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the end, on these sockets or on what `listen` gives. uvicorn's `sys.exit` ends a thread only."""
        try:
            with self.capture_signals():  # also one that comes before the loop runs
                self.load()
                sockets = self.listen() if sockets is None else sockets
                super().run(sockets)
        except SystemExit:
            if threading.current_thread() is threading.main_thread():
                raise
        finally:
            for sock in sockets or ():
                sock.close()

    @property
    def native(self) -> NativeHost:
        """The host of the running loop."""
        assert self._native is not None
        return self._native

    @property
    def port(self) -> int:
        """The port that it listens on; for `port=0` the one that was found; 0 on a Unix socket."""
        name = self.servers[0].sockets[0].getsockname()
        return int(name[1]) if isinstance(name, tuple) else 0

    async def startup(self, sockets: Any = None) -> None:
        """Listen; then whoever waits for `ready` may connect."""
        self._native = NativeHost(self.manager, workers=self._worker_limit, slow_handler=self._slow_handler)
        await super().startup(sockets)
        for listening in self.servers:
            for sock in listening.sockets:
                with _plain(sock) as plain:
                    limit_silence(plain, *self.manager.types.all_options)
        self.ready.set()

    async def shutdown(self, sockets: Any = None) -> None:
        """Tell every device, run every `on_disconnect`, finish what runs, within a deadline."""
        self.manager.connections.begin_shutdown()
        deadline = self.manager.clock() + _GRACE
        try:
            await super().shutdown(sockets)
            await self.wait_for_teardowns(deadline)
        finally:
            self.native.close()
            self.manager.connections.end_shutdown()
            self.ready.clear()

    async def wait_for_teardowns(self, deadline: float) -> None:
        """Wait until the last device is gone, or the manager's clock says so."""
        while self.manager.connections.all() and not self.force_exit and self.manager.clock() < deadline:
            await asyncio.sleep(0.02)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The first signal ends the server in order and the program with 0, a second one at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: Any) -> None:
        if self._signalled:
            os._exit(128 + number)
        self._signalled = self.should_exit = True


def _refuse_patches() -> None:
    """Under gevent's patches worker threads are greenlets, and the loop would never let them run."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        raise RuntimeError(
            "gevent's monkey.patch_all() is in the way of this server:"
            " leave it out, or serve the program by gevent's pywsgi.WSGIServer"
        )


def _load(config: uvicorn.Config) -> None:
    """Load uvicorn's configuration; what may fail is the certificate."""
    files = {"ssl_certfile": config.ssl_certfile, "ssl_keyfile": config.ssl_keyfile}
    if config.ssl_keyfile and not config.ssl_certfile:
        raise ValueError("ssl_keyfile= is of use with ssl_certfile= only")
    check_files(**files)
    try:
        config.load()
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            problem = f"the key in {config.ssl_keyfile or config.ssl_certfile} is not that of the certificate"
            raise CannotServe(problem, "ssl_keyfile", error) from error
        names = " and ".join(str(name) for name in files.values() if name)
        raise CannotServe(f"no certificate and key in PEM form in {names}", "ssl_certfile", error) from error


@contextlib.contextmanager
def _plain(sock: Any) -> Iterator[_socket.socket]:
    """The descriptor of a loop's own socket object, which lacks `setsockopt`."""
    handle = _socket.socket(fileno=sock.fileno())
    try:
        yield handle
    finally:
        handle.detach()


def _peer(transport: asyncio.Transport) -> str:
    name = transport.get_extra_info("peername")
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name or "?")
