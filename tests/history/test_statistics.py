"""Statistics of readings, and of what others have counted."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio.history.statistics import QUARTER, Statistics, merge, quarter_of, statistics_of, step

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("before", "after", "growth"),
    [(10, 12, 2), (10, 10, 0), (100, 95.1, 0), (100, 95, 95), (100, 3, 3), (100, -1, 0), (-5, -6, 0), (-5, -4, 1)],
)
def test_a_small_fall_is_noise_and_a_large_one_a_restart(before: float, after: float, growth: float) -> None:
    assert step(before, after) == growth


def test_statistics_of_readings() -> None:
    assert statistics_of([3.0, 1.0, 4.0]) == Statistics(3, 1.0, 4.0, 8.0, 3.0, 4.0, 1.0 + 3.0)


@given(st.lists(st.integers(-1000, 1000).map(float), min_size=2, max_size=30), st.data())
def test_merged_statistics_are_those_of_all(values: list[float], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(values) - 1))
    assert merge(statistics_of(values[:cut]), statistics_of(values[cut:])) == statistics_of(values)


@given(st.lists(FLOATS, min_size=1, max_size=20), st.lists(FLOATS, min_size=1, max_size=20))
def test_all_of_them_are_finite(some: list[float], others: list[float]) -> None:
    assert all(map(math.isfinite, merge(statistics_of(some), statistics_of(others))))


@given(st.integers(-(2**50), 2**50))
def test_a_quarter_begins_at_a_quarter(time: int) -> None:
    assert quarter_of(time) % QUARTER == 0
    assert quarter_of(time) <= time < quarter_of(time) + QUARTER
