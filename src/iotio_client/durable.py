"""Durable messages of a device: its own, which wait for the server, and the server's, which take effect once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from iotio_protocol import v2
from iotio_protocol.errors import EncodeError, InvalidPacket, StreamGap

from .buffer import Buffer
from .codec import Codec
from .errors import BufferFailed, ConnectFailed
from .link import Link, State
from .message import Effect
from .received import Dispatch, Ignored

__all__ = ["DurableMessages", "Flushes"]

_MAX_FLYING = 1 << 16  # bytes of durable messages on their way: what else is sent waits behind no more than that
_V1_WINDOW = 100  # durable messages that a server without ACK is sent before a ping


class DurableMessages:
    """Keep the durable messages of a device, in both directions, across its connections.

    From the server: each message is dispatched to its handler. `known` says whether it is a duplicate or follows a gap,
    and `handled` keeps that it was handled and returns its ACK.

    To the server: `keep` stores a message. `next` returns the messages to send until none is left, and is called again
    after each ACK.

    `resume` is called when a connection begins, before the session's `opened`, and `suspend` when it has ended.

    Args:
        link: the connection to the server.
        codec: encodes the packets.
        buffer: stores the messages.

    Attributes:
        buffer: stores the messages.
    """

    def __init__(self, link: Link, codec: Codec, buffer: Buffer) -> None:
        self.buffer = buffer
        self._link = link
        self._codec = codec
        self._written = 0  # the last durable message that went to a server without ACK
        self._probing = 0  # and the one that a ping was sent behind

    def resume(self) -> None:
        """Begin where the server says that it is.

        Raises:
            ConnectFailed: the buffer's file cannot be written.
        """
        self._written = self._probing = 0
        try:
            self.buffer.resume(*self._link.server.heard, self._link.server.sends)
        except BufferFailed as error:
            raise ConnectFailed(f"durable messages cannot be noted: {error}") from error

    def suspend(self) -> None:
        """Stop sending, as the connection has ended."""
        self.buffer.suspend()

    # Messages of the server.

    def known(self, received: Dispatch) -> Ignored | None:
        """Decide, just before its handler would run, whether a durable message is a duplicate or follows a gap.

        Returns:
            None: it is to be handled. Ignored with `invalid`: one before it is missing; send the reply, and then
            raise `Session.give_up`.
        """
        if not received.number:
            return None
        try:
            if self.buffer.is_new(received.number, received.previous):
                return None
        except StreamGap as error:
            return Ignored(f"a durable message: {error}", invalid=True, reply=self._codec.problem(error))
        ack = v2.encode_ack(self.buffer.incoming.last)
        return Ignored(f"durable message {received.number}, which came before", invalid=False, reply=ack)

    def message_id(self, received: Dispatch) -> str:
        """Return what names a durable message; "" for another one."""
        return f"{self.buffer.incoming.stream}/{received.number}" if received.number else ""

    def handled(self, received: Dispatch, effects: Iterable[Effect] = ()) -> bytes | None:
        """Keep that a message has been handled, by a result, an exception or no handler.

        Returns:
            Its ACK if it is durable.

        Raises:
            BufferFailed: the file cannot be written: raise `Session.give_up`.
            Exception: of an effect; call this again without effects.
        """
        if not received.number:
            return None
        self.buffer.took(received.number, effects)
        return v2.encode_ack(received.number)

    # Messages of this device.

    def keep(self, event: str, value: Any, time: int) -> int:
        """Keep a message until the server has it.

        Args:
            event: its event.
            value: what it carries.
            time: when it was by the device's clock, in milliseconds since 1970.

        Returns:
            Its number.

        Raises:
            EncodeError: the event or the value cannot travel.
            BufferFull: there is no room.
            BufferFailed: the file cannot be written.
        """
        kind, body = v2.encode_value(value)
        v2.encode_head(kind, event)
        if self._link.state is State.OPEN or self._link.wanted in (0, 1):
            self._codec.encode(event, value)  # what this server does not take is said at once
        return self.buffer.put(event, kind, body, time)

    def next(self) -> bytes | str | None:
        """Return the packet of the next message, which then counts as sent; None if none may be sent now.

        Raises:
            EncodeError: the server cannot take it; it has been dropped. Go on with the next one.
            BufferFailed: likewise, and the file cannot be written.
        """
        if self._link.state is not State.OPEN or self._probing:
            return None
        window = self._link.server.max_unacknowledged if self._link.version == 2 else _V1_WINDOW
        item = self.buffer.next(window, _MAX_FLYING)
        if item is None:
            return None
        previous, number, kept = item
        try:
            packet = self._codec.encode_kept(previous, number, kept)
        except EncodeError:
            self.buffer.drop_unsent(previous, number)
            raise
        self._written = number
        return packet

    def probe(self) -> int:
        """Return the number to give to `acknowledged` when a ping is answered that is sent after the last of `next`.

        0: no ping is needed, as the server sends ACK or nothing was sent.
        """
        if self._link.version == 2 or self._probing or not self._written:
            return 0
        self._probing, self._written = self._written, 0
        return self._probing

    def acknowledged(self, upto: int) -> Ignored | None:
        """Forget the messages up to a number, which the server has. Returns what to do if that is wrong.

        Raises:
            BufferFailed: the file cannot be written. It does no harm: the next connection says it again.
        """
        self._probing = 0
        try:
            self.buffer.acknowledge(upto)
        except InvalidPacket as error:
            return self._codec.invalid(error, b"")
        return None


class Waiter(Protocol):
    """A thread or a task that waits in `flush`."""

    def settle(self, value: Any) -> None:
        """Let it go on. Harmless when called twice."""


_W = TypeVar("_W", bound=Waiter)


class Flushes(Generic[_W]):
    """Let those go on that wait in `flush`, as the server acknowledges durable messages.

    Every method may be called from any thread that `Waiter.settle` may be called from.

    Args:
        buffer: the messages.
        make: makes a waiter.
    """

    def __init__(self, buffer: Buffer, make: Callable[[], _W]) -> None:
        self._buffer = buffer
        self._make = make
        self._waiting: list[tuple[int, _W]] = []

    def add(self) -> _W:
        """Return a waiter that `settle` settles once all messages kept so far are acknowledged or dropped.

        `settle` is next, for there may be none; and `remove` in any case.
        """
        waiter = self._make()
        self._waiting.append((self._buffer.outgoing.counter, waiter))
        return waiter

    def remove(self, waiter: _W) -> None:
        """Forget a waiter."""
        for entry in list(self._waiting):
            if entry[1] is waiter:
                self._waiting.remove(entry)

    def settle(self) -> None:
        """Let those go on whose messages have all been acknowledged or dropped."""
        if not self._waiting:  # before the buffer's lock, which a disk may hold
            return
        oldest = self._buffer.oldest
        for number, waiter in list(self._waiting):  # a copy, for other threads add and remove meanwhile
            if oldest is None or oldest > number:
                waiter.settle(None)
