"""What people call in `async def` handlers: httpx, aiohttp, anyio, Starlette's pool, asyncio; on every kind of loop.

Each is called by two devices at once, first in a handler and after an await, with and without a task factory and in
asyncio's debug mode. The file test_current_task.py looks at the task itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextvars import ContextVar, copy_context
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import aiohttp
import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import httpx
import pytest
import sniffio
from starlette.concurrency import run_in_threadpool

from iotio import DeviceHandle, DeviceType, DisconnectReason, IoTClient, Presence
from iotio_protocol import v1, v2
from tests.support.hosts import FAST, LocalHost, eventually, serve
from tests.support.v2 import V2Device
from tests.support.wire import Opcode, RawPeer, encode_frame, v1_headers

HOSTS = ("native", "native-asyncio", "asgi", "gevent")
MODES = ("plain", "factory", "debug")
LONG = 30  # seconds that nothing here may take

# -- what handlers call: each returns `who`, by way of the library ------------------------------------------------

Use = Callable[[str, int], Awaitable[str]]
"""Takes what to return, and the port of `who_server`."""

USES: dict[str, Use] = {}


def use(function: Use) -> Use:
    """Have a handler of this name call the function."""
    USES[function.__name__] = function
    return function


@use
async def httpx_client(who: str, port: int) -> str:
    async with httpx.AsyncClient(verify=False, trust_env=False, timeout=LONG) as client:
        return (await client.get(f"http://127.0.0.1:{port}/", params={"who": who})).text


@use
async def aiohttp_client(who: str, port: int) -> str:
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(LONG)) as session,
        session.get(f"http://127.0.0.1:{port}/", params={"who": who}) as found,
    ):
        return await found.text()


@use
async def anyio_scope(who: str, port: int) -> str:
    with anyio.CancelScope() as unused:
        pass
    with anyio.move_on_after(0.001) as late:
        await anyio.sleep(LONG)
    with anyio.CancelScope() as cancelled:
        cancelled.cancel()
        await anyio.lowlevel.checkpoint()
    with anyio.fail_after(LONG):
        await anyio.lowlevel.checkpoint()
    assert [scope.cancelled_caught for scope in (unused, late, cancelled)] == [False, True, True]
    return who


@use
async def anyio_group(who: str, port: int) -> str:
    letters: list[str] = []

    async def spell(letter: str) -> None:
        await anyio.lowlevel.checkpoint()
        letters.append(letter)

    async with anyio.create_task_group() as group:
        for letter in who:
            group.start_soon(spell, letter)
        group.start_soon(anyio.sleep, LONG)
        while len(letters) < len(who):
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    return "".join(letters)


@use
async def anyio_lock(who: str, port: int) -> str:
    lock = anyio.Lock()
    async with lock:
        assert lock.statistics().owner == anyio.get_current_task()
    async with anyio.CapacityLimiter(1):
        return who


@use
async def anyio_stream(who: str, port: int) -> str:
    send, receive = anyio.create_memory_object_stream[str]()
    async with send, receive, anyio.create_task_group() as group:
        group.start_soon(send.send, who)
        found = await receive.receive()
    return found


@use
async def anyio_thread(who: str, port: int) -> str:
    async def back() -> str:
        return who

    return await anyio.to_thread.run_sync(anyio.from_thread.run, back)


@use
async def starlette_threadpool(who: str, port: int) -> str:
    return await run_in_threadpool(str, who)


@use
async def sniffio_library(who: str, port: int) -> str:
    assert sniffio.current_async_library() == "asyncio"
    return who


@use
async def asyncio_timeout(who: str, port: int) -> str:
    async with asyncio.timeout(None) as unlimited:
        unlimited.reschedule(asyncio.get_running_loop().time() + LONG)
    for seconds in (0.001, -1):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(LONG), asyncio.timeout(seconds):
                await asyncio.sleep(LONG)
    return who


async def fail() -> None:
    raise ZeroDivisionError


@use
async def asyncio_task_group(who: str, port: int) -> str:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(LONG))
            group.create_task(fail())
    except* ZeroDivisionError:
        pass
    async with asyncio.TaskGroup() as group:
        task = group.create_task(asyncio.sleep(0, who))
    return task.result()


@use
async def asyncio_shield(who: str, port: int) -> str:
    inner = asyncio.get_running_loop().create_future()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await asyncio.shield(inner)
    inner.set_result(who)
    found: str = await asyncio.shield(inner)
    return found


@use
async def asyncio_gather(who: str, port: int) -> str:
    assert isinstance((await asyncio.gather(fail(), return_exceptions=True))[0], ZeroDivisionError)
    return "".join(await asyncio.gather(*(asyncio.sleep(0, letter) for letter in who)))


@use
async def asyncio_as_completed(who: str, port: int) -> str:
    found = [await one for one in asyncio.as_completed([asyncio.sleep(0, letter) for letter in who])]
    assert sorted(found) == sorted(who)
    return who


@use
async def asyncio_wait(who: str, port: int) -> str:
    task = asyncio.create_task(asyncio.sleep(0, who))
    assert await asyncio.wait([task], timeout=LONG) == ({task}, set())
    return task.result()


@use
async def asyncio_wait_for(who: str, port: int) -> str:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.sleep(LONG), 0.001)
    return await asyncio.wait_for(asyncio.sleep(0, who), LONG)


@use
async def asyncio_subprocess(who: str, port: int) -> str:
    program = await asyncio.create_subprocess_exec("echo", who, stdout=asyncio.subprocess.PIPE)
    output, _ = await program.communicate()
    assert program.returncode == 0
    return output.decode().strip()


@use
async def asyncio_queue(who: str, port: int) -> str:
    queue: asyncio.Queue[str] = asyncio.Queue(1)

    async def feed() -> None:
        for letter in who:
            await queue.put(letter)

    feeder = asyncio.create_task(feed())
    found = "".join([await queue.get() for _ in who])
    await feeder
    return found


@use
async def asyncio_event(who: str, port: int) -> str:
    event = asyncio.Event()
    asyncio.get_running_loop().call_soon(event.set)
    await event.wait()
    await event.wait()
    return who


@use
async def asyncio_lock(who: str, port: int) -> str:
    lock = asyncio.Lock()
    letters: list[str] = []

    async def add(letter: str) -> None:
        async with lock:
            await asyncio.sleep(0)
            letters.append(letter)

    async with lock:
        others = asyncio.gather(*map(add, who))
        await asyncio.sleep(0)
        assert not letters
    await others
    return "".join(letters)


@use
async def asyncio_condition(who: str, port: int) -> str:
    condition = asyncio.Condition()
    found: list[str] = []

    async def tell() -> None:
        async with condition:
            found.append(who)
            condition.notify_all()

    async with condition:
        teller = asyncio.create_task(tell())
        await condition.wait_for(lambda: found)
    await teller
    return found[0]


@use
async def asyncio_semaphore(who: str, port: int) -> str:
    semaphore = asyncio.BoundedSemaphore(1)
    async with semaphore:
        asyncio.get_running_loop().call_soon(semaphore.release)
        await semaphore.acquire()
    return who


@use
async def asyncio_barrier(who: str, port: int) -> str:
    barrier = asyncio.Barrier(2)
    other = asyncio.create_task(barrier.wait())
    assert {await barrier.wait(), await other} == {0, 1}
    return who


word: ContextVar[str] = ContextVar("word")


async def read_word() -> str:
    return word.get()


@use
async def asyncio_to_thread(who: str, port: int) -> str:
    word.set(who)
    return await asyncio.to_thread(word.get)


@use
async def asyncio_executor(who: str, port: int) -> str:
    return await asyncio.get_running_loop().run_in_executor(None, str, who)


@use
async def asyncio_future(who: str, port: int) -> str:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[str] = loop.create_future()
    threading.Thread(target=loop.call_soon_threadsafe, args=(future.set_result, who)).start()
    return await future


@use
async def asyncio_coroutine_threadsafe(who: str, port: int) -> str:
    found = asyncio.run_coroutine_threadsafe(asyncio.sleep(0, who), asyncio.get_running_loop())
    return await asyncio.wrap_future(found)


@use
async def asyncio_streams(who: str, port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /?who={who} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.decode().rpartition("\r\n\r\n")[2]


@use
async def asyncio_task_name(who: str, port: int) -> str:
    task = current()
    assert not task.get_name().startswith("named for")
    task.set_name(f"named for {who}")
    await asyncio.sleep(0)
    assert current() is task
    return task.get_name().removeprefix("named for ")


@use
async def asyncio_task_description(who: str, port: int) -> str:
    task = current()
    assert not task.done()
    assert not task.cancelled()
    assert task.get_loop() is asyncio.get_running_loop()
    assert task in asyncio.all_tasks()
    assert "pending" in repr(task)
    assert task.get_coro() is not None
    assert isinstance(task.get_stack(), list)
    return who


@use
async def asyncio_cancellation(who: str, port: int) -> str:
    task = current()
    task.cancel(who)
    assert task.cancelling() == 1
    try:
        await asyncio.sleep(LONG)
    except asyncio.CancelledError:
        assert task.uncancel() == 0
        return who
    return "was not cancelled"


class Holder:
    """Finds its way back by a weak reference to its task, as context managers of some libraries do."""

    def __enter__(self) -> None:
        self.task = weakref.ref(current())

    def __exit__(self, *error: object) -> None:
        assert self.task() is current()


@use
async def weak_references(who: str, port: int) -> str:
    with Holder():
        pass
    with Holder():
        await asyncio.sleep(0)
    return who


@use
async def context_variables(who: str, port: int) -> str:
    assert word.get(who) == who  # that of the device, from another event
    token = word.set(who)
    await asyncio.sleep(0)
    found = await asyncio.create_task(read_word())
    word.reset(token)
    return found


@use
async def async_generators(who: str, port: int) -> str:
    closed: list[str] = []

    async def letters() -> AsyncGenerator[str]:
        try:
            for letter in who * 2:
                yield letter
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            closed.append(who)

    found = ""
    async with contextlib.aclosing(letters()) as stream:
        async for letter in stream:
            found += letter
            if len(found) == len(who):
                break
    assert closed == [who]
    return found


@use
async def exit_stacks(who: str, port: int) -> str:
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(LONG))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        task = group.create_task(asyncio.sleep(0, who))
    return task.result()


@use
async def nothing(who: str, port: int) -> str:
    return who


# -- how they are called ------------------------------------------------------------------------------------------


def current() -> asyncio.Task[Any]:
    """The current task, of which there must be one."""
    task = asyncio.current_task()
    assert task is not None
    return task


class Kept:
    """What handlers store under their task, as libraries do, and what `on_update` stores under that of its sender."""

    def __init__(self) -> None:
        self.weakly: weakref.WeakKeyDictionary[asyncio.Task[Any], object] = weakref.WeakKeyDictionary()
        self.senders: weakref.WeakKeyDictionary[asyncio.Task[Any], str] = weakref.WeakKeyDictionary()
        self.tasks: list[asyncio.Task[Any]] = []
        self.wrong: list[str] = []

    @contextlib.contextmanager
    def weak(self) -> Iterator[None]:
        """Store a mark for the time of the block, and leave it there."""
        task, mark = current(), object()
        assert task not in self.weakly, "the task is not this handler's alone"
        assert task not in self.senders, "the task is that of an event that was sent before"
        self.weakly[task] = mark
        yield
        assert current() is task
        assert self.weakly[task] is mark

    @contextlib.contextmanager
    def strong(self) -> Iterator[None]:
        """Keep the task itself."""
        task = current()
        assert not any(task is one for one in self.tasks), "the task was another handler's"
        self.tasks.append(task)
        yield
        assert current() is task

    def on_update(self, client_id: str, event: str, data: Any) -> None:
        """Store who is sent to; what a handler has returned is sent by its task, or by none."""
        try:
            task = asyncio.current_task()
        except RuntimeError:  # a thread
            return
        if task is not None and self.senders.setdefault(task, client_id) != client_id:
            self.wrong.append(f"{event} to {client_id} is sent by the task that has sent to {self.senders[task]}")

    def check(self, *names: str) -> None:
        """Check that the handlers of these devices have ended, and had tasks of their own."""
        eventually(lambda: all(task.done() for task in self.tasks))
        assert {task.result() for task in self.tasks} <= {*names, None}
        self.tasks.clear()
        assert not self.wrong


WAYS = ("first", "later", "weak", "strong", "weak later", "weak and no more")


class Libraries(DeviceType):
    """Has a handler for each use; the event's value says how the use is called."""

    def __init__(self, port: int, kept: Kept) -> None:
        super().__init__("libraries")
        self.port = port
        self.kept = kept

    async def handle(self, function: Use, way: Any, client: IoTClient) -> str:
        """Make use of a library."""
        if way == "first":  # nobody has looked at the task
            return await function(client.id, self.port)
        if way == "later":
            await asyncio.sleep(0)
            return await function(client.id, self.port)
        if way == "strong":
            with self.kept.strong():
                return await function(client.id, self.port)
        with self.kept.weak():
            if way == "weak and no more":
                return client.id
            if way == "weak later":
                await asyncio.sleep(0)
            return await function(client.id, self.port)

    async def on_made(self, message: Any, client: IoTClient) -> bool:
        """Tell whether the factory has made the task."""
        return getattr(current().get_coro(), "__qualname__", "").startswith("traced")


