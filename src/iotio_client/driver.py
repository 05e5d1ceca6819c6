"""What both clients decide: how a connection begins and ends, and what is done with each message.

Without threads, tasks and sockets: methods that return `Work` are generators, which yield commands to the shell that
runs them (`commands.py`).
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from time import time as wall_clock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NotRequired, Protocol, TypedDict, TypeVar, cast

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.protocol import State as WireState
from websockets.typing import Subprotocol
from websockets.version import version as websockets_version

from iotio_protocol import v2
from iotio_protocol.calls import check_timeout
from iotio_protocol.errors import CallDisconnected, EncodeError, InvalidData, InvalidPacket
from iotio_protocol.logs import show_lines
from iotio_protocol.options import MAX_SECONDS, Options
from iotio_protocol.readings import READINGS, REPORT, write_readings
from iotio_protocol.unread import Unread
from iotio_protocol.version import __version__

from . import commands
from .backoff import Backoff
from .calls import Waiter, timed_out
from .client_log import ClientLog
from .commands import Command, Work
from .durable import Flushes
from .errors import BufferFailed, ClientError, ConnectFailed, ConnectionBroken, ConnectionLost, NotConnected
from .failures import (
    CONNECT_ERRORS,
    FailedAttempts,
    connect_failure,
    connection_lost,
    not_let_in,
    refusal,
    wire_headers,
)
from .handlers import Handlers
from .inbox import Inbox
from .liveness import Liveness
from .message import Message, current_message, milliseconds
from .periodic import Periodic
from .received import Acknowledged, Alive, Answer, Dispatch, Ignored, Received, ServerError
from .session import Session, State
from .target import Target
from .upgrade import HeaderChoice, Headers

if TYPE_CHECKING:  # a TypedDict takes long to make, and only what checks types needs it

    class ConnectArguments(TypedDict):
        """What both flavours of the library's `connect` take."""

        subprotocols: NotRequired[list[Subprotocol]]
        additional_headers: list[tuple[str, str]]
        user_agent_header: str
        compression: None
        proxy: Any
        open_timeout: float
        ping_interval: None
        close_timeout: float | None
        max_size: int
        max_queue: int


__all__ = ["DEFAULT_TIMEOUT", "Changed", "Driver", "OnOneLoop", "raise_unless_clean"]

_READ_AHEAD = 16  # messages that the library reads before they are received; each has `max_message` bytes at most

_NO_EVENT = "the name of an event must not be empty"

DEFAULT_TIMEOUT = 20.0
"""Seconds for connecting, and for each write: long enough for TLS on a small board behind a phone."""


class Wire(Protocol):
    """Describe the part of the WebSocket library that has no I/O, which both flavours give what comes."""

    receive_data: Callable[[bytes], None]


class Connection(Protocol):
    """Describe what the driver wants to know of a connection of the WebSocket library, of either flavour."""

    @property
    def protocol(self) -> Any: ...

    @property
    def state(self) -> WireState: ...

    @property
    def subprotocol(self) -> Subprotocol | None: ...


class Changed(Protocol):
    """Guard the session's state, and tell of its changes: a condition of threads, or `OnOneLoop`."""

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> object: ...

    def notify_all(self) -> None: ...


class OnOneLoop:
    """Guard nothing, as all that uses the session runs on one event loop."""

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...

    def notify_all(self) -> None:
        """Do nothing: tasks wait by other means."""


_C = TypeVar("_C", bound=Connection)
_W = TypeVar("_W", bound=Waiter)


