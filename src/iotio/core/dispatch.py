"""Find out what an event of a session asks for: user code to run, or something that is done at once."""

from __future__ import annotations

from collections.abc import Callable
from types import coroutine
from typing import Any

from iotio_protocol import v2
from iotio_protocol.errors import InvalidPacket
from iotio_protocol.json_pieces import AT_ONCE, Pieces, is_heavy, write
from iotio_protocol.logs import get_logger
from iotio_protocol.near_names import missing_handler
from iotio_protocol.reasons import DisconnectReason
from iotio_protocol.session import BadGreeting, Ended, Event, Greeting, Invalid, Packet, WasRead
from iotio_protocol.unread import Unread, finish, read_value

from .answers import answering, refuse_call
from .connection import Connection, count_invalid
from .durable.delivery import DeliveryState
from .durable.taking import taking
from .handlers import RESERVED, Handlers
from .lane import Kind, Step, is_coroutine_function

__all__ = ["reading_and_writing", "step_of"]

logger = get_logger("iotio.connection")

_RESERVED = "$"  # the first character of the protocol's own events
_MOST_NAMED = 100  # events without a handler, of one type, that the log names


def step_of(connection: Connection, event: Event) -> Step | None:
    """Do what an event asks for, up to the user code that it asks for.

    Args:
        connection: the device's; its lock is not held.
        event: what the session has told; events are given in their order.

    Returns:
        The user code to run, in the lane of the device; None if there is none.
    """
    return _BY_CLASS[type(event)](connection, event)


def _packet(connection: Connection, packet: Packet) -> Step | None:
    if not connection.takes_events:
        return None
    route = _route(connection, packet)
    if route is None:
        return None
    function, arguments = route
    is_async = is_coroutine_function(function)
    if type(packet.value) is Unread:
        function = reading_and_writing(connection, function, packet.value, is_async=is_async)
    return Step(Kind.EVENT, [(packet.event, function, arguments, None)], is_async=is_async, size=packet.size)


def _packet_with_flags(connection: Connection, packet: v2.Packet) -> Step | None:
    """Take what v2 has beside plain events: calls, answers, durable messages, times."""
    if v2.is_answer(packet):
        connection.calls.take_answer(packet)
        return None
    durable = connection.durable
    if packet.flags & v2.DURABLE and (durable is None or durable.stream is None):
        connection.complain(InvalidPacket("a durable message needs the name of its stream: 'sends' in HELLO"))
        return None
    if not connection.takes_events:
        return None
    route = _route(connection, packet)
    if route is None:
        if packet.flags & v2.CALL:
            refuse_call(connection.send, packet.call)
        if not packet.flags & v2.DURABLE or packet.flags & v2.CALL:
            return None
        route = _nothing, ()  # it is acknowledged all the same
    function, arguments = route
    is_async = is_coroutine_function(function)
    value = packet.value
    if type(value) is Unread:
        function = _writing(connection, function, value, is_async=is_async)
    if packet.flags & v2.CALL:
        wrapped = answering(connection.send, packet.call, function, connection.session.max_payload)
    else:
        wrapped = taking(connection, packet, function, is_async=is_async)
    if type(value) is Unread:
        unreadable = _nothing_async if is_async else _nothing
        if packet.flags & v2.DURABLE:  # it is dropped in its turn: acknowledged, it does not come again
            unreadable = taking(connection, packet, unreadable, is_async=is_async)
        wrapped = _reading(connection, wrapped, unreadable, is_async=is_async)
        value = value.text
    size = len(value) if isinstance(value, (str, bytes)) else 0
    return Step(Kind.EVENT, [(packet.event, wrapped, arguments, None)], is_async=is_async, size=size)


def _route(connection: Connection, packet: Packet | v2.Packet) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
    """Find the handler of an event, and count the event. Returns handler and arguments, None if there is none."""
    client, handlers = connection.client, connection.handlers
    assert client is not None
    assert handlers is not None
    connection.n_received += 1
    handler = handlers.events.get(packet.event)
    if client.declared and packet.event in client.declared and not _is_call(packet):
        return _report(connection, packet, handler or handlers.fallback)
    if handler is not None:
        return handler, (packet.value, client)
    if packet.event[:1] == _RESERVED:
        return _reserved(connection, packet)
    if handlers.fallback is not None:
        return handlers.fallback, (packet.event, packet.value, client)
    connection.n_unhandled += 1
    if packet.event in handlers.unhandled or not _name_unhandled(connection, handlers, packet.event):
        logger.debug("device %r sent event %r, type %r has no handler", client.id, packet.event, client.type)
    return None


