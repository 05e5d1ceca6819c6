"""JSON as the wire has it: strict in what it accepts, and never another error than ValueError."""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import isinf
from typing import Any, NoReturn

__all__ = ["dumps", "encode", "loads", "size_of"]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


MAX_DEPTH = 128  # levels; deeper than any device needs, and whatever is read can be written and shown again


def _finite(text: str) -> float:
    value = float(text)
    if isinf(value):
        raise ValueError(f"a number is beyond the range of floats: {text:.40}")
    return value


_SHORT = 300  # characters in which no number is too large for a float, unless it has an exponent
_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_decoder_of_large = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)  # slower
_encoder = json.JSONEncoder(allow_nan=False)
_utf8_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_short_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def loads(text: str | bytes) -> Any:
    """Parse one JSON value.

    Raises:
        ValueError: not JSON; NaN, Infinity, or a number that a float takes for it, such as 1e999; bytes that are not
            UTF-8; nested more than 128 levels deep; an integer with more digits than Python converts.
    """
    if isinstance(text, bytes):
        text = text.decode()  # UnicodeDecodeError is a ValueError
    may_be_large = "e" in text or "E" in text or len(text) > _SHORT
    try:
        value = (_decoder_of_large if may_be_large else _decoder).decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if text.count("[") + text.count("{") > MAX_DEPTH:  # only then it can be too deep
        _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for outer in level for item in _items(outer)]
        if not level:
            return
    if any(isinstance(item, (list, dict)) for item in level):
        raise ValueError("nested too deeply")


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, list):
        return value
    return value.values() if isinstance(value, dict) else ()


def dumps(value: object) -> str:
    """Write a value as JSON, in the spelling of `json.dumps` (ASCII escapes, a blank after `,` and `:`).

    Raises:
        ValueError: something in it has no JSON form (NaN and Infinity included), or it contains itself.
    """
    return _dump(_encoder, value)


def encode(value: object) -> bytes:
    """Write a value as JSON in UTF-8: what is not ASCII is not escaped.

    Raises:
        ValueError: as `dumps` does, and for half of a surrogate pair in a text, which has no UTF-8.
    """
    try:
        return _dump(_utf8_encoder, value).encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair is no text") from None


def _dump(encoder: json.JSONEncoder, value: object) -> str:
    try:
        return encoder.encode(value)
    except TypeError as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def size_of(value: object) -> int:
    """Return how many bytes a value of `loads` has as the shortest JSON in UTF-8: without blanks and ASCII escapes."""
    return len(_short_encoder.encode(value).encode("utf-8", "surrogatepass"))
