"""What a stranger can write into the log through the server that a program is run by."""

from __future__ import annotations

import io
import logging
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from werkzeug.exceptions import ClientDisconnected

from iotio.hosts.blocking.host_logs import guard_body, guard_logs
from iotio_protocol.v1 import encode
from tests.support.hosts import FAST, Host, serve
from tests.support.malformed import REQUESTS
from tests.support.wire import Opcode, v1_headers

KINDS = ("gevent", "flask", "gevent-patched", "gunicorn")
MOST = 60_000  # bytes of log: some lines of each kind


@pytest.fixture(params=KINDS)
def served(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A server of each kind."""
    with serve(request.param, FAST) as host:
        yield host


def send(port: int, data: bytes, *, reset: bool = False) -> None:
    """Send bytes, and wait for the end of the answer, or reset the connection."""
    with socket.create_connection(("127.0.0.1", port), 2) as sock:
        sock.settimeout(0.5)
        with suppress(OSError):
            sock.sendall(data)
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass


def check(served: Host, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    """See that a device is served, and what the log has."""
    with served.peer() as peer:
        assert peer.upgrade(headers=v1_headers("kitchen", "echo")).status == 101
        peer.send_frame(Opcode.BINARY, encode("same", "x"))
        assert peer.recv_frame() is not None
    log = served.errors + caplog.text + "".join(capsys.readouterr())
    assert "Traceback" not in log, log[log.find("Traceback") - 500 :][:3000]
    assert len(log) < MOST
    assert max(map(len, log.splitlines()), default=0) < 1400


def test_requests_that_no_server_should_be_sent(
    served: Host, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    for reset in (False, True):
        for data in REQUESTS.values():
            send(served.port, data, reset=reset)
    check(served, caplog, capsys)


@pytest.mark.parametrize(
    "name", ["rubbish", "huge version", "many headers", "upgrade with a bad key", "absolute port", "cut body"]
)
def test_the_same_again_and_again(
    served: Host, name: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(100):
        send(served.port, REQUESTS[name])
    check(served, caplog, capsys)


def test_a_mistake_of_the_application_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Its traceback is what the program needs, each time."""
    guard_logs()
    try:
        urlsplit("http://[")  # the innermost frame is the library's
    except ValueError:
        for _ in range(30):
            logging.getLogger("werkzeug").error("Error on request:\nTraceback of the application")
    assert [record.getMessage() for record in caplog.records] == [
        "Error on request:\nTraceback of the application"
    ] * 30


def test_a_body_that_is_cut_is_no_exception_of_the_view() -> None:
    class Broken(io.BytesIO):
        def read(self, *size: int | None) -> bytes:
            raise ConnectionResetError

    environ: dict[str, io.BytesIO] = {"wsgi.input": Broken()}
    guard_body(environ)
    with pytest.raises(ClientDisconnected):
        environ["wsgi.input"].read(5)
    environ = {"wsgi.input": io.BytesIO(b"a\nb\nc")}
    guard_body(environ)
    body = environ["wsgi.input"]
    assert body.readline() == b"a\n"
    assert body.readlines() == [b"b\n", b"c"]
    body.seek(0)
    assert (body.read(1), body.read()) == (b"a", b"\nb\nc")
