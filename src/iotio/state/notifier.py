"""Calls `on_state`: once for each change, and for one device in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from iotio.core.handles import DeviceHandle
from iotio.core.observers import ObserverThreads
from iotio.core.ports import PresencePort
from iotio.core.primitives import allocate_lock
from iotio_protocol.twin import State

__all__ = ["MAX_DEVICES", "MAX_UNTOLD", "Change", "StateNotifier"]

MAX_UNTOLD = 64
"""Changes of one device that wait to be told; beyond, two of one endpoint become one."""

MAX_DEVICES = 10_000
"""Devices with such changes; beyond, those of others are not told."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of an endpoint."""

    endpoint_id: str
    old: State
    new: State


class _Queue:
    """Changes of one device that `on_state` is to be called with, oldest first; one thread delivers them."""

    __slots__ = ("device", "is_told", "items")

    def __init__(self, device: DeviceHandle) -> None:
        self.device = device
        self.items: deque[Change] = deque()
        self.is_told = False

    def put(self, change: Change) -> bool:
        """Add a change. Returns False if it was merged into an earlier one."""
        if len(self.items) >= MAX_UNTOLD:
            for index in reversed(range(len(self.items))):
                before = self.items[index]
                if before.endpoint_id == change.endpoint_id:
                    self.items[index] = Change(change.endpoint_id, before.old, change.new)
                    return False
        self.items.append(change)
        return True


class StateNotifier:
    """Keeps changes of states until they are delivered, in threads of its own.

    Attributes:
        threads: these.
        merged: how many changes were never told, because `on_state` was too slow.

    Args:
        manager: whose devices they are.
    """

    def __init__(self, manager: PresencePort) -> None:
        self.threads = ObserverThreads(manager, "on_state", self.tell)
        self.merged = 0
        self._manager = manager
        self._lock = allocate_lock()
        self._queues: dict[str, _Queue] = {}

    def functions(self, device: DeviceHandle) -> list[Callable[..., Any]]:
        """List what is to be called for a device: its type's `on_state`, then the manager's."""
        entry = self._manager.types.get(device.type)
        found = (None if entry is None else entry.on_state, self._manager.callbacks.state_handler)
        return [function for function in found if function is not None]

    def put(self, device: DeviceHandle, changes: Sequence[Change]) -> None:
        """Have changes told. No lock is held."""
        if not changes:
            return
        with self._lock:
            queue = self._queues.get(device.id)
            if queue is None:
                if len(self._queues) >= MAX_DEVICES:
                    self.merged += len(changes)
                    return
                queue = self._queues[device.id] = _Queue(device)
            for change in changes:
                self.merged += not queue.put(change)
        self.threads.soon(device.id)

    def tell(self, device_id: str, call: Callable[..., object]) -> None:
        """Deliver the changes of a device in this thread; `call` takes a function and its arguments."""
        while (item := self._take(device_id)) is not None:
            device, change = item
            try:
                for function in self.functions(device):
                    call(function, device, change.endpoint_id, change.old, change.new)
            finally:
                self._told(device_id)

    def _take(self, device_id: str) -> tuple[DeviceHandle, Change] | None:
        with self._lock:
            queue = self._queues.get(device_id)
            if queue is None or queue.is_told:
                return None
            queue.is_told = True
            return queue.device, queue.items.popleft()

    def _told(self, device_id: str) -> None:
        with self._lock:
            queue = self._queues[device_id]
            queue.is_told = False
            if not queue.items:
                del self._queues[device_id]