def _is_call(packet: Packet | v2.Packet) -> bool:
    return type(packet) is v2.Packet and bool(packet.flags & v2.CALL)


def _report(
    connection: Connection, packet: Packet | v2.Packet, handler: Callable[..., Any] | None
) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
    """Find what takes an event with the name of an endpoint: the twin of that, then the handler, if there is one."""
    client, handlers, twins = connection.client, connection.handlers, connection.manager.twins
    assert client is not None
    assert client.declared is not None
    assert handlers is not None
    endpoint = client.declared[packet.event]
    reports = twins is not None and endpoint.access != "write"
    arguments: tuple[Any, ...] = packet.value, client
    if handler is None:
        if not reports:
            connection.n_unhandled += 1
            return None
        function: Callable[..., Any] = _taken_async if connection.lane.on_loop else _taken
    else:
        function = handler
        if handler is handlers.fallback:
            arguments = packet.event, packet.value, client
    if twins is not None and reports:
        function = twins.reporting(connection, endpoint, function)
    return function, arguments


def _reserved(connection: Connection, packet: Packet | v2.Packet) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
    """Find what takes an event of the protocol's own. Others that begin like these are ignored."""
    twins = connection.manager.twins
    function = None if twins is None or _is_call(packet) else twins.reserved(connection, packet.event)
    if function is None:
        connection.n_unhandled += 1
        return None
    return (_as_async(function) if connection.lane.on_loop else function), (packet.value, connection.client)


def _as_async(function: Callable[..., None]) -> Callable[..., Any]:
    """Wrap a function that does not wait, so that it runs at once on a loop."""

    async def handler(*arguments: Any) -> None:
        function(*arguments)

    return handler


def _name_unhandled(connection: Connection, handlers: Handlers, event: str) -> bool:
    """Have the log name an event that no handler takes, once for each type. Returns False if it names no more."""
    client, throttle = connection.client, connection.log_throttle
    assert client is not None
    if not throttle.tells_news or len(handlers.unhandled) >= _MOST_NAMED:
        return False
    handlers.unhandled.add(event)
    hint = missing_handler(event, handlers.events, RESERVED, "on_event(self, event, data, client) would take it")
    text = "no handler of type %r takes the event %r of device %r: %s"
    throttle.info("unhandled", text, client.type, event, client.id, hint)
    return True


def reading_and_writing(
    connection: Connection, function: Callable[..., Any], value: Unread, *, is_async: bool
) -> Callable[..., Any]:
    """Wrap a handler of a plain event: see `_reading` and `_writing`."""
    function = _writing(connection, function, value, is_async=is_async)
    return _reading(connection, function, _nothing_async if is_async else _nothing, is_async=is_async)


def _reading(
    connection: Connection, function: Callable[..., Any], unreadable: Callable[..., Any], *, is_async: bool
) -> Callable[..., Any]:
    """Wrap a handler so that what it gets is read when its turn comes; if it cannot be, the device is told so.

    Others have their turn while it is read.

    Args:
        connection: the device's.
        function: the handler; one of its arguments is `Unread`.
        unreadable: called without arguments in the place of `function` if it cannot be read; of the same kind.
        is_async: whether they are `async def`.
    """

    def complain(error: InvalidPacket) -> None:
        connection.n_received -= 1
        connection.complain(error)

    async def async_handler(*arguments: Any) -> Any:
        try:
            found = [await _read(argument) for argument in arguments]
        except InvalidPacket as error:
            complain(error)
            return await unreadable()
        return await function(*found)

    def handler(*arguments: Any) -> Any:
        try:
            arguments = tuple(map(read_value, arguments))
        except InvalidPacket as error:
            complain(error)
            return unreadable()
        return function(*arguments)

    return async_handler if is_async else handler


def _writing(
    connection: Connection, function: Callable[..., Any], value: Unread, *, is_async: bool
) -> Callable[..., Any]:
    """Wrap a handler so that others have their turn while its large answer to a large message is written.

    Args:
        connection: the device's.
        function: the handler.
        value: what it gets.
        is_async: whether it is an `async def`.

    Returns:
        A handler of the same kind; it returns `Written` for what is written already.
    """
    if len(value.text) <= AT_ONCE:
        return function

    async def async_handler(*arguments: Any) -> Any:
        return await _in_turns(_written(connection, await function(*arguments)))

    def handler(*arguments: Any) -> Any:
        return finish(_written(connection, function(*arguments)))

    return async_handler if is_async else handler


