"""The host of test clients: the core as any host drives it, with the test in the place of network and time.

A `def` handler runs in the thread of the test, an `async def` one on a loop in a thread of its own, so that the test
may be either, too. Where a loop runs, as in an `async def` test, another thread does the server's part meanwhile, as a
handler may wait there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from contextvars import Context
from typing import Any, Protocol, TypeVar

from iotio.core.manager import Manager
from iotio.core.primitives import Bell, Signal, allocate_lock, get_ident, start_thread, wait
from iotio.core.waiting import loop_runs_here
from iotio.hosts.awaitables import Outcome, create_task
from iotio.hosts.blocking.loop_thread import new_loop
from iotio.hosts.blocking.work_place import BlockingPlace
from iotio.hosts.memory import MemoryConnection
from iotio.hosts.timing import SWEEP_INTERVAL
from iotio_protocol.session import Event

from .clock import VirtualClock

__all__ = ["PATIENCE", "DeviceStream", "MemoryHost", "Peer", "host_of", "is_tested"]

Result = TypeVar("Result")

PATIENCE = 10.0
"""Real seconds that a test waits for an `async def` to end: more than any should take."""

_STILL_RUNS = (
    "an async def still runs after {:g} s, and the test waits for its end: asyncio.sleep() takes real time, and what"
    " the test itself does later cannot be awaited"
)
_SLACK = 1e-6  # seconds: sums of fractions differ in their last digits


class Peer(Protocol):
    """A device at the other end."""

    def read(self) -> None:
        """Take what the server has sent, and answer what is to be answered at once."""

    def close(self) -> None:
        """Leave for good."""


class _Connection(MemoryConnection):
    """The server's side of a test client's connection."""

    def __init__(self, host: MemoryHost, headers: Iterable[tuple[str, str]], *, subprotocol: str | None) -> None:
        manager = host.manager
        super().__init__(manager, headers, peer="test", scope=manager.scope, subprotocol=subprotocol)
        self._host = host

    def read(self) -> bytes:
        with self._lock:
            return super().read()

    def write(self, data: bytes) -> None:
        super().write(data)
        if self._calls:  # a thread or a task waits for the device's answer
            self._host.wake_devices()

    def run_async(self, coroutine: Any, context: Context) -> Any:
        return self._host.run_awaitable(coroutine, context)

    def run_aside(self, function: Callable[[], None]) -> None:
        self._host.run_aside(function)


class DeviceStream:
    """The device's end of a connection; any thread may use it.

    As on a host with threads, one event is handled after the other, and answers to calls are taken meanwhile.

    Attributes:
        connection: the server's end.

    Args:
        host: the server's side.
        headers: of the upgrade request.
        subprotocol: what was agreed on, or None.
    """

    def __init__(self, host: MemoryHost, headers: Iterable[tuple[str, str]], *, subprotocol: str | None) -> None:
        # In a context of its own: no handler sees what the test has set.
        self.connection = Context().run(_Connection, host, headers, subprotocol=subprotocol)
        host.manager.connections.attach(self.connection)
        self._lock = allocate_lock()  # for what follows
        self._events: deque[Event] = deque()
        self._handling = False

    def begin(self) -> None:
        """Have the server answer the upgrade, and the handshake of a v1 device."""
        self._handling = True
        self.connection.start()
        self._go_on()

    def send(self, data: bytes) -> None:
        """Send bytes, b"" for the end of the stream, and have the server handle them."""
        with self._lock:
            if self.connection.ended:
                return
            self._events.extend(self.connection.feed(data))
            if self._handling:  # whoever does goes on with them
                return
            self._handling = True
        self._go_on()

    def read(self) -> bytes:
        """Return what the server has sent since the last time: whole frames."""
        return self.connection.read()

    def end_if_over(self) -> None:
        """Have the server be done with the connection, if it is over, as a host that reads the end of a stream."""
        if self.connection.over and not self.connection.ended and not self._handling:
            self.connection.finish()

    def _go_on(self) -> None:
        try:
            while (event := self._next()) is not None:
                self.connection.handle(event)
        finally:
            self._handling = False
        self.end_if_over()

    def _next(self) -> Event | None:
        with self._lock:
            if not self._events:
                self._handling = False
                return None
            return self._events.popleft()


class MemoryHost:
    """Serves the test clients of one manager. It begins with the first of them, and ends with the last.

    Attributes:
        manager: whose devices they are.
        clock: the manager's, as long as this serves.

    Args:
        manager: one that serves nobody.

    Raises:
        RuntimeError: the manager is served by another host, or closed.
    """

    def __init__(self, manager: Manager) -> None:
        if manager.loops or manager.connections.all():
            raise RuntimeError(
                "the manager serves already, and a test client needs one that does not: connect an IoTClient to the"
                " port, or make the test client before manager.start()"
            )
        if manager.closing:
            raise RuntimeError("the manager is closed: make another one for each test")
        self.manager = manager
        self._peers: list[Peer] = []
        self._users: set[object] = set()
        self._errors: list[BaseException] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._loop_ended = Signal()
        self._starting = allocate_lock()  # for the loop
        self._bell = Bell()  # for the thread that has devices answer calls
        self._ended = False
        self._aside: list[Signal] = []  # what runs in threads of its own
        self._begin()

    def _begin(self) -> None:
        manager = self.manager
        place = manager.background.place_without_loop
        if isinstance(place, BlockingPlace):
            place.end()  # its thread would sweep, too
        clock = manager.clock
        self.clock = clock if isinstance(clock, VirtualClock) else VirtualClock(clock)
        self.clock.stop(lambda seconds: self.run(self._pass_time, seconds))
        self._wall, ahead = manager.wall, manager.wall() - self.clock()
        manager.clock, manager.wall = self.clock, lambda: self.clock() + ahead
        self._observers = [manager.notifier.threads, *([] if manager.twins is None else [manager.twins.threads])]
        self._spawns = [threads.spawn for threads in self._observers]
        for threads in self._observers:
            threads.spawn = self.run_aside
        for throttle in (manager.log_throttle, manager.background.throttle, manager.callbacks.throttle):
            throttle.on_error = self.failed
        manager.loops.append(self)
        start_thread(self._answer)

    # -- who uses it -----------------------------------------------------------------------------------

    def hold(self, user: object) -> None:
        """Go on at least until this user releases it."""
        self._users.add(user)

    def release(self, user: object) -> None:
        """End with the last user."""
        self._users.discard(user)
        if not self._users and not self._ended:
            self._ended = True
            self.run(self._end)

    def add(self, peer: Peer) -> None:
        """Serve a device, until it is closed."""
        self._peers.append(peer)
        self.hold(peer)

    def remove(self, peer: Peer) -> None:
        """Serve a device no longer."""
        self._peers.remove(peer)
        self.release(peer)

    def close_devices(self) -> None:
        """Close all devices that there are."""
        with ExitStack() as stack:  # all of them, even if a handler fails
            for peer in self._peers:
                stack.callback(peer.close)

    def _end(self) -> None:
        manager = self.manager
        try:
            manager.background.end(PATIENCE, wait)
        finally:
            manager.loops.remove(self)
            for throttle in (manager.log_throttle, manager.background.throttle, manager.callbacks.throttle):
                throttle.on_error = None
            for threads, spawn in zip(self._observers, self._spawns, strict=True):
                threads.spawn = spawn
            manager.wall = self._wall
            self.clock.run_on()
            self._bell.ring()
            self._stop_loop()

    # -- for devices and the clock ---------------------------------------------------------------------

    def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Do a part of the server's work, to its end, and raise what user code has raised in it.

        Raises:
            BaseException: what a handler, a callback or background work has raised; several come as a group.
        """
        result = _in_thread(function, *arguments) if loop_runs_here() else function(*arguments)
        while self._aside:
            wait(self._aside.pop(), PATIENCE)
        errors, self._errors[:] = list(self._errors), []
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup("user code has failed several times", errors)
        return result

    def failed(self, error: BaseException) -> None:
        """Have `run` raise an error."""
        self._errors.append(error)

    def begin_work(self) -> None:
        """Begin the manager's work beside the devices, if it has not begun."""
        if not self.manager.background.has_begun or self.manager.background.has_ended:
            self.manager.begin()

    def wake_devices(self) -> None:
        """Have the devices read in a thread of its own: somebody waits for an answer. The connection's lock is held."""
        self._bell.ring()

    def _answer(self) -> None:
        self._bell.wait(None)
        while not self._ended:
            self._read()
            self._bell.wait(None)

    def _read(self) -> None:
        for peer in list(self._peers):
            peer.read()

    def _pass_time(self, seconds: float) -> None:
        self.begin_work()
        end = self.clock() + seconds
        self._sweep_at(self.clock())
        while (now := self.clock()) < end:
            due = self._next_due()
            if due <= now:  # the sweep has left it for the next one
                due = now + SWEEP_INTERVAL
            self._sweep_at(due if due < end + _SLACK else end)

    def _next_due(self) -> float:
        manager = self.manager
        parts = (manager.background, manager.connections, manager.presence, manager.durable_messages)
        return min(part.next_due for part in parts)

    def _sweep_at(self, now: float) -> None:
        self.clock.set(now)
        while self.manager.sweep(now):
            pass
        self._read()

    # -- for the core: see `HostLoop` ------------------------------------------------------------------

    def run_awaitable(self, awaitable: Awaitable[Any], context: Context) -> Any:
        """Run an awaitable on the loop, and return its result."""
        if get_ident() == self._loop_thread:
            raise RuntimeError("the loop's own thread cannot wait for what runs on the loop")
        return self.submit(awaitable, context).result()

    def submit(self, awaitable: Awaitable[Any], context: Context) -> Outcome:
        """Run an awaitable on the loop, to its end: what is tested is in order."""
        outcome = Outcome()
        loop = self._started_loop()

        def start() -> None:
            outcome.follow(create_task(loop, awaitable, context))

        loop.call_soon_threadsafe(start)
        if get_ident() != self._loop_thread and not wait(outcome.done, PATIENCE):  # a task there may go on meanwhile
            outcome.cancel()
            wait(outcome.done, PATIENCE)
            outcome.error = TimeoutError(_STILL_RUNS.format(PATIENCE))
        return outcome

    def give_way(self) -> None:
        """Do nothing: no loop is held up."""

    def run_def(self, function: Callable[[], None], label: str) -> None:
        """Run a function, here and now."""
        function()

    def run_aside(self, function: Callable[[], None]) -> None:
        """Run a function where it may wait: here, or in a thread of its own if a loop runs here."""
        if not loop_runs_here():
            function()
            return
        done = Signal()
        self._aside.append(done)
        start_thread(lambda: _run_and_set(function, done))
        if get_ident() != self._loop_thread:
            wait(done, PATIENCE)

    def _started_loop(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                ready = Signal()
                start_thread(lambda: self._run_loop(ready))
                wait(ready, None)
            assert self._loop is not None
            return self._loop

    def _run_loop(self, ready: Signal) -> None:
        loop = self._loop = new_loop()
        self._loop_thread = get_ident()
        asyncio.set_event_loop(loop)
        ready.set()
        try:
            loop.run_forever()
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()
            self._loop_ended.set()

    def _stop_loop(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            wait(self._loop_ended, PATIENCE)


def _in_thread(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function in a thread of its own, and wait for it in this one."""
    done = Signal()
    results: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(function(*arguments))
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    start_thread(work)
    wait(done, None)
    if errors:
        raise errors[0]
    return results[0]


def _run_and_set(function: Callable[[], None], done: Signal) -> None:
    try:
        function()
    finally:
        done.set()


def is_tested(manager: Manager) -> bool:
    """Return whether a manager has test clients now."""
    return any(isinstance(loop, MemoryHost) for loop in manager.loops)


def host_of(manager: Manager) -> MemoryHost:
    """Return the host of a manager's test clients; make it if there is none."""
    for loop in manager.loops:
        if isinstance(loop, MemoryHost):
            return loop
    return MemoryHost(manager)
