"""The outgoing half of the durable messages of one device: kept, sent in order, acknowledged.

`OutgoingQueue.put` keeps a message while the device is away, and `OutgoingQueue.resume` sends it when it is back.
"""

from __future__ import annotations

from typing import Any, Protocol

from iotio_protocol import v2
from iotio_protocol.errors import EncodeError, TooLarge
from iotio_protocol.frames import BINARY, encode_frame
from iotio_protocol.stream import Outgoing

from ..ports import DurableLink
from ..primitives import allocate_lock
from ..storage.batch import Ticket
from ..storage.records import MessageRecord
from .delivery import Delivery, DeliveryState

__all__ = ["OutgoingOwner", "OutgoingQueue", "QueueOwner"]

_FORGOTTEN = "the device was forgotten"
_TRIES = 3  # connections that a device ends right behind a message, as too big, before the message is dropped


class QueueOwner(Protocol):
    """The device that a stream belongs to.

    Attributes:
        device_id: its id.
        closed: whether it is forgotten.
    """

    device_id: str
    closed: bool


class OutgoingOwner(Protocol):
    """What an outgoing queue needs of those who keep the messages of all devices."""

    def clock(self) -> float: ...
    def no_room(self, count: int, size: int) -> str: ...
    def write(self, queue: OutgoingQueue, delivery: Delivery) -> Ticket | None: ...
    def keep(self, queue: OutgoingQueue, delivery: Delivery) -> None: ...
    def removed(self, queue: OutgoingQueue, deliveries: list[Delivery], *, write: bool = True) -> None: ...
    def stalled(self, queue: OutgoingQueue) -> None: ...
    def log_too_large(self, delivery: Delivery, why: str) -> None: ...


