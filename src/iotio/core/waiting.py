"""Wait for a signal on an event loop, whichever that is, and refuse to wait in a thread that runs one."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from .primitives import Signal

__all__ = ["check_no_loop", "is_cancelled", "loop_runs_here", "wait_on_loop"]


async def wait_on_loop(signal: Signal, timeout: float | None) -> bool:
    """Wait until the signal is set; the loop goes on meanwhile.

    Args:
        signal: what to wait for.
        timeout: seconds; None waits as long as it takes.

    Returns:
        Whether it is set.
    """
    if signal.is_set:
        return True
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    def happened() -> None:
        if asyncio._get_running_loop() is loop:
            wake()
            return
        with suppress(RuntimeError):  # that loop is closed: nobody waits there any more
            loop.call_soon_threadsafe(wake)

    signal.add_callback(happened)
    timer = None if timeout is None else loop.call_later(timeout, wake)
    try:
        await future
    finally:
        if timer is not None:
            timer.cancel()
    return signal.is_set


def is_cancelled(error: BaseException) -> bool:
    """Return whether an error is what a task raises that was cancelled."""
    return isinstance(error, asyncio.CancelledError)


def loop_runs_here() -> bool:
    """Return whether an event loop is running in this thread, which then must not wait."""
    return asyncio._get_running_loop() is not None


def check_no_loop(function: str, instead: str) -> None:
    """Raise an error in a thread that runs an event loop, which would stand still while the thread waits.

    Args:
        function: the name of the function that was called and would wait.
        instead: what to write in its place.

    Raises:
        RuntimeError: an event loop is running here.
    """
    if loop_runs_here():
        raise RuntimeError(f"{function} would block the event loop that runs in this thread: write {instead}")
