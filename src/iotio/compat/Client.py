"""`iotio.Client` of iot.io 0.4: a connected device."""

from __future__ import annotations

from iotio.core.handles import IoTClient

__all__ = ["IoTClient"]
