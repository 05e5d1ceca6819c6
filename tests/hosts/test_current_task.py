"""`async def` handlers have a task of their own, as far as libraries can tell: on every host in this process."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import anyio.to_thread
import pytest
from starlette.concurrency import run_in_threadpool

from iotio import DeviceType, IoTClient
from iotio.hosts.timing import SWEEP_INTERVAL
from iotio_protocol import v1
from tests.support.hosts import FAST, IN_PROCESS, LocalHost, eventually, serve_local
from tests.support.wire import RawPeer, v1_headers

ROUNDS = 5


class Scope:
    """A context manager that finds its way back by a weak reference to its task, as some libraries do."""

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task = weakref.ref(task)

    def __exit__(self, *error: object) -> None:
        assert self.task() is asyncio.current_task()


class Curious(DeviceType):
    """Its handlers look at their task; they return "ok"."""

    def __init__(self) -> None:
        super().__init__("curious")
        self.kept: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self.tasks: list[Any] = []
        self.loop: asyncio.AbstractEventLoop | None = None

    async def on_weak(self, message: Any, client: IoTClient) -> str:
        """Store something under the task before the first await."""
        task = asyncio.current_task()
        found = self.kept.get(task)
        self.kept[task] = client.id
        return "ok" if found is None else f"found that of {found}"

    async def on_weak_later(self, message: Any, client: IoTClient) -> str:
        """Store something before and look for it after the first await."""
        task = asyncio.current_task()
        if task in self.kept:
            return "was there before"
        self.kept[task] = client.id
        await asyncio.sleep(0)
        return "ok" if self.kept.get(asyncio.current_task()) == client.id else "is lost"

    async def on_scopes(self, message: Any, client: IoTClient) -> str:
        """Be in a scope over an await and over none."""
        with Scope():
            pass
        with Scope():
            await asyncio.sleep(0)
        return "ok"

    async def on_strong(self, message: Any, client: IoTClient) -> str:
        """Keep the task."""
        task = asyncio.current_task()
        assert task is not None
        found = any(task is one for one in self.tasks)
        self.tasks.append(task)
        return "found again" if found else "ok"

    async def on_named(self, message: Any, client: IoTClient) -> str:
        """Name the task."""
        task = asyncio.current_task()
        assert task is not None
        if task.get_name() == "named":
            return "named before"
        task.set_name("named")
        if message:
            await asyncio.sleep(0)
        return "ok" if task.get_name() == "named" else task.get_name()

    async def on_names(self, message: Any, client: IoTClient) -> str:
        """Tell the name and keep nothing."""
        task = asyncio.current_task()
        assert task is not None
        return task.get_name()

    async def on_listed(self, message: Any, client: IoTClient) -> str:
        """Be in the list of all tasks, before and after an await."""
        before = asyncio.current_task() in asyncio.all_tasks()
        await asyncio.sleep(0)
        return "ok" if before and asyncio.current_task() in asyncio.all_tasks() else "not in all_tasks()"

    async def on_anyio(self, message: Any, client: IoTClient) -> str:
        """Use what httpx uses."""
        with anyio.CancelScope():
            pass
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep, 0)
            found = await anyio.to_thread.run_sync(lambda: "ok")
        with anyio.move_on_after(0.001):
            await anyio.sleep(30)
        return found

    async def on_threadpool(self, message: Any, client: IoTClient) -> str:
        """Use Starlette's thread pool first of all."""
        return await run_in_threadpool(lambda: "ok")

    async def on_timeout(self, message: Any, client: IoTClient) -> str:
        """Use asyncio's own."""
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(30)
        except TimeoutError:
            return "ok"
        return "no timeout"

    async def on_loop(self, message: Any, client: IoTClient) -> str:
        """Tell the test the loop."""
        self.loop = asyncio.get_running_loop()
        return "ok"

    async def on_short(self, message: Any, client: IoTClient) -> str:
        """Wait for nothing."""
        return "ok"

    async def on_number(self, message: Any, client: IoTClient) -> int:
        """Return what is encoded at length."""
        return 5

    async def on_long(self, message: Any, client: IoTClient) -> str:
        """Wait."""
        await asyncio.sleep(0.001)
        return "ok"


EVENTS = [
    "weak",
    "weak_later",
    "scopes",
    "strong",
    "named",
    "listed",
    "anyio",
    "threadpool",
    "timeout",
    "short",
    "long",
]


@pytest.fixture(params=IN_PROCESS)
def curious(request: pytest.FixtureRequest) -> Iterator[tuple[LocalHost, Curious]]:
    with serve_local(request.param, FAST) as host:
        handlers = Curious()
        host.manager.add_type(handlers)
        yield host, handlers


@contextlib.contextmanager
def connected(host: LocalHost, *ids: str) -> Iterator[list[RawPeer]]:
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(host.peer()) for _ in ids]
        for peer, client_id in zip(peers, ids, strict=True):
            assert peer.upgrade(headers=v1_headers(client_id, "curious")).status == 101
            eventually(lambda client_id=client_id: host.manager.client(client_id) is not None)
        yield peers


