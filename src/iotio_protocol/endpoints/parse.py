"""Declarations from the wire to endpoints."""

from __future__ import annotations

from .base import Endpoint
from .boolean import BooleanEndpoint
from .declaration import Declaration
from .enumeration import EnumEndpoint
from .errors import DeclarationError
from .floating import FloatEndpoint
from .integer import IntegerEndpoint
from .responses import EndpointParseResponse
from .string import StringEndpoint

__all__ = ["parse_endpoint", "parse_endpoints"]

_TYPES: dict[str, type[Endpoint]] = {
    endpoint.type.value: endpoint
    for endpoint in (BooleanEndpoint, IntegerEndpoint, StringEndpoint, EnumEndpoint, FloatEndpoint)
}


def parse_endpoint(declaration: object) -> Endpoint:
    """Build an endpoint of the declared type.

    Args:
        declaration: `{id, name, type, ...}`; docs/endpoints.md has all fields.

    Raises:
        DeclarationError: the declaration breaks the rules; never another error, whatever is passed.
    """
    source = Declaration.of(declaration)
    kind = source.fields.get("type")
    if kind is None:
        raise source.refuse(EndpointParseResponse.NO_TYPE_SPECIFIED)
    endpoint = _TYPES.get(kind) if isinstance(kind, str) else None
    if endpoint is None:
        raise source.refuse(EndpointParseResponse.INVALID_TYPE_SPECIFIED)
    return endpoint.from_declaration(declaration)


def parse_endpoints(declarations: object) -> dict[str, Endpoint]:
    """Build all endpoints of a device.

    Args:
        declarations: a list; an empty object and an empty string stand for none, as in iot.io 0.4.

    Returns:
        The endpoints by id; of two with one id the last counts.

    Raises:
        DeclarationError: the first declaration that breaks the rules, or no list.
    """
    if not declarations and isinstance(declarations, (list, tuple, dict, str)):
        return {}
    if not isinstance(declarations, (list, tuple)):
        raise DeclarationError("", EndpointParseResponse.INVALID_STRUCTURE)
    endpoints = (parse_endpoint(declaration) for declaration in declarations)
    return {endpoint.id: endpoint for endpoint in endpoints}
