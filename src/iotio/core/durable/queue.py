"""Durable messages to and from one device: what is kept, what is on its way, what has been handled."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from iotio_protocol import v2
from iotio_protocol.errors import EncodeError
from iotio_protocol.frames import BINARY, encode_frame
from iotio_protocol.stream import MAX_UNACKNOWLEDGED, Incoming, Outgoing

from ..ports import DurableLink
from ..primitives import allocate_lock
from ..storage.batch import Ticket
from ..storage.contract import StoreUnavailable
from ..storage.records import MessageRecord
from .delivery import Delivery, DeliveryState

__all__ = ["DurableQueue", "Effect"]

logger = logging.getLogger("iotio.connection")

_FORGOTTEN = "the device was forgotten"
_ABSURD = v2.MAX_NUMBER // 2  # no stream has come so far

Effect = Callable[[Any], object]
"""What a handler wants done in the transaction that notes its message as handled; see `Message.transaction`."""


Effects = tuple[str, int, list[Effect]]
"""The stream and the number of a message, and its effects."""


class Shelf(Protocol):
    """What a queue needs of the server's."""

    wall: Callable[[], float]

    def no_room(self, count: int, size: int) -> str: ...
    def write(self, queue: DurableQueue, delivery: Delivery) -> Ticket | None: ...
    def keep(self, queue: DurableQueue, delivery: Delivery) -> None: ...
    def let_go(self, queue: DurableQueue, deliveries: list[Delivery], *, write: bool = True) -> None: ...
    def stalled(self, queue: DurableQueue) -> None: ...
    def write_heard(self, device_id: str, stream: str, number: int, effects: list[Effect]) -> Ticket | None: ...
    def confirm_later(self, queue: DurableQueue) -> None: ...
    def log_refused(self, device_id: str, error: Exception) -> None: ...


