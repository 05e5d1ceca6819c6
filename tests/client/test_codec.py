"""Packets of a device in the three versions, without a connection."""

from __future__ import annotations

from typing import Any

import pytest

from iotio_client.codec import RESERVED, Codec
from iotio_client.errors import ConnectFailed, DeviceRejected
from iotio_client.identity import Identity
from iotio_client.link import Link
from iotio_client.message import Kept
from iotio_client.opening import Welcome
from iotio_client.packets import DefaultPacketEncoder
from iotio_client.received import Acknowledged, Answer, Dispatch, Ignored, ServerError
from iotio_protocol import v0, v1, v2
from iotio_protocol.errors import EncodeError, ErrorCode, InvalidData
from iotio_protocol.options import Options


def codec(version: int | None = None) -> Codec:
    return Codec(Link(version), Identity("d1", "t", {}), DefaultPacketEncoder, Options())


@pytest.mark.parametrize(
    ("packet", "meaning"),
    [
        (v2.encode("e", 1.5), Dispatch("e", 1.5)),
        (v2.encode("e", 1, v2.CALL, call=7), Dispatch("e", 1, 7)),
        (v2.encode("", 2, v2.RESULT, call=7), Answer(7, False, 2)),
        (v2.encode("", {}, v2.FAILURE, call=7), Answer(7, True, {})),
        (v2.encode_ack(9), Acknowledged(9)),
        (v2.encode_json(v2.GOODBYE, {"reason": "over"}), Ignored("GOODBYE: over", invalid=False)),
    ],
)
def test_what_packets_mean(packet: bytes, meaning: object) -> None:
    assert codec().receive(packet) == meaning


def test_a_new_connection_forgets_the_goodbye_of_the_last() -> None:
    one = codec()
    one.receive(v2.encode_json(v2.GOODBYE, {"reason": "over"}))
    assert one.goodbye == "over"
    one.begin()
    assert one.goodbye is None


def test_limits_of_the_server_are_those_of_its_welcome() -> None:
    one = codec()
    assert one.encode("event", "xyz") == v2.encode("event", "xyz")
    welcome = one.welcome(v2.encode_json(v2.WELCOME, {"max_event": 4, "max_payload": 2}))
    assert isinstance(welcome, Welcome)
    assert one.encode("e", "xy") == v2.encode("e", "xy")
    with pytest.raises(EncodeError, match="4 bytes for an event"):
        one.encode("event", "x")
    with pytest.raises(EncodeError, match="2 bytes for a value"):
        one.encode("e", "xyz")


@pytest.mark.parametrize(
    ("code", "error"),
    [("client_no_id", DeviceRejected), ("client_invalid_packet", DeviceRejected), ("server_busy", ConnectFailed)],
)
def test_problem_in_the_place_of_welcome_lets_nobody_in(code: str, error: type[Exception]) -> None:
    found = codec().welcome(v2.encode_problem(ErrorCode(code), None))
    assert isinstance(found, ServerError)
    assert isinstance(found.rejection, error)


def test_first_message_that_is_another_packet_is_counted() -> None:
    one = codec()
    with pytest.raises(ConnectFailed, match="neither WELCOME nor PROBLEM"):
        one.welcome(v2.encode("e", 1))
    assert one.invalid_packets == 1


@pytest.mark.parametrize(("version", "tells"), [(None, True), (1, False), (0, False)])
def test_only_v2_tells_the_server_what_was_wrong(version: int | None, tells: bool) -> None:
    one = codec(version)
    received = one.receive(b"")
    assert isinstance(received, Ignored)
    assert (received.invalid, received.reply is not None) == (True, tells)
    assert one.invalid_packets == 1


def test_times_are_moved_to_the_clock_of_the_server() -> None:
    link = Link(None)
    link.clock_offset = 5000
    one = Codec(link, Identity("d1", "t", {}), DefaultPacketEncoder, Options())
    assert one.encode("e", 1, 1000) == v2.encode("e", 1, v2.TIME, time=6000)
    with pytest.raises(EncodeError, match="carries no time"):
        codec(1).encode("e", 1, 1000)


def test_answers_of_calls() -> None:
    one = codec()
    called = Dispatch("e", 1, 7)
    assert one.answer(called, ("other", 5)) == v2.encode("", 5, v2.RESULT, call=7)
    assert one.answer(Dispatch("e", 1), ("other", 5)) == v2.encode("other", 5)
    for packet, fault in (
        (one.failed(called, InvalidData("no")), "invalid_data"),
        (one.unhandled(called), "no_handler"),
    ):
        assert packet is not None
        decoded: Any = v2.decode(packet)
        assert (decoded.flags, decoded.call, decoded.value["error"]) == (v2.FAILURE, 7, fault)
    assert one.failed(Dispatch("e", 1), ValueError()) is None
    assert one.unhandled(Dispatch("e", 1)) is None


