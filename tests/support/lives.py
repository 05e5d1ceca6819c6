"""A device type that writes down its calls, and what is true of them whatever happens at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from iotio import DeviceType, DisconnectReason, IoTClient

__all__ = ["Journal", "Kind", "LateKind", "together"]

WAIT = 30.0  # seconds; nothing here takes as long


class Journal:
    """Writes down the user code of each device that runs, and what runs at the same time as other code of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, list[str]] = defaultdict(list)
        self.calls: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self.overlaps: list[str] = []
        self.strays: list[str] = []  # calls out of their connection's scope
        self.is_inside: Callable[[], bool] = lambda: True

    @contextmanager
    def call(self, client: IoTClient, what: str) -> Iterator[None]:
        """Write down a call; its connection is told by its epoch."""
        epoch = client.socket.epoch
        with self._lock:
            if self._running[client.id]:
                self.overlaps.append(f"{client.id} {epoch} {what} beside {self._running[client.id]}")
            if not self.is_inside():
                self.strays.append(f"{client.id} {epoch} {what}")
            self._running[client.id].append(f"{epoch} {what}")
            self.calls[client.id].append((epoch, what))
        try:
            yield
        finally:
            with self._lock:
                self._running[client.id].remove(f"{epoch} {what}")

    def of(self, client_id: str, epoch: int) -> list[str]:
        """What was called for one connection, in order."""
        with self._lock:
            return [what for one, what in self.calls[client_id] if one == epoch]

    def check(self) -> None:
        """Check the life of each device: one connection at a time, in order, each with one beginning and one end."""
        assert self.overlaps == []
        assert self.strays == []
        for client_id, called in self.calls.items():
            order = [(epoch, what) for epoch, what in called if what == "connect" or what.startswith("disconnect")]
            for (left, before), (right, after) in zip(order[::2], order[1::2], strict=True):
                assert left == right, f"{client_id}: never two at once: {order}"
                assert (before, after[:10]) == ("connect", "disconnect")
            epochs = [epoch for epoch, _ in order[::2]]
            assert len(epochs) == len(set(epochs)), "each comes once"
            for epoch in epochs:
                calls = self.of(client_id, epoch)
                assert (calls[0], calls[-1][:10]) == ("connect", "disconnect"), calls


class Kind(DeviceType):
    """Writes down its calls. Some are `def`, some `async def`.

    Args:
        name: of the type.
        pause: seconds that each call takes.
        sleep: how a `def` sleeps.
    """

    def __init__(self, name: str = "kind", pause: float = 0.0, sleep: Callable[[float], object] = time.sleep) -> None:
        super().__init__(name)
        self.sleep = sleep
        self.journal = Journal()
        self.pause = pause
        self.gate = threading.Event()
        self.entered = threading.Event()

    def on_connect(self, client: IoTClient) -> None:
        with self.journal.call(client, "connect"):
            self.sleep(self.pause)

    def on_disconnect(self, client: IoTClient, reason: DisconnectReason) -> None:
        with self.journal.call(client, f"disconnect {reason}"):
            self.sleep(self.pause)

    def on_work(self, message: int, client: IoTClient) -> None:
        with self.journal.call(client, str(message)):
            self.sleep(self.pause * (message % 3))

    async def on_later(self, message: int, client: IoTClient) -> None:
        with self.journal.call(client, str(message)):
            await asyncio.sleep(self.pause * (message % 3))

    def on_stuck(self, message: int, client: IoTClient) -> None:
        with self.journal.call(client, "stuck"):
            self.entered.set()
            assert self.gate.wait(20)

    def on_long(self, message: int, client: IoTClient) -> None:
        with self.journal.call(client, "long"):
            self.sleep(message / 1000)


class LateKind(Kind):
    """The same with an `async def` for the connection, too."""

    async def on_connect(self, client: IoTClient) -> None:  # type: ignore[override]
        with self.journal.call(client, "connect"):
            await asyncio.sleep(self.pause)

    async def on_disconnect(self, client: IoTClient, reason: DisconnectReason) -> None:  # type: ignore[override]
        with self.journal.call(client, f"disconnect {reason}"):
            await asyncio.sleep(self.pause)


def together(*functions: Callable[[], None]) -> None:
    """Run functions in threads at the same time, and wait for all; raises what they raise."""
    with ThreadPoolExecutor(len(functions)) as pool:
        for future in [pool.submit(function) for function in functions]:
            future.result(WAIT)
