"""The public `IoTManager`: the manager joined to an application, its hosts and the REST API."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Unpack, cast
from wsgiref.types import WSGIEnvironment

import flask
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

from iotio_protocol.encoder import DefaultPacketEncoder
from iotio_protocol.options import DEFAULT_OPTIONS, Options, check_wait

from .core.connection import Scope
from .core.handles import IoTClient
from .core.manager import Manager
from .core.primitives import Signal, wait
from .core.storage.contract import Store, StoreError, StoreOfParent
from .core.waiting import check_no_loop
from .history.part import HistoryPart
from .history.settings import History
from .hosts import forks, signals
from .hosts.asgi.types import is_asgi, what_it_is
from .hosts.blocking.host_logs import guard_logs
from .hosts.blocking.loop_thread import LoopThread
from .hosts.blocking.work_place import BlockingPlace
from .hosts.blocking.wsgi import IoTManagerMiddleware, tell_of_eventlet, waiting_here
from .hosts.native.options import THREADS, ServerOptions, check_options
from .hosts.native.started import Started
from .hosts.upgrade import subprotocol_at
from .http import rest
from .shortcuts import EXTENSION
from .state import Twins
from .store import open_store

if TYPE_CHECKING:
    from .hosts.asgi.app import DeviceMount
    from .hosts.asgi.types import ASGIApp
    from .hosts.native.server import NativeServer
    from .hosts.upgrade import UpgradeRequest
    from .testing import FakeDevice

__all__ = ["IoTManager"]

_APART = 5.0  # seconds for which a durable message waits for the history, if that has a store of its own
_NO_REQUEST = "flask.request needs manager.run(request_context=True), or iotio run --request-context"
_NO_APP = cast(flask.Flask, object())  # tells `IoTManager()` from `IoTManager(None)`, which is a mistake


class IoTManager(Manager):
    """Connects devices to a Flask application, or to an ASGI application such as FastAPI's; or serves devices alone.

    Args:
        app: the application. Leave it out to serve devices alone, or to call `init_app` later, as with other Flask
            extensions.
        logging_level: level for the logger "iotio.manager". ERROR, the default of iot.io 0.4, leaves the level
            to your logging configuration.
        client_logging_level: the same for "iotio.client".
        encoder: a class with static methods `encode(event, value)` and `decode(packet)` that replaces the v1 codec.
        endpoint_api: True serves `POST /api/iot.io`; a `flask_restful.Api` serves it under its own prefix. Flask only.
        endpoint_auth_decorator: wraps the REST view; what it returns is the response.
        options: limits and timings.
        store: where devices, their rooms and durable messages outlive the program: "sqlite:///iotio.db", or
            "postgresql://user@host/database" with the extra `postgres`. One program at a time may use it. None keeps
            them in memory.
        damaged: what becomes of a store whose file cannot be read: "refuse" raises a StoreError, "set_aside" gives the
            file another name and begins anew. A single row that cannot be read is always set aside.
        history: whether readings of endpoints are recorded. None does so if there is a store, True requires one; a URL
            names a store for the history alone, and `History` says how long readings are kept.

    Raises:
        StoreError: the store cannot be opened; the text says what to do.
        ValueError: app is neither a Flask nor an ASGI application.
    """

    def __init__(
        self,
        app: flask.Flask | ASGIApp = _NO_APP,
        logging_level: int = logging.ERROR,
        client_logging_level: int = logging.ERROR,
        encoder: Any = DefaultPacketEncoder,
        endpoint_api: bool | rest.RestfulApi | None = None,
        endpoint_auth_decorator: rest.AuthDecorator | None = None,
        *,
        options: Options = DEFAULT_OPTIONS,
        store: str | Store | None = None,
        damaged: Literal["refuse", "set_aside"] = "refuse",
        history: bool | str | History | None = None,
    ) -> None:
        disowned = ""
        own_store: Store | None = None
        if isinstance(history, str):
            history = History(url=history)
        try:
            if isinstance(store, str):
                store = open_store(store, damaged=damaged)
            if isinstance(history, History) and history.url is not None:
                own_store = open_store(history.url, damaged=damaged)
        except StoreOfParent as error:  # the program is loaded to run another part of it
            store, history, disowned = None, False, f"{error}: use the IoTManager there"
        super().__init__(
            logging_level=logging_level,
            client_logging_level=client_logging_level,
            encoder=encoder,
            options=options,
            store=store,
            make_twins=Twins,
        )
        if disowned:
            forks.disown(self, disowned)
        if history is not False:
            _begin_history(self, history, store, own_store)
        forks.watch(self)
        self.app: Any = None  # the Flask or the ASGI application
        self.api = endpoint_api
        self.auth_decorator = endpoint_auth_decorator
        self._loop_thread = LoopThread(self)
        self._blocking_place = self.background.place_without_loop = BlockingPlace(self._loop_thread)
        self._middleware: IoTManagerMiddleware | None = None
        self._mount: DeviceMount | None = None
        self._running: tuple[NativeServer, threading.Thread] | None = None
        if app is not _NO_APP:
            self.init_app(app)

    def init_app(self, app: flask.Flask | ASGIApp) -> None:
        """Serve devices of this application at `/iot.io`. May be called for several Flask applications.

        Raises:
            ValueError: app is neither a Flask nor an ASGI application, or `endpoint_api` is given without Flask.
            RuntimeError: devices are served alone already.
        """
        if self.app is None and (self._mount is not None or self._running is not None):
            raise RuntimeError("devices are served alone already: call init_app(app) before start() and manager.asgi")
        if isinstance(app, flask.Flask):
            tell_of_eventlet()
            guard_logs()
            if app.extensions.get(EXTENSION, self) is not self:
                _warn_of_two(app)
            app.extensions[EXTENSION] = self
            self.scope = _app_scope(app)
            app.app_protocol = subprotocol_at  # type: ignore[attr-defined]  # where gevent-websocket asks for it
            self._middleware = IoTManagerMiddleware(
                app, app.wsgi_app, self, loop_thread=self._loop_thread, scope_of=lambda environ: _scope(app, environ)
            )
            app.wsgi_app = self._middleware  # type: ignore[method-assign]  # what Flask documents for middleware
            if self.api:
                rest.register(app, self, auth_decorator=self.auth_decorator, api=self.api)
        elif not is_asgi(app):
            raise ValueError(
                "app must be an instance of a flask application, or an ASGI application such as FastAPI() or an"
                f" async def app(scope, receive, send); this is {what_it_is(app)}"
            )
        elif self.api:
            raise ValueError("endpoint_api serves Flask applications; with an ASGI application leave it out")
        self.app = app
        self._mount = None
        if not self._disowned:
            signals.watch(self)

    @property
    def asgi(self) -> DeviceMount:
        """The whole as an ASGI application, for a foreign server: devices at `/iot.io`, all else to the application."""
        if self._mount is None:
            self._mount = self.asgi_app()
        return self._mount

    def asgi_app(
        self,
        *,
        threads: int = THREADS,
        slow_handler: float = 1.0,
        request_context: bool = False,
        view_threads: int | None = None,
        max_body: int | None = None,
        workers: int | None = None,
    ) -> DeviceMount:
        """Make the ASGI application that `asgi` is, with arguments.

        Args:
            threads: threads for `def` handlers, at most.
            slow_handler: seconds after which a handler that still runs is named in the log.
            request_context: whether handlers get the request context of the device's upgrade request; Flask only.
            view_threads: threads for Flask's views, at most; None for 32.
            max_body: bytes that the body of a request to Flask may have; None for 8 MiB.
            workers: the old name of `threads`.

        Raises:
            ValueError: an argument is Flask's only, or too small.
        """
        from .hosts.asgi.app import DeviceMount

        check_options("manager.asgi_app()", {"workers": workers})
        app, scope_of = _served(self, request_context, view_threads, max_body)
        return DeviceMount(
            self,
            app,
            scope_of=scope_of,
            threads=threads if workers is None else workers,
            slow_handler=slow_handler,
            on_first_device=lambda: signals.watch(self),  # the server has its own signal handlers by now: join them
        )

    def run(self, host: str = "0.0.0.0", port: int = 5000, **options: Unpack[ServerOptions]) -> None:
        """Serve devices and the application on one port, until Ctrl-C or SIGTERM.

        Args:
            host: the address to listen on; "::" for IPv6 and IPv4.
            port: the port; 0 finds a free one.
            options: see `iotio.hosts.native.options.ServerOptions`.

        Raises:
            TypeError: there is no such option.
            OSError: the port is in use, or something else of that kind; the text says what to do.
            RuntimeError: an event loop runs in this thread, or gevent has monkey-patched the program.
        """
        check_options("manager.run()", options)
        check_no_loop("manager.run()", "await manager.serve(), or manager.start() to go on at once")
        self._server(host=host, port=port, **options).run()

    async def serve(self, host: str = "0.0.0.0", port: int = 5000, **options: Unpack[ServerOptions]) -> None:
        """Serve on the loop that runs, until the task is cancelled; arguments and errors are those of `run`.

        Signals are left to the program. Cancelled, it ends in order: devices get CLOSE 1001, every `on_disconnect`
        runs; then CancelledError is raised.
        """
        check_options("manager.serve()", options)
        if "loop" in options:
            raise TypeError("manager.serve() serves on the loop that runs: leave loop= out")
        server = self._server(host=host, port=port, **options)
        await server.begin()
        await server.go_on()

    def start(self, host: str = "127.0.0.1", port: int = 0, **options: Unpack[ServerOptions]) -> int:
        """Serve in a thread of its own; `stop` ends it.

        Only the address differs from that of `run`: this machine alone, and a free port.

        Returns:
            The port.

        Raises:
            TypeError: there is no such option.
            RuntimeError: it runs already, or cannot listen there.
        """
        check_options("manager.start()", options)
        if self._running is not None:
            raise RuntimeError("the server runs already")
        server = self._server(host=host, port=port, **options)
        try:
            sockets = server.listen()
        except OSError as error:
            raise RuntimeError(f"the server could not start: {error}") from None
        thread = threading.Thread(target=server.run, args=(sockets,), name="iotio-server", daemon=True)
        thread.start()
        while not server.ready.wait(0.05):
            if not thread.is_alive():
                raise RuntimeError(f"the server could not start on {host}:{port}; see the log")
        self._running = (server, thread)
        return server.port

    def started(self, host: str = "127.0.0.1", port: int = 0, **options: Unpack[ServerOptions]) -> Started:
        """Serve for the time of a block, for tests and notebooks; arguments and errors are those of `start`.

        `with manager.started() as port:` serves in a thread of its own, `async with` on the loop that runs.
        """
        check_options("manager.started()", options)
        start = partial(self.start, host, port, **options)
        return Started(start, self.stop, partial(self._server, host=host, port=port, **options))

    def stop(self, timeout: float = 10.0) -> None:
        """End the server that `start` began: devices get CLOSE 1001, every `on_disconnect` runs.

        Args:
            timeout: seconds to wait for its end.

        Raises:
            ValueError: so many seconds cannot be waited.
        """
        check_wait(timeout)
        if self._running is None:
            return
        (server, thread), self._running = self._running, None
        server.should_exit = True
        thread.join(timeout)

    def test_client(
        self,
        client_id: str,
        client_type: str,
        data: dict[str, Any] | None = None,
        endpoints: Iterable[Mapping[str, object]] = (),
        *,
        protocol: int = 2,
    ) -> FakeDevice:
        """Connect a device without a network, for tests; the manager must not be serving.

        Time then stands still until `FakeDevice.clock` is advanced. See docs/how-to/testing.md.

        Args: and errors are those of `iotio.testing.FakeDevice`.
        """
        from .testing import FakeDevice

        forks.check(self)
        return FakeDevice(self, client_id, client_type, data, endpoints, protocol=protocol)

    def _server(
        self,
        *,
        request_context: bool = False,
        view_threads: int | None = None,
        max_body: int | None = None,
        threads: int = THREADS,
        workers: int | None = None,
        **options: Any,
    ) -> NativeServer:
        from .hosts.native.server import NativeServer

        forks.check(self)
        testing = sys.modules.get(f"{__package__}.testing.host")  # not there as long as nobody has a test client
        if testing is not None and testing.is_tested(self):
            raise RuntimeError("the manager has test clients, for which time stands still: close them first")
        app, scope_of = _served(self, request_context, view_threads, max_body)
        if self.app is None:
            signals.watch(self)  # as `init_app` does: nobody has called it
        options["threads"] = threads if workers is None else workers
        if isinstance(self.app, flask.Flask):
            return NativeServer(self, app, scope_of=scope_of, **options)
        from .hosts.asgi.app import native_server

        return native_server(self, app, scope_of=scope_of, **options)

    def explain(self, error: BaseException) -> str:
        """Say how handlers get `flask.request`, where that is what was missing; see `Manager.explain`."""
        missing = isinstance(error, RuntimeError) and str(error).startswith("Working outside of request context")
        return _NO_REQUEST if missing and isinstance(self.app, flask.Flask) else ""

    def socket(self, ws: Any) -> None:
        """Serve a device on a gevent-websocket WebSocket until its end; the middleware does this by itself."""
        if self._middleware is None:
            raise RuntimeError("the manager has no Flask application yet: call init_app(app) first")
        self._middleware.serve_websocket(ws, ws.environ)

    def wait_here(self, signal: Signal, timeout: float | None) -> bool:
        """Wait in this thread, or in this greenlet where a hub serves devices."""
        return waiting_here()(signal, timeout)

    def begin(self) -> None:
        """Begin the work beside the devices; see `Manager.begin`. With gevent, make the server first."""
        forks.check(self)
        if not self.loops:
            self._blocking_place.begin()
        super().begin()

    def run_awaitable(self, awaitable: Awaitable[Any], context: Context) -> Any:
        """Run an awaitable on a host's loop, or on that of the manager's own thread; see `Manager.run_awaitable`."""
        forks.check(self)
        if self.loops:
            return super().run_awaitable(awaitable, context)
        outcome = self._loop_thread.submit(awaitable, context)
        wait(outcome.done, None)
        return outcome.result()

    def close(self, timeout: float = 3.0, *, wait: Callable[[Signal, float], bool] | None = None) -> None:
        """Close every connection; see `Manager.close`. `async def` handlers that still run are cancelled.

        Called from an `async def` handler, it does not wait.
        """
        super().close(0.0 if self._loop_thread.is_current else timeout, wait=wait or waiting_here())
        self._loop_thread.stop()


def _begin_history(
    manager: IoTManager, history: Literal[True] | History | None, store: Store | None, own_store: Store | None
) -> None:
    """Record the readings of endpoints, if there is a store for them."""
    settings = history if isinstance(history, History) else History()
    place = own_store or store
    if place is None or (history is None and place.history() is None):
        if history is not None:
            raise StoreError("a history needs a store: write IoTManager(store='sqlite:///iotio.db')")
        return
    part = HistoryPart(
        settings,
        place,
        None if own_store is not None else manager.store_writer,
        wait=lambda signal, timeout: manager.wait_here(signal, timeout),
        wall=lambda: manager.wall(),
    )
    if own_store is None:
        part.sink.forget_others(manager.devices)
    else:
        part.sink.apart = 0.0 if store is None else _APART
    manager.history = part
    manager.recorder.readings = part.sink


# No generators here: one that is collected with its connection would run its end in a foreign context.


class _RequestScope:
    """The context of a device's upgrade request, for all its handlers."""

    def __init__(self, app: flask.Flask, environ: WSGIEnvironment, client: IoTClient) -> None:
        self._context = app.request_context(environ)
        self._client = client

    def __enter__(self) -> None:
        self._context.__enter__()
        missed = flask.request.routing_exception
        if missed is not None:  # where a device connects no view need be
            # Their frames hold what the device has said, as objects.
            missed.__traceback__ = missed.__context__ = None
        flask.request.g = {"client": self._client}  # type: ignore[attr-defined]  # iot.io 0.4.3 put it there

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)


