"""Make coroutines of awaitables: a task and `asyncio.run` take nothing else."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

__all__ = ["as_coroutine"]


async def as_coroutine(awaitable: Awaitable[Any]) -> Any:
    """Await anything that can be awaited: a coroutine, a future, an object with `__await__`."""
    return await awaitable
