"""A greenhouse: the program that test_server.py tests. It runs by `iotio run examples/testing/server.py`."""

from __future__ import annotations

from iotio import CallError, DeviceHandle, DeviceType, DisconnectReason, IoTClient, IoTManager, Presence, PresenceReason

manager = IoTManager()
alerts: list[str] = []


class Sensor(DeviceType):
    async def on_temperature(self, message: float, client: IoTClient) -> str:
        if not -40 <= message <= 80:
            raise ValueError(f"{client.id} cannot have measured {message} °C")
        warm = message > 28
        manager.emit("open", warm, to="window", durable=True, ttl=600)  # of no use after ten minutes
        return "warm" if warm else "fine"


class Window(DeviceType):
    def on_stuck(self, message: str, client: IoTClient) -> None:
        alerts.append(f"{client.id}: {message}")


manager.add_type(Sensor("sensor"))
manager.add_type(Window("window"))


@manager.event
def on_presence(device: DeviceHandle, old: Presence, new: Presence, reason: DisconnectReason | PresenceReason) -> None:
    if new is Presence.OFFLINE and reason is not PresenceReason.FORGOTTEN:
        alerts.append(f"{device.id} is away: {reason}")


@manager.every(3600)
def look_at_the_window() -> None:
    try:
        if manager.call("window", "blocked", timeout=2):
            alerts.append("the window is blocked")
    except CallError as error:
        alerts.append(str(error))
