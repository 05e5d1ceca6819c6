"""A server as a program: `signalled.py native|gevent|flask PORT`; prints `gone ID REASON` of each device."""

from __future__ import annotations

import os
import sys

import flask

from iotio import DeviceType, DisconnectReason, IoTClient, IoTManager


class Echo(DeviceType):
    """Tells of the end of its devices."""

    def on_disconnect(self, client: IoTClient, reason: DisconnectReason = DisconnectReason.REMOVED) -> None:
        os.write(int(os.environ.get("TOLD", "1")), f"gone {client.id} {reason}\n".encode())


def main() -> None:
    """Serve until a signal."""
    app = flask.Flask("signalled")
    manager = IoTManager(app)
    manager.add_type(Echo("echo"))
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "native":
        manager.run("127.0.0.1", port)
    elif kind == "flask":
        app.run("127.0.0.1", port)
    else:
        from gevent import pywsgi
        from geventwebsocket.handler import WebSocketHandler

        pywsgi.WSGIServer(("127.0.0.1", port), app, handler_class=WebSocketHandler, log=None).serve_forever()


if __name__ == "__main__":
    main()
