"""The session without I/O: exact packets, decisions, states."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio_client.backoff import Backoff
from iotio_client.errors import ClientError, ConnectFailed, DeviceRejected, VersionNotSpoken
from iotio_client.identity import Identity
from iotio_client.received import Dispatch, Ignored, ServerError
from iotio_client.session import Session, State
from iotio_protocol import v1, v2
from iotio_protocol.errors import EncodeError, ErrorCode
from iotio_protocol.options import Options

CLIENT_NO_ID = bytes.fromhex(
    "0400056572726f72000000277b226572726f72223a2022636c69656e745f6e6f5f6964222c2022696e666f223a206e756c6c7d"
)


def session(version: int | None = 1, **more: Any) -> Session:
    return Session(Identity("d1", "t", {}), protocol_version=version, **more)


def test_packets_both_ways() -> None:
    one = session()
    assert one.codec.encode("hello", "x") == b"\x03\x00\x05hello\x00\x00\x00\x01x"
    assert one.codec.receive(b"\x03\x00\x05hello\x00\x00\x00\x01x") == Dispatch("hello", "x")
    zero = session(0)
    assert zero.codec.encode("hello", "x") == '[/"hello"/][/"x"/]'
    assert zero.codec.receive('[/"hello"/][/"7"/]') == Dispatch("hello", 7)
    assert zero.codec.receive(b'[/"hello"/][/"7"/]') == Dispatch("hello", 7)


@pytest.mark.parametrize("value", [1.5, None, (1, 2), object(), {1}])
def test_encode_refuses_what_v1_does_not_send(value: object) -> None:
    with pytest.raises(EncodeError, match="A non-sendable value was passed to a client's send method"):
        session().codec.encode("e", value)


@pytest.mark.parametrize("value", [b"x", [1], None])
def test_encode_refuses_what_v0_does_not_send(value: object) -> None:
    with pytest.raises(ValueError, match="non-sendable"):
        session(0).codec.encode("e", value)


@pytest.mark.parametrize(
    ("result", "packet"),
    [
        (None, None),
        ("a", v1.encode("e", "a")),
        (0, v1.encode("e", 0)),
        (False, v1.encode("e", False)),
        ("", v1.encode("e", "")),
        ([], v1.encode("e", [])),
        (("other", 5), v1.encode("other", 5)),
        (("other", None), None),
    ],
)
def test_reply(result: object, packet: bytes | None) -> None:
    assert session().codec.reply("e", result) == packet


@pytest.mark.parametrize("result", [("only",), (5, "b"), ("a", 1, 2), (), 1.5])
def test_reply_that_is_none(result: object) -> None:
    with pytest.raises(EncodeError):
        session().codec.reply("e", result)


@pytest.mark.parametrize("event", ["connect", "disconnect"])
def test_reserved_events_are_not_dispatched(event: str) -> None:
    assert isinstance(session().codec.receive(v1.encode(event, "")), Ignored)
    assert isinstance(session(0).codec.receive(f'[/"{event}"/][/""/]'), Ignored)


def test_text_is_ignored_and_an_invalid_packet_is_counted() -> None:
    one = session()
    assert one.codec.receive("words") == Ignored("a text message, which protocol v1 does not use", invalid=False)
    assert one.codec.invalid_packets == 0
    received = one.codec.receive(b"")
    assert isinstance(received, Ignored)
    assert received.invalid
    assert one.codec.invalid_packets == 1


def test_error_packet_of_the_original() -> None:
    received = session().codec.receive(CLIENT_NO_ID)
    assert isinstance(received, ServerError)
    assert (received.error, received.info) == ("client_no_id", None)
    assert isinstance(received.rejection, DeviceRejected)
    assert "client_id" in str(received.rejection)


@pytest.mark.parametrize("code", list(ErrorCode))
@pytest.mark.parametrize("as_dict", [True, False])
def test_error_codes(code: ErrorCode, as_dict: bool) -> None:
    value = {"error": code.value, "info": {"a": 1}} if as_dict else code.value
    received = session().codec.receive(v1.encode("error", value))
    assert isinstance(received, ServerError)
    assert received.error == code.value
    passing = (
        ErrorCode.CLIENT_INVALID_PACKET,
        ErrorCode.UNSUPPORTED_PACKET,
        ErrorCode.SERVER_BUSY,
        ErrorCode.STREAM_GAP,
    )
    assert (received.rejection is None) == (code in passing)
    assert received.info == ({"a": 1} if as_dict else None)


@pytest.mark.parametrize(
    ("value", "text"),
    [("teapot", "teapot"), ({"error": "x"}, "x"), (5, "5"), ([1], "[1]"), ({}, "{}"), ({"error": [1]}, "[1]")],
)
def test_errors_that_nobody_knows_are_not_fatal(value: Any, text: str) -> None:
    assert session().codec.receive(v1.encode("error", value)) == ServerError(text, None, None)


@given(st.binary(max_size=300))
def test_receive_never_raises_v1(data: bytes) -> None:
    assert isinstance(session().codec.receive(data), (Dispatch, ServerError, Ignored))


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_receive_never_raises_v0(data: bytes | str) -> None:
    assert isinstance(session(0).codec.receive(data), (Dispatch, ServerError, Ignored))


def test_limits() -> None:
    one = session(options=Options(max_payload=3, max_event=3))
    assert isinstance(one.codec.receive(v1.encode("abc", "xyz")), Dispatch)
    assert isinstance(one.codec.receive(v1.encode("abcd", "xyz")), Ignored)
    assert isinstance(one.codec.receive(v1.encode("abc", "wxyz")), Ignored)


class Upper:
    """An encoder of the user's own."""

    @staticmethod
    def encode(event: str, message: Any) -> bytearray:
        return bytearray(f"{event}:{message}".encode())

    @staticmethod
    def decode(data: bytes) -> tuple[str, Any]:
        event, _, value = data.decode().partition(":")
        return event, int(value)


