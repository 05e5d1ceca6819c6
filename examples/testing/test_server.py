"""Tests of server.py, without a network and without waiting: `python -m pytest` in this folder."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from server import alerts, manager

from iotio import DisconnectReason
from iotio.testing import FakeDevice, VirtualClock

Device = Callable[..., FakeDevice]


@pytest.mark.parametrize(("celsius", "said"), [(21.5, "fine"), (30.0, "warm")])
def test_a_temperature(iotio_device: Device, celsius: float, said: str) -> None:
    sensor, window = iotio_device("sensor-1", "sensor"), iotio_device("window", "window")
    sensor.send("temperature", celsius)  # the handler has run when this returns
    assert sensor.expect("temperature") == said
    assert window.expect("open") is (said == "warm")


def test_what_a_handler_raises(iotio_device: Device) -> None:
    with pytest.raises(ValueError, match="sensor-1 cannot have measured 400 °C"):
        iotio_device("sensor-1", "sensor").send("temperature", 400)


def test_a_sensor_of_the_old_firmware(iotio_device: Device) -> None:
    sensor = iotio_device("sensor-1", "sensor", protocol=1)
    sensor.send("temperature", 21)  # protocol 1 has no floats
    assert sensor.expect("temperature") == "fine"


def test_the_window_gets_what_it_missed_unless_that_is_too_old(iotio_device: Device) -> None:
    sensor, window = iotio_device("sensor-1", "sensor"), iotio_device("window", "window")
    window.disconnect(DisconnectReason.TRANSPORT_CLOSED)
    sensor.send("temperature", 31.0)
    window.clock.advance(300)
    sensor.send("temperature", 20.0)
    window.clock.advance(301)
    window.connect()
    assert window.received == [("open", False)]


def test_who_goes_is_an_alert(iotio_device: Device) -> None:
    sensor = iotio_device("sensor-1", "sensor")
    sensor.freeze()  # it hangs, and answers no ping
    sensor.clock.advance(60)
    assert alerts == ["sensor-1 is away: ping_timeout"]


def test_a_sensor_that_sleeps(iotio_device: Device) -> None:
    sensor = iotio_device("sensor-1", "sensor")
    sensor.sleep(1800)
    sensor.clock.advance(1800)
    assert alerts == []
    sensor.clock.advance(60)
    assert alerts == ["sensor-1 is away: late"]


def test_the_hourly_look_at_the_window(iotio_device: Device, iotio_clock: VirtualClock) -> None:
    window = iotio_device("window", "window")
    window.on("blocked", lambda data: True)  # answers calls
    iotio_clock.advance(2 * 3600)
    assert alerts == ["the window is blocked"] * 2
    window.disconnect()
    iotio_clock.advance(3600)
    assert alerts[-1] == "device 'window' is not connected"


def test_without_fixtures() -> None:
    with manager.test_client("window", "window") as window:
        window.send("stuck", "half open")
    assert alerts[-1] == "window: half open"
