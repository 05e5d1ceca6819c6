"""A server with iot.io 0.4.10 under eventlet; runs under the Python of its environment.

server_0410.py PORT

Says {"event": "ready"} when it listens and {"event": "connect" | "disconnect" | "message"}. Its type
"echo" has: message (sent back), pair (sent back as the event "answer"), emit_to (a dict with id, name and
data: sent on to that device), join (a room name), to_room (a dict with room, name and data). POST /api/iot.io
is on.
"""

from __future__ import annotations

import json
import sys

import eventlet
from eventlet import wsgi
from flask import Flask

from iotio import DeviceType, IoTManager, emit, join


def say(event, **values):
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()


def to_json(value):
    return {"hex": bytes(value).hex()} if isinstance(value, (bytes, bytearray)) else value


class Echo(DeviceType):
    def on_connect(self, client):
        say("connect", id=client.id, type=client.type, data=client.data, endpoints=len(client.endpoints))

    def on_disconnect(self, client):
        say("disconnect", id=client.id)

    def on_message(self, message, client):
        say("message", id=client.id, data=to_json(message))
        return message

    def on_pair(self, message, client):
        return "answer", message

    def on_emit_to(self, message, client):
        emit(message["name"], message["data"], client_id=message["id"])

    def on_join(self, message, client):
        join(message)

    def on_to_room(self, message, client):
        emit(message["name"], message["data"], room=message["room"])


def main():
    app = Flask("original")
    manager = IoTManager(app, endpoint_api=True)
    manager.add_type(Echo("echo"))
    listener = eventlet.listen(("127.0.0.1", int(sys.argv[1])))
    say("ready", port=listener.getsockname()[1])
    wsgi.server(listener, app, log_output=False)


main()
