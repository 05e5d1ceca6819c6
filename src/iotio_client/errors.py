"""The errors of a device.

::

    IoTError (iotio_protocol.errors)
    └── ClientError                 everything below
        ├── NotConnected            send without a connection (also a ConnectionError)
        ├── ConnectFailed           no connection came about (also a ConnectionError)
        │   ├── ConnectTimeout      not within `timeout` seconds (also a TimeoutError)
        │   └── UpgradeRefused      the server answered with an HTTP status instead of the upgrade
        ├── ConnectionLost          a connection ended (also a ConnectionError)
        │   └── ConnectionBroken    by this side, so that a durable message comes again
        ├── DeviceRejected          the server said why it does not want this device; trying again cannot help
        ├── BufferFull              too many durable messages wait for the server
        ├── BufferFailed            the file of durable messages cannot be used
        │   └── BufferDamaged       it is damaged, or not a buffer's
        └── InvalidEndpoint         an EndpointInfo that no server accepts (also a ValueError)

The errors of `call` are those of iotio_protocol.errors: CallError and what is below it.
"""

from __future__ import annotations

from iotio_protocol.errors import ErrorCode, IoTError

__all__ = [
    "BufferDamaged",
    "BufferFailed",
    "BufferFull",
    "ClientError",
    "ConnectFailed",
    "ConnectTimeout",
    "ConnectionBroken",
    "ConnectionLost",
    "DeviceRejected",
    "InvalidEndpoint",
    "NotConnected",
    "UpgradeRefused",
    "VersionNotSpoken",
]

_CLEAN_CODES = frozenset({1000, 1001, 1005})  # normal, going away, a CLOSE frame without a code
_PASSING_STATUSES = frozenset({408, 425, 429})  # time-out, too early, too many: HTTP says "later"
_FINAL_STATUSES = frozenset({401, 403, 404})  # with a code of ours
_MAX_CODE = 64  # characters of it that an error repeats
_STATUS_HINTS = {
    400: "the server, or a proxy on the way, does not take the request: check the address, and what headers the proxy"
    " allows",
    401: "something on the way wants a login: check the address, and that no proxy asks for one",
    403: "something on the way forbids this: check the address, and the rules of firewalls and proxies",
    404: "nothing answers at this path: check the address, and that the server is an iot.io server that runs",
    421: "the server does not answer under this name: check the address, and the allowed hosts of server and proxy",
    426: "the server asks for another protocol: a proxy on the way may not pass WebSocket upgrades on",
    431: "a proxy on the way does not take headers of this size: make client_data and the endpoints smaller,"
    " or have it take more",
}
_KIND_HINTS = {
    2: "a page, and no iot.io server: check the address, and whether the network wants a login on a page of its own",
    3: "it redirects, which is not followed: check the address, whether it needs wss://, and whether the network wants"
    " a login on a page of its own",
    5: "try again later",
}
_REJECTIONS = {
    ErrorCode.CLIENT_NO_ID: "it got no device id: give IoTClient a client_id that is not empty",
    ErrorCode.CLIENT_NO_TYPE: "it got no device type: give IoTClient a client_type that is not empty",
    ErrorCode.CLIENT_INVALID_TYPE: "it does not know the device type {type!r}: change client_type, "
    "or add a DeviceType of this name on the server",
    ErrorCode.CLIENT_INVALID_DATA: "client_data is not JSON to it: change client_data",
    ErrorCode.CLIENT_INVALID_ENDPOINTS: "an endpoint declaration is wrong: change the EndpointInfo",
    ErrorCode.CLIENT_NO_PROTOCOL_VERSION: "it got no protocol version: use protocol_version=1, "
    "and check that no proxy drops the header IoT-IO-ProtocolVersion",
    ErrorCode.CLIENT_INCOMPATIBLE_PROTOCOL_VERSION: "it speaks another version of the protocol: "
    "update iotio on the device or on the server",
    ErrorCode.CLIENT_INVALID_PACKET: "it cannot read what this device says of itself: make client_data smaller, "
    "or update iotio on the device or on the server",
    ErrorCode.ORIGIN_NOT_ALLOWED: "it takes this program for a web page of another host: send no Origin header, "
    "or add the origin to Options(allowed_origins=...) on the server",
}


