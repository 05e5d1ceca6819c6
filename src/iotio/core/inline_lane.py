"""The lane of a device whose user code runs in the thread that reads: threads, greenlets, the in-memory pair.

A step runs at once. What runs as one, such as an event or the entry of the device, is a *turn*: a thread that wants to
tear the connection down meanwhile leaves that to the end of the turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, Protocol

from .handler_context import HandlerContext, Runner
from .lane import Kind, Step
from .primitives import Signal

__all__ = ["InlineLane"]


class Owner(Runner, Protocol):
    """The connection, as its lane needs it."""

    _handler_context: HandlerContext | None

    @property
    def context(self) -> Context: ...
    @property
    def takes_events(self) -> bool: ...
    @property
    def handler_context(self) -> HandlerContext: ...
    def abandon_calls(self, count: int) -> None: ...
    def answer(self, event: str, reply_head: bytes | None, result: Any) -> None: ...
    def wait_for(self, signal: Signal, timeout: float) -> bool: ...
    def run_aside(self, function: Callable[[], None]) -> None: ...


class InlineLane:
    """Runs the steps of one device in the thread that pushes them. See `iotio.core.lane.Lane`.

    Args:
        connection: what the steps are for; its lock guards the lane, and is not held while a step runs.
    """

    __slots__ = ("_abandoned", "_connection", "_drops_events", "_later", "_running", "_unhandled")

    def __init__(self, connection: Owner) -> None:
        self._connection = connection
        self._running = False  # a turn
        self._unhandled = 0  # events that were read and not handled to their end
        self._drops_events = False
        self._abandoned = False
        self._later: Callable[[], None] | None = None  # at the end of the turn

    on_loop = False

    @property
    def is_idle(self) -> bool:
        """Whether no turn runs and no event is still to be handled."""
        return not self._running and not self._unhandled

    @property
    def is_busy(self) -> bool:
        """Whether a turn runs."""
        return self._running

    @property
    def is_reading(self) -> bool:
        """Whether the device is being read: the thread that reads does nothing else."""
        return self.is_idle

    def expect(self, events: Sequence[Any]) -> None:
        """Note that these events were read; `handled` follows for each. The lock is held."""
        self._unhandled += len(events)

    def handled(self) -> None:
        """Note that an event is handled to its end."""
        with self._connection._lock:  # another thread may be reading
            self._unhandled -= 1

    def push(self, step: Step) -> None:
        """Run a step. An event of a device that is dismissed is dropped."""
        kind = step.kind
        if kind is Kind.DISCONNECT:  # it may run beside a turn, if that is abandoned
            self._run(step, self._connection.context)
            return
        with self._connection._lock:
            if kind is Kind.EVENT and (self._drops_events or not self._connection.takes_events):
                return
            if kind is Kind.CONNECT and self._abandoned:
                return
            begins, self._running = not self._running, True
            context = self._connection.context  # with the lock: once the turn is abandoned, the context is not its own
        try:
            self._run(step, context)
        finally:
            if begins:
                self._end_turn()

    def run(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function of ours. It is a turn, unless it is part of one."""
        self.push(Step.of(Kind.INTERNAL, "", function, *arguments))

    def push_first(self, steps: list[Step]) -> None:
        """Run steps; nothing waits here."""
        for step in steps:
            self.push(step)

    def call(self, function: Callable[[], None]) -> None:
        """Call a function of ours now, beside a turn that may run."""
        function()

    def call_soon(self, function: Callable[[], None]) -> None:
        """Call a function of ours when no turn runs and no event is to be handled any more: now or by that thread."""
        with self._connection._lock:
            waits = self._running or (self._unhandled > 0 and not self._drops_events)
            if waits:
                self._later = function
        if not waits:
            self._connection.run_aside(function)

    def hold(self, until: Signal, patience: float, lost: Callable[[], None]) -> None:
        """Wait here for a signal, at most two times `patience`; `lost` is called in between."""
        if not self._connection.wait_for(until, patience):
            lost()
            self._connection.wait_for(until, patience)

    def limit(self, patience: float, lost: Callable[[str], None]) -> None:
        """Do nothing: nobody but the thread that runs a step could find out that the device has gone."""

    def drop_events(self) -> None:
        """Run no event that has not begun. The lock is held."""
        self._drops_events = True

    def abandon(self, older_than: float = 0.0) -> None:
        """Wait no longer for the turn that runs. Nothing of it begins any more, and no other turn does."""
        with self._connection._lock:
            self._drops_events = self._abandoned = True
            if self._running:
                self._connection.abandon_calls(1)

    def _run(self, step: Step, context: Context) -> None:
        for event, function, arguments, reply_head in step.calls:
            if step.kind is Kind.INTERNAL:
                function(*arguments)
                continue
            result = self._connection.handler_context.run_handler(event, function, arguments, context)
            if result is not None and step.kind is Kind.EVENT:
                self._connection.answer(event, reply_head, result)

    def _end_turn(self) -> None:
        with self._connection._lock:
            self._running = False
            later = self._later if self._drops_events else None  # otherwise the thread has events, and then ends itself
            handler_context = self._connection._handler_context
            if handler_context is not None and not handler_context.n_abandoned:
                handler_context = None
        if later is not None:
            later()
        if handler_context is not None:
            handler_context.abandoned_ended(1)
