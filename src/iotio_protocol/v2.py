"""Packets of protocol v2: binary, one per WebSocket message, the same in both directions.

See docs/protocol/v2.md for the byte table.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from math import isfinite
from struct import Struct
from typing import Any, NamedTuple

from . import strict_json as json
from . import v1
from .errors import EncodeError, ErrorCode, InvalidPacket, StreamGap, TooLarge, UnsupportedPacket
from .json_pieces import Written
from .options import DEFAULT_OPTIONS, Options
from .stream import MAX_UNACKNOWLEDGED
from .unread import LARGE, Unread
from .values import Value

__all__ = [
    "CALL",
    "DURABLE",
    "FAILURE",
    "FLOAT",
    "HEAD",
    "LEAST_HELLO",
    "MAX_HEARD",
    "MAX_NAME",
    "MAX_NUMBER",
    "MAX_TIME",
    "MAX_VALUE",
    "NULL",
    "PING_PACKET",
    "PONG_PACKET",
    "RESULT",
    "SUBPROTOCOL",
    "TAKES_ALL",
    "TIME",
    "Ack",
    "Goodbye",
    "Greeting",
    "Packet",
    "Ping",
    "Pong",
    "Problem",
    "Sleep",
    "Takes",
    "check_size",
    "check_text",
    "code_of",
    "date_of",
    "decode",
    "decode_value",
    "encode",
    "encode_ack",
    "encode_head",
    "encode_json",
    "encode_problem",
    "encode_sleep",
    "encode_value",
    "max_message",
    "read_heard",
    "read_stream",
]

SUBPROTOCOL = "iotio.v2"

CALL, RESULT, FAILURE, DURABLE, TIME = 0x01, 0x02, 0x04, 0x08, 0x10
"""The flags."""

_JSON = v1.DataType.JSON.value
FLOAT, NULL = 5, 6
"""The types of a value beside those of v1."""

_JSON = v1.DataType.JSON.value

HELLO, WELCOME, ACK, SLEEP, GOODBYE, PROBLEM, PING, PONG = range(16, 24)
"""The types of packets that carry no event. 24 and 25 are reserved: a challenge and its proof."""

_ABOUT_CALLS = CALL | RESULT | FAILURE
_ALL_FLAGS = _ABOUT_CALLS | DURABLE | TIME
_ALLOWED = frozenset(flags | time for flags in (0, CALL, RESULT, FAILURE, DURABLE) for time in (0, TIME))
_FIXED = 8  # type, flags, event length and value length
HEAD = 32  # bytes around event and value at most
LEAST_HELLO = 4096  # bytes that WELCOME, GOODBYE, PROBLEM and a FAILURE may have, however small `max_payload` is
MAX_NUMBER = (1 << 53) - 1  # of a durable message: JSON readers of other languages know no larger one for sure
MAX_TIME = 253_402_300_799_999  # milliseconds since 1970: the end of 9999, below the 2**53 that JavaScript knows
MAX_NAME = 64  # characters of a stream's name
_STREAM = re.compile(f"[A-Za-z0-9_.-]{{1,{MAX_NAME}}}")  # a small board keeps it and compares it
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_EVENT = 0xFFFF
MAX_VALUE = 0xFFFFFFFF  # bytes of a value: its length has four

MAX_HEARD = MAX_NUMBER // 2  # no stream has come so far: who says so would leave its owner no numbers
_double = Struct(">d")
_pack_u16 = Struct(">H").pack
_pack_u32 = Struct(">I").pack
_pack_u64 = Struct(">Q").pack
_pack_i64 = Struct(">q").pack
_unpack_u32 = Struct(">I").unpack_from
_unpack_u64 = Struct(">Q").unpack_from
_unpack_i64 = Struct(">q").unpack_from


class Takes(NamedTuple):
    """How much a device takes, by its own word in HELLO.

    Attributes:
        max_payload: bytes of a value.
        max_unacknowledged: durable messages that may be on their way to it.
    """

    max_payload: int = MAX_VALUE
    max_unacknowledged: int = MAX_UNACKNOWLEDGED


TAKES_ALL = Takes()
"""A device that says nothing of that."""


class Packet(NamedTuple):
    """An event, a call, or the answer to one.

    Attributes:
        event: its name; empty in an answer.
        value: what it carries; `Unread` if it was to be read later.
        flags: which of the following are there.
        call: the caller's number of the call (CALL, RESULT, FAILURE).
        number: in the sender's stream, from 1 (DURABLE).
        previous: the number before it in the stream; what would be in between will never come (DURABLE).
        time: when it was, in milliseconds since 1970 in UTC (TIME).
    """

    event: str
    value: Any
    flags: int = 0
    call: int = 0
    number: int = 0
    time: int = 0
    previous: int = 0


def is_answer(event: object) -> bool:
    """Return whether an event of a session is the answer to a call."""
    return type(event) is Packet and event.flags & (RESULT | FAILURE) != 0


class Greeting(NamedTuple):
    """HELLO or WELCOME.

    Attributes:
        welcome: which.
        fields: the JSON object.
    """

    welcome: bool
    fields: dict[str, object]


class Ack(NamedTuple):
    """All up to this number of the receiver's stream have been taken."""

    upto: int


