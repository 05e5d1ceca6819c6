"""Every answer is that of a simple count of all readings."""

from __future__ import annotations

import itertools
import math
import os
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from iotio.core.readings import Bucket, Every, Series, Span
from iotio.history.calendar import moment_of
from iotio.history.query import Question
from iotio.history.statistics import QUARTER, step

from .rig import DOOR, METER, NUMBER, START, TEXT, Rig, meter

HOUR = 3_600_000
DAY = 24 * HOUR


def naive_buckets(
    readings: Sequence[tuple[int, float]], question: Question, *, total: bool, edges: list[int] | None = None
) -> list[Bucket]:
    """Count readings in the simplest way; of two of one time the later one counts."""
    edges = edges or question.edges()
    ordered = sorted(dict(readings).items())
    growths = [0.0] + [step(before[1], after[1]) for before, after in itertools.pairwise(ordered)]
    found: dict[int, list[tuple[float, float]]] = {}
    for (moment, value), growth in zip(ordered, growths, strict=True):
        if question.start <= moment < question.stop:
            found.setdefault(bisect_right(edges, moment) - 1, []).append((value, growth))
    buckets = []
    for place, pairs in sorted(found.items()):
        values = [value for value, _ in pairs]
        start, stop = moment_of(edges[place], question.zone), moment_of(edges[place + 1], question.zone)
        increase = math.fsum(growth for _, growth in pairs) if total else None
        mean = math.fsum(values) / len(values)
        buckets.append(Bucket(start, stop, len(values), min(values), max(values), mean, values[-1], increase))
    return buckets


def assert_same(found: Series, expected: list[Bucket]) -> None:
    """Compare; sums may differ in the last places."""
    assert [(one.start, one.stop, one.n, one.min, one.max, one.last) for one in found.buckets] == [
        (one.start, one.stop, one.n, one.min, one.max, one.last) for one in expected
    ]
    for one, other in zip(found.buckets, expected, strict=True):
        assert one.mean == pytest.approx(other.mean, rel=1e-9, abs=1e-6)
        assert (one.increase is None) is (other.increase is None)
        if one.increase is not None:
            assert one.increase == pytest.approx(other.increase, rel=1e-9, abs=1e-6)


def naive_spans(kept: Sequence[tuple[int, Any]], question: Question) -> list[Span]:
    """List the spans of the changes that are kept."""
    ordered = sorted(dict(kept).items())
    spans: list[Span] = []
    for place, (moment, value) in enumerate(ordered):
        start = max(moment, question.start)
        stop = min(ordered[place + 1][0] if place + 1 < len(ordered) else question.stop, question.stop)
        if start >= stop:
            continue
        if spans and spans[-1].value == value:
            start = round(spans.pop().start.timestamp() * 1000)
        spans.append(Span(moment_of(start, question.zone), moment_of(stop, question.zone), value))
    return spans


