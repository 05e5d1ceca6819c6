"""The records that a store keeps: one for each device, one for each durable message that waits, one for each twin.

A new column is: a field here, the table, a migration, and the one place that sets it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

__all__ = ["DeviceRecord", "DeviceState", "MessageRecord", "TwinRecord", "read_json", "write_json"]

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def write_json(value: Any) -> bytes:
    """Return a value as the shortest JSON in UTF-8: its objects in memory may be 24 times as large.

    Raises:
        TypeError: there is no JSON for it.
    """
    if value == {}:  # what most devices say of themselves
        return b"{}"
    try:
        return _dumps(value).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which an escape can carry
        return json.dumps(value, separators=(",", ":")).encode()


def read_json(text: bytes) -> Any:
    """Return what `write_json` has written, made anew."""
    return json.loads(text)


@dataclass(slots=True)
class DeviceState:
    """What lasts of a device, connected or away, but for its streams. A device changes its own; a copy stays as it is.

    Attributes:
        id: its id.
        type: the name of its type; that of its last connection.
        data: what it said about itself when it connected last; as JSON, see `write_json`.
        rooms: the rooms that it is in, sorted.
        presence: its presence, as a word.
        since: when it became so.
        last_seen: when anything came from it last; for a connected device its connection knows better.
        wakes: until when it announced to sleep, if it is asleep, or None.
        returned: whether it has come more than once.
        declaration: the endpoints that it has declared when it connected last; as JSON, None if there are none. Of
            devices in memory equal ones are one object, see `Remembered`.
        name: what people call it, or "".
        note: what people note of it, or "".
    """

    id: str
    type: str
    data: bytes
    rooms: tuple[str, ...] = ()
    presence: str = "offline"
    since: float = 0.0
    last_seen: float = 0.0
    wakes: float | None = None
    returned: bool = False
    declaration: bytes | None = None
    name: str = ""
    note: str = ""

    def copy(self) -> DeviceState:
        """Return a copy; of a `DeviceRecord` without its streams."""
        return DeviceState(*_values(self))


_values = attrgetter(*(field.name for field in fields(DeviceState)))


@dataclass(slots=True)
class DeviceRecord(DeviceState):
    """A device with its streams, as a store keeps it. No field is changed once it is made.

    Attributes:
        stream: the name of the stream of durable messages to it, "" before the first.
        counter: the number that was given last in that stream.
        heard_stream: the name of the stream of durable messages from it, None before the first.
        heard: the number of that stream that was handled last.
    """

    stream: str = ""
    counter: int = 0
    heard_stream: str | None = None
    heard: int = 0

    @classmethod
    def of(cls, state: DeviceState, stream: str, counter: int, heard_stream: str | None, heard: int) -> DeviceRecord:
        """Make the record of a device from a copy of its state and its streams."""
        values: tuple[Any, ...] = (*_values(state), stream, counter, heard_stream, heard)
        return cls(*values)


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """A durable message that waits for its device.

    Attributes:
        device_id: the id of the device.
        number: its place in the stream to the device, 0 before it has one; with `device_id` it names the message.
        id: what the program knows it by.
        event: the event.
        kind: the type of the value on the wire.
        value: the value as it travels.
        created: when it was sent.
        expires: when it is of no use any more, None for never.
        coalesce: a later message with the same word takes its place, None for never.
    """

    device_id: str
    number: int
    id: str
    event: str
    kind: int
    value: bytes
    created: float
    expires: float | None = None
    coalesce: str | None = None


@dataclass(frozen=True, slots=True)
class TwinRecord:
    """What an endpoint of a device is, and what it should be.

    Attributes:
        device_id: the id of the device.
        endpoint_id: the id of the endpoint; both name the twin.
        reported: what the device said last; as JSON, see `write_json`.
        reported_at: when; None: never.
        desired: what was set; as JSON.
        desired_at: when; None: nothing is desired.
        desired_by: who set it.
        version: grows with each set.
        status: as a word.
        reason: why it is rejected, else "".
        expires: when a set that is outstanding is of no use any more, None for never.
    """

    device_id: str
    endpoint_id: str
    reported: bytes = b"null"
    reported_at: float | None = None
    desired: bytes = b"null"
    desired_at: float | None = None
    desired_by: str = ""
    version: int = 0
    status: str = "unknown"
    reason: str = ""
    expires: float | None = None
