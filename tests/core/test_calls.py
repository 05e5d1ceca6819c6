"""Calls to a device, on the in-memory host."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from iotio import (
    CallDisconnected,
    CallError,
    CallTimeout,
    DeviceType,
    EncodeError,
    InvalidData,
    IoTClient,
    NoHandler,
    RemoteError,
    TooManyCalls,
)
from iotio.core.lane import TOO_MUCH_WAITS
from iotio.hosts.memory import connect
from iotio_protocol import v2
from tests.support.memory import Device, make_manager, v2_device
from tests.support.wire import Opcode


def connected() -> tuple[Device, IoTClient]:
    device = Device(connect(make_manager(DeviceType("lamp")), subprotocol=v2.SUBPROTOCOL))
    device.frame(Opcode.BINARY, v2.encode_json(v2.HELLO, {"id": "d", "type": "lamp"}))
    assert device.connection.client is not None
    device.frames()
    return device, device.connection.client


def call_of(device: Device) -> v2.Packet:
    [(_, payload)] = device.frames()
    packet = v2.decode(payload)
    assert isinstance(packet, v2.Packet)
    return packet


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        ({"error": "no_handler", "name": "", "message": ""}, NoHandler, "no handler for the event 'dim'"),
        ({"error": "exception", "name": "OSError", "message": "broken"}, RemoteError, "OSError: broken"),
        ({"error": "invalid_data", "name": "", "message": ""}, InvalidData, "refused the value"),
        ({"error": "busy", "name": "", "message": ""}, TooManyCalls, "too many calls"),
        (["no", "object"], RemoteError, "does not say why"),
    ],
)
async def test_what_a_failure_raises(value: Any, error: type[Exception], text: str) -> None:
    device, client = connected()
    asked = asyncio.create_task(client.acall("dim", 5))
    await asyncio.sleep(0)
    packet = call_of(device)
    assert (packet.event, packet.value, packet.flags) == ("dim", 5, v2.CALL)
    device.frame(Opcode.BINARY, v2.encode("", value, v2.FAILURE, call=packet.call))
    with pytest.raises(error, match=text):
        await asked


def test_an_answer_from_another_thread_ends_the_wait() -> None:
    device, client = connected()
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(client.call("dim", timeout=10)))
    thread.start()
    while not device.connection.pending() and not device.connection.buffer:
        pass
    device.frame(Opcode.BINARY, v2.encode("", None, v2.RESULT, call=call_of(device).call))
    thread.join(5)
    assert answers == [None]


async def test_a_call_that_nobody_waits_for_is_forgotten() -> None:
    device, client = connected()
    with pytest.raises(CallTimeout, match=r"did not answer the call of 'dim' within 0\.01 s"):
        await client.acall("dim", timeout=0.01)
    cancelled = asyncio.create_task(client.acall("dim"))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    with pytest.raises(EncodeError):
        await client.acall("dim", {1, 2})
    for _, payload in device.frames():  # late answers
        packet = v2.decode(payload)
        assert isinstance(packet, v2.Packet)
        device.frame(Opcode.BINARY, v2.encode("", "late", v2.RESULT, call=packet.call))
    assert device.connection._calls is not None
    assert len(device.connection._calls) == 0
    assert client.connected


def test_as_many_calls_as_may_be() -> None:
    device, client = connected()
    pending = [client.socket.calls.begin("dim", n) for n in range(1000)]
    assert len({one.number for one in pending}) == 1000
    with pytest.raises(TooManyCalls, match="1000 calls"):
        client.call("dim")
    device.drop()
    assert all(one.done.is_set for one in pending)
    with pytest.raises(CallDisconnected, match="'dim': transport_closed"):
        pending[0].wait(1)
    with pytest.raises(CallDisconnected, match="not connected"):
        client.call("dim")


@pytest.mark.parametrize("timeout", [0, -1, 1e308, float("inf"), float("nan")])
def test_a_timeout_is_seconds(timeout: float) -> None:
    _, client = connected()
    with pytest.raises(ValueError, match="timeout must be seconds above 0"):
        client.call("dim", timeout=timeout)


def test_an_event_is_a_str() -> None:
    _, client = connected()
    with pytest.raises(TypeError, match="'event' must be of type str"):
        client.call(5)  # type: ignore[arg-type]  # that is the point


def test_nothing_is_begun_where_a_loop_runs() -> None:
    device, client = connected()

    async def wrong() -> None:
        client.call("dim")

    with pytest.raises(RuntimeError, match="acall"):
        asyncio.run(wrong())
    assert device.frames() == []


def test_what_the_device_does_not_take_is_not_sent() -> None:
    manager = make_manager(DeviceType("lamp"))
    device = v2_device(manager, "d", "lamp", max_payload=4)
    client = device.connection.client
    assert client is not None
    with pytest.raises(EncodeError, match="the device takes 4 bytes for a value, this one has 5"):
        client.call("dim", "12345")
    assert (device.frames(), len(client.socket.calls)) == ([], 0)  # type: ignore[arg-type]


def test_calls_that_fail_while_the_device_stays() -> None:
    device, client = connected()
    calls = device.connection.calls
    pending = calls.begin("dim", 1)
    with device.connection._lock:
        calls.fail(TOO_MUCH_WAITS)
    with pytest.raises(CallError, match="device 'd', call of 'dim': too much came before its answer"):
        pending.wait(5)
    device.frames()
    later = calls.begin("dim", 2)
    device.frame(Opcode.BINARY, v2.encode("", 7, v2.RESULT, call=later.number))
    assert later.wait(0) == 7, "the device is not gone"
    assert client.connected
