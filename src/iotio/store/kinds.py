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

from sqlalchemy import Float, Table

from iotio.core.storage.records import read_json, write_json

from .rows import HISTORY_CHECKS, DamagedRow, check_row, device_of, message_of, row_of, twin_of
from .tables import chunks, devices, messages, quarters, series, tail, twins

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
    return {**row, **_times(row, "created", "expires"), "value": _base64(row["value"])}


def _message_row(members: dict[str, Any]) -> Mapping[str, Any]:
    row = {**members, **_times(members, "created", "expires"), "value": _bytes(members, "value")}
    message_of(row)
    if row["kind"] > _LARGEST_KIND:
        raise DamagedRow(f"kind is larger than {_LARGEST_KIND}")
    return row


def _twin_json(row: Mapping[str, Any]) -> dict[str, Any]:
    record = twin_of(row)
    values = {"reported": read_json(record.reported), "desired": read_json(record.desired)}
    return {**row, **_times(row, "reported_at", "desired_at", "expires"), **values}


def _twin_row(members: dict[str, Any]) -> Mapping[str, Any]:
    texts = {name: write_json(members[name]).decode() for name in ("reported", "desired")}
    return row_of(twin_of({**members, **_times(members, "reported_at", "desired_at", "expires"), **texts}))


def _history_kind(name: str, table: Table) -> Kind:
    """Return the kind of record of a table of the history: numbers and texts as they are, bytes in Base64."""
    checks = HISTORY_CHECKS[table.name]
    fractions = [column.name for column in table.c if isinstance(column.type, Float)]

    def to_json(row: Mapping[str, Any]) -> dict[str, Any]:
        check_row(row, checks)
        members = {**row, **_times(row, *fractions)}
        if "dropped" in members:  # SQLite has numbers for it
            members["dropped"] = bool(members["dropped"])
        if "body" in members:
            members["body"] = _base64(members["body"])
        return members

    def to_row(members: dict[str, Any]) -> Mapping[str, Any]:
        row = {**members, **_times(members, *fractions)}
        if "body" in row:
            row["body"] = _bytes(members, "body")
        check_row(row, checks)
        return row

    return Kind(name, table, to_json, to_row)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _bytes(members: dict[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(members[name], validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise DamagedRow(f"{name} is not Base64: {error}") from error


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
    Kind("twin", twins, _twin_json, _twin_row),
    _history_kind("series", series),
    _history_kind("tail", tail),
    _history_kind("chunk", chunks),
    _history_kind("quarter", quarters),
)
"""In the order in which they stand in an export."""