class Sleep(NamedTuple):
    """The device goes to sleep for so many seconds."""

    seconds: int


class Goodbye(NamedTuple):
    """The sender closes on purpose."""

    reason: str


class Problem(NamedTuple):
    """What v1 has the event `error` for.

    Attributes:
        error: the code.
        info: more about it, or None.
    """

    error: str
    info: dict[str, object] | None


class Ping(NamedTuple):
    """The sender asks for a sign of life: for those whose WebSocket library sends no PING frames, as in a web page."""

    kind: int = PING


class Pong(NamedTuple):
    """The answer to it."""

    kind: int = PONG


Decoded = Packet | Greeting | Ack | Sleep | Goodbye | Problem | Ping | Pong


def encode(
    event: str,
    value: Value,
    flags: int = 0,
    *,
    call: int = 0,
    number: int = 0,
    time: int = 0,
    previous: int = 0,
    most: int = MAX_VALUE,
) -> bytes:
    """Build the packet of an event, a call or an answer; see `Packet` for the arguments.

    Args:
        most: bytes of a value that the other side takes.

    Raises:
        EncodeError: the event or the value cannot travel in v2.
        TooLarge: the value has more than `most` bytes.
    """
    kind, body = encode_value(value)
    check_size(len(body), most)
    head = encode_head(kind, event, flags, call=call, number=number, time=time, previous=previous)
    return head + _pack_u32(len(body)) + body


def encode_head(
    kind: int, event: str, flags: int = 0, *, call: int = 0, number: int = 0, time: int = 0, previous: int = 0
) -> bytes:
    """Encode the part of a packet before the value's length."""
    if not isinstance(event, str):
        raise EncodeError(f"an event's name must be a str, not {type(event).__name__}")
    try:
        name = event.encode()
    except UnicodeEncodeError as error:
        raise EncodeError(f"an event's name must be valid Unicode: {error.reason}") from None
    if len(name) > _MAX_EVENT:
        raise EncodeError(f"an event's name may have at most {_MAX_EVENT} bytes, this one has {len(name)}")
    head = bytes((kind, flags))
    if flags:
        if flags & _ABOUT_CALLS:
            head += _pack_u32(call)
        if flags & DURABLE:
            head += _pack_u64(number) + _pack_u64(previous)
        if flags & TIME:
            if not 0 <= time <= MAX_TIME:
                raise EncodeError(f"a time must be within the years 1970 to 9999, not {time} ms since 1970")
            head += _pack_i64(time)
    return head + _pack_u16(len(name)) + name


def check_size(size: int, most: int) -> None:
    """Raise TooLarge for a value of more bytes than the other side takes."""
    if size > most:
        raise TooLarge(size, most)


def encode_value(value: object) -> tuple[int, bytes]:
    """Return type byte and bytes of a value: those of v1, floats and None.

    Raises:
        EncodeError: it cannot travel in v2.
    """
    if value is None:
        return NULL, b""
    if isinstance(value, float):
        if not isfinite(value):
            raise EncodeError("a float must be a finite number to be sent")
        return FLOAT, _double.pack(value)
    if isinstance(value, (dict, list)):
        return _JSON, _encode_json(f"a {type(value).__name__} must be JSON to be sent", value)
    try:
        return v1.encode_value(value)
    except EncodeError:
        if isinstance(value, (str, int, bytes, bytearray, Written)):
            raise
    raise EncodeError(
        f"a value of type {type(value).__name__} cannot be sent with protocol v2;"
        " send bytes, bool, int, float, str, dict, list or None"
    )


def encode_json(kind: int, fields: dict[str, object], *, more: bytes = b"") -> bytes:
    """Encode HELLO, WELCOME, GOODBYE or PROBLEM.

    Args:
        kind: which.
        fields: what it says.
        more: further fields, as JSON without its braces.

    Raises:
        EncodeError: the fields are not JSON.
    """
    body = _encode_json("what is to be sent must be JSON", fields)
    if more:
        body = body[:-1] + (b", " if fields else b"") + more + b"}"
    return _control(kind, body)


