"""The handler of packets of one kind: what the hot path of the native host looks up."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["Route"]


class Route:
    """A handler with all that is known of its packets beforehand.

    Attributes:
        event: the event's name.
        function: its handler.
        is_async: whether the handler is an `async def`.
        kind: the type byte of the value.
        reply_head: the bytes that the packet of an answer begins with, if the answer is a str.
    """

    __slots__ = ("event", "function", "is_async", "kind", "reply_head")

    def __init__(self, event: str, function: Callable[..., Any], kind: int, reply_head: bytes) -> None:
        self.event = event
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        self.kind = kind
        self.reply_head = reply_head
