"""The README's server, run as it stands, in conversation with every kind of device but the original programs.

Those are in tests/peers/test_original_devices.py.
"""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import iotio_client
from iotio_protocol import v1
from tests.support.processes import free_port
from tests.support.quickstart import QUICKSTART_PORT, QuickstartDevice, QuickstartServer
from tests.support.wire import Frame, Opcode, RawPeer, v1_headers

pytestmark = pytest.mark.slow  # its port is one for all: two runs beside each other would meet there

WAIT_SECONDS = 10.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[QuickstartServer]:
    with QuickstartServer(tmp_path) as running:
        yield running


def is_free(port: int) -> bool:
    """Whether a server could listen on `port`."""
    try:
        RawPeer("127.0.0.1", port, timeout=1).close()
    except OSError:
        return True
    return False


def converse_v1(port: int, client_id: str) -> None:
    """One exchange of a raw v1 device, from the handshake to the close."""
    packet = v1.encode("message", "héllo [1]")
    with RawPeer("127.0.0.1", port) as peer:
        assert peer.upgrade(headers=v1_headers(client_id, "echo")).status == 101
        peer.send_binary(packet)
        assert peer.recv_frame() == Frame(True, 0, Opcode.BINARY, packet)
        peer.send_close(1000)
        assert [(frame.opcode, frame.close_code) for frame in peer.recv_frames_until_eof()] == [(Opcode.CLOSE, 1000)]


def test_the_code_exactly_as_it_stands(tmp_path: Path) -> None:
    port = QUICKSTART_PORT if is_free(QUICKSTART_PORT) else free_port()
    with QuickstartServer(tmp_path, port) as server:
        converse_v1(port, "raw-1")
        server.wait_line("New Ping Client Connected! ID: raw-1")
        server.wait_line("Message from Client with ID 'raw-1': héllo [1]")
        server.wait_line("Echo Client Disconnected! ID: raw-1")


def test_with_monkey_patching_first(tmp_path: Path) -> None:
    with QuickstartServer(tmp_path, prelude="from gevent import monkey; monkey.patch_all()") as server:
        converse_v1(server.port, "raw-1")
        server.wait_line("Echo Client Disconnected! ID: raw-1")


def test_it_says_who_comes_from_where_as_people_write_it(server: QuickstartServer) -> None:
    """gevent listens on a socket of IPv6, on which an address of IPv4 has a prefix."""
    with RawPeer("127.0.0.1", server.port) as peer:
        assert peer.upgrade(headers=v1_headers("x", "echo")).status == 101
        server.wait_line("INFO iotio.connection: device 'x' connected: type 'echo', protocol 1, from 127.0.0.1:")


def test_raw_v0(server: QuickstartServer) -> None:
    with RawPeer("127.0.0.1", server.port) as peer:
        assert peer.upgrade().status == 101
        peer.send_text('[/"old"/][/"echo"/][/"{}"/]')
        server.wait_line("New Ping Client Connected! ID: old")
        peer.send_text('[/"message"/][/"hello"/]')
        assert peer.recv_frame() == Frame(True, 0, Opcode.TEXT, b'[/"message"/][/"hello"/]')


def test_a_frame_in_the_segment_of_the_request_is_not_lost(server: QuickstartServer) -> None:
    packet = v1.encode("message", "early")
    with RawPeer("127.0.0.1", server.port) as peer:
        early = b"\x82" + bytes([0x80 | len(packet)]) + bytes(4) + packet
        assert peer.upgrade(headers=v1_headers("early", "echo"), leftover=early).status == 101
        assert peer.expect_frame().payload == packet


def test_a_refused_device_gets_the_error_packet_and_1008(server: QuickstartServer) -> None:
    with RawPeer("127.0.0.1", server.port, timeout=20) as peer:
        assert peer.upgrade(headers=v1_headers("x", "unknown")).status == 101
        event, value = v1.decode(peer.expect_frame().payload)
        assert (event, value) == ("error", {"error": "client_invalid_type", "info": None})
        assert peer.expect_frame().close_code == 1008


def test_stopping_says_1001(server: QuickstartServer) -> None:
    with RawPeer("127.0.0.1", server.port) as peer:
        assert peer.upgrade(headers=v1_headers("x", "echo")).status == 101
        server.wait_line("New Ping Client Connected! ID: x")
        server.terminate()
        assert peer.expect_frame().close_code == 1001


SIGNAL_ELSEWHERE = """
import signal, sys, threading
def deliver():
    sys.stdin.readline()
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
threading.Thread(target=deliver, daemon=True).start()
"""


def test_a_signal_that_does_not_interrupt_the_hub_is_noticed(tmp_path: Path) -> None:
    """As one that comes in the moment before an idle hub begins to wait."""
    with QuickstartServer(tmp_path, prelude=SIGNAL_ELSEWHERE) as server, RawPeer("127.0.0.1", server.port) as peer:
        assert peer.upgrade(headers=v1_headers("x", "echo")).status == 101
        server.wait_line("New Ping Client Connected! ID: x")
        server.send_line("now")
        assert peer.expect_frame(3).close_code == 1001
        peer.send_close(1001)
        assert server.wait() == -signal.SIGTERM


def test_our_sync_client(server: QuickstartServer) -> None:
    client = iotio_client.IoTClient("ours", "echo")
    answers: list[object] = []
    answered = threading.Event()

    @client.on("message")
    def on_message(message: object) -> None:
        answers.append(message)
        answered.set()

    thread = threading.Thread(target=client.run, args=(server.domain, None, None, False), daemon=True)
    thread.start()
    try:
        client.ensure_open()
        client.send("message", "hello")
        assert answered.wait(WAIT_SECONDS)
    finally:
        client.stop()
        thread.join(WAIT_SECONDS)
    assert answers == ["hello"]
    assert not thread.is_alive()
    server.wait_line("Echo Client Disconnected! ID: ours")


async def test_our_async_client(server: QuickstartServer) -> None:
    client = iotio_client.AsyncIoTClient("ours", "echo", {})
    answered: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    @client.on("message")
    async def on_message(message: object) -> None:
        answered.set_result(message)

    async with asyncio.timeout(WAIT_SECONDS):
        await client.begin(server.domain)
        handling = asyncio.create_task(client.handle())
        await client.wait_until_ready()
        await client.send("message", "hello")
        assert await answered == "hello"
        client.stop()
        await handling


def test_the_device_program_of_the_readme(server: QuickstartServer, tmp_path: Path) -> None:
    with QuickstartDevice(tmp_path, server.port) as device:
        device.wait_line("Answer from the server: hello number 1")
        server.wait_line("Message from Client with ID 'demo-device': hello number 1")
        device.wait_line("Answer from the server: hello number 2")


def test_many_values(server: QuickstartServer) -> None:
    """What the handler cannot add to a text is its own mistake: logged, and the device stays."""
    with RawPeer("127.0.0.1", server.port) as peer:
        peer.upgrade(headers=v1_headers("x", "echo"))
        peer.send_binary(v1.encode("message", 5))
        server.wait_line("TypeError")
        peer.send_binary(v1.encode("message", json.dumps({"still": "here"})))
        assert v1.decode(peer.expect_frame().payload) == ("message", '{"still": "here"}')
