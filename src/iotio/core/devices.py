"""All devices that the server knows: their presence, how many there may be, and how to find them."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from iotio_protocol.presence import Presence, PresenceReason, Transition
from iotio_protocol.reasons import DisconnectReason

from .handles import Device, Stored
from .ports import ServerPort
from .presence_notifier import PresenceNotifier
from .registry import Registry, Watcher

if TYPE_CHECKING:
    from .handles import IoTClient

__all__ = ["Devices"]

_NEVER = float("inf")
_BATCH = 256  # devices whose time is over that are looked at without letting anybody else at the registry
_BATCHES = 4  # of these at a sweep, about 20 ms; the rest has to wait for the next, as the sweep may be on a loop
_SLACK = 64  # deadlines that are no more, beside one a device, before they are cleared out


class Devices(Watcher):
    """The devices of a manager. Call it to find some of them.

    Attributes:
        teller: calls `on_presence`.
        writer: hears what changes and what is dropped, to write it down; it keeps nothing by default.
        forgotten: how many were forgotten because there were more than `Options.max_devices`.

    Args:
        manager: whose devices they are.
        wall: the date, in seconds since 1970.
    """

    def __init__(self, manager: ServerPort, wall: Callable[[], float] = time.time) -> None:
        self._manager = manager
        self._wall = wall
        self.registry = Registry(self)
        self.notifier = PresenceNotifier(manager)
        self.recorder = Watcher()
        self.forgotten = 0
        self._told_of = 0  # of these, how many the log knows of
        self._absent: OrderedDict[str, Device] = OrderedDict()  # devices that are away, the one away longest first
        self._deadlines: list[tuple[float, int, Device]] = []  # a heap; what is no deadline any more is passed over
        self._numbers = itertools.count()
        self._dropped: list[str] = []  # ids whose last change of presence is to be told
        self._paused = False  # the server went down, and nothing was expected of devices meanwhile

    # -- for programs ----------------------------------------------------------------------------------

    def __call__(
        self,
        *,
        type: str | None = None,
        room: str | None = None,
        presence: Presence | str | None = None,
        text: str | None = None,
    ) -> list[Device]:
        """Find devices, connected or away; those that meet all conditions.

        Args:
            type: of this device type.
            room: in this room.
            presence: of this presence, such as "online".
            text: with this text in their id, type or data, in capital letters or small ones.

        Raises:
            ValueError: there is no such presence.
        """
        wanted = None if presence is None else Presence(presence)
        found = self.registry.devices() if room is None else self._members(room)
        if type is not None:
            found = [device for device in found if device.type == type]
        if wanted is not None:
            found = [device for device in found if device.presence is wanted]
        if text is not None:
            part = text.casefold()
            found = [device for device in found if part in f"{device.id}\n{device.type}\n{device.data}".casefold()]
        return found

    def __len__(self) -> int:
        return len(self.registry)

    def _members(self, room: str) -> list[Device]:
        clients, away = self.registry.members(room)
        return [client.device for client in clients if client.device is not None] + away

    # -- for connections and hosts ---------------------------------------------------------------------

    def gone(self, client: IoTClient, reason: DisconnectReason) -> None:
        """A connection is over, whatever its handlers still do."""
        device = client.device
        if device is not None:
            with self.registry.lock:
                if device.current is client:
                    self._disconnect(device, reason)

    def announce_sleep(self, device: Device, seconds: float) -> None:
        """See `Device.sleeps`."""
        with self.registry.lock:
            device.tracker.announce_sleep(self._manager.clock() + seconds if seconds else None)

    def announce_farewell(self, device: Device) -> None:
        """See `Device.says_goodbye`."""
        with self.registry.lock:
            device.tracker.announce_farewell()

    def forget(self, device: Device) -> bool:
        """See `Device.forget`."""
        known = self.registry.forget(device)
        client = device.current
        if known and client is not None:
            client.socket.dismiss(DisconnectReason.REMOVED)
        self._tell_dropped()
        return known

    def stored(self) -> list[Stored]:
        """What is worth keeping of all devices."""
        with self.registry.lock:
            return [device.stored() for device in self.registry.all()]

    def restore(self, devices: Iterable[Stored]) -> None:
        """Enter devices from before the server started. Of what is expected of them, they have a new grace time.

        One that sleeps is expected when it said that it would be back.
        """
        for stored in devices:
            self.registry.enter(Device(self._manager, stored))

    def sweep(self, now: float) -> None:
        """Find out whose time is over; `on_presence` runs elsewhere. While the server goes down nobody's is."""
        if self._manager.closing:
            self._paused = True
            return
        if self._paused:
            self._paused = False
            self._wait_anew(now)
        for _ in range(_BATCHES):
            for device_id in self._take_due(now):
                self.notifier.soon(device_id)
        self._tell_dropped()
        self.notifier.sweep(now)
        self._log_forgotten()

    # -- from the registry, which holds its lock -------------------------------------------------------

    def arrived(self, device: Device, *, differs: bool) -> None:
        self._absent.pop(device.id, None)
        if not self._note(device, device.tracker.connect()) and differs:
            self.changed(device)
        self._make_room()

    def left(self, device: Device, client: IoTClient | None) -> None:
        if client is None:
            device.tracker.wait(self._manager.clock() + self._rest_of_sleep(device) + self._grace_of(device))
            self._expect(device)
        else:
            device.seen = client.last_seen.timestamp()
            self._disconnect(device, client.socket.gone or DisconnectReason.TRANSPORT_CLOSED)
            self.changed(device)
        self._absent[device.id] = device
        self._make_room()

    def changed(self, device: Device) -> None:
        self.recorder.changed(device)

    def dropped(self, device: Device) -> None:
        self._absent.pop(device.id, None)
        self._note(device, device.tracker.end(PresenceReason.FORGOTTEN))
        self._dropped.append(device.id)
        self.recorder.dropped(device)

    # -- inside: the lock is held ----------------------------------------------------------------------

    def _disconnect(self, device: Device, reason: DisconnectReason) -> None:
        tracker = device.tracker
        if reason is DisconnectReason.SERVER_SHUTDOWN or self._manager.closing:
            tracker.suspend()
            self._paused = True
            return
        self._note(device, tracker.disconnect(reason, self._manager.clock(), self._grace_of(device)))
        self._expect(device)

    def _note(self, device: Device, transition: Transition | None) -> bool:
        """Keep a change of presence, for whoever tells of it. Returns whether there is one."""
        if transition is None:
            return False
        device.since_wall = self._wall()
        until = device.tracker.sleeps_until
        device.wakes_wall = None if until is None else device.since_wall + until - self._manager.clock()
        self.notifier.put(device, transition)
        if self.registry.knows(device):
            self.changed(device)
        return True

    def _rest_of_sleep(self, device: Device) -> float:
        """For how many seconds a device from before the server started still means to sleep.

        At most as long as it meant to in all: a machine without a battery for its clock may be in another year by now.
        """
        if device.wakes_wall is None:
            return 0.0
        return max(0.0, min(device.wakes_wall - self._wall(), device.wakes_wall - device.since_wall))

    def _expect(self, device: Device) -> None:
        """Look at a device at its deadline."""
        if device.tracker.deadline == _NEVER:
            return
        heapq.heappush(self._deadlines, (device.tracker.deadline, next(self._numbers), device))
        if len(self._deadlines) > 2 * len(self.registry) + _SLACK:
            kept = {
                device.id: (deadline, number, device)
                for deadline, number, device in self._deadlines
                if device.tracker.deadline == deadline
            }
            self._deadlines = list(kept.values())
            heapq.heapify(self._deadlines)

    def _make_room(self) -> None:
        while len(self.registry) > self._manager.options.max_devices and self._absent:
            self.registry.drop(next(iter(self._absent.values())))
            self.forgotten += 1

    def _grace_of(self, device: Device) -> float:
        entry = self._manager.device_type(device.kind)
        return (self._manager.options if entry is None else entry.options).grace

    # -- inside: the lock is not held ------------------------------------------------------------------

    def _take_due(self, now: float) -> list[str]:
        """Some of the devices whose time is over, and have changed by that."""
        found: list[str] = []
        with self.registry.lock:
            while self._deadlines and self._deadlines[0][0] <= now and len(found) < _BATCH:
                deadline, _, device = heapq.heappop(self._deadlines)
                if device.tracker.deadline != deadline or not self.registry.knows(device):
                    continue
                while self._note(device, device.tracker.tick(now, self._grace_of(device))):
                    pass
                self._expect(device)
                found.append(device.id)
        return found

    def _wait_anew(self, now: float) -> None:
        with self.registry.lock:
            for device in self._absent.values():
                device.tracker.wait(now + self._grace_of(device))
                self._expect(device)

    def _tell_dropped(self) -> None:
        with self.registry.lock:
            dropped, self._dropped = self._dropped, []
        self.recorder.dropped_later()
        for device_id in dropped:
            self.notifier.soon(device_id)

    def _log_forgotten(self) -> None:
        count, self._told_of = self.forgotten - self._told_of, self.forgotten
        if count:
            self._manager.log_some(
                "max_devices",
                "%d devices that were away longest are forgotten: more than %d have come (max_devices)",
                count,
                self._manager.options.max_devices,
            )
