"""Functions that are called every so many seconds, alone and by both clients."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Queue
from typing import Any

import pytest

from iotio_client import AsyncIoTClient, IoTClient
from iotio_client.periodic import Periodic, check_seconds

from .devices import AsyncDevice, Device, Kind, Running, SyncDevice, make
from .fake_server import TIMEOUT, FakeServer, Peer

KINDS = pytest.mark.parametrize("kind", [SyncDevice, AsyncDevice])


def hold(peer: Peer) -> None:
    """A connection that the device ends, wherever it is."""
    with suppress(EOFError, OSError):
        peer.accept()
        while peer.recv().close_code is None:
            pass


# When the turns are.


@pytest.mark.parametrize(("ended", "following"), [(0, 2), (0.5, 2), (1.99, 2), (2, 2), (3, 2), (4, 4), (5, 4), (9, 8)])
def test_times_do_not_drift_and_one_missed_turn_is_made_up_for(ended: float, following: float) -> None:
    assert Periodic(print, 2).following(100, 100 + ended) == 100 + following


@pytest.mark.parametrize(
    ("seconds", "error", "text"),
    [
        (len, TypeError, r"write @client\.every\(2\), with the seconds: every\(\) got the function len"),
        ("2", TypeError, r"every\(\) takes seconds, not '2': write @client\.every\(2\)"),
        (0, ValueError, r"every\(\) takes seconds above 0 and at most \d+, not 0"),
        (-1, ValueError, "not -1"),
        (float("nan"), ValueError, "not nan"),
    ],
)
def test_what_are_no_seconds(seconds: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        check_seconds(seconds)
    for client in (IoTClient("d", "t"), AsyncIoTClient("d", "t")):
        with pytest.raises(error, match=text):
            client.every(seconds)


def test_a_function_that_takes_an_argument_or_is_none() -> None:
    client = IoTClient("d", "t")

    def measure(message: object) -> None: ...

    async def late() -> None: ...

    with pytest.raises(ValueError, match="measure must take no argument: missing a required argument: 'message'"):
        client.every(1)(measure)
    with pytest.raises(TypeError, match="late is a coroutine function: use AsyncIoTClient, or a plain function"):
        client.every(1)(late)
    with pytest.raises(TypeError, match="it must be a function, not int"):
        client.every(1)(5)  # type: ignore[type-var]
    AsyncIoTClient("d", "t").every(1)(late)


# The clients.


def every(device: Device, seconds: float, function: Callable[[], object], *, late: bool = False) -> None:
    """Have a function called; late: as a coroutine function."""
    if not late:
        device.every(seconds)(function)
        return

    async def coroutine() -> None:
        function()

    device.every(seconds)(coroutine)


BOTH_AND_LATE = pytest.mark.parametrize(
    ("kind", "late"), [(SyncDevice, False), (AsyncDevice, False), (AsyncDevice, True)], ids=["sync", "def", "async def"]
)


@BOTH_AND_LATE
def test_the_first_turn_comes_behind_on_connect_and_then_one_after_the_other(kind: Kind, late: bool) -> None:
    device = make(kind)
    times: Queue[float] = Queue()

    def turn() -> None:
        device.log.put("turn")
        times.put(time.monotonic())

    every(device, 0.1, turn, late=late)
    with FakeServer(hold) as server:
        begun = time.monotonic()
        running = Running(device.run, server.domain)
        seen = [times.get(timeout=TIMEOUT) for _ in range(4)]
        device.stop()
        assert running.join() is None
    entries = device.log.rest()
    assert entries[:2] == [("connect",), ("turn",)]
    assert seen[3] - begun >= 0.3, "not faster than told"


@BOTH_AND_LATE
def test_a_failure_is_logged_and_the_next_turn_comes(kind: Kind, late: bool, caplog: pytest.LogCaptureFixture) -> None:
    device = make(kind)
    errors: list[BaseException] = [ValueError("odd"), SystemExit(3)]
    third = threading.Event()

    def measure() -> None:
        if errors:
            raise errors.pop(0)
        third.set()

    every(device, 0.02, measure, late=late)
    with FakeServer(hold) as server:
        running = Running(device.run, server.domain)
        assert third.wait(TIMEOUT)
        device.stop()
        assert running.join() is None
    texts = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    name = "coroutine" if late else "measure"
    assert texts == [f"{name} of device 'd1', called every 0.02 s, has failed"] * 2


@KINDS
def test_turns_without_a_connection_come_late_and_not_connected_is_no_failure(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "iotio.client.d1")
    device = make(kind)
    turns: Queue[float] = Queue()
    send: Any = device.emit

    async def late() -> None:
        turns.put(time.monotonic())
        await send("level", 5)

    def plain() -> None:
        turns.put(time.monotonic())
        send("level", 5)

    device.every(0.05)(plain if kind is SyncDevice else late)
    begun = time.monotonic()
    running = Running(device.run, "127.0.0.1:1")  # nobody listens there
    seen = [turns.get(timeout=TIMEOUT) for _ in range(3)]
    device.stop()
    assert running.join() is None
    assert seen[0] - begun >= 0.05
    assert seen[2] - begun >= 0.15
    ended = [record for record in caplog.records if "has ended early: nothing can be sent" in record.getMessage()]
    assert ended
    assert {record.levelno for record in ended} == {logging.DEBUG}


@KINDS
def test_a_turn_that_was_due_comes_when_the_client_is_back(kind: Kind) -> None:
    device = make(kind)
    turns: Queue[bool] = Queue()
    every(device, 1000, lambda: turns.put(device.connected))
    with FakeServer(lambda peer: peer.answer(503), hold) as server:
        running = Running(device.run, server.domain)
        assert turns.get(timeout=TIMEOUT)
        device.stop()
        assert running.join() is None
    assert turns.empty()


def test_a_slow_function_of_the_run_before_is_not_called_twice_at_once() -> None:
    device = make(SyncDevice)
    entered, leave = Queue[int](), threading.Event()
    inside: list[int] = []

    def slow() -> None:
        inside.append(1)
        entered.put(len(inside))
        leave.wait(TIMEOUT)
        inside.pop()

    every(device, 0.01, slow)
    with FakeServer(hold) as server:
        for _ in range(2):
            running = Running(device.run, server.domain)
            if not _:
                assert entered.get(timeout=TIMEOUT) == 1
            else:
                device_connected(device)
            device.stop()
            assert running.join() is None
        leave.set()
    assert entered.empty() or entered.get() == 1


def device_connected(device: Device) -> None:
    assert isinstance(device, IoTClient)
    device.wait_connected(TIMEOUT)


@KINDS
def test_a_function_that_is_added_while_the_client_runs(kind: Kind) -> None:
    device = make(kind)
    called = threading.Event()
    add: Callable[[], None] = lambda: every(device, 1000, called.set)  # noqa: E731  # as the handlers are assigned
    vars(device)["on_connect"] = add
    with FakeServer(hold) as server:
        running = Running(device.run, server.domain)
        assert called.wait(TIMEOUT)
        device.stop()
        assert running.join() is None


@KINDS
def test_a_turn_may_stop_the_client(kind: Kind) -> None:
    device = make(kind)
    every(device, 1000, device.stop)
    with FakeServer(hold) as server:
        assert Running(device.run, server.domain).join() is None
