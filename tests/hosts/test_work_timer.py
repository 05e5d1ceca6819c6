"""Background work in its moment, between two sweeps of a loop."""

from __future__ import annotations

import asyncio

from iotio.core.manager import Manager
from iotio.hosts.memory import connect
from iotio.hosts.timing import SWEEP_INTERVAL
from iotio.hosts.work_timer import WorkTimer

WAIT = 5.0  # seconds


def manager_with(interval: float) -> tuple[Manager, asyncio.Event]:
    manager, called = Manager(), asyncio.Event()
    connect(manager)  # its host does work here and now
    manager.every(interval)(called.set)
    manager.begin()
    return manager, called


async def test_it_wakes_for_what_is_due_before_the_next_sweep() -> None:
    manager, called = manager_with(SWEEP_INTERVAL / 100)
    timer = WorkTimer(asyncio.get_running_loop(), manager)
    timer.look()
    timer.look()
    for _ in range(3):
        called.clear()
        await asyncio.wait_for(called.wait(), WAIT)
    timer.close()
    called.clear()
    await asyncio.sleep(SWEEP_INTERVAL / 20)
    assert not called.is_set()


async def test_what_is_due_later_is_left_to_the_sweep() -> None:
    manager, _ = manager_with(60)
    timer = WorkTimer(asyncio.get_running_loop(), manager)
    timer.look()
    assert timer._timer is None
    timer.close()
