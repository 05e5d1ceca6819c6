"""Answer what an endpoint was: from statistics where they do, else from chunks, and always with what is not stored yet.

A quarter of an hour that lies within one bucket is counted by its statistics, and so is a chunk; only what a bucket
begins or ends in is read. So an answer is that of all readings, however it was found; where these are deleted, a
quarter is in the bucket that it begins in.
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from itertools import pairwise
from typing import Any

from iotio.core.readings import Bucket, Every, Series, Span

from .calendar import calendar_edges, equal_edges, moment_of
from .counting import Readings, in_order, overlap, readings_of
from .recorder import Recorder
from .series import OpenSeries
from .statistics import QUARTER, finite, quarter_of, statistics_of, step
from .tables import Chunk, Counted, HistoryTables, Kind, SeriesRecord

__all__ = ["MAX_READINGS", "TIMEOUT", "Question", "answer"]

TIMEOUT = 10.0  # seconds that a query may take
MAX_READINGS = 100_000  # that are answered one by one
_MARGIN = 50_000  # readings of a day of which only a part is asked for
_TOO_MANY = f"the answer would have more than {MAX_READINGS} readings: ask for less time, or for points"
_TRIES = 20  # if readings become chunks while they are read
_FIRST, _LAST = -(2**62), 2**62
_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for.

    Attributes:
        device_id: the device.
        endpoint_id: the endpoint.
        start: in ms since 1970.
        stop: its end, which is not part of it.
        points: buckets, at most; None for the readings themselves.
        every: buckets of the calendar in the place of `points`.
        zone: of the calendar, and of the times of the answer.
        unit: the unit of the series; None for that of the last reading.
    """

    device_id: str
    endpoint_id: str
    start: int
    stop: int
    points: int | None = 200
    every: Every | None = None
    zone: tzinfo = UTC
    unit: str | None = None

    def edges(self) -> list[int]:
        """List where the buckets begin, and where the last one ends.

        Raises:
            ValueError: the calendar has too many, or there are none such.
        """
        if self.every is not None:
            return calendar_edges(self.start, self.stop, self.every, self.zone)
        assert self.points is not None
        return equal_edges(self.start, self.stop, self.points)


@dataclass(slots=True)
class _Open:
    """What the recorder has of a series that a store has not."""

    version: int
    written: set[tuple[int, ...]]
    chunks: list[Chunk]
    buffers: list[tuple[int, array[int], Any]]

    def within(self, start: int, stop: int) -> list[Chunk]:
        """List the chunks that begin in a time, which are not in the store or are not to be read there."""
        return [one for one in self.chunks if start <= one.start < stop]

    def readings(self, start: int, stop: int) -> Readings:
        """List the readings of buffers of quarters that begin in a time."""
        times: list[int] = []
        values: list[Any] = []
        for quarter, some, them in self.buffers:
            if start <= quarter < stop:
                times += some
                values += them
        return times, values

    def quarters(self) -> set[int]:
        """List the quarters that have something of this."""
        return {*(one[0] for one in self.buffers), *(quarter_of(one.start) for one in self.chunks)}


def answer(recorder: Recorder, question: Question) -> Series:
    """Answer a question; in a thread that may wait for a disk.

    Raises:
        TimeoutError: it takes more than `TIMEOUT` seconds.
        StoreError: the store cannot be read.
        ValueError: the answer would have too many buckets or readings.
    """
    series = recorder.find(question.device_id, question.endpoint_id, question.unit)
    if series is None:
        return Series(question.endpoint_id, question.unit)
    for _ in range(_TRIES):
        version, chunks, buffers = recorder.open_readings(series)
        opened = _Open(version, {chunk[:3] for chunk in chunks}, chunks, buffers)
        with recorder.storage.reading(TIMEOUT) as tables:
            query = _Query(recorder, tables, series, opened, question)
            found = query.spans() if series.record.kind is Kind.STATE else query.buckets()
        if series.version == version:
            return found
    raise TimeoutError(f"the readings of {question.endpoint_id!r} change faster than they can be read")


