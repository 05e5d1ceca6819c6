"""WebSocket frames of a server (RFC 6455), without I/O: what one read brought goes in, all messages in it come out.

The opening handshake is not here; extensions are never negotiated, so every RSV bit is an error.
`FrameDecoder.feed` is the hottest path of the product: it is one loop on purpose.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "BINARY",
    "TEXT",
    "Close",
    "FrameDecoder",
    "Item",
    "Ping",
    "Pong",
    "Violation",
    "encode_close",
    "encode_frame",
]


def _unmask(data: bytes, mask: bytes) -> bytes:
    """XOR data with the repeated mask (RFC 6455, 5.3), as one big integer: the fastest way in pure Python."""
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


apply_mask: Callable[[bytes, bytes], bytes]
try:  # C where websockets has a wheel for the machine
    from websockets.speedups import apply_mask
except ImportError:
    apply_mask = _unmask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_FIN = 0x80
_MASKED = 0x80
_WHOLE_BINARY = _FIN | BINARY
_SHORT = 6 + 125  # bytes of the longest frame whose length is in its second byte
_SHORT_HEAD = _MASKED - 6  # from the size of such a frame to its second byte
_MAX_CONTROL = 125  # RFC 6455, 5.5
_ENDLESS = 1 << 62  # longer than any frame; what a 64-bit length says beyond that would not fit a signed number

NORMAL, PROTOCOL_ERROR, BAD_TEXT, TOO_BIG = 1000, 1002, 1007, 1009  # RFC 6455, 7.4.1

_HEAD_16 = Struct(">BBH").pack
_HEAD_64 = Struct(">BBQ").pack
_U16 = Struct(">H")
_U64 = Struct(">Q")
_new_utf8_decoder = codecs.getincrementaldecoder("utf-8")


@dataclass(frozen=True, slots=True)
class Ping:
    """The peer asks for a pong with the same payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """The peer answers a ping, or just says that it lives."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """The peer closes. Nothing comes after this.

    Attributes:
        code: the peer's close code; None if it sent none.
        reason: its words.
    """

    code: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Violation:
    """The peer broke a rule. Nothing comes after this; close with `code`.

    Attributes:
        code: the close code that RFC 6455 has for it.
        reason: plain words, short enough for a CLOSE frame.
    """

    code: int
    reason: str


Item: TypeAlias = "bytes | str | Ping | Pong | Close | Violation"
"""bytes: a binary message; str: a text message."""


class FrameDecoder:
    """Turns the bytes of a client into messages, whatever way they are cut.

    Attributes:
        n_fragments: how many frames were not the last of their message, since the start.

    Args:
        max_message: largest message in bytes, over all its fragments; checked before anything is kept.
        max_first: the same for the first message, and until `use_max_message` is called; None for no other limit.
    """

    __slots__ = (
        "_buffer",
        "_done",
        "_long",
        "_max",
        "_max_message",
        "_need",
        "_opcode",
        "_parts",
        "_utf8",
        "n_fragments",
    )

    def __init__(self, max_message: int, max_first: int | None = None) -> None:
        self._max_message = max_message
        self._max = max_message if max_first is None else max_first  # the limit now
        self._buffer = b""  # the beginning of a frame
        self._long: bytearray | None = None  # the same, for a frame long enough to grow in place
        self._need = 2  # bytes that `_long` must have before looking at it again is worth it
        self._opcode = 0  # TEXT or BINARY while a fragmented message is open
        self._parts = bytearray()  # its fragments so far
        self.n_fragments = 0
        self._utf8: codecs.IncrementalDecoder | None = None  # checks text as it comes; decoded it is at the end
        self._done = False

    def use_max_message(self) -> None:
        """Hold messages to `max_message` from now on: who sends them has introduced itself."""
        self._max = self._max_message

    def feed(self, data: bytes) -> list[Item]:
        """Take what a read brought.

        Returns:
            All items that are complete now, in order. After a `Close` or a `Violation` everything is ignored.
        """
        items: list[Item] = []
        if self._done:
            return items
        if self._long is None and not self._buffer:
            size = len(data)
            if 6 <= size <= _SHORT and data[0] == _WHOLE_BINARY and data[1] == size + _SHORT_HEAD and not self._opcode:
                if size - 6 > self._max:
                    return self._too_big(items)
                items.append(apply_mask(data[6:], data[2:6]))  # one short frame and nothing else: the usual read
                return items
        elif self._long is not None:
            self._long += data
            if len(self._long) < self._need:
                return items
            data = bytes(self._long)
            self._long = None
        else:
            data = self._buffer + data
            self._buffer = b""
        size = len(data)
        limit = self._max - len(self._parts)
        plain = not self._opcode  # no fragmented message is open
        position = 0
        need = 2
        while size - position >= 2:
            first = data[position]
            length = data[position + 1]
            whole = plain and first == _WHOLE_BINARY
            if not whole:
                problem = self._head_problem(first, length & 0x7F)
                if problem:
                    return self._fail(items, PROTOCOL_ERROR, problem)
            if length < _MASKED:
                return self._fail(items, PROTOCOL_ERROR, "a client must mask its frames")
            length -= _MASKED
            start = position + 2
            if length > _MAX_CONTROL:
                width = 2 if length == 126 else 8
                if size - start < width:
                    need = 2 + width
                    break
                unpack = _U16 if length == 126 else _U64
                length = min(unpack.unpack_from(data, start)[0], _ENDLESS)
                start += width
            if length > limit and not first & 0x08:
                if _have_message(items):  # the first one came in the same read
                    self.use_max_message()
                    limit = self._max - len(self._parts)
                if length > limit:
                    return self._too_big(items)
            end = start + 4 + length
            if end > size:
                need = end - position
                break
            payload = apply_mask(data[start + 4 : end], data[start : start + 4])
            position = end
            if whole:
                items.append(payload)
                continue
            if not self._take(first, payload, items):
                return items
            limit = self._max - len(self._parts)
            plain = not self._opcode
        if position != size:
            self._hold(data, position, need)
        return items

    def _hold(self, data: bytes, position: int, need: int) -> None:
        """Keep a frame's beginning; a long one grows in place, so that its cost stays linear."""
        self._need = need
        rest = data[position:] if position else data
        if need > 4096:
            self._long = bytearray(rest)
        else:
            self._buffer = rest

    def _head_problem(self, first: int, length: int) -> str | None:
        if first & 0x70:
            return "a reserved bit is set and no extension is in use"
        opcode = first & 0x0F
        if opcode & 0x08:
            if opcode > PONG:
                return "unknown opcode"
            if not first & _FIN:
                return "a control frame must not be fragmented"
            if length > _MAX_CONTROL:
                return "a control frame may have 125 bytes"
        elif opcode > BINARY:
            return "unknown opcode"
        elif opcode == CONTINUATION:
            if not self._opcode:
                return "a continuation without a message"
        elif self._opcode:
            return "a new message inside a fragmented one"
        return None

    def _take(self, first: int, payload: bytes, items: list[Item]) -> bool:
        """Take any frame but a whole binary one. Returns False if the stream has ended."""
        opcode = first & 0x0F
        if opcode == PING:
            items.append(Ping(payload))
        elif opcode == PONG:
            items.append(Pong(payload))
        elif opcode == CLOSE:
            items.append(_read_close(payload))
            self._finish()
            return False
        else:
            return self._take_data(opcode, bool(first & _FIN), payload, items)
        return True

    def _take_data(self, opcode: int, final: bool, payload: bytes, items: list[Item]) -> bool:
        kind = opcode or self._opcode
        if kind == TEXT and not self._is_utf8(payload, final):
            self._fail(items, BAD_TEXT, "a text message is not UTF-8")
            return False
        if opcode and final:
            items.append(payload.decode() if kind == TEXT else payload)
            return True
        self._parts += payload
        if final:
            message = bytes(self._parts)
            items.append(message.decode() if kind == TEXT else message)
            self._parts = bytearray()
            self._opcode = 0
        else:
            self._opcode = kind
            self.n_fragments += 1
        return True

    def _is_utf8(self, payload: bytes, final: bool) -> bool:
        """Check one fragment behind the others."""
        if self._utf8 is None:
            self._utf8 = _new_utf8_decoder()
        try:
            self._utf8.decode(payload, final)
        except UnicodeDecodeError:
            return False
        if final:
            self._utf8 = None
        return True

    def _fail(self, items: list[Item], code: int, reason: str) -> list[Item]:
        items.append(Violation(code, reason))
        self._finish()
        return items

    def _too_big(self, items: list[Item]) -> list[Item]:
        which = "a" if self._max == self._max_message else "the first"
        return self._fail(items, TOO_BIG, f"{which} message may have {self._max} bytes")

    def _finish(self) -> None:
        self._done = True
        self._buffer = b""
        self._long = self._utf8 = None
        self._parts = bytearray()


