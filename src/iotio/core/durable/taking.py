"""Run the handler of a message that is more than an event: one that is durable, or of another time.

A durable message has its effect once: its number is checked right before its handler, and is noted right behind it,
together with what the handler wants written.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, Protocol

from iotio_protocol import v2
from iotio_protocol.errors import InvalidPacket, StreamGap
from iotio_protocol.reasons import DisconnectReason

from ..message import Message, current_message
from ..waiting import is_cancelled
from .channel import DurableChannel
from .queue import DurableQueue

__all__ = ["taking"]


class Receiver(Protocol):
    """The connection over which the message came."""

    passed_on: tuple[type[BaseException], ...]
    manager: Any

    @property
    def durable(self) -> DurableChannel | None: ...
    @property
    def gone(self) -> DisconnectReason | None: ...
    def complain(self, error: InvalidPacket) -> None: ...
    def run_async(self, coroutine: Any, context: Context) -> Any: ...


def taking(
    receiver: Receiver, packet: v2.Packet, function: Callable[..., Any], *, is_async: bool
) -> Callable[..., Any]:
    """Wrap a handler so that it is told of its message's time, and takes a durable message once.

    Args:
        receiver: the connection over which the message came.
        packet: the message.
        function: the handler.
        is_async: whether the handler is an `async def`.

    Returns:
        A handler of the same kind. It returns None without calling `function` for a repetition and after a gap.
    """
    return _taking_async(receiver, packet, function) if is_async else _taking(receiver, packet, function)


def _taking(receiver: Receiver, packet: v2.Packet, function: Callable[..., Any]) -> Callable[..., Any]:
    def handler(*arguments: Any) -> Any:
        message = _begin(receiver, packet)
        if message is None:
            return None
        token = current_message.set(message)
        try:
            result = function(*arguments)
            if hasattr(result, "__await__"):
                result = receiver.run_async(result, copy_context())  # this call is inside of its own context
        except BaseException as error:
            ended = isinstance(error, receiver.passed_on) or _ends_child(receiver, error)
            if not ended:  # what has failed counts as handled: it would fail for ever
                _end(receiver, packet, [])
            raise
        finally:
            current_message.reset(token)
        _end(receiver, packet, message.effects)
        return result

    return handler


def _taking_async(receiver: Receiver, packet: v2.Packet, function: Callable[..., Any]) -> Callable[..., Any]:
    async def handler(*arguments: Any) -> Any:
        message = _begin(receiver, packet)
        if message is None:
            return None
        token = current_message.set(message)
        try:
            result = await function(*arguments)
        except BaseException as error:
            closed_here = receiver.gone is not None and not receiver.gone.is_by_device
            ended = isinstance(error, (GeneratorExit, *receiver.passed_on)) or (is_cancelled(error) and closed_here)
            if not (ended or _ends_child(receiver, error)):  # what has failed counts as handled: it would fail for ever
                _end(receiver, packet, [])
            raise
        finally:
            current_message.reset(token)
        _end(receiver, packet, message.effects)
        return result

    return handler


def _ends_child(receiver: Receiver, error: BaseException) -> bool:
    """Return whether it ends a process that the handler has forked, where nothing can be noted."""
    return isinstance(error, SystemExit) and bool(receiver.manager._disowned)


def _begin(receiver: Receiver, packet: v2.Packet) -> Message | None:
    """Check the sequence number of a durable message before its handler runs.

    Returns:
        The message; None for a repetition, which is acknowledged again, and after a gap, which the device is told of.
    """
    time_ms = packet.time if packet.flags & v2.TIME else None
    if not packet.flags & v2.DURABLE:
        return Message("", time_ms)
    stream, queue = _stream_of(receiver)
    try:
        if not queue.is_new(stream, packet.number, packet.previous):
            queue.say_heard()
            return None
    except StreamGap as error:
        receiver.complain(error)
        return None
    return Message(f"{stream}/{packet.number}", time_ms)


def _end(receiver: Receiver, packet: v2.Packet, effects: list[Callable[[Any], object]]) -> None:
    if packet.flags & v2.DURABLE:
        stream, queue = _stream_of(receiver)
        queue.took(stream, packet.number, packet.previous, effects)


def _stream_of(receiver: Receiver) -> tuple[str, DurableQueue]:
    channel = receiver.durable
    assert channel is not None  # the device is in
    return channel.stream or "", channel.announced
