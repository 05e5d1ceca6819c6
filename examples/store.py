"""A server that may be killed at any time: devices, rooms, presence and messages are in a file, and so are readings.

Run it and examples/device_store.py, then look at http://localhost:PORT/, kill the server and start it again.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from flask import Flask
from sqlalchemy import text

from iotio import DeviceType, IoTClient, IoTManager

app = Flask(__name__)
manager = IoTManager(app, store="sqlite:///iotio.db")
database = sqlite3.connect("iotio.db", check_same_thread=False)  # the same file, for a table of our own
database.execute("CREATE TABLE IF NOT EXISTS reading (device TEXT, kwh REAL)")


class Meter(DeviceType):
    """A meter, whose readings are counted once, whatever happens."""

    def on_connect(self, client: IoTClient) -> None:
        client.join("cellar")

    def on_kwh(self, message: float, client: IoTClient) -> None:
        insert = text("INSERT INTO reading VALUES (:device, :kwh)")
        values = {"device": client.id, "kwh": message}
        assert client.message is not None  # it is durable
        # Written together with the note that this message was handled.
        client.message.transaction(lambda connection: connection.execute(insert, values))


manager.add_type(Meter("meter"))


@app.get("/")
def show() -> dict[str, Any]:
    total = dict(database.execute("SELECT device, sum(kwh) FROM reading GROUP BY device"))
    return {"kWh": total, "cellar": [device.id for device in manager.devices(room="cellar")]}


if __name__ == "__main__":
    manager.run(port=5000)
