"""Packet codecs of a device: the three protocols, and encoders of the program's own."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio_client.packets import AbstractPacketEncoder, DefaultPacketEncoder, TextCodec, V1Codec, V2Codec
from iotio_protocol import v0, v1, v2
from iotio_protocol.errors import EncodeError, InvalidPacket
from iotio_protocol.options import Options

OPTIONS = Options()
EVENTS = st.text(max_size=20)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


class Commas(AbstractPacketEncoder):
    """Event and text with a comma between them."""

    @staticmethod
    def encode(event: str, message: Any) -> bytearray:
        return bytearray(f"{event},{message}".encode())

    @staticmethod
    def decode(data: bytes) -> tuple[str, Any]:
        event, value = data.decode().split(",")
        return event, value


# Encoders.


def test_an_encoder_must_say_both() -> None:
    with pytest.raises(NotImplementedError):
        AbstractPacketEncoder.encode("e", 1)
    with pytest.raises(NotImplementedError):
        AbstractPacketEncoder.decode(b"")


@given(EVENTS, st.text() | st.integers(-(2**63), 2**63 - 1) | st.booleans())
def test_the_default_encoder_is_protocol_v1(event: str, value: Any) -> None:
    packet = DefaultPacketEncoder.encode(event, value)
    assert type(packet) is bytes
    assert packet == v1.encode(event, value)
    assert DefaultPacketEncoder.decode(packet) == v1.decode(packet)


def test_the_default_encoder_is_strict() -> None:
    with pytest.raises(InvalidPacket):
        DefaultPacketEncoder.decode(v1.encode("é", "")[:-1] + b"\xff\xff")
    with pytest.raises(EncodeError):
        DefaultPacketEncoder.encode("e", None)


# Protocol v1.


def test_v1_ignores_text() -> None:
    assert V1Codec(DefaultPacketEncoder, OPTIONS).decode("text") is None
    assert V1Codec(Commas, OPTIONS).decode("a,b") is None


def test_v1_has_the_limits_of_the_options() -> None:
    codec = V1Codec(DefaultPacketEncoder, Options(max_payload=3))
    assert codec.decode(codec.encode("e", "abc")) == ("e", "abc")
    with pytest.raises(InvalidPacket):
        codec.decode(codec.encode("e", "abcd"))


@pytest.mark.parametrize("encoder", [Commas, Commas()], ids=["class", "object"])
def test_an_encoder_of_the_program(encoder: Any) -> None:
    codec = V1Codec(encoder, OPTIONS)
    packet = codec.encode("e", "x")
    assert (packet, type(packet)) == (b"e,x", bytes)
    assert codec.decode(packet) == ("e", "x")


@given(st.binary(max_size=50))
def test_what_an_encoder_of_the_program_cannot_read_is_an_invalid_packet(data: bytes) -> None:
    codec = V1Codec(Commas, OPTIONS)
    if data.count(b",") == 1:
        data = b""
    with pytest.raises(InvalidPacket, match="the encoder cannot read it: ") as caught:
        codec.decode(data)
    assert isinstance(caught.value.__cause__, ValueError)


# Protocol v0.


def test_v0_reads_its_text_in_frames_of_both_kinds() -> None:
    codec = TextCodec(OPTIONS)
    text = codec.encode("e", {"a": "é"})
    assert text == v0.encode("e", {"a": "é"})
    assert codec.decode(text) == codec.decode(text.encode()) == v0.decode(text, OPTIONS)


@given(st.binary() | st.text())
def test_v0_raises_one_error_only(message: bytes | str) -> None:
    with suppress(InvalidPacket):
        TextCodec(OPTIONS).decode(message)


# Protocol v2.


@given(EVENTS, st.none() | st.text() | st.booleans() | st.integers(-(2**31), 2**31 - 1) | FLOATS)
def test_v2_packets_are_those_of_the_protocol(event: str, value: Any) -> None:
    codec = V2Codec(OPTIONS)
    assert codec.encode(event, value) == v2.encode(event, value)
    assert codec.encode(event, value, v2.CALL, call=7) == v2.encode(event, value, v2.CALL, call=7)
    kind, body = v2.encode_value(value)
    assert codec.pack(kind, body, event) == v2.encode(event, value)
    packed = codec.pack(kind, body, event, v2.DURABLE | v2.TIME, number=9, previous=8, time=5)
    decoded = codec.decode(packed)
    assert isinstance(decoded, v2.Packet)
    assert (decoded.event, decoded.value, decoded.number, decoded.previous, decoded.time) == (event, value, 9, 8, 5)


@given(EVENTS, st.integers(1, 30))
def test_the_server_says_how_many_bytes_an_event_may_have(event: str, limit: int) -> None:
    codec = V2Codec(OPTIONS)
    codec.max_event = limit
    if len(event.encode()) <= limit:
        assert codec.encode(event, 1) == v2.encode(event, 1)
    else:
        with pytest.raises(EncodeError, match=f"the server takes {limit} bytes for an event's name"):
            codec.encode(event, 1)


def test_the_server_says_how_many_bytes_a_value_may_have() -> None:
    codec = V2Codec(OPTIONS)
    codec.max_payload = 3
    assert codec.encode("e", "abc") == v2.encode("e", "abc")
    with pytest.raises(EncodeError, match="the server takes 3 bytes for a value, this one has 4"):
        codec.encode("e", "éé")


def test_v2_has_no_text() -> None:
    with pytest.raises(InvalidPacket, match="binary messages, this one is text"):
        V2Codec(OPTIONS).decode("text")
