"""Serve everything on one port: uvicorn serves HTTP, and hands the upgrade of `/iot.io` to the native host.

Frames never pass through ASGI. uvicorn's own WebSocket protocol serves all other paths of an ASGI application.
"""

from __future__ import annotations

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

from iotio_protocol.log_throttle import LogThrottle
from iotio_protocol.logs import get_logger

from ...core.connection import Scope
from ...core.manager import Manager
from ...core.primitives import allocate_lock
from ...core.waiting import wait_on_loop
from ..announce import announce
from ..forks import serves_at
from ..keepalive import limit_silence
from ..listen import BACKLOG, CannotServe, address, check_files, listen
from ..proxies import TrustedProxies
from ..signals import handling, is_repeated
from ..systemd import tell_ready, tell_stopping
from ..timing import SHUTDOWN_GRACE
from ..upgrade import UpgradeRequest
from .acceptor import Acceptor
from .connection import NativeConnection
from .host import NativeHost
from .http import KEEP_ALIVE
from .http_places import HttpPlaces
from .options import THREADS
from .protocols import FirstReadProtocol, UpgradeProtocol
from .tls import TlsProtocol

__all__ = ["NativeServer"]

logger = get_logger("iotio.server")


class NativeServer(uvicorn.Server):
    """Serve devices and an application, as `IoTManager.run` does.

    Args:
        manager: the manager whose devices are served.
        app: the ASGI application for all other paths.
        scope_of: returns the scope of a device's handlers, from its upgrade request and its address.
        other_websockets: uvicorn's WebSocket protocol class for other paths, or None for none.
        threads: threads for `def` handlers, at most.
        slow_handler: seconds after which a handler that still runs is named in the log.
        http_connections: HTTP connections at a time; beyond, an idle one makes room.
        access_log: whether HTTP requests are logged, by the logger "iotio.access" at INFO.
        options: for `uvicorn.Config`.

    Attributes:
        ready: set while the server listens.
    """

    def __init__(
        self,
        manager: Manager,
        app: Any,
        *,
        scope_of: Callable[[UpgradeRequest, str], Scope | None],
        other_websockets: Callable[..., Any] | None = None,
        threads: int = THREADS,
        slow_handler: float = 1.0,
        http_connections: int = 1024,
        access_log: bool = False,
        **options: Any,
    ) -> None:
        self.manager = manager
        self.proxies = TrustedProxies(manager.options.trusted_proxies)
        self.scope_of = scope_of
        self.other_websockets = other_websockets
        self._threads = threads
        self._slow_handler = slow_handler
        self._http_connections = http_connections
        self.access_log: LogThrottle | None = None
        if access_log:
            self.access_log = LogThrottle(manager.clock, allocate_lock(), get_logger("iotio.access"))
        self._native: NativeHost | None = None
        self._signalled = 0  # the number of the first signal
        self.ready = threading.Event()

        super().__init__(
            uvicorn.Config(
                cast(Any, self.proxies.before(app)),
                http=cast(Any, partial(FirstReadProtocol, self)),
                ws=cast(Any, partial(UpgradeProtocol, self)),
                log_config=None,
                access_log=False,
                proxy_headers=False,
                timeout_graceful_shutdown=SHUTDOWN_GRACE,
                **{"backlog": BACKLOG, "timeout_keep_alive": KEEP_ALIVE, **options},
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
        log = logging.getLogger("uvicorn.error")
        if log.level == logging.NOTSET and not log.isEnabledFor(logging.DEBUG):
            log.setLevel(logging.WARNING)  # that it starts and stops is said by us

    def listen(self) -> list[socket.socket] | None:
        """Open the sockets that the options ask for, to be given to `run`. Returns None where uvicorn is given one.

        Raises:
            CannotServe: the port is in use, or something else of what `load` and `iotio.hosts.listen.listen` find.
            RuntimeError: gevent has monkey-patched the program.
        """
        self.load()
        config = self.config
        if config.fd is not None:
            return None
        sockets = listen(config.host, config.port, config.uds, backlog=config.backlog)
        self._announce(sockets)
        return sockets

    def _announce(self, sockets: list[socket.socket]) -> None:
        scheme = "https://" if self.config.is_ssl else "http://"
        announce(self.manager, (_place(sock, scheme) for sock in sockets))

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the end, on these sockets or on those of `listen`. uvicorn's `sys.exit` ends a thread only."""
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

    async def begin(self) -> None:
        """Listen, on the loop that runs; `go_on` must follow.

        Raises:
            CannotServe: see `listen`.
            RuntimeError: gevent has monkey-patched the program, or the application could not start.
        """
        sockets = self.listen()
        self.lifespan = self.config.lifespan_class(self.config)
        try:
            await self.startup(sockets)
        except BaseException as error:
            for sock in sockets or ():
                sock.close()
            if isinstance(error, SystemExit):  # uvicorn's, which would end the loop
                raise RuntimeError("the application could not start; see the log") from None
            raise

    async def go_on(self) -> None:
        """Serve until `should_exit` is set or the task is cancelled, and end in order; signals are the program's.

        A second cancellation ends it at once.
        """
        cancelled = None
        try:
            try:
                await self.main_loop()
            except asyncio.CancelledError as error:
                cancelled = error
            await self.shutdown()
        except asyncio.CancelledError:
            for connection in self.manager.connections.all():  # the loop goes on, and would go on to serve them
                if isinstance(connection, NativeConnection) and connection.host is self.native:
                    connection.abort()
            raise
        finally:
            for sock in self._sockets:
                sock.close()
        if cancelled is not None:
            raise cancelled

    @property
    def native(self) -> NativeHost:
        """Return the host of the running loop."""
        assert self._native is not None
        return self._native

    @property
    def port(self) -> int:
        """Return the port that the server listens on; for `port=0` the one that was found; 0 on a Unix socket."""
        name = self._sockets[0].getsockname()
        return int(name[1]) if isinstance(name, tuple) else 0

    async def startup(self, sockets: Any = None) -> None:
        """Listen, then set `ready` and tell systemd."""
        self._native = NativeHost(self.manager, threads=self._threads, slow_handler=self._slow_handler)
        try:
            await self._open(sockets)
        except BaseException:
            self._native.close()
            raise
        self.ready.set()
        tell_ready()

    async def _open(self, sockets: list[socket.socket] | None) -> None:
        self.http_places = HttpPlaces(self._http_connections, self.native.loop.time)
        await super().startup([])  # the application; the sockets are the acceptor's
        await wait_on_loop(self.manager.background.begin(), None)
        config, manager = self.config, self.manager
        self.acceptor = Acceptor(manager.connections.pending, manager.log_throttle, self._make_protocol)
        if sockets is None:
            sockets = self.listen()
        if sockets is None:
            sockets = [socket.socket(fileno=os.dup(cast(int, config.fd)))]
            self._announce(sockets)
        self._sockets = sockets
        for sock in sockets:
            serves_at(sock.getsockname())
            limit_silence(sock, *manager.types.all_options)
        await self.acceptor.open(sockets, config.backlog)

    def _make_protocol(self) -> asyncio.Protocol:
        if self.config.ssl is None:
            return self._first_protocol()
        return TlsProtocol(self, self.config.ssl, self.server_state.connections, self._first_protocol)

    def _first_protocol(self) -> FirstReadProtocol:
        made = cast(Any, self.config.http_protocol_class)
        return cast(
            FirstReadProtocol,
            made(config=self.config, server_state=self.server_state, app_state=self.lifespan.state),
        )

    async def shutdown(self, sockets: Any = None) -> None:
        """Close every device's connection, run every `on_disconnect`, finish what runs, within a deadline."""
        if self._signalled:
            tell_stopping()
            name = "Ctrl-C" if self._signalled == signal.SIGINT else signal.Signals(self._signalled).name
            devices = len(self.manager.connections.all())
            logger.info("%s: the server ends; connections to close: %d. A second one ends it at once", name, devices)
        self.manager.connections.begin_shutdown()
        deadline = self.manager.clock() + SHUTDOWN_GRACE
        self.acceptor.close()
        try:
            await super().shutdown(self._sockets)
            await self.wait_for_teardowns(deadline)
            await self.native.end_work(max(deadline - self.manager.clock(), 0))
        finally:
            self.native.close()
            if self.access_log is not None:
                self.access_log.sweep(self.manager.clock(), ends=True)
            self.manager.connections.end_shutdown()
            self.ready.clear()

    async def wait_for_teardowns(self, deadline: float) -> None:
        """Wait until the last connection is torn down, or the deadline on the manager's clock has passed."""
        while self.manager.connections.all() and not self.force_exit and self.manager.clock() < deadline:
            await asyncio.sleep(0.02)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End the server in order, and the program with 0, at the first signal; at once at the second."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        with handling(self._on_signal):
            yield

    def _on_signal(self, number: int, frame: Any) -> None:
        if self._signalled and not is_repeated(number):
            os._exit(128 + number)
        self._signalled = number
        self.should_exit = True


def _place(sock: socket.socket, scheme: str) -> str:
    where = address(sock)
    return f"{scheme}{where}" if isinstance(sock.getsockname(), tuple) else f"the Unix socket {where}"


def _refuse_patches() -> None:
    """Refuse to serve under gevent's patches: worker threads would be greenlets, which the loop never lets run."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        raise RuntimeError(
            "gevent's monkey.patch_all() is in the way of this server:"
            " leave it out, or serve the program by gevent's pywsgi.WSGIServer"
        )


def _load(config: uvicorn.Config) -> None:
    """Load uvicorn's configuration, and explain what is wrong with a certificate."""
    files = {"ssl_certfile": config.ssl_certfile, "ssl_keyfile": config.ssl_keyfile}
    if config.ssl_keyfile and not config.ssl_certfile:
        raise ValueError("ssl_keyfile= is of use with ssl_certfile= only")
    check_files(**files)
    try:
        config.load()
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            problem = f"the key in {config.ssl_keyfile or config.ssl_certfile} is not that of the certificate"
            raise CannotServe(problem, "ssl_keyfile", error) from None
        names = " and ".join(str(name) for name in files.values() if name)
        raise CannotServe(f"no certificate and key in PEM form in {names}", "ssl_certfile", error) from None
