"""What stands in the lane of a device of the native host: calls of user code, one after the other."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Any, TypeAlias

__all__ = ["Call", "Kind", "Step", "is_coroutine_function"]

Call: TypeAlias = tuple[str, Callable[..., Any], tuple[Any, ...], bytes | None]
"""The event, or what is called for the log; the function; its arguments; and `Route.reply_head`, None where the answer
goes the way that every answer can go."""


class Kind(Enum):
    """What a step of a lane is."""

    CONNECT = "connect"
    EVENT = "event"
    DISCONNECT = "disconnect"
    INTERNAL = "internal"  # a function of ours, which does not wait


class Step:
    """What runs in one piece in a device's lane: one `async def`, or `def`s that a worker runs in a row.

    Attributes:
        kind: of all its calls.
        calls: in order.
        is_async: whether it is the one call of an `async def`.
    """

    __slots__ = ("calls", "is_async", "kind")

    def __init__(self, kind: Kind, calls: list[Call], *, is_async: bool) -> None:
        self.kind = kind
        self.calls = calls
        self.is_async = is_async

    @classmethod
    def of(cls, kind: Kind, event: str, function: Callable[..., Any], *arguments: Any) -> Step:
        """A step of one call."""
        is_async = kind is not Kind.INTERNAL and is_coroutine_function(function)
        return cls(kind, [(event, function, arguments, None)], is_async=is_async)


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Whether a handler is an `async def`."""
    # The plain function: a bound one in the cache would keep its connection alive.
    return _is_async(getattr(function, "__func__", function))


@lru_cache(maxsize=4096)
def _is_async(function: Callable[..., Any]) -> bool:
    """Each handler is looked at once."""
    return inspect.iscoroutinefunction(function)
