"""Devices that come and are killed, thousands of times: the native server keeps nothing of them.

20 000 times by IOTIO_FULL=1.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from tests.load.endurance import FULL, EnduringServer, SwarmDevice
from tests.load.harness import report
from tests.support.wire import Opcode

pytestmark = pytest.mark.load

PLATEAU, ALL = (2000, 20_000) if FULL else (1000, 3000)  # cycles
AT_ONCE = 32  # devices
WORKERS = 4  # threads for handlers, at most: how many it takes depends on how busy the machine is
MAX_DEVICES = 500  # that the server remembers: every second cycle brings a new one
GROWTH = 1.05  # of resident memory, from the plateau to the end
ENDS = ("RST", "FIN", "CLOSE", "CLOSE and FIN", "too early")


async def come_and_go(port: int, number: int, chance: random.Random) -> str:
    """One cycle. Returns how it ended."""
    end = ENDS[number % len(ENDS)]
    # Some ids are new each time, some come back, now and then while the one before is still known.
    name = f"new {number}" if number % 2 else f"old {chance.randrange(50)}"
    device = SwarmDevice(name, chance.choice(("plain", "async")))
    await asyncio.get_running_loop().create_connection(partial(_itself, device), "127.0.0.1", port)
    if end == "too early":  # before the answer to its handshake, or while it is let in
        await asyncio.sleep(chance.choice((0, 0.002)))
        device.reset()
        return end
    with suppress(ConnectionError):  # another one has taken its id
        await asyncio.wait_for(device.connected, 20)
        device.send("join", f"room {number % 10}")
        if number % 3 == 0:
            await device.echo(number)
        leave(device, end)
    await asyncio.wait_for(device.lost, 20)
    return end


def leave(device: SwarmDevice, end: str) -> None:
    """End the connection in this manner; its last event may still be on its way."""
    if end == "RST":
        device.reset()
        return
    if end.startswith("CLOSE"):
        device.write_frame(Opcode.CLOSE, b"\x03\xe8")
    if end.endswith("FIN"):
        device.finish()


def _itself(device: SwarmDevice) -> SwarmDevice:
    return device


async def churn(port: int, numbers: itertools.count[int], until: int) -> None:
    """Cycles by so many devices at a time, up to this number."""

    async def worker(seed: int) -> None:
        chance = random.Random(seed)
        while (number := next(numbers)) < until:
            await come_and_go(port, number, chance)

    async with asyncio.TaskGroup() as group:
        for seed in range(AT_ONCE):
            group.create_task(worker(seed))


def is_empty(stats: dict[str, Any]) -> bool:
    """Whether nothing of a device is left, and each life had its end."""
    life = stats["life"]
    ends = sum(count for what, count in life.items() if what.startswith("disconnect"))
    return not (stats["sockets"] or stats["clients"] or stats["rooms"] or stats["objects"]) and ends == life["connect"]


@pytest.mark.timeout(900 if FULL else 120)
async def test_nothing_is_left_of_devices_that_came_and_went() -> None:
    with EnduringServer(life=False, server={"threads": WORKERS}, options={"max_devices": MAX_DEVICES}) as server:
        before = await server.asked("stats")
        began = time.monotonic()
        curve = []
        plateau = before
        for until in [PLATEAU, *range(2 * PLATEAU, ALL + 1, PLATEAU)]:
            await churn(server.port, itertools.count(until - PLATEAU), until)
            stats = await server.settle(is_empty)
            curve.append(stats["memory"])
            if until == PLATEAU:
                plateau = stats
        seconds = time.monotonic() - began
        report(
            "churn",
            cycles=ALL,
            seconds=round(seconds, 1),
            memory_kib={"start": before["memory"], "curve": curve},
            growth=round(stats["memory"] / plateau["memory"], 4),
            before={name: before[name] for name in ("descriptors", "threads", "tasks")},
            after={name: stats[name] for name in ("descriptors", "threads", "tasks")},
            life=stats["life"],
        )
        assert stats["memory"] <= GROWTH * plateau["memory"], curve
        assert stats["descriptors"] == plateau["descriptors"] == before["descriptors"]
        assert stats["tasks"] == plateau["tasks"] == before["tasks"]
        assert stats["threads"] <= before["threads"] + WORKERS
        await server.assert_quiet()
