"""The durable messages of a test client."""

from __future__ import annotations

import pytest

from iotio.testing.outbox import Outbox
from iotio_protocol import v2
from iotio_protocol.errors import EncodeError


def sent(outbox: Outbox) -> list[tuple[int, int, object]]:
    """Number, number before it and value of each packet."""
    found = []
    for packet in map(v2.decode, outbox.packets()):
        assert isinstance(packet, v2.Packet)
        assert packet.flags == v2.DURABLE | v2.TIME
        assert packet.time == 7500
        found.append((packet.number, packet.previous, packet.value))
    return found


def test_the_numbers_of_a_stream() -> None:
    outbox = Outbox()
    for value in "abc":
        outbox.put("x", value, 7.5)
    outbox.begin(None)
    assert sent(outbox) == [(1, 0, "a"), (2, 1, "b"), (3, 2, "c")]
    assert sent(outbox) == [], "each once on a connection"
    outbox.acknowledge(1)
    assert len(outbox) == 2
    outbox.begin({"stream": outbox.stream, "upto": 2})
    assert sent(outbox) == [(3, 2, "c")]
    outbox.begin({"stream": "another", "upto": 9})
    assert sent(outbox) == [(3, 0, "c")]


def test_what_cannot_travel_is_not_kept() -> None:
    outbox = Outbox()
    with pytest.raises(EncodeError):
        outbox.put("x", {1}, 7.5)
    assert len(outbox) == 0
    outbox.begin(None)
    outbox.put("x", "a", 7.5)
    assert sent(outbox) == [(1, 0, "a")]


def test_each_device_has_a_stream_of_its_own() -> None:
    assert Outbox().stream != Outbox().stream
