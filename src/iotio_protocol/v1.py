"""Packets of protocol v1 (iot.io 0.4): binary, one per WebSocket message, the same in both directions.

See docs/protocol/v1.md for the byte table.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Any

from . import json_pieces
from . import strict_json as json
from .errors import EncodeError, ErrorCode, InvalidPacket
from .options import DEFAULT_OPTIONS, Options
from .unread import LARGE, Unread
from .values import Value

__all__ = [
    "DataType",
    "decode",
    "decode_text",
    "decode_value",
    "encode",
    "encode_head",
    "encode_value",
    "error_packet",
    "read_json",
    "read_json_in_pieces",
]

_U16 = Struct(">H")
_U32 = Struct(">I")
_pack_u32 = _U32.pack
_unpack_u32 = _U32.unpack_from
_MAX_EVENT = 0xFFFF  # the event's length field has two bytes
_MAX_VALUE = 0xFFFFFFFF  # the value's length field has four
_FIXED = 7  # type, event length and value length


class DataType(IntEnum):
    """The first byte of a packet: the type of its value."""

    BINARY = 0
    BOOLEAN = 1
    INTEGER = 2
    STRING = 3
    JSON = 4

    @staticmethod
    def type_to_byte(message: object) -> bytearray:
        """Return the type byte for a value; that of BINARY for what cannot be sent, as in the original."""
        if isinstance(message, bool):  # before int: a bool is one
            kind = DataType.BOOLEAN
        elif isinstance(message, int):
            kind = DataType.INTEGER
        elif isinstance(message, str):
            kind = DataType.STRING
        elif isinstance(message, (dict, list)):
            kind = DataType.JSON
        else:
            kind = DataType.BINARY
        return bytearray((kind,))


def encode(event: str, value: Value) -> bytes:
    """Build one packet.

    Args:
        event: the event's name, at most 65 535 bytes of UTF-8.
        value: bytes, bool, int of 64 bits, str, or a dict or list that JSON can write.

    Raises:
        EncodeError: the event or the value cannot travel in v1.
    """
    kind, body = encode_value(value)
    head = (_heads.get((kind, event)) if type(event) is str else None) or _remember_head(kind, event)
    return head + _pack_u32(len(body)) + body


# Heads of packets that were sent before: a program has few events. Bounded, for names can come from devices.
_heads: dict[tuple[int, str], bytes] = {}
_MAX_HEADS = 4096


def _remember_head(kind: int, event: str) -> bytes:
    head = encode_head(kind, event)
    if len(_heads) < _MAX_HEADS and len(head) < 64:
        _heads[kind, event] = head
    return head


def encode_head(kind: int, event: str) -> bytes:
    """Encode the part of a packet before the value's length: type, event length, event."""
    if not isinstance(event, str):
        raise EncodeError(f"an event's name must be a str, not {type(event).__name__}")
    try:
        name = event.encode()
    except UnicodeEncodeError as error:
        raise EncodeError(f"an event's name must be valid Unicode: {error.reason}") from None
    if len(name) > _MAX_EVENT:
        raise EncodeError(f"an event's name may have at most {_MAX_EVENT} bytes, this one has {len(name)}")
    return bytes((kind,)) + _U16.pack(len(name)) + name


def encode_value(value: object) -> tuple[int, bytes]:
    """Return type byte and bytes of a value; see `encode`."""
    kind, body = _encode_value(value)
    if len(body) > _MAX_VALUE:
        raise EncodeError(f"a value may have at most {_MAX_VALUE} bytes, this one has {len(body)}")
    return kind, body


def _encode_value(value: object) -> tuple[int, bytes]:
    if isinstance(value, str):
        try:
            return 3, value.encode()
        except UnicodeEncodeError as error:
            raise EncodeError(f"a str must be valid Unicode to be sent: {error.reason}") from None
    if isinstance(value, bool):  # before int: a bool is one
        return 1, b"\x01" if value else b"\x00"
    if isinstance(value, int):
        try:
            return 2, value.to_bytes(8, "big", signed=True)
        except OverflowError:
            raise EncodeError("an int must fit 64 bits with its sign to be sent") from None
    if isinstance(value, (dict, list)):
        try:
            return 4, json.dumps(value).encode()
        except ValueError as error:
            raise EncodeError(f"a {type(value).__name__} must be JSON to be sent: {error}") from None
    if isinstance(value, (bytes, bytearray)):
        return 0, bytes(value)
    if isinstance(value, json_pieces.Written):
        if value.error:
            raise EncodeError(f"a {type(value.value).__name__} must be JSON to be sent: {value.error}")
        return 4, value.body
    raise EncodeError(
        f"a value of type {type(value).__name__} cannot be sent with protocol v1;"
        " send bytes, bool, int, str, dict or list"
    )


