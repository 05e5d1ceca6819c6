"""Devices with endpoints, for tests of their twins."""

from __future__ import annotations

from typing import Any

from iotio import DeviceType, IoTManager
from iotio.core.handles import DeviceHandle
from iotio.core.ports import ReadingSink
from iotio.core.storage.contract import Store
from iotio.testing import FakeDevice

__all__ = ["ENDPOINTS", "make_manager", "the_device"]

ENDPOINTS: list[dict[str, Any]] = [
    {
        "id": "level",
        "name": "Level",
        "type": "integer",
        "constraints": {"min": 0, "max": 100, "increment": 1},
    },
    {"id": "on", "name": "On", "type": "boolean"},
    {"id": "heat", "name": "Heat", "type": "float", "unit": "°C", "access": "read"},
    {"id": "text", "name": "Text", "type": "string"},
    {"id": "push", "name": "Push", "type": "boolean", "access": "write"},
]


def make_manager(
    *types: DeviceType, store: Store | str | None = None, history: ReadingSink | None = None
) -> IoTManager:
    """A manager with a type `lamp`, or with these types."""
    manager = IoTManager(store=store)
    if history is not None:
        manager.recorder.readings = history
    for one in types or (DeviceType("lamp"),):
        manager.add_type(one)
    return manager


def the_device(lamp: FakeDevice) -> DeviceHandle:
    """The server's handle of a device."""
    found = lamp._manager.device(lamp.id)
    assert found is not None
    return found
