"""The native server: how it starts, listens, and ends."""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import flask
import pytest
import trustme

from iotio import IoTManager
from iotio_protocol import v1
from tests.support.hosts import FAST, serve_local
from tests.support.memory import v1_device
from tests.support.processes import START_SECONDS, Program, free_port
from tests.support.wire import ACCEPT, Opcode, RawPeer, WireError, v1_headers

PROGRAM = Path(__file__).parents[1] / "programs" / "native_server.py"


def make_manager() -> IoTManager:
    return IoTManager(flask.Flask("server"), options=FAST)


def echoes(peer: RawPeer, word: str) -> bool:
    peer.send_binary(v1.encode("same", word))
    return v1.decode(peer.expect_frame().payload) == ("same", word)


# start() and stop().


def test_it_can_be_started_and_stopped_again() -> None:
    manager = make_manager()
    before = threading.active_count()
    for _ in range(2):
        port = manager.start()
        assert port > 0
        with pytest.raises(RuntimeError, match="runs already"):
            manager.start()
        socket.create_connection(("127.0.0.1", port), 5).close()
        manager.stop()
        manager.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)
    assert threading.active_count() <= before  # one of an earlier test may end meanwhile


def test_the_end_of_a_server_does_not_reopen_a_manager_that_was_closed() -> None:
    manager = make_manager()
    manager.start()
    manager.close(0)
    manager.stop()
    assert v1_device(manager, "late", "echo").close_code() == 1001


def test_a_port_in_use_is_said() -> None:
    manager = make_manager()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RuntimeError, match=f"could not start: port {port} is in use; choose another with port="):
            manager.start(port=port)
        with pytest.raises(OSError, match=f"^port {port} is in use; choose another with port=$") as caught:
            manager.run("127.0.0.1", port)
        assert caught.value.errno == errno.EADDRINUSE
    assert manager.start(port=port) == port
    manager.stop()


def test_a_port_that_was_found_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    manager = make_manager()
    with caplog.at_level(logging.INFO, "iotio.server"):
        port = manager.start()
    manager.stop()
    line = f"serving on http://127.0.0.1:{port}; devices at the path /iot.io; no device type yet"
    assert [one.partition(",")[0] for one in caplog.messages] == [line]


def test_the_lines_of_uvicorn_are_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("uvicorn.error").setLevel(logging.NOTSET)
    manager = make_manager()
    with caplog.at_level(logging.INFO):
        manager.start()
        manager.stop()
    assert {one.name for one in caplog.records} == {"iotio.server"}


def test_a_name_with_several_addresses() -> None:
    manager = make_manager()
    port = manager.start("localhost")
    try:
        for family, _, _, _, address in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM):
            with socket.socket(family) as sock:
                sock.settimeout(5)
                sock.connect(address)
    finally:
        manager.stop()


def test_a_certificate_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    manager = make_manager()
    authority = trustme.CA()
    certificate, other, key = tmp_path / "certificate.pem", tmp_path / "other.pem", tmp_path / "key.pem"
    authority.issue_cert("localhost").cert_chain_pems[0].write_to_path(certificate)
    authority.issue_cert("localhost").private_key_pem.write_to_path(other)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"ssl_certfile": str(key)}, f"the file {key} does not exist; choose another with ssl_certfile="),
        (
            {"ssl_certfile": str(certificate), "ssl_keyfile": str(other)},
            f"the key in {other} is not that of the certificate; choose another with ssl_keyfile=",
        ),
        (
            {"ssl_certfile": str(other), "ssl_keyfile": str(other)},
            f"no certificate and key in PEM form in {other} and {other}; choose another with ssl_certfile=",
        ),
    ]
    for options, text in cases:
        with pytest.raises(OSError, match=f"^{re.escape(text)}$"):
            manager.run("127.0.0.1", 0, **options)
    with pytest.raises(ValueError, match="ssl_keyfile= is of use with ssl_certfile= only"):
        manager.run("127.0.0.1", 0, ssl_keyfile=str(other))


