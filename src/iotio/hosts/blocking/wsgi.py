"""Serve devices at `/iot.io` of a WSGI server, everything else by the application."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.http11 import Request, Response

from iotio.core.connection import Scope
from iotio.core.manager import Manager
from iotio.core.primitives import Signal, wait
from iotio_protocol.logs import get_logger

from ..announce import announce, place_of
from ..proxies import TrustedProxies
from ..upgrade import NO_UPGRADE, PATH, PATHS, agreed, judge, turn_away
from .connection import SocketConnection
from .host_logs import guard_body, guard_logs
from .loop_thread import LoopThread
from .stream import Waits, read_buffered
from .threads import ThreadWaits

__all__ = ["DeviceEnd", "IoTManagerMiddleware", "tell_of_eventlet", "waiting_here"]

logger = get_logger("iotio.hosts")

_told_of_eventlet = False

_NO_SOCKET = (
    "This WSGI server does not hand its sockets to applications, so no device can connect. Use gevent's pywsgi"
    " with handler_class=WebSocketHandler, Flask's app.run(), or gunicorn with --worker-class gthread; a program that"
    " ends in eventlet's server is started with 'iotio run FILE'.\n"
)

_GTHREAD = "use gunicorn --worker-class gthread --workers 1 --threads 100"
_SEVERAL = f"the server has several processes, and the devices of one are unknown in the others: {_GTHREAD}"
_SYNC = f"a sync worker of gunicorn does one thing at a time, and one device would hold it for ever: {_GTHREAD}"


def tell_of_eventlet(environ: WSGIEnvironment | None = None) -> None:
    """Log once that a program is served by eventlet, which can serve no device.

    Args:
        environ: of a request, which says by whom it is served; without one, before the server starts, the server of
            eventlet is loaded or not.
    """
    global _told_of_eventlet
    server = sys.modules.get("eventlet.wsgi")
    served = hasattr(server, "HttpProtocol") if environ is None else "eventlet.input" in environ
    if served and not _told_of_eventlet:
        _told_of_eventlet = True
        file = os.path.basename(getattr(sys.modules.get("__main__"), "__file__", None) or "FILE")
        logger.warning(
            "eventlet.wsgi cannot serve devices, as it hands its sockets to no application; start this program with:"
            " iotio run %s",
            file,
        )


class DeviceEnd(ConnectionResetError):
    """Tell a threaded WSGI server, when a device is gone, that there is no HTTP response.

    Werkzeug and gunicorn both take it as a client that went away, which is what happened, and close the socket.
    """

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the device's connection has ended")


class IoTManagerMiddleware:
    """Serve devices, and pass all other requests on to a WSGI application.

    Args:
        app: the Flask application; iot.io 0.4 has this attribute.
        wsgi_app: the WSGI application that serves all other paths.
        manager: the devices' manager.
        loop_thread: the manager's; without it a new one.
        scope_of: returns the scope of a device's handlers, from its environ.

    Attributes:
        announced: whether the log says where devices are served; it does from the first request on.
    """

    def __init__(
        self,
        app: Any,
        wsgi_app: WSGIApplication,
        manager: Manager,
        *,
        loop_thread: LoopThread | None = None,
        scope_of: Callable[[WSGIEnvironment], Scope] | None = None,
    ) -> None:
        self.app = app
        self.wsgi_app = wsgi_app
        self.manager = manager
        self._loop_thread = loop_thread if loop_thread is not None else LoopThread(manager)
        self._scope_of = scope_of
        self._proxies = TrustedProxies(manager.options.trusted_proxies)
        self._told = False  # that no device can be served
        self.announced = False
        guard_logs()  # of what the program has loaded already; of the rest with the first request

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        guard_logs()
        if not self.announced:
            self.announced = True
            if not self.manager._disowned:
                announce(self.manager, [_place(environ)], environ.get("SERVER_SOFTWARE", "").partition(" ")[0])
        if self._proxies:
            self._proxies.correct(environ)
        if self.manager.background.waits_for_begin and not self.manager._disowned:
            self.manager.begin()
        if environ.get("PATH_INFO") not in PATHS:
            guard_body(environ)
            return self.wsgi_app(environ, start_response)
        return self.ws(environ, start_response)

    def ws(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one device, from its upgrade request to its end."""
        tell_of_eventlet(environ)
        websocket = environ.get("wsgi.websocket")
        if websocket is not None:
            self.serve_websocket(websocket, environ)
            return []
        if self.manager._disowned:
            return self._refuse(start_response, self.manager._disowned)
        if environ.get("HTTP_UPGRADE", "").lower() != "websocket":
            return _answer(start_response, "426 Upgrade Required", NO_UPGRADE, [("Upgrade", "websocket")])
        if environ.get("wsgi.multiprocess"):
            return self._refuse(start_response, _SEVERAL)
        if "gunicorn.socket" in environ and not environ.get("wsgi.multithread"):
            return self._refuse(start_response, _SYNC)
        headers = _headers(environ)
        try:
            response = _accept(environ, headers)
        except InvalidHandshake:  # a header that no header can be
            words = "A header of the request has bytes that it may not have.\n"
            return _answer(start_response, "400 Bad Request", words)
        if response.status_code == 101:
            response = turn_away(self.manager, headers, _peer(environ)) or response
        if response.status_code != 101:
            status = f"{response.status_code} {response.reason_phrase}"
            return _answer(start_response, status, (response.body or b"").decode(), _extra(response))
        sock = environ.get("werkzeug.socket") or environ.get("gunicorn.socket")
        if sock is None:
            if self.manager.log_throttle.ask("no socket") is not None:
                logger.error("a device at %s is refused. %s", _peer(environ), _NO_SOCKET.strip())
            return _answer(start_response, "501 Not Implemented", _NO_SOCKET)
        sock.setblocking(False)
        first = _leftover(environ)
        waits = _waits(sock)
        self._serve(environ, headers, sock, waits, first, response.serialize())
        raise DeviceEnd

    def serve_websocket(self, websocket: Any, environ: WSGIEnvironment) -> None:
        """Serve a device whose upgrade gevent-websocket has answered."""
        from .greenlets import GreenletWaits, take_over

        sock, first, headers, subprotocol = take_over(websocket)
        if self._proxies:
            headers = [(name, value) for name, value in headers if name.lower() != "host"]
            headers.append(("Host", environ.get("HTTP_HOST", "")))
        self._serve(environ, headers, sock, GreenletWaits(sock), first, b"", subprotocol)

    def _refuse(self, start_response: StartResponse, why: str) -> Iterable[bytes]:
        """Answer a device with 503; the first one is logged, with the reason."""
        if not self._told:
            self._told = True
            logger.error("no device can be served here: %s", why)
        return _answer(start_response, "503 Service Unavailable", "This process serves no devices.\n")

    def _serve(
        self,
        environ: WSGIEnvironment,
        headers: Iterable[tuple[str, str]],
        sock: socket.socket,
        waits: Waits,
        first: bytes,
        response: bytes,
        subprotocol: str | None = None,
    ) -> None:
        scope = self._scope_of(environ) if self._scope_of is not None else None
        connection = SocketConnection(
            self.manager,
            headers,
            sock,
            waits,
            self._loop_thread,
            peer=_peer(environ),
            scope=scope,
            subprotocol=subprotocol or agreed(response),
        )
        connection.serve(first, response=response)


