"""Declarations, as iot.io-client 0.4.12 writes them (client_behaviour.json, client_endpoint_declarations_0.4.12)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from iotio_client import EndpointConstraint, EndpointInfo, EndpointType, InvalidEndpoint

BOOLEAN, INTEGER, STRING, ENUM, FLOAT = EndpointType


@pytest.mark.parametrize(
    ("info", "declared"),
    [
        (
            EndpointInfo("n", BOOLEAN),
            '{"id": "e", "name": "n", "type": "boolean", "specialId": null, "constraints": null}',
        ),
        (
            EndpointInfo("n", INTEGER, "sp", EndpointConstraint(min_v=0, max_v=0, increment=0)),
            '{"id": "e", "name": "n", "type": "integer", "specialId": "sp", '
            '"constraints": {"min": 0, "max": 0, "increment": 0}}',
        ),
        (
            EndpointInfo("n", INTEGER, constraints=EndpointConstraint(1, 9, 3)),
            '{"id": "e", "name": "n", "type": "integer", "specialId": null, '
            '"constraints": {"min": 1, "max": 9, "increment": 3}}',
        ),
        (
            EndpointInfo("n", STRING, constraints=EndpointConstraint(length=0, allow_list="", deny_list="")),
            '{"id": "e", "name": "n", "type": "string", "specialId": null, '
            '"constraints": {"length": 0, "allowList": "", "denyList": ""}}',
        ),
        (
            EndpointInfo("n", ENUM, constraints=EndpointConstraint(values={})),
            '{"id": "e", "name": "n", "type": "enum", "specialId": null, "constraints": {"values": {}}}',
        ),
        (
            EndpointInfo("n", INTEGER, constraints=EndpointConstraint(length=3, values={"a": "b"})),
            '{"id": "e", "name": "n", "type": "integer", "specialId": null, "constraints": {}}',
        ),
        (
            EndpointInfo("n", FLOAT, constraints=EndpointConstraint(-0.5, 1, 0.25, length=3)),
            '{"id": "e", "name": "n", "type": "float", "specialId": null, '
            '"constraints": {"min": -0.5, "max": 1, "increment": 0.25}}',
        ),
        (
            EndpointInfo("n", STRING),
            '{"id": "e", "name": "n", "type": "string", "specialId": null, "constraints": null}',
        ),
    ],
)
def test_declarations(info: EndpointInfo, declared: str) -> None:
    assert json.dumps(info.get_info("e")) == declared


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((ENUM,), "Endpoint's of type 'ENUM' require a constraint with the values field provided."),
        ((ENUM, None, EndpointConstraint(1)), "Endpoint's of type 'ENUM' require a constraint"),
        ((BOOLEAN, None, EndpointConstraint()), "Endpoint's of type 'BOOLEAN' cannot accept constraints."),
        (("integer",), "data_type must be an EndpointType"),
    ],
)
def test_what_does_not_fit(arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(InvalidEndpoint, match=text):
        EndpointInfo("n", *arguments).get_info("e")