def handler(function: Use) -> Callable[..., Awaitable[str]]:
    """A handler that makes use of a library."""

    async def on_use(self: Libraries, message: Any, client: IoTClient) -> str:
        return await self.handle(function, message, client)

    return on_use


for _name, _function in USES.items():
    setattr(Libraries, f"on_{_name}", handler(_function))


class Visitors(DeviceType):
    """Uses libraries wherever there may be an `async def`."""

    def __init__(self, kept: Kept) -> None:
        super().__init__("visitors", grace=0.05)
        self.kept = kept
        self.ran: list[tuple[str, str]] = []

    def of(self, name: str) -> list[str]:
        """What ran for this device."""
        return [what for what, whose in self.ran if whose == name]

    async def look(self, what: str, name: str) -> str:
        """Use a library, and tell that it works."""
        with self.kept.weak(), self.kept.strong(), anyio.fail_after(LONG):
            assert await anyio.to_thread.run_sync(lambda: name) == name
            self.ran.append((what, name))
            return name

    async def on_connect(self, client: IoTClient) -> None:
        await self.look("connect", client.id)

    # The default is for the type checker: the base class has no reason.
    async def on_disconnect(self, client: IoTClient, reason: DisconnectReason = DisconnectReason.REMOVED) -> None:
        await self.look("disconnect", client.id)

    async def on_presence(self, client: DeviceHandle, old: Presence, new: Presence, reason: Any) -> None:
        await self.look(str(new), client.id)

    async def on_look(self, message: Any, client: IoTClient) -> str:
        """Wait."""
        found = await self.look("look", client.id)
        client.emit("looking", message)  # `on_update` runs in this task
        return found

    async def on_glance(self, message: Any, client: IoTClient) -> str:
        """Wait for nothing."""
        with self.kept.weak():
            client.emit("glancing", message)
            return client.id


