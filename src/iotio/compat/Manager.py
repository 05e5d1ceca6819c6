"""`iotio.Manager` of iot.io 0.4: the manager, its middleware and the module-level functions."""

from __future__ import annotations

from iotio.app import IoTManager
from iotio.hosts.blocking.wsgi import IoTManagerMiddleware
from iotio.shortcuts import close_room, emit, join, leave

__all__ = ["IoTManager", "IoTManagerMiddleware", "close_room", "emit", "join", "leave"]
