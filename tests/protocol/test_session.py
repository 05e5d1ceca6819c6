"""The state machine of one device connection: bytes and times in, events and bytes out."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iotio_protocol import v0, v1
from iotio_protocol.errors import EncodeError, ErrorCode, HandshakeError, InvalidPacket
from iotio_protocol.frames import encode_close, encode_frame
from iotio_protocol.handshake import Hello
from iotio_protocol.options import Options
from iotio_protocol.reasons import DisconnectReason
from iotio_protocol.session import BadGreeting, Ended, Event, Greeting, Invalid, Packet, Session, State
from iotio_protocol.values import Value
from tests.protocol.vectors import load

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
OPTIONS = Options()
BAD_ID = HandshakeError(ErrorCode.CLIENT_NO_ID)
HANDSHAKE = b'[/"dev"/][/"echo"/][/"{}"/]'


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A short frame of a device, with a mask of zeros."""
    assert len(payload) < 126
    return bytes([(0x80 if fin else 0) | opcode, 0x80 | len(payload)]) + bytes(4) + payload


def v1_open(options: Options = OPTIONS) -> Session:
    session = Session(1, options, now=0)
    session.open()
    return session


def v0_open(opcode: int = TEXT, options: Options = OPTIONS) -> Session:
    session = Session(0, options, now=0)
    session.receive(frame(opcode, HANDSHAKE), now=0)
    session.open()
    return session


def state(session: Session) -> State:
    """The state as it is now: type checkers take an attribute for one that stays."""
    return session.state


def answer(session: Session, data: bytes, now: float = 0) -> tuple[list[Event], bytes]:
    events = session.receive(data, now)
    return events, session.take_output()


# v1: packets.


def test_a_v1_device_is_let_in_without_a_word() -> None:
    session = Session(1, OPTIONS, now=0)
    assert state(session) is State.GREETING
    session.open()
    assert state(session) is State.OPEN
    assert session.take_output() == b""


def test_packets_in_order() -> None:
    data = frame(BINARY, v1.encode("a", 1)) + frame(BINARY, v1.encode("b", "two"))
    assert answer(v1_open(), data) == ([Packet("a", 1), Packet("b", "two")], b"")


def test_packets_out() -> None:
    session = v1_open()
    assert session.wire == "v1"
    assert session.encode("echo", "hello") == encode_frame(BINARY, v1.encode("echo", "hello"))
    with pytest.raises(EncodeError):
        session.encode("echo", None)


@pytest.mark.parametrize(
    "data",
    [frame(TEXT, b"hello"), frame(TEXT), frame(BINARY), frame(BINARY, b"\x05\x00\x00\x00\x00\x00\x00")],
    ids=["text", "empty text", "empty", "unknown type"],
)
def test_an_invalid_packet_is_answered_and_the_next_one_counts(data: bytes) -> None:
    session = v1_open()
    events, out = answer(session, data + frame(BINARY, v1.encode("a", 1)))
    invalid, packet = events
    assert isinstance(invalid, Invalid)
    assert packet == Packet("a", 1)
    error = v1.error_packet(ErrorCode.CLIENT_INVALID_PACKET, {"problem": invalid.problem})
    assert out == encode_frame(BINARY, error)
    assert state(session) is State.OPEN


def test_each_invalid_packet_gets_its_own_answer_in_order() -> None:
    session = v1_open()
    events, out = answer(session, frame(BINARY) + frame(PING, b"p") + frame(TEXT))
    assert [type(event) for event in events] == [Invalid, Invalid]
    assert out.count(b"client_invalid_packet") == 2
    assert out.index(encode_frame(PONG, b"p")) > out.index(b"client_invalid_packet")


