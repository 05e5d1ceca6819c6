"""A server whose program sets an endpoint again and again, and whose device confirms. Its end is SIGKILL."""

from __future__ import annotations

import os
import sys

from iotio import DeviceType, IoTManager

ENDPOINTS = [{"id": "level", "name": "Level", "type": "integer"}]


def say(*words: object) -> None:
    """Say a line as a whole: two threads do."""
    os.write(1, f"{' '.join(map(str, words))}\n".encode())


def main(path: str, last: int) -> None:
    """Set the numbers behind the last one; say when each returned, and what the device was sent."""
    manager = IoTManager(store=f"sqlite:///{path}")
    manager.add_type(DeviceType("lamp"))
    lamp = manager.test_client("k", "lamp", endpoints=ENDPOINTS)
    lamp.on("level", lambda value: say("sent", value))
    lamp.connect({})
    number = last
    while True:
        number += 1
        lamp._manager.device("k").set("level", number)  # type: ignore[union-attr]
        say("set", number)


main(sys.argv[1], int(sys.argv[2]))
