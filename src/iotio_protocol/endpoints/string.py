"""The string endpoint."""

from __future__ import annotations

from typing import Any, Unpack

from .base import INVALID_TYPE, Endpoint, Fields, Report, Verdict, text_fits
from .declaration import Declaration
from .responses import EndpointParseResponse, EndpointType, ValidationResponse

__all__ = ["StringEndpoint"]

Filter = str | list[str]
"""A str stands for its characters, a list for whole words."""


class StringEndpoint(Endpoint):
    """Takes text; numbers and booleans become the text that Python writes for them, as in iot.io 0.4.

    Args:
        length: the exact number of characters, or None.
        allow_list: the only characters (a str) or words (a list) that are allowed, or None.
        deny_list: the characters (a str) or words (a list) that are not allowed, or None.
        fields: `unit`, `access`, `class_`, `total` and `history`, as `Endpoint` has them.
    """

    __slots__ = ("allow_list", "deny_list", "length")

    type = EndpointType.STRING

    def __init__(
        self,
        endpoint_id: str,
        name: str,
        special_id: str | None = None,
        length: int | None = None,
        allow_list: Filter | None = None,
        deny_list: Filter | None = None,
        **fields: Unpack[Fields],
    ) -> None:
        super().__init__(endpoint_id, name, special_id, **fields)
        self.length = length
        self.allow_list = allow_list
        self.deny_list = deny_list

    def check(self, value: object) -> Verdict:
        text = _as_text(value)
        if text is None:
            return INVALID_TYPE
        if self.length is not None and len(text) != self.length:
            return ValidationResponse.INVALID_LENGTH, None
        if self.allow_list is not None and not _allowed(text, self.allow_list):
            return ValidationResponse.VIOLATES_ALLOW_LIST, None
        if self.deny_list is not None and _denied(text, self.deny_list):
            return ValidationResponse.VIOLATES_DENY_LIST, None
        return ValidationResponse.VALID, text

    def report(self, value: object) -> Report | None:
        text = _as_text(value)
        if text is None or not text_fits(text):
            return None
        return Report(text, out_of_range=self.check(text)[0] is not ValidationResponse.VALID)

    def _describe_constraints(self) -> dict[str, Any]:
        return {
            "length": self.length,
            "allowList": _copy(self.allow_list),
            "denyList": _copy(self.deny_list),
        }

    @classmethod
    def _read_constraints(cls, declaration: Declaration) -> dict[str, Any]:
        given = declaration.constraints()
        problem = EndpointParseResponse
        length = declaration.integer(given.get("length"), problem.CONSTRAINT_LENGTH_MUST_BE_INT)
        allow_list, deny_list = given.get("allowList"), given.get("denyList")
        if allow_list is not None and deny_list is not None:
            raise declaration.refuse(problem.CONSTRAINT_BOTH_ALLOW_LIST_AND_DENY_LIST_SPECIFIED)
        for words in (allow_list, deny_list):
            _check_filter(declaration, words)
        return {"length": length, "allow_list": allow_list, "deny_list": deny_list}


def _as_text(value: object) -> str | None:
    """Return the text that a value stands for, if that can be sent, or None."""
    if isinstance(value, (bool, int, float)):
        try:
            return str(value)
        except ValueError:  # an integer with more digits than Python converts
            return None
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: JSON can spell it, UTF-8 cannot
        return None
    return value


def _allowed(text: str, allowed: Filter) -> bool:
    return set(text) <= set(allowed) if isinstance(allowed, str) else text in allowed


def _denied(text: str, denied: Filter) -> bool:
    return not set(text).isdisjoint(denied) if isinstance(denied, str) else text in denied


def _copy(words: Filter | None) -> Filter | None:
    return words if words is None or isinstance(words, str) else list(words)


def _check_filter(declaration: Declaration, words: object) -> None:
    if words is None or isinstance(words, str):
        return
    if not isinstance(words, list):
        raise declaration.refuse(EndpointParseResponse.CONSTRAINT_LIST_MUST_BE_STRING_OR_LIST)
    if not all(isinstance(word, str) for word in words):
        raise declaration.refuse(EndpointParseResponse.CONSTRAINT_LIST_MUST_ONLY_CONTAIN_STRINGS)
