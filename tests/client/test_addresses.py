"""A name with several addresses: one that swallows packets, one without a listener, and one that answers."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from iotio_client import addresses
from iotio_client.addresses import Address, connect_any, direct, interleaved
from iotio_client.target import Target
from iotio_client.task_addresses import connect_any_async

from .devices import AsyncDevice, Kind, Running, SyncDevice, make
from .fake_server import TIMEOUT, FakeServer, Peer

NAME = "hub.example"
HOLE, CLOSED, ANSWERS = "127.0.0.2", "127.0.0.3", "127.0.0.1"


def found(*hosts: str, port: int = 1) -> list[tuple[int, int, int, str, tuple[Any, ...]]]:
    """What a resolver returns."""
    families = [socket.AF_INET6 if ":" in host else socket.AF_INET for host in hosts]
    return [(family, socket.SOCK_STREAM, 6, "", (host, port)) for family, host in zip(families, hosts, strict=True)]


class Names:
    """A resolver that knows one name, and a listener whose queue is full: it swallows what comes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hosts: list[str] = []
        self._sockets = ExitStack()
        self._original = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._resolve)

    def _resolve(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != NAME:
            return self._original(host, port, *args, **kwargs)
        if kwargs.get("flags", 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        return found(*self.hosts, port=port)

    def swallow(self, port: int) -> None:
        """Make a hole at this port."""
        hole = self._sockets.enter_context(socket.socket())
        hole.bind((HOLE, port))
        hole.listen(0)
        for _ in range(4):
            other = self._sockets.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex((HOLE, port))

    def close(self) -> None:
        self._sockets.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    made = Names(monkeypatch)
    yield made
    made.close()


def connected(kind: str, port: int, seconds: float = TIMEOUT) -> str:
    """Connect to the name. Returns the address."""
    if kind == "threads":
        sock = connect_any(NAME, port, time.monotonic() + seconds, lambda: False)
        assert sock.gettimeout() is None
    else:

        async def run() -> socket.socket:
            async with asyncio.timeout(seconds):
                return await connect_any_async(NAME, port)

        sock = asyncio.run(run())
    with sock:
        return str(sock.getpeername()[0])


KINDS = pytest.mark.parametrize("kind", ["threads", "tasks"])
CLIENTS = pytest.mark.parametrize("kind", [SyncDevice, AsyncDevice])


# The order.


def test_families_take_turns_and_the_preferred_one_begins() -> None:
    hosts = [one.address[0] for one in interleaved(found("::1", "::2", "::3", "10.0.0.1", "10.0.0.2"))]
    assert hosts == ["::1", "10.0.0.1", "::2", "10.0.0.2", "::3"]
    assert [one.address[0] for one in interleaved(found("10.0.0.1", "::1"))] == ["10.0.0.1", "::1"]


def test_an_address_is_tried_once_and_other_families_never() -> None:
    twice = found("10.0.0.1", "10.0.0.1")
    assert interleaved([*twice, (socket.AF_UNIX, socket.SOCK_STREAM, 0, "", ("x",))]) == [
        Address(socket.AF_INET, ("10.0.0.1", 1))
    ]
    assert interleaved([]) == []


def test_a_proxy_of_the_environment_connects_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    assert direct(Target.parse("wss://hub.example:444")) is None
    assert direct(Target.parse("wss://localhost:444")) == ("localhost", 444)
    monkeypatch.setenv("no_proxy", "hub.example")
    assert direct(Target.parse("wss://hub.example:444")) == ("hub.example", 444)


# The race.


@KINDS
@pytest.mark.parametrize("first", [HOLE, CLOSED])
def test_the_address_that_answers_is_taken(kind: str, first: str, names: Names) -> None:
    with socket.create_server((ANSWERS, 0)) as listener:
        port = listener.getsockname()[1]
        names.swallow(port)
        names.hosts = [first, ANSWERS]
        before = time.monotonic()
        assert connected(kind, port) == ANSWERS
        assert time.monotonic() - before < TIMEOUT / 2


@KINDS
def test_the_losers_are_closed(kind: str, names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    class Remembered(socket.socket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    with socket.create_server((ANSWERS, 0)) as listener:
        port = listener.getsockname()[1]
        names.swallow(port)
        names.hosts = [HOLE, CLOSED, ANSWERS]
        monkeypatch.setattr(addresses.socket, "socket", Remembered)  # type: ignore[attr-defined]  # the module
        assert connected(kind, port) == ANSWERS
    outward = [sock for sock in made if sock.family == socket.AF_INET]
    assert len(outward) >= 3
    assert all(sock.fileno() < 0 for sock in outward)


@KINDS
def test_one_time_limit_holds_for_all_addresses(kind: str, names: Names) -> None:
    with socket.create_server((ANSWERS, 0)) as listener:
        port = listener.getsockname()[1]
        names.swallow(port)
        names.hosts = [HOLE, HOLE]
        with pytest.raises(TimeoutError):
            connected(kind, port, 0.6)


@KINDS
def test_the_error_is_that_of_all_addresses(kind: str, names: Names) -> None:
    with socket.create_server((ANSWERS, 0)) as listener:
        port = listener.getsockname()[1]
    names.hosts = [CLOSED, ANSWERS]
    with pytest.raises(ConnectionRefusedError) as caught:
        connected(kind, port)
    assert caught.value.errno == errno.ECONNREFUSED
    names.hosts = [CLOSED, "255.255.255.255"]
    with pytest.raises(OSError, match=r"127\.0\.0\.3: .*; 255\.255\.255\.255: "):
        connected(kind, port)
    names.hosts = []
    with pytest.raises(OSError, match=r"'hub\.example' has no address"):
        connected(kind, port)


@KINDS
def test_a_name_that_cannot_be_one_is_an_os_error(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.client.test_addresses.NAME", "a" * 70 + ".example")
    with pytest.raises(OSError, match="aaa"):
        connected(kind, 1)


def test_a_thread_that_is_told_to_stop_gives_up(names: Names) -> None:
    with socket.create_server((ANSWERS, 0)) as listener:
        port = listener.getsockname()[1]
        names.swallow(port)
    names.hosts = [HOLE]
    stopped = threading.Event()
    running = Running(connect_any, NAME, port, time.monotonic() + 1000, stopped.is_set)
    stopped.set()
    assert isinstance(running.join(), ConnectionAbortedError)


# The clients.


@CLIENTS
@pytest.mark.parametrize("first", [HOLE, CLOSED])
def test_a_client_connects_though_the_first_address_is_dead(kind: Kind, first: str, names: Names) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        assert b"hub.example" in peer.head
        peer.wait_eof()

    with FakeServer(script) as server:
        names.swallow(server.port)
        names.hosts = [first, ANSWERS]
        device = make(kind)
        running = Running(device.run, f"{NAME}:{server.port}", timeout=TIMEOUT)
        assert device.log.next() == ("connect",)
        device.stop()
        assert running.join() is None


@CLIENTS
def test_a_client_that_is_stopped_while_no_address_answers_ends(kind: Kind, names: Names) -> None:
    with socket.create_server((ANSWERS, 0)) as listener:
        port = listener.getsockname()[1]
        names.swallow(port)
    names.hosts = [HOLE]
    device = make(kind)
    running = Running(device.run, f"{NAME}:{port}", timeout=1000)
    while device._session.state.name != "CONNECTING":
        time.sleep(0.01)
    device.stop()
    assert running.join() is None