def _written(connection: Connection, result: Any) -> Pieces:
    """Return the result of a handler, with `Written` in the place of what is large, is written and needs no check."""
    value = result[1] if isinstance(result, tuple) and len(result) == 2 else result
    assert connection.client is not None
    if connection.client.declared or connection.session.version == 0 or not is_heavy(value):
        return result
    done = yield from write(value, ascii_only=connection.session.version == 1)
    return done if value is result else (result[0], done)


async def _read(argument: Any) -> Any:
    return await _in_turns(argument.pieces()) if type(argument) is Unread else argument


@coroutine
def _in_turns(pieces: Pieces) -> Pieces:
    """Do a work piece by piece, each in a turn of the loop, whichever it is."""
    return (yield from pieces)


def _nothing() -> None:
    """Handle a message that has no handler, or cannot be read."""


async def _nothing_async() -> None:
    """Do what `_nothing` does, in the place of an `async def` handler."""


def _taken(value: object, client: object) -> None:
    """Handle a report that has no handler: its twin has it."""


async def _taken_async(value: object, client: object) -> None:
    """Do what `_taken` does, at once on a loop."""


def _greeting(connection: Connection, greeting: Greeting) -> None:
    connection.introduce(greeting)


def _bad_greeting(connection: Connection, event: BadGreeting) -> None:
    connection.manager.gate.refuse(connection, event.error)


def _invalid(connection: Connection, event: Invalid) -> Step | None:
    """Count an invalid packet. A durable message is dropped in its turn: acknowledged, it does not come again."""
    count_invalid(connection, event.problem)
    durable = connection.durable
    if event.durable is None or durable is None or durable.stream is None or not connection.takes_events:
        return None
    packet = v2.Packet("", None, v2.DURABLE, number=event.durable[0], previous=event.durable[1])
    return Step(Kind.EVENT, [("", taking(connection, packet, _nothing, is_async=False), (), None)], is_async=False)


def _ack(connection: Connection, ack: v2.Ack) -> None:
    """Note how far the device has taken its durable messages: v2 says so itself, of others the pong does."""
    durable = connection.durable
    queue = None if durable is None else durable.queue
    if durable is None or queue is None:
        return
    state = DeliveryState.DONE if durable.version == 2 else DeliveryState.ACKNOWLEDGED
    try:
        queue.acknowledge(durable, ack.upto, state)
    except InvalidPacket as error:
        connection.complain(error)


def _was_read(connection: Connection, event: WasRead) -> None:
    if connection.manager.twins is not None:
        connection.manager.twins.was_read(connection, event.number)


def _sleep(connection: Connection, event: v2.Sleep) -> None:
    if connection.client is not None and connection.client.device is not None:
        connection.client.device.sleeps(event.seconds)


def _goodbye(connection: Connection, event: v2.Goodbye) -> None:
    device = None if connection.client is None else connection.client.device
    if device is not None and not device.tracker.will_sleep:  # behind SLEEP it says no more than that the device closes
        device.says_goodbye()


def _problem(connection: Connection, problem: v2.Problem) -> None:
    connection.log_throttle.warning(
        "problem", "device %r reports the problem %.100s: %.200s", connection.name, problem.error, problem.info
    )


def _sign_of_life(connection: Connection, event: v2.Ping | v2.Pong) -> None:
    """Do nothing: the session has answered a ping, and whatever comes shows that the device lives."""


def _ended(connection: Connection, event: Ended) -> None:
    if event.reason is DisconnectReason.PROTOCOL_ERROR:
        throttle = connection.log_throttle
        throttle.warning("rule", "device %r broke a WebSocket rule: %s", connection.name, event.detail)


_BY_CLASS: dict[type[Event], Callable[[Connection, Any], Step | None]] = {
    Packet: _packet,
    v2.Packet: _packet_with_flags,
    Greeting: _greeting,
    BadGreeting: _bad_greeting,
    Invalid: _invalid,
    v2.Ack: _ack,
    WasRead: _was_read,
    v2.Sleep: _sleep,
    v2.Goodbye: _goodbye,
    v2.Problem: _problem,
    v2.Ping: _sign_of_life,
    v2.Pong: _sign_of_life,
    Ended: _ended,
}
