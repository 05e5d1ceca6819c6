"""A server for Autobahn: `echo_server.py HOST PORT`, with an echo of whole messages in the place of our session.

HOST is the kind of host, "native", "asgi", "gevent" or "threaded". Prints `ready PORT` when it listens; PORT 0
picks a free one.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

import flask

import iotio.core.connection
from iotio import IoTManager, Options
from iotio_protocol import v1
from iotio_protocol.frames import BINARY, TEXT, Item, encode_frame
from iotio_protocol.options import Options as SessionOptions
from iotio_protocol.session import Codec, Event, Session

# Its peers are never let in, and get whole messages back all the same.
iotio.core.connection._MAX_UNREAD = 64 * 1024 * 1024


class EchoSession(Session):
    """Sends every message back; all rules of the frame layer are the product's."""

    def __init__(self, version: int, options: SessionOptions, now: float, codec: Codec = v1) -> None:
        super().__init__(version, options, now, codec)
        self.open()

    def digest(self, items: list[Item], now: float) -> list[Event]:
        events: list[Event] = []
        for item in items:
            if isinstance(item, bytes):
                self._out.append(encode_frame(BINARY, item))
            elif isinstance(item, str):
                self._out.append(encode_frame(TEXT, item.encode()))
            else:
                self._control(item, events, now)
        return events


class EchoManager(IoTManager):
    """A manager whose connections echo."""

    session_factory = EchoSession


def make_app() -> flask.Flask:
    """An application that takes devices at every path."""
    app = flask.Flask("autobahn")
    EchoManager(app, options=Options(max_payload=32 * 1024 * 1024, ping_interval=0, max_outbox=64 * 1024 * 1024))
    devices = app.wsgi_app

    def at_every_path(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return devices({**environ, "PATH_INFO": "/iot.io"}, start_response)

    app.wsgi_app = at_every_path  # type: ignore[method-assign]  # what Flask documents for middleware
    return app


def serve_gevent(app: flask.Flask, port: int) -> None:
    """The quickstart's host."""
    from gevent import pywsgi
    from geventwebsocket.handler import WebSocketHandler

    server = pywsgi.WSGIServer(("127.0.0.1", port), app, handler_class=WebSocketHandler, log=None)
    server.start()
    print(f"ready {server.server_port}", flush=True)
    server.serve_forever()


def serve_threaded(app: flask.Flask, port: int) -> None:
    """Flask's own server, a thread for each connection."""
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", port, app, threaded=True)
    print(f"ready {server.server_port}", flush=True)
    server.serve_forever()


class EveryPath(tuple[str, ...]):
    """All paths, because the suite asks for some of its own."""

    def __contains__(self, path: object) -> bool:
        return True


def serve_asgi(app: flask.Flask, port: int) -> None:
    """uvicorn, whose own WebSockets carry the devices."""
    import uvicorn

    from iotio.hosts.asgi import app as mount

    mount.PATHS = EveryPath()  # type: ignore[assignment, attr-defined]  # as below
    manager: EchoManager = app.extensions["iot.io"]
    config = uvicorn.Config(
        manager.asgi,
        port=port,
        ws="wsproto",  # with websockets, uvicorn answers 1002 to a CLOSE inside of a fragmented message (7.1.5)
        ws_max_size=64 * 1024 * 1024,
        ws_per_message_deflate=False,
        log_level="warning",
    )
    with socket.create_server(("127.0.0.1", port)) as listener:
        print(f"ready {listener.getsockname()[1]}", flush=True)
        uvicorn.Server(config).run([listener])


def serve_native(app: flask.Flask, port: int) -> None:
    """The host that `manager.run` is."""
    from iotio.hosts.native import protocols

    protocols.PATHS = EveryPath()  # type: ignore[assignment, attr-defined]  # the suite asks for paths of its own
    manager: EchoManager = app.extensions["iot.io"]
    server = manager._server(host="127.0.0.1", port=port)

    def tell() -> None:
        server.ready.wait()
        print(f"ready {server.port}", flush=True)

    threading.Thread(target=tell, daemon=True).start()
    server.run()


SERVE = {"native": serve_native, "asgi": serve_asgi, "gevent": serve_gevent, "threaded": serve_threaded}

if __name__ == "__main__":
    SERVE[sys.argv[1]](make_app(), int(sys.argv[2]))
