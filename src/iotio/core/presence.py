"""Whether each device is there: its tracker, its grace time and its deadlines."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable
from sys import intern
from typing import TYPE_CHECKING, Protocol

from iotio_protocol.errors import ErrorCode, HandshakeError
from iotio_protocol.handshake import size_of
from iotio_protocol.presence import PresenceReason, Transition
from iotio_protocol.reasons import DisconnectReason

from .handles import DeviceHandle, last_seen
from .ports import ServerPort
from .presence_notifier import MAX_FORGOTTEN, PresenceNotifier
from .registry import Registry
from .remembered import Remembered
from .storage.records import DeviceState

if TYPE_CHECKING:
    from .handles import IoTClient

__all__ = ["DeviceRecorder", "PresenceMonitor"]

_NEVER = float("inf")
_BATCH = 256  # due devices that are looked at under one hold of the registry's lock
_BATCHES = 4  # of these at a sweep, about 20 ms; the rest waits for the next, as the sweep may run on an event loop
_SLACK = 64  # outdated deadlines, beside one a device, before they are cleared out


class DeviceRecorder(Protocol):
    """Keeps the records of devices. The registry's lock is held in `changed` and `dropped`: they must not take it."""

    def changed(self, device: DeviceHandle) -> None:
        """Mark a device whose record differs from before."""

    def dropped(self, device: DeviceHandle) -> None:
        """Mark a device as forgotten."""

    def dropped_later(self) -> None:
        """Finish what `dropped` began. The registry's lock is free."""


