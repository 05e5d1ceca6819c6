"""Connections whose user code runs in the thread that reads, on the in-memory host."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio import IoTClient
from iotio.core.inline_connection import InlineConnection
from iotio.core.inline_lane import InlineLane
from iotio.core.primitives import Signal
from iotio_protocol import v1, v2
from tests.support.memory import Device, make_manager, v1_device, v2_device
from tests.support.wire import Opcode, encode_frame

from .log import Log


class Gated(Log):
    """Its handler of "wait" runs until the gate is set; that of "stop" ends the program."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.gate = threading.Event()

    def on_wait(self, message: Any, client: IoTClient) -> None:
        self.entered.set()
        assert self.gate.wait(10)

    def on_stop(self, message: Any, client: IoTClient) -> None:
        raise KeyboardInterrupt

    def on_fails(self, message: Any, client: IoTClient) -> None:
        raise ValueError("in a handler")


@pytest.fixture
def kind() -> Gated:
    return Gated()


@pytest.fixture
def device(kind: Gated) -> Device:
    return v1_device(make_manager(kind))


def packets(*events: str) -> bytes:
    """Frames with one packet each."""
    return b"".join(encode_frame(Opcode.BINARY, v1.encode(event, "x")) for event in events)


def test_the_transport_is_the_hosts() -> None:
    connection = InlineConnection(make_manager(), ())
    for call in (
        lambda: connection.write(b""),
        connection.pending,
        connection.hang_up,
        lambda: connection.wait_for(Signal(), 0),
        lambda: connection.run_async(None, connection.context),
    ):
        with pytest.raises(NotImplementedError):
            call()


def test_it_has_a_lane_that_runs_at_once() -> None:
    connection = InlineConnection(make_manager(), ())
    assert isinstance(connection.lane, InlineLane)
    ran: list[int] = []
    connection.run_aside(lambda: ran.append(threading.get_ident()))
    assert ran == [threading.get_ident()], "aside is here, unless a host knows better"


@given(st.lists(st.sampled_from(["echo", "fails", "nosuch"]), min_size=1, max_size=5))
def test_it_reads_on_when_every_event_is_handled_to_its_end(names: list[str]) -> None:
    """Also one whose handler fails, and one without a handler."""
    connection = v1_device(make_manager(Gated())).connection
    events = connection.feed(packets(*names))
    reading = []
    for event in events:
        reading.append(connection.lane.is_reading)
        connection.handle(event)
    assert reading == [False] * len(names)
    assert connection.lane.is_reading


def test_a_handler_that_would_end_the_program_does_not_and_the_count_is_right(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    connection = device.connection
    stop, echo = connection.feed(packets("stop", "echo"))
    connection.handle(stop)
    assert "handler on_stop of type 'echo' failed for device 'd1'" in caplog.text
    before = connection.lane.is_reading
    connection.handle(echo)
    assert (before, connection.lane.is_reading) == (False, True)
    assert device.packets() == [("echo", "x")]


def test_it_does_not_read_while_a_handler_runs_in_another_thread(kind: Gated, device: Device) -> None:
    turn = threading.Thread(target=device.send, args=("wait",))
    turn.start()
    assert kind.entered.wait(10)
    assert (device.connection.lane.is_reading, device.connection.lane.is_busy) == (False, True)
    kind.gate.set()
    turn.join(10)
    assert (device.connection.lane.is_reading, device.connection.lane.is_busy) == (True, False)


async def test_answers_are_given_to_their_calls_while_the_events_before_them_wait(log: Log) -> None:
    """What handles the first event may be what waits for the answer behind it."""
    device = v2_device(make_manager(log))
    connection = device.connection
    client = connection.client
    assert client is not None
    device.decoded()
    asked = [asyncio.create_task(client.acall("dim", number)) for number in range(2)]
    await asyncio.sleep(0)
    numbers = [packet.call for packet in device.decoded() if isinstance(packet, v2.Packet)]
    answers = [v2.encode("", "done", v2.RESULT, call=numbers[0]), v2.encode("", {}, v2.FAILURE, call=numbers[1])]
    frames = [v2.encode("echo", 1), answers[0], v2.encode("echo", 2), answers[1]]
    events = connection.feed(b"".join(encode_frame(Opcode.BINARY, frame) for frame in frames))
    assert await asked[0] == "done"
    with pytest.raises(Exception, match="does not say why"):
        await asked[1]
    assert log.calls == ["connect"]
    assert len(events) == 2
    before = connection.lane.is_reading
    for event in events:
        connection.handle(event)
    assert log.calls == ["connect", 1, 2]
    assert (before, connection.lane.is_reading) == (False, True)


def test_an_answer_to_no_call_is_an_event_like_others(log: Log) -> None:
    device = v2_device(make_manager(log))
    device.decoded()
    (event,) = device.connection.feed(encode_frame(Opcode.BINARY, v2.encode("", "late", v2.RESULT, call=7)))
    device.connection.handle(event)
    assert device.connection.lane.is_reading
    assert device.connection.is_open
    assert log.calls == ["connect"]
