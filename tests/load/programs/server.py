"""A server for the load tests: `server.py HOST [SETTINGS]`, or `server:create()` under gunicorn.

HOST is "native", "gevent", "patched" (gevent, everything monkey-patched) or "flask"; SETTINGS is JSON, see `Settings`;
under gunicorn it comes in the variable IOTIO_LOAD. Prints `ready PORT` when it listens.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and sys.argv[1] == "patched":
    from gevent import monkey

    monkey.patch_all()

import gc
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import flask

from iotio import DeviceType, IoTClient, IoTManager, Options
from iotio_protocol.reasons import DisconnectReason

pause: Callable[[float], object] = time.sleep
"""How a handler waits without holding up its host."""


NO_REASON = DisconnectReason.REFUSED
"""Stands where a handler was not given the reason, which is a failure."""


class Problems(logging.Handler):
    """Keeps all records from ERROR up."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "werkzeug" and ", message " in record.getMessage():
            return  # what Werkzeug says of a request that is no HTTP
        self.texts.append(self.format(record))


class Journal:
    """What the life-cycle handlers saw, in order: [id, what]; appending is atomic."""

    def __init__(self) -> None:
        self.lines: list[list[str]] = []

    def of(self, client_id: str | None) -> list[list[str]]:
        """The lines of one device, or all."""
        return [line for line in list(self.lines) if client_id is None or line[0] == client_id]


class Plain(DeviceType):
    """Echoes, joins rooms, waits."""

    def __init__(self, type_name: str, journal: Journal) -> None:
        super().__init__(type_name)
        self.journal = journal

    def write(self, client: IoTClient, what: str) -> None:
        self.journal.lines.append([client.id, what])

    def on_connect(self, client: IoTClient) -> None:
        self.write(client, "connect")
        self.write(client, "connected")

    def on_disconnect(self, client: IoTClient, reason: DisconnectReason = NO_REASON) -> None:
        self.write(client, f"disconnect {reason.value}")
        self.write(client, "disconnected")

    def on_echo(self, message: Any, client: IoTClient) -> Any:
        return message

    def on_join(self, message: str, client: IoTClient) -> bool:
        return client.join(message)

    def on_wait(self, message: int, client: IoTClient) -> int:
        """Wait for `message` milliseconds, in the host's own manner."""
        pause(message / 1000)
        return message

    def on_block(self, message: int, client: IoTClient) -> int:
        """The same, in the interpreter's own manner: under gevent without patches nothing else runs meanwhile."""
        time.sleep(message / 1000)
        return message

    def on_hang(self, message: dict[str, Any], client: IoTClient) -> None:
        """Say that it begins, then "wait" or "block" for so many milliseconds."""
        (how, duration), *_ = message.items()
        client.emit("hanging", duration)
        {"wait": self.on_wait, "block": self.on_block}[how](duration, client)


class Slow(Plain):
    """Takes its time over the life cycle."""

    def on_connect(self, client: IoTClient) -> None:
        self.write(client, "connect")
        pause(0.05)
        self.write(client, "connected")

    def on_disconnect(self, client: IoTClient, reason: DisconnectReason = NO_REASON) -> None:
        self.write(client, f"disconnect {reason.value}")
        pause(0.05)
        self.write(client, "disconnected")


class Failing(Plain):
    """Its on_connect raises."""

    def on_connect(self, client: IoTClient) -> None:
        self.write(client, "connect")
        pause(0.001)
        self.write(client, "connected")
        raise RuntimeError("on_connect fails on purpose")


class Asynchronous(Plain):
    """Its life cycle is `async def`."""

    async def on_connect(self, client: IoTClient) -> None:  # type: ignore[override]  # may be either
        import asyncio

        self.write(client, "connect")
        await asyncio.sleep(0.005)
        self.write(client, "connected")

    async def on_disconnect(  # type: ignore[override]  # may be either
        self, client: IoTClient, reason: DisconnectReason = NO_REASON
    ) -> None:
        import asyncio

        self.write(client, f"disconnect {reason.value}")
        await asyncio.sleep(0.005)
        self.write(client, "disconnected")


def create(settings: dict[str, Any] | None = None) -> flask.Flask:
    """The application with its manager and all routes."""
    if settings is None:
        settings = json.loads(os.environ.get("IOTIO_LOAD", "{}"))
    problems = Problems()
    logging.getLogger().addHandler(problems)
    app = flask.Flask("load")
    manager = IoTManager(app, options=Options(**settings))
    journal = Journal()
    for name, kind in (("plain", Plain), ("slow", Slow), ("failing", Failing), ("async", Asynchronous)):
        manager.add_type(kind(name, journal))
    manager.add_type(Goodbye("goodbye", journal))
    add_routes(app, manager, journal, problems)
    return app


class Goodbye(Plain):
    """Says on standard output why it went."""

    def on_disconnect(self, client: IoTClient, reason: DisconnectReason = NO_REASON) -> None:
        os.write(1, f"goodbye {client.id} {reason.value}\n".encode())  # whole, also from several threads at once


