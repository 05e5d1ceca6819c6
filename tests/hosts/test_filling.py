"""One peer fills what it can of a server in a process of its own, whose memory is measured."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from iotio_protocol import v2
from tests.support.processes import START_SECONDS, Program
from tests.support.v2 import PROTOCOL
from tests.support.wire import RawPeer, v1_headers

MIB = 1024 * 1024
SAID = "[" + ",".join(["[]"] * 5400) + "]"
"""Data of 16 KiB, which as objects takes 24 times as much."""


class Filled:
    """A running server.

    Attributes:
        program: its process.
        port: where it listens.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.port = int(program.wait_line("ready ", timeout=START_SECONDS).split()[1])
        with self.device("warm-up"):
            pass
        self._clear = Path(f"/proc/{program.process.pid}/clear_refs")
        self._clear.write_text("5")  # the peak is that of now
        self._idle = self._status("VmRSS")

    def device(self, name: str, data: str = "{}", version: int = 1) -> RawPeer:
        """A device that is let in."""
        peer = RawPeer("127.0.0.1", self.port, timeout=20)
        if version == 1:
            headers = [(key, data if key == "IoT-IO-Data" else value) for key, value in v1_headers(name, "slow")]
            assert peer.upgrade(headers=headers).status == 101
        else:
            assert peer.upgrade(headers=PROTOCOL).status == 101
            hello = f'{{"id": "{name}", "type": "slow", "data": {data}}}'.encode()
            peer.send_binary(bytes((v2.HELLO, 0, 0, 0)) + len(hello).to_bytes(4, "big") + hello)
            assert isinstance(v2.decode(peer.expect_frame().payload), v2.Greeting)
        return peer

    @property
    def over_idle(self) -> int:
        """Bytes of memory that it has taken at most, over what it took when it had begun."""
        return self._status("VmHWM") - self._idle

    def _status(self, name: str) -> int:
        text = Path(f"/proc/{self.program.process.pid}/status").read_text()
        found = re.search(rf"{name}:\s+(\d+) kB", text)
        assert found is not None
        return int(found[1]) * 1024


@contextmanager
def filled(kind: str, **options: int) -> Iterator[Filled]:
    """Start a server."""
    module = "tests.hosts.programs.filled_server"
    with Program([sys.executable, "-m", module, kind, json.dumps(options)]) as program:
        yield Filled(program)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("stay", [False, True], ids=["away", "connected"])
def test_what_devices_say_of_themselves(version: int, stay: bool) -> None:
    """By one address on the native host; the program has looked at all of it."""
    most = 16 * MIB
    with filled("native", max_devices_bytes=most) as server, ExitStack() as peers:
        for number in range(900 if stay else 1200):
            peer = server.device(f"d{number}", SAID, version)
            if stay:
                peers.enter_context(peer)
            else:
                peer.close()
        assert server.over_idle < most + 48 * MIB