class OutgoingQueue:
    """The messages to one device. Every method may be called from any thread.

    The lock is held while frames are handed to the connection, which never waits: so they go out in the order of
    their numbers.

    Args:
        messages: keeps the messages of all devices.
        device: whose queue it is.
        stream: the name of the stream to the device.
        counter: the last number that was given in it.
        takes: how much the device takes, as far as is known.
    """

    __slots__ = ("_connection", "_device", "_lock", "_messages", "_size", "_stream", "_suspect", "_takes")

    def __init__(self, messages: OutgoingOwner, device: QueueOwner, stream: str, counter: int, takes: v2.Takes) -> None:
        self._messages = messages
        self._device = device
        self._stream: Outgoing[Delivery] = Outgoing(stream, counter)
        self._connection: DurableLink | None = None
        self._lock = allocate_lock()
        self._size = 0  # bytes that are kept
        self._takes = takes
        self._suspect = _Suspect()

    @property
    def device_id(self) -> str:
        """The id of the device."""
        return self._device.device_id

    @property
    def closed(self) -> bool:
        """Whether the device is forgotten."""
        return self._device.closed

    @property
    def position(self) -> tuple[str, int]:
        """Name and counter of the stream, as a store keeps them."""
        return self._stream.name, self._stream.counter

    def put(self, delivery: Delivery) -> str:
        """Keep a message until the device has it. It is sent when it is written down, if the device is there.

        Returns:
            "" or why it was refused.

        Raises:
            StoreUnavailable: the store cannot be written.
        """
        messages = self._messages
        with self._lock:
            if len(delivery.record.value) > self._takes.max_payload:
                self._log_too_large(delivery)
                delivery.become(DeliveryState.DROPPED, TooLarge.reason)
                return TooLarge.reason
            replaced = self._take_replaced(delivery)
            freed = sum(len(one.record.value) for one in replaced if one.may_go)  # the rest waits for the store itself
            size = self._size - freed + len(delivery.record.value)
            problem = messages.no_room(len(self._stream) - len(replaced), size)
            if problem:
                delivery.become(DeliveryState.DROPPED, problem)
                return problem
            delivery.assign(self._stream.counter + 1)
            ticket = messages.write(self, delivery)  # raises before anything has changed
            if self.closed:
                delivery.become(DeliveryState.DROPPED, _FORGOTTEN)
                return _FORGOTTEN
            if ticket is not None:
                delivery.await_store()
            self._stream.add(delivery)
            self._size += len(delivery.record.value)
            messages.keep(self, delivery)
            if ticket is None:
                self._replace(replaced, delivery)
                self._send_on()
        if ticket is not None:
            ticket.done.add_callback(lambda: self._written(delivery, replaced, ticket.error))
        return ""

    def _written(self, delivery: Delivery, replaced: list[Delivery], error: Exception | None) -> None:
        """Send a message that is written; drop one that could not be. In the writer's thread, in order of numbers."""
        with self._lock:
            if error is None:
                self._replace(replaced, delivery)
            elif not delivery.is_over:
                delivery.not_written = True
                self._remove(delivery, DeliveryState.DROPPED, f"it could not be written: {error}", write=False)
            delivery.store_decided()
            try:
                self._send_on()
            finally:
                delivery.tell_written()

    def _replace(self, replaced: list[Delivery], delivery: Delivery) -> None:
        """Drop the messages that `delivery` replaces, except those that were sent meanwhile.

        `delivery` is stored already. If the server is killed before the dropped messages are deleted from the store,
        the device gets both.
        """
        for one in replaced:
            if not one.is_over and not self._stream.was_sent(one.number):
                self._remove(one, DeliveryState.DROPPED, f"replaced by {delivery.id}")

    def restore(self, delivery: Delivery) -> None:
        """Put back what the store has kept."""
        delivery.is_stored()
        self._stream.restore(delivery.number, delivery)
        self._size += len(delivery.record.value)
        self._messages.keep(self, delivery)

    def _take_replaced(self, delivery: Delivery) -> list[Delivery]:
        if delivery.coalesce is None:
            return []
        return [
            kept
            for number, kept in self._stream
            if kept.coalesce == delivery.coalesce and not self._stream.was_sent(number)
        ]

    def withdraw(self, delivery: Delivery, state: DeliveryState, reason: str = "") -> bool:
        """Drop a message that was not sent. Returns False if it was, or if its state can change no more."""
        with self._lock:
            if delivery.is_over or self._stream.was_sent(delivery.number):
                return False
            self._remove(delivery, state, reason)
        return True

    def _remove(self, delivery: Delivery, state: DeliveryState, reason: str = "", *, write: bool = True) -> None:
        if self._stream.drop(delivery.number) is not None:
            self._size -= len(delivery.record.value)
        delivery.become(state, reason)
        self._messages.removed(self, [delivery], write=write)

    def kept(self) -> list[Delivery]:
        """List the messages that are queued or sent, in order."""
        with self._lock:
            return [delivery for _, delivery in self._stream]

    def drop_all(self) -> None:
        """Drop all: the device is forgotten. The store deletes the messages with the device."""
        with self._lock:
            for _, delivery in self._stream:
                self._remove(delivery, DeliveryState.DROPPED, _FORGOTTEN, write=False)

    @property
    def waiting(self) -> int:
        """Messages that are kept for the device."""
        return len(self._stream)

    @property
    def on_their_way(self) -> int:
        """Messages that were sent over the present connection and are not acknowledged."""
        return self._stream.on_their_way

    def resume(self, connection: DurableLink, stream: str | None, upto: int) -> None:
        """Drop what the device has, and send the rest over a connection.

        Args:
            connection: over which.
            stream: the stream that the device knows, or None.
            upto: the last message of it that the device has handled.
        """
        with self._lock:
            self._connection = connection
            self._takes = connection.takes
            self._finish(self._stream.resume(stream, upto), DeliveryState.DONE)
            for _, delivery in self._stream:
                if len(delivery.record.value) > self._takes.max_payload:  # it takes less than before
                    self._log_too_large(delivery)
                    self._remove(delivery, DeliveryState.DROPPED, TooLarge.reason)
                else:
                    delivery.become(DeliveryState.QUEUED)
            self._send_on()

    def suspend(self, *, too_big: bool = False) -> None:
        """Queue again what was sent and not acknowledged: the connection is closed.

        Args:
            too_big: whether the device closed it because a message was too big for it.
        """
        with self._lock:
            if too_big and self._connection is not None and self._stream.on_their_way:
                self._blame(self._connection)
            self._connection = None
            self._stream.suspend()
            for _, delivery in self._stream:
                delivery.become(DeliveryState.QUEUED)

    def _blame(self, connection: DurableLink) -> None:
        """Drop the message that was sent last, with nothing behind it, if that is too big for the third time.

        From the first time on the messages that may be meant are sent one by one, so that it is known which one it is.
        """
        number = self._suspect.blame(self._stream.last_sent, connection.sent)
        delivery = None if number is None else self._stream.get(number)
        if delivery is not None:
            why = f"the device has closed {_TRIES} connections right behind it as too big"
            self._messages.log_too_large(delivery, why)
            self._remove(delivery, DeliveryState.DROPPED, TooLarge.reason)

    def _log_too_large(self, delivery: Delivery) -> None:
        self._messages.log_too_large(delivery, str(TooLarge(len(delivery.record.value), self._takes.max_payload)))

    def acknowledge(self, connection: DurableLink, upto: int, state: DeliveryState) -> None:
        """Finish all messages up to a number: the device has them.

        Raises:
            InvalidPacket: that was never sent to it.
        """
        with self._lock:
            if self._connection is not connection:
                return  # the one that has taken its place knows better
            self._finish(self._stream.acknowledge(upto), state)
            self._send_on()

    def _finish(self, done: list[tuple[int, Delivery]], state: DeliveryState) -> None:
        for _, delivery in done:
            self._size -= len(delivery.record.value)
            delivery.become(state)
        if done:
            self._messages.removed(self, [delivery for _, delivery in done])

    def _send_on(self) -> None:
        """Send what can be sent now. The lock is held."""
        connection = self._connection
        if connection is None:
            return
        now = self._messages.clock()
        last = 0
        while (item := self._stream.peek(self._window())) is not None:
            previous, number, delivery = item
            if delivery.deadline is not None and delivery.deadline <= now:
                self._remove(delivery, DeliveryState.EXPIRED)
                continue
            if not delivery.may_go:
                break
            try:
                frame = _frame(connection, previous, number, delivery.record)
            except EncodeError as error:
                self._remove(delivery, DeliveryState.DROPPED, str(error))
                continue
            if not connection.has_room_for_durable(len(frame)):
                self._messages.stalled(self)
                break
            before = connection.sent
            if problem := connection.send(frame):
                if problem != "offline":  # others have filled it in between
                    self._messages.stalled(self)
                break
            self._stream.next()
            last = number
            self._suspect.note_sent(before, connection.sent)
            delivery.become(DeliveryState.SENT)
        if last and connection.version != 2:
            connection.probe(last)

    def _window(self) -> int:
        """Return how many messages may be on their way: one while it is to be found out which one is too big."""
        oldest = self._stream.oldest
        return 1 if oldest is not None and oldest <= self._suspect.upto else self._takes.max_unacknowledged

    def send_on(self) -> None:
        """Send what can be sent now."""
        with self._lock:
            self._send_on()


