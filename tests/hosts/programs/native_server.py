"""The native server as a program: `native_server.py PORT [LOOP]`. It says `ready PORT`, and `gone ID REASON`."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from typing import Any

import flask

from iotio import DeviceType, DisconnectReason, IoTClient, IoTManager


class Echo(DeviceType):
    """Sends back what it gets, or hangs."""

    def on_same(self, message: Any, client: IoTClient) -> Any:
        return message

    def on_stuck(self, message: int, client: IoTClient) -> None:
        client.emit("stuck", "begins")
        time.sleep(message)

    def on_disconnect(self, client: IoTClient, reason: DisconnectReason) -> None:
        os.write(1, f"gone {client.id} {reason}\n".encode())


def main() -> None:
    """Serve until a signal."""
    manager = IoTManager(flask.Flask("native"))
    manager.add_type(Echo("echo"))
    port = int(sys.argv[1])

    def tell() -> None:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                os.write(1, f"ready {port}\n".encode())
                return

    threading.Thread(target=tell, daemon=True).start()
    loop: Any = sys.argv[2] if len(sys.argv) > 2 else "auto"
    manager.run("127.0.0.1", port, loop=loop)


if __name__ == "__main__":
    main()
