"""Both clients and the real server over protocol v2: events, calls in both directions, refusals, the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from iotio import IoTClient as ServerSide
from iotio.core.manager import Manager
from iotio_client import EndpointConstraint, EndpointInfo, EndpointType
from iotio_client.errors import ConnectionLost, DeviceRejected
from iotio_protocol.errors import (
    CallDisconnected,
    CallTimeout,
    EncodeError,
    ErrorCode,
    InvalidData,
    NoHandler,
    RemoteError,
)
from tests.support.hosts import LocalHost, eventually, local_host, serve_local

from .devices import Device, Kind, Running, make
from .fake_server import TIMEOUT
from .test_v2 import ASKERS, AsyncAsker, call, connect

__all__ = ["local_host"]

VALUES: list[Any] = [1.5, -1e300, None, True, 0, -(2**63), "grüße", "", b"\x00\xff", [1, None, 2.5], {"k": [1.5]}]


@pytest.fixture(scope="module")
def native() -> Iterator[LocalHost]:
    """One native server for all tests that need no other."""
    with serve_local("native") as running_host:
        yield running_host


@contextmanager
def running(kind: Kind, host: LocalHost, client_id: str, **more: Any) -> Iterator[tuple[Device, ServerSide]]:
    """A device of the type "echo", connected and known to the server; stopped at the end."""
    device = make(kind, client_id=client_id, client_type="echo", **more)
    level = EndpointConstraint(min_v=0, max_v=100)
    device._session.identity.endpoints["level"] = EndpointInfo(
        "Level", EndpointType.INTEGER, constraints=level
    ).get_info("level")
    vars(device).update(on_level=lambda message: message, on_unsendable=lambda message: object())
    thread = Running(device.run, f"127.0.0.1:{host.port}")
    try:
        assert device.log.next() == ("connect",)
        host.log.wait(client_id, "on_connect")
        known = host.manager.client(client_id)
        assert known is not None
        yield device, known
    finally:
        device.stop()
        assert thread.join() is None
        host.log.wait(client_id, "mgr_on_disconnect")


def name(kind: Kind, host: LocalHost, test: str) -> str:
    return f"{test}-{kind.__name__}-{host.kind}"


@ASKERS
def test_calls_in_both_directions(kind: Kind, local_host: LocalHost) -> None:
    with running(kind, local_host, name(kind, local_host, "calls")) as (device, known):
        for value in VALUES:
            result = call(device, "same", value)
            assert result == value
            assert type(result) is type(value)
            assert known.call("echo", value) == value
        assert known.call("hello", 5) == 5  # of the tuple ("reply", 5)
        assert device.connected


@ASKERS
def test_errors_of_calls(kind: Kind, local_host: LocalHost) -> None:
    with running(kind, local_host, name(kind, local_host, "errors")) as (device, known):
        with pytest.raises(NoHandler, match="nobody"):
            call(device, "nobody")
        with pytest.raises(RemoteError) as remote:
            call(device, "raise")
        assert (remote.value.name, remote.value.message) == ("ValueError", "boom")
        with pytest.raises(InvalidData):
            call(device, "bigint")
        with pytest.raises(EncodeError):
            call(device, "same", 2**70)
        with pytest.raises(EncodeError):
            call(device, "same", object())
        with pytest.raises(ValueError, match="timeout"):
            call(device, "same", timeout=0)
        with pytest.raises(CallTimeout, match=r"'sleep' within 0\.02 s"):
            call(device, "sleep", 0.1, timeout=0.02)
        assert call(device, "same", "after") == "after"

        with pytest.raises(NoHandler):
            known.call("nobody")
        with pytest.raises(RemoteError) as remote:
            known.call("raises")
        assert (remote.value.name, remote.value.message) == ("ValueError", "from the handler")
        with pytest.raises(InvalidData):
            known.call("unsendable")
        with pytest.raises(InvalidData, match="higher_than_max"):
            known.call("level", 101)
        assert known.call("level", 100) == 100


@ASKERS
def test_calls_in_handlers(kind: Kind, native: LocalHost) -> None:
    with running(kind, native, name(kind, native, "nested")) as (device, known):
        assert isinstance(known.manager, Manager)
        assert known.manager.types.get("echo") is not None
        known.emit("ask_same", 0)  # no such handler: nothing happens
        vars(device)["on_ask"] = asks(device)
        assert known.call("ask", 7) == [7]
        known.emit("ask", 8)
        for number in range(50):
            known.emit("mark", number)
        assert [device.log.next() for _ in range(50)] == [("mark", number) for number in range(50)]


def asks(device: Device) -> Any:
    """A handler that calls the server, which calls nobody."""
    if isinstance(device, AsyncAsker):

        async def ask_async(message: Any) -> Any:
            return await device.call("same", [message])

        return ask_async
    return lambda message: device.call("same", [message])


@ASKERS
def test_events_carry_floats(kind: Kind, native: LocalHost) -> None:
    with running(kind, native, name(kind, native, "floats")) as (device, known):
        known.emit("mark", 21.5)
        known.emit("mark", None)
        assert [device.log.next() for _ in range(2)] == [("mark", 21.5), ("mark", None)]
        send(device, "same", 0.1)
        native.log.wait(device._session.identity.id, "same")
        assert abs((device.server_time() - datetime.now(UTC)).total_seconds()) < 2


def send(device: Device, event: str, message: Any) -> None:
    if isinstance(device, AsyncAsker):
        assert device._shell.loop is not None
        asyncio.run_coroutine_threadsafe(device.send(event, message), device._shell.loop).result(TIMEOUT)
    else:
        device.send(event, message)


@ASKERS
def test_call_when_the_server_lets_the_device_go(kind: Kind, native: LocalHost) -> None:
    with running(kind, native, name(kind, native, "gone")) as (device, known):
        begun = time.monotonic()
        waiting = Running(call, device, "sleep", 0.5, timeout=1000)
        eventually(lambda: device._session.calls)
        known.close()
        assert isinstance(waiting.join(), CallDisconnected)
        assert time.monotonic() - begun < 0.5
        assert device.log.next() == ("disconnect",)
        assert device.log.next() == ("connect",)  # it comes back


@ASKERS
def test_refusal_is_raised_right_there(kind: Kind, native: LocalHost) -> None:
    domain = f"127.0.0.1:{native.port}"
    for once in (False, True):
        device = make(kind, client_type="nobody knows it")
        error = connect(device, domain) if once else Running(device.run, domain).join()
        assert isinstance(error, DeviceRejected)
        assert error.code is ErrorCode.CLIENT_INVALID_TYPE
        assert "nobody knows it" in str(error)
        assert device.log.rest() == [("error", "client_invalid_type")]


@ASKERS
def test_the_reason_of_the_end(kind: Kind, native: LocalHost) -> None:
    client_id = name(kind, native, "last")
    device = make(kind, client_id=client_id, client_type="echo")
    ended = Running(device.run, f"127.0.0.1:{native.port}", reconnect=False)
    native.log.wait(client_id, "on_connect")
    second = make(kind, client_id=client_id, client_type="echo")
    other = Running(second.run, f"127.0.0.1:{native.port}", reconnect=False)
    error = ended.join()
    assert isinstance(error, ConnectionLost)
    assert (error.code, error.reason) == (1008, "takeover")
    second.stop()
    assert other.join() is None


@ASKERS
def test_sleep_ends_run(kind: Kind, native: LocalHost) -> None:
    device = make(kind, client_id=name(kind, native, "sleeper"), client_type="echo")
    for _ in range(2):
        thread = Running(device.run, f"127.0.0.1:{native.port}")
        assert device.log.next() == ("connect",)
        device.sleep(60)
        assert thread.join() is None
        assert device.log.next() == ("disconnect",)
