"""`iotio.Device` of iot.io 0.4: the base class of device types."""

from __future__ import annotations

from iotio.core.device_type import DeviceType

__all__ = ["DeviceType"]
