"""The server's side of a v2 connection: what the conversations of the vectors do not reach, and its states."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iotio_protocol import session as session_module
from iotio_protocol import strict_json, v0, v1, v2
from iotio_protocol.errors import ErrorCode, HandshakeError, InvalidPacket, StreamGap, TooLarge
from iotio_protocol.frames import BINARY, CLOSE, PING, TEXT, FrameDecoder, encode_close, encode_frame
from iotio_protocol.handshake import Hello
from iotio_protocol.options import Options
from iotio_protocol.reasons import DisconnectReason
from iotio_protocol.session import (
    MOVES,
    BadGreeting,
    Ended,
    Event,
    Greeting,
    Invalid,
    Packet,
    Session,
    State,
)
from iotio_protocol.v2 import read_heard, read_stream
from iotio_protocol.v2_session import V2Session, read_hello

OPTIONS = Options()
HELLO = v2.encode_json(v2.HELLO, {"id": "kitchen", "type": "lamp"})


def masked(data: bytes) -> bytes:
    """A frame of `encode_frame` as a device sends it, with a mask of zeros."""
    head = {126: 4, 127: 10}.get(data[1], 2)
    return bytes((data[0], data[1] | 0x80)) + data[2:head] + bytes(4) + data[head:]


def message(packet: bytes) -> bytes:
    """The frame of a device's packet."""
    return masked(encode_frame(BINARY, packet))


def written(session: Session) -> list[Any]:
    """What the session has written since: packets decoded, CLOSE frames as they are."""
    wide = Options(max_event=0xFFFF)
    items = FrameDecoder(1 << 21).feed(masked_all(session.take_output()))
    return [v2.decode(item, wide) if isinstance(item, bytes) else item for item in items]


def masked_all(data: bytes) -> bytes:
    """Several frames, each as `masked`."""
    found = b""
    while data:
        size, head = data[1], 2
        if size > 125:
            head = 4 if size == 126 else 10
            size = int.from_bytes(data[2:head], "big")
        found += masked(data[: head + size])
        data = data[head + size :]
    return found


def state(session: Session) -> State:
    """The state as it is now: type checkers take an attribute for one that stays."""
    return session.state


def opened(options: Options = OPTIONS) -> V2Session:
    """A session whose device is let in, with WELCOME read."""
    session = V2Session(options, now=0)
    session.receive(message(HELLO), now=0)
    session.open()
    session.take_output()
    return session


def problems(session: Session) -> list[str]:
    """The codes of the PROBLEMs since."""
    return [one.error for one in written(session) if isinstance(one, v2.Problem)]


# Opening.


def test_the_hello_is_told_and_the_welcome_is_written() -> None:
    session = V2Session(OPTIONS, now=0)
    fields: dict[str, object] = {
        "id": "k",
        "type": "t",
        "data": {"a": 1},
        "endpoints": [1],
        "state": {"level": 21.5},
        "library": "x" * 70,
        "sends": "s",
        "heard": {"stream": "r", "upto": 5},
    }
    (greeting,) = session.receive(message(v2.encode_json(v2.HELLO, fields)), now=0)
    assert greeting == Greeting(Hello("k", "t", {"a": 1}, [1], 2, {"level": 21.5}), "x" * 64, "s", ("r", 5))
    assert session.take_output() == b""
    session.open({"server": "s", "time": 1})
    (welcome,) = written(session)
    assert welcome.welcome
    assert welcome.fields["server"] == "s"
    assert welcome.fields["max_payload"] == OPTIONS.max_payload
    session.open()
    assert session.take_output() == b""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (Options(), b'"ping_interval": 20, "ping_timeout": 10,'),
        (Options(ping_interval=0.0, ping_timeout=30.0), b'"ping_interval": 0, "ping_timeout": 30,'),
        (Options(ping_interval=0.5, ping_timeout=2.25), b'"ping_interval": 0.5, "ping_timeout": 2.25,'),
        (Options(ping_interval=1e9), b'"ping_interval": 1000000000,'),
    ],
)
def test_the_welcome_says_whole_seconds_as_integers(options: Options, said: bytes) -> None:
    session = V2Session(options, now=0)
    session.receive(message(HELLO), now=0)
    session.open()
    assert said in session.take_output()


