"""What stands in the lane of a device of the native host: calls of user code, one after the other."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Any

from ..core.device_type import DeviceType
from ..core.manager import Manager

__all__ = ["Kind", "Step", "does_nothing"]


class Kind(Enum):
    """What a step of a lane is."""

    CONNECT = "connect"
    EVENT = "event"
    DISCONNECT = "disconnect"
    END = "end"  # the connection can be forgotten


class Step:
    """One call of user code in a device's lane."""

    __slots__ = ("arguments", "event", "function", "is_async", "kind")

    def __init__(self, kind: Kind, event: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.kind = kind
        self.event = event
        self.function = function
        self.arguments = arguments
        # The plain function: a bound one in the cache would keep its connection alive.
        self.is_async = kind is not Kind.END and _is_async(getattr(function, "__func__", function))


def does_nothing(function: Callable[..., Any]) -> bool:
    """Whether this is a callback that nobody has overridden: not worth a step."""
    return getattr(function, "__func__", None) in (DeviceType.on_connect, Manager.on_connect)


@lru_cache(maxsize=4096)
def _is_async(function: Callable[..., Any]) -> bool:
    """Each handler is looked at once."""
    return inspect.iscoroutinefunction(function)
