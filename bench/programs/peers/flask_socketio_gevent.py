"""Flask-SocketIO under gevent. argv: port"""

from gevent import monkey

monkey.patch_all()

import logging  # noqa: E402
import sys  # noqa: E402

from flask import Flask, request  # noqa: E402
from flask_socketio import SocketIO, emit, join_room  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402
from geventwebsocket.handler import WebSocketHandler  # noqa: E402

logging.disable(logging.CRITICAL)
app = Flask(__name__)
sio = SocketIO(app, async_mode="gevent", transports=["websocket"], ping_interval=60, ping_timeout=60)


@sio.on("connect")
def connect(auth=None):
    if request.headers.get("IoT-IO-Type") == "sub":
        join_room("room")


@sio.on("echo")
def echo(data):
    emit("echo", data)


@sio.on("pub")
def pub(data):
    emit("pub", data, to="room")


address = ("127.0.0.1", int(sys.argv[1]))
WSGIServer(address, app, handler_class=WebSocketHandler, log=None, error_log=None, backlog=4096).serve_forever()
