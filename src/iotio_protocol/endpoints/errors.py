"""The error of the endpoints layer."""

from __future__ import annotations

from iotio_protocol.errors import IoTError

from .responses import EndpointParseResponse

__all__ = ["DeclarationError"]

# What is allowed, where the problem's own word does not say it.
_ALLOWED = {
    EndpointParseResponse.UNIT_TOO_LONG: "; a unit has at most 16 characters",
    EndpointParseResponse.INVALID_ACCESS: "; access is 'read', 'write' or 'read-write'",
}


class DeclarationError(IoTError, ValueError):
    """A declaration that breaks the rules.

    Attributes:
        endpoint_id: the `id` as it was declared, whatever its type; "no_id_provided" where there is none;
            "" where the declarations are no list at all.
        problem: what is wrong.
    """

    def __init__(self, endpoint_id: object, problem: EndpointParseResponse) -> None:
        super().__init__(endpoint_id, problem)
        self.endpoint_id = endpoint_id
        self.problem = problem

    @property
    def info(self) -> dict[str, object]:
        """The `info` of the v1 error packet `client_invalid_endpoints`."""
        return {"endpointId": self.endpoint_id, "endpointProblem": self.problem.value}

    def __str__(self) -> str:
        return f"endpoint {self.endpoint_id!r}: {self.problem.value}{_ALLOWED.get(self.problem, '')}"
