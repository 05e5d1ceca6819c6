"""What devices report of their endpoints, as it travels: `$report`, HELLO `state`, and `$readings`.

Whether an endpoint is declared and takes the value, `Endpoint.report` decides; here is only the form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .errors import EncodeError, InvalidPacket
from .v2 import MAX_TIME, check_text
from .values import Value

__all__ = ["MAX_READINGS", "READINGS", "REPORT", "parse_readings", "parse_report", "write_readings"]

REPORT = "$report"
"""The event whose value is a JSON object: endpoint id to value."""

READINGS = "$readings"
"""The event that carries many readings, each of a time of its own."""

MAX_READINGS = 10_000
"""Readings in one message; a device that has more sends another one."""

Readings = Sequence[tuple[str, Sequence[tuple[int, Value]]]]
"""For each endpoint id its readings: a time in milliseconds since 1970, and a value."""


def parse_report(value: object, most: int | None) -> dict[str, Value]:
    """Read a report: the values of several endpoints, as they are now.

    Args:
        value: of the event `$report`, or of the field `state` of HELLO.
        most: endpoints that it may name; None for the `state` of a HELLO, which is small as a whole.

    Returns:
        The values by endpoint id, as they came.

    Raises:
        InvalidPacket: it is no such object, or names more endpoints.
    """
    if not isinstance(value, dict):
        raise InvalidPacket(f"a report is an object, endpoint id to value, not {_kind(value)}")
    if most is not None and len(value) > most:
        raise InvalidPacket(f"a report names at most {most} endpoints, this one {len(value)}")
    for endpoint_id in value:
        check_text(endpoint_id)
    return value


def parse_readings(value: object, now: int) -> list[tuple[str, list[tuple[int, Value]]]]:
    """Read what the event `$readings` carries: `{"t": ms, "v": {"temperature": [[0, 21.5], [1000, 21.6]]}}`.

    Args:
        value: of the event.
        now: milliseconds since 1970; the offsets of a message without `t` go back from here.

    Returns:
        For each endpoint that has any, its id and its readings as they came, each with its time in milliseconds
        since 1970.

    Raises:
        InvalidPacket: it has another form, more than `MAX_READINGS`, or a time outside of the years 1970 to 9999.
    """
    if not isinstance(value, dict) or not isinstance(value.get("v"), dict):
        raise InvalidPacket('readings are an object with the field "v", an object: endpoint id to a list of readings')
    start = value.get("t")
    if start is not None and (not _is_integer(start) or not 0 <= start <= MAX_TIME):
        raise InvalidPacket(f'"t" is a time in milliseconds since 1970, up to {MAX_TIME}')
    series: dict[str, Any] = value["v"]
    if not all(isinstance(readings, list) for readings in series.values()):
        raise InvalidPacket("the readings of an endpoint are a list of pairs, [offset in milliseconds, value]")
    count = sum(map(len, series.values()))
    if count > MAX_READINGS:
        raise InvalidPacket(f"a message carries at most {MAX_READINGS} readings, this one {count}")
    latest = 0 if start is None else MAX_TIME
    begin = now if start is None else start
    return [
        (check_text(endpoint_id), [_reading(pair, begin, latest) for pair in readings])
        for endpoint_id, readings in series.items()
        if readings
    ]


def _reading(pair: object, begin: int, latest: int) -> tuple[int, Value]:
    """Return time and value of a reading whose offset may be `latest` at most."""
    if not isinstance(pair, list) or len(pair) != 2 or not _is_integer(pair[0]):
        raise InvalidPacket("a reading is a pair, [offset in milliseconds, value], with an integer as the offset")
    offset, value = pair
    if offset > latest:
        raise InvalidPacket('without "t" the offsets go back from now: they are 0 or less')
    time = begin + offset
    if not 0 <= time <= MAX_TIME:
        raise InvalidPacket(f"the time of a reading is from 0 to {MAX_TIME} milliseconds since 1970")
    return time, value


def write_readings(readings: Readings, *, now: int | None = None) -> dict[str, Any]:
    """Write the value of the event `$readings`; `parse_readings` takes it back.

    Args:
        readings: for each endpoint id its times and values. A series may be in several parts.
        now: what the device's clock shows, for one that does not know the time of the world: times are those of its
            clock, and the server counts them back from the moment of arrival. None: times are milliseconds since 1970.

    Raises:
        EncodeError: these are more than `MAX_READINGS`, or one is later than `now`.
    """
    count = sum(len(series) for _, series in readings)
    if count > MAX_READINGS:
        raise EncodeError(f"a message carries at most {MAX_READINGS} readings, these are {count}")
    times = [time for _, series in readings for time, _ in series]
    if now is not None and max(times, default=now) > now:
        raise EncodeError(f"a reading is of {max(times)}, later than now, {now}")
    begin = min(times, default=0) if now is None else now
    found: dict[str, list[list[Any]]] = {}
    for endpoint_id, series in readings:
        found.setdefault(endpoint_id, []).extend([time - begin, value] for time, value in series)
    return {"v": found} if now is not None else {"t": begin, "v": found}


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _kind(value: object) -> str:
    return "null" if value is None else f"a value of type {type(value).__name__}"
