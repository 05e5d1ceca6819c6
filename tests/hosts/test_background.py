"""Background work on every host of this process: where it runs, when it begins, and its end."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import flask
import gevent
import pytest

from iotio import IoTManager
from iotio.core.waiting import loop_runs_here
from tests.support.asgi import UvicornThread
from tests.support.hosts import FAST, LocalHost, serve
from tests.support.processes import START_SECONDS, Program

WAIT = 5.0  # seconds
KINDS = ("native", "native-asyncio", "asgi", "gevent", "flask")


class Log:
    """What was called, in order, with a way to wait for it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._changed = threading.Condition()

    def add(self, what: str) -> None:
        with self._changed:
            self.seen.append(what)
            self._changed.notify_all()

    def wait(self, what: str, count: int = 1) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.seen.count(what) >= count, WAIT), self.seen


@pytest.fixture(params=KINDS)
def host(request: pytest.FixtureRequest) -> Iterator[LocalHost]:
    running = serve(request.param, FAST)
    assert isinstance(running, LocalHost)
    if running.kind.startswith("native"):
        running.manager.stop()  # it begins when it starts
    yield running
    end(running)


def end(host: LocalHost) -> None:
    """Stop the host, once."""
    if not vars(host).get("has_ended"):
        vars(host)["has_ended"] = True
        host.stop()


def begun(host: LocalHost) -> None:
    """Have the work begin: by the start of the native server, elsewhere by the first request."""
    if host.kind.startswith("native"):
        host.port = host.manager.start(loop=vars(type(host)).get("loop", "auto"))
    else:
        host.state()


def test_def_and_async_def_run_where_handlers_do(host: LocalHost) -> None:
    log = Log()

    @host.manager.every(0.02)
    def work() -> None:
        in_greenlet = isinstance(gevent.getcurrent(), gevent.Greenlet)
        log.add(f"def {flask.current_app.name} {in_greenlet} {loop_runs_here()}")

    @host.manager.every(0.02)
    async def later() -> None:
        await asyncio.sleep(0)
        log.add(f"async {flask.current_app.name} {asyncio.current_task() is not None}")

    begun(host)
    name = host.manager.app.name
    log.wait(f"def {name} {host.kind == 'gevent'} False", 3)
    log.wait(f"async {name} True", 3)


def test_on_start_is_first_and_on_stop_is_last(host: LocalHost) -> None:
    log = Log()

    @host.manager.event
    async def on_start() -> None:
        await asyncio.sleep(0.05)
        log.add("start")

    @host.manager.every(0.01)
    def work() -> None:
        log.add("work")

    @host.manager.event
    def on_stop() -> None:
        log.add("stop")

    assert log.seen == [], "nothing runs before the server serves"
    begun(host)
    log.wait("work")
    end(host)
    assert log.seen[0] == "start"
    assert log.seen[-1] == "stop"
    assert set(log.seen[1:-1]) == {"work"}


def test_an_async_def_that_runs_at_the_end_is_cancelled(host: LocalHost) -> None:
    log = Log()

    @host.manager.every(0.01)
    async def work() -> None:
        log.add("begin")
        try:
            await asyncio.sleep(60)
        finally:
            log.add("end")

    @host.manager.event
    async def on_stop() -> None:
        await asyncio.sleep(0)
        log.add("stop")

    begun(host)
    log.wait("begin")
    began = time.monotonic()
    end(host)
    assert time.monotonic() - began < WAIT
    assert log.seen == ["begin", "end", "stop"]
    assert "failed" not in host.errors


def test_a_loop_is_not_blocked_by_a_def(host: LocalHost) -> None:
    log, go = Log(), threading.Event()

    @host.manager.every(0.01)
    def slow() -> None:
        log.add("slow")
        while not go.is_set():
            gevent.sleep(0.01) if host.kind == "gevent" else time.sleep(0.01)

    @host.manager.every(0.01)
    async def quick() -> None:
        log.add("quick")

    begun(host)
    log.wait("slow")
    log.wait("quick", len([one for one in log.seen if one == "quick"]) + 3)
    assert host.state()["clients"] == [], "and requests are served"
    assert log.seen.count("slow") == 1
    go.set()


def _named(name: str, log: Log) -> Any:
    def callback() -> None:
        log.add(name)

    callback.__name__ = name
    return callback


def test_the_native_server_begins_by_itself_each_time() -> None:
    log, manager = Log(), IoTManager(flask.Flask("again"))
    manager.every(0.01)(lambda: log.add("work"))
    for name in ("on_start", "on_stop"):
        manager.event(_named(name, log))
    for _ in range(2):
        log.seen.clear()
        manager.start()
        assert log.seen[0] == "on_start", "before start returns"
        log.wait("work")
        manager.stop()
        assert log.seen[-1] == "on_stop"
        count = len(log.seen)
        time.sleep(0.03)
        assert len(log.seen) == count
    manager.close(0)


@pytest.mark.parametrize("served_by", ["native", "uvicorn"])
def test_on_stop_runs_before_the_application_ends(served_by: str) -> None:
    log = Log()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        while True:
            event = (await receive())["type"]
            log.add(event)
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return

    manager = IoTManager(app)
    for name in ("on_start", "on_stop"):
        manager.event(_named(name, log))
    if served_by == "native":
        manager.start()
        manager.stop()
    else:
        UvicornThread(manager.asgi, ws="websockets-sansio", lifespan="on").stop()
    assert sorted(log.seen[:2]) == ["lifespan.startup", "on_start"]
    assert log.seen[2:] == ["on_stop", "lifespan.shutdown"]
    manager.close(0)


_WORK = "tests.hosts.programs.work"
_GUNICORN = "gunicorn -w 1 -k gthread --threads 4 --graceful-timeout 3 -b 127.0.0.1:0"


@pytest.mark.parametrize(
    ("command", "begins"),
    [
        (f"{_WORK} gevent", False),
        (f"{_WORK} gevent now", True),
        (f"{_WORK} flask", False),
        (f"{_GUNICORN} {_WORK}:app", False),
    ],
)
def test_a_server_that_does_not_tell_of_its_start(command: str, begins: bool) -> None:
    """It begins with the first request, which waits for `on_start`, or when the program says so."""
    with Program([sys.executable, "-m", *command.split()]) as server:
        line = server.wait_line(lambda line: re.search(r"ready \d|Listening at", line) is not None, START_SECONDS)
        found = re.search(r"(\d+)(?: \(|$)", line)
        assert found is not None, line
        if begins:
            server.wait_line("works later")
        else:
            assert "started" not in server.lines
        with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/", timeout=WAIT) as answer:
            assert answer.read() == b"here"
        server.wait_line("works in ")
        server.wait_line("works later")
        said = [one for one in server.lines if one.startswith(("started", "seen", "works"))]
        assert said[0] == "started"
        assert said.count("started") == 1
        server.terminate()
        assert "stopped" in server.lines
        assert "Traceback" not in server.output
