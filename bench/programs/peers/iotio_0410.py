"""iot.io 0.4.10 under eventlet. argv: port"""

import sys

import eventlet
from eventlet import wsgi
from flask import Flask

from iotio import DeviceType, IoTManager

app = Flask("bench")
manager = IoTManager(app)


class Echo(DeviceType):
    def on_echo(self, message, client):
        return message


class Sub(DeviceType):
    pass


class Pub(DeviceType):
    def on_pub(self, message, client):
        manager.emit("pub", message, client_type="sub")


for device_type in (Echo("echo"), Sub("sub"), Pub("pub")):
    manager.add_type(device_type)
listener = eventlet.listen(("127.0.0.1", int(sys.argv[1])), backlog=4096)
wsgi.server(listener, app, log_output=False, max_size=20000)
