"""The twins of all devices: what a program sets and reads, and what devices say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from iotio.core.endpoint_check import Checks
from iotio.core.handles import DeviceHandle
from iotio.core.lane import is_coroutine_function
from iotio.core.observers import ObserverThreads
from iotio.core.ports import PresencePort, TypeOptions
from iotio.core.primitives import Signal, allocate_lock
from iotio.core.registry import Registry
from iotio.core.results import SetResult
from iotio.core.storage.records import TwinRecord
from iotio.core.storage.writer import StoreWriter
from iotio.core.waiting import loop_runs_here
from iotio_protocol.endpoints import Endpoint
from iotio_protocol.errors import InvalidData, ReadOnly, UnknownEndpoint
from iotio_protocol.twin import State
from iotio_protocol.values import Value

from .device_twins import DeviceTwins
from .notifier import Change, StateNotifier
from .reports import Recorder, Reports

__all__ = ["MAX_BY", "Twins"]

MAX_BY = 200
"""Characters of the name of who has set something."""

_WRITE_AFTER = 150.0, 150.0  # seconds after which reports are written, at least, and how far devices are spread behind


class Resized(Protocol):
    """Hears that a device counts for more or less."""

    def resized(self, device: DeviceHandle) -> None: ...


class Server(PresencePort, Protocol):
    """What twins need of the server."""

    registry: Registry

    @property
    def recorder(self) -> Recorder: ...
    @property
    def presence(self) -> Resized: ...
    def wall(self) -> float: ...
    def wait_here(self, signal: Signal, timeout: float | None) -> bool: ...


class Twins:
    """See `iotio.core.ports.TwinsPort`.

    Attributes:
        writer: writes to the store; None without one.
        notifier: calls `on_state`.

    Args:
        server: whose devices they are.
    """

    def __init__(self, server: Server) -> None:
        self.writer: StoreWriter | None = None
        self.notifier = StateNotifier(server)
        self._server = server
        self._reports = Reports(server)
        self._lock = allocate_lock()  # for what follows; taken by who holds the lock of a device's twins
        self._dirty: dict[DeviceTwins, float] = {}  # and when they are to be written
        self._early: set[DeviceTwins] = set()  # something waits that could not be sent
        self._expiring: dict[DeviceTwins, float] = {}  # and when the time of a set of theirs is over

    @property
    def threads(self) -> ObserverThreads:
        """The threads that call `on_state`."""
        return self.notifier.threads

    # -- for handles -----------------------------------------------------------------------------------

    def states(self, device: DeviceHandle) -> dict[str, State]:
        """See `DeviceHandle.state`."""
        twins = device.twins
        if isinstance(twins, DeviceTwins):
            return twins.states(device.endpoints)
        return DeviceTwins(self, device).states(device.endpoints)

    def set(
        self,
        device: DeviceHandle,
        values: Mapping[str, Any] | str,
        value: Any,
        *,
        if_version: Mapping[str, int] | int | None,
        ttl: float | None,
        by: str,
    ) -> SetResult:
        """See `DeviceHandle.set`."""
        wanted = {values: value} if isinstance(values, str) else dict(values)
        if not wanted:
            raise ValueError("set() needs an endpoint and its value")
        expected = _versions(if_version, wanted)
        if ttl is not None and not 0 < ttl < math.inf:
            raise ValueError(f"ttl must be seconds above 0, not {ttl!r}")
        if len(by) > MAX_BY:
            raise ValueError(f"by may have {MAX_BY} characters, this one has {len(by)}")
        converted = {name: _checked(device, _endpoint(device, name), one) for name, one in wanted.items()}
        expires = None if ttl is None else self.wall() + ttl
        result = self._of(device).set(converted, expected, expires, by)
        if not loop_runs_here():
            result.wait_written()
        return result

    def unset(self, device: DeviceHandle, endpoint_id: str) -> bool:
        """See `DeviceHandle.unset`."""
        _endpoint(device, endpoint_id)
        result = self._of(device).unset(endpoint_id)
        if result is not None and not loop_runs_here():
            result.wait_written()
        return result is not None

    def report(self, device: DeviceHandle, values: Mapping[str, Any], time: datetime | None) -> None:
        """See `DeviceHandle.report`."""
        when = self.wall() if time is None else time.timestamp()
        reported: dict[str, tuple[Value, float]] = {}
        endpoints = []
        for name, value in values.items():
            endpoint = _endpoint(device, name)
            found = endpoint.report(value)
            if found is None:
                raise InvalidData(f"endpoint {name!r} of device {device.id!r} cannot be {value!r:.100}")
            reported[name] = found.value, when
            endpoints.append((endpoint, found.value))
        twins = self._of(device)
        changes, _ = twins.report(reported, is_past=time is not None)
        for endpoint, value in endpoints:
            self._reports.record(device, endpoint, value, when)
        self.tell(device, changes)

    # -- for connections -------------------------------------------------------------------------------

    def begin(self, connection: Any) -> None:
        """See `TwinsPort.begin`."""
        client = connection.client
        device, declared = client.device, client.declared
        if device is None:
            return
        twins = self._of(device)
        said = self._reports.hello(connection, declared or {})
        twins.begin(connection, declared or {}, said)

    def end(self, connection: Any) -> None:
        """See `TwinsPort.end`."""
        device = connection.client.device
        if device is not None and isinstance(device.twins, DeviceTwins):
            device.twins.end(connection)

    def reporting(self, connection: Any, endpoint: Endpoint, function: Callable[..., Any]) -> Callable[..., Any]:
        """See `TwinsPort.reporting`."""
        device, event = connection.client.device, self._reports.event

        async def async_handler(*arguments: Any) -> Any:
            changes = event(connection, self._of(device), endpoint, arguments[-2])
            try:
                return await function(*arguments)
            finally:
                self.tell(device, changes)

        def handler(*arguments: Any) -> Any:
            changes = event(connection, self._of(device), endpoint, arguments[-2])
            try:
                return function(*arguments)
            finally:
                self.tell(device, changes)

        return async_handler if is_coroutine_function(function) else handler

    def reserved(self, connection: Any, event: str) -> Callable[..., Any] | None:
        """See `TwinsPort.reserved`."""
        take = {"$report": self._reports.report, "$readings": self._reports.readings}.get(event)
        device = connection.client.device
        if take is None or device is None:
            return None

        def handler(value: object, client: Any) -> None:
            self.tell(device, take(connection, self._of(device), client.declared or {}, value))

        return handler

    def was_read(self, connection: Any, number: int) -> None:
        """See `TwinsPort.was_read`."""
        device = None if connection.client is None else connection.client.device
        if device is not None and isinstance(device.twins, DeviceTwins):
            device.twins.was_read(connection, number)

    # -- for the store ---------------------------------------------------------------------------------

    def restore(self, records: Iterable[TwinRecord]) -> None:
        """Enter the twins that a store has, of devices that are known."""
        for record in records:
            device = self._server.registry.device(record.device_id)
            if device is not None:
                self._of(device).restore(record)

    def record(self, device_id: str, endpoint_ids: Iterable[str]) -> list[TwinRecord]:
        """Make the records of some twins of a device; see `AskTwins`."""
        device = self._server.registry.device(device_id)
        twins = None if device is None else device.twins
        return twins.records(endpoint_ids) if isinstance(twins, DeviceTwins) else []

    def records(self) -> list[TwinRecord]:
        """Make the records of all twins."""
        found = [device.twins for device in self._server.registry.devices()]
        return [record for twins in found if isinstance(twins, DeviceTwins) for record in twins.records()]

    def record_reading(self, device: DeviceHandle, endpoint_id: str, value: Value, time: float) -> None:
        """Record the value that an endpoint has since a set."""
        endpoint = device.endpoints.get(endpoint_id)
        if endpoint is not None:
            self._reports.record(device, endpoint, value, time)

    def drop(self, device: DeviceHandle) -> None:
        """See `TwinsPort.drop`."""
        if isinstance(device.twins, DeviceTwins):
            device.twins.close()

    # -- for the manager -------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Do what is due: sets whose time is over, sets that could not be sent, reports that are to be written."""
        if not (self._expiring or self._early or self._dirty):
            return
        with self._lock:
            expired = _take_due(self._expiring, now)
            early, self._early = self._early, set()
            due = _take_due(self._dirty, now)
        for twins in expired:
            twins.expire(now)
        for twins in early:
            twins.pump()
        for twins in due:
            twins.write()

    def close(self) -> None:
        """See `TwinsPort.close`."""
        with self._lock:
            dirty, self._dirty = list(self._dirty), {}
        for twins in dirty:
            twins.write()

    # -- for the twins of a device ---------------------------------------------------------------------

    def clock(self) -> float:
        """Return monotonic seconds."""
        return self._server.clock()

    def wall(self) -> float:
        """Return the date, in seconds since 1970."""
        return self._server.wall()

    def wait_here(self, signal: Signal, timeout: float | None) -> bool:
        """Wait in this thread. Returns whether the signal was set."""
        return self._server.wait_here(signal, timeout)

    def type_of(self, device: DeviceHandle) -> TypeOptions | None:
        """Return the type of a device, if it was added."""
        return self._server.types.get(device.type)

    def is_observed(self, device: DeviceHandle) -> bool:
        """Ask whether a program has an `on_state` for a device."""
        return bool(self.notifier.functions(device))

    def tell(self, device: DeviceHandle, changes: list[Change]) -> None:
        """Have `on_state` called."""
        if changes:
            self.notifier.put(device, changes)

    def write_later(self, twins: DeviceTwins) -> None:
        """Have reports written some minutes from now, not all devices at once."""
        if twins in self._dirty:
            return
        least, spread = _WRITE_AFTER
        with self._lock:
            self._dirty[twins] = self.clock() + least + spread * (hash(twins.device.id) % 1000) / 1000

    def pump_later(self, twins: DeviceTwins) -> None:
        """Try soon to send what waits."""
        with self._lock:
            self._early.add(twins)

    def expire_later(self, twins: DeviceTwins, due: float) -> None:
        """Look at the sets of a device at a time, in monotonic seconds, or before."""
        with self._lock:
            self._expiring[twins] = min(due, self._expiring.get(twins, math.inf))

    def resized(self, device: DeviceHandle) -> None:
        """Have a device counted anew."""
        self._server.presence.resized(device)

    # -- inside ----------------------------------------------------------------------------------------

    def _of(self, device: DeviceHandle) -> DeviceTwins:
        """Return the twins of a device; make them if there are none."""
        twins = device.twins
        if not isinstance(twins, DeviceTwins):
            with self._lock:
                twins = device.twins
                if not isinstance(twins, DeviceTwins):
                    twins = DeviceTwins(self, device)
                    device.twins = twins
        return twins


