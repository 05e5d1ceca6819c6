"""JSON read and written in pieces of a few milliseconds: others have their turn in between.

One call of Python's reader or writer is one piece of C, and keeps the whole process from everything else: 1 MiB takes
20 to 70 ms. Here large lists and objects are taken apart into groups of entries, and each group is such a call. What
comes out, and what is refused, is what `strict_json` says.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any, TypeAlias

from . import strict_json

__all__ = ["AT_ONCE", "Pieces", "Written", "is_heavy", "read", "write"]

Pieces: TypeAlias = Generator[None, None, Any]
"""Yields between two pieces; returns the whole."""

AT_ONCE = 64 * 1024
"""Characters that are read at once, if a text can be taken apart: 1 to 3 ms."""

_MOST = 4096  # values that are written at once: 1 ms
_DEEPEST = 200  # levels that are counted; what is nested deeper is taken apart
_MOST_LEVELS = 900  # of generators in each other, which is about what `strict_json` writes
_BLANKS = " \t\n\r"
_CLOSING = {"[": "]", "{": "}"}


class Written:
    """A value with its JSON, for where the value is to be encoded.

    Attributes:
        value: a dict or a list.
        body: its JSON in UTF-8; b"" if it has none.
        error: why it has none; "" if it has.
    """

    __slots__ = ("body", "error", "value")

    def __init__(self, value: object, body: bytes, error: str = "") -> None:
        self.value = value
        self.body = body
        self.error = error


def read(text: bytes | str) -> Pieces:
    """Read one JSON value as `strict_json.loads` does.

    Raises:
        ValueError: as there.
    """
    if isinstance(text, bytes):
        text = text.decode()  # UnicodeDecodeError is a ValueError
    if len(text) <= AT_ONCE:
        return strict_json.loads(text)
    yield
    strict_json.check(text)
    start = _behind_blanks(text, 0)
    if text[start : start + 1] not in _CLOSING:
        return strict_json.parse(text)  # one number, or one string: the quickest there is to read
    value, end = yield from _read_container(text, start)
    end = _behind_blanks(text, end)
    if end != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


def _read_container(text: str, start: int) -> Generator[None, None, tuple[Any, int]]:
    """Read a list or an object. Returns it, and the position behind it."""
    opening = text[start]
    closing = _CLOSING[opening]
    entries: list[Any] = []
    fields: dict[str, Any] = {}
    at = start + 1
    while True:
        end, inner = _group(text, at)
        if inner >= 0:
            before = text[at:inner]
            value, end = yield from _read_container(text, inner)
            if opening == "{":
                fields[_key(text, at, before)] = value
            elif before.strip(_BLANKS):
                raise json.JSONDecodeError("Expecting ',' delimiter", text, inner)
            else:
                entries.append(value)
            end = _behind_blanks(text, end)
        else:
            found = _loads(text, at, opening + text[at:end] + closing)
            if not found and (at > start + 1 or text[end : end + 1] == ","):
                raise json.JSONDecodeError("Expecting value", text, end)
            if opening == "{":
                fields.update(found)
            else:
                entries.extend(found)
            yield
        behind = text[end : end + 1]
        if behind == closing:
            return (fields if opening == "{" else entries), end + 1
        if behind != ",":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, end)
        at = end + 1


def _key(text: str, at: int, before: str) -> str:
    """Read what stands before the value of a large entry of an object."""
    key: str
    (key,) = _loads(text, at, "{" + before + "null}")
    return key


def _loads(text: str, at: int, piece: str) -> Any:
    """Read what was cut out of a text, and one bracket before it; an error names the place in the whole text."""
    try:
        return strict_json.parse(piece)
    except json.JSONDecodeError as error:
        raise json.JSONDecodeError(error.msg, text, min(at + error.pos - 1, len(text))) from None


def _behind_blanks(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANKS:
        at += 1
    return at


def _group(text: str, start: int) -> tuple[int, int]:
    """Find the next entries of a list or an object that can be read at once.

    Args:
        text: all of it.
        start: where an entry begins.

    Returns:
        Where they end: at a comma, at a closing bracket, or at the end of the text; and -1. If the first entry is
        or has a list or an object that is too large: anything, and where that begins.
    """
    depth = 0
    most = AT_ONCE
    entry = start
    opening = start  # of the outermost bracket that is open
    in_string = escaped = False
    at = start
    size = len(text)
    while at < size:
        char = text[at]
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
            if depth == 0:
                opening = at
            depth += 1
        elif char == "]" or char == "}":  # in C two comparisons; a set would be searched
            if depth == 0:
                return at, -1
            depth -= 1
        elif char == "," and depth == 0:
            if at - start >= most:
                return at, -1
            entry = at + 1
        if depth and at - opening >= most:
            if entry != start:
                return entry - 1, -1
            return at, opening
        at += 1
    return size, -1


def is_heavy(value: object) -> bool:
    """Return whether a value is to be written in pieces: it holds thousands of others."""
    return isinstance(value, (dict, list)) and _weigh(value, _MOST, 0) < 0


def write(value: object, *, ascii_only: bool) -> Pieces:
    """Write a dict or a list as `strict_json` does; nobody may change it meanwhile.

    Args:
        value: the value.
        ascii_only: whether it is written as `strict_json.dumps` does, or as `strict_json.encode`.

    Returns:
        Through the generator: `Written`, with the error if it has no JSON.
    """
    parts: list[bytes] = []
    try:
        yield from _write(value, parts, ascii_only, set())
    except ValueError as error:
        return Written(value, b"", str(error))
    return Written(value, b"".join(parts))


def _write(value: Any, parts: list[bytes], ascii_only: bool, around: set[int]) -> Generator[None, None, None]:
    """Write a dict or a list into `parts`; `around` holds the ids of those that it is in."""
    if id(value) in around:
        raise ValueError("Circular reference detected")
    if len(around) > _MOST_LEVELS:
        raise ValueError("nested too deeply")
    around.add(id(value))
    if isinstance(value, dict):
        opening, closing, entries = b"{", b"}", list(value.values())
        keys: list[Any] = list(value)
    else:
        opening, closing, entries = b"[", b"]", list(value)
        keys = []
    before = opening
    group: Any = {} if keys else []
    left = _MOST
    for index, entry in enumerate(entries):
        left = _weigh(entry, left - 1, 0)
        if left < 0 and group:
            parts += before, _dump(group, ascii_only)[1:-1]
            before, group = b", ", {} if keys else []
            yield
            left = _weigh(entry, _MOST, 0)
        if left < 0 and isinstance(entry, (dict, list, tuple)):
            parts += before, _dump({keys[index]: None}, ascii_only)[1:-5] if keys else b""
            yield from _write(entry, parts, ascii_only, around)
            before, left = b", ", _MOST
        elif keys:
            group[keys[index]] = entry
        else:
            group.append(entry)
    if group:
        parts += before, _dump(group, ascii_only)[1:-1]
        yield
    elif before is opening:
        parts.append(opening)
    parts.append(closing)
    around.discard(id(value))


def _dump(value: object, ascii_only: bool) -> bytes:
    return strict_json.dumps(value).encode() if ascii_only else strict_json.encode(value)


def _weigh(value: Any, left: int, depth: int) -> int:
    """Take what a value weighs from what is left. Returns below 0 for one that is nested deeper than is counted."""
    if isinstance(value, str):
        return left - 1 - len(value) // 64
    left -= 1
    if isinstance(value, (dict, list, tuple)):
        if depth == _DEEPEST or left < len(value):
            return -1
        for inner in list(value.values() if isinstance(value, dict) else value):
            left = _weigh(inner, left, depth + 1)
            if left < 0:
                break
    return left