# What is sent.


@pytest.mark.parametrize(
    ("version", "value"), [(0, [1]), (0, b"x"), (0, None), (1, 1.5), (1, None), (1, {1}), (None, {1}), (None, object())]
)
def test_each_version_says_what_it_cannot_send(version: int | None, value: object) -> None:
    spoken = 2 if version is None else version
    with pytest.raises(EncodeError, match=rf"It is a {type(value).__name__}; protocol v{spoken} sends .*str.*\."):
        codec(version).encode("e", value)


@pytest.mark.parametrize(("version", "packet"), [(0, v0.encode("e", "x")), (1, v1.encode("e", "x"))])
def test_older_versions_get_a_durable_message_as_a_plain_one(version: int, packet: bytes | str) -> None:
    kind, body = v2.encode_value("x")
    assert codec(version).encode_kept(4, 5, Kept("e", kind, body, 99)) == packet


def test_a_durable_message_has_its_place_and_its_time() -> None:
    link = Link(None)
    link.clock_offset = 1000
    one = Codec(link, Identity("d1", "t", {}), DefaultPacketEncoder, Options())
    kind, body = v2.encode_value([1])
    packet = v2.decode(bytes(one.encode_kept(4, 7, Kept("e", kind, body, 99))))  # type: ignore[arg-type]
    assert isinstance(packet, v2.Packet)
    assert (packet.event, packet.value, packet.previous, packet.number, packet.time) == ("e", [1], 4, 7, 1099)
    assert packet.flags == v2.DURABLE | v2.TIME


def test_a_call_has_its_number() -> None:
    assert codec().encode_call(7, "e", 1) == v2.encode("e", 1, v2.CALL, call=7)


@pytest.mark.parametrize("result", [(), ("e",), ("e", 1, 2), (5, 1)])
def test_a_result_that_is_no_pair_is_refused(result: object) -> None:
    with pytest.raises(EncodeError, match=r"a tuple \(event, value\), not "):
        codec().reply("e", result)
    with pytest.raises(EncodeError, match=r"a tuple \(event, value\), not "):
        codec().answer(Dispatch("e", 1, 7), result)


def test_no_result_sends_nothing_but_answers_a_call() -> None:
    one = codec()
    assert one.reply("e", None) is None
    assert one.reply("e", ("other", None)) is None
    assert one.answer(Dispatch("e", 1), None) is None
    assert one.answer(Dispatch("e", 1, 7), None) == v2.encode("", None, v2.RESULT, call=7)


# Calls to endpoints.


def test_the_value_of_a_call_to_an_endpoint_is_checked_and_converted() -> None:
    level: dict[str, object] = {"id": "level", "name": "L", "type": "integer", "constraints": {"min": 0, "max": 9}}
    changed: dict[str, object] = {"id": "odd", "type": "none of them"}
    one = Codec(Link(None), Identity("d1", "t", {}, {"level": level, "odd": changed}), DefaultPacketEncoder, Options())
    assert one.check(Dispatch("level", "5", call=1)) == 5
    with pytest.raises(InvalidData, match="the endpoint 'level' does not take this value: higher_than_max"):
        one.check(Dispatch("level", 10, call=1))
    assert one.check(Dispatch("level", 10)) == 10, "it is no call: the server has checked it"
    assert one.check(Dispatch("odd", "x", call=1)) == "x", "the program has changed it since"
    assert one.check(Dispatch("other", "x", call=1)) == "x"


# What a server says.


@pytest.mark.parametrize("event", sorted(RESERVED - {"error"}))
@pytest.mark.parametrize("version", [None, 1, 0])
def test_events_of_the_connection_itself_are_not_dispatched(version: int | None, event: str) -> None:
    packets: dict[int | None, bytes | str] = {None: v2.encode(event, 1), 1: v1.encode(event, 1), 0: v0.encode(event, 1)}
    assert codec(version).receive(packets[version]) == Ignored(f"a packet of the reserved event {event!r}", False)


@pytest.mark.parametrize("packet", [v2.encode_json(v2.HELLO, {"id": "x"}), v2.encode_json(v2.WELCOME, {})])
def test_what_comes_once_or_from_devices_only_is_invalid(packet: bytes) -> None:
    one = codec()
    received = one.receive(packet)
    assert isinstance(received, Ignored)
    assert "WELCOME comes once" in received.why
    assert (received.invalid, one.invalid_packets) == (True, 1)


def test_a_problem_is_not_answered_by_one() -> None:
    received = codec().receive(v2.encode_problem(ErrorCode.CLIENT_NO_ID, None)[:5])
    assert isinstance(received, Ignored)
    assert (received.invalid, received.reply) == (True, None)
