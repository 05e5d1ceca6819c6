"""Endpoints: what a device declares that it takes, and the check of a value against it.

The code is in `iotio_protocol.endpoints`, which devices use too; server programs import the names from here.
"""

from iotio_protocol.endpoints import (
    BooleanEndpoint,
    DeclarationError,
    Endpoint,
    EndpointParseResponse,
    EndpointType,
    EnumEndpoint,
    FloatEndpoint,
    IntegerEndpoint,
    Report,
    StringEndpoint,
    ValidationResponse,
    parse_endpoint,
    parse_endpoints,
)

__all__ = [
    "BooleanEndpoint",
    "DeclarationError",
    "Endpoint",
    "EndpointParseResponse",
    "EndpointType",
    "EnumEndpoint",
    "FloatEndpoint",
    "IntegerEndpoint",
    "Report",
    "StringEndpoint",
    "ValidationResponse",
    "parse_endpoint",
    "parse_endpoints",
]
