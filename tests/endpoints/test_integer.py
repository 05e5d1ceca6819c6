"""The integer endpoint beyond the vectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio_protocol import v1
from iotio_protocol.endpoints import IntegerEndpoint, Report, ValidationResponse

FREE = IntegerEndpoint("n", "N")
int64 = st.integers(min_value=-(2**63), max_value=2**63 - 1)


def codes(endpoint: IntegerEndpoint, *values: object) -> list[str]:
    return [endpoint.check(value)[0].value for value in values]


@pytest.mark.parametrize(("value", "expected"), [(7, 7), (7.0, 7), ("7", 7), (" 7 ", 7), ("+7", 7), (-0.0, 0)])
def test_converts(value: object, expected: int) -> None:
    response, converted = FREE.check(value)
    assert response is ValidationResponse.VALID
    assert converted == expected
    assert type(converted) is int


@pytest.mark.parametrize(
    "value",
    [
        *(7.9, -0.5, float("inf"), float("-inf"), float("nan"), 1e300, 2**63, -(2**63) - 1, True, False),
        *(None, [], [7], {}, b"7", "", "7.0", "0x7", "seven", "9223372036854775808", "9" * 5000),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_refuses(value: object) -> None:
    assert FREE.check(value) == (ValidationResponse.INVALID_TYPE, None)


def test_a_range_is_told_before_the_64_bits() -> None:
    assert codes(IntegerEndpoint("n", "N", None, 0, 10), 2**63, -(2**63) - 1, 1e300) == [
        "higher_than_max",
        "lower_than_min",
        "higher_than_max",
    ]


def test_a_range_beyond_64_bits_lets_nothing_through_that_cannot_be_sent() -> None:
    assert codes(IntegerEndpoint("n", "N", None, -(2**70), 2**70), 2**64, 5) == ["invalid_data_type", "valid"]


def test_steps_are_counted_from_min() -> None:
    odd = IntegerEndpoint("n", "N", None, min_v=1, increment=2)
    assert codes(odd, 1, 2, 3, 0) == ["valid", "invalid_increment", "valid", "lower_than_min"]


def test_steps_are_counted_from_zero_without_min() -> None:
    thirds = IntegerEndpoint("n", "N", None, max_v=10, increment=3)
    assert codes(thirds, -3, -2, 0, 9, 10, 12) == [
        "valid",
        "invalid_increment",
        "valid",
        "valid",
        "invalid_increment",
        "higher_than_max",
    ]


@pytest.mark.parametrize("increment", [None, 0, 1, -1])
def test_these_increments_allow_everything(increment: int | None) -> None:
    assert codes(IntegerEndpoint("n", "N", None, 1, None, increment), 1, 2, 3) == ["valid"] * 3


def test_a_negative_increment_is_a_step_too() -> None:
    assert codes(IntegerEndpoint("n", "N", None, increment=-2), 4, 5) == ["valid", "invalid_increment"]


def test_min_above_max_is_accepted_and_lets_nothing_through() -> None:
    assert codes(IntegerEndpoint("n", "N", None, 10, 1), 0, 5, 11) == [
        "lower_than_min",
        "lower_than_min",
        "higher_than_max",
    ]


@given(st.none() | st.integers(), st.none() | st.integers(), st.none() | st.integers(), st.integers())
def test_what_is_valid_can_be_sent(low: int | None, high: int | None, increment: int | None, value: int) -> None:
    response, converted = IntegerEndpoint("n", "N", None, low, high, increment).check(value)
    if response is ValidationResponse.VALID:
        assert converted == value
        v1.encode("n", converted)


@given(int64)
def test_a_free_endpoint_takes_all_64_bits_as_number_and_as_text(value: int) -> None:
    assert FREE.check(value) == FREE.check(str(value)) == (ValidationResponse.VALID, value)


def test_describes_itself() -> None:
    assert IntegerEndpoint("n", "N", "sp", 0, 10, 2).describe() == {
        "id": "n",
        "name": "N",
        "type": "integer",
        "specialId": "sp",
        "constraints": {"min": 0, "max": 10, "increment": 2},
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, Report(7, False)),
        (7.0, Report(7, False)),
        ("7", Report(7, False)),
        (11, Report(11, True)),
        (-1, Report(-1, True)),
    ],
)
def test_a_report_beyond_the_limits_is_marked(value: object, expected: Report) -> None:
    report = IntegerEndpoint("n", "N", None, 0, 10).report(value)
    assert report is not None
    assert report == expected
    assert type(report.value) is int


@pytest.mark.parametrize(
    "value", [7.5, True, None, "seven", 2**63, "9" * 5000, [7]], ids=lambda value: repr(value)[:20]
)
def test_a_report_of_another_type_is_none(value: object) -> None:
    assert FREE.report(value) is None


def test_a_report_off_the_steps_is_marked() -> None:
    assert IntegerEndpoint("n", "N", increment=5).report(7) == Report(7, out_of_range=True)
