"""Real servers on port 0, one class a host, all serving the application of `tests.support.app`.

    def test_something(host: Host) -> None:          # every host, one server a module
        with host.peer() as peer: ...

Options for one test: `with serve("gevent", Options(ping_interval=0.2)) as host: ...`.
"""

from __future__ import annotations

import gc
import http.client
import io
import json
import logging
import os
import re
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import TracebackType
from typing import Any, Literal, Self
from wsgiref.types import WSGIApplication

import pytest
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from iotio import IoTManager, Options
from tests.support.app import make_app
from tests.support.asgi import UvicornThread
from tests.support.processes import START_SECONDS, Program
from tests.support.wire import RawPeer

__all__ = [
    "FAST",
    "IN_PROCESS",
    "KINDS",
    "GeventHost",
    "Host",
    "LocalHost",
    "eventually",
    "host",
    "local_host",
    "open_descriptors",
    "serve",
    "serve_local",
]

IN_PROCESS = ("native", "asgi", "gevent", "flask")
KINDS = ("native", "asgi", "gevent", "flask", "gevent-patched", "gunicorn")
FAST = Options(refusal_delay=0.05, close_timeout=0.5)
"""Refused devices are let go quickly; all else as it is in production."""

WAIT_SECONDS = 5.0


class EventLog:
    """What the handlers saw, in order, with a way to wait for it."""

    def __init__(self) -> None:
        self._entries: list[tuple[str, str]] = []
        self._changed = threading.Condition()

    def record(self, client_id: str, what: str) -> None:
        with self._changed:
            self._entries.append((client_id, what))
            self._changed.notify_all()

    def of(self, client_id: str) -> list[str]:
        with self._changed:
            return [what for one, what in self._entries if one == client_id]

    def wait(self, client_id: str, what: str, count: int = 1, timeout: float = WAIT_SECONDS) -> list[str]:
        """Wait until this was seen so many times; all that was seen of the device."""
        with self._changed:
            if self._changed.wait_for(lambda: self._entries.count((client_id, what)) >= count, timeout):
                return [seen for one, seen in self._entries if one == client_id]
        raise TimeoutError(f"{what} of {client_id!r} was not seen {count} times, but: {self.of(client_id)}")


class Host(ABC):
    """A running server."""

    kind: str
    port: int

    def __init__(self, options: Options, store: str | None = None) -> None:
        self.options = options
        self.log = EventLog()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def stop(self) -> None:
        """Close all connections and end the server."""

    @property
    @abstractmethod
    def errors(self) -> str:
        """What the server wrote to its error log."""

    def peer(self, timeout: float = WAIT_SECONDS) -> RawPeer:
        """A TCP connection to it."""
        return RawPeer("127.0.0.1", self.port, timeout=timeout)

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """One HTTP request; the status and the body of its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)
        try:
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def state(self) -> dict[str, Any]:
        """Clients, and rooms with those that are connected, as the manager has them."""
        status, body = self.request("GET", "/state")
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)
        return found

    def call(self, method: str, *args: Any, **kw: Any) -> dict[str, Any]:
        """Call a method of the manager inside of the server."""
        status, body = self.request("POST", "/call", {"method": method, "args": list(args), "kw": kw})
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)
        return found


class LocalHost(Host):
    """A server in a thread of this process; its manager can be used directly."""

    manager: IoTManager

    def __init__(self, options: Options, store: str | None = None) -> None:
        super().__init__(options, store)
        self._errors = io.StringIO()

    @property
    def errors(self) -> str:
        return self._errors.getvalue()


class GeventHost(LocalHost):
    """gevent's pywsgi with WebSocketHandler, its hub in a thread of its own."""

    kind = "gevent"

    def __init__(self, options: Options, store: str | None = None) -> None:
        super().__init__(options, store)
        import gevent
        import geventwebsocket.handler  # noqa: F401  # as a program has it at its top

        self.app, self.manager = make_app(self.log.record, options=options, sleep=gevent.sleep, store=store)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gevent host", daemon=True)
        self._thread.start()
        assert self._ready.wait(START_SECONDS)

    @property
    def application(self) -> WSGIApplication:
        """What pywsgi is given."""
        return self.app

    def _run(self) -> None:
        import gevent
        from gevent import pywsgi
        from geventwebsocket.handler import WebSocketHandler

        hub = gevent.get_hub()
        hub.exception_stream = self._errors
        server = pywsgi.WSGIServer(
            ("127.0.0.1", 0), self.application, handler_class=WebSocketHandler, log=None, error_log=self._errors
        )
        server.start()
        self.port = int(server.server_port or 0)
        self._end = hub.loop.async_()
        ended = gevent.event.Event()
        self._end.start(ended.set)
        self._ready.set()
        ended.wait()
        server.stop(timeout=1)
        self._end.close()
        gc.collect()  # a gevent socket that is collected later would look for its loop
        hub.destroy(destroy_loop=True)

    def stop(self) -> None:
        self.manager.close(2.0)
        self._end.send()
        self._thread.join(10)
        assert not self._thread.is_alive()


class NativeHost(LocalHost):
    """The native server, in a thread of its own."""

    kind = "native"
    loop: Literal["auto", "asyncio"] = "auto"  # uvloop's where it is installed

    def __init__(self, options: Options, store: str | None = None) -> None:
        super().__init__(options, store)
        self.app, self.manager = make_app(self.log.record, options=options, store=store)
        self.port = self.manager.start(request_context=True, loop=self.loop)

    def stop(self) -> None:
        self.manager.stop()
        self.manager.close(0)  # the server may be started again, the store is given back here


