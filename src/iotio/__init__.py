"""iot.io Server: devices talk to your program by events over one WebSocket."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .app import IoTManager, call, close_room, emit, join, leave
    from .core.client import IoTClient
    from .core.context import Message
    from .core.delivery import Delivery, DeliveryState
    from .core.device_type import DeviceType
    from .core.results import EmitResult
    from .core.store import StoreError, StoreUnavailable
    from .protocol.errors import (
        CallDisconnected,
        CallError,
        CallsUnsupported,
        CallTimeout,
        EncodeError,
        ErrorCode,
        InvalidData,
        IoTError,
        NoHandler,
        RemoteError,
        TooManyCalls,
    )
    from .protocol.options import Options
    from .protocol.presence import Presence, PresenceReason
    from .protocol.reasons import DisconnectReason

__author__ = "The iotio developers"
__licence__ = "MIT"

__all__ = [
    "CallDisconnected",
    "CallError",
    "CallTimeout",
    "CallsUnsupported",
    "Delivery",
    "DeliveryState",
    "DeviceType",
    "DisconnectReason",
    "EmitResult",
    "EncodeError",
    "ErrorCode",
    "InvalidData",
    "IoTClient",
    "IoTError",
    "IoTManager",
    "Message",
    "NoHandler",
    "Options",
    "Presence",
    "PresenceReason",
    "RemoteError",
    "StoreError",
    "StoreUnavailable",
    "TooManyCalls",
    "call",
    "close_room",
    "emit",
    "join",
    "leave",
]

# Where the public names live. They are loaded on first use: `import iotio_client` passes through this module
# and must not bring Flask to a device.
_HOMES = {
    "StoreUnavailable": ".core.store",
    "StoreError": ".core.store",
    "Message": ".core.context",
    "DeliveryState": ".core.delivery",
    "Delivery": ".core.delivery",
    "CallDisconnected": ".protocol.errors",
    "CallError": ".protocol.errors",
    "CallTimeout": ".protocol.errors",
    "CallsUnsupported": ".protocol.errors",
    "InvalidData": ".protocol.errors",
    "NoHandler": ".protocol.errors",
    "RemoteError": ".protocol.errors",
    "TooManyCalls": ".protocol.errors",
    "DeviceType": ".core.device_type",
    "DisconnectReason": ".protocol.reasons",
    "EmitResult": ".core.results",
    "EncodeError": ".protocol.errors",
    "ErrorCode": ".protocol.errors",
    "IoTClient": ".core.client",
    "IoTError": ".protocol.errors",
    "IoTManager": ".app",
    "Options": ".protocol.options",
    "Presence": ".protocol.presence",
    "PresenceReason": ".protocol.presence",
    "call": ".app",
    "close_room": ".app",
    "emit": ".app",
    "join": ".app",
    "leave": ".app",
}

# The module names of iot.io 0.4 (iotio.Manager, iotio.Endpoint, ...) live in a folder of their own.
__path__.append(os.path.join(os.path.dirname(__file__), "compat"))


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
