"""Which readings of a buffer are in which row of the tail, so that those of one can be given up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from iotio.history.series import DURABLE, Buffer, OpenSeries
from iotio.history.tables import Kind, SeriesRecord


@given(st.lists(st.sampled_from(["reading", "durable", "next", "written", "drop"]), max_size=60))
def test_what_is_dropped_is_what_a_row_would_have_had(acts: list[str]) -> None:
    buffer = Buffer(0, Kind.NUMBER, 1)
    expected: list[tuple[int, int]] = []  # of which row, and the time
    row, written = 5, 4
    for moment, act in enumerate(acts):
        if act in ("reading", "durable"):
            number = row if act == "reading" else DURABLE
            if not buffer.marks or buffer.marks[-1][0] != number:
                buffer.mark(number, written)
            buffer.times.append(moment)
            buffer.values.append(float(moment))
            expected.append((number, moment))
        elif act == "next":
            row += 1
        elif act == "written" and written + 1 < row:
            written += 1
        elif act == "drop" and written + 1 < row:
            written += 1
            dropped = buffer.drop(written)
            assert dropped == sum(of == written for of, _ in expected)
            expected = [one for one in expected if one[0] != written]
        assert list(buffer.times) == [time for _, time in expected]
        assert list(buffer.values) == [float(time) for _, time in expected]


def test_of_many_readings_of_a_second_the_extremes_and_the_last_stay() -> None:
    series = OpenSeries(SeriesRecord(1, "a", "b", Kind.NUMBER, None, 0.0), is_new=True)
    for time, value in enumerate([3.0, 9.0, -1.0, 4.0, 5.0, 4.0]):
        series.hold(time, value)
    assert series.held == [(1, 9.0), (2, -1.0), (5, 4.0)]
    state = OpenSeries(SeriesRecord(1, "a", "b", Kind.STATE, None, 0.0), is_new=True)
    for time, word in enumerate(["on", True, 3]):
        state.hold(time, word)
    assert state.held == [(2, 3)]
