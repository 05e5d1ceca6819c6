"""The lane of a device: its user code runs one step at a time, in order."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

from .primitives import Signal

__all__ = [
    "MAX_WAITING",
    "MAX_WAITING_BYTES",
    "TOO_MUCH_WAITS",
    "Call",
    "Kind",
    "Lane",
    "Step",
    "is_coroutine_function",
]

MAX_WAITING = 256
"""Events of a device that may wait for its handlers, or run; then the device is not read any more."""

MAX_WAITING_BYTES = 1024 * 1024
"""The same in bytes of their messages."""

TOO_MUCH_WAITS = "too much came before its answer, and waits for the handlers"
"""Why a call fails whose device has sent as much as may wait, and `max_payload` more."""

Call: TypeAlias = tuple[str, Callable[..., Any], tuple[Any, ...], bytes | None]
"""The event, or what is called for the log; the function; its arguments; and `Route.reply_head`, None where the answer
goes the way that every answer can go."""


class Kind(Enum):
    """The kinds of steps."""

    CONNECT = "connect"
    EVENT = "event"
    DISCONNECT = "disconnect"
    INTERNAL = "internal"  # a function of ours, which does not wait


class Step:
    """A piece of a lane that runs as a whole: one `async def`, or several `def`s in a row.

    Attributes:
        kind: of all its calls.
        calls: in order.
        is_async: whether it is the one call of an `async def`.
        size: bytes of the messages that it is made of, where they are events.
    """

    __slots__ = ("calls", "is_async", "kind", "size")

    def __init__(self, kind: Kind, calls: list[Call], *, is_async: bool, size: int = 0) -> None:
        self.kind = kind
        self.calls = calls
        self.is_async = is_async
        self.size = size

    @classmethod
    def of(cls, kind: Kind, event: str, function: Callable[..., Any], *arguments: Any) -> Step:
        """Make a step of one call."""
        is_async = kind is not Kind.INTERNAL and is_coroutine_function(function)
        return cls(kind, [(event, function, arguments, None)], is_async=is_async)


class Lane(Protocol):
    """Runs the steps of one device: one at a time, in order. How they run and wait is the host's."""

    @property
    def is_idle(self) -> bool:
        """Whether no step of the device runs, waits or is held back."""

    @property
    def is_busy(self) -> bool:
        """Whether a step runs."""

    @property
    def is_reading(self) -> bool:
        """Whether silence says something of the device: it is not read while it has too much to be handled."""

    @property
    def on_loop(self) -> bool:
        """Whether an `async def` step that does not wait runs at once, and a `def` one in another thread."""

    def expect(self, events: Sequence[Any]) -> None:
        """Note that these events were read, and that `Connection.handle` is about to be called for each.

        The lock of the connection is held.
        """

    def push(self, step: Step) -> None:
        """Run a step when all before it have ended."""

    def run(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function of ours, which does not wait, when all steps before it have ended."""

    def push_first(self, steps: list[Step]) -> None:
        """Run steps that are no events, in their order, before all that waits."""

    def call(self, function: Callable[[], None]) -> None:
        """Call a function of ours, which does not wait: now, or when the lane is held no longer. From any thread."""

    def call_soon(self, function: Callable[[], None]) -> None:
        """Like `call`, but not within the step that runs. From any thread."""

    def hold(self, until: Signal, patience: float, lost: Callable[[], None]) -> None:
        """Begin no step before a signal is set, or after two times `patience`.

        Args:
            until: the signal.
            patience: seconds to wait before `lost` is called, and then once more.
            lost: does what it can to have the signal set.
        """

    def limit(self, patience: float, lost: Callable[[str], None]) -> None:
        """From now on, until the lane is idle, call a function when one handler has run for too long.

        Args:
            patience: seconds that a handler may run.
            lost: gets the event; it does what it can to have the lane go on.
        """

    def drop_events(self) -> None:
        """Run no event that has not begun. From any thread; the lock of the connection may be held."""

    def abandon(self, older_than: float = 0.0) -> None:
        """Wait no longer for the step that runs. From any thread.

        Args:
            older_than: seconds; a step that has begun since is not abandoned: it is not the one that was waited for.
        """


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Whether a handler is an `async def`."""
    # The plain function: a bound one in the cache would keep its connection alive.
    return _is_async(getattr(function, "__func__", function))


@lru_cache(maxsize=4096)
def _is_async(function: Callable[..., Any]) -> bool:
    """Each handler is looked at once."""
    return inspect.iscoroutinefunction(function)
