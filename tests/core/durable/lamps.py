"""A device type and what the tests of durable messages do with its devices."""

from __future__ import annotations

from typing import Any

from iotio import DeviceType
from iotio.core.durable.delivery import Delivery
from iotio.core.manager import Manager
from tests.support.memory import V2Device, v2_device


class Lamp(DeviceType):
    """Notes what its devices say."""

    def __init__(self) -> None:
        super().__init__("lamp")
        self.seen: list[Any] = []
        self.inside: Any = lambda message, client: None

    def on_read(self, message: Any, client: Any) -> Any:
        """Note it, with what is known of it."""
        self.seen.append((message, client.message.id))
        return self.inside(message, client)

    def on_connect(self, client: Any) -> None:
        """Say something that must arrive, if it wants that."""
        if client.data == "greet":
            client.emit("hello", 1, durable=True)


def connect(manager: Manager, **fields: Any) -> V2Device:
    return v2_device(manager, "d", "lamp", **fields)


def away(manager: Manager) -> str:
    """A device that has been here. Returns the name of its stream."""
    device = connect(manager)
    device.drop()
    return str(device.welcome["sends"])


def emit(manager: Manager, value: Any, **how: Any) -> Delivery:
    delivery = manager.emit("set", value, client_id="d", durable=True, **how).delivery
    assert delivery is not None
    return delivery
