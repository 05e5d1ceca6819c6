"""Tell the store writer which devices have changed, and make their records when it writes them."""

from __future__ import annotations

from contextlib import suppress

from ..durable.messages import DurableMessages
from ..handles import Device
from ..registry import Registry
from .contract import DropDevice, Snapshot, StoreUnavailable
from .records import DeviceRecord
from .writer import StoreWriter

__all__ = ["StoreRecorder"]


class StoreRecorder:
    """Marks devices whose record differs from before; the writer's thread asks for the record when it writes.

    So a connect, which holds the lock of the registry here, costs a mark, and a device that changes ten times while one
    commit runs has one record made. A forgotten device takes its durable messages with it.

    Attributes:
        writer: the store writer, or None without a store.

    Args:
        registry: knows the devices.
        messages: knows their streams of durable messages.
    """

    def __init__(self, registry: Registry, messages: DurableMessages) -> None:
        self.writer: StoreWriter | None = None
        self._registry = registry
        self._messages = messages

    # -- from presence, which holds the registry's lock ------------------------------------------------

    def changed(self, device: Device) -> None:
        """Mark a device whose record differs from before."""
        if self.writer is not None:
            self.writer.mark(device.id)

    def dropped(self, device: Device) -> None:
        """Have a device and its messages deleted from the store, and close its durable queue."""
        self._messages.drop(device.id)
        if self.writer is not None:
            with suppress(StoreUnavailable):  # closed
                self.writer.submit(DropDevice(device.id))

    def dropped_later(self) -> None:
        """Drop the messages of forgotten devices. The registry's lock is free."""
        self._messages.drop_forgotten()

    # -- from the writer's thread ----------------------------------------------------------------------

    def record(self, device_id: str) -> DeviceRecord | None:
        """Make the record of a device as it is now; None if it is not known (any more)."""
        with self._registry.lock:  # a device is forgotten under it, and its durable queue with it
            device = self._registry.find(device_id)
            return None if device is None else self._messages.record(device.snapshot())

    def snapshot(self) -> Snapshot:
        """Make the records of all devices and all messages."""
        with self._registry.lock:
            devices = tuple(self._messages.record(device.snapshot()) for device in self._registry.all())
        return Snapshot(devices, tuple(self._messages.records()))
