"""The base class of the endpoints that devices declare, and the verdict of checking a value against one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Self

from iotio_protocol.values import Value

from .declaration import Declaration
from .errors import DeclarationError
from .responses import EndpointParseResponse, EndpointType, ValidationResponse

__all__ = ["INVALID_TYPE", "Endpoint", "Verdict"]

Verdict = tuple[ValidationResponse, Value]
"""The answer of a check: the response, and the value as it is to be sent (None unless VALID)."""

INVALID_TYPE: Verdict = (ValidationResponse.INVALID_TYPE, None)


class Endpoint(ABC):
    """One thing of a device that can be set: it checks, converts and describes itself.

    The constructors' parameters and the attributes are those of the validators of iot.io 0.4.10.

    Args:
        endpoint_id: the endpoint's id, and the event under which values are sent to the device.
        name: the name for people.
        special_id: a mark that the device's maker gives a meaning to.
    """

    __slots__ = ("__weakref__", "id", "name", "special_id")

    type: ClassVar[EndpointType]

    def __init__(self, endpoint_id: str, name: str, special_id: str | None = None) -> None:
        self.id = endpoint_id
        self.name = name
        self.special_id = special_id

    @abstractmethod
    def check(self, value: object) -> Verdict:
        """Check a value and convert it to the endpoint's type.

        Args:
            value: any value at all; a query string or a form yields text, which is converted.

        Returns:
            `(VALID, value to send)`, or what is wrong and None. Never raises.
        """

    def validate(self, data: object) -> Verdict:
        """Check a value, under the name that `check` had in iot.io 0.4; a program may override it."""
        return self.check(data)

    def describe(self) -> dict[str, Any]:
        """Return the declaration of this endpoint, as JSON can carry it; `parse_endpoint` takes it back."""
        return {
            "id": self.id,
            "name": self.name,
            "type": self.type.value,
            "specialId": self.special_id,
            "constraints": self._describe_constraints(),
        }

    def _describe_constraints(self) -> dict[str, Any] | None:
        return None

    @classmethod
    def from_declaration(cls, declaration: object) -> Self:
        """Build the endpoint from a declaration; its `type` is not looked at (see `parse_endpoint`).

        Raises:
            DeclarationError: the declaration breaks the rules.
        """
        source = Declaration.of(declaration)
        return cls(*source.identity(), **cls._read_constraints(source))

    @classmethod
    def _read_constraints(cls, declaration: Declaration) -> dict[str, Any]:
        """Return the constructor's further arguments; types without constraints ignore what is declared."""
        return {}

    @classmethod
    def parse(cls, endpoint_data: object) -> Self | EndpointParseResponse:
        """Parse a declaration like `from_declaration`, but return a problem as iot.io 0.4 did."""
        try:
            return cls.from_declaration(endpoint_data)
        except DeclarationError as error:
            return error.problem

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Iterate over the items of the description: `dict(endpoint)` works as in iot.io 0.4."""
        return iter(self.describe().items())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r}>"
