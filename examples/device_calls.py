"""A thermostat for examples/calls.py: it calls the server, and is called."""

from __future__ import annotations

from statistics import mean
from typing import Any

from iotio_client import CallError, IoTClient

client = IoTClient("hall", "thermostat")


def read_sensor() -> float:
    """Return the temperature; a real thermostat asks its sensor."""
    return 20.5


@client.on("measure")
def measure(message: dict[str, Any]) -> float:
    return mean(read_sensor() for _ in range(message["samples"]))  # what it raises is the server's RemoteError


@client.every(60)
def ask() -> None:
    try:
        wanted = client.call("wanted", {"window_open": False}, timeout=5)
        print(f"wanted: {wanted}")
    except CallError as error:
        print(f"the server does not say: {error}")


if __name__ == "__main__":
    client.run("localhost:5000")
