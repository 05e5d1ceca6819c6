"""The boolean endpoint."""

from __future__ import annotations

from .base import INVALID_TYPE, Endpoint, Verdict
from .responses import EndpointType, ValidationResponse

__all__ = ["BooleanEndpoint"]

_WORDS = {"true": True, "false": False}


class BooleanEndpoint(Endpoint):
    """Takes true and false, the words "true" and "false" in any case, and the integers 1 and 0."""

    __slots__ = ()

    type = EndpointType.BOOLEAN

    def check(self, value: object) -> Verdict:
        if isinstance(value, bool):
            return ValidationResponse.VALID, value
        if isinstance(value, int) and value in (0, 1):
            return ValidationResponse.VALID, value == 1
        if isinstance(value, str) and value.lower() in _WORDS:
            return ValidationResponse.VALID, _WORDS[value.lower()]
        return INVALID_TYPE
