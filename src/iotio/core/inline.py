"""Connections that run user code in the thread that reads: threads, greenlets, the in-memory pair."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from iotio_protocol import v2
from iotio_protocol.reasons import DisconnectReason
from iotio_protocol.session import Event

from .connection import Connection, Scope
from .dispatch import step_of
from .lane import Step
from .primitives import Signal

if TYPE_CHECKING:
    from .handles import IoTClient
    from .manager import Manager

__all__ = ["InlineConnection"]


class InlineConnection(Connection):
    """See the module, and `Connection` for the arguments.

    While a handler runs the connection is *busy*, and whoever *dismisses* it leaves the farewell to the handler's
    thread. A handler that is waited for no longer is *abandoned*.
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
        self._busy = False  # a thread is in user code of this device
        self._unhandled = 0  # events that `feed` returned and `handle` has not finished
        self._dismissed = False  # somebody waits for `on_disconnect`, or wants it out of the registry at once

    def wait_for(self, signal: Signal, timeout: float) -> bool:
        """Wait where user code may run (the lock is not held). Returns whether the signal was set."""
        raise NotImplementedError

    @property
    def busy(self) -> bool:
        return self._busy

    @property
    def is_reading(self) -> bool:
        return not self._busy and not self._unhandled

    def _note(self, events: list[Event]) -> None:
        self._unhandled += len(events)

    def feed(self, data: bytes) -> list[Event]:
        """See `Connection.feed`. Answers to calls are settled here: who waits for one may hold up what is handled."""
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
            step = step_of(self, event)
            if step is not None:
                self._run(step)
        finally:
            with self._lock:  # another thread may be reading
                self._unhandled -= 1

    def farewell(self) -> None:
        owed = self._leave()
        if owed is None:
            return
        try:
            for function in owed:
                self.handler_context.run_handler("disconnect", function, (self.client, self._gone))
            if self.client is not None and self.manager.notifier.waits(self.client.id):
                self.handler_context.run_handler("presence", self._tell_presence, ())
        finally:
            self._forget()

    def dismiss(self, reason: DisconnectReason) -> bool:
        with self._lock:
            self._close(reason)
            self._dismissed = True
            busy = self._busy or (self._unhandled > 0 and self.handles_received)
        if not busy:
            self.farewell_soon()
        return busy

    def farewell_soon(self) -> None:
        """Run `farewell` where it may wait; a host overrides this if the calling thread may be one that must not."""
        self.farewell()

    def abandon(self) -> None:
        with self._lock:
            if self._busy and self._handler_context is not None:
                self._context = self._handler_context.abandon(1)
        self.farewell()

    def _let_in(self, client: IoTClient) -> None:
        self._open()
        with self._lock:
            self._busy = True
        try:
            before = self.manager.registry.swap(client)
            if before is client:  # its own device has connected again since
                self.dismiss(DisconnectReason.TAKEOVER)
            elif before is not None:
                self._evict(before)
            self._greet(client)
            if before is not client:
                self._resume()
        finally:
            self._end_turn()

    def _evict(self, client: IoTClient) -> None:
        """End the connection that has had this id; its `on_disconnect` runs before this returns."""
        patience = self.manager.options.takeover_timeout
        before = client.socket
        busy = self.manager.connections.evict(client)
        if busy and not self.wait_for(before.farewell_done, patience):
            self._log_impatience()
            before.abandon()
        if not before.farewell_done.is_set:  # its own thread was quicker and is still at it
            self.wait_for(before.farewell_done, patience)

    def _greet(self, client: IoTClient) -> None:
        if self._enter(client):
            context = self.handler_context
            assert self._handlers is not None
            context.run_handler("connect", self._handlers.on_connect, (client,))
            context.run_handler("connect", self.manager.on_connect, (client,))
            if self.manager.notifier.waits(client.id):
                context.run_handler("presence", self._tell_presence, ())

    def _run(self, step: Step) -> None:
        """Run the handler of an event, and send what it returns."""
        if not self._begin_turn():
            return
        try:
            for event, function, arguments, _ in step.calls:
                result = self.handler_context.run_handler(event, function, arguments)
                if result is not None:
                    self._reply(event, result)
        finally:
            self._end_turn()

    def _begin_turn(self) -> bool:
        with self._lock:
            if not self.takes_events:
                return False
            self._busy = True
            return True

    def _end_turn(self) -> None:
        with self._lock:
            self._busy = False
            dismissed = self._dismissed and not self.handles_received
            context = self._handler_context
            abandoned = context is not None and context.n_abandoned > 0
        if dismissed:
            self.farewell()
        if context is not None and abandoned:
            context.abandoned_ended(1)