def waiting_here() -> Callable[[Signal, float | None], bool]:
    """Choose how to wait in this thread: a hub that serves devices must go on running."""
    greenlets = sys.modules.get(f"{__package__}.greenlets")  # not there as long as gevent serves nobody
    if greenlets is not None and greenlets.serves_here():
        chosen: Callable[[Signal, float | None], bool] = greenlets.wait_in_greenlet
        return chosen
    return wait


def _waits(sock: socket.socket) -> Waits:
    """Choose how to wait on a socket: gunicorn's gevent worker gives sockets of gevent's."""
    if type(sock).__module__.partition(".")[0] == "gevent":
        from .greenlets import GreenletWaits

        return GreenletWaits(sock)
    return ThreadWaits(sock)


def _headers(environ: WSGIEnvironment) -> list[tuple[str, str]]:
    return [(key[5:].replace("_", "-"), value) for key, value in environ.items() if key.startswith("HTTP_")]


def _accept(environ: WSGIEnvironment, headers: list[tuple[str, str]]) -> Response:
    """Check the upgrade request (RFC 6455, 4.2) and make the answer. No extension is ever accepted."""
    request = Request(environ.get("PATH_INFO", PATH), Headers(headers))
    request.method = environ.get("REQUEST_METHOD", "GET")
    return judge(request)


def _leftover(environ: WSGIEnvironment) -> bytes:
    """Return what the server has read behind the request. The socket must be non-blocking by now."""
    stream = environ["wsgi.input"]
    unreader = getattr(getattr(stream, "reader", None), "unreader", None)
    if unreader is not None:  # gunicorn
        unread: bytes = unreader.buf.getvalue()
        return unread
    return read_buffered(stream) if hasattr(stream, "read1") else b""  # Werkzeug gives its own stream


def _answer(
    start_response: StartResponse, status: str, text: str, headers: Iterable[tuple[str, str]] = ()
) -> list[bytes]:
    body = text.encode()
    fixed = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response(status, [*fixed, *headers])
    return [body]


def _extra(response: Response) -> list[tuple[str, str]]:
    """Return the headers that say what a right request would have been."""
    wanted = ("allow", "upgrade", "sec-websocket-version")
    return [(name, value) for name, value in response.headers.raw_items() if name.lower() in wanted]


def _place(environ: WSGIEnvironment) -> str:
    """Return where the server listens, as far as it tells its applications."""
    host, port = environ.get("SERVER_NAME", "?"), environ.get("SERVER_PORT", "")
    if not port:
        return f"the Unix socket {host}"
    return place_of(environ.get("wsgi.url_scheme", "http"), host, port)


def _peer(environ: WSGIEnvironment) -> str:
    address = environ.get("REMOTE_ADDR", "?").removeprefix("::ffff:")  # gevent's ("", port) is a socket of IPv6
    return f"{address}:{environ.get('REMOTE_PORT', '?')}"
