"""Packets of a device in the three versions, without a connection."""

from __future__ import annotations

from typing import Any

import pytest

from iotio_client.codec import Codec
from iotio_client.errors import ConnectFailed, DeviceRejected
from iotio_client.identity import Identity
from iotio_client.link import Link
from iotio_client.opening import Welcome
from iotio_client.packets import DefaultPacketEncoder
from iotio_client.received import Acknowledged, Answer, Dispatch, Ignored, ServerError
from iotio_protocol import v2
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
