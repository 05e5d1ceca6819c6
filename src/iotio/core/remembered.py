"""Which devices are remembered: how many and how much there may be, and who is forgotten first when more come.

Forgotten are, in this order:

1. devices that are away, came once only, have no room, and no endpoint that the program has set: the one that is away
   longest first;
2. the other devices that are away: the one that is away longest first.

Never forgotten are a device that is connected, and one that durable messages wait for. If there are no others, a device
that is not known is refused with `server_busy`, and so is a known one that says more of itself than before.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from iotio_protocol.errors import ErrorCode, HandshakeError
from iotio_protocol.handshake import size_of
from iotio_protocol.log_throttle import LogThrottle
from iotio_protocol.options import Options

from .handles import DeviceHandle, IoTClient
from .registry import Registry

__all__ = ["Remembered"]

_SLACK = 64  # outdated places in the order, beside one a device, before they are cleared out
_QUIET = 60.0  # seconds between two lines of the log that say that devices are refused

_Order = list[tuple[int, str]]
"""A heap of devices: the number that says who went first, and the id. Some are outdated, and are passed over."""


class Queues(Protocol):
    """The durable messages of all devices."""

    def waits(self, device_id: str) -> bool:
        """Ask whether messages wait for a device. The registry's lock is held."""

    def take_emptied(self) -> Iterable[str]:
        """Return the ids of devices for which no message waits any more, since the last time."""


class Server(Protocol):
    """What this needs of the server."""

    options: Options

    @property
    def log_throttle(self) -> LogThrottle: ...
    def clock(self) -> float: ...


