"""A device type that writes down changes of presence, and what tests of presence do."""

from __future__ import annotations

from typing import Any

from iotio import DeviceHandle, DeviceType, Presence
from iotio.core.manager import Manager

__all__ = ["GRACE", "Telling", "here", "known", "later"]

Told = list[tuple[str, str, str, str]]

GRACE = 15.0  # seconds, the default


class Telling(DeviceType):
    """Writes down each change of presence: id, old, new, reason."""

    def __init__(self, type_name: str = "echo", **options: Any) -> None:
        super().__init__(type_name, **options)
        self.told: Told = []

    def on_presence(self, client: DeviceHandle, old: Presence, new: Presence, reason: Any) -> None:
        self.told.append((client.id, str(old), str(new), str(reason)))

    def take(self) -> list[str]:
        """What was told since, without the ids: "old new reason"."""
        told, self.told[:] = self.told[:], []
        return [" ".join(one[1:]) for one in told]


def here(manager: Manager) -> Manager:
    """Have `on_presence` run where it would start a thread."""
    manager.notifier.threads.spawn = lambda work: work()
    return manager


def later(manager: Manager, seconds: float) -> None:
    clock: Any = manager.clock
    clock.now += seconds
    manager.sweep(clock.now)


def known(manager: Manager, device_id: str = "d1") -> DeviceHandle:
    device = manager.device(device_id)
    assert device is not None
    return device
