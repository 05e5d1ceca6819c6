"""JSON as the wire has it: strict in what it accepts, and never another error than ValueError."""

from __future__ import annotations

import gc
import json
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


_LONG = 65536  # characters, of which up to 22 000 objects may come
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
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_too_deep(text):
        raise ValueError("nested too deeply")
    may_be_large = "e" in text or "E" in text or len(text) > _SHORT
    decoder = _decoder_of_large if may_be_large else _decoder
    if len(text) < _LONG or not gc.isenabled():
        return decoder.decode(text)
    # What is read is no garbage and has no cycles, but collections would go through it again and again: they take
    # longer than the reading.
    gc.disable()
    try:
        return decoder.decode(text)
    finally:
        gc.enable()


def _is_too_deep(text: str) -> bool:
    """Return whether a text is nested more than `MAX_DEPTH` levels deep, be it JSON or not."""
    depth = 0
    in_string = escaped = False
    for char in text:
        if in_string:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                in_string = False
        elif char == '"':
            in_string = True
        elif char == "[" or char == "{":  # in C two comparisons; a set would be searched
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif char == "]" or char == "}":  # in C two comparisons; a set would be searched
            depth -= 1
    return False


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