def decode(
    packet: bytes, options: Options = DEFAULT_OPTIONS, *, errors: str = "strict", later: bool = False
) -> tuple[str, Value]:
    """Read one packet.

    Args:
        packet: a whole binary message.
        options: `max_event` and `max_payload` apply.
        errors: what to do with names and strings that are not UTF-8: "strict" refuses the packet,
            "ignore" drops the bytes as iot.io 0.4 did.
        later: whether large JSON is returned as `Unread`.

    Returns:
        The event's name and the value.

    Raises:
        InvalidPacket: anything that the byte table does not allow.
    """
    size = len(packet)
    if size < _FIXED:
        raise InvalidPacket(f"a packet has at least {_FIXED} bytes, this one has {size}")
    head = 3 + (packet[1] << 8 | packet[2])
    if head + 4 > size:
        raise InvalidPacket("the event's length points past the end of the packet")
    if head - 3 > options.max_event:
        raise InvalidPacket(f"an event's name may have {options.max_event} bytes, this one has {head - 3}")
    length = _unpack_u32(packet, head)[0]
    if length != size - head - 4:
        raise InvalidPacket(f"the value's length says {length} bytes, the packet holds {size - head - 4}")
    if length > options.max_payload:
        raise InvalidPacket(f"a value may have {options.max_payload} bytes, this one has {length}")
    event, body = decode_text(packet[3:head], errors), packet[head + 4 :]
    if later and length > LARGE and packet[0] == 4:
        unread: Any = Unread(body, read_json_in_pieces)
        return event, unread
    return event, decode_value(packet[0], body, errors)


def read_json(body: bytes | str) -> Value:
    """Read the value of a JSON packet. Raises InvalidPacket."""
    try:
        value: Value = json.loads(body)
    except ValueError as error:
        raise InvalidPacket(f"the value is not JSON: {error}") from None
    return value


def read_json_in_pieces(body: bytes | str) -> json_pieces.Pieces:
    """Do what `read_json` does, piece by piece."""
    try:
        return (yield from json_pieces.read(body))
    except ValueError as error:
        raise InvalidPacket(f"the value is not JSON: {error}") from None


def decode_text(body: bytes, errors: str = "strict") -> str:
    """Decode UTF-8.

    Raises:
        InvalidPacket: it is not UTF-8, and `errors` is "strict".
    """
    try:
        return body.decode("utf-8", errors)
    except UnicodeDecodeError:
        raise InvalidPacket("a name or a string is not UTF-8") from None


def decode_value(kind: int, body: bytes, errors: str = "strict") -> Value:
    """Decode a value from its type byte and its bytes.

    Integers of 1 to 8 bytes are accepted and sign-extended, any byte but 0 is true, any JSON value may stand
    in a JSON packet: microcontrollers send all of these.

    Raises:
        InvalidPacket: unknown type, wrong length for the type, or not JSON.
    """
    if kind == 3:
        return decode_text(body, errors)
    if kind == 4:
        return read_json(body)
    if kind == 2:
        if not 1 <= len(body) <= 8:
            raise InvalidPacket(f"an integer has 1 to 8 bytes, this one has {len(body)}")
        return int.from_bytes(body, "big", signed=True)
    if kind == 1:
        if len(body) != 1:
            raise InvalidPacket(f"a boolean has 1 byte, this one has {len(body)}")
        return body != b"\x00"
    if kind == 0:
        return body
    raise InvalidPacket(f"unknown data type {kind}; protocol v1 has the types 0 to 4")


def error_packet(code: ErrorCode, info: object = None) -> bytes:
    """Encode the packet that tells a v1 device of an error, byte for byte as iot.io 0.4 writes it.

    Args:
        code: what is wrong.
        info: more about it, JSON-able; the original sends it with `client_invalid_endpoints` only.
    """
    return encode("error", {"error": code.value, "info": info})
