"""Translate what went wrong in the WebSocket library into this package's errors."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidHeader,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    ProxyError,
    WebSocketException,
)
from websockets.version import version

from iotio_protocol.errors import EncodeError

from .errors import ConnectFailed, ConnectionLost, ConnectTimeout, UpgradeRefused
from .target import Target

__all__ = [
    "CONNECT_ERRORS",
    "ERROR_HEADER",
    "TAKES_UNICODE",
    "FailedAttempts",
    "connect_failure",
    "connection_lost",
    "not_let_in",
    "refusal",
    "wire_headers",
]

ERROR_HEADER = "iotio-error"
"""The header by which a server of ours says in an HTTP answer why it refuses a device for good."""

CONNECT_ERRORS = (OSError, WebSocketException, EOFError)
"""What `connect` of the WebSocket library raises for reasons outside this program."""


_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
_UNKNOWN = 'if it is to be trusted, name its authority, sslopt={"ca_certs": "ca.pem"}'
_CLOCK = "check this device's clock, and the certificate"
_ANOTHER = "check the address: the certificate is for another one"
_CERTIFICATE_HINTS = {9: _CLOCK, 10: _CLOCK, 18: _UNKNOWN, 19: _UNKNOWN, 20: _UNKNOWN, 21: _UNKNOWN}
_CERTIFICATE_HINTS |= {62: _ANOTHER, 64: _ANOTHER}  # by the codes of OpenSSL, X509_V_ERR_...


def _takes(value: str) -> bool:
    try:
        Headers([("x", value)])
    except InvalidHeader:
        return False
    return True


# websockets up to 16 writes header values as UTF-8, from 17 on as latin-1; 16.1 takes nothing beyond latin-1.
_WRITES_LATIN_1 = Headers([("x", "é")]).serialize().startswith(b"x: \xe9")
TAKES_UNICODE = _WRITES_LATIN_1 or _takes("漢")
"""Whether ids and types may hold characters beyond U+00FF with the installed version of websockets."""


def wire_headers(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return headers in the form in which the library puts UTF-8 on the wire.

    Raises:
        EncodeError: the installed version of the library cannot.
    """
    if not _WRITES_LATIN_1:
        for _, value in headers:
            if not TAKES_UNICODE and not _takes(value):
                raise EncodeError(
                    f"websockets {version} cannot send {value!r}; install websockets 17 or newer,"
                    " or use protocol_version=2"
                )
        return headers
    return [(name, value.encode().decode("latin-1")) for name, value in headers]


def connect_failure(error: Exception, target: Target, timeout: float) -> ConnectFailed:
    """Make the error to raise for one of `CONNECT_ERRORS`; the caller chains it to its cause."""
    where = target.where
    refused = refusal(error)
    if refused is not None:
        codes = refused.response.headers.get_all(ERROR_HEADER)
        return UpgradeRefused(where, refused.response.status_code, codes[0] if codes else "")
    if isinstance(error, ssl.SSLError):  # before OSError and time-outs: it is an OSError
        return ConnectFailed(f"TLS with {where} failed: {_tls_problem(error)}")
    if isinstance(error, TimeoutError):
        return ConnectTimeout(f"no connection to {where} within {timeout:g} s")
    if isinstance(error, (InvalidMessage, ConnectionClosed, EOFError)):
        hint = "" if target.context else "; if its port speaks TLS, write wss:// before the host or pass sslopt"
        return ConnectFailed(f"{where} ended the connection before it answered the upgrade, or not in HTTP{hint}")
    if isinstance(error, socket.gaierror):
        known = f"no connection to {where}: the name is not known ({error.strerror})"
        return ConnectFailed(f"{known}: check the address, and the network")
    if isinstance(error, ConnectionRefusedError):
        return ConnectFailed(f"no connection to {where}: {error}: check that the server runs, and its port")
    if isinstance(error, (OSError, ProxyError)):
        return ConnectFailed(f"no connection to {where}: {error}")
    failure = ConnectFailed(f"{where} did not upgrade the connection: {error}")
    failure.retry = not isinstance(error, InvalidURI)
    failure.slow = isinstance(error, InvalidHandshake)  # said by something in between
    return failure


def _tls_problem(error: ssl.SSLError) -> str:
    code = getattr(error, "verify_code", 0)  # missing where the certificate is not the problem
    if code:
        assert isinstance(error, ssl.SSLCertVerificationError)
        hint = _CERTIFICATE_HINTS.get(code, "check it")
        return f"its certificate is not accepted ({error.verify_message}): {hint}"
    if getattr(error, "reason", None) in _NO_TLS:
        return f"{error}: if its port speaks no TLS, leave out wss://, use_tls and sslopt"
    return str(error)


def refusal(error: BaseException) -> InvalidStatus | None:
    """Find the HTTP status behind an error: the library makes others of a redirect that it does not follow."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, InvalidStatus):
        seen = seen.__cause__ or seen.__context__
    return seen


class FailedAttempts:
    """Judge why there is no connection by what has been in this run."""

    def __init__(self) -> None:
        self._reached: set[str] = set()  # addresses that a connection stood to
        self._told: set[tuple[type, int | None]] = set()  # kinds of failures, since the last connection

    def connected(self, target: Target) -> None:
        """Note that a connection stands."""
        self._reached.add(target.uri)
        self._told.clear()

    def judge(self, failure: ConnectFailed, target: Target) -> ConnectFailed:
        """Have an HTTP answer tried again if there was a connection to this address: what answers now may pass."""
        if isinstance(failure, UpgradeRefused) and not failure.retry and target.uri in self._reached:
            failure.retry = failure.slow = True
        return failure

    def is_news(self, end: Exception) -> bool:
        """Return whether the log is to say as an error what to check: once for each kind, until a connection stands."""
        if not (isinstance(end, ConnectFailed) and end.slow):
            return False
        kind = type(end), getattr(end, "status", None)
        is_news = kind not in self._told
        self._told.add(kind)
        return is_news


def not_let_in(error: ConnectionClosed, target: Target) -> ConnectFailed:
    """Make the error for a connection that ended after the upgrade, before the server let the device in."""
    return ConnectFailed(f"{target.where} did not let the device in: {connection_lost(error)}")


def connection_lost(error: ConnectionClosed, goodbye: str | None = None) -> ConnectionLost:
    """Make the error that tells how a connection ended, from what the library says.

    Args:
        error: what the library raised.
        goodbye: why the server said that it closes.
    """
    cause: Any = error.__cause__
    if error.rcvd is not None:
        return ConnectionLost(error.rcvd.code, error.rcvd.reason or goodbye or "")
    sent = f"this side closed with {error.sent.code} {error.sent.reason}".rstrip() if error.sent else ""
    return ConnectionLost(1006, goodbye or sent, str(cause) if cause else "")
