"""Let the connection of a device in, and tear it down: each once, in this order, whatever the host.

A device is let in: WELCOME is sent to a v2 device, the registry has the new connection in the place of an earlier one
of this id (`Registry.swap` decides which one is the earlier), the earlier one is evicted and its teardown awaited,
then `on_connect` runs, and durable messages flow.

A connection is torn down: `on_disconnect` runs if `on_connect` was called, then the client is unregistered.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from iotio_protocol.logs import Duration
from iotio_protocol.options import Options
from iotio_protocol.reasons import DisconnectReason

from .connection import Connection
from .handler_context import log_failure
from .handlers import does_nothing
from .handles import IoTClient
from .lane import Kind, Step
from .ports import Link
from .presence_notifier import PresenceNotifier
from .registry import Registry

__all__ = ["Lifecycle"]


_CONNECT = Kind.CONNECT  # to look up a member of an Enum takes its time


class Evictions(Protocol):
    """All connections of the server."""

    def evict(self, client: IoTClient) -> None: ...


class Twins(Protocol):
    """The twins of all devices."""

    def begin(self, connection: Connection) -> None: ...


class Server(Protocol):
    """What the lifecycle of connections needs of the server."""

    @property
    def options(self) -> Options: ...
    @property
    def registry(self) -> Registry: ...
    @property
    def connections(self) -> Evictions: ...
    @property
    def notifier(self) -> PresenceNotifier: ...
    @property
    def twins(self) -> Twins | None: ...
    @property
    def on_connect(self) -> Callable[..., Any]: ...


class Lifecycle:
    """Begins and ends the connections of one server for user code. See the module.

    Args:
        server: whose connections they are.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._registry = server.registry

    # -- the beginning ---------------------------------------------------------------------------------

    def let_in(self, connection: Connection) -> None:
        """Let a device in whose handshake is right. Runs user code, or has it run by the lane."""
        connection.open()
        connection.lane.run(self._take_place, connection)

    def _take_place(self, connection: Connection) -> None:
        """Enter the client in the registry; evict the one before, and have the lane wait for its teardown."""
        client = connection.client
        assert client is not None
        lane = connection.lane
        before = self._registry.swap(client)
        if before is client:  # its own device has connected again since
            self.dismiss(connection, DisconnectReason.TAKEOVER)
            return
        if before is not None:
            self._server.connections.evict(before)
            patience = self._server.options.takeover_timeout
            lane.hold(before.socket.teardown_done, patience, partial(self._lose_patience, connection, before.socket))
        lane.run(self._greet, connection, before is not None)

    def _lose_patience(self, connection: Connection, before: Link) -> None:
        """Wait no longer for the handler of an evicted connection; its `on_disconnect` runs now, and is awaited."""
        connection.log_throttle.warning(
            "takeover_timeout",
            "device %r connected again while a handler of its old connection has been running for more than"
            " %.0f s; it is not waited for any longer",
            connection.name,
            self._server.options.takeover_timeout,
        )
        before.abandon()

    def _greet(self, connection: Connection, replaces: bool) -> None:
        """Run `on_connect`, tell presence, let durable messages flow."""
        client, handlers = connection.client, connection.handlers
        assert client is not None
        assert handlers is not None
        if connection.enter():
            if connection.log_throttle.tells_news:
                _log_arrival(connection, client, replaces)
            device, twins = client.device, self._server.twins
            if twins is not None and (client.declared or (device is not None and device.twins is not None)):
                twins.begin(connection)  # before the handlers, which may look
            steps = [
                Step.of(_CONNECT, "connect", function, client)
                for function in (handlers.on_connect, self._server.on_connect)
                if not does_nothing(function)
            ]
            steps += self._presence_steps(_CONNECT, connection)
            if steps:
                connection.lane.push_first(steps)
        assert connection.durable is not None
        connection.durable.resume()

    # -- the end ---------------------------------------------------------------------------------------

    def dismiss(self, connection: Connection, reason: DisconnectReason) -> None:
        """Close a connection, and tear it down without waiting for the device to answer.

        The teardown follows the user code that runs; the calling thread may be within that.

        Args:
            connection: the one to end.
            reason: for `on_disconnect`.
        """
        connection.close(reason)
        connection.lane.call_soon(partial(self._tear_down, connection))

    def abandon(self, connection: Connection) -> None:
        """Tear a connection down now, although its user code may still run: that is waited for no longer."""
        # Less than the time-out: a loop's timer may be a little early.
        connection.lane.abandon(0.9 * self._server.options.takeover_timeout)
        self.tear_down(connection)

    def tear_down(self, connection: Connection) -> None:
        """Tear a connection down once, behind the steps that wait in its lane. Further calls do nothing."""
        connection.lane.call(partial(self._tear_down, connection))

    def _tear_down(self, connection: Connection) -> None:
        owed = connection.claim_teardown()
        if owed is None:
            return
        lane, client = connection.lane, connection.client
        if connection.since and connection.log_throttle.tells_news:
            _log_departure(connection)
        try:
            for function in owed:
                lane.push(Step.of(Kind.DISCONNECT, "disconnect", function, client, connection.gone))
            for step in self._presence_steps(Kind.DISCONNECT, connection):
                lane.push(step)
        finally:  # a server that takes the thread away does so by an exception
            lane.run(self._unregister, connection)
        if connection.gone is not DisconnectReason.TAKEOVER:  # the connection that takes over limits them
            self.limit_handlers(connection)

    def limit_handlers(self, connection: Connection) -> None:
        """Wait for no handler of a device that has gone for longer than `takeover_timeout`."""
        connection.lane.limit(self._server.options.takeover_timeout, partial(self._lose_handler, connection))

    def _lose_handler(self, connection: Connection, event: str) -> None:
        client = connection.client
        connection.log_throttle.warning(
            "abandoned",
            "the handler on_%s of type %r still runs %.0f s after device %r has gone; it is not waited for any longer",
            event,
            client.type if client is not None else "?",
            self._server.options.takeover_timeout,
            connection.name,
        )
        connection.lane.abandon()

    def _unregister(self, connection: Connection) -> None:
        if connection.client is not None:
            self._registry.discard(connection.client)
        connection.finish_teardown()

    # -- presence --------------------------------------------------------------------------------------

    def _presence_steps(self, kind: Kind, connection: Connection) -> list[Step]:
        """Return the step that calls `on_presence`, if a change of the device's presence waits for that."""
        notifier, client = self._server.notifier, connection.client
        if client is None or client.device is None or not notifier.waits(client.id):
            return []
        if notifier.is_async(client.device):
            failed = partial(log_failure, connection.log_throttle, client)
            return [Step.of(kind, "presence", notifier.tell_async, client.id, failed)]
        return [Step.of(kind, "presence", self._tell_presence, connection)]

    def _tell_presence(self, connection: Connection) -> None:
        assert connection.client is not None
        self._server.notifier.tell(connection.client.id, connection.handler_context.run_observer)


def _log_arrival(connection: Connection, client: IoTClient, replaces: bool) -> None:
    device, came = client.device, "connected"
    if replaces:
        came = "came back before its old connection had ended"
    elif device is not None and device.lasting.returned and device.lasting.last_seen:
        came = f"came back after {Duration(connection.manager.wall() - device.lasting.last_seen)}"
    text = "device %r %s: type %r, protocol %d, from %s"
    connection.log_throttle.info(
        "connected", text, client.id, came, client.type, connection.session.version, connection.peer
    )


def _log_departure(connection: Connection) -> None:
    reason = connection.gone or DisconnectReason.TRANSPORT_CLOSED
    there = Duration(connection.manager.clock() - connection.since)
    connection.log_throttle.info(
        "disconnected", "device %r disconnected after %s: %s", connection.name, there, reason.words
    )
