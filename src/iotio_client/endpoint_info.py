"""What a device declares of its endpoints, with the names of iot.io-client 0.4.12."""

from __future__ import annotations

from collections.abc import Mapping

from iotio_protocol.endpoints import DeclarationError, EndpointType, parse_endpoint

from .errors import InvalidEndpoint

__all__ = ["EndpointConstraint", "EndpointInfo", "EndpointType"]


_NO_VALUES = "Endpoint's of type 'ENUM' require a constraint with the values field provided."
_NO_CONSTRAINTS = "Endpoint's of type 'BOOLEAN' cannot accept constraints."

# For each type: key in the declaration, attribute of EndpointConstraint.
_FIELDS: dict[EndpointType, tuple[tuple[str, str], ...]] = {
    EndpointType.BOOLEAN: (),
    EndpointType.INTEGER: (("min", "min"), ("max", "max"), ("increment", "increment")),
    EndpointType.STRING: (("length", "length"), ("allowList", "allow_list"), ("denyList", "deny_list")),
    EndpointType.ENUM: (("values", "values"),),
    EndpointType.FLOAT: (("min", "min"), ("max", "max"), ("increment", "increment")),
}


class EndpointConstraint:
    """Which values of its type an endpoint takes; what is None is not limited.

    Args:
        min_v: INTEGER, FLOAT: smallest value.
        max_v: INTEGER, FLOAT: largest value.
        increment: INTEGER, FLOAT: step between values, counted from `min_v`, or from 0.
        length: STRING: exact number of characters.
        allow_list: STRING: a str names the characters that may occur, a list whole values.
        deny_list: STRING: the opposite; not together with `allow_list`.
        values: ENUM: names shown to people, and what each sends.
    """

    def __init__(
        self,
        min_v: float | None = None,
        max_v: float | None = None,
        increment: float | None = None,
        length: int | None = None,
        allow_list: str | list[str] | None = None,
        deny_list: str | list[str] | None = None,
        values: Mapping[str, str | int] | None = None,
    ) -> None:
        self.min = min_v
        self.max = max_v
        self.increment = increment
        self.length = length
        self.allow_list = allow_list
        self.deny_list = deny_list
        self.values = values

    def get_constraint_data(self, data_type: EndpointType) -> dict[str, object]:
        """Return the constraints that apply to a type, as the declaration has them; others are left out.

        Raises:
            InvalidEndpoint: an ENUM without values.
        """
        found = {key: getattr(self, name) for key, name in _FIELDS[data_type]}
        if data_type is EndpointType.ENUM and self.values is None:
            raise InvalidEndpoint(_NO_VALUES)
        return {key: value for key, value in found.items() if value is not None}


class EndpointInfo:
    """The declaration of one endpoint, given to `on(event, endpoint_info)`.

    Args:
        name: what people see.
        data_type: the type of the values that the endpoint takes.
        special_id: an id with a meaning to the server's program, or None.
        constraints: limits; required for ENUM, not allowed for BOOLEAN.
        unit: what stands behind the value, such as "°C"; 16 characters at most.
        access: "read" for what is only reported, as of a sensor; "write" for what never reports, as of a button; or
            "read-write".
        class_: what it is, such as "temperature", for programs that show it.
        total: whether it is a meter, which only grows.
        history: whether the server records it; None for as it thinks best.
    """

    def __init__(
        self,
        name: str,
        data_type: EndpointType,
        special_id: str | None = None,
        constraints: EndpointConstraint | None = None,
        *,
        unit: str | None = None,
        access: str = "read-write",
        class_: str | None = None,
        total: bool = False,
        history: bool | None = None,
    ) -> None:
        self.name = name
        self.type = data_type
        self.special_id = special_id
        self.constraints = constraints
        self.unit = unit
        self.access = access
        self.class_ = class_
        self.total = total
        self.history = history

    def get_info(self, endpoint_id: str) -> dict[str, object]:
        """Return the declaration as it travels.

        Args:
            endpoint_id: the event that the endpoint listens to.

        Raises:
            InvalidEndpoint: type and constraints do not fit, or one of the other fields is wrong.
        """
        if not isinstance(self.type, EndpointType):
            raise InvalidEndpoint(f"data_type must be an EndpointType, not {self.type!r}")
        declaration: dict[str, object] = {
            "id": endpoint_id,
            "name": self.name,
            "type": self.type.value,
            "specialId": self.special_id,
            "constraints": self._constraint_data(),
        }
        more = self._more()
        if more:  # a declaration without them is as iot.io-client 0.4.12 made it
            declaration |= more
            try:
                parse_endpoint(declaration)
            except DeclarationError as error:
                raise InvalidEndpoint(str(error)) from None
        return declaration

    def _more(self) -> dict[str, object]:
        fields = {"unit": self.unit, "class": self.class_, "history": self.history}
        more: dict[str, object] = {name: value for name, value in fields.items() if value is not None}
        if self.access != "read-write":
            more["access"] = self.access
        if self.total is not False:
            more["total"] = self.total
        return more

    def _constraint_data(self) -> dict[str, object] | None:
        if self.constraints is None:
            if self.type is EndpointType.ENUM:
                raise InvalidEndpoint(_NO_VALUES)
            return None
        if self.type is EndpointType.BOOLEAN:
            raise InvalidEndpoint(_NO_CONSTRAINTS)
        return self.constraints.get_constraint_data(self.type)
