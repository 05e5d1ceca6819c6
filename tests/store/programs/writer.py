"""Writes numbered messages for ever; each number that is safe is told. Forks a new writer for each line it reads.

A line is the URL of a store. The writer's process id is told first, so that it can be killed.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from importlib import import_module
from itertools import count

from iotio.core.storage.contract import PutDevice, PutMessage, Snapshot
from iotio.core.storage.writer import StoreWriter, Ticket
from iotio.store import open_store
from tests.store.records import device, message


def tell(ticket: Ticket, number: int) -> None:
    if ticket.error is None:
        os.write(1, f"{number}\n".encode())


def write(url: str) -> None:
    """Never returns."""
    store = open_store(url)
    first = max((record.counter for record in store.load().devices), default=0) + 1
    writer = StoreWriter(store, Snapshot)
    writer.submit(PutDevice(device(counter=first)))
    for number in count(first):
        ticket = writer.submit(PutMessage(message(number)))
        ticket.done.add_callback(partial(tell, ticket, number))
        if number % 20 == 0:
            time.sleep(0.001)


for module in ("iotio.store.sql", "iotio.store.sqlite"):  # before the fork: it takes longer than a writer lives
    import_module(module)
for line in sys.stdin:
    child = os.fork()
    if not child:
        write(line.rstrip("\n"))
    os.write(1, f"writer {child}\n".encode())
    os.waitpid(child, 0)
    os.write(1, b"killed\n")