def test_own_encoder() -> None:
    one = session(encoder=Upper)
    assert one.codec.encode("e", 5) == b"e:5"
    assert one.codec.receive(b"e:5") == Dispatch("e", 5)
    received = one.codec.receive(b"e:x")
    assert isinstance(received, Ignored)
    assert received.invalid


# States.


def test_life() -> None:
    one = session(backoff=Backoff(base=1, cap=60, stable=10, random=lambda: 1.0))
    one.ended()  # nothing has begun
    states = [one.state]
    waits = []
    for _ in range(8):
        one.connecting()
        waits.append(one.wait(0.0))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    one.connecting()
    one.opened(100.0)
    assert one.wait(109.9) == 60  # the connection did not last
    one.connecting()
    one.opened(200.0)
    assert one.wait(210.0) == 1  # this one did
    one.ended()
    states.append(one.state)
    assert states == [State.IDLE, State.ENDED]
    one.connecting()
    assert one.wait(0.0) == 1


def test_connecting_twice_is_an_error() -> None:
    one = session()
    one.connecting()
    with pytest.raises(ClientError, match="already"):
        one.connecting()
    one.opened(0.0)
    with pytest.raises(ClientError, match="already"):
        one.connecting()


def test_moves_outside_the_table_are_bugs() -> None:
    with pytest.raises(RuntimeError):
        session().opened(0.0)
    with pytest.raises(RuntimeError):
        session().wait(0.0)


def test_what_is_sent_right_after_the_upgrade() -> None:
    assert session().agreed(None) is None
    assert session(0).agreed(None) == '[/"d1"/][/"t"/][/"{}"/]'
    assert session(0).connecting() == []


def test_protocol_version() -> None:
    with pytest.raises(ValueError, match="protocol_version"):
        session(3)


# Protocol v2.


def opened(welcome: dict[str, object] | None = None) -> Session:
    one = session(None)
    one.connecting()
    assert one.agreed("iotio.v2") == one._hello()
    before = one.unwelcomed
    assert one.welcome(v2.encode_json(v2.WELCOME, welcome or {}), 100.0) is None
    assert [before, one.unwelcomed] == [True, False]
    one.durable.resume()
    one.opened(100.0)
    return one


def test_version_by_the_answer() -> None:
    one = session(None)
    assert one.subprotocols == ["iotio.v2"]
    assert one.connecting()[-1] == ("IoT-IO-ProtocolVersion", "1")
    assert one.agreed(None) is None
    assert (one.version, one.fell_back, one.unwelcomed) == (1, True, False)
    one.opened(0.0)
    with pytest.raises(EncodeError, match="v1 sends"):
        one.codec.encode("e", 1.5)
    one.wait(1.0)
    one.connecting()
    assert one.agreed("iotio.v2") is not None
    assert (one.version, one.fell_back) == (2, False)
    assert one.codec.encode("e", 1.5) == v2.encode("e", 1.5)
    two = session(2)
    assert two.connecting() == []
    with pytest.raises(VersionNotSpoken):
        two.agreed(None)
    assert [session(version).subprotocols for version in (0, 1)] == [[], []]


