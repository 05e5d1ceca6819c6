"""The v1 codec as the class that iot.io 0.4 has for it, and the base of a program's own encoders."""

from __future__ import annotations

from typing import Any

from . import v1
from .errors import EncodeError, InvalidPacket
from .options import Options
from .session import Codec
from .values import Value

__all__ = ["AbstractPacketEncoder", "DefaultPacketEncoder", "PacketDataType", "codec_of"]

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


def codec_of(encoder: Any) -> Codec:
    """Return the codec of v1 packets that a program's encoder asks for: the module `v1` itself if it changes nothing.

    Args:
        encoder: a class or an object with `encode(event, message)` and `decode(data)`.
    """
    own = {
        name: getattr(encoder, name, None) is not getattr(DefaultPacketEncoder, name) for name in ("encode", "decode")
    }
    return _EncoderCodec(encoder, **own) if any(own.values()) else v1


class _EncoderCodec:
    """A codec of v1 packets made of a program's encoder; whatever that raises becomes one of our errors.

    Args:
        encoder: what the program gave.
        encode: whether it writes packets itself; otherwise they are written as v1 has it.
        decode: whether it reads packets itself; otherwise they are read as strictly as without an encoder.
    """

    def __init__(self, encoder: Any, *, encode: bool, decode: bool) -> None:
        self._encoder = encoder
        self._encodes = encode
        self._decodes = decode

    def encode(self, event: str, value: Value) -> bytes:
        if not self._encodes:
            return v1.encode(event, value)
        try:
            return bytes(self._encoder.encode(event, value))
        except EncodeError:
            raise
        except Exception as error:
            raise EncodeError(f"the encoder cannot send this: {error}") from error

    def decode(self, packet: bytes, options: Options) -> tuple[str, Value]:
        if not self._decodes:
            return v1.decode(packet, options)
        try:
            event, value = self._encoder.decode(packet)
        except Exception as error:
            raise InvalidPacket(f"the encoder cannot read this: {type(error).__name__}") from error
        if not isinstance(event, str):
            raise InvalidPacket("the encoder read an event whose name is no text")
        _check_size("an event's name", event, options.max_event)
        _check_size("a value", value, options.max_payload)
        return event, value


def _check_size(what: str, value: object, most: int) -> None:
    """Raise InvalidPacket if bytes or text are too long. Other values are within the limit of the whole message."""
    if isinstance(value, str):
        value = value.encode(errors="surrogatepass")
    if isinstance(value, (bytes, bytearray)) and len(value) > most:
        raise InvalidPacket(f"{what} may have {most} bytes, this one has {len(value)}")
