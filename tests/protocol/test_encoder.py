"""Encoders of a program's own in the place of the v1 codec."""

from __future__ import annotations

from typing import Any

import pytest

from iotio_protocol import v1
from iotio_protocol.encoder import AbstractPacketEncoder, DefaultPacketEncoder, codec_of
from iotio_protocol.errors import EncodeError, InvalidPacket
from iotio_protocol.options import Options

SMALL = Options(max_event=4, max_payload=8)


class Reversed(AbstractPacketEncoder):
    """The event and the value as text, separated, backwards."""

    @staticmethod
    def encode(event: str, message: Any) -> bytearray:
        return bytearray(f"{event}|{message}"[::-1].encode())

    @staticmethod
    def decode(data: bytes | bytearray) -> tuple[str, Any]:
        event, message = bytes(data).decode()[::-1].split("|")
        return event, message


def test_the_default_encoder_is_protocol_v1() -> None:
    packet = DefaultPacketEncoder.encode("event", {"a": 1})
    assert type(packet) is bytearray
    assert packet == v1.encode("event", {"a": 1})
    assert DefaultPacketEncoder.decode(packet) == ("event", {"a": 1})


def test_the_base_has_no_methods_of_its_own() -> None:
    with pytest.raises(NotImplementedError, match="needs a static method encode"):
        AbstractPacketEncoder.encode("x", 1)
    with pytest.raises(NotImplementedError, match="needs a static method decode"):
        AbstractPacketEncoder.decode(b"")


class Same(DefaultPacketEncoder):
    pass


@pytest.mark.parametrize("encoder", [DefaultPacketEncoder, DefaultPacketEncoder(), Same, Same()])
def test_an_encoder_that_changes_nothing_is_the_module_itself(encoder: Any) -> None:
    assert codec_of(encoder) is v1


@pytest.mark.parametrize("encoder", [Reversed, Reversed()])
def test_an_encoder_of_its_own(encoder: Any) -> None:
    codec = codec_of(encoder)
    assert codec.encode("ab", "x") == b"x|ba"
    assert codec.decode(b"x|ba", SMALL) == ("ab", "x")


def test_what_it_raises_is_an_error_of_ours() -> None:
    class Broken(AbstractPacketEncoder):
        @staticmethod
        def encode(event: str, message: Any) -> bytearray:
            if event == "own":
                raise EncodeError("as it is")
            raise KeyError(event)

    codec = codec_of(Broken)
    with pytest.raises(EncodeError, match="the encoder cannot send this: 'x'"):
        codec.encode("x", 1)
    with pytest.raises(EncodeError, match="as it is"):
        codec.encode("own", 1)
    with pytest.raises(InvalidPacket, match="the encoder cannot read this: NotImplementedError"):
        codec.decode(b"", SMALL)


@pytest.mark.parametrize(
    ("event", "value", "problem"),
    [
        (b"bytes", "x", "an event whose name is no text"),
        ("longer", "x", "an event's name may have 4 bytes, this one has 6"),
        ("ääa", "x", "an event's name may have 4 bytes, this one has 5"),
        ("x", "x" * 9, "a value may have 8 bytes, this one has 9"),
        ("x", b"x" * 9, "a value may have 8 bytes, this one has 9"),
        ("x", "\ud800" * 3, "a value may have 8 bytes, this one has 9"),
    ],
)
def test_what_it_reads_keeps_the_limits(event: Any, value: Any, problem: str) -> None:
    class Reads(DefaultPacketEncoder):
        @staticmethod
        def decode(data: bytes | bytearray) -> tuple[str, Any]:
            return event, value

    with pytest.raises(InvalidPacket, match=problem):
        codec_of(Reads).decode(b"", SMALL)
