"""A store in memory: for tests, where it is handed from one manager to the next as a file would be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from iotio.core.storage.contract import (
    Change,
    DropDevice,
    DropMessages,
    DropTwins,
    Heard,
    PutDevice,
    PutMessage,
    PutTwin,
    Record,
    Run,
    Snapshot,
    Store,
)
from iotio.core.storage.records import DeviceRecord, MessageRecord, TwinRecord

from .history_memory import MemoryHistory

__all__ = ["MemoryStore"]


class MemoryStore(Store):
    """Keeps what it holds when it is closed, and loses it with the process."""

    def __init__(self) -> None:
        self._devices: dict[str, DeviceRecord] = {}
        self._messages: dict[str, dict[int, MessageRecord]] = {}
        self._history = MemoryHistory()
        self._twins: dict[str, dict[str, TwinRecord]] = {}

    def open(self) -> None:
        pass

    def load(self) -> Snapshot:
        messages = (record for numbers in self._messages.values() for _, record in sorted(numbers.items()))
        twins = (record for endpoints in self._twins.values() for record in endpoints.values())
        return Snapshot(tuple(self._devices.values()), tuple(messages), tuple(twins))

    def set_aside(self, records: Sequence[tuple[Record, str]]) -> None:
        for record, _ in records:
            match record:
                case DeviceRecord():
                    self._devices.pop(record.id, None)
                case MessageRecord():
                    self._messages.get(record.device_id, {}).pop(record.number, None)
                case TwinRecord():
                    self._twins.get(record.device_id, {}).pop(record.endpoint_id, None)

    def history(self) -> MemoryHistory:
        return self._history

    def commit(self, changes: Sequence[Change]) -> None:
        for change in changes:  # these may raise, the others cannot
            if isinstance(change, Run):
                change.function(None)
        for change in changes:
            self._apply(change)

    def replace(self, snapshot: Snapshot) -> None:
        self._devices = {record.id: record for record in snapshot.devices}
        self._messages = {}
        for record in snapshot.messages:
            self._messages.setdefault(record.device_id, {})[record.number] = record
        self._twins = {}
        for twin in snapshot.twins:
            self._twins.setdefault(twin.device_id, {})[twin.endpoint_id] = twin

    def close(self) -> None:
        pass

    def _apply(self, change: Change) -> None:
        match change:
            case PutDevice(record):
                before = self._devices.get(record.id)
                self._devices[record.id] = record if before is None else _never_down(before, record)
            case DropDevice(device_id):
                self._devices.pop(device_id, None)
                self._messages.pop(device_id, None)
                self._twins.pop(device_id, None)
            case PutTwin(twin):
                self._twins.setdefault(twin.device_id, {})[twin.endpoint_id] = twin
            case DropTwins(device_id, kept):
                twins = self._twins.get(device_id, {})
                for endpoint_id in twins.keys() - set(kept):
                    del twins[endpoint_id]
            case PutMessage(record):
                self._messages.setdefault(record.device_id, {})[record.number] = record
                device = self._devices.get(record.device_id)
                if device is not None and device.counter < record.number:
                    self._devices[device.id] = replace(device, counter=record.number)
            case DropMessages(device_id, numbers):
                for number in numbers:
                    self._messages.get(device_id, {}).pop(number, None)
            case Heard(device_id, stream, number):
                device = self._devices.get(device_id)
                if device is not None and (device.heard_stream != stream or device.heard < number):
                    self._devices[device_id] = replace(device, heard_stream=stream, heard=number)
            case Run():
                pass


def _never_down(before: DeviceRecord, record: DeviceRecord) -> DeviceRecord:
    """Return the new record, with the larger counts of the streams that are still the same."""
    if record.stream == before.stream and record.counter < before.counter:
        record = replace(record, counter=before.counter)
    known = record.heard_stream is not None
    if not known or (record.heard_stream == before.heard_stream and record.heard < before.heard):
        record = replace(record, heard_stream=before.heard_stream, heard=before.heard)
    return record
