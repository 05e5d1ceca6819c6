"""What chunks hold, and what it counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio.core.primitives import allocate_lock
from iotio.history.codec import encode_numbers
from iotio.history.counting import count_quarter, in_order, overlap, readings_of, statistics_of_chunks
from iotio.history.statistics import statistics_of
from iotio.history.tables import Chunk, Kind
from iotio.store import MemoryStore
from iotio_protocol.log_throttle import LogThrottle

THROTTLE = LogThrottle(lambda: 0.0, allocate_lock())


def chunk(number: int, times: list[int], values: list[float]) -> Chunk:
    return Chunk(1, times[0], number, times[-1], statistics_of(values), encode_numbers(times, values))


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5)), max_size=30))
def test_of_two_readings_of_one_time_the_later_counts(readings: list[tuple[int, int]]) -> None:
    times, values = in_order([time for time, _ in readings], [value for _, value in readings])
    assert list(zip(times, values, strict=True)) == sorted(dict(readings).items())


def test_chunks_that_overlap_are_merged_by_the_order_in_which_they_were_written() -> None:
    late, first = chunk(2, [5, 10], [7.0, 8.0]), chunk(1, [0, 5, 20], [1.0, 2.0, 3.0])
    assert overlap([first, late])
    assert readings_of([late, first], Kind.NUMBER, THROTTLE) == ([0, 5, 10, 20], [1.0, 7.0, 8.0, 3.0])
    assert statistics_of_chunks([first, late], Kind.TOTAL, THROTTLE) == statistics_of([1.0, 7.0, 8.0, 3.0])


def test_chunks_side_by_side_are_not_read() -> None:
    rows = [chunk(1, [0, 5], [1.0, 2.0])._replace(body=b"?"), chunk(1, [6], [5.0])._replace(body=b"?")]
    assert not overlap(rows)
    assert statistics_of_chunks(rows, Kind.NUMBER, THROTTLE) == statistics_of([1.0, 2.0, 5.0])
    assert statistics_of_chunks([], Kind.NUMBER, THROTTLE) is None


def test_damaged_chunks_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    rows = [chunk(1, [0, 5], [1.0, 2.0]), chunk(2, [3], [5.0])._replace(body=b"?")]
    assert statistics_of_chunks(rows, Kind.TOTAL, THROTTLE) == statistics_of([1.0, 2.0])
    assert "a chunk of series 1 cannot be read and is left out" in caplog.text
    assert statistics_of_chunks([rows[1], rows[1]], Kind.NUMBER, THROTTLE) is None


def test_a_quarter_without_chunks_keeps_its_statistics() -> None:
    tables = MemoryStore().history().writing(None)
    count_quarter(tables, 1, Kind.NUMBER, 0, THROTTLE)
    assert tables.quarters(1, 0, 1) == []
    tables.put_chunks([chunk(1, [0, 5], [1.0, 2.0])])
    count_quarter(tables, 1, Kind.NUMBER, 0, THROTTLE)
    assert [one.statistics.n for one in tables.quarters(1, 0, 1)] == [2]
