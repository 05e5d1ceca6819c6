"""Reads what devices say of their endpoints: events with the name of one, `$report`, `$readings`, `state` in HELLO.

What does not fit is dropped and counted, and the log names the first of a connection. A time that is more than a day
ahead is the device's wrong clock: it counts as now.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from iotio.core.handles import DeviceHandle
from iotio.core.message import current_message
from iotio.core.ports import ReadingSink, TwinLink, Warnings
from iotio_protocol.endpoints import Endpoint
from iotio_protocol.errors import InvalidPacket
from iotio_protocol.readings import parse_readings, parse_report
from iotio_protocol.values import Value

from .device_twins import DeviceTwins
from .notifier import Change

__all__ = ["MAX_AHEAD", "Recorder", "Reports"]

MAX_AHEAD = 24 * 60 * 60 * 1000
"""Milliseconds that a time of a device may be ahead."""

Readings = list[tuple[int, Value]]


class Recorder(Protocol):
    """What knows where readings are recorded; None: nowhere."""

    @property
    def readings(self) -> ReadingSink | None: ...


class Server(Protocol):
    """What this needs of the server."""

    @property
    def recorder(self) -> Recorder: ...

    @property
    def log_throttle(self) -> Warnings: ...
    def wall(self) -> float: ...


class Reports:
    """The way of reports to the twins and the history.

    Args:
        server: whose devices they are.
    """

    def __init__(self, server: Server) -> None:
        self._server = server

    def event(self, link: TwinLink, twins: DeviceTwins, endpoint: Endpoint, value: object) -> list[Change]:
        """Take an event with the name of an endpoint. Returns what has changed."""
        found = self._converted(link, endpoint, value)
        if found is None:
            return []
        message = current_message.get()
        time = self._time(link, None if message is None else message.time_ms)
        is_past = message is not None and message.time_ms is not None
        is_old = link.session.version < 2
        changes, is_word = twins.report({endpoint.id: (found[0], time / 1000)}, echo=is_old, is_past=is_past)
        if is_word:
            self._record(twins.device, endpoint, [(time, found[0])])
        return changes

    def report(
        self, link: TwinLink, twins: DeviceTwins, declared: Mapping[str, Endpoint], value: object
    ) -> list[Change]:
        """Take a `$report`. Returns what has changed."""
        message = current_message.get()
        time = self._time(link, None if message is None else message.time_ms)
        is_past = message is not None and message.time_ms is not None
        try:
            said = parse_report(value, len(declared))
        except InvalidPacket as error:
            self._refuse(link, error)
            return []
        values = {}
        for endpoint, found in self._known(link, declared, said):
            values[endpoint.id] = found, time / 1000
            self._record(twins.device, endpoint, [(time, found)])
        return twins.report(values, is_past=is_past)[0]

    def readings(
        self, link: TwinLink, twins: DeviceTwins, declared: Mapping[str, Endpoint], value: object
    ) -> list[Change]:
        """Take `$readings`. Returns what has changed: by the last one of each endpoint."""
        message = current_message.get()
        base = None if message is None else message.time_ms
        now = int(self._server.wall() * 1000) if base is None else self._time(link, base)
        try:
            said = parse_readings(value, now)
        except InvalidPacket as error:
            self._refuse(link, error)
            return []
        values: dict[str, tuple[Value, float]] = {}
        for endpoint_id, several in said:
            endpoint = declared.get(endpoint_id)
            if endpoint is None or endpoint.access == "write":
                self._drop(link, endpoint_id, len(several))
                continue
            found: Readings = []
            for time, one in several:
                converted = self._converted(link, endpoint, one)
                if converted is not None:
                    found.append((self._time(link, time), converted[0]))
            if found:
                self._record(twins.device, endpoint, found)
                time, last = max(found, key=lambda reading: reading[0])
                values[endpoint_id] = last, time / 1000
        return twins.report(values, is_past=True)[0]

    def hello(self, link: TwinLink, declared: Mapping[str, Endpoint]) -> dict[str, Value]:
        """Take what a device has reported with its HELLO. Returns the values by endpoint; they are recorded."""
        said, link.reported = link.reported, None
        if not said:
            return {}
        now = int(self._server.wall() * 1000)
        values = {}
        for endpoint, found in self._known(link, declared, said):
            values[endpoint.id] = found
            self._record(link.client.device, endpoint, [(now, found)])
        return values

    def record(self, device: DeviceHandle, endpoint: Endpoint, value: Value, time: float) -> None:
        """Record what the program reports for a device; `time` in seconds since 1970."""
        self._record(device, endpoint, [(int(time * 1000), value)])

    # -- inside ----------------------------------------------------------------------------------------

    def _known(
        self, link: TwinLink, declared: Mapping[str, Endpoint], said: Mapping[str, Value]
    ) -> list[tuple[Endpoint, Value]]:
        """Return the endpoints that take their values, converted."""
        known = []
        for endpoint_id, value in said.items():
            endpoint = declared.get(endpoint_id)
            if endpoint is None or endpoint.access == "write":
                self._drop(link, endpoint_id)
                continue
            found = self._converted(link, endpoint, value)
            if found is not None:
                known.append((endpoint, found[0]))
        return known

    def _converted(self, link: TwinLink, endpoint: Endpoint, value: Any) -> tuple[Value] | None:
        """Return a value as the endpoint has it; None: it is of another type."""
        report = endpoint.report(value)
        if report is None:
            self._drop(link, endpoint.id)
            return None
        return (report.value,)

    def _time(self, link: TwinLink, time: int | None) -> int:
        """Return a time of a device, or now, in ms since 1970."""
        now = int(self._server.wall() * 1000)
        if time is None:
            return now
        if time > now + MAX_AHEAD:
            link.n_wrong_clock += 1
            return now
        return time

    def _record(self, device: DeviceHandle, endpoint: Endpoint, readings: Readings) -> None:
        history = self._server.recorder.readings
        if history is None or not endpoint.history:
            return
        message = current_message.get()
        if message is not None and message.id:
            message.transaction(history.record_durably(device.id, endpoint, readings))
        else:
            history.record(device.id, endpoint, readings)

    def _drop(self, link: TwinLink, endpoint_id: str, count: int = 1) -> None:
        """Count reports that no endpoint takes."""
        first = not link.n_invalid_reports
        link.n_invalid_reports += count
        if first:
            self._server.log_throttle.warning(
                "report",
                "device %r reports what its endpoint %.100r does not take, or has no such endpoint; it is dropped",
                link.name,
                endpoint_id,
            )

    def _refuse(self, link: TwinLink, error: InvalidPacket) -> None:
        link.n_invalid_reports += 1
        link.complain(error)
