"""`iotio.Endpoint` of iot.io 0.4.10: the old names of the endpoints layer."""

from __future__ import annotations

from typing import Any

from iotio_protocol.endpoints import (
    BooleanEndpoint,
    DeclarationError,
    Endpoint,
    EndpointParseResponse,
    EndpointType,
    EnumEndpoint,
    FloatEndpoint,
    IntegerEndpoint,
    StringEndpoint,
    ValidationResponse,
    parse_endpoint,
)
from iotio_protocol.endpoints.base import INVALID_TYPE, Verdict

__all__ = [
    "AbstractEndpointValidator",
    "BooleanEndpointValidator",
    "EndpointManager",
    "EndpointParseResponse",
    "EndpointType",
    "EnumEndpointValidator",
    "IntegerEndpointValidator",
    "StringEndpointValidator",
    "ValidationResponse",
]

# The same classes, so that `isinstance` holds for what devices declared and for what a program builds.
BooleanEndpointValidator = BooleanEndpoint
IntegerEndpointValidator = IntegerEndpoint
StringEndpointValidator = StringEndpoint
EnumEndpointValidator = EnumEndpoint


class AbstractEndpointValidator(Endpoint):
    """The base for validators of a program's own: override `validate`."""

    type = None  # type: ignore[assignment]  # so it is in 0.4.10

    # Here, for a class of a program that does not call this one's constructor.
    access = "read-write"
    history = True
    total = False
    unit: str | None = None
    class_: str | None = None

    def validate(self, data: object) -> Any:
        """Check a value; the base has no rule and returns None."""
        return None

    def check(self, value: object) -> Verdict:
        verdict: Verdict | None = self.validate(value)
        return INVALID_TYPE if verdict is None else verdict

    def describe(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "specialId": self.special_id, "constraints": None}


for _endpoint in (BooleanEndpoint, IntegerEndpoint, StringEndpoint, EnumEndpoint, FloatEndpoint):
    AbstractEndpointValidator.register(_endpoint)


class EndpointManager:
    """The endpoints of one device."""

    def __init__(self) -> None:
        self._endpoints: dict[str, Endpoint] = {}
        self._initialized = False

    @property
    def initialized(self) -> bool:
        """Whether a whole list of declarations was taken."""
        return self._initialized

    @property
    def endpoints(self) -> list[dict[str, Any]]:
        """The descriptions of all endpoints."""
        return [dict(endpoint) for endpoint in self._endpoints.values()]

    def get_validator(self, endpoint_id: str) -> Endpoint | ValidationResponse:
        """Return the endpoint of an id, or ENDPOINT_NOT_DEFINED_BY_CLIENT."""
        return self._endpoints.get(endpoint_id, ValidationResponse.ENDPOINT_NOT_DEFINED_BY_CLIENT)

    @staticmethod
    def parse(endpoint: object) -> tuple[Any, Endpoint | EndpointParseResponse]:
        """Build one endpoint: `("", endpoint)`, or the declared id and what is wrong."""
        try:
            return "", parse_endpoint(endpoint)
        except DeclarationError as error:
            return error.endpoint_id, error.problem

    def parse_endpoints(self, endpoints: object) -> tuple[Any, EndpointParseResponse]:
        """Add declarations up to the first that is wrong: `("", VALID)`, or its id and what is wrong."""
        if endpoints in ({}, ""):
            endpoints = []
        if not isinstance(endpoints, (list, tuple)):
            return "", EndpointParseResponse.INVALID_STRUCTURE
        for declaration in endpoints:
            endpoint_id, endpoint = self.parse(declaration)
            if isinstance(endpoint, EndpointParseResponse):
                return endpoint_id, endpoint
            self._endpoints[endpoint.id] = endpoint
        self._initialized = True
        return "", EndpointParseResponse.VALID
