"""Connections whose user code runs in the thread that reads: threads, greenlets, the in-memory pair."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from iotio_protocol import v2
from iotio_protocol.session import Event

from .connection import Connection, Scope
from .inline_lane import InlineLane
from .primitives import Signal

if TYPE_CHECKING:
    from .manager import Manager

__all__ = ["InlineConnection"]


class InlineConnection(Connection):
    """See the module, and `Connection` for the arguments.

    Attributes:
        lane: runs the user code.
    """

    def __init__(
        self,
        manager: Manager,
        headers: Iterable[tuple[str, str]],
        *,
        peer: str = "",
        scope: Scope | None = None,
        subprotocol: str | None = None,
    ) -> None:
        super().__init__(manager, headers, peer=peer, scope=scope, subprotocol=subprotocol)
        self.lane: InlineLane = InlineLane(self)

    def wait_for(self, signal: Signal, timeout: float) -> bool:
        """Wait where user code may run (the lock is not held). Returns whether the signal was set."""
        raise NotImplementedError

    def run_aside(self, function: Callable[[], None]) -> None:
        """Run a function where it may wait; a host overrides this if the calling thread may be one that must not."""
        function()

    def feed(self, data: bytes) -> list[Event]:
        """See `Connection.feed`. Answers are given to their calls here: one may be awaited by what is handled now."""
        events = super().feed(data)
        if self._calls is None:
            return events
        rest = []
        for event in events:
            if v2.is_answer(event):
                self.handle(event)
            else:
                rest.append(event)
        return rest

    def handle(self, event: Event) -> None:
        """Do what an event asks for, in the order in which `feed` returned the events. Runs user code."""
        try:
            super().handle(event)
        finally:
            self.lane.handled()
