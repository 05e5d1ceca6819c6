"""A manager with lamps, whose date stands still."""

from __future__ import annotations

import pytest

from iotio.core.manager import Manager
from tests.core.durable.lamps import Lamp
from tests.support.memory import Clock, make_manager


@pytest.fixture
def lamp() -> Lamp:
    return Lamp()


@pytest.fixture
def wall() -> Clock:
    return Clock()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def manager(lamp: Lamp, wall: Clock, clock: Clock) -> Manager:
    manager = make_manager(lamp, clock=clock)
    manager.wall = wall
    return manager