class Driver(Generic[_C, _W]):
    """Decide what a client does, in steps that a shell carries out.

    Args:
        owner: the client, whose `on_connect`, `on_disconnect` and `on_error` are called.
        session: the protocol's side of it.
        handlers: its handlers.
        options: limits, pings and the time a CLOSE may take.
        logger: its log.
        changed: guards the session's state; never held while user code runs.
        waiter: makes what the caller of an event waits by.

    Attributes:
        session: as above.
        options: as above.
        logger: as above.
        changed: as above.
        connection: the one that the client counts as connected by, or None.
        flushes: who waits in `flush`.
        periodic: what is called every so many seconds.
        stopping: the client has been told to stop; the loops look at it between two messages.
        finishing: the connection is being ended, and `on_disconnect` called.
        limit: seconds for a write.
    """

    def __init__(
        self,
        owner: object,
        session: Session,
        handlers: Handlers,
        options: Options,
        logger: logging.Logger,
        *,
        changed: Changed,
        waiter: Callable[[str], _W],
    ) -> None:
        self.session = session
        self.options = options
        self.logger = logger
        self.changed = changed
        self.connection: _C | None = None
        self.flushes: Flushes[_W] = Flushes(session.buffer, partial(waiter, "flush"))
        self.periodic: list[Periodic] = []
        self.stopping = False
        self.finishing = False
        self._owner = owner
        self._handlers = handlers
        self._waiter = waiter
        self.limit = DEFAULT_TIMEOUT
        self._said_farewell: _C | None = None  # GOODBYE is sent once
        self._told_fallback = False
        self._lean: bool | None = None  # see `HeaderChoice`
        self._failures = FailedAttempts()
        self._log = ClientLog(logger, session, handlers)

    @property
    def connected(self) -> bool:
        """Whether there is a connection to send on."""
        connection = self.connection
        return connection is not None and self.session.state is State.OPEN and connection.state is WireState.OPEN

    def asked_to_stop(self) -> bool:
        """Whether the client has been told to stop."""
        return self.stopping

    def check_free(self) -> None:
        """Raise ClientError if the client is connected or connecting."""
        if self.session.state not in (State.IDLE, State.ENDED):
            raise ClientError("this client is connected, or connecting, already")

    def begin(self) -> None:
        """Count as not ended, as a run is about to begin: who waits for it, or stops it, need not wait for its thread.

        Raises:
            ClientError: the client is connected or connecting.
        """
        with self.changed:
            self.check_free()
            self.session.begin()

    def why_not_connected(self) -> str:
        """Return what an error says when nothing can be sent."""
        if self.session.state is State.IDLE:
            return "nothing can be sent before the client has connected: call run() or connect() first"
        if self.session.state in (State.CONNECTING, State.WAITING):
            return "nothing can be sent now: the client is not connected, and tries to"
        return "nothing can be sent: the connection has ended"

    # The life of connections.

    def run(self, target: Target, limit: float, backoff: Backoff | None) -> Work[None]:
        """Connect, receive, and connect again until `stopping`. `backoff` None: one connection only."""
        while not self.asked_to_stop():
            end = yield from self._attempt(target, limit)
            if self.asked_to_stop():
                return
            if end is None or backoff is None or not end.retry:
                if end is not None and backoff is not None:
                    self.logger.error("%s; it is not tried again", end)
                return raise_unless_clean(end)
            slow = isinstance(end, ConnectFailed) and end.slow
            with self.changed:
                wait = min(self.session.wait(time.monotonic(), backoff, longest=slow), MAX_SECONDS)
            self._log.waits(end, wait, is_news=self._failures.is_news(end))
            yield commands.sleep(wait)

    def _attempt(self, target: Target, limit: float) -> Work[ClientError | None]:
        """Make one connection and receive to its end. Returns why it ended, None after `stop`."""
        try:
            yield from self.open(target, limit)
        except ConnectFailed as error:
            return error
        yield commands.announce()
        return (yield from self.receive())

    def open(self, target: Target, limit: float) -> Work[None]:
        """Connect within `limit` seconds, then call `on_connect`.

        Raises:
            ConnectFailed: there is no connection.
            DeviceRejected: the server refuses this device.
            ClientError: the client is connected already.
        """
        deadline = time.monotonic() + limit
        with self.changed:
            headers = self.session.connecting()
        self.limit = limit
        show_lines()
        self.logger.debug("connecting to %s", target.where)
        connection: _C | None = None
        try:
            connection = yield from self._upgraded(target, headers, deadline)
            yield from self._introduce(connection, target, deadline)
            yield from self._opened(connection)
        except ClientError:
            raise
        except (*CONNECT_ERRORS, ValueError) as error:
            if not isinstance(error, CONNECT_ERRORS) and refusal(error) is None:
                raise
            raise self._failures.judge(connect_failure(error, target, limit), target) from error
        finally:
            if connection is None or connection is not self.connection:  # Ctrl-C, a cancellation or the like, too
                yield commands.abort(connection)
        self._failures.connected(target)
        self._log.connected(target)
        try:
            yield from self._call("on_connect")
        except BaseException:  # stopped, cancelled, sys.exit() or Ctrl-C in there: nobody will call handle()
            yield from self.finish(connection)
            raise

    def _upgraded(self, target: Target, headers: Headers, deadline: float) -> Work[_C]:
        """Open a connection; with another request if a proxy or a server of v1 only needs one, see `HeaderChoice`."""
        choice = HeaderChoice(headers, twice=bool(self.session.subprotocols), lean=self._lean)
        refused: InvalidStatus | None = None
        while True:
            left = max(deadline - time.monotonic(), 0)
            try:
                opened = yield commands.open(target, self._connect_arguments(target, choice.headers, left), left)
            except InvalidStatus as error:
                if not choice.refused(error.response.status_code):
                    raise
                refused = error
                yield commands.abort(None)
                continue
            connection = cast("_C", opened)
            if headers and choice.is_lean and connection.subprotocol is None:
                yield from self._leave(connection)
                if choice.agreed_on_none():
                    continue
                raise refused or ConnectionError("the server is another one at each request")
            if headers:
                self._lean = choice.is_lean
            return connection

    def _leave(self, connection: _C) -> Work[None]:
        """Close a connection in order that has not come to count."""
        try:
            yield commands.close(connection)
        finally:
            yield commands.abort(connection)

    def _connect_arguments(self, target: Target, headers: Headers, limit: float) -> ConnectArguments:
        options = self.options
        arguments: ConnectArguments = {
            "additional_headers": wire_headers(headers),
            "user_agent_header": _USER_AGENT,
            "compression": None,
            "proxy": target.proxy,
            "open_timeout": limit,
            "ping_interval": None,  # `Liveness` sees to that: the library asks a busy server, too, and knows no WELCOME
            "close_timeout": options.close_timeout,
            "max_size": options.max_message,
            "max_queue": _READ_AHEAD,
        }
        if self.session.subprotocols:
            arguments["subprotocols"] = cast("list[Subprotocol]", self.session.subprotocols)
            arguments["max_size"] = v2.max_message(options)
        return arguments

    def _introduce(self, connection: _C, target: Target, deadline: float) -> Work[None]:
        """Say who this is, and wait until the server agrees where it says so."""
        try:
            greeting = self._agreed(connection.subprotocol)
            if greeting is not None:
                yield commands.send(greeting, connection, max(deadline - time.monotonic(), 0))
            if self.session.unwelcomed:
                message = yield commands.receive(connection, max(deadline - time.monotonic(), 0))
                received = self.session.welcome(message, time.monotonic(), wall_clock())
                if received is not None:
                    yield from self._take(received, connection)
            # Alone: who still sends over the last connection sees that it is over.
            yield commands.in_buffer(self.session.durable.resume, alone=True)
        except ConnectionClosed as error:
            raise not_let_in(error, target) from error
        except ClientError:
            yield commands.close(connection)
            raise

    def _agreed(self, subprotocol: str | None) -> bytes | str | None:
        """See `Session.agreed`; says once that the server is an older one."""
        greeting = self.session.agreed(subprotocol)
        if self.session.fell_back and not self._told_fallback:
            self._told_fallback = True
            self.logger.info(
                "the server speaks protocol 1: events work, calls and durable messages need iotio 0.5 or newer there"
            )
        return greeting

    def _opened(self, connection: _C) -> Work[None]:
        yield commands.start_reading(connection)  # before it counts: no thread, no connection
        with self.changed:
            self.session.opened(time.monotonic())
            self.connection = connection
            self.changed.notify_all()
        self.flushes.settle()
        unsaid = self.session.reports.unsaid()
        if unsaid:
            yield from self._answer("report()", self.session.codec.encode(REPORT, unsaid), connection)
        yield commands.send_more()

    def receive(self) -> Work[ConnectionLost | None]:
        """Handle what comes until the connection ends, then finish it. Returns why it ended; None: by `stop`."""
        connection = self.connection
        if connection is None:  # stopped since it was opened
            return None
        following = commands.next()
        end: ClientError | None = None
        try:
            while not self.asked_to_stop():
                try:
                    received = yield following
                except ConnectionLost as error:
                    if not self.asked_to_stop():
                        end = error
                    return cast("ConnectionLost | None", end)
                if received is not None:
                    try:
                        yield from self._take(received, connection)
                    except ConnectionBroken as error:
                        end = error
                        return error
                    except ClientError as error:
                        end = error
                        raise
            return None
        finally:
            yield from self.finish(connection, end)

    def finish(self, connection: _C, end: ClientError | None = None) -> Work[None]:
        """Close a connection and call `on_disconnect`, once.

        Args:
            connection: the one to close.
            end: why it has ended, for the log; None: this program ends it.
        """
        if connection is not self.connection:
            return
        self.finishing = True
        self.end_calls("it is closed")
        try:
            try:
                yield commands.finish(connection, self.farewell(connection), self.session.close_code)
            finally:
                with self.changed:
                    mine = connection is self.connection  # not if another thread has ended it already
                    if mine:
                        self.connection = None
                if mine:
                    self.session.durable.suspend()
                    self.end_calls("it is closed")
                    self._log.disconnected(end)
                    yield from self._call("on_disconnect")
        finally:
            self.finishing = False

    def farewell(self, connection: _C) -> bytes | None:
        """Return what to say before a connection is closed, the first time; None: nothing."""
        with self.changed:
            mine = connection is self.connection and connection is not self._said_farewell
            farewell = self.session.farewell() if mine else None
            self._said_farewell = connection
        return farewell if connection.state is WireState.OPEN else None

    def leave_dead(self) -> Work[bool]:
        """Clean up after a connection that ended while nobody was in `handle`. Returns whether there was one."""
        connection = self.connection
        if connection is None or self.connected:
            return False
        yield from self.finish(connection, ConnectionLost(1006))
        return True

    def end(self) -> None:
        """End for good: `run`, `handle` or the attempt to connect is over."""
        with self.changed:
            self.session.ended()
            self._failures = FailedAttempts()
            self._log.run_ended()
            self.stopping = False
            self.changed.notify_all()

    # What the program wants done from time to time.

    def repeat(self, periodic: Periodic, over: Any) -> Work[None]:
        """Call a function every so many seconds, until the run ends. Each turn waits for the connection for a while.

        Args:
            periodic: the function.
            over: names the run, for the shell.
        """
        due = time.monotonic()
        while (yield commands.await_turn(over, due, due + periodic.seconds)):
            try:
                yield commands.take_turn(periodic)
            except NotConnected as error:
                self.logger.debug("%s has ended early: %s", periodic.name, error)
            except (Exception, SystemExit):
                text = "%s of device %r, called every %g s, has failed"
                self.logger.exception(text, periodic.name, self.session.identity.id, periodic.seconds)
            due = periodic.following(due, time.monotonic())

    # What comes.

    def read(self, connection: _C, inbox: Inbox) -> Work[str]:
        """Receive until the connection ends: answers go to their callers, all else into `inbox`.

        Runs beside `receive`. Returns why the connection ended.
        """
        liveness = self.session.liveness(time.monotonic())
        _listen(connection, liveness)
        receive = self._next_receive(connection, liveness)
        end: Exception
        try:
            while not inbox.closed:
                try:
                    message = yield receive
                except TimeoutError:
                    yield from self._look_after(connection, liveness)
                    receive = self._next_receive(connection, liveness)
                    continue
                found = yield from self._read_one(message, connection)
                if found is not None:
                    if inbox.must_wait:  # nothing is received meanwhile, and so nobody is taken for dead
                        yield commands.make_room(inbox, connection)
                    inbox.put(*found)
            end = ConnectionLost(1006)  # `finish` was first
        except ConnectionClosed as error:
            end = connection_lost(error, self.session.codec.goodbye)
        except Exception as error:  # the server is gone; or no error of its making: `receive` raises it
            end = error
        why = "it is closed" if inbox.closed or self.stopping else str(end)
        self.end_calls(why)
        inbox.end(end)
        return why

    def _next_receive(self, connection: _C, liveness: Liveness) -> Command:
        """Return how to wait for a message until there is something to look after."""
        return commands.receive(connection, min(liveness.left(time.monotonic()), self.options.close_timeout))

    def _look_after(self, connection: _C, liveness: Liveness) -> Work[None]:
        """See to a connection on which no message came for a while.

        Raises:
            ConnectionLost: the server is gone; the connection has been aborted.
        """
        if connection.state is not WireState.OPEN:
            # The library gives a closing handshake that the server began no deadline: close() does.
            yield commands.close(connection)
            return
        now = time.monotonic()
        if liveness.is_gone(now):
            yield commands.abort(connection)  # nobody would answer a CLOSE frame
            raise ConnectionLost(1006, f"nothing came for {liveness.timeout:g} s after a ping")
        if liveness.needs_ping(now):
            yield commands.knock(connection, self.limit)
            liveness.sent(time.monotonic())

    def _read_one(self, message: bytes | str, connection: _C) -> Work[tuple[Received, int] | None]:
        """Return what a message says, and its size; None if it was the answer of a call, which its caller has now."""
        received = self.session.codec.receive(message)
        if isinstance(received, Acknowledged):
            wrong = yield from self.acknowledged(received.upto)
            return None if wrong is None else (wrong, len(message))
        if isinstance(received, Alive):
            if received.reply is not None:
                with suppress(TimeoutError):  # it has aborted the connection
                    yield commands.send(received.reply, connection, self.limit)
            return None
        if not isinstance(received, Answer):
            return received, len(message)
        with self.changed:
            late = not self.session.calls.answer(received)
        if late:
            self.logger.debug("dropped an answer that nobody waits for any more")
        return None

    def _take(self, received: Received, connection: _C) -> Work[None]:
        """Return what is to be done with a message."""
        if isinstance(received, Dispatch):
            return self._dispatch(received, connection)
        if isinstance(received, ServerError):
            return self._take_error(received)
        return self._ignore(received, connection)

    def _take_error(self, received: ServerError) -> Work[None]:
        if received.rejection is not None:
            self.logger.error("%s; it is not tried again", received.rejection)
        else:
            text = "the server reports the error %s (info: %s)"
            self._log.throttle.failure("reported", text, received.error, received.info)
        yield from self._call("on_error", received.error)
        if received.rejection is not None:
            raise received.rejection

    def _ignore(self, received: Received, connection: _C) -> Work[None]:
        if isinstance(received, Ignored):
            if received.invalid:
                self._log.throttle.warning("invalid", "ignored %s", received.why)
            else:
                self.logger.debug("ignored %s", received.why)
            if received.reply is not None:
                yield from self._answer("the protocol", received.reply, connection)
            if received.durable is not None and not (yield from self._known(received.durable, connection)):
                ack = yield from self._handled("the protocol", received.durable, None)
                if ack is not None:
                    yield from self._answer("the protocol", ack, connection)

    def _dispatch(self, received: Dispatch, connection: _C) -> Work[None]:
        if type(received.value) is Unread:
            try:
                received = received._replace(value=received.value.read())
            except InvalidPacket as error:
                if received.number:
                    error.durable = (received.number, received.previous)
                yield from self._ignore(self.session.codec.invalid(error, b""), connection)
                return
        if received.number and (yield from self._known(received, connection)):
            return
        name = f"on_{received.event}"
        message = self._about(received)
        token = current_message.set(message)  # for the handler: the shell runs both in one context
        try:
            reply = yield from self._run_handler(name, received, message)
        finally:
            current_message.reset(token)
        ack = (yield from self._handled(name, received, message)) if received.number else None
        for packet in (reply, ack):
            if packet is not None:
                yield from self._answer(name, packet, connection)

    def _known(self, received: Dispatch, connection: _C) -> Work[bool]:
        """Return whether a durable message has been handled before; it is acknowledged again. Gives up after a gap."""
        known = yield commands.in_buffer(partial(self.session.durable.known, received), quick=True)
        if known is None:
            return False
        yield from self._take(known, connection)
        if known.invalid:
            raise self.session.give_up(known.why)
        return True

    def _about(self, received: Dispatch) -> Message | None:
        """Return what `message` is while the handler runs."""
        if not received.number and received.time is None:
            return None
        return Message(self._owner, self.session.durable.message_id(received), received.time)

    def _run_handler(self, name: str, received: Dispatch, message: Message | None) -> Work[bytes | str | None]:
        """Run the handler of a message if there is one. Returns what to send."""
        codec = self.session.codec
        handler: Callable[..., Any] | None = self._handlers.find(received.event)
        about: tuple[str, ...] = ()
        if handler is None and self._handlers.fallback is not None:
            handler, about, name = self._handlers.fallback, (received.event,), "on_event"
        if handler is None:
            self._log.unhandled(received.event)
            return codec.unhandled(received)
        self.logger.debug("calling the handler %s", name)
        try:
            value = codec.check(received)
        except InvalidData as error:
            self._log.throttle.warning("refused", "refused a call: %s", error)
            return codec.failed(received, error)
        try:
            result = yield commands.invoke(handler, (*about, value))
            self.session.reports.note_set(received.event, value, result)
            return codec.answer(received, result)
        except Exception as error:
            self._log.handler_failed(name)
            if message is not None:
                message.effects.clear()
            return codec.failed(received, error)

    def _handled(self, name: str, received: Dispatch, message: Message | None) -> Work[bytes | None]:
        """Note that a durable message is through. Returns its ACK."""
        durable = self.session.durable
        effects = message.effects if message is not None else ()
        try:
            try:
                ack = yield commands.in_buffer(partial(durable.handled, received, effects))
            except BufferFailed:
                raise
            except Exception:
                self._log.handler_failed(name)
                ack = yield commands.in_buffer(partial(durable.handled, received))
        except BufferFailed as error:
            text = "a durable message cannot be noted as handled, and has to come again: %s"
            self._log.throttle.failure("unnoted", text, error)
            raise self.session.give_up(str(error)) from error
        return cast("bytes | None", ack)

    def _answer(self, name: str, packet: bytes | str, connection: _C) -> Work[None]:
        try:
            yield from self._write(packet, connection)
        except NotConnected as error:
            self._log.throttle.warning("lost", "the answer of %s is lost: %s", name, error)

    def _call(self, name: str, *args: Any) -> Work[None]:
        """Call on_connect, on_disconnect or on_error."""
        try:
            yield commands.invoke(getattr(self._owner, name), args)
        except Exception:
            self._log.handler_failed(name)

    # What goes.

    def send(self, event: str, message: Any, durable: bool, moment: datetime | float | None) -> Work[int | None]:
        """Send a message, or keep it if it is durable. Returns the number of a durable one."""
        if not event:
            raise EncodeError(_NO_EVENT)
        when = None if moment is None else milliseconds(moment)
        if durable:
            made = milliseconds(wall_clock()) if when is None else when
            number = yield commands.in_buffer(partial(self.session.durable.keep, event, message, made))
            yield commands.send_more()
            return cast(int, number)
        connection = self.connection  # before it is encoded: the next one may speak another version
        yield from self._write(self.session.codec.encode(event, message, when), connection)
        return None

    def report(self, values: Mapping[str, Any], durable: bool, moment: datetime | float | None) -> Work[int | None]:
        """Report values of endpoints; see `IoTClient.report`. Returns the number of a durable message."""
        found = self.session.reports.take(values, is_now=moment is None)
        if durable:
            return (yield from self.send(REPORT, found, True, moment))
        if moment is None:
            if self.connected:
                with suppress(NotConnected):  # the next connection tells
                    yield from self.send(REPORT, found, False, None)
        elif self.session.version == 2:
            yield from self.send(REPORT, found, False, moment)
        else:  # no packet carries a time
            when = milliseconds(moment)
            readings = write_readings([(name, [(when, value)]) for name, value in found.items()])
            yield from self.send(READINGS, readings, False, None)
        return None

    def call(self, event: str, data: Any, timeout: float) -> Work[Any]:
        """Call a handler of the server and wait for what it returns. Raises CallError and what `send` raises."""
        if not event:
            raise EncodeError(_NO_EVENT)
        limit = check_timeout(timeout)
        deadline = time.monotonic() + limit
        pending = self._waiter(event)
        with self.changed:
            connection = self.connection
            number = self.session.calls.begin(pending)
        try:
            yield from self._write(self.session.calls.encode(number, event, data), connection)
            yield commands.wait(pending, deadline)
        except NotConnected as error:
            raise CallDisconnected(f"the call of {event!r} cannot be sent: {error}") from error
        finally:
            with self.changed:
                self.session.calls.end(number)
        if not pending.is_done:
            raise timed_out(event, limit)
        return pending.result()

    def end_calls(self, why: str) -> None:
        """Fail the calls of this device, as the connection has ended."""
        with self.changed:
            self.session.calls.end_all(why)

    def flush(self, timeout: float) -> Work[None]:
        """Wait until the server has all durable messages that have been sent so far. Raises TimeoutError."""
        limit = check_timeout(timeout)
        deadline = time.monotonic() + limit
        waiter = self.flushes.add()
        try:
            self.flushes.settle()
            yield commands.wait(waiter, deadline)
        finally:
            self.flushes.remove(waiter)
        with suppress(CallDisconnected):  # in a handler, whose connection has ended
            if waiter.is_done:
                return cast(None, waiter.result())
        left = len(self.session.buffer)
        raise TimeoutError(f"{left} durable messages are not acknowledged within {limit:g} s")

    def send_durable(self, connection: _C) -> Work[None]:
        """Send the durable messages that may be sent over this connection. One at a time runs this.

        Raises:
            NotConnected: the connection has ended; they go over the next one.
        """
        following = commands.in_buffer(self.session.durable.next, quick=True)
        while connection is self.connection:
            try:
                packet = yield following
            except (EncodeError, BufferFailed) as error:
                text = "a durable message was dropped, which the server cannot take: %s"
                self._log.throttle.failure("dropped", text, error)
                self.flushes.settle()
                continue
            if packet is None:
                break
            yield from self._write(packet, connection)
            yield commands.sleep(0)  # a write need not let others have their turn
        upto = self.session.durable.probe()
        if upto:  # a server without ACK
            with suppress(ConnectionClosed):
                yield commands.ping(connection, upto)

    def acknowledged(self, upto: int) -> Work[Ignored | None]:
        """Forget the durable messages that the server has, and send more. Returns what to do if that is wrong."""
        try:
            wrong = yield commands.in_buffer(partial(self.session.durable.acknowledged, upto))
        except BufferFailed as error:
            text = "what the server has acknowledged is not noted in the file: %s"
            self._log.throttle.warning("unforgotten", text, error)
            wrong = None
        self.flushes.settle()
        yield commands.send_more()
        return cast("Ignored | None", wrong)

    def _write(self, packet: bytes | str, connection: _C | None) -> Work[None]:
        if connection is None or connection is not self.connection or self.session.state is not State.OPEN:
            raise NotConnected(self.why_not_connected())
        limit = self.limit
        try:
            yield commands.send(packet, connection, limit)
        except TimeoutError:
            raise NotConnected(f"the server took nothing for {limit:g} s; the connection is given up") from None
        except ConnectionClosed as error:
            raise NotConnected(f"nothing can be sent: {connection_lost(error)}") from error


_USER_AGENT = (
    f"iotio-client/{__version__} Python/{sys.version_info[0]}.{sys.version_info[1]} websockets/{websockets_version}"
)


def _listen(connection: Connection, liveness: Liveness) -> None:
    """Have all that comes over a connection counted as a sign of life, before it is a whole message or even a frame."""
    protocol: Wire = connection.protocol  # where both flavours of the library give what they have read
    receive_data = protocol.receive_data

    def counted(data: bytes) -> None:
        liveness.heard(time.monotonic())
        receive_data(data)

    protocol.receive_data = counted


def raise_unless_clean(end: ClientError | None) -> None:
    """Raise how a connection ended, unless that was in order."""
    if end is not None and not (isinstance(end, ConnectionLost) and end.clean):
        raise end
