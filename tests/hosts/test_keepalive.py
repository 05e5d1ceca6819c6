"""What the kernel is told: how long bytes may stay without an acknowledgement."""

from __future__ import annotations

import socket

import pytest

from iotio import Options
from iotio.hosts.keepalive import limit_silence

pytestmark = pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system has no TCP_USER_TIMEOUT")

USUAL = Options(ping_interval=20, ping_timeout=10)
SLEEPY = Options(ping_interval=300, ping_timeout=60)
NO_PINGS = Options(ping_interval=0)


def user_timeout(sock: socket.socket) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


@pytest.mark.parametrize(
    ("options", "milliseconds"),
    [((USUAL,), 35_000), ((USUAL, SLEEPY), 365_000), ((USUAL, NO_PINGS), 0), ((), 0)],
)
def test_accepted_connections_have_it_from_the_listening_one(options: tuple[Options, ...], milliseconds: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        limit_silence(listening, *options)
        with socket.create_connection(listening.getsockname()) as _, listening.accept()[0] as accepted:
            assert user_timeout(accepted) == milliseconds


def test_the_ping_finds_out_first() -> None:
    """The kernel would end the connection with no word about why."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        limit_silence(listening, USUAL)
        assert user_timeout(listening) / 1000 >= USUAL.ping_interval + USUAL.ping_timeout + 5


def test_a_unix_socket_is_left_alone() -> None:
    one, other = socket.socketpair()
    with one, other:
        limit_silence(one, USUAL)
