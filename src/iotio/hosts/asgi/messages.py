"""Turn whole messages into frames and back, where a foreign server does the framing.

A session reads and writes frames; an ASGI server hands over messages. The frames of this module never see a network.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from iotio_protocol.frames import BINARY, TEXT

__all__ = ["client_frame", "server_frames"]

_NO_MASK = b"\0\0\0\0"  # a client's frame must have one; this one changes nothing
_HEAD_16 = Struct(">BBH").pack
_HEAD_64 = Struct(">BBQ").pack
_FIN = _MASKED = 0x80


def client_frame(message: bytes | str) -> bytes:
    """Return the frame in which a device would have sent a whole message."""
    if isinstance(message, str):
        opcode, payload = TEXT, message.encode()
    else:
        opcode, payload = BINARY, bytes(message)
    size = len(payload)
    if size < 126:
        return bytes((_FIN | opcode, _MASKED | size)) + _NO_MASK + payload
    if size < 65536:
        return _HEAD_16(_FIN | opcode, _MASKED | 126, size) + _NO_MASK + payload
    return _HEAD_64(_FIN | opcode, _MASKED | 127, size) + _NO_MASK + payload


def server_frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield opcode and payload of each frame in what a session has written: whole frames, each of them final."""
    position, size = 0, len(data)
    while position < size:
        opcode, length = data[position] & 0x0F, data[position + 1]
        start = position + 2
        if length > 125:
            width = 2 if length == 126 else 8
            length = int.from_bytes(data[start : start + width], "big")
            start += width
        position = start + length
        yield opcode, data[start:position]
