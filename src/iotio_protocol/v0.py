r"""Packets of protocol v0 (iot.io 0.0.15 to 0.3.1): text, `[/"` argument `"/]`, one after the other.

A message has two arguments (event and value), the handshake three (id, type and data). No argument can hold
`[` or `]`; see docs/protocol/v0.md for what that means for values.
"""

from __future__ import annotations

import re
from typing import Any

from . import json_pieces
from . import strict_json as json
from .errors import EncodeError, InvalidPacket
from .options import DEFAULT_OPTIONS, Options
from .unread import LARGE, Unread, finish
from .values import Value

__all__ = ["decode", "decode_handshake", "encode", "encode_handshake"]

_ARGUMENT = re.compile(r'\[/"([^\[\]]*)"/\]')  # the original's own pattern: junk between arguments is skipped
_MAX_SCAN = 5  # no packet has more arguments; a longer list need not be built


def encode(event: str, value: Value) -> str:
    """Build one message.

    A str with brackets travels as a JSON string with escapes, which the 0.1.0 device library reads back.

    Args:
        event: the event's name, without `[` and `]`.
        value: bool, int, float, str, or a dict that holds no list.

    Raises:
        EncodeError: the event or the value cannot travel in v0.
    """
    if not isinstance(event, str):
        raise EncodeError(f"an event's name must be a str, not {type(event).__name__}")
    if "[" in event or "]" in event:
        raise EncodeError("protocol v0 cannot carry an event's name with '[' or ']'")
    return _sendable(_argument(event) + _argument(_write(value)))


def decode(text: str, options: Options = DEFAULT_OPTIONS, *, later: bool = False) -> tuple[str, Value]:
    """Read one message.

    Args:
        text: a whole text message.
        options: `max_event` and `max_payload` apply.
        later: whether a large value is returned as `Unread`.

    Returns:
        The event's name and the value: what the text means as JSON, or the text itself.

    Raises:
        InvalidPacket: not two arguments, or one over its limit.
    """
    arguments = _arguments(text, 2)
    event, value = arguments
    if len(event.encode(errors="replace")) > options.max_event:
        raise InvalidPacket(f"an event's name may have {options.max_event} bytes, this one has more")
    if len(value.encode(errors="replace")) > options.max_payload:
        raise InvalidPacket(f"a value may have {options.max_payload} bytes, this one has more")
    found: Any = Unread(value, _read_in_pieces) if later and len(value) > LARGE else _read(value)
    return event, found


def encode_handshake(client_id: str, client_type: str, data: dict[str, object]) -> str:
    """Build a device's first message.

    Raises:
        EncodeError: an argument is no text or holds a bracket, or data is not JSON.
    """
    for name, argument in (("id", client_id), ("type", client_type)):
        if not isinstance(argument, str):
            raise EncodeError(f"a device {name} must be a str, not {type(argument).__name__}")
        if "[" in argument or "]" in argument:
            raise EncodeError(f"protocol v0 cannot carry a device {name} with '[' or ']'")
    return _sendable(_argument(client_id) + _argument(client_type) + _argument(_write(data)))


def decode_handshake(text: str) -> tuple[str, str, str]:
    """Read a device's first message.

    Returns:
        Id, type and data; data stays the text that the device sent, as in iot.io 0.x.

    Raises:
        InvalidPacket: not three arguments.
    """
    client_id, client_type, data = _arguments(text, 3)
    return client_id, client_type, data


def _sendable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise EncodeError(f"text must be valid Unicode to be sent: {error.reason}") from None
    return text


def _argument(text: str) -> str:
    return f'[/"{text}"/]'


def _arguments(text: str, count: int) -> list[str]:
    found = []
    for match in _ARGUMENT.finditer(text):
        found.append(match.group(1))
        if len(found) == _MAX_SCAN:
            break
    if len(found) != count:
        more = " or more" if len(found) == _MAX_SCAN else ""
        raise InvalidPacket(f"{count} arguments are needed, {len(found)}{more} were found")
    return found


def _write(value: object) -> str:
    if isinstance(value, str):
        return value if "[" not in value and "]" not in value else _escape(json.dumps(value))
    if isinstance(value, (bool, int, float)):  # bool as Python writes it: what devices of the time expect
        try:
            return str(value)
        except ValueError:
            raise EncodeError("an int with so many digits cannot be sent") from None
    if isinstance(value, dict):
        if _holds_list(value):
            raise EncodeError("protocol v0 cannot carry a list, alone or in a dict")
        try:
            return _escape(json.dumps(value))
        except ValueError as error:
            raise EncodeError(f"a dict must be JSON to be sent: {error}") from None
    raise EncodeError(
        f"a value of type {type(value).__name__} cannot be sent with protocol v0; send bool, int, float, str or dict"
    )


def _escape(text: str) -> str:
    """Escape brackets inside JSON strings; there are none outside of strings where there is no list."""
    return text.replace("[", "\\u005b").replace("]", "\\u005d")


def _holds_list(value: dict[object, object]) -> bool:
    pending: list[object] = [value]
    seen: set[int] = set()
    while pending:
        item = pending.pop()
        if isinstance(item, (list, tuple)):
            return True
        if isinstance(item, dict) and id(item) not in seen:
            seen.add(id(item))
            pending.extend(item.values())
    return False


def _read(text: bytes | str) -> Value:
    value: Value = finish(_read_in_pieces(text))
    return value


def _read_in_pieces(text: bytes | str) -> json_pieces.Pieces:
    try:
        return (yield from json_pieces.read(text))
    except ValueError:
        return text
