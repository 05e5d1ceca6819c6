"""Foreign ASGI servers, each as its users start it: a conversation, a prefix, an end in order."""

from __future__ import annotations

import importlib.util
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from iotio_protocol import v1, v2
from tests.support.processes import Program, free_port, wait_until_listening
from tests.support.v2 import V2Device, asking_for
from tests.support.wire import Opcode, RawPeer, v1_headers

TARGET = "tests.hosts.programs.asgi_program"
SERVERS = {
    "uvicorn-websockets": "uvicorn --ws websockets --port {port} {app}",
    "uvicorn-sansio": "uvicorn --ws websockets-sansio --port {port} {app}",
    "uvicorn-wsproto": "uvicorn --ws wsproto --port {port} {app}",
    "hypercorn": "hypercorn --graceful-timeout 1 --bind 127.0.0.1:{port} {app}",
    "granian": "granian --interface asgi --port {port} {app}",
}
# hypercorn gives the close code 1006 for every end that the device wanted.
CLOSED_IN_ORDER = {"hypercorn": "transport_closed"}

LET_GO_FIRST = {"granian", "hypercorn"} if sys.version_info >= (3, 12) else {"granian"}
"""Servers whose devices go before they are told to end, see `end`."""


@contextmanager
def serving(server: str, app: str) -> Iterator[tuple[Program, int]]:
    """The server as a program."""
    port = free_port()
    command = SERVERS[server].format(port=port, app=f"{TARGET}:{app}").split()
    if importlib.util.find_spec(command[0]) is None:
        pytest.skip(f"{command[0]} is not there for this Python")
    environment = {"WEBSOCKETS_MAX_LINE_LENGTH": "131072", "PYTHONPATH": "."}
    with Program([sys.executable, "-u", "-m", *command], environment=environment) as program:
        wait_until_listening(port, program)
        yield program, port


@contextmanager
def opened(port: int, client_id: str, path: str = "/iot.io") -> Iterator[RawPeer]:
    with RawPeer("127.0.0.1", port) as peer:
        assert peer.upgrade(path, headers=v1_headers(client_id, "echo")).status == 101
        yield peer


def echoes(peer: RawPeer, event: str = "same", word: str = "x") -> bool:
    peer.send_binary(v1.encode(event, word))
    return v1.decode(peer.expect_frame().payload) == (event, word)


def end(program: Program, server: str, peer: RawPeer) -> None:
    """SIGTERM: the device is told.

    Not by granian, which ends the stream at the same moment, and whose own code may panic over a WebSocket that is
    open then; nor by hypercorn on CPython 3.12 and newer, where it waits for the device. There the device goes first.
    """
    if server in LET_GO_FIRST:
        peer.send_close(1000)
        assert peer.expect_frame().close_code == 1000
        peer.close()
        program.wait_line("gone a")
        program.signal(signal.SIGTERM)
        return
    program.signal(signal.SIGTERM)
    close = peer.expect_frame()
    assert (close.opcode, close.close_code) == (Opcode.CLOSE, 1001)
    peer.send_close(1001)


def page(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
        body: bytes = response.read()
        return body


@pytest.mark.parametrize("server", SERVERS)
def test_a_conversation_and_an_end_in_order(server: str) -> None:
    with serving(server, "served") as (program, port):
        with opened(port, "a") as a, opened(port, "b") as b, RawPeer("127.0.0.1", port) as refused:
            assert echoes(a)
            assert echoes(a, "later")
            assert echoes(a, "same", "y" * 200_000)
            a.send_text("no packet")
            assert v1.decode(a.expect_frame().payload)[0] == "error"
            assert refused.upgrade(headers=v1_headers("c", "nosuch")).status == 101
            event, error = v1.decode(refused.expect_frame().payload)
            assert (event, error) == ("error", {"error": "client_invalid_type", "info": None})
            assert refused.expect_frame().close_code == 1008
            refused.send_close(1008)
            assert page(port, "/hello") == b"hello from /"
            with V2Device(port, "v2", "echo") as v2_device, RawPeer("127.0.0.1", port) as newer:
                v2_device.send("same", 1.5, v2.CALL, call=7)
                assert v2_device.expect() == v2.Packet("", 1.5, v2.RESULT, 7)
                assert newer.upgrade(headers=asking_for("iotio.v3")).status == 101
                close = newer.expect_frame()
                assert close.close_code == 1008
                assert close.close_reason.startswith("client_incompatible_protocol_version ")
                newer.send_close(1008)
            b.send_close(1000)
            answer = b.expect_frame()
            assert (answer.opcode, answer.close_code) == (Opcode.CLOSE, 1000)
            b.close()
            reason = CLOSED_IN_ORDER.get(server, "client_close")
            assert program.wait_line("gone b") == f"gone b {reason}"
            end(program, server, a)
        assert program.wait(10) in (0, -signal.SIGTERM), program.output  # uvicorn repeats the signal to itself
        reason = CLOSED_IN_ORDER.get(server, "client_close") if server in LET_GO_FIRST else "server_shutdown"
        assert [line for line in program.lines if line.startswith("gone a")] == [f"gone a {reason}"]
        if server != "hypercorn":  # which logs each task that it cancels
            assert "Traceback" not in program.output


@pytest.mark.parametrize("server", ["uvicorn-sansio", "hypercorn", "granian"])
def test_under_a_prefix(server: str) -> None:
    """In Starlette's Mount, which tells the mounted application of no lifespan."""
    with serving(server, "mounted") as (program, port):
        with opened(port, "a", "/things/iot.io") as a:
            assert echoes(a)
            assert page(port, "/") == b"outer"
            assert page(port, "/things/hello") == b"hello from /things"
            with RawPeer("127.0.0.1", port) as peer:
                assert peer.upgrade("/iot.io", headers=v1_headers("x", "echo")).status in (403, 404)
            end(program, server, a)
        assert program.wait(10) in (0, -signal.SIGTERM), program.output
        gone, ended = [line for line in program.lines if line.startswith(("gone", "ended"))]
        assert gone.startswith("gone a ")
        assert ended == "ended"


def test_many_endpoints_under_uvicorn() -> None:
    """Header lines over 8192 bytes, with the setting that docs/how-to/asgi.md names."""
    endpoints = [{"id": f"e{n}", "name": "x" * 80, "type": "boolean", "specialId": None} for n in range(400)]
    headers = v1_headers("many", "echo", endpoints=endpoints)
    with serving("uvicorn-sansio", "served") as (_, port), RawPeer("127.0.0.1", port) as peer:
        assert peer.upgrade(headers=headers).status == 101
        assert echoes(peer)


def test_a_device_that_does_not_answer_holds_the_end_up_for_a_moment_only() -> None:
    with serving("uvicorn-wsproto", "served") as (program, port), opened(port, "a") as silent:
        assert echoes(silent)
        began = time.monotonic()
        program.signal(signal.SIGTERM)
        assert silent.expect_frame().close_code == 1001
        program.wait(10)
        assert time.monotonic() - began < 8
        assert "gone a server_shutdown" in program.lines
