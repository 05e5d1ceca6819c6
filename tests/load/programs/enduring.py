"""The native server of the endurance tests: `enduring.py SETTINGS`, see `Settings`; told what to do in JSON lines.

Says {"event": "ready", "port": ...} when it listens. Each command is answered by an object whose event is its name.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flask

sys.path.insert(0, str(Path(__file__).parents[3]))

from iotio import DeviceType, IoTClient, IoTManager, Options
from iotio.core.connection import Connection
from iotio.hosts.native.connection import NativeConnection
from iotio.hosts.native.server import NativeServer
from iotio_protocol.reasons import DisconnectReason
from tests.load.endurance import allow_descriptors


@dataclass
class Settings:
    """What the test decides.

    Attributes:
        host: address to listen on.
        port: its port, 0 for any.
        life: whether each call of a life-cycle handler is kept, with its time; they are counted in any case.
        server: for `IoTManager.run`.
        options: for `iotio.Options`.
    """

    host: str = "127.0.0.1"
    port: int = 0
    life: bool = True
    server: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


class Problems(logging.Handler):
    """Keeps records from ERROR up."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


class Life:
    """What the life-cycle handlers saw: [id, what, time], in order."""

    def __init__(self, *, keep: bool) -> None:
        self.keep = keep
        self.lines: list[tuple[str, str, float]] = []
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def write(self, client: IoTClient, what: str) -> None:
        with self._lock:
            self.counts[what] += 1
            if self.keep:
                self.lines.append((client.id, what, time.monotonic()))


class Plain(DeviceType):
    """All of its handlers are `def`."""

    def __init__(self, name: str, life: Life) -> None:
        super().__init__(name)
        self.life = life

    def on_connect(self, client: IoTClient) -> None:
        self.life.write(client, "connect")

    def on_disconnect(self, client: IoTClient, reason: DisconnectReason) -> None:
        self.life.write(client, f"disconnect {reason.value}")

    def on_echo(self, message: Any, client: IoTClient) -> Any:
        return message

    def on_join(self, message: str, client: IoTClient) -> bool:
        return client.join(message)

    def on_sleep(self, message: int, client: IoTClient) -> int:
        """For so many milliseconds."""
        time.sleep(message / 1000)
        return message


class Asynchronous(Plain):
    """All of its handlers that a test uses are `async def`."""

    async def on_connect(self, client: IoTClient) -> None:  # type: ignore[override]  # may be either
        self.life.write(client, "connect")

    async def on_disconnect(  # type: ignore[override]  # may be either
        self, client: IoTClient, reason: DisconnectReason
    ) -> None:
        self.life.write(client, f"disconnect {reason.value}")

    async def on_echo(self, message: Any, client: IoTClient) -> Any:
        return message


class Commands:
    """What the test can ask for, a method each; they run in a thread of their own."""

    def __init__(self, manager: IoTManager, server: NativeServer, life: Life, problems: Problems) -> None:
        self.manager = manager
        self.server = server
        self.life = life
        self.problems = problems

    def stats(self) -> dict[str, Any]:
        """What the program holds: objects, descriptors, threads, tasks, memory in KiB."""
        gc.collect()
        kinds = Counter(
            "connection objects" if isinstance(thing, Connection) else "client objects"
            for thing in gc.get_objects()
            if isinstance(thing, (Connection, IoTClient))
        )
        return {
            "clients": len(self.manager.clients),
            "sockets": len(self.manager.connections.all()),
            "rooms": len(self.manager.registry._rooms),  # those that somebody connected is in
            "objects": dict(kinds),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "threads": os_status("Threads"),
            "tasks": len(asyncio.all_tasks(self.server.native.loop)),
            "memory": os_status("VmRSS"),
            "life": dict(self.life.counts),
            "counters": self.manager.counters,
            "errors": self.problems.texts,
        }

    def lives(self) -> dict[str, Any]:
        """All lines of the life cycle."""
        return {"lines": list(self.life.lines)}

    def emit(self, **target: str) -> dict[str, Any]:
        """One event to a target."""
        result = self.manager.emit("n", 1, **target)  # type: ignore[arg-type]  # JSON from the test
        return {"sent": result.sent, "offline": result.offline, "dropped": result.dropped}

    def fill(self, device: str, size: int) -> dict[str, Any]:
        """Send to a device that does not read until there is no room left for it."""
        count = 0
        while not self.manager.counters["dropped"] and self.manager.emit("fill", bytes(size), client_id=device):
            count += 1
            time.sleep(0.0005)  # the loop hands it to the kernel meanwhile
        return {"count": count}

    def stream(self, seconds: float, pause: float, size: int, watch: str | None = None) -> dict[str, Any]:
        """Broadcast numbered, timed messages; of one device, the most that waited for it is reported.

        Returns:
            `first` and `last` number; `short`: emits that did not reach everybody; `waiting`: most bytes that the
            server said were waiting, `held`: that it held, its transport's buffer included.
        """
        longest = waiting = held = 0.0
        short = 0
        first = self.sent = getattr(self, "sent", 0)
        began = due = time.monotonic()
        while due < began + seconds:
            head = self.sent.to_bytes(8, "big") + time.monotonic_ns().to_bytes(8, "big")
            emitting = time.monotonic()
            result = self.manager.emit("stream", head + bytes(size - 16), client_type="plain")
            longest = max(longest, time.monotonic() - emitting)
            self.sent += 1
            short += bool(result.offline or result.dropped)
            client = self.manager.client(watch) if watch else None
            if client is not None:
                connection = client.socket
                assert isinstance(connection, NativeConnection)
                waiting = max(waiting, connection.pending())
                held = max(held, connection.buffer.size + connection._unsent())
            due += pause
            time.sleep(max(0.0, due - time.monotonic()))
        return {
            "first": first,
            "last": self.sent - 1,
            "short": short,
            "longest": longest,
            "waiting": waiting,
            "held": held,
        }

    def serve(self) -> None:
        """Read commands until the end of standard input."""
        for line in sys.stdin:
            values = json.loads(line)
            name = values.pop("do")
            say(name, **getattr(self, name)(**values))


def os_status(name: str) -> int:
    """A number of /proc/self/status."""
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith(name + ":"))
    return int(line.split()[1])


def say(event: str, **values: Any) -> None:
    """Tell the test something."""
    with suppress(BrokenPipeError):
        print(json.dumps({"event": event, **values}), flush=True)


def main() -> None:
    """Serve until a signal."""
    settings = Settings(**json.loads(sys.argv[1]))
    allow_descriptors()
    problems = Problems()
    logging.getLogger().addHandler(problems)
    app = flask.Flask("enduring")
    manager = IoTManager(app, options=Options(**settings.options))
    life = Life(keep=settings.life)
    manager.add_type(Plain("plain", life))
    manager.add_type(Asynchronous("async", life))
    server = manager._server(host=settings.host, port=settings.port, **settings.server)

    def command() -> None:
        server.ready.wait()
        say("ready", port=server.port)
        Commands(manager, server, life, problems).serve()

    threading.Thread(target=command, daemon=True).start()
    server.run()


if __name__ == "__main__":
    main()