def test_limits_of_a_packet_and_of_a_message() -> None:
    options = Options(max_event=4, max_payload=10)
    events, _ = answer(v1_open(options), frame(BINARY, v1.encode("e", "x" * 11)))
    assert isinstance(events[0], Invalid)
    session = v1_open(options)
    events, out = answer(session, frame(BINARY, v1.encode("echo", "x" * 16)))
    assert isinstance(events[0], Ended)
    assert out[:4] == b"\x88" + out[1:2] + (1009).to_bytes(2, "big")
    assert state(session) is State.CLOSED


class Shouting:
    """A user's encoder."""

    def encode(self, event: str, value: Value) -> bytes:
        return f"{event}={value!r}!".encode()

    def decode(self, packet: bytes, options: Options) -> tuple[str, Value]:
        if not packet.endswith(b"!"):
            raise InvalidPacket("too quiet")
        return packet.decode()[:-1], options.max_event


def test_another_codec() -> None:
    session = Session(1, OPTIONS, now=0, codec=Shouting())
    session.open()
    assert session.encode("a", 1) == encode_frame(BINARY, b"a=1!")
    events, _ = answer(session, frame(BINARY, b"hey!") + frame(BINARY, b"psst"))
    assert events == [Packet("hey", 256), Invalid("too quiet")]


# v1: refusal.


def test_a_refusal_is_the_error_packet_and_later_the_close_frame() -> None:
    session = Session(1, OPTIONS, now=0)
    session.refuse(BAD_ID, now=10)
    assert state(session) is State.REFUSED
    assert session.take_output() == encode_frame(BINARY, v1.error_packet(ErrorCode.CLIENT_NO_ID))
    assert session.deadline == 13
    assert session.tick(now=12.9) == []
    assert session.take_output() == b""
    assert session.tick(now=13) == []
    assert session.take_output() == encode_close(1008, "refused")
    assert state(session) is State.CLOSING
    assert session.receive(frame(CLOSE, b"\x03\xf0"), now=14) == [Ended(DisconnectReason.REFUSED, "")]
    assert session.take_output() == b""


def test_info_of_a_refusal() -> None:
    session = Session(1, OPTIONS, now=0)
    info: dict[str, object] = {"endpointId": "", "endpointProblem": "invalid_json"}
    session.refuse(HandshakeError(ErrorCode.CLIENT_INVALID_ENDPOINTS, info), now=0)
    assert v1.decode(session.take_output()[2:]) == (
        "error",
        {"error": "client_invalid_endpoints", "info": info},
    )


def test_what_a_refused_device_sends_is_ignored_but_for_ping() -> None:
    session = Session(1, OPTIONS, now=0)
    session.refuse(BAD_ID, now=0)
    session.take_output()
    data = frame(BINARY, v1.encode("a", 1)) + frame(TEXT, b"x") + frame(PING, b"p")
    assert answer(session, data) == ([], encode_frame(PONG, b"p"))


def test_a_refused_device_that_closes_is_answered() -> None:
    session = Session(1, OPTIONS, now=0)
    session.refuse(BAD_ID, now=0)
    session.take_output()
    events, out = answer(session, frame(CLOSE, b"\x03\xe8"))
    assert len(events) == 1
    assert isinstance(events[0], Ended)
    assert out == encode_close(1000)


def test_no_refusal_after_the_end() -> None:
    session = v1_open()
    session.receive_eof(now=0)
    session.refuse(BAD_ID, now=0)
    assert state(session) is State.CLOSED
    assert session.take_output() == b""


# v0.


@pytest.mark.parametrize(("opcode", "wire"), [(TEXT, "v0"), (BINARY, "v0b")])
def test_a_v0_device_is_answered_in_the_frames_that_it_greets_in(opcode: int, wire: str) -> None:
    session = Session(0, OPTIONS, now=0)
    data = frame(opcode, HANDSHAKE) + frame(opcode, '[/"echo"/][/"é"/]'.encode())
    events, out = answer(session, data)
    assert events == [Greeting(Hello("dev", "echo", "{}", [], 0)), Packet("echo", "é")]
    assert out == b""
    session.open()
    assert session.wire == wire
    assert session.encode("a", 5) == encode_frame(opcode, b'[/"a"/][/"5"/]')
    with pytest.raises(EncodeError):
        session.encode("a", [1])


