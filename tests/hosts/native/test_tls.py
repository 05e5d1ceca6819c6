"""TLS on the native server: who does not shake hands holds a place of those who have not said who they are."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import flask
import pytest

from iotio import DeviceType, IoTClient, IoTManager, Options
from iotio.core import pending
from iotio.core.connections import Connections
from iotio_protocol import v1
from tests.support.certificates import issue
from tests.support.hosts import eventually
from tests.support.wire import Opcode, RawPeer, encode_frame, v1_headers

PLACES = 16
LOOPS = ["asyncio", "uvloop"] if sys.platform != "win32" else ["asyncio"]


class Echo(DeviceType):
    """Sends back what it gets."""

    def on_same(self, message: object, client: IoTClient) -> object:
        return message


class Served:
    """A running server with TLS.

    Attributes:
        manager: its own.
        port: where it listens.
        trust: what its clients trust.
    """

    def __init__(self, manager: IoTManager, port: int, trust: ssl.SSLContext) -> None:
        self.manager = manager
        self.port = port
        self.trust = trust

    @property
    def connections(self) -> Connections:
        return self.manager.connections

    def device(self, timeout: float = 5.0) -> RawPeer:
        return RawPeer("localhost", self.port, timeout=timeout, tls=self.trust)

    def stranger(self) -> RawPeer:
        return RawPeer("127.0.0.1", self.port)


@pytest.fixture(params=LOOPS)
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    chain, key, trust = issue(tmp_path)
    manager = IoTManager(flask.Flask("tls"), options=Options(max_pending=PLACES))
    manager.add_type(Echo("echo"))
    port = manager.start(ssl_certfile=str(chain), ssl_keyfile=str(key), loop=request.param)
    try:
        yield Served(manager, port, trust)
    finally:
        manager.stop()


def comes_in(device: RawPeer) -> bool:
    assert device.upgrade(headers=v1_headers("d", "echo")).status == 101
    device.send_binary(v1.encode("same", "x"))
    return v1.decode(device.expect_frame().payload) == ("same", "x")


def test_a_device_comes_in_although_silent_handshakes_take_all_places(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "PATIENCE", 1.0)
    with contextlib.ExitStack() as peers:
        silent = [peers.enter_context(served.stranger()) for _ in range(40)]
        began = time.monotonic()
        with served.device(timeout=20) as device:
            assert comes_in(device)
        assert time.monotonic() - began > 0.6  # those that came first have had their time
        assert len(served.connections.pending) <= PLACES
        with contextlib.suppress(ConnectionResetError):
            assert silent[0].recv_all_until_eof() == b""


def test_a_request_that_comes_with_the_end_of_the_handshake_is_answered(served: Served) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with socket.create_connection(("127.0.0.1", served.port), 5) as sock:
        tls = served.trust.wrap_bio(incoming, outgoing, server_hostname="localhost")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        lines = "".join(f"{name}: {value}\r\n" for name, value in upgrade_headers())
        tls.write(f"GET /iot.io HTTP/1.1\r\n{lines}\r\n".encode() + encode_frame(Opcode.BINARY, v1.encode("same", "x")))
        sock.sendall(outgoing.read())
        received = b""
        while v1.encode("same", "x") not in received:
            try:
                received += tls.read(65536)
            except ssl.SSLWantReadError:
                data = sock.recv(65536)
                assert data
                incoming.write(data)
        assert received.startswith(b"HTTP/1.1 101 ")


def upgrade_headers() -> list[tuple[str, str]]:
    return [
        ("Host", "localhost"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
        *v1_headers("early", "echo"),
    ]


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x00\x10" + bytes(16), b""])
def test_who_speaks_something_else_or_goes_gives_its_place_back(served: Served, sent: bytes) -> None:
    with served.stranger() as stranger:
        eventually(lambda: len(served.connections.pending) == 1)
        stranger.send_bytes(sent)
        if sent:
            with contextlib.suppress(ConnectionResetError):
                stranger.recv_all_until_eof()
    eventually(lambda: len(served.connections.pending) == 0)
    with served.device() as device:
        assert comes_in(device)


def test_a_page_comes_over_the_same_port(served: Served) -> None:
    with served.device() as browser:
        browser.send_bytes(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert browser.recv_all_until_eof().startswith(b"HTTP/1.1 404 ")


def test_the_end_of_the_server_waits_for_no_handshake(served: Served) -> None:
    with served.stranger() as stranger:
        eventually(lambda: len(served.connections.pending) == 1)
        began = time.monotonic()
        served.manager.stop()
        assert time.monotonic() - began < 3
        with contextlib.suppress(ConnectionResetError):
            assert stranger.recv_all_until_eof() == b""
        assert len(served.connections.pending) == 0
