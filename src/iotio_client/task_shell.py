"""How tasks carry out what the driver asks for: one that reads, one that sends, and one that `stop` cancels."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as ws_connect
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State as WireState

from iotio_protocol.errors import IoTError

from .addresses import direct
from .calls import too_many
from .commands import Work, perform_async
from .driver import Driver, OnOneLoop
from .errors import ClientError, NotConnected
from .inbox import MAX_QUEUE
from .periodic import Periodic
from .received import Received
from .target import Target
from .task_addresses import connect_any_async
from .task_waits import TaskCall, TaskInbox

if TYPE_CHECKING:
    from .driver import ConnectArguments

__all__ = ["TaskShell"]

_T = TypeVar("_T")

_MAX_UNREAD = 1024 * 1024  # bytes of PONG frames that the server has not read


class _Connection(ClientConnection):
    """A connection whose answers are bounded: the library writes a PONG for each PING, whether they are read or not."""

    _unread = 0

    def data_received(self, data: bytes) -> None:
        """Take what a read brought; abort if the server does not read what answers it."""
        before = self.transport.get_write_buffer_size()
        super().data_received(data)
        after = self.transport.get_write_buffer_size()
        self._unread = self._unread + max(0, after - before) if before else after
        if self._unread > _MAX_UNREAD:
            self.transport.abort()


class TaskShell:
    """Carry out a driver's commands in the task that runs it, and read and send in tasks beside it.

    Args:
        driver: what is carried out.

    Attributes:
        loop: the event loop that the connection lives on.
        leaving: closes a connection that nobody is in `handle` for.
    """

    changed = OnOneLoop
    waiter = TaskCall

    def __init__(self, driver: Driver[ClientConnection, TaskCall]) -> None:
        self._driver = driver
        self.loop: asyncio.AbstractEventLoop | None = None
        self.leaving: asyncio.Task[None] | None = None
        self._announced: ClientConnection | None = None  # the one whose on_connect is through
        self._waiting: set[asyncio.Future[None]] = set()  # until it is ready
        self._beside: asyncio.Task[None] | None = None  # made by `start`
        self._turns: set[asyncio.Task[None]] | None = None  # of periodic functions, while the client runs
        self._task: asyncio.Task[Any] | None = None  # what stop() cancels
        self._calling = False  # that task is in a handler
        self._asking: set[TaskCall] = set()  # calls that wait for their answers
        self._inbox = TaskInbox()
        self._reader: asyncio.Task[str] | None = None  # fills it
        self._sender: asyncio.Task[None] | None = None  # sends durable messages
        self._more = asyncio.Event()  # there may be some
        self._buffer_turns: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    # The task in run or handle.

    def check_idle(self) -> None:
        """Raise ClientError if there is such a task."""
        if self._task is not None:
            raise ClientError("this client is in run() or handle() already")

    async def leave_dead(self) -> None:
        """Clean up after a connection that ended while nobody was in `handle`."""
        if self._task is None and await perform_async(self._driver.leave_dead(), self):
            self.end(None)

    async def guard(self, work: Work[_T]) -> _T | None:
        """Run `work` in a task of its own, which `stop` may cancel; None: it did."""
        self.loop = asyncio.get_running_loop()
        self._task = task = self.loop.create_task(perform_async(work, self))
        try:
            return await task
        except asyncio.CancelledError:
            outer = asyncio.current_task()
            if self._driver.stopping and not (outer and outer.cancelling()):
                return None
            raise
        finally:
            self._task = None

    async def run(self, work: Work[_T]) -> _T | None:
        """`guard` it, and call the periodic functions meanwhile."""
        self._turns = set()
        for periodic in self._driver.periodic:
            self._repeat(periodic)
        try:
            return await self.guard(work)
        finally:
            turns, self._turns = self._turns, None
            for task in turns:
                task.cancel()
            if turns:
                await asyncio.wait(turns)

    def start(self, running: Coroutine[Any, Any, None]) -> None:
        """Run the client in a task of its own. Raises RuntimeError outside of an event loop."""
        self._beside = asyncio.get_running_loop().create_task(self._run_beside(running))

    def check_not_started(self) -> None:
        """Raise ClientError if there is such a task."""
        self.check_idle()
        if self._beside is not None and not self._beside.done():
            raise ClientError("this client is in start() already")

    async def _run_beside(self, running: Coroutine[Any, Any, None]) -> None:
        try:
            await running
        except IoTError as error:
            self._driver.logger.error("the client has ended: %s", error)
        except Exception:
            self._driver.logger.exception("the client has ended")

    async def join(self) -> None:
        """Wait for the end of that task, if there is one, or of what `stop` has begun."""
        for task in (self._beside, self.leaving):
            if task is not None and task is not asyncio.current_task():
                await asyncio.wait([task])

    def end(self, failure: ClientError | None) -> None:
        """End `run`, `handle` or `begin`, and fail those who wait until the client is ready."""
        self._driver.end()
        self._announced = None
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(failure or NotConnected(self._driver.why_not_connected()))

    # Functions that are called every so many seconds, each in a task of its own.

    def add(self, periodic: Periodic) -> None:
        """Call a function every so many seconds, from the next run on; from now on if there is one."""
        self._driver.periodic.append(periodic)
        if self._turns is not None:
            self._repeat(periodic)

    def _repeat(self, periodic: Periodic) -> None:
        assert self._turns is not None
        task = asyncio.create_task(perform_async(self._driver.repeat(periodic, None), self))
        self._turns.add(task)

    async def await_turn(self, over: None, due: float, latest: float) -> bool:
        await asyncio.sleep(max(due - time.monotonic(), 0))
        if not self.ready:
            with suppress(ClientError):  # the run has ended, and this task with it
                await self.wait_ready(max(latest - time.monotonic(), 0))
        return True

    async def take_turn(self, periodic: Periodic) -> None:
        result = periodic.function()
        if inspect.isawaitable(result):
            await result

    def interrupt(self) -> None:
        """Have the driver look at `stopping` soon, wherever it waits."""
        if self.loop is None or (self._calling and self._in_own_task()):
            return  # the task looks at the flag when the handler returns, after the answer
        with suppress(RuntimeError):  # that loop is closed: nothing runs any more
            self.loop.call_soon_threadsafe(self._cancel)

    def _in_own_task(self) -> bool:
        try:
            return asyncio.current_task() is self._task
        except RuntimeError:  # another thread
            return False

    def _cancel(self) -> None:
        if not self._driver.stopping:  # it has ended by itself; another run may have begun
            return
        if self._task is not None:
            if not self._driver.finishing:
                self._task.cancel()
        elif self._driver.connection is not None:  # after begin(), with nobody in handle()
            self._task = self.leaving = asyncio.create_task(self._leave(self._driver.connection))

    async def _leave(self, connection: ClientConnection) -> None:
        try:
            await perform_async(self._driver.finish(connection), self)
        finally:
            self._task = self.leaving = None
            self.end(None)

    # Those who wait until the client is connected and on_connect is through.

    @property
    def ready(self) -> bool:
        """Whether the client is connected, and `on_connect` is through."""
        return self._announced is not None and self._announced is self._driver.connection

    def tell_ready(self) -> None:
        """Let them go on, as `on_connect` has returned."""
        self._announced = self._driver.connection
        for waiting in self._waiting:
            if self.ready and not waiting.done():
                waiting.set_result(None)

    async def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until `tell_ready` or `end`. Returns False at the time-out."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            done, _ = await asyncio.wait([waiting], timeout=timeout)
            if done:
                waiting.result()
            return bool(done)
        finally:
            self._waiting.discard(waiting)

    # Commands: the connection.

    async def open(self, target: Target, arguments: ConnectArguments, limit: float) -> ClientConnection:
        more: dict[str, Any] = {"create_connection": _Connection}
        if target.context:
            more["ssl"] = target.context
        if target.server_hostname is not None:
            more["server_hostname"] = target.server_hostname
        host = direct(target)
        async with asyncio.timeout(limit):
            if host is None:  # the library connects to the proxy
                return await ws_connect(target.uri, **arguments, **more)
            sock = await connect_any_async(*host)
            try:
                return await ws_connect(target.uri, **arguments, **more, sock=sock)
            except BaseException:  # the library may not have come to make a transport of it
                sock.close()
                raise

    async def abort(self, connection: ClientConnection | None) -> None:
        if connection is not None:
            connection.transport.abort()

    async def start_reading(self, connection: ClientConnection) -> None:
        self._inbox, self._more = TaskInbox(), asyncio.Event()
        if self._asking:
            self._inbox.allow()
        self._reader = asyncio.create_task(perform_async(self._driver.read(connection, self._inbox), self))
        self._sender = asyncio.create_task(self._send(connection, self._more))

    async def announce(self) -> None:
        self.tell_ready()

    async def close(self, connection: ClientConnection) -> None:
        await connection.close()

    async def finish(self, connection: ClientConnection, farewell: bytes | None, code: int) -> None:
        for task in (self._reader, self._sender):
            if task is not None:
                task.cancel()
        self._reader = self._sender = None
        try:
            if farewell is not None:
                with suppress(ConnectionClosed, TimeoutError):
                    async with asyncio.timeout(self._driver.options.close_timeout):
                        await connection.send(farewell)
        finally:
            await connection.close(code)

    # Commands: messages.

    async def receive(self, connection: ClientConnection, limit: float) -> bytes | str:
        async with asyncio.timeout(limit):
            return await connection.recv()

    async def knock(self, connection: ClientConnection, limit: float) -> None:
        try:
            async with asyncio.timeout(limit):
                await connection.ping()
        except TimeoutError:
            connection.transport.abort()

    async def make_room(self, inbox: TaskInbox, connection: ClientConnection) -> None:
        while inbox.must_wait and connection.state is not WireState.CLOSED:
            for pending in self._asking:
                pending.fail(too_many(pending))
            await inbox.wait_for_room(connection.wait_closed())

    async def next(self) -> Received:
        return await self._inbox.get()

    async def invoke(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        self._calling = True
        try:
            result = function(*args)
            return await result if inspect.isawaitable(result) else result
        finally:
            self._calling = False

    async def send(self, packet: bytes | str, connection: ClientConnection, limit: float) -> None:
        try:
            async with asyncio.timeout(limit):
                await connection.send(packet)
        except TimeoutError:
            connection.transport.abort()
            raise

    async def wait(self, pending: TaskCall, deadline: float) -> None:
        """Wait until a call is done, or its time is over. More messages than usual may wait for the handlers then."""
        self._asking.add(pending)
        self._inbox.allow()
        try:
            await asyncio.wait([pending.future], timeout=max(deadline - time.monotonic(), 0))
        finally:
            self._asking.discard(pending)
            if not self._asking:
                self._inbox.allow(MAX_QUEUE, 0)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    # Commands: durable messages.

    async def in_buffer(self, function: Callable[[], _T], quick: bool, alone: bool) -> _T:
        """Do something with the buffer, in the order of the calls; what writes a file, in a thread."""
        loop = asyncio.get_running_loop()
        if self._buffer_turns is None or self._buffer_turns[0] is not loop:
            self._buffer_turns = loop, asyncio.Lock()
        async with self._buffer_turns[1]:
            if quick or not self._driver.session.buffer.on_disk:
                return function()
            return await asyncio.to_thread(function)

    async def send_more(self) -> None:
        self._more.set()

    async def ping(self, connection: ClientConnection, upto: int) -> None:
        await (await connection.ping())
        await perform_async(self._driver.acknowledged(upto), self)

    async def _send(self, connection: ClientConnection, more: asyncio.Event) -> None:
        """Send what may be sent, and again when there may be more, until the connection ends."""
        try:
            while True:
                more.clear()
                await perform_async(self._driver.send_durable(connection), self)
                await more.wait()
        except NotConnected:  # the connection has ended; the messages go over the next connection
            return
        except Exception:
            self._driver.logger.exception("durable messages cannot be sent over this connection")
            connection.transport.abort()
