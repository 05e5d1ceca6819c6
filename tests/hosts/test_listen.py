"""Listening sockets: what they are opened on, and what is said where they cannot be."""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
from pathlib import Path

import flask
import pytest

from iotio import DeviceType, IoTClient, IoTManager
from iotio.hosts import listen as module
from iotio.hosts.listen import CannotServe, address, check_files, listen
from tests.support.hosts import eventually
from tests.support.wire import RawPeer, v1_headers


def test_a_free_port() -> None:
    (sock,) = listen("127.0.0.1", 0)
    with sock:
        port = sock.getsockname()[1]
        assert port > 0
        assert address(sock) == f"127.0.0.1:{port}"
        socket.create_connection(("127.0.0.1", port), 5).close()


@pytest.mark.parametrize("host", ["", None, "localhost", "::", "[::]"])
def test_one_port_for_all_addresses(host: str | None) -> None:
    sockets = listen(host, 0)
    try:
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
        assert socket.AF_INET in {sock.family for sock in sockets}
    finally:
        for sock in sockets:
            sock.close()


def test_an_address_of_ipv6() -> None:
    try:
        (bare,) = listen("::1", 0)
        bare.close()
        (sock,) = listen("[::1]", 0)
    except CannotServe as error:
        assert error.option == "host"  # this machine has no IPv6
        return
    with sock:
        assert address(sock) == f"[::1]:{sock.getsockname()[1]}"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::", "[::]"])
def test_both_kinds_of_addresses(host: str) -> None:
    sockets = listen(host, 0)
    try:
        assert {sock.family for sock in sockets} == {socket.AF_INET, socket.AF_INET6}
        for peer in ("127.0.0.1", "::1"):
            socket.create_connection((peer, sockets[0].getsockname()[1]), 5).close()
    finally:
        for sock in sockets:
            sock.close()


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_devices_of_both_kinds_have_addresses_of_their_own_kind() -> None:
    peers: list[str] = []

    class Lamp(DeviceType):
        def on_connect(self, client: IoTClient) -> None:
            peers.append(str(flask.request.remote_addr))

    manager = IoTManager(flask.Flask("both"))
    manager.add_type(Lamp("lamp"))
    port = manager.start(host="::", request_context=True)
    try:
        for host in ("127.0.0.1", "::1"):
            with RawPeer(host, port) as peer:
                peer.host = "localhost"
                assert peer.upgrade(headers=v1_headers(host, "lamp")).status == 101
                eventually(lambda: host in peers)  # noqa: B023  # it is waited for here
        assert peers == ["127.0.0.1", "::1"]
    finally:
        manager.stop()


def test_a_port_in_use() -> None:
    (sock,) = listen("127.0.0.1", 0)
    with sock:
        port = sock.getsockname()[1]
        with pytest.raises(CannotServe, match=f"^port {port} is in use; choose another with port=$") as caught:
            listen("127.0.0.1", port)
        assert (caught.value.option, caught.value.errno) == ("port", errno.EADDRINUSE)
    listen("127.0.0.1", port)[0].close()  # at once: nobody waits for the system to forget the old one


@pytest.mark.parametrize(
    ("host", "port", "text"),
    [
        ("192.0.2.77", 0, "192.0.2.77 is no address of this machine; choose another with host="),
        ("nosuch.invalid", 0, "there is no host 'nosuch.invalid'; choose another with host="),
        ("127.0.0.1", 65536, "65536 is no port, they go from 0 to 65535; choose another with port="),
        ("127.0.0.1", -1, "-1 is no port, they go from 0 to 65535; choose another with port="),
    ],
)
def test_what_is_no_address(host: str, port: int, text: str) -> None:
    with pytest.raises(CannotServe, match=f"^{re.escape(text)}$"):
        listen(host, port)


@pytest.mark.parametrize(
    ("code", "port", "text"),
    [
        (errno.EACCES, 80, "no permission to listen on port 80 (those below 1024 are for administrators)"),
        (errno.EPERM, 8080, "no permission to listen on port 8080"),
        (errno.EMFILE, 80, "cannot listen on ::1:80: Too many open files"),
    ],
)
def test_other_refusals_of_the_system(code: int, port: int, text: str) -> None:
    error = module._explained(OSError(code, os.strerror(code)), "::1", port)
    assert (error.problem, error.option, error.errno) == (text, "port", code)


def test_a_unix_socket_that_was_left_is_replaced_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    for mode in (0o666, 0o600):
        (sock,) = listen(None, 0, str(path))
        with sock:
            assert address(sock) == str(path)
            assert stat.S_IMODE(path.stat().st_mode) == mode
            with pytest.raises(CannotServe, match=f"^the Unix socket {path} is in use; choose another with uds=$"):
                listen(None, 0, str(path))
        path.chmod(0o600)


def test_what_is_no_unix_socket(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(CannotServe, match=f"^{file} exists and is no socket; choose another with uds=$"):
        listen(None, 0, str(file))
    with pytest.raises(CannotServe, match=r"cannot listen on the Unix socket .*: No such file or directory; choose"):
        listen(None, 0, str(tmp_path / "none" / "socket"))
    with pytest.raises(CannotServe, match=r"AF_UNIX path too long; choose another with uds=$"):
        listen(None, 0, str(tmp_path / ("x" * 200)))


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    check_files(ssl_certfile=file, ssl_keyfile=None)
    with pytest.raises(CannotServe, match=r"none does not exist; choose another with ssl_keyfile=$"):
        check_files(ssl_certfile=file, ssl_keyfile=tmp_path / "none")
    with pytest.raises(CannotServe, match=r"cannot be read: Is a directory; choose another with ssl_certfile=$"):
        check_files(ssl_certfile=tmp_path)
