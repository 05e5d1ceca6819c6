"""Keep a stranger from filling the log through the server that a program is run by: no traceback, and few lines.

gevent's pywsgi, gevent-websocket, Werkzeug's server and gunicorn read a request before the application sees it, and log
what is wrong with it in words of the peer, as often as it likes; some of it by a traceback. Their loggers get a
filter. pywsgi has none, and some of its mistakes are its own, so a few of its methods are wrapped.
"""

from __future__ import annotations

import http.client
import logging
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any
from wsgiref.types import WSGIEnvironment

from werkzeug.exceptions import ClientDisconnected

from iotio.core.primitives import allocate_lock
from iotio_protocol.log_throttle import LogThrottle
from iotio_protocol.logs import safe

__all__ = ["guard_body", "guard_logs"]

_BY_PEERS = (
    "Error on request:",  # Werkzeug
    "Invalid request from ip",  # gunicorn
    "Error handling request",
    "Client didn't ask",  # gevent-websocket
    "Bad server protocol",
    "No protocol defined",
    "Unsupported WebSocket Version",
    "Sec-WebSocket-Key header",
    "Invalid key",
)
_LOGGERS = ("werkzeug", "gunicorn.error", "geventwebsocket.handler", "geventwebsocket.logging")
_OF_HOSTS = ("werkzeug.serving", "werkzeug.urls", "gunicorn.")

_READERS = frozenset(("_discard", "_do_read", "_chunked_read"))  # of pywsgi's body

_throttle = LogThrottle(time.monotonic, allocate_lock())
_guarded: set[str] = set()


def guard_logs() -> None:
    """Guard the logs of the servers that are loaded. Quick where that is done."""
    if "loggers" not in _guarded:
        _guarded.add("loggers")
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_FILTER)
    for name, guard in _GUARDS.items():
        if name in sys.modules and name not in _guarded:
            _guarded.add(name)
            guard(sys.modules[name])


def guard_body(environ: WSGIEnvironment) -> None:
    """Have a body that the peer does not finish be its mistake (400), and no exception of the view that reads it."""
    environ["wsgi.input"] = _Body(environ["wsgi.input"])


class _Body:
    """The body of a request."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def read(self, *size: int) -> bytes:
        """Read bytes."""
        return self._do(self._stream.read, *size)

    def readline(self, *size: int) -> bytes:
        """Read a line."""
        return self._do(self._stream.readline, *size)

    def readlines(self, *hint: int) -> list[bytes]:
        """Read all lines."""
        return list(self)

    def _do(self, function: Callable[..., bytes], *arguments: int) -> bytes:
        try:
            return function(*arguments)
        except (OSError, ValueError) as error:
            raise ClientDisconnected from error


class _Filter(logging.Filter):
    """Let pass what is the program's; of what peers cause, few lines, each short and without a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not isinstance(record.msg, str) or not _is_by_peer(record.msg):
            return True
        error = sys.exc_info()[1]
        if record.msg.startswith("Error on request:") and not (error is not None and _is_of_host(error.__traceback__)):
            return True  # the application's own
        try:
            text = record.getMessage()
        except Exception:
            return True
        kept = _throttle.ask(record.name)
        if kept is None:
            return False
        if record.msg.startswith("Error on request:"):
            text = f"a request could not be served: {error!r}"
        record.msg, record.args = safe(text) + (f" (and {kept} more like this)" if kept else ""), ()
        record.exc_info = record.exc_text = None
        return True


_FILTER = _Filter()


def _is_by_peer(text: str) -> bool:
    return text.startswith(_BY_PEERS) or "] code %d, message %s" in text  # the latter by the standard library's server


def _is_of_host(trace: TracebackType | None) -> bool:
    """Return whether an exception comes of the host's own code: the application that it serves has no part in it."""
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        if not module.startswith(_OF_HOSTS) and module.partition(".")[0] not in sys.stdlib_module_names:
            return False
        trace = trace.tb_next
    return True


def _guard_pywsgi(pywsgi: Any) -> None:
    handler = pywsgi.WSGIHandler
    handle, log_error, client_error, handle_error = (
        handler.handle,
        handler.log_error,
        handler._handle_client_error,
        handler.handle_error,
    )

    def log_few(self: Any, message: str, *arguments: object) -> None:
        kept = _throttle.ask("pywsgi")
        if kept is not None:
            text = safe(message % arguments if arguments else message)
            log_error(self, "%s", text + (f" (and {kept} more like this)" if kept else ""))

    def without_traceback(self: Any, error: Exception) -> Any:
        if isinstance(error, (OSError, http.client.HTTPException)):
            error = ValueError(f"{type(error).__name__}: {error}")
        return client_error(self, error)

    def unless_the_peer_has_gone(self: Any, kind: Any, error: Any, trace: Any) -> None:
        if _is_of_peer(error, trace):
            log_few(self, "%s", f"the peer has gone: {error!r}")
            self.close_connection = True
            return
        handle_error(self, kind, error, trace)

    def until_the_peer_has_gone(self: Any) -> None:
        try:
            handle(self)
        except Exception as error:  # while it was told what is wrong with its request, or the rest of its body was read
            if not _is_of_peer(error, error.__traceback__):
                raise
            log_few(self, "%s", f"the peer has gone: {error!r}")

    handler.handle = until_the_peer_has_gone
    handler.log_error = log_few
    handler._handle_client_error = without_traceback
    handler.handle_error = unless_the_peer_has_gone


def _guard_werkzeug(serving: Any) -> None:
    server = serving.BaseWSGIServer
    handle_error = server.handle_error

    def unless_by_the_peer(self: Any, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, (OSError, ValueError)) or not _is_of_host(error.__traceback__):
            handle_error(self, request, client_address)
        elif (kept := _throttle.ask("socketserver")) is not None:
            more = f" (and {kept} more like this)" if kept else ""
            logging.getLogger("werkzeug").error("a request could not be read: %s", safe(repr(error)) + more)

    server.handle_error = unless_by_the_peer


def _is_of_peer(error: BaseException, trace: TracebackType | None) -> bool:
    """Return whether pywsgi could not read or write: the peer has gone, or its body is none."""
    module, functions = "", set()
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        functions.add(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    reads = bool(functions & _READERS) and isinstance(error, (AssertionError, ValueError))
    return module.startswith("gevent.") and (reads or isinstance(error, OSError))


def _guard_websocket(module: Any) -> None:
    handler = module.WebSocketHandler
    upgrade, send_error = handler.upgrade_websocket, handler._send_error_response_if_possible

    def unless_it_has_begun(self: Any, code: int) -> None:
        """Answer with an error, but not in the middle of another answer, which it takes for a mistake of its own."""
        if getattr(self, "headers_sent", False):
            self.close_connection = True
        else:
            send_error(self, code)

    def upgrade_with_bytes(self: Any) -> Any:
        """Answer what cannot be an upgrade; its own answers are text, which cannot be sent."""
        try:
            answer = upgrade(self)
        except ValueError:  # of a key that is no base64
            self.start_response("400 Bad Request", [])
            answer = ["Invalid key"]
        if not isinstance(answer, list):
            return answer
        return [part.encode(errors="replace") if isinstance(part, str) else part for part in answer]

    handler.upgrade_websocket = upgrade_with_bytes
    handler._send_error_response_if_possible = unless_it_has_begun


_GUARDS: dict[str, Callable[[Any], None]] = {
    "gevent.pywsgi": _guard_pywsgi,
    "geventwebsocket.handler": _guard_websocket,
    "werkzeug.serving": _guard_werkzeug,
}
