"""A server that is told to end tells its devices first: an iot.io 0.4.12 program does not survive a bare TCP end."""

from __future__ import annotations

import signal
import socket
import time
from contextlib import ExitStack, suppress

import pytest

from tests.load.conftest import StartServer
from tests.load.harness import Device, LoadServer, report
from tests.support.wire import Opcode, RawPeer, WireError

pytestmark = pytest.mark.slow

DEVICES = 5
IN_TIME = 6.0  # seconds

# The exit status that each host has for each signal when no device was ever there.
USUAL = {
    ("native", signal.SIGTERM): 0,
    ("native", signal.SIGINT): 0,
    ("gevent", signal.SIGTERM): -signal.SIGTERM,
    ("gevent", signal.SIGINT): -signal.SIGINT,
    ("patched", signal.SIGTERM): -signal.SIGTERM,
    ("patched", signal.SIGINT): -signal.SIGINT,
    ("flask", signal.SIGTERM): -signal.SIGTERM,
    ("flask", signal.SIGINT): 0,  # Werkzeug's serve_forever takes the KeyboardInterrupt for a wish to end
    ("gunicorn", signal.SIGTERM): 0,
    ("gunicorn", signal.SIGINT): 0,
}


def ends(server: LoadServer, number: signal.Signals) -> int:
    """Send the signal and wait. Returns the exit status."""
    server.signal(number)
    return server.wait(IN_TIME + 10)


def let_in(server: LoadServer) -> None:
    """Return when the server's main thread is done with the devices that have come.

    Where a KeyboardInterrupt meets `socketserver` in the middle of handing over a connection, it closes that one.
    Connections are handed over in order, so the answer to a request tells.
    """
    server.stats()


@pytest.mark.parametrize(("host", "number"), USUAL)
def test_without_devices_nothing_is_different(start_server: StartServer, host: str, number: signal.Signals) -> None:
    server = start_server(host)
    let_in(server)
    began = time.monotonic()
    server.signal(number)
    # gevent by itself is deaf to a signal that comes just before its loop begins to wait; anything wakes it.
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
    assert server.wait(IN_TIME + 10) == USUAL[host, number], server.output
    assert time.monotonic() - began < IN_TIME


@pytest.mark.parametrize(("host", "number"), USUAL)
def test_devices_get_a_close_frame(start_server: StartServer, host: str, number: signal.Signals) -> None:
    server = start_server(host)
    with ExitStack() as stack:
        devices = [stack.enter_context(Device(server.port, f"d{n}", "goodbye")) for n in range(DEVICES)]
        for device in devices:
            device.echo("ready")
        old = stack.enter_context(RawPeer("127.0.0.1", server.port))
        old.upgrade()
        old.send_text('[/"old"/][/"goodbye"/][/"{}"/]')
        old.send_text('[/"echo"/][/"ready"/]')
        old.expect_frame()
        let_in(server)
        began = time.monotonic()
        server.signal(number)
        for peer in (*devices, old):
            assert peer.expect_frame().close_code == 1001
            peer.send_close(1001)
            with suppress(ConnectionResetError):  # a process that is gone has not read our CLOSE frame
                assert peer.recv_frame() is None
            peer.close()
        status = server.wait(IN_TIME + 10)
        seconds = time.monotonic() - began
    assert status == USUAL[host, number], server.output
    assert seconds < IN_TIME
    goodbyes = sorted(line for line in server.lines if line.startswith("goodbye"))
    assert goodbyes == [*(f"goodbye d{n} server_shutdown" for n in range(DEVICES)), "goodbye old server_shutdown"]
    report("shutdown", host=host, signal=number.name, seconds=seconds)


@pytest.mark.parametrize(("host", "number"), USUAL)
def test_devices_that_do_not_answer_hold_up_nothing(
    start_server: StartServer, host: str, number: signal.Signals
) -> None:
    """They neither answer the CLOSE frame nor close."""
    server = start_server(host)
    with ExitStack() as stack:
        devices = [stack.enter_context(Device(server.port, f"d{n}", "goodbye")) for n in range(DEVICES)]
        for device in devices:
            device.echo("ready")
        let_in(server)
        began = time.monotonic()
        status = ends(server, number)
        seconds = time.monotonic() - began
        for device in devices:
            assert [frame.close_code for frame in device.rest(5)] == [1001]
    assert status == USUAL[host, number], server.output
    assert seconds < IN_TIME + 5  # gunicorn's own grace is 5 s
    assert sum(line.startswith("goodbye") for line in server.lines) == DEVICES
    report("shutdown, silent devices", host=host, signal=number.name, seconds=seconds)


@pytest.mark.parametrize(("host", "number"), USUAL)
@pytest.mark.parametrize("how", ["wait", "block"])
def test_a_second_signal_ends_a_server_with_a_stuck_handler(
    start_server: StartServer, host: str, number: signal.Signals, how: str
) -> None:
    """The stuck device gets its CLOSE frame too; the others are not kept waiting for it."""
    server = start_server(host)
    with Device(server.port, "stuck") as stuck, Device(server.port, "other") as other:
        other.echo("ready")
        let_in(server)
        stuck.send("hang", {how: 60_000})
        assert stuck.packet() == ("hanging", 60_000)
        began = time.monotonic()
        server.signal(number)
        assert stuck.expect_frame(10).close_code == 1001
        assert other.expect_frame(10).close_code == 1001
        time.sleep(0.5)
        if server.alive:
            server.signal(number)
        server.wait(IN_TIME + 10)
        seconds = time.monotonic() - began
    assert seconds < IN_TIME
    report("second signal", host=host, signal=number.name, how=how, seconds=seconds)


@pytest.mark.parametrize("host", ["gevent", "flask"])  # the native host ends idle connections at once
def test_a_device_that_comes_during_the_end_is_told_too(start_server: StartServer, host: str) -> None:
    server = start_server(host)
    with Device(server.port, "first") as first, RawPeer("127.0.0.1", server.port) as late:
        first.echo("ready")
        server.signal(signal.SIGTERM)
        assert first.expect_frame(5).opcode == Opcode.CLOSE  # and is not answered: there is a moment of grace
        assert late.upgrade().status == 101
        assert late.expect_frame().close_code == 1001
        late.close()
        server.wait(IN_TIME)


@pytest.mark.parametrize("host", ["native", "gevent", "patched", "flask"])
def test_a_device_that_comes_back_at_once_is_told_each_time(start_server: StartServer, host: str) -> None:
    """As the 0.4.1 library does. While the server waits for another device, this one neither storms it nor is cut off.

    Right after its last CLOSE frame it may meet the end of the process: who accepts a connection is not ours to say.
    """
    server = start_server(host, refusal_delay=10)
    codes: list[int | None] = []
    with Device(server.port, "silent") as silent:
        silent.echo("ready")  # it does not answer the CLOSE frame: there is a moment of grace
        while True:
            try:
                device = Device(server.port, "one")
            except (OSError, WireError):
                break
            with device:
                if not codes:
                    device.echo("ready")
                    server.signal(signal.SIGTERM)
                try:
                    codes.append(device.expect_frame().close_code)
                except (OSError, WireError):
                    assert len(codes) > 1
                    break
                with suppress(OSError):
                    device.send_close(1001)
        server.wait(IN_TIME)
    assert set(codes) == {1001}
    assert len(codes) <= 3
    assert len(codes) > 1 or host == "native"  # which no longer listens by then
