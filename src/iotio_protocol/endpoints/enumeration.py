"""The enum endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from .base import INT64_MAX, INT64_MIN, Endpoint, Fields, Report, Verdict, text_fits
from .declaration import Declaration
from .responses import EndpointParseResponse, EndpointType, ValidationResponse

__all__ = ["EnumEndpoint"]


class EnumEndpoint(Endpoint):
    """Takes one of the declared values (not their labels); `1.0`, or a numeral as text, stands for an integer value.

    Args:
        values: label to value; a value is a str or an int.
        fields: `unit`, `access`, `class_`, `total` and `history`, as `Endpoint` has them.
    """

    __slots__ = ("values",)

    type = EndpointType.ENUM

    def __init__(
        self,
        endpoint_id: str,
        name: str,
        special_id: str | None,
        values: Mapping[str, int | str],
        **fields: Unpack[Fields],
    ) -> None:
        super().__init__(endpoint_id, name, special_id, **fields)
        self.values = values

    def check(self, value: object) -> Verdict:
        if isinstance(value, float):
            whole = int(value) if value.is_integer() else None
            value = whole if whole is not None and self._holds(whole) else str(value)
        if isinstance(value, (str, int)) and self._holds(value):
            return ValidationResponse.VALID, value
        if isinstance(value, str):
            try:
                number = int(value)
            except ValueError:
                number = None
            if number is not None and self._holds(number):
                return ValidationResponse.VALID, number
        return ValidationResponse.INVALID_ENUM_VALUE, None

    def report(self, value: object) -> Report | None:
        verdict, known = self.check(value)
        if verdict is ValidationResponse.VALID:
            return Report(known, out_of_range=False)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, str):
            return Report(value, out_of_range=True) if text_fits(value) else None
        if isinstance(value, int) and not isinstance(value, bool) and INT64_MIN <= value <= INT64_MAX:
            return Report(value, out_of_range=True)
        return None

    def _holds(self, value: str | int) -> bool:
        # True equals 1 in Python, but a device that declares 1 is not sent a boolean.
        is_bool = isinstance(value, bool)
        return any(known == value and isinstance(known, bool) == is_bool for known in self.values.values())

    def _describe_constraints(self) -> dict[str, Any]:
        return {"values": dict(self.values)}

    @classmethod
    def _read_constraints(cls, declaration: Declaration) -> dict[str, Any]:
        values = declaration.constraints().get("values")
        problem = EndpointParseResponse
        if values is None:
            raise declaration.refuse(problem.ENUM_TYPE_REQUIRES_VALUES_CONSTRAINT)
        if not isinstance(values, dict):
            raise declaration.refuse(problem.CONSTRAINT_VALUES_MUST_BE_DICT)
        for label, value in values.items():
            if not isinstance(label, str):
                raise declaration.refuse(problem.CONSTRAINT_VALUES_KEYS_MUST_BE_STRINGS)
            if not isinstance(value, (str, int)):
                raise declaration.refuse(problem.CONSTRAINT_VALUES_VALUES_MUST_BE_INT_OR_STRING)
        return {"values": values}
