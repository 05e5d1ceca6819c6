"""What went wrong in the WebSocket library, in our words; the library's errors are real ones."""

from __future__ import annotations

import socket
import ssl

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import (
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxy,
    InvalidStatus,
    InvalidUpgrade,
    InvalidURI,
    ProxyError,
    WebSocketException,
)
from websockets.frames import Close
from websockets.http11 import Response
from websockets.sync.client import connect

from iotio_client.errors import ConnectFailed, ConnectTimeout, UpgradeRefused
from iotio_client.failures import (
    CONNECT_ERRORS,
    TAKES_UNICODE,
    connect_failure,
    connection_lost,
    not_let_in,
    wire_headers,
)
from iotio_client.target import Target
from iotio_protocol.errors import EncodeError

from .devices import Running, SyncDevice, make
from .fake_server import FakeServer, Peer

PLAIN = Target.parse("ws://me:secret@h:1")
TLS = Target.parse("wss://h:1")


def status(code: int) -> InvalidStatus:
    """What the library raises for an answer with this status."""
    return InvalidStatus(Response(code, "Reason", Headers()))


# Headers.


def test_wire_headers_are_utf_8_in_every_version_of_websockets() -> None:
    assert Headers(wire_headers([("x", "é")])).serialize() == "x: é\r\n\r\n".encode()
    if TAKES_UNICODE:
        assert Headers(wire_headers([("x", "é漢")])).serialize() == "x: é漢\r\n\r\n".encode()
    else:
        with pytest.raises(EncodeError, match="install websockets 17"):
            wire_headers([("x", "é漢")])


def test_ascii_headers_are_left_as_they_are() -> None:
    headers = [("IoT-IO-Id", "d1"), ("IoT-IO-Type", ""), ("IoT-IO-Id", "again")]
    assert wire_headers(headers) == headers


# No connection came about.


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (status(404), UpgradeRefused, "h:1 answered with HTTP status 404 "),
        (ssl.SSLCertVerificationError("self-signed"), ConnectFailed, "TLS with h:1 failed: .*self-signed"),
        (TimeoutError("timed out"), ConnectTimeout, r"no connection to h:1 within 2\.5 s"),
        (EOFError("stream ends"), ConnectFailed, "h:1 ended the connection before it answered the upgrade"),
        (InvalidMessage("no HTTP"), ConnectFailed, "h:1 ended the connection before it answered the upgrade"),
        (ConnectionClosedError(None, None), ConnectFailed, "h:1 ended the connection before"),
        (
            ConnectionRefusedError(111, "refused"),
            ConnectFailed,
            r"no connection to h:1: \[Errno 111\] refused: check that the server runs, and its port",
        ),
        (ProxyError("proxy says no"), ConnectFailed, "no connection to h:1: proxy says no"),
        (InvalidUpgrade("Upgrade", "h2c"), ConnectFailed, "h:1 did not upgrade the connection: .*h2c"),
    ],
)
def test_no_connection(error: Exception, kind: type[ConnectFailed], text: str) -> None:
    assert isinstance(error, CONNECT_ERRORS)
    failure = connect_failure(error, PLAIN, 2.5)
    assert type(failure) is kind
    with pytest.raises(kind, match=text):
        raise failure
    assert "secret" not in str(failure)


def test_a_plain_device_at_a_port_that_is_silent_gets_a_hint() -> None:
    assert "if its port speaks TLS, write wss://" in str(connect_failure(EOFError(), PLAIN, 1))
    assert "if its port speaks TLS" not in str(connect_failure(EOFError(), TLS, 1))


def test_tls_that_times_out_is_told_as_tls() -> None:
    """The error is a TimeoutError and an OSError, too."""

    class HandshakeTimeout(ssl.SSLError, TimeoutError):
        pass

    assert str(connect_failure(HandshakeTimeout("handshake"), TLS, 1)).startswith("TLS with h:1 failed")


@pytest.mark.parametrize(
    ("error", "retry"),
    [
        (status(404), True),
        (status(503), True),
        (TimeoutError(), True),
        (ssl.SSLError("wrong version number"), True),
        (ConnectionRefusedError(), True),
        (EOFError(), True),
        (InvalidUpgrade("Upgrade", "h2c"), True),
        (InvalidHandshake("wrong"), True),
        (InvalidURI("ws://", "no host"), False),
        (InvalidProxy("x://", "no proxy"), True),
        (WebSocketException("something else"), True),
    ],
)
def test_whether_trying_again_can_help(error: Exception, retry: bool) -> None:
    assert connect_failure(error, PLAIN, 1).retry is retry


# A connection has ended.


