"""How fast durable messages get into a SQLite file, and how long the event loop that sends them is held up.

    python -m bench.store

One asyncio loop submits messages to the writer at a steady rate, some at a time, as devices and views would; a second
task on the same loop measures by how much it wakes too late. The same loop without messages is measured beside it: what
it shows is the machine's doing. At the end, as fast as it goes.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import sqlite3
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from iotio.core.manager import Manager
from iotio.core.storage.contract import DropMessages, PutDevice, PutMessage, Snapshot
from iotio.core.storage.records import DeviceRecord, DeviceState, MessageRecord
from iotio.core.storage.writer import StoreWriter, Ticket
from iotio.store import open_store

TICK = 0.005  # seconds between two looks at the clock
DEVICES = 500
AT_ONCE = 5  # messages that one step of the loop submits


async def watch_lag(lags: list[float]) -> None:
    """Note by how many seconds each wake-up comes too late."""
    while True:
        due = time.perf_counter() + TICK
        await asyncio.sleep(TICK)
        lags.append(time.perf_counter() - due)


class Sender:
    """Submits messages; each fourth that is written is acknowledged, so that rows are deleted as well."""

    def __init__(self, writer: StoreWriter) -> None:
        self._writer = writer
        self.count = 0
        self.delays: list[float] = []

    def submit(self) -> Ticket:
        """One more message; the moment that it is safe is noted."""
        self.count += 1
        name, number = f"device-{self.count % DEVICES}", self.count // DEVICES + 1
        record = MessageRecord(name, number, f"m{self.count}", "set_level", 2, b'{"level": 12.5}' * 4, time.time())
        submitted = time.perf_counter()
        ticket = self._writer.submit(PutMessage(record))
        ticket.done.add_callback(lambda: self.delays.append(time.perf_counter() - submitted))
        if self.count % 4 == 0 and number > 1:
            self._writer.submit(DropMessages(name, (number - 1,)))
        return ticket


async def steadily(sender: Sender, rate: int, seconds: float) -> None:
    """So many messages a second, a few at a time."""
    started = time.perf_counter()
    for step in range(int(rate * seconds / AT_ONCE)):
        for _ in range(AT_ONCE):
            sender.submit()
        ahead = started + (step + 1) * AT_ONCE / rate - time.perf_counter()
        await asyncio.sleep(max(ahead, 0))


async def at_most(sender: Sender, seconds: float, most: int) -> None:
    """As many as pass, with `most` on their way."""
    waiting: deque[Ticket] = deque()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(min(50, most - len(waiting))):
            waiting.append(sender.submit())
        while waiting and waiting[0].done.is_set:
            waiting.popleft()
        await asyncio.sleep(0 if len(waiting) < most else 0.001)


def figures(values: Sequence[float]) -> str:
    """Median, 99th percentile and largest, in milliseconds."""
    ordered = sorted(values)
    picked = (ordered[int(share * (len(ordered) - 1))] * 1000 for share in (0.5, 0.99, 1))
    return "p50 {:6.2f}  p99 {:6.2f}  max {:6.2f} ms".format(*picked)


async def run(options: argparse.Namespace, writer: StoreWriter) -> None:
    """All of it, printed."""
    for number in range(DEVICES):
        writer.submit(PutDevice(DeviceRecord(f"device-{number}", "lamp", b"{}", ("all",), "online", stream="s")))
    writer.flush(10)
    for title, rate in (("no messages", 0), (f"{options.rate} a second", options.rate), ("as fast as it goes", -1)):
        lags: list[float] = []
        watch = asyncio.create_task(watch_lag(lags))
        sender, before = Sender(writer), writer.written
        cpu, started = time.process_time(), time.perf_counter()
        if rate == 0:
            await asyncio.sleep(options.seconds)
        elif rate > 0:
            await steadily(sender, rate, options.seconds)
        else:
            await at_most(sender, options.seconds, 5000)
        watch.cancel()
        took, cpu = time.perf_counter() - started, time.process_time() - cpu
        writer.flush(10)
        print(f"{title:20} written {(writer.written - before) / took:7.0f} a second, {cpu / took:4.0%} of a core")
        print(f"{'':20} lag of the loop   {figures(lags)}")
        if sender.delays:
            print(f"{'':20} until on the disk {figures(sender.delays)}")
    print(f"refused {writer.failed}")


async def emit(options: argparse.Namespace, manager: Manager) -> None:
    """The same by durable emits to devices that are away, from a coroutine: queues, handles and all."""
    assert manager.store_writer is not None
    lags: list[float] = []
    watch = asyncio.create_task(watch_lag(lags))
    before, refused = manager.store_writer.written, 0
    cpu, started = time.process_time(), time.perf_counter()
    for step in range(int(options.rate * options.seconds / AT_ONCE)):
        for number in range(AT_ONCE):
            name = f"device-{(step * AT_ONCE + number) % DEVICES}"
            refused += not manager.emit("set_level", {"level": 12.5}, client_id=name, durable=True)
        ahead = started + (step + 1) * AT_ONCE / options.rate - time.perf_counter()
        await asyncio.sleep(max(ahead, 0))
    watch.cancel()
    took, cpu = time.perf_counter() - started, time.process_time() - cpu
    manager.store_writer.flush(10)
    written = manager.store_writer.written - before
    print(f"{f'{options.rate} emits a second':20} written {written / took:7.0f} a second, {cpu / took:4.0%} of a core")
    print(f"{'':20} lag of the loop   {figures(lags)}")
    print(f"refused {refused + manager.store_writer.failed}")


def main() -> None:
    """Measure in a folder of its own, which is removed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=5000, help="messages a second (%(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each measurement (%(default)s)")
    parser.add_argument("--folder", type=Path, default=None, help="where the file is to be: another disk, for instance")
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {sys.platform}")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        writer = StoreWriter(open_store(f"sqlite:///{folder}/bench.db"), Snapshot)
        asyncio.run(run(options, writer))
        writer.close()
        manager = Manager(store=open_store(f"sqlite:///{folder}/emits.db"))
        manager.presence.restore(DeviceState(f"device-{number}", "lamp", b"{}") for number in range(DEVICES))
        asyncio.run(emit(options, manager))
        manager.close()


if __name__ == "__main__":
    main()
