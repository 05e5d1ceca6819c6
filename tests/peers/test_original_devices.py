"""Device programs of the original against our server: the README's quickstart under gevent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from iotio import DeviceType, InvalidData, IoTManager, Options
from iotio.endpoints import FloatEndpoint
from tests.peers.conftest import Start
from tests.peers.environments import GEN1, GEN1_041, Peer
from tests.support.app import make_app
from tests.support.hosts import FAST, EventLog, eventually, serve_local
from tests.support.processes import JsonProgram
from tests.support.quickstart import QuickstartServer

HELD_BACK_SECONDS = 20.0
"""A refused device waits for its CLOSE: a few seconds, so that a 0.4.1 device does not come back at once."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[QuickstartServer]:
    with QuickstartServer(tmp_path) as running:
        yield running


def exchange(server: QuickstartServer, device: JsonProgram, device_id: str, text: str) -> None:
    """The device says something and gets it back."""
    device.do("send", name="message", data=text)
    server.wait_line(f"Message from Client with ID '{device_id}': {text}")
    device.expect("message", name="message", data=text)


def test_0_4_12_talks(start: Start, gen1: Peer, server: QuickstartServer) -> None:
    device = start(gen1, "device_0412.py", server.domain, "d1", "echo", "--on", "message", "--endpoints")
    device.expect("connected")
    server.wait_line("New Ping Client Connected! ID: d1")
    exchange(server, device, "d1", "hello")
    exchange(server, device, "d1", 'grüße [/"x"/] ' + "long " * 20000)


def test_0_4_12_stays_when_a_handler_of_the_server_fails(start: Start, gen1: Peer, server: QuickstartServer) -> None:
    device = start(gen1, "device_0412.py", server.domain, "d1", "echo", "--on", "message")
    device.expect("connected")
    device.do("send", name="message", data=5)
    server.wait_line("TypeError")
    device.do("send", name="no_such_event", data={"hex": "00ff"})
    exchange(server, device, "d1", "still here")
    assert not device.seen("disconnected")


def test_0_4_12_outlives_a_restart_of_the_server(
    start: Start, gen1: Peer, server: QuickstartServer, tmp_path: Path
) -> None:
    device = start(gen1, "device_0412.py", server.domain, "d1", "echo", "--on", "message")
    device.expect("connected")
    exchange(server, device, "d1", "before")
    server.terminate()
    device.expect("disconnected")
    device.wait_line("Waiting 1 seconds before attempting to re-connect.")
    assert device.alive
    with QuickstartServer(tmp_path, server.port) as again:
        device.expect("connected")
        exchange(again, device, "d1", "after")
    assert not device.seen("ended")


def test_0_4_12_outlives_the_refusal_of_its_type(start: Start, gen1: Peer, server: QuickstartServer) -> None:
    device = start(gen1, "device_0412.py", server.domain, "d1", "no_such_type")
    device.expect("connected")
    device.expect("disconnected", timeout=HELD_BACK_SECONDS)
    device.expect("connected", timeout=HELD_BACK_SECONDS)
    assert device.alive
    assert "New Ping Client" not in server.output


def test_0_4_1_talks(start: Start, server: QuickstartServer) -> None:
    device = start(GEN1_041, "device_0412.py", server.domain, "d1", "echo", "--on", "message")
    device.expect("connected")
    server.wait_line("New Ping Client Connected! ID: d1")
    exchange(server, device, "d1", "hello")
    exchange(server, device, "d1", 'grüße [/"x"/] ' + "long " * 20000)


