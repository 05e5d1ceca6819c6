"""The server of test_kills.py: PORT DATABASE COUNT. It sends so many durable commands and notes every reading.

What a reading does is written in the transaction that notes it as handled, in the store's own database.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
import time

from flask import Flask

from iotio import DeviceType, IoTClient, IoTManager, StoreUnavailable

PORT, DATABASE, COUNT = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])

with sqlite3.connect(DATABASE, timeout=30) as database:
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE IF NOT EXISTS effect (place INTEGER PRIMARY KEY, value INTEGER NOT NULL)")
database.close()

app = Flask(__name__)
manager = IoTManager(app, store=f"sqlite:///{DATABASE}")


class Sensor(DeviceType):
    def on_reading(self, message: int, client: IoTClient) -> None:
        assert client.message is not None
        client.message.transaction(
            lambda connection: connection.exec_driver_sql("INSERT INTO effect (value) VALUES (?)", (message,))
        )


def command() -> None:
    """Emit what is left; the number of a message in its stream is the command."""
    while (device := manager.device("d")) is None:
        time.sleep(0.02)  # the very first connection
    value = manager.durable_messages.queue("d").position[1] + 1
    while value <= COUNT:
        try:
            device.emit("command", value, durable=True)
        except StoreUnavailable:
            time.sleep(0.1)
        else:
            value = manager.durable_messages.queue("d").position[1] + 1


manager.add_type(Sensor("sensor"))
threading.Thread(target=command, daemon=True).start()
manager.run("127.0.0.1", PORT)
