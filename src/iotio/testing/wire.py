"""The device's end of the wire: the bytes of each generation of devices, by the same codecs that the server uses."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from iotio_protocol import strict_json, v0, v1, v2
from iotio_protocol.errors import EncodeError
from iotio_protocol.frames import BINARY, TEXT, apply_mask
from iotio_protocol.options import DEFAULT_OPTIONS
from iotio_protocol.session import Codec

__all__ = ["CLOSE", "PING", "PONG", "Identity", "Wire", "client_frame", "frames_of"]

CLOSE, PING, PONG = 0x8, 0x9, 0xA
_FIN = _MASKED = 0x80
_OPTIONS = replace(DEFAULT_OPTIONS, max_payload=v2.MAX_VALUE, max_event=0xFFFF)  # a device takes all that comes


@dataclass(frozen=True, slots=True)
class Identity:
    """What a device says of itself.

    Attributes:
        id: its id.
        type: the name of its type.
        data: what the server's program gets to know of it.
        endpoints: its declarations, as they travel.
    """

    id: str
    type: str
    data: dict[str, object]
    endpoints: Sequence[Mapping[str, object]]

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers of a v1 device, as an HTTP server gives them to a host.

        Raises:
            EncodeError: data or endpoints are not JSON.
        """
        said = [
            ("IoT-IO-Id", self.id),
            ("IoT-IO-Type", self.type),
            ("IoT-IO-Data", _json(self.data)),
            ("IoT-IO-Endpoints", _json(list(self.endpoints))),
            ("IoT-IO-ProtocolVersion", "1"),
        ]
        return [(name, value.encode().decode("latin-1")) for name, value in said]


def _json(value: object) -> str:
    try:
        return strict_json.dumps(value)
    except ValueError as error:
        raise EncodeError(f"what a device says of itself must be JSON: {error}") from None


class Wire:
    """What a device of one protocol writes and reads.

    Args:
        protocol: 0, 1 or 2.
        codec: for packets of v1: the manager's own.
    """

    def __init__(self, protocol: int, codec: Codec) -> None:
        self._protocol = protocol
        self._codec = codec

    def hello(self, identity: Identity, fields: dict[str, object]) -> bytes:
        """Return the first frame of a device that has no headers to say who it is.

        Args:
            identity: who it is.
            fields: what HELLO of v2 has beside that.
        """
        if self._protocol == 0:
            return client_frame(TEXT, v0.encode_handshake(identity.id, identity.type, identity.data).encode())
        said = {"id": identity.id, "type": identity.type, "data": identity.data, "endpoints": list(identity.endpoints)}
        return client_frame(BINARY, v2.encode_json(v2.HELLO, {**said, **fields}))

    def event(self, event: str, value: Any) -> bytes:
        """Return the frame of an event.

        Raises:
            EncodeError: the event or the value cannot travel.
        """
        if self._protocol == 0:
            return client_frame(TEXT, v0.encode(event, value).encode())
        return client_frame(BINARY, (v2 if self._protocol == 2 else self._codec).encode(event, value))

    def decode(self, payload: bytes) -> v2.Decoded:
        """Read a message of the server; what v0 and v1 say comes as v2 has it.

        Raises:
            InvalidPacket: no device of this protocol could read it.
        """
        if self._protocol == 2:
            return v2.decode(payload, _OPTIONS)
        if self._protocol == 0:
            return v2.Packet(*v0.decode(v1.decode_text(payload), _OPTIONS))
        return v2.Packet(*self._codec.decode(payload, _OPTIONS))


def client_frame(opcode: int, payload: bytes = b"") -> bytes:
    """Encode one whole frame of a client: final, and masked (RFC 6455, 5.3)."""
    size = len(payload)
    if size < 126:
        head = bytes((_FIN | opcode, _MASKED | size))
    elif size < 65536:
        head = bytes((_FIN | opcode, _MASKED | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FIN | opcode, _MASKED | 127)) + size.to_bytes(8, "big")
    mask = os.urandom(4)
    return head + mask + apply_mask(payload, mask)


def frames_of(data: bytes) -> list[tuple[int, bytes]]:
    """Return opcode and payload of each frame of the server in whole frames: it masks none and fragments none."""
    found = []
    while data:
        size, start = data[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        found.append((data[0] & 0x0F, data[start : start + size]))
        data = data[start + size :]
    return found