def ask(peer: RawPeer, event: str, value: Any = "") -> Any:
    peer.send_binary(v1.encode(event, value))
    found, answer = v1.decode(peer.expect_frame().payload)
    assert found == event
    return answer


def test_the_current_task_is_one_of_the_handlers_own(curious: tuple[LocalHost, Curious]) -> None:
    host, _ = curious
    with connected(host, "a", "b") as peers:
        for _ in range(ROUNDS):
            for event in EVENTS:
                for peer in peers:
                    assert ask(peer, event) == "ok", event
        burst = v1.encode("weak", "")
        for peer in peers:
            for _ in range(ROUNDS):
                peer.send_binary(burst)
            assert [v1.decode(peer.expect_frame().payload)[1] for _ in range(ROUNDS)] == ["ok"] * ROUNDS
        assert ask(peers[0], "named", 1) == "ok"
        assert len({ask(peer, "names") for peer in peers for _ in range(ROUNDS)}) == ROUNDS * len(peers)


def test_what_on_update_stores_is_not_found_by_another_handler(curious: tuple[LocalHost, Curious]) -> None:
    """It runs in the sender; where a handler has returned what is sent, that is the handler's task, or none."""
    host, handlers = curious
    found: list[str] = []

    def on_update(client_id: str, event: str, data: Any) -> None:
        with contextlib.suppress(RuntimeError):  # in a thread there is no task
            if (task := asyncio.current_task()) is not None and handlers.kept.setdefault(task, client_id) != client_id:
                found.append(f"{event} to {client_id} found {handlers.kept[task]}")

    host.manager.event(on_update)
    with connected(host, "a", "b") as peers:
        for _ in range(ROUNDS):
            for event in ("short", "weak_later", "number", "weak"):
                for peer in peers:
                    assert ask(peer, event) == (5 if event == "number" else "ok")
    assert not found


def test_a_task_that_was_kept_is_done_when_its_handler_is(curious: tuple[LocalHost, Curious]) -> None:
    host, handlers = curious
    with connected(host, "a") as (peer,):
        assert ask(peer, "strong") == "ok"
        eventually(lambda: handlers.tasks[0].done())
        assert handlers.tasks[0].result() == "ok"


Factory = Callable[..., Any]
MADE: list[str] = []


def plain(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> Any:
    """The factory of the documentation."""
    MADE.append(work.__qualname__)
    return asyncio.Task(work, loop=loop, **more)


def wrapping(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> Any:
    """What error trackers set: it wraps the coroutine."""

    async def traced() -> Any:
        MADE.append(work.__qualname__)
        return await work

    return asyncio.Task(traced(), loop=loop, **more)


FACTORIES: list[Factory] = [plain, wrapping]


@pytest.mark.parametrize("factory", FACTORIES)
def test_a_task_factory(curious: tuple[LocalHost, Curious], factory: Factory) -> None:
    host, handlers = curious
    with connected(host, "a", "b") as peers:
        assert ask(peers[0], "loop") == "ok"
        loop = handlers.loop
        assert loop is not None
        loop.call_soon_threadsafe(loop.set_task_factory, factory)
        for _ in range(ROUNDS):
            for event in EVENTS:
                for peer in peers:
                    assert ask(peer, event) == "ok", event

        def is_asked() -> bool:
            MADE.clear()
            return ask(peers[0], "short") == "ok" and "Curious.on_short" in MADE

        eventually(is_asked, 10 * SWEEP_INTERVAL)
        for event in EVENTS:
            MADE.clear()
            assert ask(peers[1], event) == "ok"
            assert f"Curious.on_{event}" in MADE
        loop.call_soon_threadsafe(loop.set_task_factory, None)
        assert ask(peers[0], "long") == "ok"
        assert ask(peers[1], "short") == "ok"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 has brought eager tasks")
@pytest.mark.parametrize("curious", ["gevent", "flask"], indirect=True)
def test_eager_tasks(curious: tuple[LocalHost, Curious]) -> None:
    """The factory itself, as anyio knows no other for eager; where the loop is asyncio's own and is ours alone.

    uvloop gives it arguments that the one of Python 3.13 does not take, and uvicorn does not run with it.
    """
    host, handlers = curious
    with connected(host, "a", "b") as peers:
        assert ask(peers[0], "loop") == "ok"
        loop = handlers.loop
        assert loop is not None
        loop.call_soon_threadsafe(loop.set_task_factory, getattr(asyncio, "eager_task_factory"))  # noqa: B009
        try:
            end = time.monotonic() + 2 * SWEEP_INTERVAL  # it is noticed within one
            while time.monotonic() < end:
                for event in EVENTS:
                    for peer in peers:
                        assert ask(peer, event) == "ok", event
        finally:
            loop.call_soon_threadsafe(loop.set_task_factory, None)
