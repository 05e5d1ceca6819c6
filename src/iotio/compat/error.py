"""The exceptions of iot.io 0.3 (`iotio.error`); the same classes as in `iotio.exceptions`."""

from __future__ import annotations

from iotio_protocol.errors import IoTError

from .exceptions import ConnectionEnded

__all__ = ["ConnectionEnded", "IoTError"]
