"""The enum endpoint beyond the vectors."""

from __future__ import annotations

import pytest

from iotio_protocol.endpoints import EnumEndpoint, ValidationResponse
from iotio_protocol.values import Value

FRUIT = EnumEndpoint("e", "E", None, {"a": "Apple", "one": 1, "five": 5, "odd": "1.5", "t": "None"})


@pytest.mark.parametrize(
    ("value", "expected"), [("Apple", "Apple"), (1, 1), ("5", 5), (" 5 ", 5), (1.5, "1.5"), ("1.5", "1.5")]
)
def test_takes_the_value(value: object, expected: Value) -> None:
    response, converted = FRUIT.check(value)
    assert response is ValidationResponse.VALID
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    "value", ["a", "apple", "", True, False, 0, 1.0, float("nan"), None, [], [1], {}, b"Apple", "9" * 5000]
)
def test_refuses(value: object) -> None:
    assert FRUIT.check(value) == (ValidationResponse.INVALID_ENUM_VALUE, None)


def test_a_declared_boolean_is_not_the_number() -> None:
    switch = EnumEndpoint("e", "E", None, {"on": True})
    assert switch.check(True) == (ValidationResponse.VALID, True)
    assert switch.check(1) == switch.check("1") == (ValidationResponse.INVALID_ENUM_VALUE, None)


def test_describes_itself() -> None:
    assert EnumEndpoint("e", "E", None, {"a": "Apple"}).describe() == {
        "id": "e",
        "name": "E",
        "type": "enum",
        "specialId": None,
        "constraints": {"values": {"a": "Apple"}},
    }
