"""A sensor for examples/presence.py: it wakes, sends a reading, and says for how long it will sleep."""

from __future__ import annotations

import time

from iotio_client import IoTClient

NAP = 10.0  # seconds
client = IoTClient("soil", "sensor")


def send_reading() -> None:
    """Be connected for as long as a reading takes, a minute at most."""
    with client.start("localhost:5000"):
        client.emit("moisture", 0.42, durable=True)  # waits in the client until there is a connection
        try:
            client.flush(timeout=60)
        except TimeoutError:
            print("no server; the reading goes with the next one")
        client.sleep(NAP)


if __name__ == "__main__":
    while True:
        send_reading()
        time.sleep(NAP)
