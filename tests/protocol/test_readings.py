"""Reports and readings, as they travel."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio_protocol import strict_json
from iotio_protocol.errors import EncodeError, InvalidPacket
from iotio_protocol.readings import MAX_READINGS, parse_readings, parse_report, write_readings
from iotio_protocol.v2 import MAX_TIME
from tests.protocol.vectors import load

VECTORS = load("reports.json")
NOW = 1_800_000_000_000

ids = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
values = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | ids
times = st.integers(0, MAX_TIME)
json_values = st.recursive(
    st.none() | values,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ids, inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize("case", VECTORS["report"], ids=lambda case: case["name"])
def test_report_vector(case: dict[str, Any]) -> None:
    if "becomes" in case:
        assert parse_report(case["value"], 2) == case["becomes"]
    else:
        with pytest.raises(InvalidPacket):
            parse_report(case["value"], 2)


@pytest.mark.parametrize("case", VECTORS["readings"], ids=lambda case: case["name"])
def test_readings_vector(case: dict[str, Any]) -> None:
    if "becomes" in case:
        read = parse_readings(case["value"], VECTORS["now"])
        assert strict_json.loads(strict_json.dumps(read)) == case["becomes"]
    else:
        with pytest.raises(InvalidPacket):
            parse_readings(case["value"], VECTORS["now"])


def test_a_report_is_taken_as_it_is() -> None:
    report = {"temperature": 21.5, "on": True, "mode": None}
    assert parse_report(report, 3) == report
    assert parse_report({}, 0) == {}
    assert parse_report(report, None) == report


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "a report is an object, endpoint id to value, not null"),
        (["temperature"], "a report is an object, endpoint id to value, not a value of type list"),
        ({"a": 1, "b": 2, "c": 3}, "a report names at most 2 endpoints, this one 3"),
        ({"\ud800": 1}, "half of a surrogate pair is no text"),
    ],
)
def test_a_wrong_report(value: object, words: str) -> None:
    with pytest.raises(InvalidPacket) as caught:
        parse_report(value, 2)
    assert caught.value.problem == words


def test_readings_of_a_time() -> None:
    value = {"t": 1000, "v": {"temperature": [[0, 21.5], [1000, 21.6], [-1000, 21.4]], "door": [[5, True]]}}
    assert parse_readings(value, NOW) == [
        ("temperature", [(1000, 21.5), (2000, 21.6), (0, 21.4)]),
        ("door", [(1005, True)]),
    ]


def test_readings_without_a_time_go_back_from_now() -> None:
    value = {"v": {"temperature": [[-1000, 21.5], [0, 21.6]]}}
    expected = [("temperature", [(NOW - 1000, 21.5), (NOW, 21.6)])]
    assert parse_readings(value, NOW) == expected
    assert parse_readings({"t": None, **value}, NOW) == expected


def test_what_is_not_known_is_ignored_and_what_is_empty_left_out() -> None:
    assert parse_readings({"v": {"a": []}, "more": 1}, NOW) == []


OBJECT = 'readings are an object with the field "v", an object: endpoint id to a list of readings'
LIST = "the readings of an endpoint are a list of pairs, [offset in milliseconds, value]"
PAIR = "a reading is a pair, [offset in milliseconds, value], with an integer as the offset"
TIME = f'"t" is a time in milliseconds since 1970, up to {MAX_TIME}'
RANGE = f"the time of a reading is from 0 to {MAX_TIME} milliseconds since 1970"
PAST = 'without "t" the offsets go back from now: they are 0 or less'


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, OBJECT),
        ([], OBJECT),
        ({}, OBJECT),
        ({"v": [[0, 1]]}, OBJECT),
        ({"v": {"a": {"0": 1}}}, LIST),
        ({"v": {"a": 5}}, LIST),
        *(({"v": {"a": [pair]}}, PAIR) for pair in (5, [], [0], [0, 1, 2], [None, 1], [True, 1], [0.0, 1], ["0", 1])),
        *(({"t": time, "v": {}}, TIME) for time in (True, "0", 1.0, -1, MAX_TIME + 1, 10**300)),
        *(({"t": 5, "v": {"a": [[offset, 1]]}}, RANGE) for offset in (-6, MAX_TIME - 4)),
        ({"v": {"a": [[-NOW - 1, 1]]}}, RANGE),
        ({"v": {"a": [[1, 1]]}}, PAST),
        ({"v": {"\ud800": [[0, 1]]}}, "half of a surrogate pair is no text"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_wrong_readings(value: object, words: str) -> None:
    with pytest.raises(InvalidPacket) as caught:
        parse_readings(value, NOW)
    assert caught.value.problem == words


def test_as_many_readings_as_may_be() -> None:
    half = [[0, 1]] * (MAX_READINGS // 2)
    assert len(parse_readings({"v": {"a": half, "b": half}}, NOW)) == 2
    with pytest.raises(InvalidPacket, match="a message carries at most 10000 readings, this one 10001"):
        parse_readings({"v": {"a": half, "b": [*half, [0, 1]]}}, NOW)


@given(json_values | st.fixed_dictionaries({"v": json_values}, optional={"t": json_values}))
def test_any_value_is_taken_or_refused_with_words(value: Any) -> None:
    for parse in (lambda: parse_report(value, 2), lambda: parse_readings(value, NOW)):
        try:
            parse()
        except InvalidPacket as error:
            assert error.problem


@given(st.dictionaries(ids, st.lists(st.tuples(times, values), min_size=1, max_size=5), max_size=4))
def test_what_is_written_is_read_again(readings: dict[str, list[tuple[int, Any]]]) -> None:
    written = strict_json.loads(strict_json.dumps(write_readings(list(readings.items()))))
    assert parse_readings(written, NOW) == list(readings.items())


@given(
    st.dictionaries(ids, st.lists(st.tuples(st.integers(0, NOW), values), min_size=1, max_size=5), max_size=4),
    st.integers(0, NOW),
)
def test_a_device_without_the_time_of_the_world(readings: dict[str, list[tuple[int, Any]]], ahead: int) -> None:
    clock = max((time for series in readings.values() for time, _ in series), default=0) + ahead
    written = write_readings(list(readings.items()), now=clock)
    moved = [(name, [(time + NOW * 3 - clock, value) for time, value in series]) for name, series in readings.items()]
    assert parse_readings(written, NOW * 3) == moved
    assert "t" not in written


def test_parts_of_a_series_become_one() -> None:
    written = write_readings([("a", [(5, 1)]), ("b", [(7, 3)]), ("a", [(6, 2)])])
    assert written == {"t": 5, "v": {"a": [[0, 1], [1, 2]], "b": [[2, 3]]}}


def test_what_cannot_be_written() -> None:
    with pytest.raises(EncodeError, match="a message carries at most 10000 readings, these are 10001"):
        write_readings([("a", [(5, 1)] * (MAX_READINGS + 1))])
    with pytest.raises(EncodeError, match="a reading is of 6, later than now, 5"):
        write_readings([("a", [(6, 1)])], now=5)
    assert write_readings([]) == {"t": 0, "v": {}}
