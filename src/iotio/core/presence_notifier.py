"""Calls `on_presence`: once for each change, and for one device in order."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable
from typing import Any

from iotio_protocol.presence import PresenceReason, Transition

from .handles import DeviceHandle
from .observers import ObserverThreads
from .ports import PresencePort
from .primitives import allocate_lock

__all__ = ["MAX_FORGOTTEN", "PresenceNotifier"]

MAX_FORGOTTEN = 1000
"""Devices that are forgotten and whose changes are not told yet; beyond, no device comes in that is not known."""

_MAX_UNTOLD = 64  # changes of one device; beyond, two become one
_PATIENCE = 2.0  # seconds that a change may wait for the handlers of its device, which may be stuck


class _Queue:
    """Changes of one device that `on_presence` is to be called with.

    Attributes:
        items: the changes, oldest first.
        is_told: a thread is delivering this queue, and will also deliver what is added meanwhile.
        is_last: the device was forgotten meanwhile.
        since: when the queue was made, on the manager's clock.
    """

    __slots__ = ("is_last", "is_told", "items", "since")

    def __init__(self, since: float) -> None:
        self.items: deque[tuple[DeviceHandle, Transition]] = deque()
        self.is_told = self.is_last = False
        self.since = since


class PresenceNotifier:
    """Keeps changes of presence until they are delivered.

    A change that comes with a connection is told in its lane, after `on_connect` or `on_disconnect`; any other one, and
    one whose lane is stuck, by a thread of the notifier's own.

    Attributes:
        threads: for what comes with no connection.
        merged: how many changes were never told, because `on_presence` was too slow.
        n_forgotten: devices that are forgotten and whose changes are not told yet.

    Args:
        manager: whose devices they are.
    """

    def __init__(self, manager: PresencePort) -> None:
        self.threads = ObserverThreads(manager, "on_presence", self.tell)
        self.merged = 0
        self.n_forgotten = 0
        self._manager = manager
        self._lock = allocate_lock()  # may be taken by who holds the registry's
        self._queues: dict[str, _Queue] = {}

    def functions(self, device: DeviceHandle) -> list[Callable[..., Any]]:
        """List what is to be called for a device: its type's `on_presence`, then the manager's."""
        entry = self._manager.types.get(device.type)
        found = (None if entry is None else entry.on_presence, self._manager.callbacks.presence_handler)
        return [function for function in found if function is not None]

    def put(self, device: DeviceHandle, transition: Transition) -> None:
        """Queue a change. The registry's lock is held."""
        entry = self._manager.types.get(device.lasting.type)
        if (entry is None or entry.on_presence is None) and self._manager.callbacks.presence_handler is None:
            return
        with self._lock:
            queue = self._queues.get(device.id)
            if queue is None:
                queue = self._queues[device.id] = _Queue(self._manager.clock())
            if transition.reason is PresenceReason.FORGOTTEN and not queue.is_last:
                queue.is_last = True
                self.n_forgotten += 1
            if len(queue.items) >= _MAX_UNTOLD:
                self.merged += 1
                last = queue.items.pop()[1]
                if last.old is transition.new:
                    self.merged += 1
                    return
                transition = Transition(last.old, transition.new, transition.reason)
            queue.items.append((device, transition))

    def waits(self, device_id: str) -> bool:
        """Ask whether changes are queued and no thread is delivering them."""
        queue = self._queues.get(device_id)
        return queue is not None and not queue.is_told

    def is_async(self, device: DeviceHandle) -> bool:
        """Ask whether all that is to be called for a device is `async def`."""
        return all(inspect.iscoroutinefunction(function) for function in self.functions(device))

    def tell(self, device_id: str, call: Callable[..., object]) -> None:
        """Deliver the changes of a device in this thread.

        Args:
            device_id: of whom.
            call: takes a function and its arguments, calls it, and deals with what it raises.
        """
        while (item := self._take(device_id)) is not None:
            device, change = item
            try:
                for function in self.functions(device):
                    call(function, device, change.old, change.new, change.reason)
            finally:
                self._told(device_id)

    async def tell_async(self, device_id: str, failed: Callable[[str, BaseException], object]) -> None:
        """Deliver the changes of a device by `async def` functions only; `failed` gets what they raise."""
        while (item := self._take(device_id)) is not None:
            device, change = item
            try:
                for function in self.functions(device):
                    try:
                        await function(device, change.old, change.new, change.reason)
                    except (Exception, SystemExit, KeyboardInterrupt) as error:  # the last two would end the loop
                        failed("presence", error)
            finally:
                self._told(device_id)

    def soon(self, device_id: str) -> None:
        """Have a thread of the notifier deliver the changes of a device."""
        with self._lock:
            if device_id not in self._queues:
                return
        self.threads.soon(device_id)

    def sweep(self, now: float) -> None:
        """Deliver what has waited too long for its lane."""
        if not self._queues:
            return
        with self._lock:
            late = [one for one, queue in self._queues.items() if not queue.is_told and now - queue.since > _PATIENCE]
        for device_id in late:
            self.soon(device_id)

    def _take(self, device_id: str) -> tuple[DeviceHandle, Transition] | None:
        with self._lock:
            queue = self._queues.get(device_id)
            if queue is None or queue.is_told:
                return None
            queue.is_told = True
            return queue.items.popleft()

    def _told(self, device_id: str) -> None:
        with self._lock:
            queue = self._queues[device_id]
            queue.is_told = False
            if not queue.items:
                del self._queues[device_id]
                self.n_forgotten -= queue.is_last