def _encode_json(demand: str, value: object) -> bytes:
    try:
        return json.encode(value)
    except ValueError as error:
        raise EncodeError(f"{demand}: {error}") from None


def encode_problem(code: ErrorCode, info: dict[str, object] | None = None) -> bytes:
    """Encode PROBLEM. An `info` that holds what is no text, out of the device's own words, is left out."""
    try:
        return encode_json(PROBLEM, {"error": code.value, "info": info})
    except EncodeError:
        return encode_json(PROBLEM, {"error": code.value, "info": None})


def encode_ack(upto: int) -> bytes:
    """Encode ACK."""
    return _control(ACK, _pack_u64(upto))


def encode_sleep(seconds: int) -> bytes:
    """Encode SLEEP."""
    return _control(SLEEP, _pack_u32(seconds))


def _control(kind: int, body: bytes) -> bytes:
    return bytes((kind, 0, 0, 0)) + _pack_u32(len(body)) + body


PING_PACKET = _control(PING, b"")
PONG_PACKET = _control(PONG, b"")


def max_message(options: Options) -> int:
    """Return the size of the largest message in bytes."""
    return HEAD + max(options.max_event + options.max_payload, LEAST_HELLO)


def decode(packet: bytes, options: Options = DEFAULT_OPTIONS, *, later: bool = False) -> Decoded:
    """Read one packet.

    Args:
        packet: a whole binary message.
        options: `max_event` and `max_payload` apply, for HELLO `max_introduction`.
        later: whether large JSON of an event or a call is returned as `Unread`.

    Raises:
        UnsupportedPacket: a type or a flag that v2 does not have.
        InvalidPacket: anything else that the byte table does not allow.
    """
    size = len(packet)
    if size < _FIXED:
        raise InvalidPacket(f"a packet has at least {_FIXED} bytes, this one has {size}")
    kind, flags = packet[0], packet[1]
    at, call, number, previous, time = 2, 0, 0, 0, 0
    if flags:
        _check_flags(flags)
        if size < _FIXED + _extra(flags):
            raise InvalidPacket("the packet ends before the fields that its flags promise")
        if flags & _ABOUT_CALLS:
            call = _unpack_u32(packet, at)[0]
            at += 4
        if flags & DURABLE:
            number, previous = _unpack_u64(packet, at)[0], _unpack_u64(packet, at + 8)[0]
            at += 16
            if not 0 < number <= MAX_NUMBER:
                raise InvalidPacket(f"the numbers of a stream go from 1 to {MAX_NUMBER}, this one is {number}")
            if previous >= number:
                raise InvalidPacket(f"the number before {number} cannot be {previous}")
        if flags & TIME:
            time = _unpack_i64(packet, at)[0]
            at += 8
    start = at + 2
    end = start + (packet[at] << 8 | packet[at + 1])
    if end + 4 > size:
        raise InvalidPacket("the event's length points past the end of the packet")
    length = _unpack_u32(packet, end)[0]
    if length != size - end - 4:
        raise InvalidPacket(f"the value's length says {length} bytes, the packet holds {size - end - 4}")
    try:
        if end - start > options.max_event:
            raise InvalidPacket(f"an event's name may have {options.max_event} bytes, this one has {end - start}")
        most = options.max_payload if kind < HELLO and not flags & FAILURE else _most_of(kind, options)
        if length > most:
            raise InvalidPacket(f"a value may have {most} bytes, this one has {length}")
        if not 0 <= time <= MAX_TIME:
            raise InvalidPacket("a time is within the years 1970 to 9999")
        body = packet[end + 4 :]
        if kind >= HELLO:
            return _decode_control(kind, flags, end - start, body)
        event = v1.decode_text(packet[start:end])
        if event and flags & (RESULT | FAILURE):
            raise InvalidPacket("the answer to a call has no event")
        value: Any
        if later and length > LARGE and kind == _JSON and not flags & (RESULT | FAILURE):
            value = Unread(body, v1.read_json_in_pieces)
        else:
            value = decode_value(kind, body)
        return Packet(event, value, flags, call, number, time, previous)
    except InvalidPacket as error:
        if flags & DURABLE:
            error.durable = (number, previous)
        raise