def test_a_device_that_greets_in_binary_may_send_text_and_not_the_other_way_round() -> None:
    packet = v0.encode("a", 1).encode()
    assert answer(v0_open(BINARY), frame(TEXT, packet)) == ([Packet("a", 1)], b"")
    events, out = answer(v0_open(TEXT), frame(BINARY, packet))
    assert [type(event) for event in events] == [Invalid]
    assert out == b""


@pytest.mark.parametrize("data", [frame(TEXT), frame(TEXT, b"hello"), frame(TEXT, b'[/"a"/]')])
def test_an_invalid_v0_packet_is_ignored(data: bytes) -> None:
    session = v0_open()
    events, out = answer(session, data + frame(TEXT, v0.encode("a", 1).encode()))
    assert [type(event) for event in events] == [Invalid, Packet]
    assert out == b""


def test_bytes_that_are_not_utf8_from_a_binary_v0_device() -> None:
    events, out = answer(v0_open(BINARY), frame(BINARY, b"\xff"))
    assert [type(event) for event in events] == [Invalid]
    assert out == b""


@pytest.mark.parametrize(
    "data", [frame(TEXT), frame(TEXT, b"hello"), frame(BINARY, b"\xff"), frame(TEXT, HANDSHAKE + HANDSHAKE)]
)
def test_a_wrong_handshake_is_closed_at_once(data: bytes) -> None:
    session = Session(0, OPTIONS, now=0)
    events, out = answer(session, data + frame(TEXT, HANDSHAKE))
    assert [type(event) for event in events] == [Invalid]
    assert out[:1] == b"\x88"
    assert out[2:4] == (1008).to_bytes(2, "big")
    assert state(session) is State.CLOSING


def test_a_v0_device_of_an_unknown_type_is_closed_at_once() -> None:
    session = v0_open()
    session.refuse(HandshakeError(ErrorCode.CLIENT_INVALID_TYPE), now=0)
    assert session.take_output() == encode_close(1008, "client_invalid_type")
    assert state(session) is State.CLOSING


@pytest.mark.parametrize(
    ("handshake", "words"),
    [
        (b'[/"iiiii"/][/"echo"/][/"{}"/]', "client_no_id {'limit': 'max_id', 'most': 4, 'size': 5}"),
        (b'[/"i"/][/"echos"/][/"{}"/]', "client_invalid_type {'limit': 'max_id', 'most': 4, 'size': 5}"),
        (b'[/"i"/][/"echo"/][/"123456"/]', "client_invalid_data {'limit': 'max_data', 'most': 5, 'size': 6}"),
    ],
)
def test_a_v0_device_with_a_handshake_over_a_limit_is_told_which(handshake: bytes, words: str) -> None:
    session = Session(0, Options(max_id=4, max_data=5), now=0)
    (event,) = session.receive(frame(TEXT, handshake), now=0)
    assert isinstance(event, BadGreeting)
    session.refuse(event.error, now=0)
    assert session.take_output() == encode_close(1008, words)
    assert state(session) is State.CLOSING


@pytest.mark.parametrize("version", [0, 1])
def test_a_message_before_the_introduction_has_a_limit_of_its_own(version: int) -> None:
    session = Session(version, Options(max_introduction=50), now=0)
    (event,) = session.receive(bytes((0x82, 0x80 | 51)), now=0)
    assert isinstance(event, Ended)
    assert session.take_output() == encode_close(1009, "the first message may have 50 bytes")


