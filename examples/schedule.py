"""Work that the server does beside its devices: from time to time, at its start and at its end.

Run it and examples/device_schedule.py.
"""

from __future__ import annotations

import time

from flask import Flask

from iotio import DeviceType, IoTClient, IoTManager

manager = IoTManager(Flask(__name__))
heard: dict[str, float] = {}


class Lamp(DeviceType):
    """A lamp, which says that it is on."""

    def on_alive(self, message: str, client: IoTClient) -> None:
        heard[client.id] = time.monotonic()
        print(f"{client.id}: {message}")


manager.add_type(Lamp("lamp"))


@manager.event
def on_start() -> None:
    print("before the first device")


@manager.every(2)
async def blink() -> None:  # on the loop; it may await
    manager.emit("blink", True, broadcast=True)


@manager.every(2)
def look_for_silent_ones() -> None:  # on a thread; it may take its time, and never runs twice at once
    print(f"silent: {[one for one, when in heard.items() if time.monotonic() - when > 2]}")


@manager.event
def on_stop() -> None:
    print("behind the last device")


if __name__ == "__main__":
    manager.run(port=5000)
