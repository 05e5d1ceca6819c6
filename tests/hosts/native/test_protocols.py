"""What a connection of the native server becomes: a device, a page, an upgrade elsewhere, or nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from iotio_protocol import v1
from tests.support.hosts import LocalHost, serve_local
from tests.support.wire import RawPeer, v1_headers


@pytest.fixture(scope="module")
def native() -> Iterator[LocalHost]:
    with serve_local("native") as host:
        yield host


def echoes(peer: RawPeer, word: str) -> bool:
    peer.send_binary(v1.encode("same", word))
    return v1.decode(peer.expect_frame().payload) == ("same", word)


def test_devices_and_pages_on_one_port(native: LocalHost) -> None:
    with native.peer() as peer:
        assert peer.upgrade(headers=v1_headers("page", "echo")).status == 101
        assert native.request("GET", "/hello") == (200, b"hello")
        assert echoes(peer, "x")
        assert native.request("GET", "/nothing")[0] == 404
        assert native.request("GET", "/iot.io")[0] == 426


def test_a_page_and_then_a_device_on_one_connection(native: LocalHost) -> None:
    with native.peer() as peer:
        for _ in range(2):
            peer.send_bytes(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            assert peer.recv_response().body == b"hello"
        assert peer.upgrade(headers=v1_headers("both", "echo")).status == 101
        assert echoes(peer, "x")


@pytest.mark.parametrize("path", ["/", "/other", "/iot.io/x", "/iot.iox", "/api/iot.io"])
def test_an_upgrade_elsewhere_is_not_found(native: LocalHost, path: str) -> None:
    with native.peer() as peer:
        assert peer.upgrade(path, headers=v1_headers("d", "echo")).status == 404
        assert peer.recv_all_until_eof() == b""


@pytest.mark.parametrize("path", ["/iot.io", "/iot.io/", "/iot.io?a=b"])
def test_the_paths_of_devices(native: LocalHost, path: str) -> None:
    with native.peer() as peer:
        assert peer.upgrade(path, headers=v1_headers("d", "echo")).status == 101
        assert echoes(peer, "x")


def test_50_kilobytes_of_endpoints(native: LocalHost) -> None:
    endpoints = [{"id": f"e{n}", "name": "x" * 80, "type": "boolean", "specialId": None} for n in range(400)]
    headers = v1_headers("many", "echo", endpoints=endpoints)
    assert sum(len(value) for _, value in headers) > 50_000
    with native.peer() as peer:
        assert peer.upgrade(headers=headers).status == 101
        assert echoes(peer, "x")
        client = native.manager.client("many")
        assert client is not None
        assert len(client.endpoints) == 400


def test_a_wrong_upgrade_is_answered_by_http(native: LocalHost) -> None:
    with native.peer() as peer:
        peer.send_bytes(
            b"GET /iot.io HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\n\r\n"
        )
        assert peer.recv_response().status == 400


def test_what_is_no_http_is_refused(native: LocalHost) -> None:
    with native.peer() as peer:
        peer.send_bytes(b"\x00\x01hello\r\n\r\n")
        assert peer.recv_response().status == 400


@pytest.mark.parametrize("head", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_half_a_request_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    monkeypatch.setattr("iotio.hosts.native.http.PATIENCE", 0.1)
    with serve_local("native") as host, host.peer() as slow, host.peer() as device:
        assert device.upgrade(headers=v1_headers("d", "echo")).status == 101
        slow.send_bytes(head)
        with contextlib.suppress(ConnectionResetError):
            assert slow.recv_all_until_eof(3) == b""
        assert echoes(device, "x")  # a device has its own time-outs


@pytest.mark.parametrize(
    "line",
    [b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n", b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"],
)
def test_the_proxy_protocol_is_refused_with_words(
    native: LocalHost, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with native.peer() as peer:
        peer.send_bytes(line + peer.request_bytes(headers=v1_headers("d", "echo")))
        assert peer.recv_response().status == 400
        with contextlib.suppress(ConnectionResetError):  # what it has sent behind the line was not read
            assert peer.recv_all_until_eof() == b""
    assert "take send-proxy (HAProxy), proxy_protocol (nginx, Caddy) out of its configuration" in caplog.text
    assert native.manager.clients == []
