"""The native server accepts no more than it has room for; the others wait, and come in."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from pathlib import Path

import pytest

from iotio import Options
from iotio.core import pending
from iotio.core.pending import PendingSockets
from iotio.hosts.native.acceptor import Acceptor
from iotio_protocol import v1
from iotio_protocol.log_throttle import LogThrottle
from tests.support.hosts import serve_local
from tests.support.memory import Clock
from tests.support.processes import START_SECONDS, Program, free_port
from tests.support.wire import RawPeer, v1_headers

PROGRAM = Path(__file__).parents[1] / "programs" / "native_server.py"


def echoes(peer: RawPeer, word: str) -> bool:
    peer.send_binary(v1.encode("same", word))
    return v1.decode(peer.expect_frame().payload) == ("same", word)


@pytest.mark.parametrize("kind", ["native", "native-asyncio"])
def test_a_device_comes_in_although_silent_sockets_take_all_places(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is lost that asyncio has accepted, but not made known, when accepting ends."""
    monkeypatch.setattr(pending, "PATIENCE", 1.0)
    with serve_local(kind, Options(max_pending=16)) as host, contextlib.ExitStack() as peers:
        silent = [peers.enter_context(RawPeer("127.0.0.1", host.port)) for _ in range(40)]
        began = time.monotonic()
        with host.peer(timeout=20) as device:
            assert device.upgrade(headers=v1_headers("d", "echo")).status == 101
            assert echoes(device, "x")
        assert time.monotonic() - began > 0.6  # those that came first have had their time
        assert len(host.manager.connections.pending) <= 16
        with contextlib.suppress(ConnectionResetError):
            assert silent[0].recv_all_until_eof() == b""


def test_others_go_on_meanwhile() -> None:
    with serve_local("native", Options(max_pending=16)) as host, contextlib.ExitStack() as peers:
        device = peers.enter_context(host.peer())
        assert device.upgrade(headers=v1_headers("d", "echo")).status == 101
        for _ in range(40):
            peers.enter_context(RawPeer("127.0.0.1", host.port))
        assert echoes(device, "x")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.skipif(sys.platform == "win32", reason="no limit of descriptors")
def test_where_descriptors_are_scarce_newcomers_wait(loop: str) -> None:
    command = ["bash", "-c", 'ulimit -n 300; exec "$@"', "-", sys.executable, "-u", str(PROGRAM)]
    with Program([*command, str(free_port()), loop]) as server, contextlib.ExitStack() as peers:
        port = int(server.wait_line("ready", START_SECONDS).split()[1])
        devices: list[RawPeer] = []
        while True:
            one = peers.enter_context(RawPeer("127.0.0.1", port, timeout=1.0))
            try:
                assert one.upgrade(headers=v1_headers(f"d{len(devices)}", "echo")).status == 101
            except TimeoutError:
                one.close()
                break
            devices.append(one)
        assert 100 < len(devices) < 250  # the rest of the descriptors is for the program
        assert echoes(devices[0], "x")
        lines = [line for line in server.lines if "as the process may have (300)" in line]
        assert len(lines) == 1
        assert "Traceback" not in server.output
        for one in devices[:50]:
            one.close()
        with RawPeer("127.0.0.1", port) as late:
            assert late.upgrade(headers=v1_headers("late", "echo")).status == 101
            assert echoes(late, "x")


async def test_what_is_accepted_behind_the_end_is_dropped() -> None:
    clock = Clock()
    pending = PendingSockets(8, clock)
    acceptor = Acceptor(pending, LogThrottle(clock, threading.Lock()), asyncio.Protocol)
    transport, dropped = asyncio.Transport(), []
    assert acceptor.accepted("first", transport, "192.0.2.1:1", "192.0.2.1", lambda: dropped.append("first"))
    acceptor.close()
    assert not acceptor.accepted("late", transport, "192.0.2.1:2", "192.0.2.1", lambda: dropped.append("late"))
    assert dropped == ["late"]
    assert len(pending) == 1
