"""The enums are public names: those of iot.io 0.4.10, and behind them ours."""

from __future__ import annotations

from iotio_protocol.endpoints import EndpointParseResponse, EndpointType, ValidationResponse


def test_validation_responses() -> None:
    assert {member.name: member.value for member in ValidationResponse} == {
        "VALID": "valid",
        "INVALID_TYPE": "invalid_data_type",
        "LOWER_THAN_MIN": "lower_than_min",
        "HIGHER_THAN_MAX": "higher_than_max",
        "INVALID_INCREMENT": "invalid_increment",
        "INVALID_LENGTH": "invalid_length",
        "VIOLATES_ALLOW_LIST": "violates_allow_list",
        "VIOLATES_DENY_LIST": "violates_deny_list",
        "INVALID_ENUM_VALUE": "invalid_enum_value",
        "ENDPOINT_NOT_DEFINED_BY_CLIENT": "endpoint_not_defined_by_client",
        "CLIENT_ENDPOINTS_NOT_INITIALIZED": "client_endpoints_not_initialized",
        "CLIENT_NOT_CONNECTED": "client_not_connected",
    }


def test_endpoint_types() -> None:
    assert {member.name: member.value for member in EndpointType} == {
        "BOOLEAN": "boolean",
        "INTEGER": "integer",
        "STRING": "string",
        "ENUM": "enum",
        "FLOAT": "float",
    }


def test_parse_responses() -> None:
    names = {member.name: member.value for member in EndpointParseResponse}
    assert len(names) == 31
    integers = {f"CONSTRAINT_{name}_MUST_BE_INT" for name in ("MIN", "MAX", "INCREMENT", "LENGTH")}
    for name in integers:
        assert names.pop(name) == name.lower() + "eger"
    assert all(value == name.lower() for name, value in names.items())
