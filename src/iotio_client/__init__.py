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

from .async_client import AsyncIoTClient
from .backoff import Backoff
from .buffer import Buffer
from .endpoint_info import EndpointConstraint, EndpointInfo, EndpointType
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
