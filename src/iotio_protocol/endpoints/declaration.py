"""Read access to a declaration from the wire, where every field may be anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .errors import DeclarationError
from .responses import EndpointParseResponse

__all__ = ["Declaration"]

# Key in a declaration, and the argument of an endpoint's constructor, which checks it.
_OPTIONAL = {"unit": "unit", "access": "access", "class": "class_", "total": "total", "history": "history"}
_NO_ID = "no_id_provided"  # what iot.io 0.4 tells a device whose declaration has no id


@dataclass(frozen=True, slots=True)
class Declaration:
    """One declaration: `{id, name, type, specialId?, constraints?}` and `_OPTIONAL`; other keys are ignored."""

    fields: dict[Any, Any]

    @classmethod
    def of(cls, value: object) -> Declaration:
        """Wrap a JSON value.

        Raises:
            DeclarationError: it is not an object.
        """
        if not isinstance(value, dict):
            raise DeclarationError(_NO_ID, EndpointParseResponse.INVALID_STRUCTURE)
        return cls(value)

    def refuse(self, problem: EndpointParseResponse) -> DeclarationError:
        """Return the error to raise for a problem with this declaration."""
        return DeclarationError(self.fields.get("id", _NO_ID), problem)

    def identity(self) -> tuple[str, str, str | None]:
        """Return id, name and special id, checked in the order of iot.io 0.4.10.

        Raises:
            DeclarationError: one is missing or not a string.
        """
        if "id" not in self.fields:
            raise self.refuse(EndpointParseResponse.NO_ID_SPECIFIED)
        if "name" not in self.fields:
            raise self.refuse(EndpointParseResponse.NO_NAME_SPECIFIED)
        special_id = self.fields.get("specialId")
        return (
            self._string(self.fields["id"], EndpointParseResponse.ID_MUST_BE_STRING),
            self._string(self.fields["name"], EndpointParseResponse.NAME_MUST_BE_STRING),
            None if special_id is None else self._string(special_id, EndpointParseResponse.SPECIAL_ID_MUST_BE_STRING),
        )

    def optional(self) -> dict[str, Any]:
        """Return the constructor's arguments for the keys that iot.io 0.4 does not have; null is as if left out."""
        fields = self.fields
        if fields.keys().isdisjoint(_OPTIONAL):
            return {}
        return {argument: fields[key] for key, argument in _OPTIONAL.items() if fields.get(key) is not None}

    def constraints(self) -> dict[Any, Any]:
        """Return the constraints; empty where they are missing or null.

        Raises:
            DeclarationError: they are not an object.
        """
        constraints = self.fields.get("constraints")
        if constraints is None:
            return {}
        if not isinstance(constraints, dict):
            raise self.refuse(EndpointParseResponse.INVALID_STRUCTURE)
        return constraints

    def integer(self, value: object, problem: EndpointParseResponse) -> int | None:
        """Return a constraint that is an integer or null; a boolean is an integer here, 1.0 is none, as in 0.4.10.

        Raises:
            DeclarationError: it is neither.
        """
        if value is None or isinstance(value, int):
            return value
        raise self.refuse(problem)

    def _string(self, value: object, problem: EndpointParseResponse) -> str:
        if not isinstance(value, str):
            raise self.refuse(problem)
        return value
