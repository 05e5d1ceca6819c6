"""Endpoints: what a device declares that it takes, and the check of a value against it."""

from __future__ import annotations

from .base import Endpoint, Report
from .boolean import BooleanEndpoint
from .enumeration import EnumEndpoint
from .errors import DeclarationError
from .floating import FloatEndpoint
from .integer import IntegerEndpoint
from .parse import parse_endpoint, parse_endpoints
from .responses import EndpointParseResponse, EndpointType, ValidationResponse
from .string import StringEndpoint

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