class ClientError(IoTError):
    """Root of the errors of the device side.

    Attributes:
        retry: whether the same attempt can succeed later; only then a client connects again by itself.
    """

    retry = False


class NotConnected(ClientError, ConnectionError):
    """There is no connection to send on."""


class ConnectFailed(ClientError, ConnectionError):
    """No connection came about; `__cause__` holds the reason where there is one.

    Attributes:
        slow: whether somebody has to change something before it can succeed: the longest wait follows, and the log
            says as an error what to check.
    """

    retry = True
    slow = False


class ConnectTimeout(ConnectFailed, TimeoutError):
    """No connection came about within the time limit."""


class UpgradeRefused(ConnectFailed):
    """The server, or something in front of it, answered with an HTTP status other than 101.

    It counts as final with the status 401, 403 or 404 and the header ``iotio-error`` of a server of ours, if the device
    was not connected to this address before. All else may be said by a proxy or a login page, and can pass.

    Attributes:
        status: the HTTP status code.
        code: what the server's header ``iotio-error`` says, or "".
    """

    def __init__(self, where: str, status: int, code: str = "") -> None:
        self.status = status
        self.code = "".join(filter(str.isprintable, code))[:_MAX_CODE]
        self.retry = not (self.code and status in _FINAL_STATUSES)
        self.slow = self.retry and not (status >= 500 or status in _PASSING_STATUSES)
        if self.code:
            hint = f"the server says {self.code}: check the address, and the server's log"
        elif status in _PASSING_STATUSES:
            hint = "try again later"
        else:
            other = (
                "it is no iot.io server, or it refuses the request: check the address, and what proxies on the way do"
            )
            hint = _STATUS_HINTS.get(status) or _KIND_HINTS.get(status // 100, other)
        super().__init__(f"{where} answered with HTTP status {status} instead of a connection: {hint}")


class VersionNotSpoken(ConnectFailed):
    """The server does not speak the protocol version that this device was told to insist on."""

    retry = False


class ConnectionLost(ClientError, ConnectionError):
    """A connection ended.

    Attributes:
        code: the code of the server's CLOSE frame; 1005 where it held none, 1006 where no CLOSE frame came.
        reason: its reason, or "".
    """

    retry = True

    def __init__(self, code: int, reason: str = "", cause: str = "") -> None:
        if code == 1006:
            text = "the connection ended without a CLOSE frame"
        else:
            text = f"the server closed the connection with code {code}"
        more = "; ".join(part for part in (reason, cause) if part)
        super().__init__(f"{text}: {more}" if more else text)
        self.code = code
        self.reason = reason

    @property
    def clean(self) -> bool:
        """Whether the server ended the connection in order, with nothing to complain of."""
        return self.code in _CLEAN_CODES


class ConnectionBroken(ConnectionLost):
    """This side has ended a connection so that the next one brings a durable message again."""

    def __init__(self, why: str) -> None:
        super().__init__(1006)
        self.args = (f"this side ended the connection: {why}",)


class DeviceRejected(ClientError):
    """The server refuses this device as it is.

    Attributes:
        code: the reason as the wire has it.
        info: more about it, or None; with `client_invalid_endpoints` the endpoint and its problem.
    """

    def __init__(self, code: ErrorCode, info: object = None, client_type: str = "") -> None:
        text = f"the server refuses this device ({code.value}): {_REJECTIONS[code].format(type=client_type)}"
        super().__init__(text if info is None else f"{text} (the server says: {info})")
        self.code = code
        self.info = info


class BufferFull(ClientError):
    """Too many durable messages wait for the server already; this one is not kept."""


class BufferFailed(ClientError):
    """The file that keeps durable messages cannot be opened, read or written."""


class BufferDamaged(BufferFailed):
    """The file that keeps durable messages is damaged, or is not a buffer's; trying again cannot help."""


class InvalidEndpoint(ClientError, ValueError):
    """An endpoint declaration that no server accepts."""
