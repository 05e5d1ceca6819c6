"""What a store does for the history: four tables, written in its transactions and read beside them.

A chunk lies within one quarter of an hour, so what a time may touch is found by the key. Of two readings of one time
the one in the later chunk counts. What is put may be put again: after a failure nobody knows whether it was.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from .statistics import Statistics

__all__ = ["Chunk", "Counted", "HistoryStorage", "HistoryTables", "Kind", "Quarter", "SeriesRecord"]


class Kind(StrEnum):
    """What a series holds."""

    NUMBER = "number"
    TOTAL = "total"
    """A meter, which grows."""
    STATE = "state"
    """Texts, booleans and values of an enum: changes only."""


@dataclass(frozen=True, slots=True)
class SeriesRecord:
    """A series of readings: one for each endpoint and unit.

    Attributes:
        id: names it in the other tables.
        device_id: whose it is.
        endpoint_id: the endpoint.
        kind: what it holds.
        unit: of its values, or None.
        created: when it began, in seconds since 1970.
        dropped: its device is forgotten; it is deleted bit by bit.
    """

    id: int
    device_id: str
    endpoint_id: str
    kind: Kind
    unit: str | None
    created: float
    dropped: bool = False


class Chunk(NamedTuple):
    """Some readings of one series and one quarter.

    Attributes:
        series: the id of the series.
        start: the time of the first reading, in ms since 1970.
        id: later ones have a larger one.
        stop: the time of the last reading.
        statistics: of the readings; of states only their number says something.
        body: the readings; see `codec`.
    """

    series: int
    start: int
    id: int
    stop: int
    statistics: Statistics
    body: bytes


class Quarter(NamedTuple):
    """The statistics of a series in a quarter of an hour, which stay when the readings are deleted."""

    series: int
    start: int
    statistics: Statistics


Counted = tuple[int, int, float, float, float, float, float, float]
"""When a quarter begins, and its statistics."""


class HistoryTables(ABC):
    """The tables within one transaction. Times are ms since 1970; `below` and `stop` are not part of what they end."""

    # -- reading ---------------------------------------------------------------------------------------

    @abstractmethod
    def series(self) -> list[SeriesRecord]:
        """List all series in the order of their ids."""

    @abstractmethod
    def tail(self) -> list[tuple[int, bytes]]:
        """List the rows of the tail: id and body, in the order of the ids."""

    @abstractmethod
    def chunks(self, series: int, start: int, stop: int) -> list[Chunk]:
        """List the chunks of a series that begin in a time; by their beginnings, then by their ids."""

    @abstractmethod
    def chunk_before(self, series: int, time: int) -> Chunk | None:
        """Find the last chunk of a series that begins before a time."""

    @abstractmethod
    def first_chunk(self, series: int) -> int | None:
        """Return when the first chunk of a series begins; None if there is none."""

    @abstractmethod
    def chunk_starts(self, series: int, below: int, most: int) -> list[int]:
        """List when the first chunks of a series begin, at most so many."""

    @abstractmethod
    def quarters(self, series: int, start: int, stop: int) -> list[Quarter]:
        """List the statistics of a series of the quarters that begin in a time, in order."""

    @abstractmethod
    def counted(self, series: int, start: int, stop: int) -> Sequence[Counted]:
        """List the same as plain rows: a year has 35 040 of them."""

    @abstractmethod
    def quarter_before(self, series: int, time: int) -> Quarter | None:
        """Find the last statistics of a series of a quarter that begins before a time."""

    @abstractmethod
    def size(self) -> int:
        """Return how many bytes of the disk are in use, deleted rows not counted; of SQLite those of the whole file."""

    # -- writing ---------------------------------------------------------------------------------------

    @abstractmethod
    def put_series(self, records: Sequence[SeriesRecord]) -> None:
        """Write series, new or known."""

    @abstractmethod
    def delete_series(self, series: int) -> None:
        """Delete a series, whose chunks and statistics are deleted."""

    @abstractmethod
    def put_tail(self, row: int, body: bytes) -> None:
        """Write a row of the tail."""

    @abstractmethod
    def delete_tail(self, below: int) -> None:
        """Delete the rows of the tail with smaller ids."""

    @abstractmethod
    def put_chunks(self, chunks: Sequence[Chunk]) -> None:
        """Write chunks."""

    @abstractmethod
    def delete_chunks(self, series: int, below: int) -> None:
        """Delete the chunks of a series that begin before a time."""

    @abstractmethod
    def put_quarters(self, quarters: Sequence[Quarter]) -> None:
        """Write statistics, in the place of those that there are."""

    @abstractmethod
    def delete_quarters(self, series: int, below: int, most: int) -> int:
        """Delete the first statistics of a series, at most so many. Returns how many were deleted."""


class HistoryStorage(ABC):
    """A store's share in the history. `reading` may be used by several threads."""

    @abstractmethod
    def writing(self, connection: Any) -> HistoryTables:
        """Return the tables in a transaction of the store.

        Args:
            connection: what a `Run` of the store is given.
        """

    @abstractmethod
    def reading(self, timeout: float) -> AbstractContextManager[HistoryTables]:
        """Open a connection that only reads, and hold up no writer, for the time of a block.

        Args:
            timeout: seconds, after which what reads is ended.

        Raises:
            TimeoutError: within the block, when that time is over.
            StoreError: it cannot be read.
        """
