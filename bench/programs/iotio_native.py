"""This project's native server. argv: port, and the URL of a store if it is to have one"""

import logging
import sys
from typing import Any

from flask import Flask

from iotio import DeviceType, IoTClient, IoTManager

logging.disable(logging.CRITICAL)
app = Flask("bench")
manager = IoTManager(app, store=sys.argv[2] if len(sys.argv) > 2 else None)


class Echo(DeviceType):
    """Echoes on the loop."""

    async def on_echo(self, message: str, client: IoTClient) -> str:
        return message


class EchoDef(DeviceType):
    """Echoes on a worker thread."""

    def on_echo(self, message: str, client: IoTClient) -> str:
        return message


class Sub(DeviceType):
    """Gets what the publisher sends."""


class Pub(DeviceType):
    """Each of its messages goes to all devices of the type "sub"."""

    async def on_pub(self, message: str, client: IoTClient) -> Any:
        manager.emit("pub", message, client_type="sub")


for device_type in (Echo("echo"), EchoDef("echo_def"), Sub("sub"), Pub("pub")):
    manager.add_type(device_type)

if __name__ == "__main__":
    manager.run(host="127.0.0.1", port=int(sys.argv[1]))
