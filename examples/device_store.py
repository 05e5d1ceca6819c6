"""A meter for examples/store.py: each reading reaches the server once, over restarts of both."""

from __future__ import annotations

from iotio_client import Buffer, IoTClient

client = IoTClient("main", "meter", buffer=Buffer("readings.db"))


@client.every(5)
def report() -> None:
    client.emit("kwh", 0.25, durable=True)
    print(f"messages that wait: {client.waiting}")


if __name__ == "__main__":
    client.run("localhost:5000")