def test_what_may_be_left_out() -> None:
    assert read_hello({"id": "k", "type": ""}) == Greeting(Hello("k", "", {}, [], 2), "", None, (None, 0))
    assert read_hello({"id": "k", "type": "t", "library": 5}).library == ""
    assert read_hello({"id": "k", "type": "t", "state": None}).hello.state is None
    assert read_hello({"id": "k", "type": "t", "state": {}}).hello.state == {}
    assert read_stream(None) is None
    assert read_heard(None) == (None, 0)
    assert read_heard({"upto": 3}) == (None, 3)
    assert read_heard({"stream": "s", "upto": v2.MAX_NUMBER}) == ("s", v2.MAX_NUMBER)


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.sampled_from(["id", "type", "data", "endpoints", "state", "library", "sends", "heard"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just("\ud800"),
            lambda inner: (
                st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["stream", "upto", "x"]), inner)
            ),
            max_leaves=4,
        ),
    )
)
def test_any_hello_is_read_or_refused(fields: dict[str, object]) -> None:
    try:
        greeting = read_hello(fields)
    except (HandshakeError, InvalidPacket):
        return
    (greeting.hello.id + greeting.hello.type + greeting.library + (greeting.sends or "")).encode()
    assert 0 <= greeting.heard[1] <= v2.MAX_NUMBER


def test_no_answer_comes_before_the_welcome() -> None:
    session = V2Session(OPTIONS, now=0)
    events = session.receive(message(HELLO) + message(b"") * 20 + message(v2.encode("e", 1)), now=0)
    assert [type(event) for event in events] == [Greeting, *[Invalid] * 20, Packet]
    assert session.take_output() == b""
    session.open()
    first, *others = written(session)
    assert isinstance(first, v2.Greeting)
    assert [one.error for one in others] == ["client_invalid_packet"] * 8  # what waits is bounded
    session.receive(message(b""), now=0)
    assert problems(session) == ["client_invalid_packet"]


def test_a_refused_device_gets_one_problem() -> None:
    session = V2Session(OPTIONS, now=0)
    bad = v2.encode_json(v2.HELLO, {"type": "lamp"})
    first, *_ = session.receive(message(bad) + message(b""), now=0)
    assert isinstance(first, BadGreeting)
    session.refuse(first.error, now=0)
    assert written(session) == [v2.Problem("client_no_id", None)]
    assert state(session) is State.REFUSED
    session.receive(message(b""), now=0)
    session.tick(now=OPTIONS.refusal_delay)
    assert session.take_output() == encode_close(1008, "refused")  # no GOODBYE to whom nobody has welcomed


def test_a_state_that_is_none_refuses_the_device_with_words() -> None:
    session = V2Session(OPTIONS, now=0)
    bad = v2.encode_json(v2.HELLO, {"id": "k", "type": "t", "state": ["level", 21.5]})
    (event,) = session.receive(message(bad), now=0)
    words = "a report is an object, endpoint id to value, not a value of type list"
    assert event == Invalid(words)
    problem = encode_frame(BINARY, v2.encode_problem(ErrorCode.CLIENT_INVALID_PACKET, {"problem": words}))
    assert session.take_output() == problem + encode_close(1008, "a device's first packet must be HELLO")


def test_a_device_that_says_nothing() -> None:
    session = V2Session(OPTIONS, now=0)
    assert session.deadline == OPTIONS.handshake_timeout
    session.tick(now=OPTIONS.handshake_timeout)
    assert session.take_output() == encode_close(1008, "handshake_timeout")


# Packets.


def test_packets_come_as_what_they_are() -> None:
    session = opened()
    sent: list[tuple[bytes, Event]] = [
        (v2.encode("e", 1), Packet("e", 1)),
        (v2.encode("e", 1, v2.CALL, call=2), v2.Packet("e", 1, v2.CALL, call=2)),
        (v2.encode("e", 1, v2.TIME, time=5), v2.Packet("e", 1, v2.TIME, time=5)),
        (v2.encode("e", 1, v2.DURABLE, number=3, previous=2), v2.Packet("e", 1, v2.DURABLE, number=3, previous=2)),
        (v2.encode_ack(4), v2.Ack(4)),
        (v2.encode_sleep(5), v2.Sleep(5)),
        (v2.encode_json(v2.GOODBYE, {"reason": "r"}), v2.Goodbye("r")),
        (v2.encode_json(v2.PROBLEM, {"error": "x", "info": None}), v2.Problem("x", None)),
        (v2.PONG_PACKET, v2.Pong()),  # nobody has asked for it
    ]
    assert session.receive(b"".join(message(data) for data, _ in sent), now=0) == [event for _, event in sent]
    assert session.take_output() == b""


