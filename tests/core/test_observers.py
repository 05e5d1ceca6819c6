"""Threads that call observers: started when they are needed, bounded, and nothing ends them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from iotio import IoTManager
from iotio.core.handles import DeviceHandle
from iotio.core.observers import MAX_THREADS, ObserverThreads


class Device:
    """A device, as observers get it."""

    id, type = "d1", "lamp"


DEVICE = cast("DeviceHandle", Device())


def test_several_at_a_time_and_no_more() -> None:
    gate, told = threading.Event(), list[str]()

    def tell(device_id: str, call: Callable[..., object]) -> None:
        gate.wait(10)
        told.append(device_id)

    threads = ObserverThreads(IoTManager(), "on_x", tell)
    started: list[Callable[[], None]] = []
    threads.spawn = started.append
    for number in range(100):
        threads.soon(str(number))
    assert len(started) == MAX_THREADS
    workers = [threading.Thread(target=work) for work in started]
    for one in workers:
        one.start()
    gate.set()
    for one in workers:
        one.join(10)
    assert sorted(told, key=int) == [str(number) for number in range(100)]
    threads.soon("again")
    assert len(started) == MAX_THREADS + 1


def test_what_an_observer_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail(device: Any) -> None:
        raise KeyError("mine")

    def tell(device_id: str, call: Callable[..., object]) -> None:
        call(fail, DEVICE)
        call(fail, DEVICE)

    threads = ObserverThreads(IoTManager(), "on_x", tell)
    threads.spawn = lambda work: work()
    threads.soon("d1")
    assert "handler on_x of type 'lamp' failed for device 'd1'" in caplog.text
