"""Devices by `iotio_client.AsyncIoTClient`, as a program has them: `fleet.py PORT FIRST COUNT [LONGEST]`.

LONGEST is the `reconnect_delay`; without it, the client's own. Answers each line {"do": "tell"} with an object that
says how many are connected, how many events have come, and, on the monotonic clock, when each connection was made,
when each attempt that failed began, and when each connection was lost.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from iotio_client import AsyncIoTClient, ClientError, ConnectFailed
from iotio_client.commands import Work
from iotio_client.target import Target
from tests.load.endurance import allow_descriptors

connected: list[float] = []
failed: list[float] = []
lost: list[float] = []


class Lamp(AsyncIoTClient):
    """A device that counts."""

    events = 0
    began = 0.0

    async def on_connect(self) -> None:
        connected.append(time.monotonic())

    async def on_n(self, message: Any) -> None:
        Lamp.events += 1

    def __init__(self, name: str) -> None:
        super().__init__(name, "plain")
        self._open = self._driver.open
        vars(self._driver).update(open=self._begin)
        vars(self._driver._log).update(waits=self._count_end)

    def _begin(self, target: Target, limit: float) -> Work[None]:
        self.began = time.monotonic()
        return self._open(target, limit)

    def _count_end(self, end: ClientError, seconds: float, *, is_news: bool) -> None:
        if isinstance(end, ConnectFailed):
            failed.append(self.began)
        else:
            lost.append(time.monotonic())


def tell(fleet: list[Lamp]) -> None:
    """Say how things are."""
    now = sum(lamp.connected for lamp in fleet)
    figures = {"now": now, "events": Lamp.events, "connected": connected, "failed": failed, "lost": lost}
    print(json.dumps({"event": "tell", **figures}), flush=True)


async def main() -> None:
    """Run the devices until standard input ends."""
    allow_descriptors()
    logging.getLogger("iotio.client").setLevel(logging.CRITICAL)
    port, first, count = (int(argument) for argument in sys.argv[1:4])
    longest = float(sys.argv[4]) if len(sys.argv) > 4 else None
    fleet = [Lamp(f"lamp {n}") for n in range(first, first + count)]
    running = [asyncio.create_task(lamp.run_async(f"127.0.0.1:{port}", reconnect_delay=longest)) for lamp in fleet]
    while await asyncio.to_thread(sys.stdin.readline):
        tell(fleet)
    for lamp in fleet:
        lamp.stop()
    await asyncio.gather(*running)


if __name__ == "__main__":
    asyncio.run(main())