def test_hello_that_is_not_json_is_found_out_before_the_request() -> None:
    one = Session(Identity("d1", "t", {"x": {1}}), protocol_version=2)
    with pytest.raises(EncodeError, match="client_data"):
        one.connecting()
    assert one.state is State.IDLE


def test_clock() -> None:
    one = opened({"time": 1_767_225_600_000})
    assert one.server_time(107.5) == 1_767_225_607.5
    assert opened().server_time(107.5) is None
    one.wait(200.0)
    one.connecting()
    assert one.server_time(207.5) is None


def test_farewell() -> None:
    one = opened()
    assert one.farewell() == v2.encode_json(v2.GOODBYE, {"reason": "stopped"})
    one.sleep(7)
    assert one.farewell() == v2.encode_sleep(7)
    one.ended()
    assert one.farewell() is None
    assert session().farewell() is None


@pytest.mark.parametrize(
    "fields",
    [
        {"time": 1.5},
        {"time": -1},
        {"time": 10**18},
        {"max_event": 0},
        {"max_payload": "1"},
        {"sends": ""},
        {"sends": "x" * 65},
        {"heard": []},
        {"heard": {"stream": "s", "upto": -1}},
    ],
)
def test_welcome_that_is_wrong(fields: dict[str, object]) -> None:
    one = session(2)
    one.connecting()
    one.agreed("iotio.v2")
    with pytest.raises(ConnectFailed, match="neither WELCOME nor PROBLEM"):
        one.welcome(v2.encode_json(v2.WELCOME, fields), 0.0)
    assert one.unwelcomed


def durable(one: Session, number: int, previous: int = 0) -> Dispatch:
    received = one.codec.receive(v2.encode("e", number, v2.DURABLE, number=number, previous=previous))
    assert received == Dispatch("e", number, None, number, previous)
    assert isinstance(received, Dispatch)
    return received


def test_what_was_not_handled_is_heard_again() -> None:
    one = opened({"sends": "s"})
    first = durable(one, 1)
    durable(one, 2, 1)
    assert one.durable.known(first) is None
    assert one.durable.handled(first) == v2.encode_ack(1)
    again = one.durable.known(durable(one, 1))
    assert again == Ignored("durable message 1, which came before", invalid=False, reply=v2.encode_ack(1))
    one.durable.suspend()
    one.wait(1.0)
    one.connecting()
    greeting = one.agreed("iotio.v2")
    assert isinstance(greeting, bytes)
    hello = v2.decode(greeting)
    assert isinstance(hello, v2.Greeting)
    assert hello.fields["heard"] == {"stream": "s", "upto": 1}
    assert one.welcome(v2.encode_json(v2.WELCOME, {"sends": "s"}), 0.0) is None
    one.durable.resume()
    one.opened(0.0)
    assert one.durable.known(durable(one, 2, 1)) is None


def test_a_gap_in_the_servers_stream() -> None:
    one = opened({"sends": "s"})
    gap = one.durable.known(durable(one, 3, 2))
    assert isinstance(gap, Ignored)
    assert gap.invalid
    assert gap.reply is not None
    problem = v2.decode(gap.reply)
    assert isinstance(problem, v2.Problem)
    assert problem.error == "stream_gap"
    assert one.give_up(gap.why).retry
    assert one.farewell() is None
    assert one.buffer.incoming.last == 0


@given(st.binary(max_size=300))
def test_receive_never_raises_v2(data: bytes) -> None:
    received = opened({"sends": "s"}).codec.receive(data)
    if isinstance(received, Ignored) and received.invalid:
        assert (received.reply is None) == (data[:1] == b"\x15")  # a PROBLEM is not answered by one
        if received.reply is not None:
            assert isinstance(v2.decode(received.reply), v2.Problem)


@given(st.sampled_from(range(24)), st.sampled_from([0, 1, 2, 4, 8, 16, 17, 32]), st.binary(max_size=60))
def test_packets_that_are_nearly_right(kind: int, flags: int, rest: bytes) -> None:
    opened({"sends": "s"}).codec.receive(bytes((kind, flags)) + rest)


@given(st.binary(max_size=300))
def test_welcome_raises_one_error_only(data: bytes) -> None:
    one = session(2)
    one.connecting()
    one.agreed("iotio.v2")
    try:
        one.welcome(data, 0.0)
    except ConnectFailed:
        assert one.codec.invalid_packets == 1
