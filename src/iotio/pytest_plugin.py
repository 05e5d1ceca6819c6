"""Fixtures for tests of programs with iotio. pytest loads this by itself; they import what they need when one is used.

See docs/how-to/testing.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .app import IoTManager
    from .testing import FakeDevice, VirtualClock

__all__ = ["iotio_clock", "iotio_device", "iotio_manager"]


@pytest.fixture
def iotio_manager() -> Iterator[IoTManager]:
    """Make a manager for one test.

    Have a fixture of this name in your `conftest.py` return the manager of your program, and the others use that.
    """
    from .app import IoTManager

    manager = IoTManager()
    yield manager
    manager.close()


@pytest.fixture
def iotio_clock(iotio_manager: IoTManager) -> Iterator[VirtualClock]:
    """Return the clock of `iotio_manager`, which stands still but for `advance`."""
    from .testing.host import host_of

    host = host_of(iotio_manager)
    host.hold(host)
    yield host.clock
    try:
        host.close_devices()
    finally:
        host.release(host)


@pytest.fixture
def iotio_device(iotio_manager: IoTManager, iotio_clock: VirtualClock) -> Callable[..., FakeDevice]:
    """Return `iotio_manager.test_client`: `iotio_device("kitchen", "lamp")` is connected; it leaves with the test."""
    return iotio_manager.test_client
