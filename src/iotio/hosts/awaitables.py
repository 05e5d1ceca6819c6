"""Make coroutines of awaitables: a task and `asyncio.run` take nothing else."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

__all__ = ["ENDS_LOOPS", "as_coroutine", "contained"]

ENDS_LOOPS = (KeyboardInterrupt, SystemExit)
"""What a task raises again in its loop, which then ends. For a handler's task that is the end of all devices."""


async def as_coroutine(awaitable: Awaitable[Any]) -> Any:
    """Await anything that can be awaited: a coroutine, a future, an object with `__await__`.

    Raises:
        RuntimeError: it has raised one of ENDS_LOOPS, which is the cause.
    """
    try:
        return await awaitable
    except ENDS_LOOPS as error:
        raise contained(error) from error


def contained(error: BaseException) -> RuntimeError:
    """Return the error to raise from one of ENDS_LOOPS, in its place."""
    return RuntimeError(f"a handler has raised {type(error).__name__}, which ends neither the loop nor the program")