@pytest.mark.parametrize("version", [0, 1])
def test_after_it_messages_have_theirs(version: int) -> None:
    options = Options(max_introduction=50, max_payload=70)
    session = v0_open(options=options) if version == 0 else v1_open(options)
    data = v1.encode("e", "v" * 70) if version else v0.encode("e", "v" * 70).encode()
    assert answer(session, frame(BINARY if version else TEXT, data)) == ([Packet("e", "v" * 70)], b"")


def test_a_v0_device_has_30_seconds() -> None:
    session = Session(0, OPTIONS, now=100)
    assert session.deadline == 130
    session.receive(frame(PING), now=129)
    session.take_output()
    assert session.deadline == 130, "only the handshake counts"
    assert session.tick(now=130) == []
    assert session.take_output() == encode_close(1008, "handshake_timeout")
    assert session.receive_eof(now=131) == [Ended(DisconnectReason.HANDSHAKE_TIMEOUT, "the TCP stream ended")]


# Liveness.


def test_silence_is_answered_with_a_ping_and_a_pong_gives_the_time_it_took() -> None:
    session = v1_open()
    assert session.deadline == 20
    assert session.tick(now=20) == []
    assert session.take_output() == encode_frame(PING, b"\x00\x00\x00\x01")
    assert session.deadline == 30
    assert session.receive(frame(PONG, b"\x00\x00\x00\x01"), now=20.25) == []
    assert session.rtt == 0.25
    assert session.deadline == 40.25


def test_anything_is_as_good_as_a_pong() -> None:
    session = v1_open()
    session.tick(now=20)
    session.receive(frame(BINARY, v1.encode("a", 1)), now=25)
    assert session.tick(now=30) == []
    assert state(session) is State.OPEN
    assert session.rtt is None


def test_a_pong_nobody_asked_for_means_nothing_but_life() -> None:
    session = v1_open()
    assert answer(session, frame(PONG, b"\x00\x00\x00\x01"), now=5) == ([], b"")
    assert session.rtt is None
    assert session.deadline == 25


def test_no_answer_to_a_ping_ends_the_connection_with_a_close_frame() -> None:
    session = v1_open()
    session.tick(now=20)
    session.take_output()
    (ended,) = session.tick(now=30)
    assert isinstance(ended, Ended)
    assert ended.reason is DisconnectReason.PING_TIMEOUT
    assert session.take_output() == encode_close(1001, "ping_timeout")
    assert state(session) is State.CLOSED
    assert session.deadline == float("inf")


def test_pings_can_be_turned_off() -> None:
    assert v1_open(Options(ping_interval=0)).deadline == float("inf")


def test_pings_are_answered_with_the_same_payload() -> None:
    payload = bytes(range(125))
    assert answer(v1_open(), frame(PING, payload)) == ([], encode_frame(PONG, payload))


def test_tick_is_harmless_at_any_time() -> None:
    for session in (v1_open(), v0_open(), Session(1, OPTIONS, now=0)):
        assert session.tick(now=0) == []
        assert session.take_output() == b""


# The end.


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (DisconnectReason.REMOVED, 1000),
        (DisconnectReason.SERVER_SHUTDOWN, 1001),
        (DisconnectReason.TAKEOVER, 1008),
        (DisconnectReason.BACKPRESSURE, 1008),
    ],
)
def test_the_server_closes_and_waits_for_the_answer(reason: DisconnectReason, code: int) -> None:
    session = v1_open()
    session.close(reason, now=5)
    session.close(DisconnectReason.REMOVED, now=6)
    assert session.take_output() == encode_close(code, reason.value)
    assert state(session) is State.CLOSING
    assert session.deadline == 8
    data = frame(BINARY, v1.encode("late", 1)) + frame(PING) + frame(CLOSE, code.to_bytes(2, "big"))
    assert answer(session, data, now=6) == ([Ended(reason, "")], b"")
    assert state(session) is State.CLOSED


def test_the_server_does_not_wait_for_ever() -> None:
    session = v1_open()
    session.close(DisconnectReason.REMOVED, now=0)
    (ended,) = session.tick(now=3)
    assert isinstance(ended, Ended)
    assert ended.reason is DisconnectReason.REMOVED
    assert session.tick(now=100) == []


