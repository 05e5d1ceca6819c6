"""The float endpoint."""

from __future__ import annotations

from math import isfinite, ulp
from typing import Any, Unpack

from .base import INVALID_TYPE, Endpoint, Fields, Report, Verdict
from .declaration import Declaration
from .errors import DeclarationError
from .responses import EndpointParseResponse, EndpointType, ValidationResponse

__all__ = ["FloatEndpoint"]

_TOLERANCE = 1e-9  # steps; 0.3 is 2.9999999999999996 steps of 0.1


class FloatEndpoint(Endpoint):
    """Takes numbers, and decimal numerals as text ("21.5", " 7 ", "1e3"); no booleans, no infinity and no NaN.

    Args:
        min_v: the smallest allowed value, or None.
        max_v: the largest allowed value, or None.
        increment: values must be a whole number of such steps away from `min_v`, or from 0 where there is
            no `min_v`, but for rounding; None or 0 for no steps. The sign does not matter.
        fields: `unit`, `access`, `class_`, `total` and `history`, as `Endpoint` has them.

    Raises:
        DeclarationError: a limit is no finite number, or as `Endpoint` does.
    """

    __slots__ = ("increment", "max", "min")

    type = EndpointType.FLOAT

    def __init__(
        self,
        endpoint_id: str,
        name: str,
        special_id: str | None = None,
        min_v: float | None = None,
        max_v: float | None = None,
        increment: float | None = None,
        **fields: Unpack[Fields],
    ) -> None:
        super().__init__(endpoint_id, name, special_id, **fields)
        self.min = self._limit(min_v, EndpointParseResponse.CONSTRAINT_MIN_MUST_BE_NUMBER)
        self.max = self._limit(max_v, EndpointParseResponse.CONSTRAINT_MAX_MUST_BE_NUMBER)
        self.increment = self._limit(increment, EndpointParseResponse.CONSTRAINT_INCREMENT_MUST_BE_NUMBER)

    def check(self, value: object) -> Verdict:
        number = _as_float(value)
        if number is None:
            return INVALID_TYPE
        if self.min is not None and number < self.min:
            return ValidationResponse.LOWER_THAN_MIN, None
        if self.max is not None and number > self.max:
            return ValidationResponse.HIGHER_THAN_MAX, None
        if self.increment and not _is_step(number, self.min or 0.0, self.increment):
            return ValidationResponse.INVALID_INCREMENT, None
        return ValidationResponse.VALID, number

    def report(self, value: object) -> Report | None:
        number = _as_float(value)
        if number is None:
            return None
        return Report(number, out_of_range=self.check(number)[0] is not ValidationResponse.VALID)

    def _describe_constraints(self) -> dict[str, Any]:
        return {"min": self.min, "max": self.max, "increment": self.increment}

    @classmethod
    def _read_constraints(cls, declaration: Declaration) -> dict[str, Any]:
        given = declaration.constraints()
        return {"min_v": given.get("min"), "max_v": given.get("max"), "increment": given.get("increment")}

    def _limit(self, value: object, problem: EndpointParseResponse) -> float | None:
        if value is None:
            return None
        number = None if isinstance(value, str) else _as_float(value)
        if number is None:
            raise DeclarationError(self.id, problem)
        return number


def _as_float(value: object) -> float | None:
    """Return the finite number that a value stands for, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):  # no numeral; an integer beyond the range of floats
        return None
    return number if isfinite(number) else None


def _is_step(number: float, start: float, increment: float) -> bool:
    """Return whether a number is a whole number of steps away from the start, but for the rounding of floats."""
    steps = (number - start) / increment
    if not isfinite(steps):  # so small a step that every float is one
        return True
    rounding = 4 * ulp(max(abs(number), abs(start)) / abs(increment))
    return abs(steps - round(steps)) <= max(_TOLERANCE, rounding)  # that of millions of steps is larger
