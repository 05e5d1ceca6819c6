"""A server with iot.io 0.2.0 under gevent; runs under the Python of its environment.

server_020.py PORT

Says {"event": "ready"} when it listens and {"event": "connect" | "message"}. Its type "echo" has the event
"message", which is sent back.
"""

from __future__ import annotations

import json
import sys

from flask import Flask
from gevent import pywsgi
from geventwebsocket.handler import WebSocketHandler

from iotio import DeviceType, IoTManager


def say(event, **values):
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()


class Echo(DeviceType):
    def on_connect(self, client):
        say("connect", id=client.id, type=client.type, data=client.data)

    def on_message(self, message, client):
        say("message", id=client.id, data=message)
        return message


def main():
    app = Flask("original")
    manager = IoTManager(app)
    manager.add_type(Echo("echo"))
    server = pywsgi.WSGIServer(("127.0.0.1", int(sys.argv[1])), app, handler_class=WebSocketHandler, log=None)
    server.start()
    say("ready", port=server.server_port)
    server.serve_forever()


main()
