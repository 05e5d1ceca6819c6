"""Test a program's handlers without a network: devices in the test's own process, and a clock that the test moves.

`IoTManager.test_client` makes the devices. See docs/how-to/testing.md.
"""

from __future__ import annotations

from .clock import VirtualClock
from .device import FakeDevice, Refused

__all__ = ["FakeDevice", "Refused", "VirtualClock"]
