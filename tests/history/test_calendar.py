"""Where hours, days and months of a time zone begin."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iotio.core.readings import Every
from iotio.history.calendar import MAX_BUCKETS, calendar_edges, equal_edges, moment_of, zone_of
from iotio.history.statistics import QUARTER

HOUR = 3_600_000
DAY = 24 * HOUR
ZONES = ["UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Havana"]


def ms(*date: int, zone: str = "UTC") -> int:
    return round(datetime(*date, tzinfo=ZoneInfo(zone)).timestamp() * 1000)  # type: ignore[misc, arg-type]


def lengths(edges: list[int]) -> list[int]:
    return [stop - start for start, stop in itertools.pairwise(edges)]


def test_days_of_a_change_have_23_and_25_hours() -> None:
    zone = ZoneInfo("Europe/Berlin")
    spring = calendar_edges(ms(2026, 3, 28, 12), ms(2026, 3, 30, 12), "1d", zone)
    assert lengths(spring) == [DAY, 23 * HOUR, DAY]
    assert [moment_of(edge, zone).hour for edge in spring] == [0] * 4
    autumn = calendar_edges(ms(2026, 10, 25, 12), ms(2026, 10, 25, 13), "1d", zone)
    assert lengths(autumn) == [25 * HOUR]


def test_months_and_years_go_on() -> None:
    edges = calendar_edges(ms(2025, 11, 5), ms(2026, 2, 1), "1mo", UTC)
    assert edges == [ms(2025, 11, 1), ms(2025, 12, 1), ms(2026, 1, 1), ms(2026, 2, 1)]


def test_hours_of_a_half_hour_zone_begin_at_half_past() -> None:
    edges = calendar_edges(ms(2026, 1, 1, 0, 10), ms(2026, 1, 1, 0, 40), "1h", ZoneInfo("Asia/Kolkata"))
    assert edges == [ms(2025, 12, 31, 23, 30), ms(2026, 1, 1, 0, 30), ms(2026, 1, 1, 1, 30)]


def test_a_change_by_half_an_hour_cuts_an_hour() -> None:
    zone = ZoneInfo("Australia/Lord_Howe")
    change = ms(2026, 4, 4, 15)  # 2:00 becomes 1:30
    edges = calendar_edges(change - HOUR, change + HOUR, "1h", zone)
    assert lengths(edges) == [HOUR, HOUR // 2, HOUR]
    assert calendar_edges(change + 1, change + 2, "1h", zone) == [change, change + HOUR // 2]


def test_a_day_begins_with_its_first_moment() -> None:
    zone = ZoneInfo("America/Havana")  # 1:00 becomes 0:00 on the first of November, and 0:00 1:00 on the 8th of March
    assert lengths(calendar_edges(ms(2026, 11, 1, 12), ms(2026, 11, 1, 13), "1d", zone)) == [25 * HOUR]
    assert lengths(calendar_edges(ms(2026, 3, 8, 12), ms(2026, 3, 8, 13), "1d", zone)) == [23 * HOUR]


def test_a_day_that_was_left_out_is_no_bucket() -> None:
    edges = calendar_edges(ms(2011, 12, 29, 20), ms(2011, 12, 31, 0), "1d", ZoneInfo("Pacific/Apia"))
    assert lengths(edges) == [DAY, DAY]


@given(
    st.sampled_from(ZONES),
    st.sampled_from(["15m", "1h", "1d", "1mo"]),
    st.integers(ms(2020, 1, 1), ms(2030, 1, 1)),
    st.integers(1, 3 * DAY),
    st.integers(0, 10**9),
)
def test_two_times_are_in_one_bucket_if_the_clock_says_so(
    name: str, every: Every, start: int, length: int, other: int
) -> None:
    zone = ZoneInfo(name)
    edges = calendar_edges(start, start + length, every, zone)
    assert edges == sorted(set(edges))
    assert edges[0] <= start < edges[1]
    assert edges[-2] < start + length <= edges[-1]
    time = start + other % length
    place = bisect_right(edges, time) - 1
    first, last = (_shown(moment, every, zone) for moment in (edges[place], edges[place + 1] - 1))
    assert first == _shown(time, every, zone) == last


def _shown(time: int, every: str, zone: ZoneInfo) -> tuple[object, ...]:
    """What a clock and a calendar show of the bucket of a time."""
    moment = moment_of(time, zone)
    if every == "1mo":
        return moment.year, moment.month
    if every == "1d":
        return moment.year, moment.month, moment.day
    minute = moment.minute // 15 if every == "15m" else 0
    return moment.date(), moment.hour, minute, moment.utcoffset()


@given(st.integers(-(10**13), 10**13), st.integers(1, 10**12), st.integers(1, 1000))
@example(-1, QUARTER * 4, 1)
def test_equal_parts_cover_the_time(start: int, length: int, points: int) -> None:
    edges = equal_edges(start, start + length, points)
    assert len(edges) - 1 <= points
    assert edges[0] <= start < edges[1]
    assert edges[-2] < start + length <= edges[-1]
    widths = lengths(edges)
    assert set(widths[:-1]) <= {widths[0]}
    if widths[0] > QUARTER:
        assert all(edge % QUARTER == 0 for edge in edges)
    else:
        assert (edges[0], edges[-1]) == (start, start + length)


def test_no_time_is_one_empty_bucket() -> None:
    assert equal_edges(5, 5, 10) == [5, 5]


def test_zones_go_by_name_or_object() -> None:
    assert zone_of(None) is UTC
    assert zone_of("Asia/Kolkata") == ZoneInfo("Asia/Kolkata")
    assert zone_of(UTC) is UTC


@pytest.mark.parametrize("name", ["Europe/Nowhere", "", "/etc/passwd", "../x", "\0"])
def test_a_zone_that_there_is_not(name: str) -> None:
    with pytest.raises(ValueError, match="there is no time zone"):
        zone_of(name)


def test_wrong_buckets_are_told() -> None:
    with pytest.raises(ValueError, match="every is one of 15m, 1h, 1d, 1mo, not '2h'"):
        calendar_edges(0, 1, "2h", UTC)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"more than {MAX_BUCKETS} buckets"):
        calendar_edges(0, ms(2026, 1, 1), "15m", UTC)
    with pytest.raises(ValueError, match="no calendar"):
        calendar_edges(0, 10**15, "1d", UTC)


def test_a_moment_has_its_zone() -> None:
    assert moment_of(1500) == datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)
    assert moment_of(0, ZoneInfo("Asia/Kolkata")).utcoffset() == timedelta(hours=5.5)
