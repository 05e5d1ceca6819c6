"""Durable messages: they wait for a device that is away, and its handler runs once for each.

Run it and examples/device_durable.py, then `curl -X POST http://localhost:PORT/locked`; end the device and try again.
"""

from __future__ import annotations

from flask import Flask

from iotio import DeviceType, IoTClient, IoTManager

app = Flask(__name__)
manager = IoTManager(app)


class Door(DeviceType):
    """A door, which says who has opened it."""

    def on_opened(self, message: str, client: IoTClient) -> None:
        when = client.message.time if client.message else None  # None: now
        print(f"{client.id} was opened by {message}" + (f" at {when:%H:%M:%S}" if when else ""))


manager.add_type(Door("door"))


@app.post("/<any(locked, unlocked):state>")
def set_door(state: str) -> dict[str, str]:
    # Of no use after an hour; and of several that wait, only the last one counts.
    result = manager.emit("lock", state == "locked", to="front", durable=True, ttl=3600, coalesce="lock")
    if not result.delivery:
        return dict(result.dropped)  # why: the device has never been here, or its place is full
    return {"front": result.delivery.wait(timeout=1)}  # done, or queued until the device is back


if __name__ == "__main__":
    manager.run(port=5000)