def decode_value(kind: int, body: bytes) -> Value:
    """Decode a value from its type byte and its bytes.

    Raises:
        UnsupportedPacket: a type that v2 does not have.
        InvalidPacket: wrong length for the type, not JSON, not finite.
    """
    if kind < FLOAT:
        return v1.decode_value(kind, body)
    if kind == FLOAT:
        if len(body) != 8:
            raise InvalidPacket(f"a float has 8 bytes, this one has {len(body)}")
        value: float = _double.unpack(body)[0]
        if not isfinite(value):
            raise InvalidPacket("a float must be a finite number")
        return value
    if kind == NULL:
        if body:
            raise InvalidPacket(f"null has no bytes, this one has {len(body)}")
        return None
    raise UnsupportedPacket("type", kind)


def read_stream(name: object) -> str | None:
    """Read the name of a stream in HELLO or WELCOME. Raises InvalidPacket."""
    if name is None:
        return None
    if not isinstance(name, str) or _STREAM.fullmatch(name) is None:
        raise InvalidPacket(f"the name of a stream has 1 to {MAX_NAME} characters of A-Z, a-z, 0-9, '_', '-' and '.'")
    return name


def read_heard(heard: object) -> tuple[str | None, int]:
    """Read how much of this side's stream the other side has taken. Raises InvalidPacket."""
    if heard is None:
        return None, 0
    if not isinstance(heard, dict):
        raise InvalidPacket("'heard' must be an object with 'stream' and 'upto', or null")
    upto = heard.get("upto")
    if type(upto) is not int or not 0 <= upto <= MAX_NUMBER:
        raise InvalidPacket(f"'upto' must be a whole number from 0 to {MAX_NUMBER}")
    return read_stream(heard.get("stream")), upto


def date_of(time: int) -> datetime:
    """Return a time of a packet as a date in UTC. Integers only: as a float the year 9999 has no exact milliseconds."""
    return _EPOCH + timedelta(milliseconds=time)


def code_of(error: InvalidPacket) -> ErrorCode:
    """Return the code by which PROBLEM tells of an invalid packet."""
    if isinstance(error, UnsupportedPacket):
        return ErrorCode.UNSUPPORTED_PACKET
    return ErrorCode.STREAM_GAP if isinstance(error, StreamGap) else ErrorCode.CLIENT_INVALID_PACKET


def _most_of(kind: int, options: Options) -> int:
    """Return how many bytes the value of a failure, or of a packet of a type from 16 on, may have."""
    return options.max_introduction if kind == HELLO else max(options.max_payload, LEAST_HELLO)


def _check_flags(flags: int) -> None:
    if flags & ~_ALL_FLAGS:
        raise UnsupportedPacket("flag", flags & ~_ALL_FLAGS)
    if flags not in _ALLOWED:
        raise InvalidPacket("of CALL, RESULT, FAILURE and DURABLE at most one is set")


def _extra(flags: int) -> int:
    return 4 * bool(flags & _ABOUT_CALLS) + 16 * bool(flags & DURABLE) + 8 * bool(flags & TIME)


def _decode_control(kind: int, flags: int, event_size: int, body: bytes) -> Decoded:
    if kind > PONG:
        raise UnsupportedPacket("type", kind)
    if flags or event_size:
        raise InvalidPacket(f"a packet of type {kind} has neither flags nor an event")
    if kind == ACK:
        if len(body) != 8:
            raise InvalidPacket(f"ACK has 8 bytes, this one has {len(body)}")
        upto = _unpack_u64(body, 0)[0]
        if upto > MAX_NUMBER:
            raise InvalidPacket(f"the numbers of a stream go to {MAX_NUMBER}, ACK has {upto}")
        return Ack(upto)
    if kind == SLEEP:
        if len(body) != 4:
            raise InvalidPacket(f"SLEEP has 4 bytes, this one has {len(body)}")
        return Sleep(_unpack_u32(body, 0)[0])
    if kind >= PING:
        if body:
            raise InvalidPacket(f"a packet of type {kind} has no value, this one has {len(body)} bytes")
        return Ping() if kind == PING else Pong()
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise InvalidPacket(f"the value is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise InvalidPacket(f"a packet of type {kind} holds a JSON object")
    if kind == GOODBYE:
        return Goodbye(_text(fields, "reason"))
    if kind == PROBLEM:
        info = fields.get("info")
        if info is not None and not isinstance(info, dict):
            raise InvalidPacket("the field 'info' must be an object or null")
        return Problem(_text(fields, "error"), info)
    return Greeting(kind == WELCOME, fields)


def _text(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise InvalidPacket(f"the field {name!r} must be a text")
    return check_text(value)


def check_text(text: str) -> str:
    """Check a text out of JSON: an escape can stand for half of a surrogate pair, which no log or store can write.

    Raises:
        InvalidPacket: it is no Unicode.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidPacket("half of a surrogate pair is no text") from None
    return text
