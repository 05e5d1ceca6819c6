"""What a received message means: one class for each meaning, and no other."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iotio_client import received
from iotio_client.codec import Codec
from iotio_client.identity import Identity
from iotio_client.link import Link
from iotio_client.opening import Welcome
from iotio_client.packets import DefaultPacketEncoder
from iotio_client.received import Acknowledged, Alive, Answer, Dispatch, Ignored, Received, ServerError
from iotio_protocol import v2
from iotio_protocol.options import Options

KINDS = get_args(Received)


def codec(version: int | None = None) -> Codec:
    link = Link(version)
    link.server = Welcome(sends="theirs")
    return Codec(link, Identity("d1", "t", {}), DefaultPacketEncoder, Options())


@pytest.mark.parametrize(
    ("packet", "meaning"),
    [
        (v2.encode("e", [1]), Dispatch("e", [1])),
        (v2.encode("e", 1, v2.CALL, call=7), Dispatch("e", 1, call=7)),
        (v2.encode("e", 1, v2.DURABLE, number=5, previous=3), Dispatch("e", 1, number=5, previous=3)),
        (v2.encode("e", 1, v2.TIME, time=99), Dispatch("e", 1, time=99)),
        (v2.encode_ack(9), Acknowledged(9)),
        (v2.PING_PACKET, Alive(v2.PONG_PACKET)),
        (v2.PONG_PACKET, Alive()),
        (v2.encode("", 2, v2.RESULT, call=7), Answer(7, False, 2)),
        (v2.encode("", "why", v2.FAILURE, call=7), Answer(7, True, "why")),
    ],
)
def test_each_packet_has_its_meaning(packet: bytes, meaning: object) -> None:
    found = codec().receive(packet)
    assert found == meaning
    assert type(found) is type(meaning)


def test_a_plain_event_is_neither_call_nor_durable_nor_of_another_time() -> None:
    event = Dispatch("e", None)
    assert (event.call, event.number, event.previous, event.time) == (None, 0, 0, None)
    assert Ignored("why", invalid=False).reply is None


@given(st.binary(max_size=60) | st.text(max_size=20), st.sampled_from([None, 1, 0]))
@example(v2.encode_json(v2.PROBLEM, {"error": "client_invalid_packet"}), None)
@example(v2.encode_json(v2.GOODBYE, {"reason": "over"}), None)
def test_there_is_no_other_meaning(message: bytes | str, version: int | None) -> None:
    """Whatever a server sends: the clients match these classes, and nothing else."""
    assert isinstance(codec(version).receive(message), KINDS)


def test_every_meaning_is_public_and_cannot_be_changed() -> None:
    samples: list[Any] = [
        Dispatch("e", 1),
        Acknowledged(1),
        Alive(),
        Answer(1, False, None),
        ServerError("server_busy", None, None),
        Ignored("why", invalid=True),
    ]
    assert {type(sample) for sample in samples} == set(KINDS)
    assert {kind.__name__ for kind in KINDS} | {"Received"} == set(received.__all__)
    for sample in samples:
        for field in sample._fields:
            with pytest.raises(AttributeError):
                setattr(sample, field, None)


def test_equal_fields_do_not_make_two_meanings_equal() -> None:
    assert Acknowledged(1) == Acknowledged(1)
    assert Acknowledged(1) != Acknowledged(2)
    found: list[object] = [Ignored("x", True, None), ServerError("x", True, None)]
    assert found[0] != found[1]
