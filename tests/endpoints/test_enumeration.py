"""The enum endpoint: what it takes, and which declarations it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio_protocol.endpoints import (
    DeclarationError,
    EndpointParseResponse,
    EnumEndpoint,
    Report,
    ValidationResponse,
    parse_endpoint,
)
from iotio_protocol.values import Value

FRUIT = EnumEndpoint("e", "E", None, {"a": "Apple", "one": 1, "five": 5, "odd": "1.5", "t": "None"})


@pytest.mark.parametrize(
    ("value", "expected"), [("Apple", "Apple"), (1, 1), ("5", 5), (" 5 ", 5), (1.5, "1.5"), ("1.5", "1.5"), (1.0, 1)]
)
def test_takes_the_value(value: object, expected: Value) -> None:
    response, converted = FRUIT.check(value)
    assert response is ValidationResponse.VALID
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    "value",
    ["a", "apple", "", True, False, 0, 2.0, 1e300, float("nan"), float("inf"), None, [], [1], {}, b"Apple", "9" * 5000],
)
def test_refuses(value: object) -> None:
    assert FRUIT.check(value) == (ValidationResponse.INVALID_ENUM_VALUE, None)


def test_a_whole_float_is_its_number_before_it_is_a_text() -> None:
    both = EnumEndpoint("e", "E", None, {"number": 1, "text": "1.0", "other": "2.0"})
    assert both.check(1.0) == (ValidationResponse.VALID, 1)
    assert both.check("1.0") == (ValidationResponse.VALID, "1.0")
    assert both.check(2.0) == (ValidationResponse.VALID, "2.0")


def test_a_declared_boolean_is_not_the_number() -> None:
    switch = EnumEndpoint("e", "E", None, {"on": True})
    assert switch.check(True) == (ValidationResponse.VALID, True)
    assert switch.check(1) == switch.check("1") == switch.check(1.0) == (ValidationResponse.INVALID_ENUM_VALUE, None)


def test_describes_itself() -> None:
    assert EnumEndpoint("e", "E", None, {"a": "Apple"}).describe() == {
        "id": "e",
        "name": "E",
        "type": "enum",
        "specialId": None,
        "constraints": {"values": {"a": "Apple"}},
    }


def declare(**constraints: object) -> EnumEndpoint:
    endpoint = parse_endpoint({"id": "e", "name": "E", "type": "enum", "constraints": constraints})
    assert isinstance(endpoint, EnumEndpoint)
    return endpoint


@pytest.mark.parametrize(
    ("constraints", "problem"),
    [
        ({}, "ENUM_TYPE_REQUIRES_VALUES_CONSTRAINT"),
        ({"values": None}, "ENUM_TYPE_REQUIRES_VALUES_CONSTRAINT"),
        ({"values": ["Apple"]}, "CONSTRAINT_VALUES_MUST_BE_DICT"),
        ({"values": {1: "Apple"}}, "CONSTRAINT_VALUES_KEYS_MUST_BE_STRINGS"),
        ({"values": {"a": 1.5}}, "CONSTRAINT_VALUES_VALUES_MUST_BE_INT_OR_STRING"),
        ({"values": {"a": "Apple", "b": None}}, "CONSTRAINT_VALUES_VALUES_MUST_BE_INT_OR_STRING"),
    ],
)
def test_declarations_that_are_refused(constraints: dict[str, object], problem: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        declare(**constraints)
    assert caught.value.info == {"endpointId": "e", "endpointProblem": EndpointParseResponse[problem].value}


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.booleans()))
def test_every_declared_value_is_taken_as_it_is(values: dict[str, int | str]) -> None:
    endpoint = declare(values=values)
    assert endpoint.describe()["constraints"] == {"values": values}
    for value in values.values():
        assert endpoint.check(value) == (ValidationResponse.VALID, value)


@given(st.sets(st.integers()), st.integers() | st.text())
def test_nothing_else_is_taken(declared: set[int], value: int | str) -> None:
    """But a numeral as text is its number."""
    endpoint = declare(values={str(number): number for number in declared})
    response, converted = endpoint.check(value)
    if response is ValidationResponse.VALID:
        assert converted in declared
        assert converted == int(value)
    else:
        assert value not in declared


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Apple", Report("Apple", False)),
        ("5", Report(5, False)),
        (1.0, Report(1, False)),
        ("Pear", Report("Pear", True)),
        (9, Report(9, True)),
        (9.0, Report(9, True)),
    ],
)
def test_a_report_of_a_value_that_is_not_declared_is_marked(value: object, expected: Report) -> None:
    report = FRUIT.report(value)
    assert report is not None
    assert report == expected
    assert type(report.value) is type(expected.value)


@pytest.mark.parametrize(
    "value",
    [2.5, True, None, [], b"Apple", 2**63, float("nan"), float("inf"), "a" * 1025, "\ud800"],
    ids=lambda value: ascii(value)[:20],
)
def test_a_report_that_is_neither_text_nor_integer_is_none(value: object) -> None:
    assert FRUIT.report(value) is None


def test_a_long_value_may_be_reported_if_it_is_declared() -> None:
    long = "a" * 2000
    assert EnumEndpoint("e", "E", None, {"long": long}).report(long) == Report(long, out_of_range=False)
