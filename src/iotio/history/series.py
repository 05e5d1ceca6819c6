"""A series while its readings come in: what is not in a chunk yet."""

from __future__ import annotations

from array import array
from typing import Any

from .counting import Readings, in_order
from .tables import Chunk, Kind, SeriesRecord

__all__ = ["DURABLE", "Buffer", "OpenSeries", "Waiting"]

DURABLE = -1
"""The number, among those of `Waiting`, of readings that were written with their message."""


class Waiting:
    """Readings that come to the store in one row of the tail.

    Attributes:
        number: counts these; it is that of the row, too.
        series: of each number.
        times: of each number.
        values: the numbers.
        states: series, time and value of each state.
        weight: how many readings it counts for; a long text counts for several.
    """

    __slots__ = ("number", "series", "states", "times", "values", "weight")

    def __init__(self, number: int) -> None:
        self.number = number
        self.series = array("I")
        self.times = array("q")
        self.values = array("d")
        self.states: list[tuple[int, int, Any]] = []
        self.weight = 0


class Buffer:
    """Readings of one series and one quarter that are not in a chunk yet, in the order in which they came.

    Attributes:
        quarter: when the quarter begins.
        times: of the readings.
        values: of the readings.
        row: the first row of the tail that has some of them, or will have.
        marks: of which `Waiting` the readings are from an index on; the last one is of those that come now.
    """

    __slots__ = ("marks", "quarter", "row", "times", "values")

    def __init__(self, quarter: int, kind: Kind, row: int) -> None:
        self.quarter = quarter
        self.times = array("q")
        self.values: Any = [] if kind is Kind.STATE else array("d")
        self.row = row
        self.marks: list[tuple[int, int]] = []

    def readings(self) -> Readings:
        """Return the readings, sorted by time."""
        return in_order(self.times, self.values)

    def mark(self, number: int, written: int) -> None:
        """Note that readings come now which are in the `Waiting` of a number, and which of those were written."""
        place = 0
        while place < len(self.marks) and self.marks[place][0] <= written:
            place += 1
        self.marks = [*self.marks[place:], (number, len(self.times))]

    def drop(self, number: int) -> int:
        """Drop the readings that are in the `Waiting` of a number. Returns how many."""
        dropped = 0
        marks: list[tuple[int, int]] = []
        for place, (of, start) in enumerate(self.marks):
            start -= dropped
            if of != number:
                marks.append((of, start))
                continue
            stop = self.marks[place + 1][1] - dropped if place + 1 < len(self.marks) else len(self.times)
            del self.times[start:stop]
            del self.values[start:stop]
            dropped += stop - start
        self.marks = marks
        return dropped


class OpenSeries:
    """A series.

    Attributes:
        record: what the store has of it.
        is_new: the store does not have it yet.
        buffers: what is not in a chunk yet, by quarter.
        closing: buffers of which chunks are being made.
        sealing: chunks that are being written.
        version: changes when readings become chunks.
        top: the newest quarter that has a chunk; None if that is not known yet.
        newest: the time of the newest reading, as far as is known.
        last: the value of that.
        slot: the second that readings came of last.
        count: readings of that second that are recorded.
        held: those beyond.
    """

    __slots__ = (
        "buffers",
        "closing",
        "count",
        "held",
        "is_new",
        "last",
        "newest",
        "record",
        "sealing",
        "slot",
        "top",
        "version",
    )

    def __init__(self, record: SeriesRecord, *, is_new: bool) -> None:
        self.record = record
        self.is_new = is_new
        self.buffers: dict[int, Buffer] = {}
        self.closing: list[Buffer] = []
        self.sealing: list[Chunk] = []
        self.version = 0
        self.top: int | None = None
        self.newest: int | None = None
        self.last: Any = None
        self.slot: int | None = None
        self.count = 0
        self.held: list[tuple[int, Any]] = []

    def hold(self, time: int, value: Any) -> None:
        """Hold a reading of a second that has many.

        Of more than three numbers the smallest, the largest and the last stay, and the last of states.
        """
        if self.record.kind is Kind.STATE:
            self.held = [(time, value)]
            return
        held = self.held
        held.append((time, value))
        if len(held) > 3:
            values = [one for _, one in held]
            stay = {values.index(min(values)), values.index(max(values)), len(held) - 1}
            self.held = [one for place, one in enumerate(held) if place in stay]