class _Suspect:
    """Which message a device finds too big, as it does not say.

    Attributes:
        upto: one of the messages up to this number may be it.
    """

    __slots__ = ("_number", "_position", "_times", "upto")

    def __init__(self) -> None:
        self.upto = 0
        self._number = 0  # the message that was the last one before such a closing
        self._times = 0  # in a row
        self._position = -1  # how much the connection had been sent with the last message; -1: that is not known

    def note_sent(self, before: int, after: int) -> None:
        """Note that a message was sent: how much the connection had been sent before it, and behind it."""
        self._position = after if after == before + 1 else -1  # another thread has sent something else

    def blame(self, number: int, position: int) -> int | None:
        """Note a closing of the connection.

        Args:
            number: of the last message that was sent.
            position: how much the connection has been sent in all.

        Returns:
            The message to drop; None: not yet.
        """
        self.upto = max(self.upto, number)
        if position != self._position:  # it may have been what was sent behind it
            return None
        self._times = self._times + 1 if number == self._number else 1
        self._number = number
        return number if self._times >= _TRIES else None


def _frame(connection: DurableLink, previous: int, number: int, record: MessageRecord) -> bytes:
    if connection.version == 2:
        time = int(record.created * 1000)
        head = v2.encode_head(
            record.kind, record.event, v2.DURABLE | v2.TIME, number=number, previous=previous, time=time
        )
        return encode_frame(BINARY, head + len(record.value).to_bytes(4, "big") + record.value)
    value: Any = v2.decode_value(record.kind, record.value)
    return connection.encode(record.event, value)