def test_the_code_and_reason_of_the_server_count() -> None:
    lost = connection_lost(ConnectionClosedOK(Close(1000, "bye"), Close(1000, "bye"), True), "said before")
    assert (lost.code, lost.reason, lost.clean) == (1000, "bye", True)
    lost = connection_lost(ConnectionClosedError(Close(1012, ""), None, None), "update")
    assert (lost.code, lost.reason, lost.clean) == (1012, "update", False)
    assert connection_lost(ConnectionClosedError(Close(1012, ""), None, None)).reason == ""


def test_without_a_close_frame_the_cause_is_named() -> None:
    error = ConnectionClosedError(None, Close(1011, "keepalive ping timeout"), None)
    error.__cause__ = ConnectionResetError("reset by peer")
    lost = connection_lost(error)
    assert (lost.code, lost.reason) == (1006, "this side closed with 1011 keepalive ping timeout")
    assert str(lost).endswith("without a CLOSE frame: this side closed with 1011 keepalive ping timeout; reset by peer")
    assert connection_lost(error, "the server is going").reason == "the server is going"
    assert connection_lost(ConnectionClosedError(None, Close(1000, ""), None)).reason == "this side closed with 1000"
    assert str(connection_lost(ConnectionClosedError(None, None))) == "the connection ended without a CLOSE frame"


def test_an_end_before_the_device_was_let_in_is_tried_again() -> None:
    failure = not_let_in(ConnectionClosedError(Close(1013, "busy"), None, None), PLAIN)
    assert str(failure) == "h:1 did not let the device in: the server closed the connection with code 1013: busy"
    assert failure.retry


# What the library does raise.


def refuses(peer: Peer) -> None:
    peer.answer(426)


def speaks_no_http(peer: Peer) -> None:
    peer.read_request()
    peer.socket.sendall(b"220 mail.example ESMTP\r\n\r\n")


def hangs_up(peer: Peer) -> None:
    peer.read_request()


@pytest.mark.parametrize(
    ("script", "kind", "text"),
    [
        (refuses, UpgradeRefused, "the server asks for another protocol"),
        (speaks_no_http, ConnectFailed, "ended the connection before it answered the upgrade, or not in HTTP"),
        (hangs_up, ConnectFailed, "ended the connection before it answered the upgrade"),
    ],
)
def test_servers_that_do_not_upgrade(script: object, kind: type[ConnectFailed], text: str) -> None:
    with FakeServer(script) as server:  # type: ignore[arg-type]  # pytest's parameters have no type
        with pytest.raises(CONNECT_ERRORS) as caught:
            connect(f"ws://{server.domain}/iot.io", proxy=None)
        failure = connect_failure(caught.value, Target.parse(server.domain), 1)
    assert type(failure) is kind
    assert text in str(failure)
    assert server.domain in str(failure)


def test_a_server_that_ends_an_open_connection() -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.close(4000, "enough")

    with FakeServer(script) as server, connect(f"ws://{server.domain}/iot.io", proxy=None) as connection:
        with pytest.raises(ConnectionClosedError) as caught:
            connection.recv(timeout=10)
        assert (connection_lost(caught.value).code, connection_lost(caught.value).reason) == (4000, "enough")


def certificate_error(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            socket.gaierror(-2, "Name or service not known"),
            "no connection to h:1: the name is not known (Name or service not known):"
            " check the address, and the network",
        ),
        (
            certificate_error(18, "self-signed certificate"),
            "TLS with h:1 failed: its certificate is not accepted (self-signed certificate):"
            ' if it is to be trusted, name its authority, sslopt={"ca_certs": "ca.pem"}',
        ),
        (
            certificate_error(10, "certificate has expired"),
            "TLS with h:1 failed: its certificate is not accepted (certificate has expired):"
            " check this device's clock, and the certificate",
        ),
        (
            certificate_error(62, "Hostname mismatch"),
            "TLS with h:1 failed: its certificate is not accepted (Hostname mismatch):"
            " check the address: the certificate is for another one",
        ),
        (
            certificate_error(23, "certificate revoked"),
            "TLS with h:1 failed: its certificate is not accepted (certificate revoked): check it",
        ),
    ],
)
def test_what_to_do_stands_in_one_line(error: Exception, text: str) -> None:
    assert str(connect_failure(error, TLS, 1)) == text


def test_a_port_without_tls() -> None:
    with FakeServer(lambda peer: peer.socket.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        error = Running(make(SyncDevice).run, f"wss://{server.domain}", reconnect=False).join()
    assert str(error).endswith(": if its port speaks no TLS, leave out wss://, use_tls and sslopt")
