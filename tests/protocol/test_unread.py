"""Large JSON is read when its turn comes, and all that can be said of it before is checked before."""

from __future__ import annotations

import json
from typing import Any

import pytest

from iotio_protocol import v0, v1, v2
from iotio_protocol.errors import InvalidPacket
from iotio_protocol.frames import BINARY, TEXT
from iotio_protocol.options import Options
from iotio_protocol.session import Invalid, Packet, Session
from iotio_protocol.unread import LARGE, Unread, read_value
from iotio_protocol.v2_session import V2Session
from iotio_protocol.values import Value
from tests.support.wire import encode_frame

VALUE = {"key": ["x" * LARGE, 1, None]}


def of_v1(value: Any, *, later: bool) -> Any:
    event, found = v1.decode(v1.encode("e", value), later=later)
    assert event == "e"
    return found


def of_v2(value: Any, *, later: bool, flags: int = v2.CALL) -> Any:
    packet = v2.decode(v2.encode("" if flags == v2.RESULT else "e", value, flags, call=1), later=later)
    assert isinstance(packet, v2.Packet)
    return packet.value


@pytest.mark.parametrize("of", [of_v1, of_v2])
@pytest.mark.parametrize("value", [VALUE, ["x"] * LARGE])
def test_what_is_large_json_is_read_later(of: Any, value: Any) -> None:
    found = of(value, later=True)
    assert type(found) is Unread
    assert found.text == json.dumps(value).encode()
    assert found.read() == read_value(found) == value
    assert of(value, later=False) == value


def test_v0_has_text() -> None:
    found: Any = v0.decode(v0.encode("e", {"a": "x" * LARGE}), later=True)[1]
    assert type(found) is Unread
    assert found.read() == {"a": "x" * LARGE}


@pytest.mark.parametrize("value", [{"a": 1}, "x" * 2 * LARGE, b"x" * 2 * LARGE, 5, True])
def test_all_else_is_read_at_once(value: object) -> None:
    assert v1.decode(v1.encode("e", value), later=True) == ("e", value)  # type: ignore[arg-type]  # it is a value
    assert read_value(value) is value


def test_the_answer_to_a_call_is_read_at_once() -> None:
    assert of_v2(VALUE, later=True, flags=v2.RESULT) == VALUE


def test_what_is_not_json_is_found_out_when_it_is_read() -> None:
    packet = bytes((4,)) + b"\0\1e" + (2 * LARGE).to_bytes(4, "big") + b"[" * 2 * LARGE
    with pytest.raises(InvalidPacket, match="the value is not JSON") as at_once:
        v1.decode(packet)
    _, value = v1.decode(packet, later=True)
    with pytest.raises(InvalidPacket) as later:
        read_value(value)
    assert later.value.problem == at_once.value.problem


def test_lengths_are_checked_on_arrival() -> None:
    options = Options(max_payload=LARGE)
    with pytest.raises(InvalidPacket, match="a value may have 512 bytes"):
        v1.decode(v1.encode("e", VALUE), options, later=True)


def test_a_session_tells_how_large_a_message_was() -> None:
    for session, packet, opcode in (
        (Session(1, Options(), 0.0), v1.encode("e", VALUE), BINARY),
        (V2Session(Options(), 0.0), v2.encode("e", VALUE), BINARY),
        (Session(0, Options(), 0.0), v0.encode("e", {"a": "x" * LARGE}).encode(), TEXT),
    ):
        if session.version == 2:
            session.receive(encode_frame(BINARY, v2.encode_json(v2.HELLO, {"id": "d", "type": "t"})), 0.0)
        elif session.version == 0:
            session.receive(encode_frame(TEXT, v0.encode_handshake("d", "t", {}).encode()), 0.0)
        session.open()
        (event,) = session.receive(encode_frame(opcode, packet), 0.0)
        assert isinstance(event, Packet)
        assert event.size == len(packet)
        assert type(event.value) is Unread


def test_a_codec_of_the_users_own_reads_at_once() -> None:
    class Codec:
        encode = staticmethod(v1.encode)

        @staticmethod
        def decode(packet: bytes, options: Options) -> tuple[str, Value]:
            return v1.decode(packet, options)

    session = Session(1, Options(), 0.0, Codec())
    session.open()
    large = encode_frame(BINARY, v1.encode("e", VALUE))
    assert session.receive(large, 0.0) == [Packet("e", VALUE)]
    assert isinstance(session.receive(encode_frame(BINARY, b"\4\0\1e\0\0\0\1["), 0.0)[0], Invalid)
