"""Generators of commands, run by plain functions and by coroutine functions."""

from __future__ import annotations

import asyncio
import gc
import inspect
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from iotio_client import commands
from iotio_client.commands import Command, Shell, Work, perform, perform_async
from iotio_client.task_shell import TaskShell
from iotio_client.thread_shell import ThreadShell

KINDS: list[Callable[..., Command]] = [
    one for one in vars(commands).values() if inspect.isfunction(one) and one.__annotations__["return"] == "Command"
]


class Calls:
    """Keeps what is called: any method, with its arguments."""

    def __init__(self) -> None:
        self.made: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: self.made.append((name, *args))


class Plain:
    """Calls functions."""

    def invoke(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        return function(*args)


class Awaited:
    """Calls functions, and lets others have their turn first."""

    async def invoke(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        await asyncio.sleep(0)
        return function(*args)


def run_plain(work: Work[Any]) -> Any:
    shell: Any = Plain()
    return perform(work, shell)


def run_awaited(work: Work[Any]) -> Any:
    shell: Any = Awaited()
    return asyncio.run(perform_async(work, shell))


BOTH = pytest.mark.parametrize("run", [run_plain, run_awaited])


def fails(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.__name__) for kind in KINDS])
def test_a_command_calls_the_method_of_its_name_with_its_arguments(kind: Callable[..., Command]) -> None:
    parameters = list(inspect.signature(kind).parameters)
    calls: Any = Calls()
    kind(*range(len(parameters)))(calls)
    assert calls.made == [(kind.__name__, *range(len(parameters)))]
    assert list(inspect.signature(getattr(Shell, kind.__name__)).parameters)[1:] == parameters
    for shell in (ThreadShell, TaskShell):
        method = getattr(shell, kind.__name__)
        assert len(inspect.signature(method).parameters) == len(parameters) + 1
        assert inspect.iscoroutinefunction(method) == (shell is TaskShell)


def test_there_are_as_many_commands_as_methods() -> None:
    assert len(KINDS) == len([name for name in vars(Shell) if not name.startswith("_")]) == 19


@BOTH
def test_results_are_sent_and_the_last_is_returned(run: Callable[[Work[Any]], Any]) -> None:
    def work() -> Work[Any]:
        first = yield commands.invoke(int, ("1",))
        second = yield from other(first)
        return first + second

    def other(value: int) -> Work[Any]:
        return (yield commands.invoke(lambda: value + 1, ()))

    def nothing() -> Work[str]:
        yield from ()
        return "done"

    assert run(work()) == 3
    assert run(nothing()) == "done"


@BOTH
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_errors_are_thrown_in_and_come_out(run: Callable[[Work[Any]], Any], error: type[BaseException]) -> None:
    def work(swallow: bool) -> Work[str]:
        try:
            yield commands.invoke(fails, (error("first"),))
        except error as caught:
            seen.append(str(caught))
            if not swallow:
                raise
        finally:
            seen.append((yield commands.invoke(str, ("cleaned up",))))
        return "after"

    seen: list[str] = []
    assert run(work(True)) == "after"
    with pytest.raises(error, match="first"):
        run(work(False))
    assert seen == ["first", "cleaned up"] * 2


@BOTH
def test_an_error_of_the_generator_itself(run: Callable[[Work[Any]], Any]) -> None:
    def work() -> Work[None]:
        yield commands.invoke(str, ())
        raise LookupError("own")

    with pytest.raises(LookupError, match="own"):
        run(work())


def test_stop_iteration_of_a_function_is_no_end_of_the_generator() -> None:
    def work() -> Work[str]:
        try:
            yield commands.invoke(next, (iter(()),))
        except StopIteration:
            return "caught"
        return "missed"

    assert run_plain(work()) == "caught"


def test_a_cancellation_is_thrown_in() -> None:
    seen = []

    class Waiting(Awaited):
        async def sleep(self, seconds: float) -> None:
            seen.append("waits")
            await asyncio.sleep(seconds)

    def work() -> Work[None]:
        try:
            yield commands.sleep(1000)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        finally:
            yield commands.invoke(seen.append, ("cleaned up",))

    async def main() -> None:
        shell: Any = Waiting()
        task = asyncio.create_task(perform_async(work(), shell))
        while not seen:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == ["waits", "cancelled", "cleaned up"]


@BOTH
def test_an_error_is_not_kept(run: Callable[[Work[Any]], Any]) -> None:
    """Neither while the next command runs, nor by a circle with its traceback."""

    class Failure(Exception):
        pass

    alive: list[weakref.ref[Failure]] = []

    def fail() -> None:
        error = Failure()
        alive.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    def work(again: bool) -> Work[Any]:
        try:
            yield commands.invoke(fail, ())
        except Failure:
            if again:
                raise
        return (yield commands.invoke(lambda: alive[-1]() is not None, ()))

    async def caught(shell: Any) -> None:  # in here, for asyncio has circles of its own
        with suppress(Failure):
            await perform_async(work(True), shell)

    gc.disable()
    try:
        assert not run(work(False))
        if run is run_plain:
            with suppress(Failure):
                run(work(True))
        else:
            asyncio.run(caught(Awaited()))
        assert alive[-1]() is None
    finally:
        gc.enable()
