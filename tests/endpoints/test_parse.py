"""Declarations, on the vectors of iot.io 0.4.10 and beyond them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio_protocol import strict_json, v1
from iotio_protocol.endpoints import (
    DeclarationError,
    Endpoint,
    EndpointParseResponse,
    EndpointType,
    IntegerEndpoint,
    parse_endpoint,
    parse_endpoints,
)
from iotio_protocol.errors import ErrorCode, IoTError
from tests.protocol.vectors import load

VECTORS = load("endpoints_parse.json")
DECLARATIONS = VECTORS["declarations"]
LISTS = VECTORS["lists"]

# Where the original raised something: the description of the vector, and the id in our error.
NOT_AN_OBJECT = {
    "integer constraints list": "x",
    "integer constraints list nonempty": "x",
    "integer constraints false": "x",
    "integer constraints 0": "x",
    "string constraints string": "x",
}
NOT_A_LIST = {"dict": "", "null": "", "int": "", "string abc": ""}
NOT_A_LIST |= dict.fromkeys(("list of int", "list of null", "list of list"), "no_id_provided")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
constraint_names = st.sampled_from(["min", "max", "increment", "length", "allowList", "denyList", "values"])
declarations = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text() | json_values,
        "name": st.just("n") | json_values,
        "type": st.sampled_from([kind.value for kind in EndpointType]) | json_values,
        "specialId": json_values,
        "constraints": st.dictionaries(constraint_names, json_values) | json_values,
    },
)


def declaration_of(case: dict[str, Any]) -> Any:
    """A vector's declaration; JSON has no integer keys, so one is made where the vector means one."""
    declaration = copy.deepcopy(case["declaration"])
    if "key int" in case["desc"]:
        values = declaration["constraints"]["values"]
        declaration["constraints"]["values"] = {int(key): value for key, value in values.items()}
    return declaration


@pytest.mark.parametrize("case", DECLARATIONS, ids=lambda case: case["desc"])
def test_declaration_vector(case: dict[str, Any]) -> None:
    declaration = declaration_of(case)
    if case.get("result") == "valid":
        endpoint = parse_endpoint(declaration)
        assert endpoint.describe() == case["serialized"]
        assert list(endpoint.describe()) == list(case["serialized"])
        assert dict(endpoint) == case["serialized"]
        return
    with pytest.raises(DeclarationError) as caught:
        parse_endpoint(declaration)
    if "raises" in case:
        assert caught.value.problem is EndpointParseResponse.INVALID_STRUCTURE
        assert caught.value.endpoint_id == NOT_AN_OBJECT[case["desc"]]
    else:
        assert caught.value.problem.value == case["result"]
        assert caught.value.endpoint_id == case.get("endpointId")


@pytest.mark.parametrize("case", LISTS, ids=lambda case: case["desc"])
def test_list_vector(case: dict[str, Any]) -> None:
    if case.get("result") == "valid":
        endpoints = parse_endpoints(case["declarations"])
        assert list(endpoints) == case["ids"]
        assert [endpoint.describe() for endpoint in endpoints.values()] == case["endpoints_property"]
        return
    with pytest.raises(DeclarationError) as caught:
        parse_endpoints(case["declarations"])
    if "raises" in case:
        assert caught.value.info == {
            "endpointId": NOT_A_LIST[case["desc"]],
            "endpointProblem": "invalid_structure",
        }
    else:
        assert caught.value.info == {
            "endpointId": case["endpointId"],
            "endpointProblem": case["result"],
        }


@pytest.mark.parametrize("case", [case for case in DECLARATIONS if case.get("result") == "valid"], ids=str)
def test_a_description_is_a_declaration(case: dict[str, Any]) -> None:
    endpoint = parse_endpoint(case["declaration"])
    assert parse_endpoint(endpoint.describe()).describe() == endpoint.describe()


@given(declarations | json_values)
def test_any_declaration_is_taken_or_refused_with_a_code(declaration: Any) -> None:
    try:
        endpoint = parse_endpoint(declaration)
    except DeclarationError as error:
        problem = error.problem, str(error)
    else:
        assert isinstance(endpoint.id, str)
        assert parse_endpoint(endpoint.describe()).describe() == endpoint.describe()
        return
    assert problem[0] is not EndpointParseResponse.VALID
    assert problem[0].value in problem[1]


@given(st.lists(declarations, max_size=3) | json_values)
def test_any_list_is_taken_or_refused_with_a_code(value: Any) -> None:
    try:
        endpoints = parse_endpoints(value)
    except DeclarationError:
        return
    assert all(endpoint.id == name for name, endpoint in endpoints.items())


@given(declarations, json_values)
def test_an_endpoint_from_the_wire_checks_anything(declaration: Any, value: Any) -> None:
    try:
        endpoint = parse_endpoint(declaration)
    except DeclarationError:
        return
    response, converted = endpoint.check(value)
    if response.value != "valid":
        assert converted is None


def test_the_error_is_an_iotio_error_and_fits_the_wire() -> None:
    with pytest.raises(IoTError) as caught:
        parse_endpoint({"id": 5, "name": "n", "type": "boolean"})
    assert isinstance(caught.value, DeclarationError)
    assert str(caught.value) == "endpoint 5: id_must_be_string"
    packet = v1.error_packet(ErrorCode.CLIENT_INVALID_ENDPOINTS, caught.value.info)
    assert v1.decode(packet) == (
        "error",
        {
            "error": "client_invalid_endpoints",
            "info": {"endpointId": 5, "endpointProblem": "id_must_be_string"},
        },
    )


def test_of_two_with_one_id_the_last_counts() -> None:
    first = {"id": "x", "name": "1", "type": "boolean"}
    last = {"id": "x", "name": "2", "type": "integer"}
    endpoint = parse_endpoints([first, last])["x"]
    assert isinstance(endpoint, IntegerEndpoint)
    assert endpoint.name == "2"


def test_a_description_is_a_snapshot() -> None:
    words = ["one"]
    endpoint = parse_endpoint({"id": "x", "name": "n", "type": "string", "constraints": {"allowList": words}})
    endpoint.describe()["constraints"]["allowList"].append("two")
    assert words == ["one"]


def test_endpoint_is_abstract() -> None:
    with pytest.raises(TypeError):
        Endpoint("x", "n")  # type: ignore[abstract]  # that is the point


def test_repr_names_the_id() -> None:
    assert repr(IntegerEndpoint("speed", "Speed")) == "<IntegerEndpoint 'speed'>"


def test_a_hostile_declaration_takes_time_in_proportion_to_its_size() -> None:
    # A product of both lengths would be 10^11 steps, hours instead of milliseconds.
    letters = "".join(map(chr, range(0x4E00, 0x9F00)))
    text = strict_json.dumps({"id": "x", "name": "n", "type": "string", "constraints": {"denyList": letters * 20}})
    endpoint = parse_endpoint(strict_json.loads(text))
    assert endpoint.check("a" * 1_000_000)[0].value == "valid"
