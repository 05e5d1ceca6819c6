"""A server for devices of the type "echo": it prints their messages and sends them back.

Run it with `python examples/echo.py`, then `python examples/device_echo.py` in another terminal.
"""

from __future__ import annotations

from flask import Flask
from gevent import pywsgi
from geventwebsocket.handler import WebSocketHandler

from iotio import DeviceType, IoTClient, IoTManager

app = Flask(__name__)
manager = IoTManager(app)


class Echo(DeviceType):
    """A device that is answered with what it says."""

    def on_connect(self, client: IoTClient) -> None:
        print(f"{client.id} connected")

    def on_echo(self, message: str, client: IoTClient) -> tuple[str, str]:
        print(f"{client.id} says {message!r}")
        # A tuple is the event and the value of the answer; a value alone goes back under the same event.
        return "echo_response", message

    def on_disconnect(self, client: IoTClient) -> None:
        print(f"{client.id} disconnected")


manager.add_type(Echo("echo"))

if __name__ == "__main__":
    pywsgi.WSGIServer(("", 5000), app, handler_class=WebSocketHandler).serve_forever()