def _have_message(items: list[Item]) -> bool:
    return any(isinstance(item, (bytes, str)) for item in items)


def _read_close(payload: bytes) -> Close | Violation:
    if not payload:
        return Close(None, "")
    if len(payload) == 1:
        return Violation(PROTOCOL_ERROR, "a close code has two bytes")
    code = _U16.unpack_from(payload)[0]
    if not _may_be_sent(code):
        return Violation(PROTOCOL_ERROR, f"{code} is no close code")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError:
        return Violation(PROTOCOL_ERROR, "a close reason is not UTF-8")


def _may_be_sent(code: int) -> bool:
    """Return whether a CLOSE frame may carry a code: those of RFC 6455, 7.4, and 1012 to 1014 of the IANA registry."""
    return 3000 <= code <= 4999 or (1000 <= code <= 1014 and code not in (1004, 1005, 1006))


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """Encode one whole frame of a server: final, not masked."""
    size = len(payload)
    if size < 126:
        return bytes((_FIN | opcode, size)) + payload
    if size < 65536:
        return _HEAD_16(_FIN | opcode, 126, size) + payload
    return _HEAD_64(_FIN | opcode, 127, size) + payload


def encode_close(code: int, reason: str = "") -> bytes:
    """Encode a CLOSE frame; a reason that does not fit its 123 bytes is cut at a character."""
    text = reason.encode()[: _MAX_CONTROL - 2].decode(errors="ignore").encode()
    return encode_frame(CLOSE, _U16.pack(code) + text)
