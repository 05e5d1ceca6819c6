"""Delete what is too old or too much, a little in each commit: the file is used again, and nothing stands still."""

from __future__ import annotations

from collections.abc import Callable

from iotio_protocol.log_throttle import LogThrottle

from .counting import count_quarter
from .settings import History
from .statistics import QUARTER, quarter_of
from .tables import HistoryTables, Kind, SeriesRecord

__all__ = ["MOST_CHUNKS", "Retention"]

MOST_CHUNKS = 1000  # that one commit deletes
_MOST_SERIES = 50  # that one commit looks at
_PAUSE = 600_000  # ms between two rounds, if the store is not too large
_SLICES = 50  # of the time of all readings, one of which is deleted in a round if the store is too large
_LAST = 2**62


class Retention:
    """Goes round all series, again and again. Used in the store writer's thread only.

    Args:
        settings: how long and how much.
        throttle: for the log.
    """

    def __init__(self, settings: History, throttle: LogThrottle) -> None:
        self._raw = round(settings.raw_seconds * 1000)
        self._hours = round(settings.hours_seconds * 1000)
        self._most = settings.max_bytes
        self._throttle = throttle
        self._round: list[SeriesRecord] | None = None  # what is left of it
        self._due = 0
        self._cutoff = 0
        self._oldest: int | None = None  # reading of all series, when the round has passed it

    def step(self, tables: HistoryTables, series: Callable[[], list[SeriesRecord]], now: int) -> list[SeriesRecord]:
        """Delete the next few.

        Args:
            tables: in a commit.
            series: lists all series, those of forgotten devices too.
            now: the date, in ms since 1970.

        Returns:
            The series of forgotten devices of which nothing is left.
        """
        if self._round is None:
            if now < self._due:
                return []
            self._begin(tables, series(), now)
        assert self._round is not None
        gone = []
        left = MOST_CHUNKS
        for _ in range(_MOST_SERIES):
            if not self._round:
                self._round = None
                self._due = now + (0 if self._is_too_large(tables) and self._oldest is not None else _PAUSE)
                break
            record = self._round[-1]
            if record.dropped:
                deleted, is_gone = _delete_all(tables, record.id, left)
                if is_gone:
                    gone.append(record)
            else:
                deleted = self._delete_old(tables, record, left, now)
            left -= deleted
            if left <= 0:
                break  # and go on with this series
            self._round.pop()
        return gone

    def _begin(self, tables: HistoryTables, series: list[SeriesRecord], now: int) -> None:
        """Begin a round; a store that is too large loses one more slice of the time that it has."""
        cutoff = now - self._raw
        if self._oldest is not None and self._is_too_large(tables):
            cutoff = max(cutoff, self._oldest + max((now - self._oldest) // _SLICES, QUARTER))
        self._cutoff = quarter_of(min(cutoff, now - QUARTER))
        self._oldest = None
        self._round = series

    def _is_too_large(self, tables: HistoryTables) -> bool:
        return tables.size() > self._most

    def _delete_old(self, tables: HistoryTables, record: SeriesRecord, most: int, now: int) -> int:
        """Delete old chunks of a series, at most about so many. Returns how many."""
        tables.delete_quarters(record.id, now - self._hours, most)
        starts = tables.chunk_starts(record.id, self._cutoff, most)
        if starts:
            below = self._cutoff
            if len(starts) == most:  # whole quarters
                below = max(quarter_of(starts[-1]), quarter_of(starts[0]) + QUARTER)
            newest = tables.chunk_before(record.id, _LAST)
            assert newest is not None
            if record.kind is Kind.STATE:
                below = min(below, quarter_of(newest.start))  # what it is now is not forgotten
            elif newest.start < below:  # only of the newest quarter the statistics may not be written yet
                count_quarter(tables, record.id, record.kind, quarter_of(newest.start), self._throttle)
            tables.delete_chunks(record.id, below)
        first = tables.first_chunk(record.id)
        if first is not None and (record.kind is not Kind.STATE or first >= self._cutoff):
            self._oldest = first if self._oldest is None else min(first, self._oldest)
        return len(starts)


def _delete_all(tables: HistoryTables, series: int, most: int) -> tuple[int, bool]:
    """Delete a series of a forgotten device, at most so many chunks. Returns how many, and whether it is gone."""
    starts = tables.chunk_starts(series, _LAST, most)
    if starts:
        tables.delete_chunks(series, starts[-1] + 1)
    quarters = tables.delete_quarters(series, _LAST, most)
    if max(len(starts), quarters) >= most:
        return most, False
    tables.delete_series(series)
    return len(starts) + quarters, True
