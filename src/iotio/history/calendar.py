"""Where the buckets of an answer begin: quarters, hours, days and months of a time zone, or equal parts of a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import get_args
from zoneinfo import ZoneInfo

from iotio.core.readings import Every

from .statistics import QUARTER

__all__ = ["MAX_BUCKETS", "calendar_edges", "equal_edges", "moment_of", "zone_of"]

MAX_BUCKETS = 50_000  # of one answer
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STEPS = {"15m": QUARTER, "1h": 3_600_000}
_FIRST, _LAST = -62_135_596_800_000 + 86_400_000, 253_402_300_800_000 - 86_400_000  # ms that each zone has a date for


def zone_of(zone: str | tzinfo | None) -> tzinfo:
    """Return a time zone; UTC for None.

    Raises:
        ValueError: there is none of that name.
    """
    if zone is None:
        return UTC
    if isinstance(zone, tzinfo):
        return zone
    try:
        return ZoneInfo(zone)
    except (OSError, ValueError, TypeError, KeyError):
        raise ValueError(
            f"there is no time zone {zone!r}: write one such as 'Europe/Berlin' (on Windows: pip install tzdata)"
        ) from None


def moment_of(time: int, zone: tzinfo = UTC) -> datetime:
    """Return the date of a time in ms since 1970."""
    moment = _EPOCH + timedelta(milliseconds=time)
    return moment if zone is UTC else moment.astimezone(zone)


def calendar_edges(start: int, stop: int, every: Every, zone: tzinfo) -> list[int]:
    """List where the calendar's buckets begin that a time touches, and where the last one ends.

    A day of a change to or from summer time has 23 or 25 hours, and that change ends an hour that it cuts short.

    Args:
        start: of the time, in ms since 1970.
        stop: its end, which is not part of it any more.
        every: the kind of buckets.
        zone: whose calendar it is.

    Raises:
        ValueError: there is no such kind of bucket; or these are more than `MAX_BUCKETS`.
    """
    if every not in get_args(Every):
        raise ValueError(f"every is one of {', '.join(get_args(Every))}, not {every!r}")
    if not _FIRST <= start <= stop <= _LAST:
        raise ValueError("there is no calendar for this time: take years from 2 to 9998")
    step = _STEPS.get(every)
    edges: list[int] = []
    for edge in _days(start, zone, every == "1mo") if step is None else _hours(start, zone, step):
        if edges and edge <= edges[-1]:
            continue  # a day that a place has left out, as Samoa the 30th of December 2011
        edges.append(edge)
        if edge >= stop and len(edges) > 1:
            return edges
        if len(edges) > MAX_BUCKETS:
            break
    raise ValueError(f"the answer would have more than {MAX_BUCKETS} buckets: ask for less time, or larger ones")


def equal_edges(start: int, stop: int, points: int) -> list[int]:
    """Divide a time into parts of one length, at most so many. Those of a quarter of an hour and more are whole ones.

    Args:
        start: of the time, in ms since 1970.
        stop: its end, which is not part of it any more.
        points: parts, at least 1.

    Returns:
        Where they begin, and where the last one ends. Of whole quarters the first may begin before `start`.
    """
    width = -(-(stop - start) // points)
    if width <= QUARTER:
        edges = list(range(start, stop, max(width, 1)))
        return [*edges, stop] if edges else [start, stop]
    first = start - start % QUARTER
    width = -(-(stop - first) // (points * QUARTER)) * QUARTER
    return list(range(first, stop + width, width))


def _hours(start: int, zone: tzinfo, step: int) -> Iterator[int]:
    offset = _offset(start, zone)
    edge = start - (start + offset) % step
    if _offset(edge, zone) != offset:
        change = _change(edge, start, zone)
        if (_offset(edge, zone) - offset) % step:
            edge = change
    yield edge
    while True:
        offset = _offset(edge, zone)
        after = edge + step - (edge + offset) % step
        other = _offset(after, zone)
        if other != offset and (other - offset) % step:
            after = _change(edge, after, zone)
        yield after
        edge = after


def _days(start: int, zone: tzinfo, months: bool) -> Iterator[int]:
    day = moment_of(start, zone).date()
    day = day.replace(day=1) if months else day
    while True:
        yield _midnight(day, zone)
        if months:
            day = date(day.year + day.month // 12, day.month % 12 + 1, 1)
        else:
            day += timedelta(days=1)


def _midnight(day: date, zone: tzinfo) -> int:
    """Return when a day begins: its first moment, where the clock shows midnight twice or never."""
    moment = datetime(day.year, day.month, day.day, tzinfo=zone)
    return round((moment - _EPOCH) / timedelta(milliseconds=1))


def _offset(time: int, zone: tzinfo) -> int:
    """Return by how many ms the clock of a zone is before UTC."""
    offset = moment_of(time, zone).utcoffset()
    return 0 if offset is None else offset // timedelta(milliseconds=1)


def _change(low: int, high: int, zone: tzinfo) -> int:
    """Return when the clock of a zone is changed: after `low`, and at `high` at the latest."""
    offset = _offset(low, zone)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(middle, zone) == offset:
            low = middle
        else:
            high = middle
    return high
