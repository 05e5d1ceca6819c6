"""A lamp for examples/schedule.py: it does something from time to time, too."""

from __future__ import annotations

from itertools import count

from iotio_client import IoTClient

client = IoTClient("porch", "lamp")
numbers = count(1)


@client.on("blink")
def on_blink(message: bool) -> None:
    print("blink")


@client.every(1)
def report() -> None:
    client.emit("alive", f"report {next(numbers)}")


if __name__ == "__main__":
    client.run("localhost:5000")