MANY = 2000 if os.environ.get("IOTIO_FULL") else 300
ZONES = ["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe"]
ORIGINS = [0, 86 * DAY, 93 * DAY]  # from START: none, a change to summer time in Berlin, the change in Lord Howe
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]  # to shrink hundreds of readings takes too long


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[str]]:
    """Readings with times as they come, and what happens behind each."""
    count = draw(st.integers(1, MANY))
    seed = draw(st.randoms(use_true_random=False))
    moment = draw(st.sampled_from(ORIGINS)) + draw(st.integers(0, DAY))
    pace = draw(st.sampled_from([1000, 10_000, 300_000]))
    value = 0
    grows = draw(st.booleans())
    readings, acts = [], []
    for _ in range(count):
        kind = seed.random()
        moment += pace if kind < 0.8 else seed.choice([0, 1, pace * 3, QUARTER, HOUR, -pace * 5, -QUARTER, -HOUR])
        if grows:
            value = value + seed.randint(0, 50) if kind < 0.95 else seed.choice([0, value - 1, value // 2])
        else:
            value = seed.randint(-100, 100)
        readings.append((moment, value))
        act = seed.random()
        acts.append("" if act < 0.9 else "write" if act < 0.97 else seed.choice(["second", "seal", "restart"]))
    return readings, acts


def play(rig: Rig, endpoint: Any, readings: list[tuple[int, Any]], acts: list[str]) -> None:
    """Record readings with what happens in between."""
    for (moment, value), act in zip(readings, acts, strict=True):
        rig.wall = max(rig.wall, (START + moment) / 1000)
        rig.record(endpoint, [(moment, value)])
        if act == "restart":  # as after a kill, behind what is written
            rig.write()
            while rig.recorder.waits:
                rig.second()
            rig.restart()
        elif act:
            getattr(rig, act)()


@given(histories(), st.data())
@settings(max_examples=60, phases=PHASES)
def test_every_answer_about_numbers_is_a_simple_count(
    history: tuple[list[tuple[int, int]], list[str]], data: st.DataObject
) -> None:
    readings, acts = history
    endpoint = data.draw(st.sampled_from([NUMBER, METER]))
    rig = Rig()
    rig.settings = type(rig.settings)(max_rate=100_000)
    rig.restart()
    play(rig, endpoint, readings, acts)
    low, high = min(readings)[0], max(readings)[0]
    absolute = [(START + moment, float(value)) for moment, value in readings]
    for _ in range(4):
        start = data.draw(st.integers(low - HOUR, high))
        stop = data.draw(st.one_of(st.integers(start + 1, high + HOUR), st.just(high + 1)))
        stop = max(stop, start + 1)
        zone = ZoneInfo(data.draw(st.sampled_from(ZONES)))
        every: Every | None = data.draw(st.sampled_from([None, "15m", "1h", "1d", "1mo"]))
        points = data.draw(st.sampled_from([1, 3, 200]))
        question = Question("kitchen", endpoint.id, START + start, START + stop, points, every, zone)
        found = rig.ask(endpoint, start, stop, points=points, every=every, zone=zone)
        assert_same(found, naive_buckets(absolute, question, total=endpoint is METER))
    each = rig.ask(endpoint, low, high + 1, points=None)
    assert [(one.start, one.last) for one in each.buckets] == [
        (moment_of(moment), value) for moment, value in sorted(dict(absolute).items())
    ]


@given(histories(), st.data())
@settings(max_examples=40, phases=PHASES)
def test_every_answer_about_states_is_a_simple_list(
    history: tuple[list[tuple[int, int]], list[str]], data: st.DataObject
) -> None:
    numbers, acts = history
    readings: list[tuple[int, Any]] = [(moment, value % 3 == 0) for moment, value in numbers]
    rig = Rig()
    rig.settings = type(rig.settings)(max_rate=100_000)
    rig.restart()
    play(rig, DOOR, readings, acts)
    kept: list[tuple[int, Any]] = []
    newest: tuple[int, Any] | None = None
    for moment, value in readings:
        if newest is None or moment >= newest[0]:
            if newest is not None and newest[1] == value:
                continue
            newest = (moment, value)
        kept.append((START + moment, value))
    low, high = min(readings)[0], max(readings)[0]
    for _ in range(4):
        start = data.draw(st.integers(low - HOUR, high))
        stop = data.draw(st.integers(start + 1, high + HOUR))
        question = Question("kitchen", "door", START + start, START + stop)
        assert list(rig.ask(DOOR, start, stop).spans) == naive_spans(kept, question)


def test_an_endpoint_without_a_history_answers_with_nothing() -> None:
    found = Rig().ask(NUMBER, 0, HOUR)
    assert (len(found), list(found), found.resolution) == (0, [], None)


def test_the_answer_names_unit_and_resolution() -> None:
    rig = Rig()
    rig.record(METER, [(0, 1), (1000, 3)])
    found = rig.ask(METER, 0, HOUR, points=60)
    assert (found.endpoint, found.unit, found.resolution) == ("energy", "kWh", 60)
    (bucket,) = found
    assert isinstance(bucket, Bucket)
    assert (bucket.n, bucket.min, bucket.max, bucket.mean, bucket.last, bucket.increase) == (2, 1, 3, 2, 3, 2)
    assert rig.ask(METER, 0, HOUR, points=None).resolution == 0
    assert rig.ask(METER, 0, DAY, every="1h").resolution == 3600


def test_where_readings_are_deleted_statistics_answer() -> None:
    rig = Rig()
    rig.record(NUMBER, [(moment * 1000, moment) for moment in range(0, 3600, 10)])
    rig.seal()
    rig.wall += 4 * 3600
    rig.record(NUMBER, [(3 * HOUR, 7)])
    rig.seal()
    tables: Any = rig.tables()
    tables.delete_chunks(1, START + HOUR)
    found = rig.ask(NUMBER, 0, 4 * HOUR, points=240)
    assert found.resolution == 900
    assert [one.n for one in found.buckets] == [90, 90, 90, 90, 1]
    assert [one.max for one in rig.ask(NUMBER, 0, HOUR, every="1h").buckets] == [3590]
    assert rig.ask(NUMBER, 0, HOUR, points=None).buckets == ()


def test_a_damaged_chunk_is_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.record(NUMBER, [(0, 1), (1000, 2)])
    rig.seal()
    rig.record(NUMBER, [(2 * HOUR, 3)])
    tables: Any = rig.tables()
    (chunk,) = tables.chunks(1, 0, 2**60)
    tables.put_chunks([chunk._replace(body=b"\x01damage")])
    assert [one.last for one in rig.ask(NUMBER, 0, 3 * HOUR, points=None).buckets] == [3]
    assert "a chunk of series 1 cannot be read and is left out: what is stored cannot be decompressed" in caplog.text


def test_too_many_readings_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iotio.history.query.MAX_READINGS", 10)
    rig = Rig()
    rig.record(NUMBER, [(moment * 1000, moment) for moment in range(11)])
    rig.record(TEXT, [(moment * 1000, str(moment)) for moment in range(11)])
    with pytest.raises(ValueError, match="more than 100000 readings: ask for less time, or for points"):
        rig.ask(NUMBER, 0, HOUR, points=None)
    with pytest.raises(ValueError, match="more than 100000 readings"):
        rig.ask(TEXT, 0, HOUR)
    assert len(rig.ask(NUMBER, 0, 10_000, points=None)) == 10


def test_years_without_readings_take_no_time() -> None:
    rig = Rig()
    rig.record(NUMBER, [(0, 1)])
    rig.record(DOOR, [(0, True)])
    rig.seal()
    for points in (None, 1, 50_000):
        assert len(rig.ask(NUMBER, -START, 1000 * 365 * DAY, points=points)) == 1
    assert len(rig.ask(DOOR, -START, 1000 * 365 * DAY)) == 1


def test_a_query_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    rig.record(NUMBER, [(0, 1)])
    monkeypatch.setattr("iotio.history.query.TIMEOUT", -1)
    with pytest.raises(TimeoutError, match="ask for less time"):
        rig.ask(NUMBER, 0, HOUR)


def test_a_unit_that_changed_can_be_asked_for() -> None:
    rig = Rig()
    rig.record(meter("t", unit="°C"), [(0, 20)])
    rig.record(meter("t", unit="°F"), [(1000, 68)])
    assert [one.last for one in rig.ask(meter("t"), 0, HOUR).buckets] == [68]
    assert [one.last for one in rig.ask(meter("t"), 0, HOUR, unit="°C").buckets] == [20]
    assert rig.ask(meter("t"), 0, HOUR, unit="K").buckets == ()


def test_times_of_the_answer_are_of_the_zone() -> None:
    rig = Rig()
    rig.record(NUMBER, [(0, 1)])
    zone = ZoneInfo("Asia/Kolkata")
    (bucket,) = rig.ask(NUMBER, 0, HOUR, every="1h", zone=zone).buckets
    assert (bucket.start.tzinfo, bucket.start.hour, bucket.start.minute) == (zone, 5, 0)
    assert bucket.start.astimezone(UTC).minute == 30