def _take_due(times: dict[DeviceTwins, float], now: float) -> list[DeviceTwins]:
    """Take those out whose time has come."""
    due = [twins for twins, when in times.items() if when <= now]
    for twins in due:
        del times[twins]
    return due


def _endpoint(device: DeviceHandle, endpoint_id: str) -> Endpoint:
    """Return an endpoint of a device. Raises UnknownEndpoint."""
    endpoint = device.endpoints.get(endpoint_id)
    if endpoint is None:
        raise UnknownEndpoint(f"device {device.id!r} has no endpoint {endpoint_id!r}")
    return endpoint


def _checked(device: DeviceHandle, endpoint: Endpoint, value: Any) -> Value:
    """Return a value as an endpoint takes it. Raises ReadOnly or InvalidData."""
    if endpoint.access == "read":
        raise ReadOnly(f"endpoint {endpoint.id!r} of device {device.id!r} is a sensor: it reports, and is never set")
    converted: Value = Checks(value).of(endpoint, device.id)
    if endpoint.report(converted) is None:
        raise InvalidData(
            f"endpoint {endpoint.id!r} of device {device.id!r} could not report this text: it is too long"
        )
    return converted


def _versions(if_version: Mapping[str, int] | int | None, wanted: Mapping[str, Any]) -> dict[str, int]:
    """Return the versions that endpoints must have."""
    if if_version is None:
        return {}
    if isinstance(if_version, int):
        if len(wanted) != 1:
            raise ValueError("if_version must be a mapping of endpoints to versions where several are set")
        return dict.fromkeys(wanted, if_version)
    strangers = if_version.keys() - wanted.keys()
    if strangers:
        raise ValueError(f"if_version names {min(strangers)!r}, which is not set")
    return dict(if_version)
