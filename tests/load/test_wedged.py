"""A stuck handler, a blocked server and a dead peer: who is held up, and who is taken for gone."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.load.conftest import StartServer
from tests.load.harness import HOSTS, Device, report
from tests.support.wire import Opcode

pytestmark = pytest.mark.load

INTERVAL, TIMEOUT = 0.4, 0.5  # of pings, seconds
STUCK = 5.0


@pytest.mark.parametrize("host", HOSTS)
def test_a_stuck_handler_delays_nobody_else(start_server: StartServer, host: str) -> None:
    """Its own device is not taken for dead either, where nobody reads its pongs meanwhile."""
    server = start_server(host, ping_interval=INTERVAL, ping_timeout=TIMEOUT)
    with (
        Device(server.port, "stuck") as stuck,
        Device(server.port, "other") as other,
        ThreadPoolExecutor(1) as pool,
    ):
        stuck.send("wait", int(STUCK * 1000))
        waiting = pool.submit(stuck.packet, STUCK + 3)
        began = time.perf_counter()
        echoes, longest = 0, 0.0
        while time.perf_counter() - began < STUCK - 0.2:
            longest = max(longest, other.echo(echoes))
            echoes += 1
        assert longest < 0.5
        assert waiting.result() == ("wait", int(STUCK * 1000))
        stuck.echo("still here")
        assert server.journal("stuck") == ["connect", "connected"]
    server.settle(lambda stats: stats["sockets"] == 0)
    server.assert_quiet()
    report("stuck handler", host=host, echoes=echoes, worst=longest)


@pytest.mark.parametrize("host", HOSTS)
def test_a_blocked_server_takes_no_device_for_dead(start_server: StartServer, host: str) -> None:
    """Under gevent without patches one blocking handler stops all reading; that says nothing of the devices.

    Each device has sent something by the time a ping is overdue: it waits in the socket to be read.
    """
    server = start_server(host, ping_interval=INTERVAL, ping_timeout=TIMEOUT)
    with ExitStack() as stack:
        devices = [stack.enter_context(Device(server.port, f"d{n}")) for n in range(5)]
        for device in devices:
            device.echo("ready")
        devices[0].send("block", 2500)
        waiting = stack.enter_context(ThreadPoolExecutor(1)).submit(devices[0].packet, 7)
        blocked = time.monotonic() + 2.4
        while time.monotonic() < blocked:
            for device in devices[1:]:
                answer_pings(device)
        assert waiting.result() == ("block", 2500)
        for device in devices:
            device.echo("still here")
            assert server.journal(device.id) == ["connect", "connected"]
    server.settle(lambda stats: stats["sockets"] == 0)
    server.assert_quiet()


def answer_pings(device: Device) -> None:
    """Do what a device's library does in the background, for a twentieth of a second."""
    try:
        frame = device.expect_frame(0.05)
    except TimeoutError:
        return
    assert frame.opcode == Opcode.PING, (device.id, frame)
    device.send_frame(Opcode.PONG, frame.payload)


@pytest.mark.parametrize("host", HOSTS)
def test_batches_of_short_handlers_are_no_silence(start_server: StartServer, host: str) -> None:
    """Handlers that fill the whole time between two pings, one after the other."""
    server = start_server(host, ping_interval=0.1, ping_timeout=0.1)
    with Device(server.port, "busy") as busy:
        for _ in range(10):
            for _ in range(12):
                busy.send("wait", 30)
            for _ in range(12):
                assert busy.packet(3) == ("wait", 30)
        assert server.journal("busy") == ["connect", "connected"]
    server.settle(lambda stats: stats["sockets"] == 0)
    server.assert_quiet()


@pytest.mark.parametrize("host", HOSTS)
def test_a_dead_peer_is_gone_in_time_and_once(start_server: StartServer, host: str) -> None:
    """Its socket stays open, nothing is ever read or written there."""
    server = start_server(host, ping_interval=INTERVAL, ping_timeout=TIMEOUT)
    with Device(server.port, "dead") as dead, Device(server.port, "alive") as alive:
        alive.echo("ready")
        dead.echo("last words")
        began = time.monotonic()
        while server.stats()["clients"] == 2:
            assert time.monotonic() - began < INTERVAL + TIMEOUT + 1
            answer_pings(alive)
        gone = time.monotonic() - began
        assert gone > INTERVAL + TIMEOUT - 0.1
        alive.echo("still here")
        frames = dead.rest(5)
        assert [frame.opcode for frame in frames] == [Opcode.PING, Opcode.CLOSE]
        assert frames[-1].close_code == 1001
        assert server.journal("dead") == ["connect", "connected", "disconnect ping_timeout", "disconnected"]
        assert server.journal("alive") == ["connect", "connected"]
        dead.close()
        server.settle(lambda stats: stats["sockets"] == 1)
    server.settle(lambda stats: stats["sockets"] == 0)
    assert server.journal("dead").count("disconnect ping_timeout") == 1
    server.assert_quiet()
    report("dead peer", host=host, seconds=gone)


@pytest.mark.parametrize("host", HOSTS)
def test_a_dead_peer_with_a_full_queue_is_gone_in_time(start_server: StartServer, host: str) -> None:
    """The ping itself waits behind what the peer does not read; it is gone all the same, and its socket too."""
    server = start_server(host, ping_interval=INTERVAL, ping_timeout=TIMEOUT, max_outbox=64 * 1024 * 1024)
    with Device(server.port, "dead") as dead:
        dead.echo("last words")
        began = time.monotonic()
        server.post("/broadcast", type="plain", count=16, size=1024 * 1024)
        assert server.get("/pending")["dead"] > 0
        server.settle(lambda stats: stats["clients"] == 0)
        assert time.monotonic() - began < INTERVAL + TIMEOUT + 1.5
        server.settle(lambda stats: stats["sockets"] == 0)
    assert server.journal("dead")[2:] == ["disconnect ping_timeout", "disconnected"]
    server.assert_quiet()
