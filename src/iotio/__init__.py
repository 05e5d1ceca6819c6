"""iot.io Server: devices talk to your program by events over one WebSocket."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from iotio_protocol.beside import check_alone

from .same_build import check_build

check_alone(os.path.dirname(os.path.dirname(__file__)))  # first: what does not belong together fails in stranger ways
check_build()

from iotio_protocol.version import __version__ as __version__  # noqa: E402  # see above

if TYPE_CHECKING:
    from iotio_protocol.errors import (
        CallDisconnected,
        CallError,
        CallsUnsupported,
        CallTimeout,
        EncodeError,
        ErrorCode,
        InvalidData,
        IoTError,
        NoHandler,
        ReadOnly,
        RemoteError,
        SetError,
        TooManyCalls,
        UnknownEndpoint,
        VersionConflict,
    )
    from iotio_protocol.options import Options
    from iotio_protocol.presence import Presence, PresenceReason
    from iotio_protocol.reasons import DisconnectReason
    from iotio_protocol.twin import State, Status

    from .app import IoTManager
    from .core.device_type import DeviceType
    from .core.durable.delivery import Delivery, DeliveryState
    from .core.handles import DeviceHandle, IoTClient
    from .core.message import Message
    from .core.readings import Bucket, Series, Span
    from .core.results import EmitResult, SetResult
    from .core.storage.contract import StoreError, StoreUnavailable
    from .history.settings import History
    from .shortcuts import call, close_room, emit, join, leave

__author__ = "The iotio developers"
__licence__ = "MIT"

__all__ = [
    "Bucket",
    "CallDisconnected",
    "CallError",
    "CallTimeout",
    "CallsUnsupported",
    "Delivery",
    "DeliveryState",
    "DeviceHandle",
    "DeviceType",
    "DisconnectReason",
    "EmitResult",
    "EncodeError",
    "ErrorCode",
    "History",
    "InvalidData",
    "IoTClient",
    "IoTError",
    "IoTManager",
    "Message",
    "NoHandler",
    "Options",
    "Presence",
    "PresenceReason",
    "ReadOnly",
    "RemoteError",
    "Series",
    "SetError",
    "SetResult",
    "Span",
    "State",
    "Status",
    "StoreError",
    "StoreUnavailable",
    "TooManyCalls",
    "UnknownEndpoint",
    "VersionConflict",
    "call",
    "close_room",
    "emit",
    "join",
    "leave",
]

# Where the public names live. They are loaded on first use: `import iotio_client` passes through this module
# and must not bring Flask to a device.
_HOMES = {
    "Bucket": ".core.readings",
    "Series": ".core.readings",
    "Span": ".core.readings",
    "History": ".history.settings",
    "StoreUnavailable": ".core.storage.contract",
    "StoreError": ".core.storage.contract",
    "Message": ".core.message",
    "DeliveryState": ".core.durable.delivery",
    "Delivery": ".core.durable.delivery",
    "CallDisconnected": "iotio_protocol.errors",
    "CallError": "iotio_protocol.errors",
    "CallTimeout": "iotio_protocol.errors",
    "CallsUnsupported": "iotio_protocol.errors",
    "InvalidData": "iotio_protocol.errors",
    "NoHandler": "iotio_protocol.errors",
    "RemoteError": "iotio_protocol.errors",
    "TooManyCalls": "iotio_protocol.errors",
    "SetError": "iotio_protocol.errors",
    "UnknownEndpoint": "iotio_protocol.errors",
    "ReadOnly": "iotio_protocol.errors",
    "VersionConflict": "iotio_protocol.errors",
    "SetResult": ".core.results",
    "State": "iotio_protocol.twin",
    "Status": "iotio_protocol.twin",
    "DeviceHandle": ".core.handles",
    "DeviceType": ".core.device_type",
    "DisconnectReason": "iotio_protocol.reasons",
    "EmitResult": ".core.results",
    "EncodeError": "iotio_protocol.errors",
    "ErrorCode": "iotio_protocol.errors",
    "IoTClient": ".core.handles",
    "IoTError": "iotio_protocol.errors",
    "IoTManager": ".app",
    "Options": "iotio_protocol.options",
    "Presence": "iotio_protocol.presence",
    "PresenceReason": "iotio_protocol.presence",
    "call": ".shortcuts",
    "close_room": ".shortcuts",
    "emit": ".shortcuts",
    "join": ".shortcuts",
    "leave": ".shortcuts",
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
