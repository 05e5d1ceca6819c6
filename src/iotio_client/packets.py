"""Packet codecs of a device, under the names of iot.io-client 0.4.12."""

from __future__ import annotations

from typing import Any, Protocol

from iotio_protocol import v0, v1, v2
from iotio_protocol.errors import EncodeError, InvalidPacket
from iotio_protocol.options import Options
from iotio_protocol.values import Value

__all__ = ["AbstractPacketEncoder", "DefaultPacketEncoder", "PacketEncoder", "TextCodec", "V1Codec", "V2Codec"]


class PacketEncoder(Protocol):
    """What `encoder=` takes: a class with static methods, or an object."""

    def encode(self, event: str, message: Any, /) -> bytes | bytearray:
        """Encode one packet."""

    def decode(self, data: Any, /) -> tuple[str, Any]:
        """Decode a packet to event and value; any exception means that the packet is invalid."""


class AbstractPacketEncoder:
    """Base for encoders of your own; both ends must use the same."""

    @staticmethod
    def encode(event: str, message: Any) -> bytes | bytearray:
        """Encode one packet."""
        raise NotImplementedError

    @staticmethod
    def decode(data: bytes) -> tuple[str, Any]:
        """Decode a packet to event and value."""
        raise NotImplementedError


class DefaultPacketEncoder(AbstractPacketEncoder):
    """Packets of protocol v1.

    It reads strictly and writes bytes so that a subclass treats packets as a client without `encoder=` does,
    while the class of this name in `iotio.PacketEncoder` drops bytes that are not UTF-8 and writes a bytearray,
    as iot.io 0.4.10 did, for programs that call it themselves.
    """

    @staticmethod
    def encode(event: str, message: Value) -> bytes:
        """Encode one packet; raises `EncodeError` (a ValueError) for what v1 cannot carry."""
        return v1.encode(event, message)

    @staticmethod
    def decode(data: bytes) -> tuple[str, Value]:
        """Decode a packet to event and value; raises `InvalidPacket` for anything that v1 does not allow."""
        return v1.decode(data)


class V1Codec:
    """Binary messages of protocol v1, or of the user's own encoder. Text messages are not packets."""

    def __init__(self, encoder: PacketEncoder, options: Options) -> None:
        self._encoder = encoder
        self._options = options

    def encode(self, event: str, value: Any) -> bytes:
        """Encode one message."""
        return bytes(self._encoder.encode(event, value))

    def decode(self, message: bytes | str) -> tuple[str, Any] | None:
        """Decode a message to event and value, large JSON as `Unread`; None for one that is to be ignored.

        Raises:
            InvalidPacket: not a packet.
        """
        if isinstance(message, str):
            return None
        if self._encoder is DefaultPacketEncoder:
            return v1.decode(message, self._options, later=True)
        try:
            event, value = self._encoder.decode(message)
        except Exception as error:
            raise InvalidPacket(f"the encoder cannot read it: {error!r}") from error
        return event, value


class TextCodec:
    """Messages of protocol v0. Servers 0.2.1 to 0.3.1 put the same text into binary frames."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def encode(self, event: str, value: Any) -> str:
        """Encode one message."""
        return v0.encode(event, value)

    def decode(self, message: bytes | str) -> tuple[str, Any]:
        """Decode a message to event and value; a large one is `Unread`.

        Raises:
            InvalidPacket: not a packet.
        """
        text = message if isinstance(message, str) else message.decode(errors="replace")
        return v0.decode(text, self._options, later=True)


class V2Codec:
    """Binary messages of protocol v2."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.max_event = self.max_payload = 0xFFFFFFFF  # what the server takes, once it has said so

    def encode(self, event: str, value: Any, flags: int = 0, *, call: int = 0, number: int = 0, time: int = 0) -> bytes:
        """Encode one message; see `v2.Packet` for the arguments.

        Raises:
            EncodeError: the event or the value cannot travel, or is larger than the server takes.
        """
        kind, body = v2.encode_value(value)
        return self.pack(kind, body, event, flags, call=call, number=number, time=time)

    def pack(
        self,
        kind: int,
        body: bytes,
        event: str,
        flags: int = 0,
        *,
        call: int = 0,
        number: int = 0,
        previous: int = 0,
        time: int = 0,
    ) -> bytes:
        """Encode one message as `encode` does, of a value whose type and bytes are there already."""
        head = v2.encode_head(kind, event, flags, call=call, number=number, previous=previous, time=time)
        if len(event) * 4 > self.max_event and len(event.encode()) > self.max_event:
            raise EncodeError(f"the server takes {self.max_event} bytes for an event's name, this one is longer")
        if len(body) > self.max_payload:
            raise EncodeError(f"the server takes {self.max_payload} bytes for a value, this one has {len(body)}")
        return b"".join((head, len(body).to_bytes(4, "big"), body))

    def decode(self, message: bytes | str, *, later: bool = False) -> v2.Decoded:
        """Decode a message; `later` as of `v2.decode`.

        Raises:
            UnsupportedPacket: one of a newer protocol.
            InvalidPacket: not a packet.
        """
        if isinstance(message, str):
            raise InvalidPacket("protocol v2 has binary messages, this one is text")
        return v2.decode(message, self._options, later=later)
