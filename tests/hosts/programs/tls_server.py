"""The echo type behind TLS: `tls_server.py HOST CERTIFICATE KEY`; prints `ready PORT`."""

from __future__ import annotations

import signal
import sys
from typing import Any

import flask

from iotio import DeviceType, IoTClient, IoTManager


class Echo(DeviceType):
    """Sends back what it gets, or what its device answers."""

    def on_echo(self, message: Any, client: IoTClient) -> Any:
        return message

    def on_call(self, message: Any, client: IoTClient) -> Any:
        return client.call("ask", message)

    async def on_acall(self, message: Any, client: IoTClient) -> Any:
        return await client.acall("ask", message)


def serve(host: str, certificate: str, key: str) -> None:
    """Serve until the process ends."""
    app = flask.Flask("tls")
    manager = IoTManager(app)
    manager.add_type(Echo("echo"))
    if host == "gevent":
        from gevent import pywsgi
        from geventwebsocket.handler import WebSocketHandler

        pool = pywsgi.WSGIServer(
            ("127.0.0.1", 0), app, handler_class=WebSocketHandler, log=None, certfile=certificate, keyfile=key
        )
        pool.start()
        print(f"ready {pool.server_port}", flush=True)
        pool.serve_forever()
    elif host == "native":
        print(f"ready {manager.start(ssl_certfile=certificate, ssl_keyfile=key)}", flush=True)
        signal.pause()
    else:
        from werkzeug.serving import make_server

        server = make_server("127.0.0.1", 0, app, threaded=True, ssl_context=(certificate, key))
        print(f"ready {server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    serve(*sys.argv[1:])