class DurableQueue:
    """The two streams of one device. Every method may be called from any thread.

    The lock is held while frames are handed to the connection, which never waits: so they go out in the order of
    their numbers.

    Args:
        post: the server's.
        device_id: whose it is.
        stream: the name of the stream to the device.
        counter: the last number that was given in it.
        heard_stream: the name of the device's stream, or None.
        heard: the last number of it that was handled.
    """

    __slots__ = (
        "_careful",
        "_confirming",
        "_connection",
        "_effects",
        "_epoch",
        "_lock",
        "_noted",
        "_post",
        "_size",
        "closed",
        "device_id",
        "incoming",
        "outgoing",
    )

    def __init__(
        self,
        post: Shelf,
        device_id: str,
        stream: str,
        counter: int = 0,
        heard_stream: str | None = None,
        heard: int = 0,
    ) -> None:
        self._post = post
        self.device_id = device_id
        self.closed = False  # the device is forgotten; set by the post, under its lock
        self.outgoing: Outgoing[Delivery] = Outgoing(stream, counter)
        self.incoming = Incoming(heard_stream, heard)
        self._connection: DurableLink | None = None  # the one that both streams go over
        self._epoch = -1  # of the last one
        self._lock = allocate_lock()
        self._size = 0  # bytes that are kept
        self._noted = (heard_stream, heard)  # of the device's stream, what is written down; replaced as a whole
        self._effects: list[Effects] = []  # what is to be written with the next turn, by message
        self._careful = 0  # of these, how many must be written one by one, as one of them cannot be
        self._confirming = False  # it is being written down

    # -- to the device ---------------------------------------------------------------------------------

    def put(self, delivery: Delivery) -> str:
        """Keep a message until the device has it. It is sent when it is written down, if the device is there.

        Returns:
            "" or why it was refused.

        Raises:
            StoreUnavailable: the store cannot be written.
        """
        post = self._post
        with self._lock:
            replaced = self._take_replaced(delivery)
            size = self._size - sum(len(one.record.value) for one in replaced) + len(delivery.record.value)
            problem = post.no_room(len(self.outgoing) - len(replaced), size)
            if problem:
                delivery.become(DeliveryState.DROPPED, problem)
                return problem
            delivery.assign(self.outgoing.counter + 1)
            ticket = post.write(self, delivery)  # raises before anything has changed
            if self.closed:
                delivery.become(DeliveryState.DROPPED, _FORGOTTEN)
                return _FORGOTTEN
            if ticket is not None:
                delivery.await_store()
            self.outgoing.add(delivery)
            self._size += len(delivery.record.value)
            post.keep(self, delivery)
            if ticket is None:
                self._replace(replaced, delivery)
                self._send_on()
        if ticket is not None:
            ticket.done.add_callback(lambda: self._written(delivery, replaced, ticket.error))
        return ""

    def _written(self, delivery: Delivery, replaced: list[Delivery], error: Exception | None) -> None:
        """In the writer's thread, in the order of the numbers. What could not be written is refused."""
        with self._lock:
            if error is None:
                self._replace(replaced, delivery)
            elif not delivery.is_over:
                delivery.not_written = True
                self._remove(delivery, DeliveryState.DROPPED, f"it could not be written: {error}", write=False)
            delivery.store_decided()
            self._send_on()

    def _replace(self, replaced: list[Delivery], delivery: Delivery) -> None:
        """Forget the messages whose place a later one has taken, but for what has been sent by now.

        The later one is written by now. If the server is killed before this is, the device gets both.
        """
        for one in replaced:
            if not one.is_over and not self.outgoing.was_sent(one.number):
                self._remove(one, DeliveryState.DROPPED, f"replaced by {delivery.id}")

    def restore(self, delivery: Delivery) -> None:
        """Put back what the store has kept."""
        delivery.is_stored()
        self.outgoing.restore(delivery.number, delivery)
        self._size += len(delivery.record.value)
        self._post.keep(self, delivery)

    def _take_replaced(self, delivery: Delivery) -> list[Delivery]:
        if delivery.coalesce is None:
            return []
        return [
            kept
            for number, kept in self.outgoing
            if kept.coalesce == delivery.coalesce and not self.outgoing.was_sent(number)
        ]

    def withdraw(self, delivery: Delivery, state: DeliveryState, reason: str = "") -> bool:
        """Forget a message that has not been sent. False: it has, or it is over."""
        with self._lock:
            if delivery.is_over or self.outgoing.was_sent(delivery.number):
                return False
            self._remove(delivery, state, reason)
        return True

    def _remove(self, delivery: Delivery, state: DeliveryState, reason: str = "", *, write: bool = True) -> None:
        if self.outgoing.drop(delivery.number) is not None:
            self._size -= len(delivery.record.value)
        delivery.become(state, reason)
        self._post.let_go(self, [delivery], write=write)

    @property
    def position(self) -> tuple[str, int, str | None, int]:
        """What a store keeps: name and counter of the stream to the device, name of its own, and how far that is."""
        return self.outgoing.name, self.outgoing.counter, *self._noted

    def kept(self) -> list[Delivery]:
        """The messages that wait for the device, in order."""
        with self._lock:
            return [delivery for _, delivery in self.outgoing]

    def drop_all(self) -> None:
        """Forget all: the device is forgotten. The queue is closed, and the store forgets by itself."""
        with self._lock:
            for _, delivery in self.outgoing:
                self._remove(delivery, DeliveryState.DROPPED, _FORGOTTEN, write=False)

    @property
    def waiting(self) -> int:
        """Messages that are kept for the device."""
        return len(self.outgoing)

    @property
    def on_their_way(self) -> int:
        """Messages that were sent over the present connection and are not acknowledged."""
        return self.outgoing.on_their_way

    # -- connections -----------------------------------------------------------------------------------

    def greet(self, sends: str | None) -> dict[str, object]:
        """What the device is told in WELCOME.

        Args:
            sends: the name of its stream.
        """
        with self._lock:
            if sends is not None and sends != self.incoming.stream:
                self.incoming.resume(sends)
                self._noted = (sends, 0)
            stream, upto = self._noted
            heard = None if stream is None else {"stream": stream, "upto": upto}
            return {"sends": self.outgoing.name, "heard": heard}

    def resume(self, connection: DurableLink, stream: str | None = None, upto: int = 0) -> None:
        """The device is there: what it has is over, and the rest is sent.

        Args:
            connection: over which. One that was made before the last one comes too late, and changes nothing.
            stream: the stream that it knows, or None.
            upto: the last message of it that it has handled.
        """
        with self._lock:
            if self._epoch >= connection.epoch:
                return
            self._epoch = connection.epoch
            self._connection = connection
            if upto > _ABSURD:  # there would be no numbers left
                stream = None
            self._finish(self.outgoing.resume(stream, upto), DeliveryState.DONE)
            for _, delivery in self.outgoing:
                delivery.become(DeliveryState.QUEUED)
            self._send_on()

    def suspend(self, connection: DurableLink) -> None:
        """A connection is over."""
        with self._lock:
            if self._connection is connection:
                self._connection = None
                self.outgoing.suspend()
                for _, delivery in self.outgoing:
                    delivery.become(DeliveryState.QUEUED)

    def acknowledge(self, connection: DurableLink, upto: int, state: DeliveryState) -> None:
        """The device has all up to a number.

        Raises:
            InvalidPacket: that was never sent to it.
        """
        with self._lock:
            if self._connection is not connection:
                return  # the one that has taken its place knows better
            self._finish(self.outgoing.acknowledge(upto), state)
            self._send_on()

    def _finish(self, done: list[tuple[int, Delivery]], state: DeliveryState) -> None:
        for _, delivery in done:
            self._size -= len(delivery.record.value)
            delivery.become(state)
        if done:
            self._post.let_go(self, [delivery for _, delivery in done])

    def _send_on(self) -> None:
        """Send what can be sent now. The lock is held."""
        connection = self._connection
        if connection is None:
            return
        now = self._post.wall()
        last = 0
        while (item := self.outgoing.peek()) is not None:
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
                self._post.stalled(self)
                break
            if problem := connection.send(frame):
                if problem != "offline":  # others have filled it in between
                    self._post.stalled(self)
                break
            self.outgoing.next()
            last = number
            delivery.become(DeliveryState.SENT)
        if last and connection.version != 2:
            connection.probe(last)

    def send_on(self) -> None:
        """Send what can be sent now."""
        with self._lock:
            self._send_on()

    # -- from the device -------------------------------------------------------------------------------

    def is_new(self, stream: str, number: int, previous: int) -> bool:
        """Whether a message of the device is to be handled; otherwise it is acknowledged again. Raises StreamGap."""
        with self._lock:
            return stream == self.incoming.stream and self.incoming.is_new(number, previous)

    def took(self, stream: str, number: int, previous: int, effects: list[Effect]) -> None:
        """A message of the device has been handled: write that down, then tell the device.

        Args:
            stream: that the message is of.
            number: of the message.
            previous: of the one before it.
            effects: what the handler wants done in the same transaction.
        """
        with self._lock:
            incoming = self.incoming
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
        """Write down how far it is; what is handled meanwhile is one more turn.

        One turn at a time: a later one must not be written where an earlier one could not be.
        """
        while True:
            with self._lock:
                turn = self._effects[:1] if self._careful else _of_one_stream(self._effects)
                self._effects = self._effects[len(turn) :]
                self._careful = max(0, self._careful - 1)
                stream, last = self.incoming.stream, self.incoming.last
                if turn and (self._effects or turn[0][0] != stream):
                    stream, last = turn[-1][:2]
            assert stream is not None
            effects = [effect for *_, some in turn for effect in some]
            try:
                ticket = self._post.write_heard(self.device_id, stream, last, effects)
            except StoreUnavailable as error:
                self._try_again(turn, error)
                return
            if ticket is not None:
                ticket.done.add_callback(partial(self._confirmed, stream, last, turn, ticket))
                return
            if not self._note(stream, last):
                return

    def _confirmed(self, stream: str, number: int, turn: list[Effects], ticket: Ticket) -> None:
        """In the writer's thread."""
        error = ticket.error
        if isinstance(error, StoreUnavailable):
            self._try_again(turn, error)
            return
        if error is None or not turn:  # what is written without effects has its error from its neighbours
            more = self._note(stream, number)
        elif len(turn) == 1:
            logger.error(
                "what message %d of device %r wanted written cannot be", turn[0][1], self.device_id, exc_info=error
            )
            more = True  # as with a handler that fails, it counts as handled: it would fail for ever
        else:
            with self._lock:
                self._effects = turn + self._effects
                self._careful = len(turn)
            more = True
        if more:
            self.confirm()

    def _note(self, stream: str, number: int) -> bool:
        """So much is written down. Returns whether there is more."""
        with self._lock:
            if stream == self.incoming.stream:
                self._noted = (stream, number)
            more = self._confirming = self.incoming.last > self._noted[1] or bool(self._effects)
        self.say_heard()
        return more

    def _try_again(self, turn: list[Effects], error: Exception) -> None:
        """The store cannot be written now. The device keeps its messages until it is told that they are noted."""
        with self._lock:
            self._effects = turn + self._effects
        self._post.log_refused(self.device_id, error)
        self._post.confirm_later(self)

    def say_heard(self) -> None:
        """Acknowledge what is written down."""
        connection, number = self._connection, self._noted[1]
        if connection is not None and number:
            connection.acknowledge(encode_frame(BINARY, v2.encode_ack(number)))


def _of_one_stream(effects: list[Effects]) -> list[Effects]:
    """The first ones of them: a device that has lost its memory begins another stream while these wait."""
    return [one for one in effects if one[0] == effects[0][0]]


def _frame(connection: DurableLink, previous: int, number: int, record: MessageRecord) -> bytes:
    if connection.version == 2:
        time = int(record.created * 1000)
        head = v2.encode_head(
            record.kind, record.event, v2.DURABLE | v2.TIME, number=number, previous=previous, time=time
        )
        return encode_frame(BINARY, head + len(record.value).to_bytes(4, "big") + record.value)
    value: Any = v2.decode_value(record.kind, record.value)
    return connection.encode(record.event, value)
