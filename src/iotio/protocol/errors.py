"""The errors of the protocol layer.

::

    IoTError
    ├── ProtocolError            the peer broke a rule
    │   ├── InvalidPacket        one packet is wrong; the connection lives on
    │   └── HandshakeError       the device is refused
    ├── EncodeError              the caller's value cannot travel (also a ValueError)
    └── ConnectionEnded          the device is gone (`IoTClient.send` of iot.io 0.3)
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "ConnectionEnded",
    "EncodeError",
    "ErrorCode",
    "HandshakeError",
    "InvalidPacket",
    "IoTError",
    "ProtocolError",
]


class ErrorCode(StrEnum):
    """The error codes of protocol v1, as they stand on the wire (iot.io 0.4, `Errors`)."""

    CLIENT_NO_ID = "client_no_id"
    CLIENT_NO_TYPE = "client_no_type"
    CLIENT_INVALID_TYPE = "client_invalid_type"
    CLIENT_INVALID_DATA = "client_invalid_data"
    CLIENT_INVALID_ENDPOINTS = "client_invalid_endpoints"
    CLIENT_NO_PROTOCOL_VERSION = "client_no_protocol_version"
    CLIENT_INCOMPATIBLE_PROTOCOL_VERSION = "client_incompatible_protocol_version"
    CLIENT_INVALID_PACKET = "client_invalid_packet"
    SERVER_BUSY = "server_busy"  # ours: a limit is reached, try again later
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"  # ours: a web page of another host


class IoTError(Exception):
    """Root of all errors that iotio raises on purpose.

    Args:
        message: what is wrong; a subclass may take more than that.
    """

    def __init__(self, message: object = "Base exception class for the iot.io library.", *more: object) -> None:
        super().__init__(message, *more)


class ProtocolError(IoTError):
    """The peer broke a rule of the protocol."""


class InvalidPacket(ProtocolError):
    """A packet that cannot be understood; the connection lives on.

    Attributes:
        problem: what is wrong with it, in plain words, safe to tell the peer.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class HandshakeError(ProtocolError):
    """A device that is refused at the handshake.

    Attributes:
        code: the reason as the wire has it.
        info: more about it, or None; JSON-able, safe to tell the peer.
    """

    def __init__(self, code: ErrorCode, info: dict[str, object] | None = None) -> None:
        super().__init__(code, info)
        self.code = code
        self.info = info

    def __str__(self) -> str:
        return self.code.value if self.info is None else f"{self.code.value} {self.info}"


class EncodeError(IoTError, ValueError):
    """A value or an event name that the protocol version in use cannot carry."""


class ConnectionEnded(IoTError):
    """Something was to be sent over a connection that has ended."""

    def __init__(self, message: str = "Client socket no longer alive.") -> None:
        super().__init__(message)
