"""The kinds of records that an export has, each with its table and its form in JSON; see docs/reference/export.md.

A further table is a further `Kind` in `KINDS`: nothing else of exports knows which there are.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table

from iotio.core.storage.records import read_json, write_json

from .rows import DamagedRow, device_of, message_of, row_of
from .tables import devices, messages

__all__ = ["KINDS", "Kind"]

_LARGEST = 2**63 - 1  # of the integers that every database keeps
_LARGEST_KIND = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of record.

    Attributes:
        name: what the member `record` of a line calls it; no column has that name.
        table: where its rows are; they are exported in the order of its primary key.
        to_json: makes the members of the line of a row; raises `DamagedRow`.
        to_row: makes a row of the members of a line, which are those of the columns; raises `DamagedRow`.
    """

    name: str
    table: Table
    to_json: Callable[[Mapping[str, Any]], dict[str, Any]]
    to_row: Callable[[dict[str, Any]], Mapping[str, Any]]

    def read(self, members: dict[str, Any]) -> Mapping[str, Any]:
        """Make a row of the members of a line.

        Raises:
            DamagedRow: one is missing, unknown or wrong.
        """
        names = self.table.c.keys()
        for name in members:
            if name not in names:
                raise DamagedRow(f"{name!r} is unknown")
        for name in names:
            if name not in members:
                raise DamagedRow(f"{name} is missing")
        for name, value in members.items():
            if isinstance(value, int) and value > _LARGEST:
                raise DamagedRow(f"{name} is larger than {_LARGEST}")
            if isinstance(value, str) and not _can_be_encoded(value):
                raise DamagedRow(f"{name} has half of a surrogate pair")
        return self.to_row(members)


def _device_json(row: Mapping[str, Any]) -> dict[str, Any]:
    record = device_of(row)
    return {
        **row,
        **_times(row, "since", "last_seen", "wakes"),
        "data": read_json(record.data),
        "rooms": list(record.rooms),
        "returned": record.returned,
    }


def _device_row(members: dict[str, Any]) -> Mapping[str, Any]:
    data = None if members["data"] is None else write_json(members["data"]).decode()
    row = {
        **members,
        **_times(members, "since", "last_seen", "wakes"),
        "data": data,
        "rooms": json.dumps(members["rooms"]),
    }
    return row_of(device_of(row))


def _message_json(row: Mapping[str, Any]) -> dict[str, Any]:
    message_of(row)
    return {**row, **_times(row, "created", "expires"), "value": base64.b64encode(row["value"]).decode()}


def _message_row(members: dict[str, Any]) -> Mapping[str, Any]:
    try:
        value = base64.b64decode(members["value"], validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise DamagedRow(f"value is not Base64: {error}") from error
    row = {**members, **_times(members, "created", "expires"), "value": value}
    message_of(row)
    if row["kind"] > _LARGEST_KIND:
        raise DamagedRow(f"kind is larger than {_LARGEST_KIND}")
    return row


def _times(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return these as fractions, which is how each database gives them; what is no number stays."""
    return {name: float(row[name]) if type(row[name]) is int else row[name] for name in names}


def _can_be_encoded(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


KINDS = (
    Kind("device", devices, _device_json, _device_row),
    Kind("message", messages, _message_json, _message_row),
)
"""In the order in which they stand in an export."""