def traced(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> Any:
    """A task factory as error trackers set it."""

    async def traced() -> Any:
        return await work

    return asyncio.Task(traced(), loop=loop, **more)


# -- the tests ----------------------------------------------------------------------------------------------------


class Errors(logging.Handler):
    """Keeps what is logged as an error by anybody."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self.format(record))


@contextlib.contextmanager
def errors() -> Iterator[list[str]]:
    kept = Errors()
    logging.getLogger().addHandler(kept)
    try:
        yield kept.seen
    finally:
        logging.getLogger().removeHandler(kept)


class Who(BaseHTTPRequestHandler):
    """Answers with the value of the query."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.path.rpartition("=")[2].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def who_server() -> Iterator[int]:
    """The port of an HTTP server, for libraries to talk to."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Who) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


class Running(NamedTuple):
    """A host in a mode, with what its handlers keep, and two devices for the libraries."""

    host: LocalHost
    kept: Kept
    visitors: Visitors
    peers: dict[str, RawPeer]


@pytest.fixture(scope="module", params=[(kind, mode) for kind in HOSTS for mode in MODES], ids="-".join)
def running(request: pytest.FixtureRequest, who_server: int) -> Iterator[Running]:
    """Each host in each mode, one server for all tests."""
    kind, mode = request.param
    kept = Kept()
    with serve(kind, FAST, "memory") as host, contextlib.ExitStack() as stack:
        assert isinstance(host, LocalHost)
        host.manager.add_type(Libraries(who_server, kept))
        host.manager.add_type(visitors := Visitors(kept))
        host.manager.event(kept.on_update)
        peers = {name: stack.enter_context(connect(host, name)) for name in ("one", "two")}
        loop: asyncio.AbstractEventLoop = host.manager.run_awaitable(running_loop(), copy_context())
        if mode == "debug":
            loop.call_soon_threadsafe(loop.set_debug, True)
        if mode == "factory":
            loop.call_soon_threadsafe(loop.set_task_factory, traced)
            eventually(lambda: ask(peers["one"], "made"))
        yield Running(host, kept, visitors, peers)
        if mode == "factory":
            loop.call_soon_threadsafe(loop.set_task_factory, None)


async def running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


@contextlib.contextmanager
def connect(host: LocalHost, name: str) -> Iterator[RawPeer]:
    with host.peer(timeout=LONG) as peer:
        assert peer.upgrade(headers=v1_headers(name, "libraries")).status == 101
        eventually(lambda: host.manager.client(name) is not None)
        yield peer


def ask(peer: RawPeer, event: str, value: Any = "") -> Any:
    peer.send_binary(v1.encode(event, value))
    found, answer = answered(peer)
    assert found == event
    return answer


def answered(peer: RawPeer) -> Any:
    return v1.decode(peer.expect_frame().payload)


@pytest.mark.parametrize("name", USES)
def test_a_handler_uses_a_library(running: Running, name: str) -> None:
    _, kept, _, peers = running
    with errors() as logged:
        for way in WAYS:  # the device is idle, the other one is not
            for peer in peers.values():
                peer.send_binary(v1.encode(name, way))
            assert [answered(peer) for peer in peers.values()] == [(name, who) for who in peers], (way, logged)
        events = [(event, way) for way in WAYS for event in (name, "nothing")]
        for peer in peers.values():  # many wait, and what never waits is between what does
            peer.send_bytes(b"".join(encode_frame(Opcode.BINARY, v1.encode(*event)) for event in events))
        for who, peer in peers.items():
            assert [answered(peer) for _ in events] == [(event, who) for event, _ in events], logged
        kept.check(*peers)
    assert not logged


def test_callbacks_durable_events_and_calls_use_libraries(running: Running) -> None:
    host, kept, visitors, _ = running
    visitors.ran.clear()
    names = ("a", "b")
    with errors() as logged:
        with contextlib.ExitStack() as stack:
            devices = [V2Device(host.port, name, "visitors", {"sends": "S"}) for name in names]
            for device in devices:
                stack.enter_context(device)
            for number, event in enumerate(("look", "glance", "look", "glance", "glance"), 1):
                for device in devices:
                    device.send(event, "x")
                    device.send_packet(v2.encode(event, "x", v2.DURABLE, number=number, previous=number - 1))
                    device.send(event, "x", v2.CALL, call=number)
                for device in devices:
                    results = [packet.value for packet in take(device, number) if packet.flags & v2.RESULT]
                    assert results == [device.id], logged
        expected = ["connect", "online", *["look"] * 6, "disconnect", "offline"]
        for name in names:
            eventually(lambda name=name: len(visitors.of(name)) == len(expected))
            assert visitors.of(name) == expected, logged
        kept.check(*names)
    assert not logged


def take(device: V2Device, number: int) -> list[v2.Packet]:
    """What comes until the device has both the result of a call and the acknowledgement of that number."""
    found: list[v2.Packet] = []
    acknowledged = False
    while not acknowledged or not any(packet.flags & v2.RESULT for packet in found):
        packet = device.expect()
        if isinstance(packet, v2.Packet):
            found.append(packet)
        else:
            assert packet == v2.Ack(number)
            acknowledged = True
    return found
