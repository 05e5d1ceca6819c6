"""The integer endpoint."""

from __future__ import annotations

from typing import Any, Unpack

from .base import INT64_MAX, INT64_MIN, INVALID_TYPE, Endpoint, Fields, Report, Verdict
from .declaration import Declaration
from .responses import EndpointParseResponse, EndpointType, ValidationResponse

__all__ = ["IntegerEndpoint"]


class IntegerEndpoint(Endpoint):
    """Takes integers, floats without a fraction, and decimal numerals as text ("7", " 7 ", "+7").

    Args:
        min_v: the smallest allowed value, or None.
        max_v: the largest allowed value, or None.
        increment: values must be a whole number of such steps away from `min_v`, or from 0 where there is
            no `min_v`; None or 0 for no steps. The sign does not matter.
        fields: `unit`, `access`, `class_`, `total` and `history`, as `Endpoint` has them.
    """

    __slots__ = ("increment", "max", "min")

    type = EndpointType.INTEGER

    def __init__(
        self,
        endpoint_id: str,
        name: str,
        special_id: str | None = None,
        min_v: int | None = None,
        max_v: int | None = None,
        increment: int | None = None,
        **fields: Unpack[Fields],
    ) -> None:
        super().__init__(endpoint_id, name, special_id, **fields)
        self.min = min_v
        self.max = max_v
        self.increment = increment

    def check(self, value: object) -> Verdict:
        number = _as_integer(value)
        if number is None:
            return INVALID_TYPE
        if self.min is not None and number < self.min:
            return ValidationResponse.LOWER_THAN_MIN, None
        if self.max is not None and number > self.max:
            return ValidationResponse.HIGHER_THAN_MAX, None
        if not INT64_MIN <= number <= INT64_MAX:
            return INVALID_TYPE
        if self.increment and (number - (self.min or 0)) % self.increment:
            return ValidationResponse.INVALID_INCREMENT, None
        return ValidationResponse.VALID, number

    def report(self, value: object) -> Report | None:
        number = _as_integer(value)
        if number is None or not INT64_MIN <= number <= INT64_MAX:
            return None
        return Report(number, out_of_range=self.check(number)[0] is not ValidationResponse.VALID)

    def _describe_constraints(self) -> dict[str, Any]:
        return {"min": self.min, "max": self.max, "increment": self.increment}

    @classmethod
    def _read_constraints(cls, declaration: Declaration) -> dict[str, Any]:
        given = declaration.constraints()
        problem = EndpointParseResponse
        return {
            "min_v": declaration.integer(given.get("min"), problem.CONSTRAINT_MIN_MUST_BE_INT),
            "max_v": declaration.integer(given.get("max"), problem.CONSTRAINT_MAX_MUST_BE_INT),
            "increment": declaration.integer(given.get("increment"), problem.CONSTRAINT_INCREMENT_MUST_BE_INT),
        }


def _as_integer(value: object) -> int | None:
    """Return the integer that a value stands for without loss, or None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:  # also: more digits than Python converts
            return None
    return None
