"""What waits for a device: order, partial writes, and what is dropped when it is too much."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio import DeviceType, Options
from iotio.core.write_buffer import WriteBuffer
from iotio_protocol.frames import BINARY, PONG, encode_frame
from tests.support.memory import Device, make_manager, v1_device


def filled(*frames: bytes) -> WriteBuffer:
    outbox = WriteBuffer()
    for frame in frames:
        outbox.push(frame)
    return outbox


def event(text: str) -> bytes:
    return encode_frame(BINARY, text.encode())


PING = encode_frame(PONG, b"keep me")


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=8), st.lists(st.integers(0, 12), max_size=40))
def test_bytes_leave_whole_and_in_order(frames: list[bytes], sizes: list[int]) -> None:
    outbox = filled(*frames)
    gone = b""
    for size in sizes:
        piece = outbox.peek(10)[:size]
        outbox.sent(len(piece))
        gone += piece
        assert outbox.size == sum(map(len, frames)) - len(gone)
    assert gone + (outbox.take_all() if outbox else b"") == b"".join(frames)


def test_the_oldest_events_are_dropped() -> None:
    outbox = filled(event("one"), PING, event("two"), event("three"))
    assert outbox.drop_oldest(1, 0) == 1
    assert outbox.drop_oldest(0, 1) == 1
    assert outbox.size == len(PING + event("three"))
    assert outbox.take_all() == PING + event("three")


def test_a_frame_that_has_begun_is_finished() -> None:
    outbox = filled(event("one"), event("two"))
    outbox.sent(1)
    assert outbox.drop_oldest(100, 0) == 1
    assert outbox.take_all() == event("one")[1:]
    outbox.push(event("three"))
    assert outbox.drop_oldest(1, 0) == 1


@pytest.mark.parametrize("limits", [{"max_outbox": 40}, {"max_outbox_messages": 3}])
@pytest.mark.parametrize(
    ("policy", "sent", "arrives"),
    [("disconnect", 3, [0, 1, 2]), ("drop_newest", 3, [0, 1, 2]), ("drop_oldest", 5, [2, 3, 4])],
)
def test_policies(limits: dict[str, Any], policy: Any, sent: int, arrives: list[int]) -> None:
    manager = make_manager(DeviceType("echo"), slow_reader=policy, **limits)
    device = v1_device(manager, room=0)
    frame = 2 + 1 + 2 + 1 + 4 + 1
    assert 3 * frame <= 40 < 4 * frame
    results = [manager.emit("n", bytes([number]), client_id="d1") for number in range(5)]
    assert sum(result.sent for result in results) == sent
    client = manager.client("d1")
    assert client is not None
    assert client.counters["dropped"] == (1 if policy == "disconnect" else 2)
    assert client.connected is (policy != "disconnect")
    got = [payload[-1] for opcode, payload in device.frames() if opcode == BINARY]
    assert got == arrives


def test_a_dropped_message_is_told(caplog: pytest.LogCaptureFixture) -> None:
    manager = make_manager(DeviceType("echo"), slow_reader="drop_newest", max_outbox_messages=1)
    device: Device = v1_device(manager, room=0)
    assert manager.emit("n", 1, client_id="d1")
    for _ in range(3):
        assert manager.emit("n", 2, client_id="d1").dropped == {"d1": "backpressure"}
    assert len(caplog.records) == 1  # one line, not a flood
    assert device.packets() == [("n", 1)]


def test_a_wrong_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="slow_reader must be one of disconnect, drop_oldest, drop_newest"):
        Options(slow_reader="wait")  # type: ignore[arg-type]  # the check is for those who do not use types
