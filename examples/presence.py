"""Whether devices are there: it prints each change, and shows all devices at http://localhost:PORT/.

Run it and examples/device_presence.py, a sensor that sleeps between its readings. A sensor that was switched off is
offline when its grace time is over; one that does not wake in time is late first.
"""

from __future__ import annotations

from flask import Flask

from iotio import DeviceHandle, DeviceType, DisconnectReason, IoTClient, IoTManager, Presence, PresenceReason

app = Flask(__name__)
manager = IoTManager(app)


class Sensor(DeviceType):
    """A sensor, which may be asleep."""

    def on_presence(
        self, device: DeviceHandle, old: Presence, new: Presence, reason: DisconnectReason | PresenceReason
    ) -> None:
        """Run once for each change: short breaks of the connection are none."""
        print(f"{device.id} was {old} and is {new}: {reason}")

    def on_moisture(self, message: float, client: IoTClient) -> None:
        print(f"{client.id} measures {message}")


manager.add_type(Sensor("sensor", grace=5))


@app.get("/")
def show_devices() -> dict[str, str]:
    return {device.id: f"{device.presence} since {device.since:%H:%M:%S}" for device in manager.devices.values()}


if __name__ == "__main__":
    manager.run(port=5000)
