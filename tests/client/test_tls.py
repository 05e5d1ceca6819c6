"""One TLS connection, a thread that reads and one that writes."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator

import pytest
import trustme

from iotio_client.tls import TurnTakingSocket


@pytest.fixture
def pair() -> Iterator[tuple[TurnTakingSocket, ssl.SSLSocket]]:
    """A client's socket under test and the server's plain TLS socket."""
    authority = trustme.CA()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    ours, theirs = socket.socketpair()
    accepted: list[ssl.SSLSocket] = []
    thread = threading.Thread(
        target=lambda: accepted.append(server_context.wrap_socket(theirs, server_side=True)), daemon=True
    )
    thread.start()
    client = client_context.wrap_socket(ours, server_hostname="localhost")
    thread.join(10)
    with client, accepted[0]:
        yield TurnTakingSocket(client), accepted[0]


def test_reads_and_writes_at_the_same_time(pair: tuple[TurnTakingSocket, ssl.SSLSocket]) -> None:
    client, server = pair
    sent = b"".join(number.to_bytes(4, "big") for number in range(50_000))
    got = bytearray()

    def read() -> None:
        while len(got) < len(sent):
            got.extend(client.recv(65536))

    def echo() -> None:
        left = len(sent)
        while left:
            data = server.recv(65536)
            server.sendall(data)
            left -= len(data)

    threads = [threading.Thread(target=function, daemon=True) for function in (read, echo)]
    for thread in threads:
        thread.start()
    for start in range(0, len(sent), 1000):
        client.sendall(sent[start : start + 1000])
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert got == sent


def test_time_limits(pair: tuple[TurnTakingSocket, ssl.SSLSocket]) -> None:
    client, _ = pair
    client.settimeout(0.05)
    assert client.gettimeout() == 0.05
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.write_limit = 0.05
    with pytest.raises(TimeoutError):
        client.sendall(bytes(64 * 1024 * 1024))


def test_the_end_wakes_the_reader(pair: tuple[TurnTakingSocket, ssl.SSLSocket]) -> None:
    client, _ = pair
    seen: list[bytes] = []
    reader = threading.Thread(target=lambda: seen.append(client.recv(1)), daemon=True)
    reader.start()
    client.shutdown(socket.SHUT_RDWR)
    reader.join(10)
    assert seen == [b""]
