"""Devices in a process of their own, for a network namespace: `swarm.py HOST PORT COUNT`.

Half are of the type "plain", half of "async"; each third sends something every tenth of a second. Says
{"event": "ready"} when all are connected, and stays until standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.load.endurance import SwarmDevice, connect_all


async def chat(device: SwarmDevice) -> None:
    """Send, whatever becomes of it."""
    while not device.lost.done():
        device.send("join", "hall")
        await asyncio.sleep(0.1)


async def main() -> None:
    """Connect, then do what a device does."""
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    devices = [SwarmDevice(f"d{n}", ("plain", "async")[n % 2]) for n in range(count)]
    await connect_all(devices, port, host)
    chatting = [asyncio.create_task(chat(device)) for device in devices[::3]]
    print(json.dumps({"event": "ready"}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in chatting:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
