"""`iotio.Endpoint`: a program written for iot.io 0.4.10 finds its names, parameters and attributes.

The cases of the original's own unit tests are here in words of ours.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from iotio_protocol.endpoints import Endpoint, parse_endpoint
from tests.protocol.vectors import load

# Untyped, as the programs are that were written for it.
old: Any = import_module("iotio.Endpoint")

VALID = old.ValidationResponse.VALID
Problem = old.EndpointParseResponse
VECTORS = load("endpoints_parse.json")
# JSON has no integer keys; tests/endpoints/test_parse.py makes one for the vector that means it.
DECLARATIONS = [case for case in VECTORS["declarations"] if "key int" not in case["desc"]]


def test_names() -> None:
    names = {"AbstractEndpointValidator", "BooleanEndpointValidator", "IntegerEndpointValidator"}
    names |= {"StringEndpointValidator", "EnumEndpointValidator", "EndpointManager"}
    names |= {"ValidationResponse", "EndpointParseResponse", "EndpointType"}
    assert names == set(old.__all__)


def test_abstract_validator() -> None:
    validator = old.AbstractEndpointValidator("x", "n", "sp")
    assert (validator.id, validator.name, validator.special_id, validator.type) == ("x", "n", "sp", None)
    assert validator.validate(5) is None
    assert dict(validator) == {"id": "x", "name": "n", "specialId": "sp", "constraints": None}


def test_a_validator_that_does_not_call_the_constructor_has_the_fields_of_today() -> None:
    class Own(old.AbstractEndpointValidator):  # type: ignore[misc]  # `old` is Any
        def __init__(self) -> None:
            self.id = "x"

    own = Own()
    assert (own.id, own.access, own.unit, own.class_, own.total, own.history) == (
        "x",
        "read-write",
        None,
        None,
        False,
        True,
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"id": 1}, "ID_MUST_BE_STRING"),
        ({"name": 1}, "NAME_MUST_BE_STRING"),
        ({"specialId": 1}, "SPECIAL_ID_MUST_BE_STRING"),
    ],
)
def test_abstract_parse(change: dict[str, Any], problem: str) -> None:
    good = {"id": "x", "name": "n", "specialId": None}
    parsed = old.AbstractEndpointValidator.parse(good)
    assert (parsed.id, parsed.name, parsed.special_id) == ("x", "n", None)
    assert old.AbstractEndpointValidator.parse(good | change) is Problem[problem]


def test_a_validator_of_the_programs_own() -> None:
    class Even(old.AbstractEndpointValidator):  # type: ignore[misc]  # `old` is Any
        def validate(self, data: Any) -> Any:
            return (VALID, data) if data % 2 == 0 else (old.ValidationResponse.INVALID_INCREMENT, None)

    even = Even("x", "n", None)
    assert isinstance(even, Endpoint)
    assert even.check(4) == even.validate(4) == (VALID, 4)
    assert even.check(5) == (old.ValidationResponse.INVALID_INCREMENT, None)
    assert old.AbstractEndpointValidator("x", "n", None).check(4) == (
        old.ValidationResponse.INVALID_TYPE,
        None,
    )


def test_overriding_validate_of_a_type() -> None:
    class Doubled(old.IntegerEndpointValidator):  # type: ignore[misc]  # `old` is Any
        def validate(self, data: Any) -> Any:
            response, value = super().validate(data)
            return response, value if value is None else value * 2

    assert Doubled("x", "n", None, min_v=0).validate("4") == (VALID, 8)


def test_boolean_validator() -> None:
    validator = old.BooleanEndpointValidator("x", "n", None)
    assert validator.type is old.EndpointType.BOOLEAN
    assert validator.validate(True) == (VALID, True)
    assert validator.validate("hello")[0] is old.ValidationResponse.INVALID_TYPE
    assert dict(validator)["type"] == "boolean"
    assert dict(validator)["constraints"] is None


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((5, 10, None), ["valid", "lower_than_min", "higher_than_max", "invalid_data_type"]),
        ((5, None, None), ["valid", "lower_than_min", "valid", "invalid_data_type"]),
        ((None, 10, None), ["valid", "valid", "higher_than_max", "invalid_data_type"]),
        ((5, 10, 1), ["valid", "lower_than_min", "higher_than_max", "invalid_data_type"]),
        ((None, None, None), ["valid", "valid", "valid", "invalid_data_type"]),
    ],
)
def test_integer_validator(limits: tuple[Any, Any, Any], expected: list[str]) -> None:
    low, high, increment = limits
    validator = old.IntegerEndpointValidator(
        endpoint_id="x", name="n", special_id=None, min_v=low, max_v=high, increment=increment
    )
    assert [validator.validate(value)[0].value for value in (7, 3, 12, "")] == expected
    copy = old.IntegerEndpointValidator.parse(dict(validator))
    assert (copy.min, copy.max, copy.increment) == limits


def test_string_validator() -> None:
    validator = old.StringEndpointValidator(
        endpoint_id="x", name="n", special_id=None, length=3, allow_list="abc", deny_list=None
    )
    assert (validator.length, validator.allow_list, validator.deny_list) == (3, "abc", None)
    assert validator.validate("abcd")[0] is old.ValidationResponse.INVALID_LENGTH
    copy = old.StringEndpointValidator.parse(dict(validator))
    assert (copy.length, copy.allow_list, copy.deny_list) == (3, "abc", None)


def test_enum_validator() -> None:
    validator = old.EnumEndpointValidator(endpoint_id="x", name="n", special_id=None, values={"a": "A"})
    assert validator.validate("A") == (VALID, "A")
    assert validator.validate("b")[0] is old.ValidationResponse.INVALID_ENUM_VALUE
    assert old.EnumEndpointValidator.parse(dict(validator)).values == {"a": "A"}
    no_values = {"id": "x", "name": "n", "constraints": {}}
    assert old.EnumEndpointValidator.parse(no_values) is Problem.ENUM_TYPE_REQUIRES_VALUES_CONSTRAINT


@pytest.mark.parametrize("case", DECLARATIONS, ids=lambda case: case["desc"])
def test_manager_parses_one(case: dict[str, Any]) -> None:
    endpoint_id, result = old.EndpointManager.parse(case["declaration"])
    if "raises" in case:
        assert (endpoint_id, result) == ("x", Problem.INVALID_STRUCTURE)
        return
    assert endpoint_id == case.get("endpointId")
    if case["result"] != "valid":
        assert result.value == case["result"]
        return
    assert isinstance(result, getattr(old, case["validator"]))
    assert isinstance(result, old.AbstractEndpointValidator)
    assert dict(result) == case["serialized"]


@pytest.mark.parametrize("case", VECTORS["lists"], ids=lambda case: case["desc"])
def test_manager_parses_a_list(case: dict[str, Any]) -> None:
    manager = old.EndpointManager()
    assert not manager.initialized
    endpoint_id, result = manager.parse_endpoints(case["declarations"])
    if "raises" in case:
        assert result is Problem.INVALID_STRUCTURE
    else:
        assert (endpoint_id, result.value) == (case["endpointId"], case["result"])
        assert manager.endpoints == case["endpoints_property"]
    assert manager.initialized == case["initialized"]
    assert [endpoint["id"] for endpoint in manager.endpoints] == case["ids"]
    assert manager.get_validator("missing").value == case["get_validator_missing"]
    assert all(manager.get_validator(name).id == name for name in case["ids"])


def test_what_devices_declare_is_of_the_old_classes() -> None:
    endpoint = parse_endpoint({"id": "x", "name": "n", "type": "integer"})
    assert isinstance(endpoint, old.IntegerEndpointValidator)
    assert isinstance(endpoint, old.AbstractEndpointValidator)
    assert not isinstance(endpoint, old.BooleanEndpointValidator)
