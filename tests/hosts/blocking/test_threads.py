"""How a thread waits for its device."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from typing import TypeAlias

import pytest

from iotio.core.primitives import Signal
from iotio.hosts.blocking.threads import ThreadWaits

WAIT = 5.0  # seconds

Pair: TypeAlias = tuple[socket.socket, ThreadWaits]


@pytest.fixture(params=["poll", "select"])
def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """The device's end of a connection, and the waiting at the other one; by each call that systems have."""
    if request.param == "select":
        monkeypatch.delattr(select, "poll", raising=False)  # as on Windows
    elif not hasattr(select, "poll"):
        pytest.skip("this system has no poll()")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield theirs, ThreadWaits(ours)


def test_bytes_and_the_end_are_worth_reading(pair: Pair) -> None:
    device, waits = pair
    assert not waits.readable(0)
    assert not waits.readable(0.01)
    device.sendall(b"x")
    assert waits.readable(0)
    assert waits.readable()
    assert waits.readable(WAIT)


def test_the_end_of_the_stream_is_worth_reading(pair: Pair) -> None:
    device, waits = pair
    device.close()
    assert waits.readable(WAIT)


def test_a_thread_wakes_when_bytes_come(pair: Pair) -> None:
    device, waits = pair
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(waits.readable(WAIT)))
    thread.start()
    device.sendall(b"x")
    thread.join(WAIT)
    assert found == [True]


def test_a_signal_wakes_the_thread(pair: Pair) -> None:
    _, waits = pair
    signal = Signal()
    assert not waits.signal(signal, 0.01)
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(waits.signal(signal, None)))
    thread.start()
    signal.set()
    thread.join(WAIT)
    assert found == [True]
    assert waits.signal(signal, 0)


def test_the_socket_stays_open(pair: Pair) -> None:
    device, waits = pair
    waits.close()
    device.sendall(b"x")
    assert waits.readable(WAIT)


def test_no_server_takes_a_thread_away() -> None:
    assert ThreadWaits.ends == ()
