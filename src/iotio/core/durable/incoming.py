"""The incoming half of the durable messages of one device: each is handled once, written down, acknowledged."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from iotio_protocol import v2
from iotio_protocol.frames import BINARY, encode_frame
from iotio_protocol.stream import MAX_UNACKNOWLEDGED, Incoming

from ..ports import DurableLink, Effect
from ..primitives import allocate_lock
from ..storage.batch import Ticket
from ..storage.contract import StoreUnavailable
from .outgoing import QueueOwner

__all__ = ["Effect", "IncomingOwner", "IncomingStream"]

Effects = tuple[str, int, list[Effect]]
"""The stream and the number of a message, and its effects."""


class IncomingOwner(Protocol):
    """What an incoming stream needs of those who keep the messages of all devices."""

    def write_heard(self, device_id: str, stream: str, number: int, effects: list[Effect]) -> Ticket | None: ...
    def confirm_later(self, stream: IncomingStream) -> None: ...
    def log_refused(self, device_id: str, error: Exception) -> None: ...
    def log_lost(self, device_id: str, number: int, error: BaseException) -> None: ...


class IncomingStream:
    """The messages from one device. Every method may be called from any thread.

    Args:
        messages: keeps the messages of all devices.
        device: whose stream it is.
        stream: the name of the stream, or None.
        heard: the last number of it that was handled.
    """

    __slots__ = (
        "_confirming",
        "_connection",
        "_device",
        "_effects",
        "_lock",
        "_messages",
        "_noted",
        "_one_by_one",
        "_stream",
    )

    def __init__(self, messages: IncomingOwner, device: QueueOwner, stream: str | None, heard: int) -> None:
        self._messages = messages
        self._device = device
        self._stream = Incoming(stream, heard)
        self._connection: DurableLink | None = None
        self._lock = allocate_lock()
        self._noted = (stream, heard)  # of the device's stream, what is written down; replaced as a whole
        self._effects: list[Effects] = []  # what is to be written with the next turn, by message
        self._one_by_one = 0  # queued effects to commit one at a time, to find the one that makes the transaction fail
        self._confirming = False  # a turn is being written

    @property
    def device_id(self) -> str:
        """The id of the device."""
        return self._device.device_id

    @property
    def closed(self) -> bool:
        """Whether the device is forgotten."""
        return self._device.closed

    @property
    def last(self) -> int:
        """The last number that was handled."""
        return self._stream.last

    @property
    def position(self) -> tuple[str | None, int]:
        """The name of the stream, and the last number that is written down."""
        return self._noted

    def greet(self, sends: str | None) -> tuple[str | None, int]:
        """Take the name of the device's stream from its HELLO; another one than before begins anew.

        Args:
            sends: the name; None if it has no stream this time, which changes nothing.

        Returns:
            `position`.
        """
        with self._lock:
            if sends is not None and sends != self._stream.stream:
                self._stream.resume(sends)
                self._noted = (sends, 0)
            return self._noted

    def resume(self, connection: DurableLink) -> None:
        """Acknowledge over this connection from now on."""
        self._connection = connection

    def suspend(self) -> None:
        """Acknowledge nothing any more: the connection is closed."""
        self._connection = None

    def is_new(self, stream: str, number: int, previous: int) -> bool:
        """Ask whether a message is to be handled; a duplicate is acknowledged again. Raises StreamGap."""
        with self._lock:
            return stream == self._stream.stream and self._stream.is_new(number, previous)

    def took(self, stream: str, number: int, previous: int, effects: list[Effect]) -> None:
        """Write down that a message of the device was handled, then acknowledge it.

        Args:
            stream: that the message is of.
            number: of the message.
            previous: of the one before it.
            effects: what the handler wants done in the same transaction.
        """
        with self._lock:
            incoming = self._stream
            if stream != incoming.stream:  # a device that has lost its memory has come back in between
                return
            if number <= incoming.last or previous > incoming.last:
                return  # another connection has brought it, too; or the one before it was taken back
            if effects and len(self._effects) >= MAX_UNACKNOWLEDGED:
                error: Exception | None = StoreUnavailable(f"{len(self._effects)} messages wait for it already")
            else:
                error = None
                incoming.took(number)
                if effects:
                    self._effects.append((stream, number, effects))
                if self._confirming:
                    return
                self._confirming = True
            connection = self._connection
        if error is None:
            self.confirm()
        elif connection is not None:  # it may send that again, and all that comes behind it
            connection.cannot_store(error)

    def confirm(self) -> None:
        """Write down what was handled, in one turn; what is handled meanwhile is one more turn.

        One turn at a time: a later one must not be written where an earlier one could not be.
        """
        while True:
            with self._lock:
                turn = self._effects[:1] if self._one_by_one else _of_one_stream(self._effects)
                self._effects = self._effects[len(turn) :]
                self._one_by_one = max(0, self._one_by_one - 1)
                stream, last = self._stream.stream, self._stream.last
                if turn and (self._effects or turn[0][0] != stream):
                    stream, last = turn[-1][:2]
            assert stream is not None
            effects = [effect for *_, some in turn for effect in some]
            try:
                ticket = self._messages.write_heard(self.device_id, stream, last, effects)
            except StoreUnavailable as error:
                self._try_again(turn, error)
                return
            if ticket is not None:
                ticket.done.add_callback(partial(self._confirmed, stream, last, turn, ticket))
                return
            if not self._committed(stream, last):
                return

    def _confirmed(self, stream: str, number: int, turn: list[Effects], ticket: Ticket) -> None:
        """Deal with what became of a turn; in the writer's thread."""
        error = ticket.error
        if isinstance(error, StoreUnavailable):
            self._try_again(turn, error)
            return
        if error is None or not turn:  # what is written without effects has its error from its neighbours
            more = self._committed(stream, number)
        elif len(turn) == 1:
            self._messages.log_lost(self.device_id, turn[0][1], error)
            more = True  # as with a handler that fails, it counts as handled: it would fail for ever
        else:
            with self._lock:
                self._effects = turn + self._effects
                self._one_by_one = len(turn)
            more = True
        if more:
            self.confirm()

    def _committed(self, stream: str, number: int) -> bool:
        """Record the committed position and acknowledge it to the device.

        Returns:
            Whether newer messages wait to be committed.
        """
        with self._lock:
            if stream == self._stream.stream:
                self._noted = (stream, number)
            more = self._confirming = self._stream.last > self._noted[1] or bool(self._effects)
        self.say_heard()
        return more

    def _try_again(self, turn: list[Effects], error: Exception) -> None:
        """Put the turn back: the store cannot be written now. The device keeps messages until they are acknowledged."""
        with self._lock:
            self._effects = turn + self._effects
        self._messages.log_refused(self.device_id, error)
        self._messages.confirm_later(self)

    def say_heard(self) -> None:
        """Acknowledge what is written down."""
        connection, number = self._connection, self._noted[1]
        if connection is not None and number:
            connection.acknowledge(encode_frame(BINARY, v2.encode_ack(number)))


def _of_one_stream(effects: list[Effects]) -> list[Effects]:
    """List the first ones, of one stream: a device that has lost its memory begins another one while these wait."""
    return [one for one in effects if one[0] == effects[0][0]]
