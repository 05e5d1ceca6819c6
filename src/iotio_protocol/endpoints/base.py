"""The base class of the endpoints that devices declare, and the verdicts of checking a value against one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypedDict, Unpack

from iotio_protocol.values import Value

from .declaration import Declaration
from .errors import DeclarationError
from .responses import EndpointParseResponse, EndpointType, ValidationResponse

__all__ = ["INT64_MAX", "INT64_MIN", "INVALID_TYPE", "MAX_TEXT", "Endpoint", "Fields", "Report", "Verdict", "text_fits"]

Verdict = tuple[ValidationResponse, Value]
"""The answer of a check: the response, and the value as it is to be sent (None unless VALID)."""

INVALID_TYPE: Verdict = (ValidationResponse.INVALID_TYPE, None)

# What an integer of the protocol can hold.
INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1

MAX_TEXT = 1024  # bytes of UTF-8 of a reported text: the last report of each endpoint of each device is kept
_MAX_UNIT = 16  # characters, as much as stands behind a number on a page
_ACCESS = ("read", "write", "read-write")


@dataclass(frozen=True, slots=True)
class Report:
    """What a device says that the value of an endpoint is.

    Attributes:
        value: as the endpoint's type has it.
        out_of_range: whether it breaks the constraints of the declaration. It is the value all the same.
    """

    value: Value
    out_of_range: bool


class Fields(TypedDict, total=False):
    """The fields of a declaration that every type of endpoint may have; see `Endpoint`."""

    unit: str | None
    access: str
    class_: str | None
    total: bool
    history: bool | None


class Endpoint(ABC):
    """One thing of a device that can be set or read: it checks, converts and describes itself.

    The first three parameters and attributes are those of the validators of iot.io 0.4.10.

    Args:
        endpoint_id: the endpoint's id, and the event under which values travel.
        name: the name for people.
        special_id: a mark that the device's maker gives a meaning to.
        unit: what stands behind the value, such as "°C"; at most 16 characters.
        access: "read" for a sensor, which is never set; "write" for what never reports, such as a button;
            "read-write", unless it is given.
        class_: what is measured or set, such as "temperature"; passed through.
        total: whether it is a meter: it only grows, and a fall means that it has started again from 0.
        history: whether its reports are recorded; None for yes, unless access is "write".

    Raises:
        DeclarationError: one of the last five is wrong; it is a ValueError.
    """

    __slots__ = ("__weakref__", "access", "class_", "history", "id", "name", "special_id", "total", "unit")

    type: ClassVar[EndpointType]

    def __init__(self, endpoint_id: str, name: str, special_id: str | None = None, **fields: Unpack[Fields]) -> None:
        self.id = endpoint_id
        self.name = name
        self.special_id = special_id
        self.unit: str | None = None
        self.access = "read-write"
        self.class_: str | None = None
        self.total = False
        self.history = True
        if fields:  # devices of iot.io 0.4 declare none of them
            self._set(fields)

    def _set(self, fields: Fields) -> None:
        problem = _problem_of(fields)
        if problem is not None:
            raise DeclarationError(self.id, problem)
        self.unit = fields.get("unit")
        self.access = fields.get("access", "read-write")
        self.class_ = fields.get("class_")
        self.total = fields.get("total", False)
        history = fields.get("history")
        self.history = self.access != "write" if history is None else history

    @abstractmethod
    def check(self, value: object) -> Verdict:
        """Check a value that is to be set, and convert it to the endpoint's type.

        Args:
            value: any value at all; a query string or a form yields text, which is converted.

        Returns:
            `(VALID, value to send)`, or what is wrong and None. Never raises.
        """

    def report(self, value: object) -> Report | None:
        """Take a value that the device reports, and convert it to the endpoint's type.

        This is looser than `check`: the device is right, so that a value of the type that breaks the constraints is
        taken and marked.

        Args:
            value: any value at all; text is converted, as protocols v0 and v1 carry no float alone.

        Returns:
            None if the value does not fit the type, or is an integer of more than 64 bits or a text of more than
            1024 bytes. Never raises.
        """
        verdict, converted = self.check(value)
        return Report(converted, out_of_range=False) if verdict is ValidationResponse.VALID else None

    def validate(self, data: object) -> Verdict:
        """Check a value, under the name that `check` had in iot.io 0.4; a program may override it."""
        return self.check(data)

    def describe(self) -> dict[str, Any]:
        """Return the declaration of this endpoint, as JSON can carry it; `parse_endpoint` takes it back.

        The keys that iot.io 0.4 does not have are there only where they are not as they are by default.
        """
        found: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "type": self.type.value,
            "specialId": self.special_id,
            "constraints": self._describe_constraints(),
        }
        if self.unit is not None:
            found["unit"] = self.unit
        if self.access != "read-write":
            found["access"] = self.access
        if self.class_ is not None:
            found["class"] = self.class_
        if self.total:
            found["total"] = True
        if self.history != (self.access != "write"):
            found["history"] = self.history
        return found

    def _describe_constraints(self) -> dict[str, Any] | None:
        return None

    @classmethod
    def from_declaration(cls, declaration: object) -> Self:
        """Build the endpoint from a declaration; its `type` is not looked at (see `parse_endpoint`).

        Raises:
            DeclarationError: the declaration breaks the rules.
        """
        source = Declaration.of(declaration)
        return cls(*source.identity(), **cls._read_constraints(source) | source.optional())

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


def text_fits(text: str) -> bool:
    """Return whether a text may be reported: it is Unicode, and not longer than `MAX_TEXT`."""
    if len(text) > MAX_TEXT:
        return False
    try:
        return len(text.encode()) <= MAX_TEXT
    except UnicodeEncodeError:  # half of a surrogate pair: JSON can spell it, UTF-8 cannot
        return False


def _problem_of(fields: Mapping[str, object]) -> EndpointParseResponse | None:
    """Return what is wrong with the fields, whatever they hold, or None."""
    unit, class_, history = fields.get("unit"), fields.get("class_"), fields.get("history")
    if unit is not None and not isinstance(unit, str):
        return EndpointParseResponse.UNIT_MUST_BE_STRING
    if unit is not None and len(unit) > _MAX_UNIT:
        return EndpointParseResponse.UNIT_TOO_LONG
    if fields.get("access", "read-write") not in _ACCESS:
        return EndpointParseResponse.INVALID_ACCESS
    if class_ is not None and not isinstance(class_, str):
        return EndpointParseResponse.CLASS_MUST_BE_STRING
    if not isinstance(fields.get("total", False), bool):
        return EndpointParseResponse.TOTAL_MUST_BE_BOOLEAN
    if history is not None and not isinstance(history, bool):
        return EndpointParseResponse.HISTORY_MUST_BE_BOOLEAN
    return None
