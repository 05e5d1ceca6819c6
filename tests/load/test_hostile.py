"""20 000 malformed frames over real sockets: the server serves on, and nothing is left behind."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from iotio_protocol import v1
from tests.load import malformed
from tests.load.conftest import StartServer
from tests.load.harness import PROGRAMS, Device, LoadServer, report
from tests.support.processes import Program, python_program
from tests.support.wire import Opcode, RawPeer

pytestmark = pytest.mark.load

SEED = 20_000
PACKETS, V0_TEXTS, VIOLATIONS, REFUSALS, HALF_FRAMES, NO_REQUESTS = 12_000, 2_000, 2_500, 500, 2_000, 1_000
ATTACKERS = 4
BATCH = 100
GROWTH = 24 * 1024  # KiB that the server's memory may grow by under all this


def packets(port: int, chance: random.Random, count: int) -> int:
    """Wrong packets, many over one connection, which lives: each is answered with one error packet."""
    for first in range(0, count, 600):
        with Device(port, f"wrong {first} {chance.random()}") as device:
            for _ in range(first, min(first + 600, count), BATCH):
                frames = [malformed.packet_frame(chance) for _ in range(BATCH)]
                device.send_bytes(b"".join(frames))
                for frame in frames:
                    event, value = device.packet()
                    assert event == "error", frame
                    assert isinstance(value, dict)
                    assert value["error"] == "client_invalid_packet", frame
                device.echo("after a batch")
            if chance.random() < 0.5:
                device.send_close()
                assert device.expect_frame().close_code == 1000
    return count


def v0_texts(port: int, chance: random.Random, count: int) -> int:
    """Wrong v0 messages over one connection, which lives: each is ignored."""
    for _ in range(0, count, BATCH):
        with RawPeer("127.0.0.1", port) as peer:
            assert peer.upgrade().status == 101
            peer.send_text(f'[/"old {chance.random()}"/][/"plain"/][/"{{}}"/]')
            peer.send_bytes(b"".join(malformed.v0_text(chance) for _ in range(BATCH)))
            peer.send_text('[/"echo"/][/"after a batch"/]')
            assert peer.expect_frame().payload == b'[/"echo"/][/"after a batch"/]'
    return count


def violations(port: int, chance: random.Random, count: int) -> int:
    """Frames that break RFC 6455: the connection is closed with the right code."""
    for _ in range(count):
        frame, code = malformed.violation(chance)
        with Device(port, f"rude {chance.random()}") as device:
            device.send_bytes(frame)
            ends = [frame.close_code for frame in device.rest() if frame.opcode == Opcode.CLOSE]
            assert ends == [code], frame
    return count


def refusals(port: int, chance: random.Random, count: int) -> int:
    """Handshakes that are refused: an error packet, then CLOSE 1008."""
    for _ in range(count):
        headers = malformed.bad_headers(chance)
        with RawPeer("127.0.0.1", port) as peer:
            assert peer.upgrade(headers=headers).status == 101
            event, value = v1.decode(peer.expect_frame().payload)
            assert event == "error", headers
            assert isinstance(value, dict)
            if chance.random() < 0.2:  # the others go without waiting for it
                assert peer.expect_frame().close_code == 1008
    return count


def half_frames(port: int, chance: random.Random, count: int) -> int:
    """Frames and messages that are never finished, then FIN, RST, or both."""
    for _ in range(count):
        with Device(port, f"half {chance.random()}") as device:
            device.send_bytes(malformed.half_frame(chance))
            end(device, chance)
    return count


def no_requests(port: int, chance: random.Random, count: int) -> int:
    """Half an upgrade request, or garbage in the place of one, then FIN or RST."""
    for _ in range(count):
        with RawPeer("127.0.0.1", port) as peer:
            peer.send_bytes(chance.choice((malformed.half_request, malformed.garbage))(chance))
            end(peer, chance)
    return count


def end(peer: RawPeer, chance: random.Random) -> None:
    """End the stream in one of the ways in which streams end."""
    how = chance.randrange(3)
    if how == 0:
        peer.half_close()
        with suppress(ConnectionResetError):
            peer.recv_all_until_eof()
    elif how == 1:
        peer.reset()


ATTACKS: tuple[tuple[Callable[[int, random.Random, int], int], int], ...] = (
    (packets, PACKETS),
    (v0_texts, V0_TEXTS),
    (violations, VIOLATIONS),
    (refusals, REFUSALS),
    (half_frames, HALF_FRAMES),
    (no_requests, NO_REQUESTS),
)


def attack(port: int, number: int, share: float) -> int:
    """One attacker's part of everything, in an order of its own. Returns how many malformed things it sent."""
    chance = random.Random(SEED + number)
    order = list(ATTACKS)
    chance.shuffle(order)
    return sum(function(port, chance, int(count * share)) for function, count in order)


def level(stats: dict[str, Any]) -> dict[str, int]:
    """What must be the same before and after."""
    return {name: stats[name] for name in ("clients", "sockets", "rooms", "greenlets", "native", "descriptors")}


def run_canary(port: int) -> Program:
    canary = Program(python_program(PROGRAMS / "canary.py", str(port)), folder=Path(__file__).parents[2])
    canary.wait_line("ready", 20)
    return canary


def attack_all(server: LoadServer, share: float) -> int:
    """All attackers at once."""
    with ThreadPoolExecutor(ATTACKERS) as pool:
        waiting = [pool.submit(attack, server.port, n, share / ATTACKERS) for n in range(ATTACKERS)]
        return sum(future.result() for future in waiting)


POOLED = 60
"""Threads of the native host at most: its pools for handlers (32) and pages (10) grow when they are needed."""


@pytest.mark.parametrize("host", ["native", "gevent", "flask"])
def test_20000_malformed_frames(start_server: StartServer, host: str) -> None:
    server = start_server(host, close_timeout=0.5, refusal_delay=0.3, handshake_timeout=2.0)
    attack_all(server, 0.02)  # what is imported and grown once
    before = server.settle(lambda stats: stats["sockets"] == 0 and stats["clients"] == 0)
    if host == "native":
        before["native"] = POOLED
    else:
        before = server.settle(lambda stats: stats["native"] <= before["native"])
    with run_canary(server.port) as canary:
        assert attack_all(server, 1.0) == 20_000
        canary.send_line("stop")
        latency = json.loads(canary.wait_line('"end": "fine"', 30))
        assert canary.wait() == 0
    after = server.settle(lambda stats: all(level(stats)[name] <= count for name, count in level(before).items()))
    with Device(server.port, "new") as device:
        device.echo("served")
        assert server.stats()["clients"] == 1
    grown = after["memory"] - before["memory"]
    report(
        "hostile",
        host=host,
        grown_kib=grown,
        canary_echoes=latency["echoes"],
        canary_worst=latency["longest"],
        level=level(after),
    )
    assert latency["longest"] < 2.0
    assert grown < GROWTH
    server.assert_quiet()
