"""The harness itself: the original programs work with each other, so a failure elsewhere is ours."""

from __future__ import annotations

import sys

import pytest

from scripts.tools.environments import interpreters
from tests.peers.conftest import Start
from tests.peers.environments import GEN0, GEN1, Peer, PeerUnavailable


def test_original_server_and_device_of_0_4(start: Start, gen1: Peer) -> None:
    server = start(gen1, "server_0410.py", "0")
    port = server.expect("ready")["port"]
    device = start(gen1, "device_0412.py", f"127.0.0.1:{port}", "d1", "echo", "--on", "message", "--endpoints")
    device.expect("connected")
    assert server.expect("connect", id="d1")["endpoints"] == 4
    device.do("send", name="message", data="hello")
    server.expect("message", id="d1", data="hello")
    device.expect("message", name="message", data="hello")


def test_original_server_and_device_of_0_1(start: Start) -> None:
    server = start(GEN0, "server_020.py", "0")
    port = server.expect("ready")["port"]
    device = start(GEN0, "device_010.py", f"127.0.0.1:{port}", "d1", "echo", "--on", "message")
    device.expect("connected")
    server.expect("connect", id="d1")
    device.do("send", name="message", data="hello")
    device.expect("message", name="message", data="hello")


def test_original_0_4_12_ends_when_its_server_is_killed(start: Start) -> None:
    """The defect that decides how our server stops: a TCP end with no CLOSE frame ends the program."""
    server = start(GEN1, "server_0410.py", "0")
    port = server.expect("ready")["port"]
    device = start(GEN1, "device_0412.py", f"127.0.0.1:{port}", "d1", "echo")
    device.expect("connected")
    server.terminate()
    assert "WebSocketConnectionClosedException" in device.expect("ended")["reason"]


def test_a_missing_python_is_a_reason_and_not_an_error() -> None:
    with pytest.raises(PeerUnavailable, match=r"ancient needs a Python 2\.0, and none was found here"):
        Peer("ancient", ((2, 0),)).python()


def test_this_python_is_found() -> None:
    assert sys.version_info[:2] in {found.minor for found in interpreters()}
