"""The tables of the history in memory; see `iotio.history.tables`."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from iotio.core.primitives import allocate_lock
from iotio.history.tables import Chunk, Counted, HistoryStorage, HistoryTables, Quarter, SeriesRecord

__all__ = ["MemoryHistory"]


class MemoryHistory(HistoryStorage, HistoryTables):
    """Is its own tables: what a commit writes is there at once, and cannot fail."""

    def __init__(self) -> None:
        self._lock = allocate_lock()  # queries run in threads of their own
        self._series: dict[int, SeriesRecord] = {}
        self._tail: dict[int, bytes] = {}
        self._chunks: dict[int, list[Chunk]] = {}
        self._quarters: dict[int, list[Quarter]] = {}

    def writing(self, connection: Any) -> HistoryTables:
        return self

    @contextmanager
    def reading(self, timeout: float) -> Iterator[HistoryTables]:
        yield self

    def series(self) -> list[SeriesRecord]:
        with self._lock:
            return [record for _, record in sorted(self._series.items())]

    def tail(self) -> list[tuple[int, bytes]]:
        with self._lock:
            return sorted(self._tail.items())

    def chunks(self, series: int, start: int, stop: int) -> list[Chunk]:
        with self._lock:
            return [one for one in self._chunks.get(series, ()) if start <= one.start < stop]

    def chunk_before(self, series: int, time: int) -> Chunk | None:
        with self._lock:
            found = self._chunks.get(series, [])
            place = _place(found, time)
            return found[place - 1] if place else None

    def first_chunk(self, series: int) -> int | None:
        with self._lock:
            found = self._chunks.get(series)
            return found[0].start if found else None

    def chunk_starts(self, series: int, below: int, most: int) -> list[int]:
        with self._lock:
            found = self._chunks.get(series, [])
            return [one.start for one in found[: min(_place(found, below), most)]]

    def quarters(self, series: int, start: int, stop: int) -> list[Quarter]:
        with self._lock:
            return [one for one in self._quarters.get(series, ()) if start <= one.start < stop]

    def counted(self, series: int, start: int, stop: int) -> Sequence[Counted]:
        return [(one.start, *one.statistics) for one in self.quarters(series, start, stop)]

    def quarter_before(self, series: int, time: int) -> Quarter | None:
        with self._lock:
            found = self._quarters.get(series, [])
            place = _place(found, time)
            return found[place - 1] if place else None

    def size(self) -> int:
        with self._lock:
            return sum(len(one.body) + 100 for chunks in self._chunks.values() for one in chunks)

    def put_series(self, records: Sequence[SeriesRecord]) -> None:
        with self._lock:
            self._series.update((record.id, record) for record in records)

    def delete_series(self, series: int) -> None:
        with self._lock:
            self._series.pop(series, None)

    def put_tail(self, row: int, body: bytes) -> None:
        with self._lock:
            self._tail[row] = body

    def delete_tail(self, below: int) -> None:
        with self._lock:
            self._tail = {row: body for row, body in self._tail.items() if row >= below}

    def put_chunks(self, chunks: Sequence[Chunk]) -> None:
        with self._lock:
            for chunk in chunks:
                there = self._chunks.setdefault(chunk.series, [])
                there[:] = [one for one in there if one[:3] != chunk[:3]]
                insort(there, chunk, key=lambda one: one[1:3])

    def delete_chunks(self, series: int, below: int) -> None:
        with self._lock:
            found = self._chunks.get(series, [])
            del found[: _place(found, below)]

    def put_quarters(self, quarters: Sequence[Quarter]) -> None:
        with self._lock:
            for quarter in quarters:
                there = self._quarters.setdefault(quarter.series, [])
                there[:] = [one for one in there if one.start != quarter.start]
                insort(there, quarter, key=lambda one: one.start)

    def delete_quarters(self, series: int, below: int, most: int) -> int:
        with self._lock:
            found = self._quarters.get(series, [])
            count = min(_place(found, below), most)
            del found[:count]
            return count


def _place(rows: Sequence[Chunk] | Sequence[Quarter], time: int) -> int:
    """Return how many rows begin before a time."""
    return bisect_left(rows, time, key=lambda row: row.start)
