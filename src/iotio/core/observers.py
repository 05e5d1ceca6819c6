"""Threads that call what observes devices, such as `on_presence`, where that is not done in a lane."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from contextvars import Context
from typing import Any

from .handles import DeviceHandle
from .ports import PresencePort
from .primitives import allocate_lock, start_thread

__all__ = ["MAX_THREADS", "ObserverThreads"]

MAX_THREADS = 8
"""Threads of one kind of observer; they end when there is nothing more to tell."""


class ObserverThreads:
    """Tell observers of devices, several at a time, in threads that are started when they are needed.

    Attributes:
        spawn: starts a thread; a test may put its own here.

    Args:
        manager: whose devices they are.
        name: of the observer, such as "on_presence".
        tell: delivers what is queued for the device of an id, by means of a function that takes an observer, the device
            and further arguments.
    """

    def __init__(self, manager: PresencePort, name: str, tell: Callable[[str, Callable[..., object]], object]) -> None:
        self.spawn: Callable[[Callable[[], None]], object] = start_thread
        self._manager = manager
        self._name = name
        self._tell = tell
        self._lock = allocate_lock()
        self._ready: OrderedDict[str, None] = OrderedDict()  # ids of devices
        self._threads = 0

    def soon(self, device_id: str) -> None:
        """Have what is queued for a device delivered by a thread."""
        with self._lock:
            self._ready[device_id] = None
            starts = self._threads < MAX_THREADS
            self._threads += starts
        if starts:
            self.spawn(self._work)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._ready:
                    self._threads -= 1
                    return
                device_id, _ = self._ready.popitem(last=False)
            self._tell(device_id, self._call)

    def _call(self, function: Callable[..., Any], device: DeviceHandle, *args: Any) -> None:
        """Call an observer in no device's context, but in the application's."""
        context = Context()
        scope = self._manager.scope
        entered = nullcontext() if scope is None else scope(device)
        try:
            context.run(entered.__enter__)
            try:
                result = context.run(function, device, *args)
                if hasattr(result, "__await__"):
                    self._manager.run_awaitable(result, context)
            finally:
                context.run(entered.__exit__, None, None, None)
        except BaseException as error:  # nothing that it raises may end the thread, which serves other devices too
            text = "handler %s of type %r failed for device %r"
            kind = f"{self._name} of {device.type}"
            self._manager.log_throttle.error(error, kind, text, self._name, device.type, device.id)
