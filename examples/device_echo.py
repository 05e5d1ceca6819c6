"""A device for examples/echo.py: it sends what you type and prints what comes back."""

from __future__ import annotations

import sys
import threading

from iotio_client import IoTClient

client = IoTClient("echo_device", "echo")


@client.on("echo_response")
def on_echo_response(message: str) -> None:
    print(f"the server answers {message!r}")


def send_lines() -> None:
    """Send each line of standard input."""
    client.ensure_open()
    print("connected; type something")
    for line in sys.stdin:
        client.send("echo", line.rstrip("\n"))


if __name__ == "__main__":
    threading.Thread(target=send_lines, daemon=True).start()
    client.run("localhost:5000", use_tls=False)
