"""One device's socket, from the upgrade to its end: what every host shares.

A host owns the socket: it feeds what it reads, implements a few small transport methods, and chooses the lane that runs
the user code. Everything else is decided here, under one lock per connection that is never held while user code runs,
and by the parts that the server hands in: the gate, `step_of`, the lifecycle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from typing import Any, Protocol, cast

from iotio_protocol import v2
from iotio_protocol.errors import (
    HandshakeError,
    InvalidPacket,
    StreamGap,
)
from iotio_protocol.frames import Item
from iotio_protocol.handshake import Hello, Upgrade
from iotio_protocol.json_pieces import Written
from iotio_protocol.logs import get_logger
from iotio_protocol.reasons import DisconnectReason
from iotio_protocol.session import Codec, Ended, Event, Greeting, Session, State, string_frame
from iotio_protocol.v2_session import V2Session
from iotio_protocol.values import Value
from iotio_protocol.version import __version__

from .callbacks import Callbacks
from .calls import OutgoingCalls
from .device_type import DeviceTypes
from .durable.channel import DurableChannel
from .durable.messages import DurableMessages
from .handler_context import HandlerContext, Scope
from .handlers import Handlers, reply_of
from .handles import IoTClient
from .lane import Lane, Step
from .limits import Meter, metered
from .lock import Lock
from .ports import ServerPort
from .presence import PresenceMonitor
from .presence_notifier import PresenceNotifier
from .primitives import Signal
from .registry import Registry
from .write_buffer import WriteBuffer

__all__ = ["Connection", "Scope", "count_read"]

logger = get_logger("iotio.connection")

_GREETING, _OPEN, _REFUSED, _CLOSING, _CLOSED = State  # to look up a member of an Enum takes its time
_MAX_UNREAD = 64 * 1024  # bytes of answers that may wait for a peer which is not let in, or is refused


_NOTHING_SAID = Greeting(Hello("", "", None, None, 0))


class Sockets(Protocol):
    """All connections of the server."""

    def attach(self, connection: Connection) -> None: ...
    def detach(self, connection: Connection) -> None: ...


class Gate(Protocol):
    """What decides which devices come in."""

    def open(self, connection: Connection, upgrade: Upgrade) -> None: ...
    def introduce(self, connection: Connection, hello: Hello) -> None: ...
    def refuse(self, connection: Connection, error: HandshakeError) -> None: ...


class Lifecycle(Protocol):
    """What begins and ends connections for user code."""

    def let_in(self, connection: Connection) -> None: ...
    def dismiss(self, connection: Connection, reason: DisconnectReason) -> None: ...
    def abandon(self, connection: Connection) -> None: ...
    def tear_down(self, connection: Connection) -> None: ...
    def limit_handlers(self, connection: Connection) -> None: ...


class Server(ServerPort, Protocol):
    """What a connection needs of the server."""

    codec: Codec
    session_factory: type[Session]
    epochs: Iterator[int]
    registry: Registry
    presence: PresenceMonitor
    notifier: PresenceNotifier
    durable_messages: DurableMessages

    @property
    def connections(self) -> Sockets: ...
    @property
    def gate(self) -> Gate: ...
    @property
    def lifecycle(self) -> Lifecycle: ...
    @property
    def step_of(self) -> Callable[[Connection, Event], Step | None]: ...
    @property
    def types(self) -> DeviceTypes: ...
    @property
    def callbacks(self) -> Callbacks: ...
    def log_update(self, client_id: str, event: str, data: Any) -> None: ...


class Connection:
    """The part of a connection that does not depend on the host.

    Its course, beside the session's states: *connected* once `on_connect` is called; *gone*, with the reason, once no
    emit reaches it; its *teardown* is claimed once, and done when `on_disconnect` has run and the client is
    unregistered.

    Attributes:
        lane: runs the user code of the device; the host chooses it.
        buffer: the write buffer, made by the host: frames not yet handed to the network, which `drop_oldest` may still
            remove.
        session: the state of the protocol. What it says of the wire, of the version and of times may be read from any
            thread; all else is done under the connection's lock.
        durable: the durable messages of this connection.
        teardown_done: set when the teardown is done.
        handlers: those of the device's type, once it is let in.
        gone: the reason why this connection stopped accepting emits, or None while it does.
        context: the one that the next user code runs in.

    Args:
        manager: whose device it is.
        headers: those of the upgrade request; names in any case, values as latin-1.
        peer: the other end's address, for the log.
        scope: see `Scope`.
        subprotocol: what was agreed on at the upgrade, or None.
    """

    lane = cast("Lane", None)  # the host sets it in its constructor
    buffer: WriteBuffer  # the same
    admitted = False  # the manager's limits have counted it
    held_back = False  # its CLOSE frame is delayed: it is refused, two devices fight over its id, or the server closes
    reported: dict[str, Value] | None = None  # what a v2 device has said of its endpoints in HELLO, until it is taken
    _greeting = _NOTHING_SAID  # what a v0 or v2 device has said of itself
    durable: DurableChannel | None = None  # once the device is let in
    since = 0.0  # when the device was let in, on the manager's clock

    passed_on: tuple[type[BaseException], ...] = ()
    """What the host raises in a handler to end its thread. All else ends here, gevent's Timeout too."""

    def __init__(
        self,
        manager: Server,
        headers: Iterable[tuple[str, str]],
        *,
        peer: str = "",
        scope: Scope | None = None,
        subprotocol: str | None = None,
    ) -> None:
        self.manager = manager
        self.epoch = next(manager.epochs)  # connections of one id follow each other in this order
        self.peer = peer
        self.log_throttle = manager.log_throttle
        self.client: IoTClient | None = None
        self.teardown_done = Signal()  # on_disconnect has run, or never will
        self.n_received = self.n_sent = self.n_invalid = self.n_unhandled = self.n_dropped = 0  # see `counters`
        self.n_invalid_reports = self.n_wrong_clock = 0  # the same
        self._upgrade: Upgrade | None = Upgrade.of(
            headers if isinstance(headers, list) else list(headers), manager.options, subprotocol
        )
        self._meter = Meter(manager.options, manager.clock()) if metered(manager.options) else None
        now = manager.clock()
        self.session = (
            V2Session(manager.options, now)
            if subprotocol == v2.SUBPROTOCOL
            else manager.session_factory(1 if self._upgrade.headers else 0, manager.options, now, manager.codec)
        )
        self._calls: OutgoingCalls | None = None  # made with the first call
        self.handlers: Handlers | None = None
        self._lock = Lock()
        self._connected = False  # on_connect has been called
        self._teardown_claimed = False
        self.gone: DisconnectReason | None = None
        self.context: Context = copy_context()
        self._scope = scope  # until `_handler_context` has it
        self._handler_context: HandlerContext | None = None  # from the first user code on

    # -- transport: a host implements these; the lock is held, they must not wait ------------------------

    def write(self, data: bytes) -> None:
        """Send bytes; what the network does not take now is kept and sent later."""
        raise NotImplementedError

    def pending(self) -> int:
        """Bytes that are kept."""
        raise NotImplementedError

    def hang_up(self) -> None:
        """End both directions of the stream, so that whoever reads wakes up."""
        raise NotImplementedError

    def abort(self) -> None:
        """End the stream at once; what is kept is lost."""
        raise NotImplementedError

    def run_async(self, coroutine: Any, context: Context) -> Any:
        """Run a coroutine to its end in the given context and return its result."""
        raise NotImplementedError

    # -- the end, from any thread; see `Lifecycle` -----------------------------------------------------

    def dismiss(self, reason: DisconnectReason) -> None:
        """Close, and tear down without waiting for the device to answer."""
        self.manager.lifecycle.dismiss(self, reason)

    def abandon(self) -> None:
        """Tear down now, although user code may still run."""
        self.manager.lifecycle.abandon(self)

    def tear_down(self) -> None:
        """Tear the connection down once: run `on_disconnect` if `on_connect` was called, then unregister the client."""
        self.manager.lifecycle.tear_down(self)

    # -- from any thread -------------------------------------------------------------------------------

    @property
    def counters(self) -> dict[str, int]:
        """Events received and sent, invalid packets, events without a handler, drops; reports that were dropped."""
        return {
            "received": self.n_received,
            "sent": self.n_sent,
            "invalid": self.n_invalid,
            "unhandled": self.n_unhandled,
            "dropped": self.n_dropped,
            "invalid_report": self.n_invalid_reports,
            "wrong_clock": self.n_wrong_clock,
        }

    @property
    def is_open(self) -> bool:
        """Whether an emit could reach the device now."""
        return self.gone is None and self.session.state is _OPEN

    def send(self, frame: bytes) -> str:
        """Send a frame that `encode` made for this wire.

        Returns:
            "" if it was taken, "offline", or "backpressure": the device reads too slowly and is let go.
        """
        with self._lock:
            if not self.is_open:
                return "offline"
            waiting = self.pending()
            options = self.manager.options
            if not waiting or self.buffer.fits(waiting + len(frame), options.max_outbox, options.max_outbox_messages):
                self.n_sent += 1
                self.write(frame)
                return ""
            first = not self.n_dropped
            taken = self._make_room(waiting, frame)
        if first:
            _log_too_slow(self, waiting)
        return "" if taken else "backpressure"

    def _make_room(self, waiting: int, frame: bytes) -> bool:
        """Do what the program wants done about a slow reader. Returns whether the frame was taken."""
        options = self.manager.options
        queue = None if self.durable is None else self.durable.queue
        has_durable = queue is not None and queue.on_their_way > 0
        policy = "disconnect" if has_durable else options.slow_reader  # what is durable must not be dropped
        if policy == "drop_oldest":
            excess = waiting + len(frame) - options.max_outbox
            self.n_dropped += self.buffer.drop_oldest(excess, len(self.buffer) + 1 - options.max_outbox_messages)
            if self.buffer.fits(self.pending() + len(frame), options.max_outbox, options.max_outbox_messages):
                self.n_sent += 1
                self.write(frame)
                return True
        self.n_dropped += 1
        if policy == "disconnect":
            self._close(DisconnectReason.BACKPRESSURE)  # if it wakes up in time, it still gets all of it
        return False

    def close(self, reason: DisconnectReason) -> None:
        """Send a CLOSE frame; the device is out of reach from now on, `on_disconnect` follows where it reads."""
        with self._lock:
            self._close(reason)

    def _close(self, reason: DisconnectReason) -> None:
        self._let_go(reason)
        hold = self.held_back and self.session.state is not _REFUSED  # what is held already ends now
        self.session.close(reason, self.manager.clock(), hold=hold)
        self.flush_session()

    def tick(self, now: float) -> None:
        """Do what is due: pings, time-outs, the end of a refusal."""
        with self._lock:
            if not self.lane.is_reading and self.session.state is _OPEN:
                return
            self._absorb(self.session.tick(now))
            self.flush_session()
            if self.session.state is _CLOSED:
                self.hang_up()

    @property
    def name(self) -> str:
        """The device id, or the address while there is none."""
        return self.client.id if self.client is not None else self.peer

    # -- the reading side ------------------------------------------------------------------------------

    def feed(self, data: bytes) -> list[Event]:
        """Take what a read brought, b"" for its end. Replies of the protocol itself leave at once.

        Returns:
            The events to `handle`, in order.
        """
        if not data:
            return self.take(None)
        items = self.session.frames.feed(data)
        count_read(self, len(items), len(data))
        return self.take(items)

    def take(self, items: list[Item] | None) -> list[Event]:
        """Do what `feed` does, for bytes that the caller has given to `session.frames` already, and has counted.

        Args:
            items: messages and control frames, or None for the end of the stream.
        """
        with self._lock:
            now = self.manager.clock()
            events = self.session.receive_eof(now) if items is None else self.session.digest(items, now)
            self._absorb(events)
            self.flush_session()
            waiting = self.pending()
            too_slow = bool(waiting) and _reads_too_slowly(self, waiting)
            if too_slow:  # pongs and error packets that it never reads
                if _is_let_in(self):
                    self._close(DisconnectReason.BACKPRESSURE)
                else:
                    events = []
                    # Without a CLOSE frame, which the peer would not read either.
                    self._absorb(self.session.abort(DisconnectReason.BACKPRESSURE, now))
                    self.session.take_output()
                    self.abort()
            self.lane.expect(events)
        if too_slow:
            if self.over:
                _log_dropped(self, waiting)
            else:
                _log_too_slow(self, waiting)
        return events

    def handle(self, event: Event) -> None:
        """Do what an event asks for; its user code runs in the lane."""
        step = self.manager.step_of(self, event)
        if step is not None:
            self.lane.push(step)

    @property
    def over(self) -> bool:
        """Whether the session is closed, so that the host can stop reading."""
        return self.session.state is _CLOSED

    def start(self) -> None:
        """Answer the handshake of a v1 device; another device sends its own later. Runs user code."""
        upgrade, self._upgrade = self._upgrade, None
        if upgrade is not None:
            self.manager.gate.open(self, upgrade)

    def accept(self, client: IoTClient, handlers: Handlers) -> None:
        """Let the device in, as the gate has decided."""
        self.client = client
        self.handlers = handlers
        self.session.options = handlers.options
        self.manager.lifecycle.let_in(self)

    def introduce(self, greeting: Greeting) -> None:
        """Take what a v0 or v2 device has said of itself, and have the gate decide."""
        self._greeting = greeting
        self.reported = greeting.hello.state
        self.manager.gate.introduce(self, greeting.hello)

    @property
    def takes_events(self) -> bool:
        """Whether the handler of an event may run: the device is in, and its teardown has not begun."""
        if self.client is None or self._teardown_claimed:
            return False
        return self.gone is None or self.gone.is_by_device  # what the device had sent when the server closed is dropped

    def refuse(self, error: HandshakeError, *, hold: bool) -> None:
        """Refuse the device: tell it why, and close its connection.

        Args:
            error: why it is refused.
            hold: whether the CLOSE frame is delayed by `refusal_delay`.
        """
        with self._lock:
            self._let_go(DisconnectReason.REFUSED)
            self.session.refuse(error, self.manager.clock(), hold=hold)
            self.flush_session()

    # -- calls to the device ---------------------------------------------------------------------------

    @property
    def calls(self) -> OutgoingCalls:
        """The calls to the device; made with the first one."""
        calls = self._calls
        if calls is None:
            with self._lock:
                calls = self._calls = self._calls or OutgoingCalls(self, self._lock, self.manager.wait_here)
        return calls

    def answer_awaited(self) -> None:
        """Note that a call is on its way, so that its answer must be read. The lock is held."""

    def complain(self, error: InvalidPacket) -> None:
        """Tell the device that a packet is invalid; after a gap in its stream it has to come again."""
        with self._lock:
            if self.session.state is _OPEN:  # behind a gap all that waits for its handler has one
                self.session.complain(error)
            if isinstance(error, StreamGap):
                self._close(DisconnectReason.PROTOCOL_ERROR)
            self.flush_session()
        count_invalid(self, error.problem)

    # -- for the lifecycle -----------------------------------------------------------------------------

    def open(self) -> None:
        """Tell the device that it is let in."""
        assert self.client is not None
        self.durable = DurableChannel(self, self.client.id, self._greeting)
        self._greeting = _NOTHING_SAID  # it holds all that the device has said, as objects
        welcome: dict[str, object] = {}
        if self.session.version == 2:
            welcome = {"server": f"iotio {__version__}", "time": int(self.manager.wall() * 1000)}
            welcome |= self.durable.announce()
        with self._lock:
            self.session.open(welcome)
            self.flush_session()

    def enter(self) -> bool:
        """Begin the time between `on_connect` and `on_disconnect`.

        Returns:
            Whether `on_connect` is to be called; False if a third connection of this id, or a shutdown, was quicker.
        """
        with self._lock:
            if not self.takes_events:
                return False
            self._connected = True
            self.since = self.manager.clock()
        return True

    def claim_teardown(self) -> list[Callable[..., Any]] | None:
        """Begin the teardown of the connection; only the first caller may run it.

        Returns:
            The callbacks of the disconnection, to be called with the client and `gone`: none if `on_connect` was not
            called. None for every later caller.
        """
        with self._lock:
            if self._teardown_claimed:
                return None
            self._teardown_claimed = True
            self._let_go(DisconnectReason.TRANSPORT_CLOSED)
        if self.durable is not None:
            self.durable.suspend()
        device = None if self.client is None else self.client.device
        if device is not None and device.twins is not None and self.manager.twins is not None:
            self.manager.twins.end(self)
        if not self._connected or self.handlers is None:
            return []
        owed = (self.handlers.on_disconnect, self.manager.callbacks.disconnect_handler)
        return [function for function in owed if function is not None]

    def finish_teardown(self) -> None:
        """Leave the context of user code; the client is unregistered."""
        self._scope = None  # it holds what the host knows of the request, down to the socket's own file
        if self._handler_context is not None:
            self._handler_context.tear_down()
        self.teardown_done.set()

    # -- for the lane ----------------------------------------------------------------------------------

    def answer(self, event: str, reply_head: bytes | None, result: Any) -> None:
        """Send what the handler of an event returned. Does what `Manager.emit_to` does, less what one device needs not.

        Args:
            event: its name.
            reply_head: what comes before a text in such an answer; see `Route.reply_head`. None: the general way.
            result: not None.
        """
        client = self.client
        assert client is not None
        declared = client.declared
        frame = None if declared and event in declared else string_frame(reply_head, result)
        reply = event, result
        if frame is None:
            try:
                found = reply_of(event, result)
                if found is None:
                    return
                reply = found[0], client.checked(*found)
                frame = self.session.encode(reply[0], client.as_sent(*reply) if declared else reply[1])
                if type(reply[1]) is Written:
                    reply = reply[0], reply[1].value
            except Exception as error:  # InvalidData, EncodeError, or what a value of the user's own class raises
                self.log_throttle.error(
                    error,
                    f"answers of {client.type}",
                    "the answer of handler on_%s, type %r, device %r, cannot be sent",
                    event,
                    client.type,
                    client.id,
                )
                return
        if not self.send(frame):
            self.manager.log_update(client.id, *reply)

    @property
    def handler_context(self) -> HandlerContext:
        """The runner of the device's user code, made now if this is the first."""
        made = self._handler_context
        if made is None:
            assert self.client is not None
            scope, self._scope = self._scope, None
            made = self._handler_context = HandlerContext(self, self.client, self.context, scope)
        return made

    def abandon_calls(self, count: int) -> None:
        """Wait no longer for `count` running calls of user code; later calls get another context. The lock is held."""
        if self._handler_context is not None:
            self.context = self._handler_context.abandon(count)

    # -- inside ----------------------------------------------------------------------------------------

    def _let_go(self, reason: DisconnectReason) -> None:
        if self.gone is None:
            self.gone = reason
            if not reason.is_by_device:
                self.lane.drop_events()
            if self._calls is not None:
                self._calls.end(reason)
            if self.client is not None:
                self.manager.presence.connection_gone(self.client, reason)

    def _absorb(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Ended):
                for said in events:  # SLEEP came in one read with CLOSE: of a connection that is gone it says nothing
                    if isinstance(said, (v2.Sleep, v2.Goodbye)):
                        self.manager.step_of(self, said)
                self._let_go(event.reason)

    def flush_session(self) -> None:
        """Write what the session has to say. The lock is held."""
        data = self.session.take_output()
        if data:
            self.write(data)


