"""From rows to records and back; what a row holds is checked, as SQLite takes any kind of value in any column."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from math import isfinite
from typing import Any

from iotio.core.storage.contract import Record
from iotio.core.storage.records import DeviceRecord, MessageRecord, TwinRecord, write_json
from iotio.history.tables import Kind

__all__ = [
    "HISTORY_CHECKS",
    "DamagedRow",
    "check_row",
    "describe",
    "device_of",
    "message_of",
    "row_of",
    "shown",
    "twin_of",
]

_LAST = 253_402_300_800.0  # seconds since 1970 until the year 10000, which no date has
_MOST = 100  # characters of a value that an error shows

_NULL = b"null"  # data of a device, which is NULL in the table
_FIELDS = {kind: [field.name for field in fields(kind)] for kind in (DeviceRecord, MessageRecord, TwinRecord)}


Checks = Mapping[str, tuple[Callable[[Any], bool], str]]
"""For each column whether a value is right, and what it should be."""


class DamagedRow(Exception):
    """What a row holds cannot be a record; the text names column and value."""


def row_of(record: Record) -> dict[str, Any]:
    """Return the row of a record."""
    row = {name: getattr(record, name) for name in _FIELDS[type(record)]}
    match record:
        case DeviceRecord():
            row["data"] = None if record.data == _NULL else record.data.decode()
            row["rooms"] = json.dumps(record.rooms)
            row["declaration"] = None if record.declaration is None else record.declaration.decode()
        case TwinRecord():
            row["reported"] = record.reported.decode()
            row["desired"] = record.desired.decode()
    return row


def device_of(row: Mapping[str, Any]) -> DeviceRecord:
    """Return the device of a row.

    Raises:
        DamagedRow: there is none in it.
    """
    check_row(row, _DEVICE_CHECKS)
    values = dict(row)
    values["data"] = _NULL if values["data"] is None else write_json(_json("data", values["data"]))
    values["returned"] = bool(values["returned"])
    rooms = _json("rooms", values["rooms"])
    if not isinstance(rooms, list) or not all(isinstance(room, str) for room in rooms):
        raise DamagedRow(f"rooms is {shown(row['rooms'])}, not a list of names")
    values["rooms"] = tuple(rooms)
    if values["declaration"] is not None:  # it is read when somebody looks
        values["declaration"] = values["declaration"].encode()
    return DeviceRecord(**values)


def message_of(row: Mapping[str, Any]) -> MessageRecord:
    """Return the message of a row.

    Raises:
        DamagedRow: there is none in it.
    """
    check_row(row, _MESSAGE_CHECKS)
    return MessageRecord(**row)


def twin_of(row: Mapping[str, Any]) -> TwinRecord:
    """Return the twin of a row.

    Raises:
        DamagedRow: there is none in it.
    """
    check_row(row, _TWIN_CHECKS)
    values = dict(row)
    for name in ("reported", "desired"):
        values[name] = write_json(_json(name, values[name]))
    return TwinRecord(**values)


def describe(row: Mapping[str, Any]) -> str:
    """Return a row as JSON, whatever it holds; bytes as hexadecimal digits."""
    texts = {name: {"hex": value.hex()} if isinstance(value, bytes) else value for name, value in row.items()}
    return json.dumps(texts)


def check_row(row: Mapping[str, Any], checks: Checks) -> None:
    """Raise DamagedRow if a value is not as it should be."""
    for name, (is_right, what) in checks.items():
        if not is_right(row[name]):
            raise DamagedRow(f"{name} is {shown(row[name])}, not {what}")


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedRow(f"{name} is {shown(text)}, which is not JSON: {error}") from error


def shown(value: object) -> str:
    """Return the beginning of a value as Python writes it."""
    text = repr(value)
    return text if len(text) <= _MOST else f"{text[:_MOST]}..."


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and isfinite(value) and abs(value) < _LAST


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and value >= 0


def _or_none(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


_TEXT = (_is_text, "text")
_TEXT_OR_NONE = (_or_none(_is_text), "text")
_TIME = (_is_time, "a time")
_TIME_OR_NONE = (_or_none(_is_time), "a time")
_COUNT = (_is_count, "a number from 0 on")

_DEVICE_CHECKS: Checks = {
    "id": _TEXT,
    "type": _TEXT,
    "data": _TEXT_OR_NONE,
    "rooms": _TEXT,
    "presence": _TEXT,
    "since": _TIME,
    "last_seen": _TIME,
    "wakes": _TIME_OR_NONE,
    "returned": (lambda value: value in (0, 1), "0 or 1"),
    "declaration": _TEXT_OR_NONE,
    "name": _TEXT,
    "note": _TEXT,
    "stream": _TEXT,
    "counter": _COUNT,
    "heard_stream": _TEXT_OR_NONE,
    "heard": _COUNT,
}
_MESSAGE_CHECKS: Checks = {
    "device_id": _TEXT,
    "number": _COUNT,
    "id": _TEXT,
    "event": _TEXT,
    "kind": _COUNT,
    "value": (lambda value: isinstance(value, bytes), "bytes"),
    "created": _TIME,
    "expires": _TIME_OR_NONE,
    "coalesce": _TEXT_OR_NONE,
}
_TWIN_CHECKS: Checks = {
    "device_id": _TEXT,
    "endpoint_id": _TEXT,
    "reported": _TEXT,
    "reported_at": _TIME_OR_NONE,
    "desired": _TEXT,
    "desired_at": _TIME_OR_NONE,
    "desired_by": _TEXT,
    "version": _COUNT,
    "status": _TEXT,
    "reason": _TEXT,
    "expires": _TIME_OR_NONE,
}

_BYTES = (lambda value: isinstance(value, bytes), "bytes")
_INTEGER = (lambda value: type(value) is int, "a whole number")
_NUMBER = (lambda value: type(value) in (int, float) and isfinite(value), "a number")
_STATISTICS: Checks = {
    "n": _COUNT,
    **dict.fromkeys(("vmin", "vmax", "vsum", "first", "last", "increase"), _NUMBER),
}
HISTORY_CHECKS: Mapping[str, Checks] = {
    "iotio_series": {
        "id": _COUNT,
        "device_id": _TEXT,
        "endpoint_id": _TEXT,
        "kind": (lambda value: value in tuple(Kind), "number, total or state"),
        "unit": _TEXT_OR_NONE,
        "created": _TIME,
        "dropped": (lambda value: value in (0, 1), "true or false"),
    },
    "iotio_tail": {"id": _COUNT, "body": _BYTES},
    "iotio_chunks": {
        "series": _COUNT,
        "start": _INTEGER,
        "id": _COUNT,
        "stop": _INTEGER,
        **_STATISTICS,
        "body": _BYTES,
    },
    "iotio_quarters": {"series": _COUNT, "start": _INTEGER, **_STATISTICS},
}
"""By the name of the table. What the bodies hold is read when somebody asks for it."""