def test_stop_tells_the_devices() -> None:
    with serve_local("native") as host, host.peer() as peer:
        assert peer.upgrade(headers=v1_headers("d", "echo")).status == 101
        assert echoes(peer, "x")
        stopping = threading.Thread(target=host.manager.stop)
        stopping.start()
        assert peer.expect_frame().close_code == 1001
        peer.send_close(1001)
        assert peer.recv_frame() is None
        stopping.join(5)
        assert host.log.of("d")[-2:] == ["reason:server_shutdown", "mgr_on_disconnect"]


def test_a_unix_socket(tmp_path: Path) -> None:
    manager = make_manager()
    path = tmp_path / "s"
    assert manager.start(uds=str(path)) == 0
    try:
        with socket.socket(socket.AF_UNIX) as device:
            device.settimeout(5)
            device.connect(str(path))
            lines = "\r\n".join(f"{name}: {value}" for name, value in v1_headers("d", "nosuch"))
            device.sendall(
                b"GET /iot.io HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                + lines.encode()
                + b"\r\n\r\n"
            )
            answer = b""
            while b"client_invalid_type" not in answer:
                more = device.recv(4096)
                assert more, answer
                answer += more
            assert answer.startswith(b"HTTP/1.1 101 ")
            assert ACCEPT.encode() in answer
    finally:
        manager.stop()


# run() as a program.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(number: signal.Signals) -> None:
    with Program([sys.executable, "-u", PROGRAM, str(free_port())]) as server:
        port = int(server.wait_line("ready", START_SECONDS).split()[1])
        with RawPeer("127.0.0.1", port) as peer, RawPeer("127.0.0.1", port) as silent:
            for name, one in (("polite", peer), ("silent", silent)):
                assert one.upgrade(headers=v1_headers(name, "echo")).status == 101
                assert echoes(one, "x")
            began = time.monotonic()
            server.signal(number)
            assert peer.expect_frame().close_code == 1001
            assert silent.expect_frame().close_code == 1001
            peer.send_close(1001)
            with pytest.raises(ConnectionRefusedError):
                RawPeer("127.0.0.1", port)
            assert server.wait(10) == 0, server.output
        assert time.monotonic() - began < 7
        assert sorted(line for line in server.lines if line.startswith("gone")) == [
            "gone polite server_shutdown",
            "gone silent server_shutdown",
        ]
        assert "Traceback" not in server.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(number: signal.Signals) -> None:
    with Program([sys.executable, "-u", PROGRAM, str(free_port())]) as server:
        port = int(server.wait_line("ready", START_SECONDS).split()[1])
        with RawPeer("127.0.0.1", port) as peer:
            assert peer.upgrade(headers=v1_headers("d", "echo")).status == 101
            peer.send_binary(v1.encode("stuck", 60))
            assert v1.decode(peer.expect_frame().payload) == ("stuck", "begins")
            server.signal(number)
            assert peer.expect_frame().close_code == 1001
            began = time.monotonic()
            server.signal(number)
            assert server.wait(5) == 128 + number
            assert time.monotonic() - began < 1


def test_a_stuck_handler_holds_the_end_up_for_a_moment_only() -> None:
    with Program([sys.executable, "-u", PROGRAM, str(free_port())]) as server:
        port = int(server.wait_line("ready", START_SECONDS).split()[1])
        with RawPeer("127.0.0.1", port) as peer:
            assert peer.upgrade(headers=v1_headers("d", "echo")).status == 101
            peer.send_binary(v1.encode("stuck", 60))
            assert v1.decode(peer.expect_frame().payload) == ("stuck", "begins")
            began = time.monotonic()
            server.terminate(15)
            assert server.wait(1) == 0, server.output
            assert time.monotonic() - began < 8


def test_the_frames_of_a_port_that_is_gone() -> None:
    """A peer of a server that was killed sees the end of its stream."""
    with Program([sys.executable, "-u", PROGRAM, str(free_port())]) as server:
        port = int(server.wait_line("ready", START_SECONDS).split()[1])
        with RawPeer("127.0.0.1", port) as peer:
            assert peer.upgrade(headers=v1_headers("d", "echo")).status == 101
            assert echoes(peer, "x")
            os.kill(server.process.pid, signal.SIGKILL)
            with pytest.raises((WireError, ConnectionResetError)):
                assert peer.expect_frame().opcode == Opcode.CLOSE