def test_a_ping_is_answered() -> None:
    session = opened()
    assert session.receive(message(v2.PING_PACKET), now=0) == [v2.Ping()]
    assert written(session) == [v2.Pong()]


def test_no_pong_comes_before_the_welcome() -> None:
    session = V2Session(OPTIONS, now=0)
    session.receive(message(HELLO) + message(v2.PING_PACKET), now=0)
    assert session.take_output() == b""
    session.open()
    welcome, pong = written(session)
    assert (type(welcome), pong) == (v2.Greeting, v2.Pong())


def test_a_ping_is_no_introduction() -> None:
    session = V2Session(OPTIONS, now=0)
    (event,) = session.receive(message(v2.PING_PACKET), now=0)
    assert isinstance(event, Invalid)
    assert state(session) is State.CLOSING


def test_two_sides_do_not_complain_for_ever() -> None:
    session = opened()
    (event,) = session.receive(message(v2.encode_json(v2.PROBLEM, {})), now=0)
    assert isinstance(event, Invalid)
    assert session.take_output() == b""


def test_a_gap_has_its_own_code() -> None:
    session = opened()
    session.complain(StreamGap("after message 1 came 3, and before that there is 2"))
    (problem,) = written(session)
    assert problem == v2.Problem("stream_gap", {"problem": "after message 1 came 3, and before that there is 2"})
    assert state(session) is State.OPEN  # its owner closes it
    session.close(DisconnectReason.PROTOCOL_ERROR, now=0)
    goodbye, close = written(session)
    assert goodbye == v2.Goodbye("protocol_error")
    assert (close.code, close.reason) == (1008, "protocol_error")


def test_events_to_the_device() -> None:
    session = opened()
    assert (session.wire, session.plain) == ("v2", 2)
    assert session.encode("e", None) == encode_frame(BINARY, v2.encode("e", None))


# Closing.


def test_goodbye_comes_before_close() -> None:
    session = opened()
    session.close(DisconnectReason.SERVER_SHUTDOWN, now=0)
    goodbye, close = written(session)
    assert goodbye == v2.Goodbye("server_shutdown")
    assert (close.code, close.reason) == (1001, "server_shutdown")
    session.close(DisconnectReason.REMOVED, now=0)
    assert session.take_output() == b""


def test_goodbye_waits_with_a_close_frame_that_is_held_back() -> None:
    session = opened()
    session.close(DisconnectReason.TAKEOVER, now=0, hold=True)
    assert session.take_output() == b""
    session.tick(now=OPTIONS.refusal_delay)
    goodbye, close = written(session)
    assert goodbye == v2.Goodbye("takeover")
    assert close.code == 1008


def test_a_silent_device_gets_a_goodbye_as_well() -> None:
    session = opened()
    session.tick(now=OPTIONS.ping_interval)
    session.take_output()
    (ended,) = session.tick(now=OPTIONS.ping_interval + OPTIONS.ping_timeout)
    assert isinstance(ended, Ended)
    assert [type(one).__name__ for one in written(session)] == ["Goodbye", "Close"]


@pytest.mark.parametrize("data", [masked(encode_frame(CLOSE, b"")), b"\x82\x00"], ids=["CLOSE", "no mask"])
def test_no_goodbye_where_the_device_ends_it(data: bytes) -> None:
    session = opened()
    session.receive(data, now=0)
    (close,) = written(session)
    assert close.code in (1000, 1002)


# States.


MOVES_SEEN: set[tuple[State, State]] = set()


class RecordedSession(Session):
    """A session of v0 or v1 that notes its moves."""

    def _enter(self, state: State, now: float) -> None:
        if state is not self.state:
            MOVES_SEEN.add((self.state, state))
        Session._enter(self, state, now)


class RecordedV2Session(V2Session):
    """One of v2."""

    def _enter(self, state: State, now: float) -> None:
        if state is not self.state:
            MOVES_SEEN.add((self.state, state))
        V2Session._enter(self, state, now)


