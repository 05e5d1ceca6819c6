"""The clock of a manager that is tested, by itself; what happens while time passes is in test_host.py."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from iotio import IoTManager
from iotio.testing import VirtualClock
from iotio.testing.host import host_of
from tests.support.memory import Clock


def test_it_stands_still_and_runs_on_from_there() -> None:
    base = Clock()
    base.now = 1000.25
    clock = VirtualClock(base)
    assert clock() == 1000.25
    clock.stop(lambda seconds: clock.set(clock() + seconds))
    base.now += 5
    assert clock() == 1001.0
    clock.advance(60)
    assert clock() == 1061.0
    clock.run_on()
    assert clock() == 1061.0
    base.now += 5
    assert clock() == 1066.0


@pytest.mark.parametrize("seconds", [-1, inf, nan])
def test_time_that_cannot_pass(seconds: float) -> None:
    clock = host_of(IoTManager()).clock
    with pytest.raises(ValueError, match=r"^advance\(\) takes the seconds that pass, a number from 0 on, not "):
        clock.advance(seconds)


def test_without_test_clients_it_runs_by_itself() -> None:
    manager: Any = IoTManager()
    host = host_of(manager)
    host.hold(host)
    clock = host.clock
    clock.advance(1)
    host.release(host)
    with pytest.raises(RuntimeError, match="this clock runs by itself, as the manager has no test clients any more"):
        clock.advance(1)
    assert manager.clock is clock
    assert host_of(manager).clock is clock, "time does not go back for the next test"
