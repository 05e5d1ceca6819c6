"""Durable messages to and from one device: what is kept, what is on its way, what has been handled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from iotio.protocol import v2
from iotio.protocol.errors import EncodeError
from iotio.protocol.frames import BINARY, encode_frame
from iotio.protocol.stream import Incoming, Outgoing

from .delivery import Delivery, DeliveryState
from .native import allocate_lock

if TYPE_CHECKING:
    from .connection import Connection
    from .post import Post

__all__ = ["Effect", "Mailbox"]

Effect = Callable[[Any], object]
"""What a handler wants done in the transaction that notes its message as handled; see `Message.transaction`."""


class Mailbox:
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
        "_confirmed",
        "_confirming",
        "_connection",
        "_effects",
        "_lock",
        "_post",
        "_size",
        "device_id",
        "incoming",
        "outgoing",
    )

    def __init__(
        self,
        post: Post,
        device_id: str,
        stream: str,
        counter: int = 0,
        heard_stream: str | None = None,
        heard: int = 0,
    ) -> None:
        self._post = post
        self.device_id = device_id
        self.outgoing: Outgoing[Delivery] = Outgoing(stream, counter)
        self.incoming = Incoming(heard_stream, heard)
        self._connection: Connection | None = None  # the one that both streams go over
        self._lock = allocate_lock()
        self._size = 0  # bytes that are kept
        self._confirmed = heard  # of the device's stream, what is written down
        self._effects: list[Effect] = []  # what is to be written with the next turn
        self._confirming = False  # it is being written down

    # -- to the device ---------------------------------------------------------------------------------

    def put(self, delivery: Delivery) -> str:
        """Keep a message until the device has it, and send it if the device is there.

        Returns:
            "" or why it was refused.

        Raises:
            StoreUnavailable: the store cannot be written.
        """
        post = self._post
        with self._lock:
            problem = post.no_room(len(self.outgoing), self._size + len(delivery.body))
            if problem:
                delivery.become(DeliveryState.DROPPED, problem)
                return problem
            replaced = self._take_replaced(delivery)
            delivery.number = self.outgoing.counter + 1
            ticket = post.write(delivery, replaced)  # raises before anything has changed
            for one in replaced:
                self._remove(one, DeliveryState.DROPPED, f"replaced by {delivery.id}", write=False)
            self.outgoing.add(delivery)
            self._size += len(delivery.body)
            post.keep(self, delivery)
            self._send_on()
        if ticket is not None:
            delivery.await_store()
            ticket.done.add_callback(lambda: self._written(delivery, ticket.error))
        return ""

    def _written(self, delivery: Delivery, error: Exception | None) -> None:
        """In the journal's thread. What could not be written is refused, unless the device has got it already."""
        if error is not None:
            delivery.not_written = True
            self.withdraw(delivery, DeliveryState.DROPPED, f"it could not be written: {error}")
        delivery.store_decided()

    def restore(self, delivery: Delivery) -> None:
        """Put back what the store has kept."""
        self.outgoing.restore(delivery.number, delivery)
        self._size += len(delivery.body)
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

    def _remove(
        self,
        delivery: Delivery,
        state: DeliveryState,
        reason: str = "",
        *,
        write: bool = True,
        previous: int | None = None,
    ) -> None:
        """Forget a message. `previous`: it was just taken to be sent, and this one is before it."""
        number, outgoing = delivery.number, self.outgoing
        kept = outgoing.drop(number) if previous is None else outgoing.drop_unsent(previous, number)
        if kept is not None:
            self._size -= len(delivery.body)
        delivery.become(state, reason)
        self._post.let_go(self.device_id, [delivery], write=write)

    @property
    def position(self) -> tuple[str, int, str | None, int]:
        """What a store keeps: name and counter of the stream to the device, name of its own, and how far that is."""
        return self.outgoing.name, self.outgoing.counter, self.incoming.stream, self._confirmed

    def kept(self) -> list[Delivery]:
        """The messages that wait for the device, in order."""
        with self._lock:
            return [delivery for _, delivery in self.outgoing]

    def drop_all(self, reason: str) -> None:
        """Forget all: the device is forgotten."""
        with self._lock:
            for _, delivery in self.outgoing:
                self._remove(delivery, DeliveryState.DROPPED, reason)

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
                self._confirmed = 0
            stream = self.incoming.stream
            heard = None if stream is None else {"stream": stream, "upto": self._confirmed}
            return {"sends": self.outgoing.name, "heard": heard}

    def resume(self, connection: Connection, stream: str | None = None, upto: int = 0) -> None:
        """The device is there: what it has is over, and the rest is sent.

        Args:
            connection: over which.
            stream: the stream that it knows, or None.
            upto: the last message of it that it has handled.
        """
        with self._lock:
            self._connection = connection
            self._finish(self.outgoing.resume(stream, upto), DeliveryState.DONE)
            self._send_on()

    def suspend(self, connection: Connection) -> None:
        """A connection is over."""
        with self._lock:
            if self._connection is connection:
                self._connection = None
                self.outgoing.suspend()
                for _, delivery in self.outgoing:
                    delivery.become(DeliveryState.QUEUED)

    def acknowledge(self, connection: Connection, upto: int, state: DeliveryState) -> None:
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
            self._size -= len(delivery.body)
            delivery.become(state)
        if done:
            self._post.let_go(self.device_id, [delivery for _, delivery in done])

    def _send_on(self) -> None:
        """Send what can be sent now. The lock is held."""
        connection = self._connection
        if connection is None:
            return
        now = self._post.wall()
        last = 0
        while (item := self.outgoing.next()) is not None:
            previous, number, delivery = item
            if delivery.expires is not None and delivery.expires <= now:
                self._remove(delivery, DeliveryState.EXPIRED, previous=previous)
                continue
            try:
                frame = _frame(connection, previous, number, delivery)
            except EncodeError as error:
                self._remove(delivery, DeliveryState.DROPPED, str(error), previous=previous)
                continue
            if connection.send(frame):  # it is about to end
                return
            last = number
            delivery.become(DeliveryState.SENT)
            if not connection.has_room_for_durable():
                if self.outgoing.has_more:
                    self._post.stalled(self)
                break
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

    def took(self, stream: str, number: int, effects: list[Effect]) -> None:
        """A message of the device has been handled: write that down, then tell the device.

        Args:
            stream: that the message is of.
            number: of the message.
            effects: what the handler wants done in the same transaction.
        """
        with self._lock:
            if stream != self.incoming.stream:  # a device that has lost its memory has come back in between
                return
            self.incoming.took(number)
            self._effects += effects
            if self._confirming:
                return
            self._confirming = True
        self._confirm()

    def _confirm(self) -> None:
        """Write down how far it is; what is handled meanwhile is one more turn."""
        while True:
            with self._lock:
                effects, self._effects = self._effects, []
                stream, last = self.incoming.stream, self.incoming.last
            assert stream is not None
            try:
                ticket = self._post.write_heard(self.device_id, stream, last, effects)
            except Exception as error:  # StoreUnavailable, or an effect's own where there is no store
                self._take_back(error)
                return
            if ticket is not None:
                ticket.done.add_callback(lambda: self._confirmed_until(stream, last, ticket.error))
                return
            if not self._note_confirmed(stream, last):
                return

    def _confirmed_until(self, stream: str, number: int, error: Exception | None) -> None:
        """In the journal's thread."""
        if error is not None:
            self._take_back(error)
        elif self._note_confirmed(stream, number):
            self._confirm()

    def _note_confirmed(self, stream: str, number: int) -> bool:
        """Returns whether there is more to write down."""
        with self._lock:
            if stream == self.incoming.stream:
                self._confirmed = number
            more = self._confirming = self.incoming.last > self._confirmed or bool(self._effects)
        self.say_heard()
        return more

    def _take_back(self, error: Exception) -> None:
        """Effects could not be written: they are as if not handled, and the device sends them again."""
        with self._lock:
            self._confirming = False
            self._effects.clear()
            self.incoming.last = self._confirmed
            connection = self._connection
        if connection is not None:
            connection.cannot_store(error)

    def say_heard(self) -> None:
        """Acknowledge what is written down."""
        connection = self._connection
        if connection is not None and self._confirmed:
            connection.send(encode_frame(BINARY, v2.encode_ack(self._confirmed)))


def _frame(connection: Connection, previous: int, number: int, delivery: Delivery) -> bytes:
    if connection.version == 2:
        time = int(delivery.created * 1000)
        head = v2.encode_head(
            delivery.kind, delivery.event, v2.DURABLE | v2.TIME, number=number, previous=previous, time=time
        )
        return encode_frame(BINARY, head + len(delivery.body).to_bytes(4, "big") + delivery.body)
    value: Any = v2.decode_value(delivery.kind, delivery.body)
    return connection.encode(delivery.event, value)