@contextmanager
def serve_on(listening: socket.socket) -> Iterator[tuple[IoTManager, EventLog]]:
    """The native server on a socket that stays open when it ends, as one from systemd does."""
    log = EventLog()
    app, manager = make_app(log.record, options=FAST)
    assert app is manager.app
    server = manager._server()
    thread = threading.Thread(target=server.run, args=([listening.dup()],))
    thread.start()
    try:
        yield manager, log
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def test_0_4_1_outlives_a_restart_of_a_server_whose_socket_stays(start: Start) -> None:
    """It comes back at once, and only once: where its connection is refused it waits for ever without trying again.

    So a restart is for it what the end is, unless the listening socket lives on and it has to wait to be accepted.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        domain = f"127.0.0.1:{listening.getsockname()[1]}"
        with serve_on(listening) as (_, log):
            device = start(GEN1_041, "device_0412.py", domain, "d1", "echo", "--on", "same")
            device.expect("connected")
            log.wait("d1", "mgr_on_connect")
        device.expect("disconnected")
        with serve_on(listening) as (_, log):
            device.expect("connected")
            log.wait("d1", "mgr_on_connect")
            device.do("send", name="same", data="after")
            device.expect("message", name="same", data="after")
    assert not device.seen("ended")


def test_0_1_0_talks(start: Start, gen0: Peer, server: QuickstartServer) -> None:
    device = start(gen0, "device_010.py", server.domain, "d1", "echo", "--on", "message", "--data", '{"a": 1}')
    assert device.expect("connected")["extensions"] == []
    server.wait_line("New Ping Client Connected! ID: d1")
    exchange(server, device, "d1", "hello")
    exchange(server, device, "d1", "grüße " + "long " * 20000)


def test_0_1_0_gets_its_pongs(start: Start, gen0: Peer, server: QuickstartServer) -> None:
    """Its library ends the connection where a pong is missing."""
    device = start(gen0, "device_010.py", server.domain, "d1", "echo", "--on", "message")
    device.expect("connected")
    server.wait_line("New Ping Client Connected! ID: d1")
    device.do("ping")
    device.expect("pong")
    exchange(server, device, "d1", "hello")


@pytest.mark.parametrize("generation", ["0.4.12", "0.1.0"])
def test_their_libraries_answer_our_pings(start: Start, gen0: Peer, generation: str) -> None:
    """The native server finds out by them which device is gone."""
    peer, program = {"0.4.12": (GEN1, "device_0412.py"), "0.1.0": (gen0, "device_010.py")}[generation]
    with serve_local("native", Options(ping_interval=0.2, ping_timeout=5)) as host:
        device = start(peer, program, f"127.0.0.1:{host.port}", "d1", "echo", "--on", "same")
        host.log.wait("d1", "on_connect")
        client = host.manager.client("d1")
        assert client is not None
        eventually(lambda: client.rtt is not None)
        device.do("send", name="same", data="still here")
        device.expect("message", name="same", data="still here")
        assert host.manager.client("d1") is client


class Heating(DeviceType):
    endpoints = (
        FloatEndpoint("target", "Target", unit="°C", min_v=5, max_v=30),
        FloatEndpoint("level", "Level", access="read"),
    )


@pytest.mark.parametrize("generation", ["0.4.12", "0.1.0"])
def test_they_have_the_endpoints_of_their_type(start: Start, gen0: Peer, generation: str) -> None:
    """Without a change of their program. 0.4.12 declares some of its own, and sends back what it gets."""
    peer, program, more, arrives = {
        "0.4.12": (GEN1, "device_0412.py", ["--endpoints"], "21.5"),
        "0.1.0": (gen0, "device_010.py", [], 21.5),
    }[generation]
    with serve_local("native", Options()) as host:
        host.manager.add_type(Heating("heating"))
        device = start(peer, program, f"127.0.0.1:{host.port}", "d1", "heating", "--on", "target", *more)
        eventually(lambda: host.manager.client("d1") is not None)
        known = host.manager.devices["d1"]
        assert known.endpoints["target"].unit == "°C"
        assert known.endpoints["level"].type.value == ("integer" if more else "float"), "its own counts"
        for _ in range(2):
            assert known.emit("target", "21.5").sent == 1
            device.expect("message", name="target", data=arrives)
        with pytest.raises(InvalidData, match="higher_than_max"):
            known.emit("target", 31)
        assert known.connected


def test_both_generations_at_once(start: Start, gen0: Peer, gen1: Peer, server: QuickstartServer) -> None:
    old = start(gen0, "device_010.py", server.domain, "old", "echo", "--on", "message")
    new = start(gen1, "device_0412.py", server.domain, "new", "echo", "--on", "message")
    old.expect("connected")
    new.expect("connected")
    server.wait_line("New Ping Client Connected! ID: old")
    for text in ("one", "two", "three"):
        exchange(server, old, "old", text)
        exchange(server, new, "new", text)