def _scope(app: flask.Flask, environ: WSGIEnvironment) -> Scope:
    """Return a scope in which handlers see the context of the upgrade request, entered once for a connection."""
    return lambda client: _RequestScope(app, environ, client)


def _warn_of_two(app: flask.Flask) -> None:
    """Warn at the line of the program that gives an application its second manager; iot.io 0.4 takes that, too."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        level, frame = level + 1, frame.f_back
    text = f"{app} has an IoTManager already, which serves no devices from now on: make one only"
    warnings.warn(text, RuntimeWarning, stacklevel=level)


def _environ(request: UpgradeRequest, peer: str) -> WSGIEnvironment:
    """Return the WSGI environ of an upgrade request that came another way."""
    path, _, query = request.path.partition("?")
    host, _, port = peer.rpartition(":")
    builder = EnvironBuilder(path, query_string=query, headers=Headers(request.headers), method="GET")
    environ = builder.get_environ()
    return {**environ, "wsgi.url_scheme": request.scheme, "REMOTE_ADDR": host, "REMOTE_PORT": port}


def _served(
    manager: IoTManager, request_context: bool, view_threads: int | None, max_body: int | None
) -> tuple[ASGIApp, Callable[..., Scope | None]]:
    """Return the application as ASGI, and a function from an upgrade request to the scope of its device's handlers."""
    app = manager.app
    if not isinstance(app, flask.Flask):
        what = "an ASGI application" if app is not None else "devices alone"
        given = {"request_context": request_context or None, "view_threads": view_threads, "max_body": max_body}
        for name in [name for name, value in given.items() if value is not None]:
            raise ValueError(f"{name} is Flask's; with {what} leave it out")
        if app is None and manager.api:
            raise ValueError("endpoint_api serves Flask applications: call init_app(app) first")
        if app is None:
            from .hosts.asgi.app import devices_alone

            app = devices_alone
        return app, lambda request, peer, root="": None
    from .hosts.asgi.views import MAX_BODY, Views
    from .hosts.asgi.views import THREADS as VIEW_THREADS

    if manager._middleware is not None:
        manager._middleware.announced = True  # this host does it
    without_request = _app_scope(app)

    def scope_of(request: UpgradeRequest, peer: str, root: str = "") -> Scope:
        if not request_context:
            return without_request
        return _scope(app, {**_environ(request, peer), "SCRIPT_NAME": root})

    threads = VIEW_THREADS if view_threads is None else view_threads
    return Views(app, threads, MAX_BODY if max_body is None else max_body), scope_of


def _app_scope(app: flask.Flask) -> Scope:
    """Return a scope in which handlers see the application's context, without a request."""
    return lambda client: app.app_context()
