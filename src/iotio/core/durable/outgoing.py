"""The outgoing half of the durable messages of one device: kept, sent in order, acknowledged.

`OutgoingQueue.put` keeps a message while the device is away, and `OutgoingQueue.resume` sends it when it is back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from iotio_protocol import v2
from iotio_protocol.errors import EncodeError
from iotio_protocol.frames import BINARY, encode_frame
from iotio_protocol.stream import Outgoing

from ..ports import DurableLink
from ..primitives import allocate_lock
from ..storage.batch import Ticket
from ..storage.records import MessageRecord
from .delivery import Delivery, DeliveryState

__all__ = ["OutgoingOwner", "OutgoingQueue", "QueueOwner"]

_FORGOTTEN = "the device was forgotten"


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

    wall: Callable[[], float]

    def no_room(self, count: int, size: int) -> str: ...
    def write(self, queue: OutgoingQueue, delivery: Delivery) -> Ticket | None: ...
    def keep(self, queue: OutgoingQueue, delivery: Delivery) -> None: ...
    def removed(self, queue: OutgoingQueue, deliveries: list[Delivery], *, write: bool = True) -> None: ...
    def stalled(self, queue: OutgoingQueue) -> None: ...


class OutgoingQueue:
    """The messages to one device. Every method may be called from any thread.

    The lock is held while frames are handed to the connection, which never waits: so they go out in the order of
    their numbers.

    Args:
        messages: keeps the messages of all devices.
        device: whose queue it is.
        stream: the name of the stream to the device.
        counter: the last number that was given in it.
    """

    __slots__ = ("_connection", "_device", "_lock", "_messages", "_size", "_stream")

    def __init__(self, messages: OutgoingOwner, device: QueueOwner, stream: str, counter: int) -> None:
        self._messages = messages
        self._device = device
        self._stream: Outgoing[Delivery] = Outgoing(stream, counter)
        self._connection: DurableLink | None = None
        self._lock = allocate_lock()
        self._size = 0  # bytes that are kept

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
            replaced = self._take_replaced(delivery)
            size = self._size - sum(len(one.record.value) for one in replaced) + len(delivery.record.value)
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
            self._finish(self._stream.resume(stream, upto), DeliveryState.DONE)
            for _, delivery in self._stream:
                delivery.become(DeliveryState.QUEUED)
            self._send_on()

    def suspend(self) -> None:
        """Queue again what was sent and not acknowledged: the connection is closed."""
        with self._lock:
            self._connection = None
            self._stream.suspend()
            for _, delivery in self._stream:
                delivery.become(DeliveryState.QUEUED)

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
        now = self._messages.wall()
        last = 0
        while (item := self._stream.peek()) is not None:
            previous, number, delivery = item
            if delivery.expires is not None and delivery.expires <= now:
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
            if problem := connection.send(frame):
                if problem != "offline":  # others have filled it in between
                    self._messages.stalled(self)
                break
            self._stream.next()
            last = number
            delivery.become(DeliveryState.SENT)
        if last and connection.version != 2:
            connection.probe(last)

    def send_on(self) -> None:
        """Send what can be sent now."""
        with self._lock:
            self._send_on()


def _frame(connection: DurableLink, previous: int, number: int, record: MessageRecord) -> bytes:
    if connection.version == 2:
        time = int(record.created * 1000)
        head = v2.encode_head(
            record.kind, record.event, v2.DURABLE | v2.TIME, number=number, previous=previous, time=time
        )
        return encode_frame(BINARY, head + len(record.value).to_bytes(4, "big") + record.value)
    value: Any = v2.decode_value(record.kind, record.value)
    return connection.encode(record.event, value)
