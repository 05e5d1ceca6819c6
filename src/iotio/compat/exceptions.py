"""The exceptions of iot.io 0.4 (`iotio.exceptions`), under the IoTError of this package.

The server itself refuses a device with `iotio_protocol.errors.HandshakeError`, which says more; these are for
programs that raise or catch the names of the original.
"""

from __future__ import annotations

from iotio_protocol.errors import ConnectionEnded, IoTError

__all__ = [
    "ClientIncompatibleProtocolVersion",
    "ClientInvalidData",
    "ClientInvalidEndpoints",
    "ClientInvalidType",
    "ClientNoId",
    "ClientNoProtocolVersion",
    "ClientNoType",
    "ConnectionEnded",
    "ConnectionFailed",
    "IoTError",
]


class ConnectionFailed(IoTError):
    """A device was refused when it connected."""

    def __init__(self, message: str = "Client failed to connect to the server.") -> None:
        super().__init__(message)


class ClientNoId(ConnectionFailed):
    """No IoT-IO-Id header."""

    def __init__(self, message: str = "Client failed to provide the IoT-IO-Id header field.") -> None:
        super().__init__(message)


class ClientNoType(ConnectionFailed):
    """No IoT-IO-Type header."""

    def __init__(self, message: str = "Client failed to provide the IoT-IO-Type header field.") -> None:
        super().__init__(message)


class ClientInvalidType(ConnectionFailed):
    """A type in IoT-IO-Type that no DeviceType has."""

    def __init__(self, message: str = "Client provided an invalid value for the IoT-IO-Type header field.") -> None:
        super().__init__(message)


class ClientInvalidData(ConnectionFailed):
    """IoT-IO-Data is not JSON."""

    def __init__(self, message: str = "Client provided an invalid json data for the IoT-IO-Data header field.") -> None:
        super().__init__(message)


class ClientInvalidEndpoints(ConnectionFailed):
    """IoT-IO-Endpoints does not declare endpoints."""

    def __init__(
        self, message: str = "Client provided an invalid value for the IoT-IO-Endpoints header field."
    ) -> None:
        super().__init__(message)


class ClientNoProtocolVersion(ConnectionFailed):
    """No IoT-IO-ProtocolVersion header."""

    def __init__(self, message: str = "Client did not provide the IoT-IO-ProtocolVersion header field.") -> None:
        super().__init__(message)


class ClientIncompatibleProtocolVersion(ConnectionFailed):
    """A version in IoT-IO-ProtocolVersion that the server does not speak."""

    def __init__(
        self, message: str = "The version of the client's protocol is incompatible with that of the server's."
    ) -> None:
        super().__init__(message)