def add_routes(app: flask.Flask, manager: IoTManager, journal: Journal, problems: Problems) -> None:
    """What the tests ask over HTTP."""

    @app.get("/stats")
    def stats() -> dict[str, Any]:
        gc.collect()
        return {
            "clients": len(manager.clients),
            "sockets": len(manager.connections.all()),
            "rooms": len(manager.registry._rooms),  # those that somebody connected is in
            "types": {name: len(manager.registry.audience(name)) for name in ("plain", "slow")},
            "threads": threading.active_count(),
            "native": os_status("Threads"),
            "memory": os_status("VmRSS"),
            "greenlets": count_greenlets(),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "errors": problems.texts,
        }

    @app.get("/journal")
    def read_journal() -> list[list[str]]:
        return journal.of(flask.request.args.get("id"))

    @app.post("/emit")
    def emit() -> dict[str, Any]:
        return described(manager.emit(**flask.request.get_json()))

    @app.post("/broadcast")
    def broadcast() -> dict[str, Any]:
        """`count` binary messages of `size` bytes to a type; the largest outbox on the way is reported."""
        wanted = flask.request.get_json()
        results, outbox, longest = [], 0, 0.0
        for number in range(wanted["count"]):
            data = number.to_bytes(4, "big") + bytes(wanted["size"] - 4)
            began = time.perf_counter()
            results.append(described(manager.emit("blob", data, client_type=wanted["type"])))
            longest = max(longest, time.perf_counter() - began)
            outbox = max([outbox, *pending(manager).values()])
            pause(wanted.get("pause", 0))
        return {"results": results, "outbox": outbox, "longest": longest}

    @app.get("/pending")
    def waiting() -> dict[str, int]:
        return pending(manager)

    @app.post("/storm")
    def storm() -> dict[str, Any]:
        return emit_storm(manager, **flask.request.get_json())


def emit_storm(
    manager: IoTManager, threads: int, devices: int, rooms: int, rounds: int, singles: int
) -> dict[str, Any]:
    """Real threads that emit numbered messages to ids, rooms and a type at once; counts by kind of target."""
    import _thread

    allocate, start_thread = original("allocate_lock"), original("start_new_thread")
    totals: list[dict[str, int]] = [{} for _ in range(threads)]
    failures: list[str] = []
    done = [allocate() for _ in range(threads)]
    assert _thread.allocate_lock is not None

    def work(number: int) -> None:
        try:
            sequence = 0
            counts = totals[number]

            def send(kind: str, **target: str) -> None:
                nonlocal sequence
                sequence += 1
                options: dict[str, Any] = dict(target)
                result = manager.emit("n", [number, sequence, kind, *target.values()], **options)
                counts[kind] = counts.get(kind, 0) + result.sent
                counts["lost"] = counts.get("lost", 0) + len(result.offline) + len(result.dropped)

            for turn in range(rounds):
                for single in range(singles):
                    send("id", client_id=f"d{(number * 7919 + turn * singles + single) % devices}")
                send("room", room=f"r{(turn + number) % rooms}")
                if turn % 10 == 0:
                    send("type", client_type="plain")
                if turn % 10 == 5:
                    send("both", client_type="plain", room=f"r{(turn + number) % rooms}")
        except BaseException as error:
            failures.append(repr(error))
        finally:
            done[number].release()

    for lock in done:
        lock.acquire()
    began = time.perf_counter()
    for number in range(threads):
        start_thread(work, (number,))
    while any(lock.locked() for lock in done):
        pause(0.01)  # a patched lock must not be waited on here, a real one would stop the hub
    return {"totals": totals, "failures": failures, "seconds": time.perf_counter() - began}


def original(name: str) -> Any:
    """A function of `_thread` as the interpreter has it."""
    import _thread

    if "gevent.monkey" in sys.modules:
        from gevent import monkey

        return monkey.get_original("_thread", name)
    return getattr(_thread, name)


def described(result: Any) -> dict[str, Any]:
    """An EmitResult as JSON."""
    return {"sent": result.sent, "offline": list(result.offline), "dropped": result.dropped}


def pending(manager: IoTManager) -> dict[str, int]:
    """Bytes that wait in each outbox."""
    return {connection.name: connection.pending() for connection in manager.connections.all()}


def os_status(name: str) -> int:
    """A number of /proc/self/status."""
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith(name + ":"))
    return int(line.split()[1])


def count_greenlets() -> int:
    """Greenlets of gevent's that have not ended."""
    if "gevent" not in sys.modules:
        return 0
    import gevent

    return sum(1 for thing in gc.get_objects() if isinstance(thing, gevent.Greenlet) and not thing.dead)


def serve_gevent(app: flask.Flask) -> None:
    """The quickstart's host."""
    from gevent import pywsgi
    from geventwebsocket.handler import WebSocketHandler

    server = pywsgi.WSGIServer(("127.0.0.1", 0), app, handler_class=WebSocketHandler, log=None, backlog=1024)
    server.start()
    print(f"ready {server.server_port}", flush=True)
    server.serve_forever()


def serve_flask(app: flask.Flask) -> None:
    """Flask's own server, a thread for each connection."""
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(f"ready {server.server_port}", flush=True)
    server.serve_forever()


def serve_native(app: flask.Flask) -> None:
    """The host that `manager.run` is."""
    manager = app.extensions["iot.io"]
    server = manager._server(host="127.0.0.1", port=0)

    def tell() -> None:
        server.ready.wait()
        print(f"ready {server.port}", flush=True)

    threading.Thread(target=tell, daemon=True).start()
    server.run()


def main() -> None:
    """Serve until a signal."""
    global pause
    host = sys.argv[1]
    app = create(json.loads(sys.argv[2]) if len(sys.argv) > 2 else {})
    if host == "flask":
        serve_flask(app)
    elif host == "native":
        serve_native(app)
    else:
        import gevent

        pause = gevent.sleep
        serve_gevent(app)


if __name__ == "__main__":
    main()
