"""Peers that do not read what they are answered, on every host that reads frames itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from iotio import Options
from iotio_protocol import v2
from tests.support.hosts import LocalHost, eventually, serve_local
from tests.support.v2 import PROTOCOL
from tests.support.wire import Opcode, RawPeer, encode_frame

FLOOD = encode_frame(Opcode.PING, b"p" * 125) * 500
MOST = 64 * 1024 * 1024  # bytes that both kernels may take, far more than they do


def flood(peer: RawPeer) -> None:
    """Send pings, and read nothing, until the server ends the stream, which it must."""
    sent = 0
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while sent < MOST:
            peer.send_bytes(FLOOD)
            sent += len(FLOOD)
    assert sent < MOST


def says_nothing(peer: RawPeer) -> None:
    assert peer.upgrade(headers=PROTOCOL).status == 101


def says_nothing_v0(peer: RawPeer) -> None:
    assert peer.upgrade().status == 101


def is_refused(peer: RawPeer) -> None:
    assert peer.upgrade(headers=PROTOCOL).status == 101
    peer.send_binary(v2.encode_json(v2.HELLO, {"id": "d", "type": "unknown"}))
    assert isinstance(v2.decode(peer.expect_frame().payload), v2.Problem)


@pytest.mark.parametrize("begin", [says_nothing, says_nothing_v0, is_refused])
@pytest.mark.parametrize("kind", ["native", "gevent", "flask"])  # of an ASGI server the pongs are its own
def test_it_is_dropped(kind: str, begin: Callable[[RawPeer], None]) -> None:
    with serve_local(kind, Options(refusal_delay=30, close_timeout=0.5)) as host, host.peer() as peer:
        begin(peer)
        flood(peer)
        eventually(lambda: nobody_is_there(host))


def nobody_is_there(host: LocalHost) -> bool:
    return not host.manager.connections.all()
