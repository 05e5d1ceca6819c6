"""The device's end of the wire, against the decoders of the server and an encoder of the tests' own."""

from __future__ import annotations

import pytest

from iotio.testing.wire import CLOSE, PING, Identity, Wire, client_frame, frames_of
from iotio_protocol import v1, v2
from iotio_protocol.errors import EncodeError, InvalidPacket
from iotio_protocol.frames import BINARY, Close, FrameDecoder, Ping, encode_frame
from iotio_protocol.handshake import device_headers, parse_headers
from tests.support.wire import v1_headers

ME = Identity("küche", "lamp", {"floor": 1}, [{"id": "x"}])


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_frames_of_a_client(size: int) -> None:
    payload = bytes(range(256)) * 257
    decoder = FrameDecoder(1 << 20)
    assert decoder.feed(client_frame(BINARY, payload[:size])) == [payload[:size]]


def test_control_frames() -> None:
    decoder = FrameDecoder(1 << 20)
    assert decoder.feed(client_frame(PING, b"x")) == [Ping(b"x")]
    assert decoder.feed(client_frame(CLOSE, b"\x03\xe8bye")) == [Close(1000, "bye")]


def test_masks_differ() -> None:
    assert len({client_frame(BINARY, b"x" * 20) for _ in range(5)}) == 5


def test_frames_of_the_server() -> None:
    payloads = [b"", b"x" * 125, b"x" * 126, b"x" * 70_000]
    assert frames_of(b"".join(encode_frame(BINARY, one) for one in payloads)) == [(BINARY, one) for one in payloads]


def test_the_headers_of_v1() -> None:
    plain = Identity("kitchen", "lamp", {"floor": 1}, [])
    assert plain.headers() == v1_headers("kitchen", "lamp", {"floor": 1})
    hello = parse_headers(device_headers(ME.headers()))
    assert (hello.id, hello.type, hello.data, hello.endpoints) == ("küche", "lamp", {"floor": 1}, [{"id": "x"}])
    with pytest.raises(EncodeError, match=r"^what a device says of itself must be JSON: "):
        Identity("kitchen", "lamp", {"floor": {1}}, []).headers()


def test_the_first_frame() -> None:
    decoder = FrameDecoder(1 << 20)
    (text,) = decoder.feed(Wire(0, v1).hello(Identity("kitchen", "lamp", {}, []), {}))
    assert text == '[/"kitchen"/][/"lamp"/][/"{}"/]'
    (packet,) = decoder.feed(Wire(2, v1).hello(ME, {"heard": None}))
    assert isinstance(packet, bytes)
    said: dict[str, object] = {
        "id": "küche",
        "type": "lamp",
        "data": {"floor": 1},
        "endpoints": [{"id": "x"}],
        "heard": None,
    }
    assert v2.decode(packet) == v2.Greeting(welcome=False, fields=said)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_an_event_there_and_back(protocol: int) -> None:
    wire = Wire(protocol, v1)
    (message,) = FrameDecoder(1 << 20).feed(wire.event("set", 5))
    assert isinstance(message, str if protocol == 0 else bytes)
    payload = message.encode() if isinstance(message, str) else message
    assert isinstance(payload, bytes)
    assert wire.decode(payload) == v2.Packet("set", 5)
    with pytest.raises(InvalidPacket):
        wire.decode(b"\xff")
