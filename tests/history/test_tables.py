"""What every store does for the history: see `iotio.history.tables`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iotio.core.storage.contract import Run, Store
from iotio.history.statistics import QUARTER, Statistics, statistics_of
from iotio.history.tables import Chunk, HistoryTables, Kind, Quarter, SeriesRecord
from tests.support.hosts import eventually

Reopen = Callable[[], Store]
LAST = 2**60

ONE = statistics_of([1.0, 2.5])
EXTREME = Statistics(2**31 - 1, -1.7e308, 1.7e308, 5e-324, 0.1 + 0.2, -0.1, 1e300)


def chunk(series: int, start: int, number: int = 1, statistics: Statistics = ONE) -> Chunk:
    return Chunk(series, start, number, start + 10, statistics, b"body \x00\xff%d" % number)


def write(store: Store, *calls: Callable[[HistoryTables], object]) -> None:
    """Make calls in one transaction of the store."""
    history = store.history()

    def run(connection: Any) -> None:
        for call in calls:
            call(history.writing(connection))

    store.commit([Run(run)])


def test_series_come_back_and_are_written_anew(reopen: Reopen) -> None:
    plain = SeriesRecord(1, "kitchen", "temperature", Kind.NUMBER, "°C", 1000.5)
    other = SeriesRecord(2**40, "küche", "", Kind.STATE, None, 0.0, dropped=True)
    store = reopen()
    write(store, lambda tables: tables.put_series([other, plain]))
    write(store, lambda tables: tables.put_series([SeriesRecord(3, "a", "b", Kind.TOTAL, "kWh", 1.0), plain]))
    write(store, lambda tables: tables.delete_series(3))
    with reopen().history().reading(5) as tables:
        assert tables.series() == [plain, other]


def test_the_tail_is_read_in_order_and_deleted_from_its_beginning(reopen: Reopen) -> None:
    store = reopen()
    write(store, *(lambda tables, row=row: tables.put_tail(row, b"%d" % row) for row in (3, 1, 2**50)))
    write(store, lambda tables: tables.put_tail(3, b"again"))
    with reopen().history().reading(5) as tables:
        assert tables.tail() == [(1, b"1"), (3, b"again"), (2**50, b"%d" % 2**50)]
    write(reopen(), lambda tables: tables.delete_tail(4))
    with reopen().history().reading(5) as tables:
        assert tables.tail() == [(2**50, b"%d" % 2**50)]


def test_chunks_of_a_series_are_found_by_time(reopen: Reopen) -> None:
    rows = [chunk(1, 0), chunk(1, 1000, 3, EXTREME), chunk(1, 1000, 2), chunk(1, -5000), chunk(2, 500)]
    write(reopen(), lambda tables: tables.put_chunks(rows), lambda tables: tables.put_chunks(rows[:1]))
    with reopen().history().reading(5) as tables:
        assert tables.chunks(1, -LAST, LAST) == [rows[3], rows[0], rows[2], rows[1]]
        assert tables.chunks(1, 0, 1000) == [rows[0]]
        assert tables.chunks(3, -LAST, LAST) == []
        assert tables.chunk_before(1, LAST) == rows[1]
        assert tables.chunk_before(1, 0) == rows[3]
        assert tables.chunk_before(1, -5000) is None
        assert (tables.first_chunk(1), tables.first_chunk(2), tables.first_chunk(3)) == (-5000, 500, None)
        assert tables.chunk_starts(1, 1000, 10) == [-5000, 0]
        assert tables.chunk_starts(1, LAST, 3) == [-5000, 0, 1000]


def test_chunks_are_deleted_by_time(store: Store) -> None:
    rows = [chunk(1, 0), chunk(1, 1000), chunk(2, 0)]
    write(store, lambda tables: tables.put_chunks(rows), lambda tables: tables.delete_chunks(1, 1000))
    with store.history().reading(5) as tables:
        assert tables.chunks(1, -LAST, LAST) == [rows[1]]
        assert tables.chunks(2, -LAST, LAST) == [rows[2]]


def test_statistics_take_the_place_of_older_ones(reopen: Reopen) -> None:
    rows = [Quarter(1, place * QUARTER, ONE) for place in range(4)]
    newer = Quarter(1, QUARTER, EXTREME)
    write(reopen(), lambda tables: tables.put_quarters(rows), lambda tables: tables.put_quarters([newer]))
    with reopen().history().reading(5) as tables:
        assert tables.quarters(1, QUARTER, 3 * QUARTER) == [newer, rows[2]]
        assert tables.quarter_before(1, 2 * QUARTER) == newer
        assert tables.quarter_before(1, 0) is None
        assert tables.quarters(2, -LAST, LAST) == []


def test_statistics_are_deleted_a_few_at_a_time(store: Store) -> None:
    rows = [Quarter(1, place * QUARTER, ONE) for place in range(5)]
    deleted: list[int] = []
    write(store, lambda tables: tables.put_quarters([*rows, Quarter(2, 0, ONE)]))
    write(store, lambda tables: deleted.append(tables.delete_quarters(1, 3 * QUARTER, 2)))
    write(store, lambda tables: deleted.append(tables.delete_quarters(1, 3 * QUARTER, 2)))
    write(store, lambda tables: deleted.append(tables.delete_quarters(1, 3 * QUARTER, 2)))
    assert deleted == [2, 1, 0]
    with store.history().reading(5) as tables:
        assert tables.quarters(1, -LAST, LAST) == rows[3:]
        assert len(tables.quarters(2, -LAST, LAST)) == 1


def test_the_size_falls_when_chunks_are_deleted(store: Store) -> None:
    rows = [Chunk(1, place, 1, place, ONE, bytes(1000)) for place in range(200)]
    write(store, lambda tables: tables.put_chunks(rows))

    def size() -> int:
        write(store, lambda tables: tables.put_tail(1, b""))  # PostgreSQL counts with the next commit, a second later
        with store.history().reading(5) as tables:
            found: int = tables.size()
            return found

    eventually(lambda: size() >= 200_000)
    before = size()
    write(store, lambda tables: tables.delete_chunks(1, LAST))
    eventually(lambda: size() <= before - 150_000)
