"""JSON as the wire has it: strict in what it accepts, and never another error than ValueError."""

from __future__ import annotations

import gc
import json
import re
from math import isinf
from typing import Any, NoReturn

__all__ = ["check", "dumps", "encode", "loads", "parse", "size_of"]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


MAX_DEPTH = 128  # levels; deeper than any device needs, and whatever is read can be written and shown again
MAX_DIGITS = 309  # before the point; the range of floats ends with so many, and to read more takes their square in time


_TOO_LARGE = "a number is beyond the range of floats: {:.40}"


def _finite(text: str) -> float:
    value = float(text)
    if isinf(value):
        raise ValueError(_TOO_LARGE.format(text))
    return value


_LONG = 16384  # characters, of which up to 5 500 objects may come
_SHORT = 300  # characters in which no number is too large for a float, unless it has an exponent
_STRIDE = 31  # characters; of more than 309 digits in a row 9 are met at least, and hardly ever of anything else
_has_digits_in_a_row = re.compile("[0-9]{9}").search
_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_decoder_of_large = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)  # slower
_encoder = json.JSONEncoder(allow_nan=False)
_utf8_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_quoted = json.encoder.encode_basestring
_short_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def loads(text: str | bytes) -> Any:
    """Parse one JSON value.

    Raises:
        ValueError: not JSON; NaN, Infinity, or a number that a float takes for it, such as 1e999 or an integer of more
            than 309 digits; bytes that are not UTF-8; nested more than 128 levels deep.
    """
    if isinstance(text, bytes):
        text = text.decode()  # UnicodeDecodeError is a ValueError
    is_long = len(text) > _SHORT
    if text.count("[") + text.count("{") > MAX_DEPTH or (is_long and _has_digits_in_a_row(text[::_STRIDE])):
        check(text)
    return parse(text)


def parse(text: str) -> Any:
    """Parse one JSON value of a text that `check` takes. Raises ValueError as `loads` does."""
    may_be_large = len(text) > _SHORT or "e" in text or "E" in text
    decoder = _decoder_of_large if may_be_large else _decoder
    if len(text) < _LONG or not gc.isenabled():
        return _read(decoder, text)
    # What is read is no garbage and has no cycles, but collections would go through it again and again: they take
    # longer than the reading.
    gc.disable()
    try:
        return _read(decoder, text)
    finally:
        gc.enable()
        gc.collect(0)  # it is due, and the next one would have to go through more


def _read(decoder: json.JSONDecoder, text: str) -> Any:
    """Do what `decoder.decode` does, without its two searches for blanks where there are none around the value."""
    try:
        value, end = decoder.scan_once(text, 0)  # type: ignore[attr-defined]
    except StopIteration:
        end = -1
    return value if end == len(text) else decoder.decode(text)


def check(text: str) -> None:
    """Refuse what takes the reader long or deep, be it JSON or not.

    Raises:
        ValueError: it is nested more than `MAX_DEPTH` levels deep, or a number has more than `MAX_DIGITS` digits.
    """
    depth = 0
    digits = 0  # of the integer that this may be
    in_string = escaped = in_float = False
    for at, char in enumerate(text):
        if in_string:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                in_string = False
        elif "0" <= char <= "9":
            digits += 1
            if digits > MAX_DIGITS and not in_float:
                raise ValueError(_TOO_LARGE.format(text[at - MAX_DIGITS :]))
        elif char == "." or char == "e" or char == "E":  # in C comparisons; a set would be searched
            in_float = True
        elif char != "+" and char != "-":
            digits = 0
            in_float = False
            if char == '"':
                in_string = True
            elif char == "[" or char == "{":
                depth += 1
                if depth > MAX_DEPTH:
                    raise ValueError("nested too deeply")
            elif char == "]" or char == "}":
                depth -= 1


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
        text = _flat(value) if type(value) is dict else None
        return (_dump(_utf8_encoder, value) if text is None else text).encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair is no text") from None


def _flat(fields: dict[Any, Any]) -> str | None:
    """Write an object of texts and whole numbers as `_utf8_encoder` does; None if there is anything else in it.

    Most objects that devices are sent are like this one, and an encoder takes longer to begin than to write them.
    """
    parts = []
    for name, value in fields.items():
        kind = type(value)
        if type(name) is not str:
            return None
        if kind is str:
            text = _quoted(value)
        elif kind is int:
            text = str(value)
        elif value is None:
            text = "null"
        else:
            return None
        parts.append(f"{_quoted(name)}: {text}")
    return "{" + ", ".join(parts) + "}"


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
