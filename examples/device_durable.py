"""A door for examples/durable.py: type a name, and the server is told who has opened it, now or later.

What waits is in a file, so that neither side loses anything when this program ends.
"""

from __future__ import annotations

import sys

from iotio_client import Buffer, IoTClient

client = IoTClient("front", "door", buffer=Buffer("door.db"))


@client.on("lock")
def on_lock(message: bool) -> None:
    print(f"the door is {'locked' if message else 'unlocked'}")


if __name__ == "__main__":
    with client.start("localhost:5000"):
        for line in sys.stdin:
            client.emit("opened", line.rstrip("\n"), durable=True)
            print(f"messages that wait: {client.waiting}")
