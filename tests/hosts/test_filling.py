"""One peer fills what it can of a server in a process of its own, whose memory is measured."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

import pytest

from iotio import Options
from iotio.core.lane import TOO_MUCH_WAITS
from iotio_protocol import v2
from tests.support.hosts import IN_PROCESS
from tests.support.processes import START_SECONDS, Program
from tests.support.v2 import PROTOCOL, V2Device
from tests.support.wire import Opcode, RawPeer, encode_frame, v1_headers

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")

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

    def release(self) -> None:
        """Let the handlers go on."""
        assert self.program.process.stdin is not None
        self.program.process.stdin.write("go on\n")

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


@pytest.mark.slow
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("stay", [False, True], ids=["away", "connected"])
def test_what_devices_say_of_themselves(version: int, stay: bool) -> None:
    """By one address on the native host. What a program looks at is kept as objects while the device is connected."""
    most = 6 * MIB
    with filled("native", max_devices_bytes=most) as server, ExitStack() as peers:
        for number in range(340 if stay else 450):
            peer = server.device(f"d{number}" if stay else f"looked_at_{number}", SAID, version)
            if stay:
                peers.enter_context(peer)
            else:
                peer.close()
        assert server.over_idle < most + 48 * MIB


def events(event: str, count: int) -> bytes:
    """So many events with 60 KiB of JSON each, numbered; as objects each takes 12 times as much."""
    filler = b",[]" * 10_000 + b',"' + b"x" * 30_000 + b'"'
    packets = (b"[%d%s]" % (number, filler) for number in range(count))
    name = event.encode()
    head = bytes((4,)) + len(name).to_bytes(2, "big") + name
    return b"".join(encode_frame(Opcode.BINARY, head + len(body).to_bytes(4, "big") + body) for body in packets)


@pytest.mark.slow
@pytest.mark.parametrize("event", ["slow", "async_slow"])
@pytest.mark.parametrize("kind", IN_PROCESS)
def test_events_that_wait_for_a_handler(kind: str, event: str) -> None:
    """As fast as one device can, while the handler of the first sleeps; then all of them come, in order."""
    count = 300
    with filled(kind) as server, server.device("d") as peer:
        sender = Thread(target=peer.send_bytes, args=(events(event, count),), daemon=True)
        sender.start()
        sender.join(1)
        assert sender.is_alive(), "it is not read"
        assert server.over_idle < Options().max_outbox + 48 * MIB
        server.release()
        server.program.wait_line(f"took d {count - 1}", timeout=60)
        took = [line.split()[2] for line in server.program.lines if line.startswith("took d ")]
        assert took == [str(number) for number in range(count)]
        sender.join(10)
        assert server.over_idle < Options().max_outbox + 48 * MIB


@pytest.mark.parametrize("kind", IN_PROCESS)
def test_a_call_whose_answer_is_behind_too_much(kind: str) -> None:
    with filled(kind) as server, V2Device(server.port, "d", "slow") as device:
        device.send("call")
        device.expect_call("answer")
        flood = b"".join(
            encode_frame(Opcode.BINARY, v2.encode("slow", [number, "x" * 60_000])) for number in range(100)
        )
        sender = Thread(target=device.send_bytes, args=(flood,), daemon=True)
        sender.start()
        server.program.wait_line("failed CallError device 'd', call of 'answer': " + TOO_MUCH_WAITS, timeout=10)
        assert server.over_idle < Options().max_outbox + 48 * MIB
        server.release()
        server.program.wait_line("took d 99", timeout=60)


@pytest.mark.parametrize("kind", IN_PROCESS)
def test_a_call_whose_answer_is_behind_less(kind: str) -> None:
    with filled(kind) as server, V2Device(server.port, "d", "slow") as device:
        device.send("call")
        number = device.expect_call("answer")
        for count in range(30):
            device.send("slow", [count, "x" * 60_000])
        device.answer(number, "here")
        server.program.wait_line("result 'here'", timeout=10)
        server.release()
        server.program.wait_line("took d 29", timeout=60)
