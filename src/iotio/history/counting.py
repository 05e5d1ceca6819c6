"""Read what chunks hold, and count it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from iotio_protocol.log_throttle import LogThrottle
from iotio_protocol.logs import get_logger

from .codec import DamagedBody, decode_numbers, decode_states
from .statistics import QUARTER, Statistics, merge, statistics_of
from .tables import Chunk, HistoryTables, Kind, Quarter

__all__ = ["Readings", "count_quarter", "in_order", "overlap", "readings_of", "statistics_of_chunks"]

logger = get_logger("iotio.history")

Readings = tuple[list[int], list[Any]]
"""Times, ascending and each once, and the values."""


def in_order(times: Sequence[int], values: Sequence[Any]) -> Readings:
    """Sort readings by time; of two of one time the later one counts."""
    times, values = list(times), list(values)
    if len(set(times)) == len(times) and sorted(times) == times:
        return times, values
    latest = dict(zip(times, values, strict=True))
    ordered = sorted(latest)
    return ordered, [latest[time] for time in ordered]


def overlap(chunks: Sequence[Chunk]) -> bool:
    """Ask whether a chunk begins before the end of one before it, in the order in which a store lists them."""
    return any(after.start <= before.stop for before, after in pairwise(chunks))


def readings_of(chunks: Iterable[Chunk], kind: Kind, throttle: LogThrottle) -> Readings:
    """Read chunks; those that are damaged are left out, and named in the log.

    Args:
        chunks: in any order.
        kind: of the series.
        throttle: for the log.
    """
    times: list[int] = []
    values: list[Any] = []
    for chunk in sorted(chunks, key=lambda one: one.id):
        try:
            some = decode_states(chunk.body) if kind is Kind.STATE else decode_numbers(chunk.body)
        except DamagedBody as error:
            level = logging.DEBUG if throttle.ask("damaged") is None else logging.ERROR
            logger.log(level, "a chunk of series %d cannot be read and is left out: %s", chunk.series, error)
            continue
        times += some[0]
        values += some[1]
    return in_order(times, values)


def statistics_of_chunks(chunks: Sequence[Chunk], kind: Kind, throttle: LogThrottle) -> Statistics | None:
    """Count what is in chunks, by their own statistics if they do not overlap; None if there is nothing.

    Args:
        chunks: in the order in which a store lists them.
        kind: of the series, numbers.
        throttle: for the log.
    """
    if overlap(chunks):
        _, values = readings_of(chunks, kind, throttle)
        return statistics_of(values, meter=kind is Kind.TOTAL) if values else None
    found: Statistics | None = None
    for chunk in chunks:
        found = chunk.statistics if found is None else merge(found, chunk.statistics)
    return found


def count_quarter(tables: HistoryTables, series: int, kind: Kind, quarter: int, throttle: LogThrottle) -> None:
    """Write the statistics of a quarter from the chunks that it has; nothing changes if it has none."""
    found = statistics_of_chunks(tables.chunks(series, quarter, quarter + QUARTER), kind, throttle)
    if found is not None:
        tables.put_quarters([Quarter(series, quarter, found)])
