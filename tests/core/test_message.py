"""What a handler can learn of its message."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iotio import DeviceType, IoTClient
from iotio.core.message import Message, current_message
from iotio_protocol import v2
from tests.support.memory import make_manager, v2_device


class Seeing(DeviceType):
    """Writes down what is known of each message."""

    def __init__(self) -> None:
        super().__init__("echo")
        self.seen: list[Any] = []

    def on_read(self, message: Any, client: IoTClient) -> None:
        known = client.message
        self.seen.append((message, known and (known.id, known.time)))
        assert known is current_message.get()

    async def on_late(self, message: Any, client: IoTClient) -> None:
        self.on_read(message, client)


@pytest.mark.parametrize("event", ["read", "late"])
def test_a_handler_sees_the_message_that_it_runs_for(event: str) -> None:
    kind = Seeing()
    device = v2_device(make_manager(kind), sends="S")
    device.packet(v2.encode(event, 1))
    device.packet(v2.encode(event, 2, v2.TIME, time=5000))
    device.packet(v2.encode(event, 3, v2.DURABLE, number=7))
    device.packet(v2.encode(event, 4))
    assert kind.seen == [
        (1, None),
        (2, ("", datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC))),
        (3, ("S/7", None)),
        (4, None),
    ]
    assert current_message.get() is None


@given(st.integers(-(2**63), 2**63 - 1))
@example(0)
@example(-1)
@example(253_402_300_799_999)
@example(253_402_300_800_000)
def test_a_time_is_within_the_years_1970_to_9999(sent: int) -> None:
    """Another one is an invalid packet, before a handler or a store sees it."""
    kind = Seeing()
    device = v2_device(make_manager(kind))
    packet = bytearray(v2.encode("read", "x", v2.TIME, time=5))
    packet[2:10] = sent.to_bytes(8, "big", signed=True)
    device.packet(bytes(packet))
    if 0 <= sent < 253_402_300_800_000:
        ((message, (name, time)),) = kind.seen
        assert (message, name) == ("x", "")
        assert (time - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1) == sent
        assert time.tzinfo is UTC
    else:
        (problem,) = device.decoded()
        assert isinstance(problem, v2.Problem)
        assert (problem.error, kind.seen) == ("client_invalid_packet", [])


def test_only_a_durable_message_has_a_transaction() -> None:
    def effect(connection: Any) -> None:
        raise AssertionError("the store runs it, later")

    with pytest.raises(RuntimeError, match="the device sends it with durable=True"):
        Message("", 5).transaction(effect)
    first, second = Message("s/1", None), Message("s/2", None)
    first.transaction(effect)
    first.transaction(effect)
    assert (first.effects, second.effects) == ([effect, effect], [])


def test_a_message_is_read_only() -> None:
    message = Message("s/1", 5)
    with pytest.raises(AttributeError):
        message.id = "s/2"  # type: ignore[misc]
    assert repr(message) == "Message(id='s/1', time_ms=5)"
