"""The device side of iotio: clients for programs with and without asyncio.

from iotio_client import IoTClient

client = IoTClient("kitchen", "lamp")

@client.on("light")
def light(message):
    return message

client.run("localhost:5000")
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from iotio_protocol.beside import check_alone
from iotio_protocol.errors import (
    CallDisconnected,
    CallError,
    CallsUnsupported,
    CallTimeout,
    EncodeError,
    InvalidData,
    NoHandler,
    RemoteError,
    TooManyCalls,
)
from iotio_protocol.options import Options
from iotio_protocol.version import __version__

from .backoff import Backoff
from .buffer import Buffer
from .errors import (
    BufferDamaged,
    BufferFailed,
    BufferFull,
    ClientError,
    ConnectFailed,
    ConnectionLost,
    ConnectTimeout,
    DeviceRejected,
    InvalidEndpoint,
    NotConnected,
    UpgradeRefused,
    VersionNotSpoken,
)

check_alone(os.path.dirname(os.path.dirname(__file__)))

if TYPE_CHECKING:
    from .async_client import AsyncIoTClient
    from .endpoint_info import EndpointConstraint, EndpointInfo, EndpointType
    from .sync_client import IoTClient

__author__ = "The iotio developers"
__licence__ = "MIT"
__protocol_version__ = "1"

__all__ = [
    "AsyncIoTClient",
    "Backoff",
    "Buffer",
    "BufferDamaged",
    "BufferFailed",
    "BufferFull",
    "CallDisconnected",
    "CallError",
    "CallTimeout",
    "CallsUnsupported",
    "ClientError",
    "ConnectFailed",
    "ConnectTimeout",
    "ConnectionLost",
    "DeviceRejected",
    "EncodeError",
    "EndpointConstraint",
    "EndpointInfo",
    "EndpointType",
    "InvalidData",
    "InvalidEndpoint",
    "IoTClient",
    "NoHandler",
    "NotConnected",
    "Options",
    "RemoteError",
    "TooManyCalls",
    "UpgradeRefused",
    "VersionNotSpoken",
    "__version__",
]

# The module names of iot.io-client 0.4 (iotio_client.Endpoint, ...) live in a folder of their own: beside
# errors.py and others they would be the same files where file names know no case.
__path__.append(os.path.join(os.path.dirname(__file__), "compat"))

# Loaded when asked for: neither client brings along the other, and the sync one no asyncio.
_HOMES = {
    "AsyncIoTClient": ".async_client",
    "EndpointConstraint": ".endpoint_info",
    "EndpointInfo": ".endpoint_info",
    "EndpointType": ".endpoint_info",
    "IoTClient": ".sync_client",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