@pytest.mark.parametrize("reason", [DisconnectReason.SERVER_SHUTDOWN, DisconnectReason.PING_TIMEOUT])
def test_abort_ends_at_once(reason: DisconnectReason) -> None:
    session = v1_open()
    assert session.abort(reason, now=0) == [Ended(reason, "ended by the server")]
    assert session.take_output() == encode_close(1001, reason.value)
    assert session.abort(reason, now=0) == []


def test_the_end_of_tcp() -> None:
    session = v1_open()
    session.receive(frame(BINARY, b"half")[:5], now=0)
    assert session.receive_eof(now=1) == [Ended(DisconnectReason.TRANSPORT_CLOSED, "the TCP stream ended")]
    assert session.receive_eof(now=2) == []
    assert session.take_output() == b""


def test_the_end_comes_once_and_nothing_after_it() -> None:
    session = v1_open()
    events = session.receive(frame(CLOSE, b"\x03\xe8bye") + frame(BINARY, v1.encode("a", 1)), now=0)
    assert events == [Ended(DisconnectReason.CLIENT_CLOSE, "bye")]
    assert session.take_output() == encode_close(1000)
    for late in (session.receive(frame(BINARY), 1), session.receive_eof(1), session.tick(1000)):
        assert late == []
    session.close(DisconnectReason.REMOVED, now=1)
    assert session.take_output() == b""


def test_a_broken_rule_ends_the_connection() -> None:
    session = v1_open()
    events, out = answer(session, frame(BINARY, v1.encode("a", 1)) + frame(3))
    assert events[0] == Packet("a", 1)
    assert events[1] == Ended(DisconnectReason.PROTOCOL_ERROR, "unknown opcode")
    assert out == encode_close(1002, "unknown opcode")


@pytest.mark.parametrize("data", [frame(PING, b"p"), frame(3), frame(CLOSE)], ids=["ping", "rule", "close"])
def test_a_closed_session_says_nothing_more(data: bytes) -> None:
    session = v1_open()
    session.abort(DisconnectReason.PING_TIMEOUT, now=0)
    session.take_output()
    assert answer(session, data) == ([], b"")


def test_only_one_close_frame_is_ever_sent() -> None:
    """RFC 6455, 5.5.1: nothing follows a CLOSE frame."""
    session = v1_open()
    session.close(DisconnectReason.REMOVED, now=0)
    session.take_output()
    events, out = answer(session, frame(3))
    assert [type(event) for event in events] == [Ended]
    assert out == b""


# The vectors: what a device sends after a handshake, and what it is answered.

RUNTIME = [
    case
    for case in load("v1_errors.json")["runtime"]
    if case["group"] in ("malformed", "ws", "close") and re.fullmatch("[0-9a-f]+", case.get("sent_hex") or "")
]
CLOSES = {
    "close_999": 1002,
    "close_1004": 1002,
    "close_1006": 1002,
    "close_1015": 1002,
    "close_2999": 1002,
    "close_empty": 1000,
    "close_one_byte": 1002,
    "close_bad_utf8_reason": 1002,
    "data_after_close": 1000,
    "text_bad_utf8": 1007,
    "len_msb_set": 1009,
    "rsv2": 1002,  # accepted by the original
}


