"""The v1 codec as the class that iot.io 0.4 has for it, and the base of a program's own encoders."""

from __future__ import annotations

from . import v1
from .options import Options
from .values import Value

__all__ = ["AbstractPacketEncoder", "DefaultPacketEncoder", "PacketDataType"]

# The original's encoder knows no limits; these are what the length fields of a packet can say.
_NO_LIMITS = Options(max_event=0xFFFF, max_payload=0xFFFFFFFF)


PacketDataType = v1.DataType


class AbstractPacketEncoder:
    """Base class of packet encoders; a subclass gives both methods."""

    @staticmethod
    def encode(event: str, message: Value) -> bytearray:
        """Build one packet."""
        raise NotImplementedError("a packet encoder needs a static method encode(event, message)")

    @staticmethod
    def decode(data: bytes | bytearray) -> tuple[str, Value]:
        """Read one packet: its event and its value."""
        raise NotImplementedError("a packet encoder needs a static method decode(data)")


class DefaultPacketEncoder(AbstractPacketEncoder):
    """Protocol v1."""

    @staticmethod
    def encode(event: str, message: Value) -> bytearray:
        """Build one packet.

        Raises:
            EncodeError: a ValueError; the event or the value cannot travel in v1.
        """
        return bytearray(v1.encode(event, message))

    @staticmethod
    def decode(data: bytes | bytearray) -> tuple[str, Value]:
        """Read one packet of any size; bytes that are not UTF-8 are dropped from names and strings.

        The server reads packets more strictly and within limits, see docs/protocol/v1.md.

        Raises:
            InvalidPacket: the lengths, the type or the JSON in it are wrong.
        """
        return v1.decode(bytes(data), _NO_LIMITS, errors="ignore")
