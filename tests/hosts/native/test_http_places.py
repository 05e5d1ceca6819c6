"""Places for HTTP connections: who makes room for whom."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from iotio import DeviceType, IoTManager
from iotio.core.pending import PATIENCE, SHARE
from iotio.hosts.native.http_places import HttpPlaces
from tests.support.hosts import eventually
from tests.support.memory import Clock
from tests.support.wire import RawPeer


class Holder:
    """A connection in the state that the test says."""

    def __init__(self, since: float, *, idle: bool = False, awaited: bool = False, address: str = "127.0.0.1") -> None:
        self.since, self.is_idle, self.is_awaited, self.address = since, idle, awaited, address
        self.is_dropped = False

    def drop(self) -> None:
        self.is_dropped = True


def test_the_one_that_is_idle_longest_makes_room() -> None:
    clock = Clock()
    places = HttpPlaces(3, clock)
    busy, late, early = Holder(0), Holder(clock.now, idle=True), Holder(clock.now - 1, idle=True)
    assert all(places.enter(one) for one in (busy, late, early))
    assert places.enter(Holder(clock.now))
    assert (busy.is_dropped, late.is_dropped, early.is_dropped) == (False, False, True)
    places.leave(early)
    assert len(places) == 3


def test_else_one_whose_request_does_not_come() -> None:
    clock = Clock()
    places = HttpPlaces(2, clock)
    busy, slow = Holder(0), Holder(clock.now, awaited=True)
    assert all(places.enter(one) for one in (busy, slow))
    assert not places.enter(Holder(clock.now))
    clock.now += PATIENCE + 0.1
    assert places.enter(Holder(clock.now))
    assert (busy.is_dropped, slow.is_dropped) == (False, True)


def test_one_address_gets_its_share_when_places_are_scarce() -> None:
    clock = Clock()
    places = HttpPlaces(40, clock)
    many = [Holder(0, address="10.0.0.1") for _ in range(30)]
    assert [places.enter(one) for one in many] == [True] * 21 + [False] * 9
    assert [places.enter(Holder(0, address="10.0.0.2")) for _ in range(17)] == [True] * SHARE + [False]
    for one in many:
        places.leave(one)
    assert places.enter(Holder(0, address="10.0.0.1"))


# In a server with four places.


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answer `/`; leave `/wait` without an answer until the peer has gone."""
    if scope["type"] != "http":
        return
    if scope["path"] == "/wait":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def port() -> Iterator[int]:
    manager = IoTManager(application)
    manager.add_type(DeviceType("echo"))
    yield manager.start(http_connections=4)
    manager.stop()
    manager.close(0)


def request(peers: contextlib.ExitStack, port: int, path: str) -> RawPeer:
    peer = peers.enter_context(RawPeer("127.0.0.1", port))
    peer.send_bytes(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return peer


def test_idle_ones_go_first(port: int) -> None:
    with contextlib.ExitStack() as stack:
        peers = [request(stack, port, "/") for _ in range(4)]
        for peer in peers:
            assert peer.recv_response().body == b"ok"
        newcomer = request(stack, port, "/")
        assert newcomer.recv_response().body == b"ok"
        with contextlib.suppress(ConnectionResetError):
            assert peers[0].recv_all_until_eof() == b""
        for peer in (*peers[1:], newcomer):
            peer.send_bytes(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert peer.recv_response().body == b"ok"


def test_where_all_are_busy_a_newcomer_is_told_so(port: int) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            request(stack, port, "/wait")
        newcomer = request(stack, port, "/")
        answer = newcomer.recv_response()
        assert answer.status == 503
        assert answer.body == b"There are too many connections. Try again in a moment."
        assert newcomer.recv_all_until_eof() == b""
    with contextlib.ExitStack() as stack:
        eventually(lambda: request(stack, port, "/").recv_response().status == 200)