REFUSAL = HandshakeError(ErrorCode.CLIENT_INVALID_TYPE)
GREETINGS = {
    0: masked(encode_frame(TEXT, v0.encode_handshake("d", "t", {}).encode())),
    1: message(v1.encode("e", 1)),
    2: message(HELLO),
}
STEPS = (
    "greet", "nonsense", "close frame", "ping", "violation", "eof", "later", "much later",
    "open", "refuse", "refuse at once", "close", "close later", "abort",
)  # fmt: skip


def do(session: Session, step: str, now: float) -> list[Event]:
    """One of the things that can happen to a session."""
    match step:
        case "greet":
            return session.receive(GREETINGS[session.version], now)
        case "nonsense":
            return session.receive(message(b"\xff"), now)
        case "close frame":
            return session.receive(masked(encode_close(1000)), now)
        case "ping":
            return session.receive(masked(encode_frame(PING, b"")), now)
        case "violation":
            return session.receive(b"\x82\x00", now)
        case "eof":
            return session.receive_eof(now)
        case "open":
            session.open()
        case "refuse":
            session.refuse(REFUSAL, now)
        case "refuse at once":
            session.refuse(REFUSAL, now, hold=False)
        case "close":
            session.close(DisconnectReason.REMOVED, now)
        case "close later":
            session.close(DisconnectReason.TAKEOVER, now, hold=True)
        case "abort":
            return session.abort(DisconnectReason.SERVER_SHUTDOWN, now)
        case _:
            return session.tick(now)
    return []


def live(version: int, steps: list[str]) -> None:
    """A session's life; what must hold whatever happens is asserted."""
    session: Session = RecordedV2Session(OPTIONS, 0) if version == 2 else RecordedSession(version, OPTIONS, 0)
    now, ends = 0.0, 0
    for step in steps:
        now += {"later": 4.0, "much later": 60.0}.get(step, 0.0)
        before = state(session)
        out_before = ends
        ends += sum(isinstance(event, Ended) for event in do(session, step, now))
        if before is State.CLOSED:
            assert state(session) is State.CLOSED
            assert session.take_output() == b""
            assert ends == out_before
        session.take_output()
    assert ends == (state(session) is State.CLOSED)


@given(st.sampled_from([0, 1, 2]), st.lists(st.sampled_from(STEPS), max_size=8))
def test_no_other_move_than_those_of_the_table(version: int, steps: list[str]) -> None:
    live(version, steps)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_every_move_of_the_table_happens(version: int) -> None:
    MOVES_SEEN.clear()
    for first in STEPS:
        for second in STEPS:
            live(version, [first, second])
            live(version, ["greet", "open", first, second])
    never = {0: set(), 1: {(State.GREETING, State.CLOSING)}, 2: set()}[version]
    assert MOVES_SEEN | never == set(MOVES)
    assert all(before is not State.CLOSED for before, _ in MOVES)


def test_states_change_in_one_place_only() -> None:
    """`_enter`, and the first state in `__init__`."""
    folder = Path(session_module.__file__).parent
    assert len(re.findall(r"\.state = ", (folder / "session.py").read_text(encoding="utf-8"))) == 2
    assert ".state = " not in (folder / "v2_session.py").read_text(encoding="utf-8")


# Limits of the introduction.


def introduced(options: Options, **fields: object) -> Event:
    """The event that a HELLO leads to."""
    session = V2Session(options, now=0)
    body = strict_json.dumps({"id": "i", "type": "t", **fields}).encode()  # half of a surrogate pair, too
    hello = bytes((v2.HELLO, 0, 0, 0)) + len(body).to_bytes(4, "big") + body
    (event,) = session.receive(message(hello), now=0)
    return event


@pytest.mark.parametrize(
    ("fields", "code", "info"),
    [
        ({"id": "i" * 9}, ErrorCode.CLIENT_NO_ID, {"limit": "max_id", "most": 8, "size": 9}),
        ({"id": "ü" * 5}, ErrorCode.CLIENT_NO_ID, {"limit": "max_id", "most": 8, "size": 10}),
        ({"type": "t" * 9}, ErrorCode.CLIENT_INVALID_TYPE, {"limit": "max_id", "most": 8, "size": 9}),
        ({"data": [[]] * 10}, ErrorCode.CLIENT_INVALID_DATA, {"limit": "max_data", "most": 30, "size": 31}),
        ({"data": "\ud800" * 30}, ErrorCode.CLIENT_INVALID_DATA, {"limit": "max_data", "most": 30, "size": 92}),
    ],
)
def test_what_is_too_large_in_a_hello_is_refused(fields: dict[str, object], code: ErrorCode, info: object) -> None:
    event = introduced(Options(max_id=8, max_data=30), **fields)
    assert isinstance(event, BadGreeting)
    assert event.error.code is code
    assert event.error.info == info


