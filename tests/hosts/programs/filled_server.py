"""A server that devices fill: `python -m tests.hosts.programs.filled_server KIND OPTIONS` prints `ready PORT`.

The handlers of the events `slow` and `async_slow` wait until there is a line on standard input, and then print what the
events were: `took NAME NUMBER` for each. That of `call` calls the device, and prints what became of that.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from iotio import DeviceType, IoTClient, Options
from tests.support.hosts import serve_local


class Slow(DeviceType):
    """See the module.

    Attributes:
        released: set when the handlers may end.
    """

    def __init__(self, name: str, sleep: Callable[[float], object]) -> None:
        super().__init__(name)
        self.released = threading.Event()
        self._sleep = sleep

    def on_connect(self, client: IoTClient) -> None:
        """Look at what the device says, as programs do."""
        if client.id.startswith("looked_at"):
            len(repr(client.data)[:10])

    def on_slow(self, message: Any, client: IoTClient) -> None:
        """Wait, without holding up whatever else runs in this thread."""
        while not self.released.is_set():
            self._sleep(0.01)
        print(f"took {client.id} {message[0]}", flush=True)

    async def on_async_slow(self, message: Any, client: IoTClient) -> None:
        """Do the same on a loop."""
        while not self.released.is_set():
            await asyncio.sleep(0.01)
        print(f"took {client.id} {message[0]}", flush=True)

    def on_call(self, message: Any, client: IoTClient) -> None:
        """Call the device, and tell what became of it."""
        try:
            print(f"result {client.call('answer', timeout=20)!r}", flush=True)
        except Exception as error:
            print(f"failed {type(error).__name__} {error}", flush=True)


def main() -> None:
    """Serve until standard input ends."""
    kind = sys.argv[1]
    sleep: Callable[[float], object] = time.sleep
    if kind == "gevent":
        import gevent

        sleep = gevent.sleep
    with serve_local(kind, Options(ping_interval=1, ping_timeout=1, **json.loads(sys.argv[2]))) as host:
        slow = Slow("slow", sleep)
        host.manager.add_type(slow)
        print(f"ready {host.port}", flush=True)
        for _ in sys.stdin:
            slow.released.set()


if __name__ == "__main__":
    main()
