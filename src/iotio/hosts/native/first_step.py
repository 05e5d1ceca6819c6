"""Run the first step of a coroutine; `first_step.pyx` has the same for the compiled native host."""

from __future__ import annotations

from collections.abc import Coroutine
from sys import getrefcount
from typing import TYPE_CHECKING, Any
from weakref import getweakrefcount

if TYPE_CHECKING:
    from .stand_in import FirstStep

__all__ = ["finishes", "references"]


def finishes(me: FirstStep, work: Coroutine[Any, Any, Any]) -> bool:
    """Run a coroutine's first step.

    Returns:
        Whether the coroutine ended in it. `me.result` is the coroutine's result then, otherwise what it waits for.

    Raises:
        BaseException: what the coroutine raised.
    """
    me.work = work
    try:
        me.result = work.send(None)
    except StopIteration as end:
        me.result = end.value
        return True
    return False


def references(task: object) -> int:
    """Count the references to a task, strong and weak ones, in a number that differs if either differs."""
    return getrefcount(task) | getweakrefcount(task) << 32