def test_a_hello_as_large_as_may_be_is_taken() -> None:
    event = introduced(Options(max_id=8, max_data=30), id="ü" * 4, type="t" * 8, data="ü" * 14, endpoints=["x" * 99])
    assert isinstance(event, Greeting)
    assert event.hello.data == "ü" * 14


def test_a_hello_over_the_limit_is_refused_by_its_length() -> None:
    session = V2Session(Options(max_introduction=100), now=0)
    (event,) = session.receive(bytes((0x82, 0x80 | 101)), now=0)
    assert isinstance(event, Ended)
    assert session.take_output() == encode_close(1009, "the first message may have 100 bytes")


def test_what_comes_behind_a_hello_in_the_same_read_may_be_larger() -> None:
    session = V2Session(Options(max_introduction=50), now=0)
    hello = v2.encode_json(v2.HELLO, {"id": "i", "type": "t"})
    events = session.receive(message(hello) + message(v2.encode("e", "v" * 100)), now=0)
    assert events[1:] == [Packet("e", "v" * 100)]
    session.open({})
    assert session.receive(message(v2.encode("e", "v" * 100)), now=0) == [Packet("e", "v" * 100)]


# What a device takes.


def test_a_device_says_what_it_takes() -> None:
    fields: dict[str, object] = {"id": "k", "type": "t", "max_payload": 100, "max_unacknowledged": 5}
    assert read_hello(fields).takes == v2.Takes(100, 5)
    assert read_hello(fields | {"max_payload": None, "max_unacknowledged": 5000}).takes == v2.TAKES_ALL
    assert read_hello(fields | {"max_payload": v2.MAX_NUMBER}).takes == v2.Takes(v2.MAX_VALUE, 5)


@pytest.mark.parametrize("name", ["max_payload", "max_unacknowledged"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "100", [], v2.MAX_NUMBER + 1, 1 << 80])
def test_a_limit_is_a_whole_number(name: str, value: object) -> None:
    with pytest.raises(InvalidPacket, match=f"'{name}' must be a whole number from 1 to 9007199254740991"):
        read_hello({"id": "k", "type": "t", name: value})


@pytest.mark.parametrize(("most", "plain"), [(1, 0), (65535, 0), (65536, 2)])
def test_what_it_takes_is_part_of_its_wire(most: int, plain: int) -> None:
    session = V2Session(OPTIONS, now=0)
    hello = v2.encode_json(v2.HELLO, {"id": "k", "type": "t", "max_payload": most})
    session.receive(message(hello), now=0)
    assert (session.wire, session.plain) == (f"v2 {most}", plain)
    assert session.encode("e", b"x" * most)
    with pytest.raises(TooLarge) as caught:
        session.encode("e", b"x" * (most + 1))
    assert caught.value.reason == "too_large"
    largest = session_module.string_frame(b"head", "x" * 65527)
    assert largest is not None
    assert session_module.string_frame(b"head", "x" * 65528) is None, "larger ones are encoded by the session"


def test_a_durable_message_that_cannot_be_taken_keeps_its_number() -> None:
    session = opened()
    packet = v2.encode("e" * 300, 1, v2.DURABLE, number=3, previous=2)
    (event,) = session.receive(message(packet), now=0)
    assert isinstance(event, Invalid)
    assert event.durable == (3, 2)
    assert problems(session) == ["client_invalid_packet"]


@pytest.mark.parametrize(
    "name", ["", "a" * 65, "f3a9 ", "f3a9\n", "f3/a9", "k\u00fcche", "\u0663", "\ud800", 5, True, []]
)
def test_a_name_of_a_stream_is_short_ascii(name: object) -> None:
    with pytest.raises(InvalidPacket, match="the name of a stream has 1 to 64 characters of A-Z"):
        read_stream(name)
    with pytest.raises(InvalidPacket):
        read_heard({"stream": name, "upto": 1})
    assert read_stream("az.AZ_09-" + "x" * 55) == "az.AZ_09-" + "x" * 55
