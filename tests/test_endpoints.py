"""The names under which server programs import endpoints."""

from __future__ import annotations

import pytest

import iotio.endpoints
import iotio_protocol.endpoints
from iotio.endpoints import (
    DeclarationError,
    EndpointParseResponse,
    IntegerEndpoint,
    ValidationResponse,
    parse_endpoint,
    parse_endpoints,
)


def test_every_name_is_that_of_the_protocol() -> None:
    """Not a copy: a program compares what it gets with `is`, and catches errors by class."""
    assert set(iotio.endpoints.__all__) == set(iotio_protocol.endpoints.__all__)
    for name in iotio.endpoints.__all__:
        assert getattr(iotio.endpoints, name) is getattr(iotio_protocol.endpoints, name)


def test_a_declaration_is_read_and_a_value_checked() -> None:
    level = {"id": "level", "name": "Level", "type": "integer", "constraints": {"min": 0, "max": 100}}
    endpoint = parse_endpoint(level)
    assert isinstance(endpoint, IntegerEndpoint)
    assert [endpoint.check(value)[0] for value in (0, 101, "much")] == [
        ValidationResponse.VALID,
        ValidationResponse.HIGHER_THAN_MAX,
        ValidationResponse.INVALID_TYPE,
    ]
    assert list(parse_endpoints([level])) == ["level"]


def test_a_wrong_declaration_names_its_problem() -> None:
    with pytest.raises(DeclarationError) as caught:
        parse_endpoints([{"id": "level", "type": "integer"}])
    problem = EndpointParseResponse.NO_NAME_SPECIFIED
    assert caught.value.info == {"endpointId": "level", "endpointProblem": problem.value}