class NativeAsyncioHost(NativeHost):
    """The native server on asyncio's own loop."""

    kind = "native-asyncio"
    loop = "asyncio"


class AsgiHost(LocalHost):
    """uvicorn, as a foreign ASGI server with its own WebSockets."""

    kind = "asgi"

    def __init__(self, options: Options, store: str | None = None) -> None:
        super().__init__(options, store)
        self.app, self.manager = make_app(self.log.record, options=options, store=store)
        mount = self.manager.asgi_app(request_context=True)
        self._handler = logging.StreamHandler(self._errors)
        self._handler.setLevel(logging.WARNING)
        logging.getLogger("uvicorn.error").addHandler(self._handler)
        self._server = UvicornThread(mount, ws="websockets-sansio", ws_per_message_deflate=False, proxy_headers=False)
        self.port = self._server.port

    def stop(self) -> None:
        self.manager.close(2.0)
        self._server.stop()
        logging.getLogger("uvicorn.error").removeHandler(self._handler)


class QuietHandler(WSGIRequestHandler):
    """Werkzeug's, without its line a request."""

    def log(self, type: str, message: str, *args: Any) -> None:
        if type == "error":
            super().log(type, message, *args)


class FlaskHost(LocalHost):
    """Flask's own server with threads."""

    kind = "flask"

    def __init__(self, options: Options, store: str | None = None) -> None:
        super().__init__(options, store)
        self.app, self.manager = make_app(self.log.record, options=options, store=store)
        self._handler = logging.StreamHandler(self._errors)
        logging.getLogger("werkzeug").addHandler(self._handler)
        self._server: BaseWSGIServer = make_server(
            "127.0.0.1", 0, self.app, threaded=True, request_handler=QuietHandler
        )
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="flask host", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.manager.close(2.0)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
        logging.getLogger("werkzeug").removeHandler(self._handler)


class ProgramHost(Host):
    """A server in a process of its own; it prints one JSON line for each thing its handlers see."""

    def __init__(self, options: Options, command: list[str], store: str | None = None) -> None:
        super().__init__(options, store)
        environment = {"TEST_HOST_OPTIONS": json.dumps(asdict(options)), "TEST_HOST_STORE": store or ""}
        self.program = _Recorder(self.log, command, environment)
        try:
            line = self.program.wait_line(lambda line: re.search(self.ready, line) is not None, timeout=START_SECONDS)
        except BaseException:
            self.program.kill()
            raise
        found = re.search(self.ready, line)
        assert found is not None
        self.port = int(found[1])

    ready: str

    @property
    def errors(self) -> str:
        return "\n".join(line for line in self.program.lines if not line.startswith("{"))

    def stop(self) -> None:
        if self.program.alive:
            self.program.terminate()
        self.program.kill()


class _Recorder(Program):
    def __init__(self, log: EventLog, command: list[str], environment: dict[str, str]) -> None:
        self._log = log
        super().__init__(command, environment=environment)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith('{"id"'):
                found = json.loads(line)
                self._log.record(found["id"], found["what"])
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class PatchedGeventHost(ProgramHost):
    """gevent with `monkey.patch_all()` called before anything else."""

    kind = "gevent-patched"
    ready = r"^ready (\d+)$"

    def __init__(self, options: Options, store: str | None = None) -> None:
        super().__init__(options, [sys.executable, "-m", "tests.support.serve"], store)


class GunicornHost(ProgramHost):
    """gunicorn with a worker of threads."""

    kind = "gunicorn"
    ready = r"Listening at: http://127\.0\.0\.1:(\d+)"

    def __init__(self, options: Options, store: str | None = None) -> None:
        command = "-m gunicorn -w 1 -k gthread --threads 40 --graceful-timeout 3 -b 127.0.0.1:0"
        super().__init__(
            options,
            [sys.executable, *command.split(), "--limit-request-field_size", "65536", "tests.support.serve:app()"],
            store,
        )


_HOSTS: dict[str, Callable[[Options, str | None], Host]] = {
    "native": NativeHost,
    "native-asyncio": NativeAsyncioHost,
    "asgi": AsgiHost,
    "gevent": GeventHost,
    "flask": FlaskHost,
    "gevent-patched": PatchedGeventHost,
    "gunicorn": GunicornHost,
}


def serve(kind: str, options: Options = FAST, store: str | None = None) -> Host:
    """Start a server; a context manager. For `store` see `make_app`."""
    return _HOSTS[kind](options, store)


@contextmanager
def serve_local(kind: str, options: Options = FAST) -> Iterator[LocalHost]:
    """Start a server in this process."""
    with serve(kind, options) as running:
        assert isinstance(running, LocalHost)
        yield running


@pytest.fixture(scope="module", params=KINDS)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """Every host, with FAST options, one server for all tests of a module."""
    with serve(request.param) as running:
        yield running


@pytest.fixture(scope="module", params=IN_PROCESS)
def local_host(request: pytest.FixtureRequest) -> Iterator[LocalHost]:
    """The hosts that run in this process, with FAST options, one server for all tests of a module."""
    with serve_local(request.param) as running:
        yield running


def eventually(condition: Any, timeout: float = WAIT_SECONDS) -> None:
    """Wait until a condition of another process or of the system holds: there is nothing to be told by."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition did not come to hold")
        time.sleep(0.01)


def open_descriptors(pid: int | None = None) -> int:
    """How many file descriptors a process has (Linux)."""
    return len(os.listdir(f"/proc/{pid or os.getpid()}/fd"))