class _Query:
    def __init__(
        self, recorder: Recorder, tables: HistoryTables, series: OpenSeries, opened: _Open, question: Question
    ) -> None:
        self._recorder = recorder
        self._tables = tables
        self._record: SeriesRecord = series.record
        self._open = opened
        self._question = question
        self._end = time.monotonic() + TIMEOUT

    # -- numbers ---------------------------------------------------------------------------------------

    def buckets(self) -> Series:
        """Answer for a number."""
        question = self._question
        start, stop = question.start, question.stop
        if question.points is None and question.every is None:
            return self._each()
        edges = question.edges()
        pieces: list[Counted] = []
        place = quarter_of(start)
        width = max(after - before for before, after in pairwise(edges))
        for low, high in self._counted(edges):
            counted = self._tables.counted(self._record.id, low, high)
            if counted:
                width = max(width, QUARTER)
            pieces += self._from_chunks(place, low, edges)
            pieces += counted
            place = high
        pieces += self._from_chunks(place, stop, edges)
        before = self._before(start) if self._record.kind is Kind.TOTAL and pieces else None
        return Series(question.endpoint_id, self._record.unit, width / 1000, tuple(self._filled(edges, pieces, before)))

    def _counted(self, edges: list[int]) -> list[tuple[int, int]]:
        """List the times that are answered from statistics, in order.

        If quarters lie within buckets these are all before the newest one, but for those of which something waits; else
        those that have no chunks any more.
        """
        newest = self._tables.chunk_before(self._record.id, _LAST)
        high = quarter_of(self._question.stop)
        if newest is not None:
            high = min(high, quarter_of(newest.start))
        if any(edge % QUARTER for edge in edges[1:-1]):
            first = self._tables.first_chunk(self._record.id)
            high = high if first is None else min(high, quarter_of(first))
        low = -(-self._question.start // QUARTER) * QUARTER
        found = []
        for quarter in sorted(one for one in self._open.quarters() if low <= one < high):
            found.append((low, quarter))
            low = quarter + QUARTER
        return [(start, stop) for start, stop in (*found, (low, high)) if start < stop]

    def _from_chunks(self, start: int, stop: int, edges: list[int]) -> list[Counted]:
        """Count what begins in a time, whose start is that of a quarter, from chunks and buffers."""
        pieces: list[Counted] = []
        for begin, end in self._days(start, stop):
            stored = self._tables.chunks(self._record.id, begin, end)
            stored = [one for one in stored if one[:3] not in self._open.written]
            groups: dict[int, list[Chunk]] = {}
            for chunk in sorted([*stored, *self._open.within(begin, end)], key=lambda one: one[:3]):
                groups.setdefault(quarter_of(chunk.start), []).append(chunk)
            opened = {quarter for quarter, _, _ in self._open.buffers if begin <= quarter < end}
            for quarter in sorted({*groups, *opened}):
                pieces += self._from_group(groups.get(quarter, []), quarter, quarter in opened, edges)
        return pieces

    def _days(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Part a time into days, so that years are not read in one piece; where nothing is stored there are none."""
        newest = self._tables.chunk_before(self._record.id, _LAST)
        quarters = self._open.quarters()
        if newest is not None:
            quarters |= {quarter_of(self._tables.first_chunk(self._record.id) or 0), quarter_of(newest.start)}
        if quarters:
            start, stop = max(start, min(quarters)), min(stop, max(quarters) + QUARTER)
            for begin in range(start, stop, _DAY):
                if time.monotonic() > self._end:
                    raise TimeoutError(f"the answer took more than {TIMEOUT:g} s: ask for less time")
                yield begin, min(begin + _DAY, stop)

    def _from_group(self, chunks: list[Chunk], quarter: int, opened: bool, edges: list[int]) -> list[Counted]:
        """Count the chunks and buffers of one quarter."""
        times, values = self._open.readings(quarter, quarter + 1) if opened else ([], [])
        if overlap(chunks) or (times and chunks and min(times) <= chunks[-1].stop):
            return self._pieces_of(self._merged(chunks, times, values), edges)
        pieces: list[Counted] = []
        for chunk in chunks:
            place = bisect_right(edges, chunk.start) - 1
            if place >= 0 and place + 1 < len(edges) and chunk.stop < edges[place + 1] and self._is_within(chunk):
                pieces.append((chunk.start, *chunk.statistics))
            else:
                pieces += self._pieces_of(readings_of([chunk], self._record.kind, self._recorder.throttle), edges)
        if times:
            pieces += self._pieces_of(in_order(times, values), edges)
        return pieces

    def _is_within(self, chunk: Chunk) -> bool:
        return self._question.start <= chunk.start and chunk.stop < self._question.stop

    def _merged(self, chunks: list[Chunk], times: Sequence[int], values: Sequence[Any]) -> Readings:
        """Read chunks, and readings that came behind them."""
        some, them = readings_of(chunks, self._record.kind, self._recorder.throttle)
        return in_order([*some, *times], [*them, *values])

    def _pieces_of(self, readings: Readings, edges: list[int]) -> list[Counted]:
        """Count readings by buckets."""
        times, values = readings
        meter = self._record.kind is Kind.TOTAL
        place = bisect_left(times, self._question.start)
        end = bisect_left(times, self._question.stop)
        pieces: list[Counted] = []
        while place < end:
            after = bisect_left(times, edges[bisect_right(edges, times[place])], place, end)
            pieces.append((times[place], *statistics_of(values[place:after], meter=meter)))
            place = after
        return pieces

    def _filled(self, edges: list[int], pieces: list[Counted], before: float | None) -> list[Bucket]:
        """Make buckets of pieces, which are in order."""
        if not pieces:
            return []
        zone = self._question.zone
        starts, ns, lows, highs, totals, _, lasts, _ = columns = list(zip(*pieces, strict=True))
        growths = _growths(columns, before) if self._record.kind is Kind.TOTAL else None
        found = []
        place = 0
        while place < len(starts):
            bucket = bisect_right(edges, starts[place]) - 1
            after = bisect_left(starts, edges[bucket + 1], place)
            n = sum(ns[place:after])
            found.append(
                Bucket(
                    moment_of(edges[bucket], zone),
                    moment_of(edges[bucket + 1], zone),
                    n,
                    min(lows[place:after]),
                    max(highs[place:after]),
                    sum(totals[place:after]) / n,
                    lasts[after - 1],
                    None if growths is None else finite(sum(growths[place:after])),
                )
            )
            place = after
        return found

    def _each(self) -> Series:
        """Answer with the readings themselves."""
        question = self._question
        times, values = self._readings(quarter_of(question.start), question.stop)
        place, end = bisect_left(times, question.start), bisect_left(times, question.stop)
        if end - place > MAX_READINGS:
            raise ValueError(_TOO_MANY)
        total = self._record.kind is Kind.TOTAL
        before = self._before(question.start) if total and place < end else None
        found = []
        for moment, value in zip(times[place:end], values[place:end], strict=True):
            when = moment_of(moment, question.zone)
            growth = (0.0 if before is None else step(before, value)) if total else None
            found.append(Bucket(when, when, 1, value, value, value, value, growth))
            before = value
        return Series(question.endpoint_id, self._record.unit, 0, tuple(found))

    def _readings(self, start: int, stop: int) -> Readings:
        """Read all that begins in a time whose start is that of a quarter; a little more may come."""
        chunks: list[Chunk] = []
        count = 0
        for begin, end in self._days(start, stop):
            some = self._tables.chunks(self._record.id, begin, end)
            chunks += some
            count += sum(one.statistics.n for one in some)
            if count > 2 * MAX_READINGS + _MARGIN:
                raise ValueError(_TOO_MANY)
        stored = [one for one in chunks if one[:3] not in self._open.written]
        return self._merged([*stored, *self._open.within(start, stop)], *self._open.readings(start, stop))

    def _before(self, moment: int) -> Any:
        """Find the last value before a time; None if there is none."""
        quarter = quarter_of(moment)
        for begin in (quarter, self._last_quarter(quarter)):
            if begin is None:
                continue
            times, values = self._readings(begin, begin + QUARTER)
            place = bisect_left(times, moment)
            if place:
                return values[place - 1]
        if self._record.kind is Kind.STATE:
            return None
        found = self._tables.quarter_before(self._record.id, quarter)
        return None if found is None else found.statistics.last

    def _last_quarter(self, quarter: int) -> int | None:
        """Return the last quarter before one that has readings."""
        stored = self._tables.chunk_before(self._record.id, quarter)
        counted = self._tables.quarter_before(self._record.id, quarter)
        found = [one for one in self._open.quarters() if one < quarter]
        found += [] if stored is None else [quarter_of(stored.start)]
        last = max(found, default=None)
        return None if counted is not None and (last is None or counted.start > last) else last

    # -- states ----------------------------------------------------------------------------------------

    def spans(self) -> Series:
        """Answer for a state."""
        question = self._question
        first = self._before(question.start)
        times, values = self._readings(quarter_of(question.start), question.stop)
        place, end = bisect_left(times, question.start), bisect_left(times, question.stop)
        if end - place > MAX_READINGS:
            raise ValueError(_TOO_MANY)
        changes = [] if first is None else [(question.start, first)]
        for moment, value in zip(times[place:end], values[place:end], strict=True):
            if changes and changes[-1][0] == moment:
                changes.pop()
            if not changes or type(changes[-1][1]) is not type(value) or changes[-1][1] != value:
                changes.append((moment, value))
        ends = [*(moment for moment, _ in changes[1:]), question.stop]
        spans = tuple(
            Span(moment_of(start, question.zone), moment_of(stop, question.zone), value)
            for (start, value), stop in zip(changes, ends, strict=False)  # one more, without changes
        )
        return Series(question.endpoint_id, self._record.unit, None, (), spans)


def _growths(columns: Sequence[Sequence[Any]], before: float | None) -> list[float]:
    """Return by how much a meter has grown in each piece, from the last value before it."""
    growths = []
    for first, last, increase in zip(*columns[5:], strict=True):
        growths.append(increase if before is None else increase + step(before, first))
        before = last
    return growths