class PresenceMonitor:
    """Follows the presence of each device.

    It is the registry's listener, so that presence and what counts for limits change in one step with connections.

    Attributes:
        recorder: hears what changes and what is dropped.
        remembered: counts the devices, and chooses who is forgotten when there are too many.

    Args:
        server: whose devices they are.
        registry: knows the devices; it reports here from now on.
        notifier: calls `on_presence`.
        recorder: as above.
        remembered: as above.
    """

    def __init__(
        self,
        server: ServerPort,
        registry: Registry,
        notifier: PresenceNotifier,
        recorder: DeviceRecorder,
        remembered: Remembered,
    ) -> None:
        self._server = server
        self._registry = registry
        self._notifier = notifier
        self.recorder = recorder
        self.remembered = remembered
        self._absent: dict[str, DeviceHandle] = {}  # devices that are away
        self._deadlines: list[tuple[float, int, DeviceHandle]] = []  # a heap; some are outdated, and are passed over
        self._numbers = itertools.count()
        self._dropped: list[str] = []  # ids of dropped devices whose last change of presence is to be told
        self._paused = False  # the server went down, and nothing was expected of devices meanwhile
        registry.listener = self

    # -- for connections and the manager ---------------------------------------------------------------

    def connection_gone(self, client: IoTClient, reason: DisconnectReason) -> None:
        """Record that a connection stopped accepting emits, whatever its handlers still do."""
        device = client.device
        if device is not None:
            with self._registry.lock:
                if device.current is client:
                    self._disconnect(device, reason)

    def announce_sleep(self, device: DeviceHandle, seconds: float) -> None:
        """See `DeviceHandle.sleeps`."""
        with self._registry.lock:
            device.tracker.announce_sleep(self._server.clock() + seconds if seconds else None)

    def announce_farewell(self, device: DeviceHandle) -> None:
        """See `DeviceHandle.says_goodbye`."""
        with self._registry.lock:
            device.tracker.announce_farewell()

    def describe(self, device: DeviceHandle, *, name: str | None = None, note: str | None = None) -> None:
        """See `DeviceHandle.name` and `DeviceHandle.note`. Raises ValueError if there is no room for the text."""
        with self._registry.lock:
            state = device.lasting
            name, note = state.name if name is None else name, state.note if note is None else note
            growth = size_of(name) + size_of(note) - size_of(state.name) - size_of(state.note)
            known = self._registry.knows(device)
            if known and growth > 0:
                self.remembered.extend(device, growth)
            state.name, state.note = name, note
            if known:
                self.changed(device)
        self._finish_dropped()

    def forget(self, device: DeviceHandle) -> bool:
        """See `DeviceHandle.forget`."""
        known = self._registry.forget(device)
        client = device.current
        if known and client is not None:
            client.socket.dismiss(DisconnectReason.REMOVED)
        self._finish_dropped()
        return known

    def admit(self, client: IoTClient) -> None:
        """Make room for a device that is about to come in; see `Remembered.admit`. Raises HandshakeError."""
        with self._registry.lock:
            if self._notifier.n_forgotten >= MAX_FORGOTTEN and self._registry.find(client.id) is None:
                raise HandshakeError(ErrorCode.SERVER_BUSY, {"limit": "on_presence", "most": MAX_FORGOTTEN})
            self.remembered.admit(client)

    def resized(self, device: DeviceHandle) -> None:
        """Count a device anew whose twins take more or less than before."""
        with self._registry.lock:
            if self._registry.knows(device):
                self.remembered.changed(device)
                self.remembered.make_room()
        self._finish_dropped()

    def restore(self, devices: Iterable[DeviceState]) -> None:
        """Enter devices from before the server started. Of what is expected of them, they have a new grace time.

        A sleeping device is expected at the time that it announced. None of them is forgotten before `make_room`.
        """
        for state in sorted(devices, key=lambda state: state.last_seen):
            own = state.copy()
            own.type = intern(own.type)
            self._registry.enter(DeviceHandle(self._server, own))

    def make_room(self) -> None:
        """Forget devices that were restored, if there are too many."""
        with self._registry.lock:
            self.remembered.make_room()
        self._finish_dropped()

    @property
    def next_due(self) -> float:
        """When `sweep` has a device to look at, at the earliest; infinity for never."""
        with self._registry.lock:
            return self._deadlines[0][0] if self._deadlines else _NEVER

    def sweep(self, now: float) -> None:
        """Look at the devices whose deadline has passed; `on_presence` runs elsewhere. A closing server pauses it."""
        if self._server.closing:
            self._paused = True
            return
        if self._paused:
            self._paused = False
            self._wait_anew(now)
        for _ in range(_BATCHES):
            for device_id in self._take_due(now):
                self._notifier.soon(device_id)
        self._finish_dropped()
        self._notifier.sweep(now)
        self.remembered.log()

    # -- from the registry, which holds its lock -------------------------------------------------------

    def arrived(self, device: DeviceHandle, *, differs: bool) -> None:
        """See `RegistryListener.arrived`."""
        self._absent.pop(device.id, None)
        transition = device.tracker.connect()
        if transition is not None:
            self._record_transition(device, transition)
        elif differs:
            self.recorder.changed(device)
        self.remembered.arrived(device)
        self.remembered.make_room()  # others may have come since room was made for it

    def left(self, device: DeviceHandle, client: IoTClient | None) -> None:
        """See `RegistryListener.left`."""
        if client is None:
            device.tracker.wait(self._server.clock() + self._rest_of_sleep(device) + self._grace_of(device))
            self._expect(device)
        else:
            device.lasting.last_seen = last_seen(client)
            self._disconnect(device, client.socket.gone or DisconnectReason.TRANSPORT_CLOSED)
            self.recorder.changed(device)
        self._absent[device.id] = device
        self.remembered.left(device)
        if client is not None:
            self.remembered.make_room()

    def changed(self, device: DeviceHandle) -> None:
        """See `RegistryListener.changed`."""
        self.recorder.changed(device)
        self.remembered.changed(device)

    def dropped(self, device: DeviceHandle) -> None:
        """See `RegistryListener.dropped`."""
        self._absent.pop(device.id, None)
        self.remembered.dropped(device)
        self._record_transition(device, device.tracker.end(PresenceReason.FORGOTTEN))
        self._dropped.append(device.id)
        self.recorder.dropped(device)

    def joins(self, device: DeviceHandle, room: str) -> None:
        """See `RegistryListener.joins`."""
        self.remembered.extend(device, size_of(room))

    # -- inside: the lock is held ----------------------------------------------------------------------

    def _disconnect(self, device: DeviceHandle, reason: DisconnectReason) -> None:
        tracker = device.tracker
        if reason is DisconnectReason.SERVER_SHUTDOWN or self._server.closing:
            tracker.suspend()
            self._paused = True
            return
        self._record_transition(device, tracker.disconnect(reason, self._server.clock(), self._grace_of(device)))
        self._expect(device)

    def _record_transition(self, device: DeviceHandle, transition: Transition | None) -> bool:
        """Keep a change of presence for the notifier and the recorder. Returns whether there is one."""
        if transition is None:
            return False
        state, until = device.lasting, device.tracker.sleeps_until
        state.presence = transition.new
        state.since = self._server.wall()
        state.wakes = None if until is None else state.since + until - self._server.clock()
        self._notifier.put(device, transition)
        if self._registry.knows(device):
            self.recorder.changed(device)
        return True

    def _rest_of_sleep(self, device: DeviceHandle) -> float:
        """For how many seconds a device from before the server started still means to sleep.

        At most as long as it meant to in all: a machine without a battery for its clock may be in another year by now.
        """
        wakes = device.lasting.wakes
        if wakes is None:
            return 0.0
        return max(0.0, min(wakes - self._server.wall(), wakes - device.lasting.since))

    def _expect(self, device: DeviceHandle) -> None:
        """Look at a device at its deadline."""
        if device.tracker.deadline == _NEVER:
            return
        heapq.heappush(self._deadlines, (device.tracker.deadline, next(self._numbers), device))
        if len(self._deadlines) > 2 * len(self._registry) + _SLACK:
            kept = {
                device.id: (deadline, number, device)
                for deadline, number, device in self._deadlines
                if device.tracker.deadline == deadline
            }
            self._deadlines = list(kept.values())
            heapq.heapify(self._deadlines)

    def _grace_of(self, device: DeviceHandle) -> float:
        entry = self._server.types.get(device.lasting.type)
        return (self._server.options if entry is None else entry.options).grace

    # -- inside: the lock is not held ------------------------------------------------------------------

    def _take_due(self, now: float) -> list[str]:
        """Advance some of the devices whose deadline has passed. Returns the ids of those."""
        found: list[str] = []
        with self._registry.lock:
            while self._deadlines and self._deadlines[0][0] <= now and len(found) < _BATCH:
                deadline, _, device = heapq.heappop(self._deadlines)
                if device.tracker.deadline != deadline or not self._registry.knows(device):
                    continue
                while self._record_transition(device, device.tracker.tick(now, self._grace_of(device))):
                    pass
                self._expect(device)
                found.append(device.id)
        return found

    def _wait_anew(self, now: float) -> None:
        with self._registry.lock:
            for device in self._absent.values():
                device.tracker.wait(now + self._grace_of(device))
                self._expect(device)

    def _finish_dropped(self) -> None:
        with self._registry.lock:
            dropped, self._dropped = self._dropped, []
        self.recorder.dropped_later()
        for device_id in dropped:
            self._notifier.soon(device_id)