def count_invalid(connection: Connection, problem: str) -> None:
    """Count an invalid packet; the first one of a connection is logged as a warning: one line, not a flood."""
    connection.n_invalid += 1
    text = "device %r sent an invalid packet: %s"
    if connection.n_invalid == 1:
        connection.log_throttle.warning("invalid", text, connection.name, problem)
    else:
        logger.debug(text, connection.name, problem)


def _is_let_in(connection: Connection) -> bool:
    return connection.client is not None and connection.is_open


def _reads_too_slowly(connection: Connection, waiting: int) -> bool:
    """Return whether more waits than may; what waits when we close a device's connection may be sent to its end."""
    if _is_let_in(connection):
        options = connection.manager.options
        return not connection.buffer.fits(waiting, options.max_outbox, options.max_outbox_messages + 1)
    refused = connection.session.state is _REFUSED
    return waiting > _MAX_UNREAD and (connection.client is None or refused)


def _log_too_slow(connection: Connection, waiting: int) -> None:
    options = connection.manager.options
    connection.log_throttle.warning(
        "slow",
        "device %r reads too slowly: %d bytes wait, %d bytes or %d messages may; %s",
        connection.name,
        waiting,
        options.max_outbox,
        options.max_outbox_messages,
        "some are dropped" if connection.is_open else "it is let go",
    )


def _log_dropped(connection: Connection, waiting: int) -> None:
    connection.log_throttle.warning(
        "unread",
        "device at %s does not read its answers: %d bytes wait, %d may before a device is let in; it is dropped",
        connection.peer or "?",
        waiting,
        _MAX_UNREAD,
    )


def count_read(connection: Connection, n_items: int, size: int) -> None:
    """Count what a read brought; close the connection if that is more than its limits allow.

    Args:
        connection: whose bytes they are.
        n_items: how many messages and control frames.
        size: how many bytes.
    """
    meter = connection._meter
    if meter is None:
        return
    if meter.accepts(n_items, connection.session.frames.n_fragments, size, connection.manager.clock()):
        return
    with connection._lock:
        is_new = connection.is_open
        connection._close(DisconnectReason.RATE_LIMIT)
    if is_new:
        _log_too_much(connection)


def _log_too_much(connection: Connection) -> None:
    options = connection.manager.options
    connection.log_throttle.warning(
        "rate",
        "device %r sends more than %g messages or %g bytes a second (max_messages_per_second,"
        " max_bytes_per_second); it is let go",
        connection.name,
        options.max_messages_per_second or float("inf"),
        options.max_bytes_per_second or float("inf"),
    )
