"""The errors of the protocol layer.

::

    IoTError
    ├── ProtocolError            the peer broke a rule
    │   ├── InvalidPacket        one packet is wrong; the connection lives on
    │   │   ├── UnsupportedPacket    one of a newer protocol
    │   │   └── StreamGap            durable messages before it are missing; the connection has to end
    │   └── HandshakeError       the device is refused
    ├── EncodeError              the caller's value cannot travel (also a ValueError)
    │   └── TooLarge             the device has said that it takes less
    ├── CallError                a call has no result
    │   ├── CallTimeout          no answer within its time (also a TimeoutError)
    │   ├── CallDisconnected     there is no connection, or it ended before the answer (also a ConnectionError)
    │   ├── RemoteError          the handler at the other side raised
    │   ├── NoHandler            the other side has no handler for the event
    │   ├── InvalidData          the value or the result is not as it should be (also a ValueError)
    │   ├── TooManyCalls         as many calls as may be are on their way
    │   └── CallsUnsupported     the other side speaks a protocol without calls
    ├── SetError                 what was to be set is not, and nothing has changed
    │   ├── UnknownEndpoint      the device has no endpoint of that id (also a LookupError)
    │   ├── ReadOnly             the endpoint is a sensor (also a ValueError)
    │   └── VersionConflict      somebody else has set it since
    └── ConnectionEnded          the device is gone (`IoTClient.send` of iot.io 0.3)
"""

from __future__ import annotations

from enum import StrEnum

from .twin import State

__all__ = [
    "CallDisconnected",
    "CallError",
    "CallFault",
    "CallTimeout",
    "CallsUnsupported",
    "ConnectionEnded",
    "EncodeError",
    "ErrorCode",
    "HandshakeError",
    "InvalidData",
    "InvalidPacket",
    "IoTError",
    "NoHandler",
    "ProtocolError",
    "ReadOnly",
    "RemoteError",
    "SetError",
    "StreamGap",
    "TooLarge",
    "TooManyCalls",
    "UnknownEndpoint",
    "UnsupportedPacket",
    "VersionConflict",
]


class ErrorCode(StrEnum):
    """The error codes of protocols v1 and v2, as they stand on the wire (iot.io 0.4, `Errors`)."""

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
    STREAM_GAP = "stream_gap"  # v2: a durable message is missing
    UNSUPPORTED_PACKET = "unsupported_packet"  # v2: a type or a flag of a newer protocol


class CallFault(StrEnum):
    """Why a call failed at the side that was called, as it stands on the wire of protocol v2."""

    NO_HANDLER = "no_handler"
    EXCEPTION = "exception"
    INVALID_DATA = "invalid_data"
    BUSY = "busy"


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
        durable: its number and the one before it if it is a durable message, whole but for what it carries: it is to
            be acknowledged in its turn, or it would come again for ever.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.durable: tuple[int, int] | None = None


class UnsupportedPacket(InvalidPacket):
    """A packet with something that this version of the protocol does not have.

    Args:
        what: "type" or "flag".
        value: which.
    """

    def __init__(self, what: str, value: int) -> None:
        super().__init__(f"protocol v2 has no {what} {value}; who sent it needs a newer iotio on the other side")
        self.what = what
        self.value = value


class StreamGap(InvalidPacket):
    """A durable message whose predecessor has not come: something was lost on the way."""


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


class TooLarge(EncodeError):
    """A value that is larger than the device takes, by its own word.

    Args:
        size: bytes of the value.
        most: bytes that the device takes.
    """

    reason = "too_large"
    """What stands in the place of the words where a program reads why a message was dropped."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(f"the device takes {most} bytes for a value, this one has {size}")


class ConnectionEnded(IoTError):
    """Something was to be sent over a connection that has ended."""

    def __init__(self, message: str = "Client socket no longer alive.") -> None:
        super().__init__(message)


class CallError(IoTError):
    """A call has no result."""


class CallTimeout(CallError, TimeoutError):
    """No answer came within the call's time; one that comes later is dropped."""


class CallDisconnected(CallError, ConnectionError):
    """There is no connection to call over, or it ended before the answer came; the handler may have run."""


class RemoteError(CallError):
    """The handler at the other side raised.

    Attributes:
        name: the name of its exception's class, or "" if the other side did not tell.
        message: the exception's text.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}" if name and message else name or message)
        self.name = name
        self.message = message


class NoHandler(CallError):
    """The other side has no handler for the event."""


class InvalidData(CallError, ValueError):
    """The value breaks the endpoint or was refused by the other side, or what its handler returned cannot travel."""


class TooManyCalls(CallError):
    """As many calls as may be are on their way over this connection."""


class CallsUnsupported(CallError):
    """The other side speaks a protocol without calls: v0 or v1."""


class SetError(IoTError):
    """What was to be set is not, and nothing has changed."""


class UnknownEndpoint(SetError, LookupError):
    """The device has no endpoint of that id, or is forgotten."""


class ReadOnly(SetError, ValueError):
    """The endpoint is a sensor: its `access` is "read"."""


class VersionConflict(SetError):
    """The desired value has another version than `if_version` says: it was set since.

    Attributes:
        current: the endpoint as it is.
    """

    def __init__(self, current: State, expected: int) -> None:
        super().__init__(current, expected)
        self.current = current
        self.expected = expected

    def __str__(self) -> str:
        return (
            f"endpoint {self.current.endpoint!r} has version {self.current.version}, not {self.expected}:"
            " it was set since; look at `current`, and set it with that version"
        )