@pytest.mark.parametrize("case", RUNTIME, ids=lambda case: case["name"])
@pytest.mark.parametrize("step", [0, 1], ids=["whole", "bytewise"])
def test_wire_vectors(case: dict[str, Any], step: int) -> None:
    session = v1_open()
    data = bytes.fromhex(case["sent_hex"])
    events: list[Event] = []
    for at in range(0, len(data), step or len(data)):
        events += session.receive(data[at : at + (step or len(data))], now=0)
    out = session.take_output()
    outcome = case["outcome_0.4.10"]
    if case["name"] == "half_frame_then_fin":
        assert (events, out) == ([], b"")
    elif case["name"] == "int_4_bytes":  # see tests/protocol/test_v1.py
        assert events == [Packet("echo", 42)]
    elif case["group"] == "malformed":
        assert [type(event) for event in events] == [Invalid]
        assert b'"error": "client_invalid_packet"' in out
        assert state(session) is State.OPEN
    elif case["name"] in CLOSES or outcome["close"]:
        number = re.fullmatch(r"close_(\d+)", case["name"])
        code = CLOSES.get(case["name"]) or (int(number[1]) if number else outcome["close"][0]["code"])
        assert isinstance(events[-1], Ended)
        assert out[0] == 0x88
        assert int.from_bytes(out[2:4], "big") == code
    else:
        assert [type(event) for event in events] == [Packet] * len(outcome["packets"])
        pongs = b"".join(encode_frame(PONG, bytes.fromhex(payload)) for payload in outcome["pongs"])
        assert out == pongs


# Properties.


@given(st.sampled_from([0, 1]), st.lists(st.binary(max_size=80), max_size=6), st.booleans())
@settings(max_examples=300)
def test_any_bytes_raise_nothing_and_the_end_comes_once(version: int, chunks: list[bytes], opened: bool) -> None:
    session = Session(version, Options(max_payload=50), now=0)
    if opened:
        session.open()
    events: list[Event] = []
    for number, chunk in enumerate(chunks):
        events += session.receive(chunk, now=number)
        events += session.tick(now=number)
    events += session.receive_eof(now=10)
    ends = [isinstance(event, Ended) for event in events]
    assert ends[-1]
    assert sum(ends) == 1
    assert state(session) is State.CLOSED


PIECES = st.sampled_from(
    [
        frame(BINARY, v1.encode("a", 1)),
        frame(TEXT, HANDSHAKE),
        frame(TEXT, b'[/"a"/][/"1"/]'),
        frame(BINARY, b"\x05"),
        frame(TEXT, b"x", fin=False),
        frame(0, b"y"),
        frame(PING, b"p"),
        frame(PONG, b"q"),
        frame(CLOSE, b"\x03\xe8"),
        frame(11),
    ]
)


@given(
    st.sampled_from([0, 1]),
    st.lists(PIECES | st.sampled_from(["tick", "close", "refuse", "abort", "open", "eof"]), max_size=10),
)
@settings(max_examples=300)
def test_in_any_order_of_calls_at_most_one_close_frame_leaves_and_it_is_the_last(
    version: int, calls: list[bytes | str]
) -> None:
    session = Session(version, OPTIONS, now=0)
    events: list[Event] = []
    out = b""
    for number, call in enumerate(calls):
        now = number * 15.0
        if isinstance(call, bytes):
            events += session.receive(call, now)
        elif call == "tick":
            events += session.tick(now)
        elif call == "close":
            session.close(DisconnectReason.REMOVED, now)
        elif call == "refuse":
            session.refuse(BAD_ID, now)
        elif call == "abort":
            events += session.abort(DisconnectReason.SERVER_SHUTDOWN, now)
        elif call == "open":
            session.open()
        else:
            events += session.receive_eof(now)
        out += session.take_output()
    opcodes = [first & 0x0F for first in first_bytes(out)]
    assert opcodes.count(CLOSE) <= 1
    assert CLOSE not in opcodes[:-1]
    assert sum(isinstance(event, Ended) for event in events) <= 1
    assert all(not isinstance(event, Ended) for event in events[:-1])


def first_bytes(stream: bytes) -> list[int]:
    """The first byte of each frame of the server."""
    found = []
    while stream:
        found.append(stream[0])
        size, start = stream[1], 2
        if size == 126:
            size, start = int.from_bytes(stream[2:4], "big"), 4
        stream = stream[start + size :]
    return found
