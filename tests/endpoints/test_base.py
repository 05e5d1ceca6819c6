"""Checking values: every vector of iot.io 0.4.10, and the list of what is deliberately different."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio_protocol.endpoints import (
    BooleanEndpoint,
    DeclarationError,
    Endpoint,
    EndpointType,
    FloatEndpoint,
    IntegerEndpoint,
    Report,
    StringEndpoint,
    ValidationResponse,
    parse_endpoint,
)
from iotio_protocol.endpoints.base import INVALID_TYPE, Fields, Verdict
from tests.protocol.vectors import load, revive

CASES = load("endpoints_validate.json")["cases"]

Result = tuple[str, Any, str]  # response, value, name of the value's type


@dataclass(frozen=True, slots=True)
class Difference:
    """One class of values for which the original was wrong."""

    kind: str
    reason: str
    applies: Callable[[Any, dict[str, Any]], bool]
    """Told the value and the constraints."""
    expected: str
    becomes: Callable[[Any], Any] = lambda value: None
    """Told the value; returns what is sent."""


def whole(value: Any) -> int | None:
    """The integer behind a value, as both the original and we read it."""
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def off_step(value: Any, constraints: dict[str, Any]) -> bool:
    number, step = whole(value), constraints.get("increment")
    low, high = constraints.get("min"), constraints.get("max")
    if number is None or not step or (low is not None and number < low) or (high is not None and number > high):
        return False
    return (number - (low or 0)) % step != 0 and abs(number) < 2**63


def too_large(value: Any, constraints: dict[str, Any]) -> bool:
    number, high = whole(value), constraints.get("max")
    return number is not None and number >= 2**63 and (high is None or number <= high)


# The first that applies counts; all other vectors must match in response, value and type of the value.
DIFFERENCES = [
    Difference(
        "boolean",
        "null, lists, objects, floats and bytes are no booleans: bool(x) made false of null and true of [1]",
        lambda value, _: value is None or isinstance(value, (list, dict, float, bytes)),
        "invalid_data_type",
    ),
    Difference(
        "boolean",
        "of the integers only 0 and 1 mean something: -1 and 5 became true",
        lambda value, _: isinstance(value, int) and value not in (0, 1),
        "invalid_data_type",
    ),
    Difference(
        "integer",
        "a boolean is no integer: it went through and was sent as a boolean (S30)",
        lambda value, _: isinstance(value, bool),
        "invalid_data_type",
    ),
    Difference(
        "integer",
        "null, lists and objects raised TypeError (S30)",
        lambda value, _: value is None or isinstance(value, (list, dict)),
        "invalid_data_type",
    ),
    Difference(
        "integer",
        "a float with a fraction lost it silently, infinity raised OverflowError",
        lambda value, _: isinstance(value, float) and not value.is_integer() and value == value,
        "invalid_data_type",
    ),
    Difference(
        "integer",
        "beyond 64 bits nothing can be sent: OverflowError later, in emit (S30)",
        too_large,
        "invalid_data_type",
    ),
    Difference("integer", "the increment was never checked (S29)", off_step, "invalid_increment"),
    Difference(
        "string",
        "null, lists, objects and bytes are no text: the Python spelling of them was checked and sent",
        lambda value, _: value is None or isinstance(value, (list, dict, bytes)),
        "invalid_data_type",
    ),
    Difference(
        "enum",
        "True equals 1 in Python; the boolean was sent in the place of the integer",
        lambda value, constraints: value is True and 1 in constraints["values"].values(),
        "invalid_enum_value",
    ),
    Difference(
        "enum",
        "a float without a fraction is the integer: 1.0 was refused where 1 was declared",
        lambda value, constraints: isinstance(value, float) and value in constraints["values"].values(),
        "valid",
        int,
    ),
]


def difference_for(case: dict[str, Any]) -> Difference | None:
    value, declaration = revive(case["data"]), case["declaration"]
    constraints = declaration.get("constraints") or {}
    matches = (
        difference
        for difference in DIFFERENCES
        if difference.kind == declaration["type"] and difference.applies(value, constraints)
    )
    return next(matches, None)


def original(case: dict[str, Any]) -> Result:
    result = case["0.4.10"]
    return (
        result.get("result", result.get("raises")),
        result.get("value"),
        result.get("value_pytype", "NoneType"),
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['desc']}-{json.dumps(case['data'])}")
def test_vector(case: dict[str, Any]) -> None:
    value = revive(case["data"])
    assert type(value).__name__ == case["data_pytype"]
    response, converted = parse_endpoint(case["declaration"]).check(value)
    difference = difference_for(case)
    expected = original(case)
    if difference is not None:
        becomes = difference.becomes(value)
        expected = (difference.expected, becomes, type(becomes).__name__)
    assert (response.value, converted, type(converted).__name__) == expected


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.reason)
def test_each_difference_is_one(difference: Difference) -> None:
    concerned = [case for case in CASES if difference_for(case) is difference]
    assert any(original(case)[0] != difference.expected for case in concerned)


def test_validate_is_the_old_name() -> None:
    endpoint = parse_endpoint({"id": "x", "name": "n", "type": "boolean"})
    assert endpoint.validate("True") == endpoint.check("True") == (ValidationResponse.VALID, True)


def test_fields_by_default() -> None:
    endpoint = BooleanEndpoint("x", "n")
    assert (endpoint.unit, endpoint.access, endpoint.class_) == (None, "read-write", None)
    assert (endpoint.total, endpoint.history) == (False, True)
    assert BooleanEndpoint("x", "n", access="write").history is False


def test_new_keys_are_described_only_where_they_are_not_as_by_default() -> None:
    five = ["id", "name", "type", "specialId", "constraints"]
    plain: Fields = {"unit": None, "access": "read-write", "class_": None, "total": False, "history": True}
    assert list(BooleanEndpoint("x", "n", **plain).describe()) == five
    assert list(BooleanEndpoint("x", "n", access="write", history=False).describe()) == [*five, "access"]
    whole: Fields = {"unit": "kWh", "access": "read", "class_": "energy", "total": True, "history": False}
    assert list(BooleanEndpoint("x", "n", **whole).describe().items())[5:] == [
        ("unit", "kWh"),
        ("access", "read"),
        ("class", "energy"),
        ("total", True),
        ("history", False),
    ]


@given(
    st.sampled_from([BooleanEndpoint, FloatEndpoint, IntegerEndpoint, StringEndpoint]),
    st.fixed_dictionaries(
        {},
        optional={
            "unit": st.none() | st.text(max_size=16),
            "access": st.sampled_from(["read", "write", "read-write"]),
            "class_": st.none() | st.text(),
            "total": st.booleans(),
            "history": st.none() | st.booleans(),
        },
    ),
)
def test_a_declaration_keeps_its_fields(kind: type[Endpoint], fields: Fields) -> None:
    endpoint = kind("x", "n", **fields)
    again = parse_endpoint(endpoint.describe())
    for name in ("unit", "access", "class_", "total", "history"):
        assert getattr(again, name) == getattr(endpoint, name)


WRONG: list[tuple[str, object, str, str]] = [
    ("unit", 5, "unit_must_be_string", ""),
    ("unit", "m" * 17, "unit_too_long", "; a unit has at most 16 characters"),
    ("access", "none", "invalid_access", "; access is 'read', 'write' or 'read-write'"),
    ("access", ["read"], "invalid_access", "; access is 'read', 'write' or 'read-write'"),
    ("class", 5, "class_must_be_string", ""),
    ("total", 1, "total_must_be_boolean", ""),
    ("history", "yes", "history_must_be_boolean", ""),
]


@pytest.mark.parametrize(("key", "value", "problem", "more"), WRONG)
def test_a_wrong_field_is_refused_on_the_wire_and_in_a_program(key: str, value: Any, problem: str, more: str) -> None:
    declaration = {"id": "x", "name": "n", "type": "boolean", key: value}
    with pytest.raises(DeclarationError) as caught:
        parse_endpoint(declaration)
    assert caught.value.info == {"endpointId": "x", "endpointProblem": problem}
    fields: Any = {"class_" if key == "class" else key: value}
    with pytest.raises(DeclarationError) as caught:
        BooleanEndpoint("x", "n", **fields)
    assert str(caught.value) == f"endpoint 'x': {problem}{more}"


def test_the_first_wrong_field_is_told_after_the_problems_of_0_4() -> None:
    wrong = {"history": "yes", "total": 1, "class": 5, "access": "none", "unit": 5, "constraints": {"min": 0.5}}
    declaration = {"id": "x", "name": "n", "type": "integer", **wrong}
    told = []
    for key in reversed(wrong):
        with pytest.raises(DeclarationError) as caught:
            parse_endpoint(declaration)
        told.append(caught.value.problem.value)
        del declaration[key]
    assert told == [
        "constraint_min_must_be_integer",
        "unit_must_be_string",
        "invalid_access",
        "class_must_be_string",
        "total_must_be_boolean",
        "history_must_be_boolean",
    ]


def test_null_is_as_if_a_field_were_left_out() -> None:
    nothing = dict.fromkeys(["unit", "access", "class", "total", "history"])
    endpoint = parse_endpoint({"id": "x", "name": "n", "type": "boolean", **nothing})
    assert endpoint.describe() == BooleanEndpoint("x", "n").describe()


def test_a_report_is_taken_as_a_value_to_be_set_is_by_an_endpoint_of_a_program() -> None:
    class Even(Endpoint):
        type = EndpointType.INTEGER

        def check(self, value: object) -> Verdict:
            return (ValidationResponse.VALID, value) if value in (2, 4) else INVALID_TYPE

    assert Even("x", "n").report(2) == Report(2, out_of_range=False)
    assert Even("x", "n").report(3) is None