class _Declaration:
    """What several devices have declared alike.

    Attributes:
        text: the declaration, kept once.
        count: how many devices have it.
    """

    __slots__ = ("count", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.count = 0


class Remembered:
    """Count what the known devices take, and choose who is forgotten. The registry's lock is held in each method.

    Finding one to forget takes a logarithm of their number: the orders are heaps, and a device that cannot be forgotten
    as messages wait for it is set aside until they are gone.

    Attributes:
        size: bytes that count for `Options.max_devices_bytes`.
        forgotten: how many devices were forgotten because of either limit.

    Args:
        server: whose devices they are.
        registry: knows them.
        queues: knows for whom messages wait.
    """

    def __init__(self, server: Server, registry: Registry, queues: Queues) -> None:
        self._server = server
        self._registry = registry
        self._queues = queues
        self.size = 0
        self.forgotten = 0
        self._away: dict[str, int] = {}  # by id, the number that says who went first
        self._numbers = itertools.count()
        self._strangers: _Order = []  # those that are forgotten first
        self._others: _Order = []
        self._set_aside: set[str] = set()  # devices that are away and were found to have messages waiting
        self._free_size = 0  # bytes of the devices that are away and not set aside
        self._declarations: dict[bytes, _Declaration] = {}
        self._declared_size = 0  # bytes of these
        self._for_limit: Counter[str] = Counter()  # forgotten devices by the option, since the log has told
        self._refused: Counter[str] = Counter()  # devices that were refused, by the option, since the log has told
        self._quiet_until = 0.0

    # -- what happens to devices -----------------------------------------------------------------------

    def arrived(self, device: DeviceHandle) -> None:
        """Count a device that is connected now, which is new or says something else of itself, maybe."""
        self._no_longer_away(device)
        self._count_anew(device)

    def left(self, device: DeviceHandle) -> None:
        """Count a device that is away now. Of several, the one that was away first must come first."""
        self._count_anew(device)
        self._away[device.id] = next(self._numbers)
        self._free_size += device.size
        self._enter(device)

    def changed(self, device: DeviceHandle) -> None:
        """Count a device anew whose rooms may be others."""
        self._count_anew(device)
        if device.id in self._away and device.id not in self._set_aside:
            self._enter(device)

    def dropped(self, device: DeviceHandle) -> None:
        """Count a forgotten device no longer."""
        self._no_longer_away(device)
        self._discount(device)

    # -- making room -----------------------------------------------------------------------------------

    def admit(self, client: IoTClient) -> None:
        """Make room for a device that is about to come in.

        Raises:
            HandshakeError: `server_busy`; its info names the limit and how much that is. Nobody is forgotten then.
        """
        device = self._registry.find(client.id)
        count = 0 if device is not None else 1
        growth = len(client.written_data)
        if device is not None:
            growth -= len(device.lasting.data)
        else:
            growth += size_of(client.id) + size_of(client.type)
        written = client.declaration
        if written is not None and written not in self._declarations:
            growth += len(written)
        before = None if device is None else device.counted
        if before is not None and before != written and self._declarations[before].count == 1:
            growth -= len(before)
        limit = self._make_room(count, max(0, growth), device) if count or growth > 0 else ""
        if limit:
            self._refused[limit] += 1
            raise HandshakeError(ErrorCode.SERVER_BUSY, {"limit": limit, "most": getattr(self._server.options, limit)})

    def extend(self, device: DeviceHandle, size: int) -> None:
        """Make room for more bytes of a device that is known. Raises ValueError; nobody is forgotten then."""
        if self._make_room(0, size, device):
            most = self._server.options.max_devices_bytes
            raise ValueError(f"the devices that are known fill Options.max_devices_bytes, which is {most}")

    def make_room(self) -> None:
        """Forget devices while there are too many, as far as that is possible."""
        self._make_room(0, 0, None)

    def log(self) -> None:
        """Tell the log who was forgotten or refused since the last time. The registry's lock need not be held."""
        server = self._server
        for limit, count in self._take(self._for_limit) if self._for_limit else ():
            server.log_throttle.warning(
                limit,
                "%d devices that were away are forgotten: more than %d %s have come (%s)",
                count,
                getattr(server.options, limit),
                "devices" if limit == "max_devices" else "bytes of devices",
                limit,
            )
        now = server.clock()
        if self._refused and now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            for limit, count in self._take(self._refused):
                server.log_throttle.failure(
                    f"full {limit}",
                    "%d times a device was refused (server_busy): the devices that are known fill Options.%s, which is"
                    " %d, and none of them can be forgotten: they are connected, or durable messages wait for them",
                    count,
                    limit,
                    getattr(server.options, limit),
                )

    def _take(self, counts: Counter[str]) -> list[tuple[str, int]]:
        with self._registry.lock:
            found = list(counts.items())
            counts.clear()
        return found

    def _make_room(self, count: int, size: int, spared: DeviceHandle | None) -> str:
        """Forget devices until so many more, with so many bytes, fit.

        Args:
            count: devices.
            size: bytes.
            spared: not to be forgotten.

        Returns:
            "", or the name of the limit that does not allow it; then nobody is forgotten.
        """
        options, registry = self._server.options, self._registry
        excess = len(registry) + count - options.max_devices
        most = options.max_devices_bytes - size
        if excess <= 0 and self.size <= most:
            return ""
        limit = "max_devices" if excess > 0 else "max_devices_bytes"
        self._take_back_emptied()
        if self.size - most > self._free_size + self._declared_size and count + size:
            return "max_devices_bytes"
        chosen: list[DeviceHandle] = []
        kept: list[DeviceHandle] = []
        while excess > 0 or self.size > most:
            device = self._choose()
            if device is None:
                break
            if device is spared:
                kept.append(device)
                continue
            chosen.append(device)
            self._discount(device)
            excess -= 1
        failed = excess > 0 or self.size > most
        for device in (*kept, *(chosen if failed and count + size else ())):
            self._count_anew(device)
            self._enter(device)
        if failed and count + size:
            return limit
        for device in chosen:
            registry.drop(device)
        self.forgotten += len(chosen)
        if chosen:
            self._for_limit[limit] += len(chosen)
        return limit if failed else ""

    def _choose(self) -> DeviceHandle | None:
        """Take the next device that may be forgotten out of the order; None if there is none."""
        for order in (self._strangers, self._others):
            while order:
                number, device_id = heapq.heappop(order)
                device = self._registry.find(device_id)
                if device is None or not device.size or self._away.get(device_id) != number:
                    continue
                if device_id in self._set_aside:
                    continue
                if self._queues.waits(device_id):
                    self._set_aside.add(device_id)
                    self._free_size -= device.size
                elif order is self._strangers and not _is_stranger(device):
                    heapq.heappush(self._others, (number, device_id))
                else:
                    return device
        return None

    def _take_back_emptied(self) -> None:
        for device_id in self._queues.take_emptied():
            device = self._registry.find(device_id)
            if device is not None and device_id in self._set_aside and not self._queues.waits(device_id):
                self._set_aside.discard(device_id)
                self._free_size += device.size
                self._enter(device)

    # -- inside ----------------------------------------------------------------------------------------

    def _enter(self, device: DeviceHandle) -> None:
        """Put a device that is away into the order in which devices are forgotten."""
        order = self._strangers if _is_stranger(device) else self._others
        heapq.heappush(order, (self._away[device.id], device.id))
        if len(order) > 2 * len(self._away) + _SLACK:
            self._clear_out(order)

    def _clear_out(self, order: _Order) -> None:
        order[:] = {place for place in order if self._away.get(place[1]) == place[0]}
        heapq.heapify(order)

    def _no_longer_away(self, device: DeviceHandle) -> None:
        if self._away.pop(device.id, None) is None:
            return
        if device.id in self._set_aside:
            self._set_aside.discard(device.id)
        else:
            self._free_size -= device.size

    def _count_anew(self, device: DeviceHandle) -> None:
        state, written = device.lasting, device.lasting.declaration
        size = size_of(state.id) + size_of(state.type) + len(state.data)
        if state.rooms:
            size += sum(map(size_of, state.rooms))
        if state.name or state.note:
            size += size_of(state.name) + size_of(state.note)
        if device.twins is not None:
            size += device.twins.size
        if size == device.size and written == device.counted:
            return
        self._discount(device)
        device.size = size
        self._add(device, size)
        if written is not None:
            found = self._declarations.get(written)
            if found is None:
                found = self._declarations[written] = _Declaration(written)
                self.size += len(written)
                self._declared_size += len(written)
            found.count += 1
            device.counted = state.declaration = found.text

    def _discount(self, device: DeviceHandle) -> None:
        self._add(device, -device.size)
        device.size = 0
        written, device.counted = device.counted, None
        if written is not None:
            found = self._declarations[written]
            found.count -= 1
            if not found.count:
                del self._declarations[written]
                self.size -= len(written)
                self._declared_size -= len(written)

    def _add(self, device: DeviceHandle, size: int) -> None:
        self.size += size
        if device.id in self._away and device.id not in self._set_aside:
            self._free_size += size


def _is_stranger(device: DeviceHandle) -> bool:
    """Return whether a device that is away is among those that are forgotten first.

    Whatever else shows that the program knows a device belongs here: a credential, once there are any.
    """
    known = device.lasting.returned or device.lasting.rooms or (device.twins is not None and device.twins.are_desired)
    return not known
