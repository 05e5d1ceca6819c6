"""The durable queue of one device: its outgoing queue and its incoming stream, each made when it is first needed."""

from __future__ import annotations

from typing import Protocol

from iotio_protocol import v2

from ..ports import DurableLink
from ..primitives import allocate_lock
from .delivery import DeliveryState
from .incoming import Effect, IncomingOwner, IncomingStream
from .outgoing import OutgoingOwner, OutgoingQueue

__all__ = ["DurableQueue", "QueuesOwner"]


class QueuesOwner(OutgoingOwner, IncomingOwner, Protocol):
    """What both halves need of those who keep the messages of all devices."""


class DurableQueue:
    """The two streams of one device, and the connection that they go over. Any thread may call any method.

    Most devices never send a durable message, and many are never sent one: of those only the positions are kept.

    Attributes:
        device_id: whose it is.
        closed: whether the device is forgotten; guarded by the lock of the owner.

    Args:
        messages: keeps the messages of all devices.
        device_id: as above.
        stream: the name of the stream to the device.
        counter: the last number that was given in it.
        heard_stream: the name of the device's stream, or None.
        heard: the last number of it that was handled.
    """

    __slots__ = (
        "_connection",
        "_counter",
        "_epoch",
        "_greeted",
        "_heard",
        "_incoming",
        "_known",
        "_lock",
        "_messages",
        "_name",
        "_outgoing",
        "_takes",
        "closed",
        "device_id",
    )

    def __init__(
        self,
        messages: QueuesOwner,
        device_id: str,
        stream: str,
        counter: int = 0,
        heard_stream: str | None = None,
        heard: int = 0,
    ) -> None:
        self._messages = messages
        self.device_id = device_id
        self.closed = False
        self._name = stream
        self._counter = counter  # while there is no outgoing queue
        self._heard = (heard_stream, heard)  # while there is no incoming stream
        self._known: tuple[str | None, int] = (None, 0)  # what the device has, as it said when it connected
        self._takes = v2.TAKES_ALL  # how much the device takes, as it said when it connected last
        self._connection: DurableLink | None = None  # the one that both streams go over
        self._epoch = -1  # of the last one
        self._greeted = -1  # the epoch of the latest connection that has said HELLO
        self._outgoing: OutgoingQueue | None = None
        self._incoming: IncomingStream | None = None
        self._lock = allocate_lock()  # taken before that of either stream

    @property
    def outgoing(self) -> OutgoingQueue:
        """The messages to the device."""
        found = self._outgoing
        if found is None:
            with self._lock:
                found = self._outgoing
                if found is None:
                    found = OutgoingQueue(self._messages, self, self._name, self._counter, self._takes)
                    if self._connection is not None:
                        found.resume(self._connection, *self._known)
                    self._outgoing = found
        return found

    @property
    def incoming(self) -> IncomingStream:
        """The messages from the device."""
        found = self._incoming
        if found is None:
            with self._lock:
                found = self._incoming
                if found is None:
                    found = IncomingStream(self._messages, self, *self._heard)
                    if self._connection is not None:
                        found.resume(self._connection)
                    self._incoming = found
        return found

    @property
    def position(self) -> tuple[str, int, str | None, int]:
        """What a store keeps: name and counter of the stream to the device, name of its own, and how far that is."""
        outgoing, incoming = self._outgoing, self._incoming
        sent = (self._name, self._counter) if outgoing is None else outgoing.position
        return *sent, *(self._heard if incoming is None else incoming.position)

    @property
    def waiting(self) -> int:
        """Messages that are queued for the device, or sent and not acknowledged."""
        return 0 if self._outgoing is None else self._outgoing.waiting

    @property
    def on_their_way(self) -> int:
        """Messages that were sent over the present connection and are not acknowledged."""
        return 0 if self._outgoing is None else self._outgoing.on_their_way

    def drop_all(self) -> None:
        """Drop all messages to the device, which is forgotten."""
        if self._outgoing is not None:
            self._outgoing.drop_all()

    # -- for the connection ----------------------------------------------------------------------------

    def greet(self, sends: str | None, epoch: int) -> dict[str, object]:
        """Return the fields of WELCOME that name both streams.

        Args:
            sends: the name of the device's stream, as in HELLO.
            epoch: of the connection. One that was made before another that has said HELLO loses the takeover: it
                changes nothing.
        """
        with self._lock:
            if epoch < self._greeted:
                sends = None
            else:
                self._greeted = epoch
            if self._incoming is not None:
                stream, upto = self._incoming.greet(sends)
            else:
                if sends is not None and sends != self._heard[0]:
                    self._heard = (sends, 0)
                stream, upto = self._heard
        return {"sends": self._name, "heard": None if stream is None else {"stream": stream, "upto": upto}}

    def resume(self, connection: DurableLink, stream: str | None = None, upto: int = 0) -> None:
        """Let messages pass over a connection: drop those that the device has, send the rest.

        Args:
            connection: over which. One that was made before the last one comes too late, and changes nothing.
            stream: the stream that the device knows, or None.
            upto: the last message of it that the device has handled.
        """
        with self._lock:
            if self._epoch >= connection.epoch:
                return
            self._epoch = connection.epoch
            self._connection = connection
            if upto > v2.MAX_HEARD:  # there would be no numbers left
                stream = None
            self._known = (stream, upto)
            self._takes = connection.takes
            if self._incoming is not None:
                self._incoming.resume(connection)
            if self._outgoing is not None:
                self._outgoing.resume(connection, stream, upto)
            elif stream == self._name:
                self._counter = max(self._counter, upto)  # given before a crash, and not written down

    def suspend(self, connection: DurableLink, *, too_big: bool = False) -> None:
        """Let nothing pass over a connection any more, if it is the present one.

        Args:
            connection: the one that has ended.
            too_big: whether the device ended it because a message was too big for it.
        """
        with self._lock:
            if self._connection is connection:
                self._connection = None
                if self._outgoing is not None:
                    self._outgoing.suspend(too_big=too_big)
                if self._incoming is not None:
                    self._incoming.suspend()

    def acknowledge(self, connection: DurableLink, upto: int, state: DeliveryState) -> None:
        """Finish all messages to the device up to a number. Raises InvalidPacket for a number that was never sent."""
        self.outgoing.acknowledge(connection, upto, state)

    def is_new(self, stream: str, number: int, previous: int) -> bool:
        """Ask whether a message of the device is to be handled; a duplicate is acknowledged again. Raises StreamGap."""
        return self.incoming.is_new(stream, number, previous)

    def took(self, stream: str, number: int, previous: int, effects: list[Effect]) -> None:
        """Note that a message of the device was handled, and have what its handler wants written."""
        self.incoming.took(stream, number, previous, effects)

    def say_heard(self) -> None:
        """Acknowledge to the device the messages that are written down."""
        self.incoming.say_heard()
