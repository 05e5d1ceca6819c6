"""The durable messages of one connection: its way to the device's queue, and the queue's way to the device."""

from __future__ import annotations

from _thread import LockType
from typing import Any, Protocol

from iotio_protocol import v2
from iotio_protocol.frames import TOO_BIG
from iotio_protocol.options import Options
from iotio_protocol.reasons import DisconnectReason
from iotio_protocol.session import Greeting, Session
from iotio_protocol.values import Value

from ..handles import IoTClient
from ..lane import Lane
from ..ports import Warnings
from ..probe import probe
from ..write_buffer import WriteBuffer
from .messages import DurableMessages
from .queue import DurableQueue

__all__ = ["DurableChannel"]


class Server(Protocol):
    """What a channel needs of the server."""

    options: Options
    durable_messages: DurableMessages

    @property
    def log_throttle(self) -> Warnings: ...
    def clock(self) -> float: ...


class Carrier(Protocol):
    """The connection that carries the messages. Its lock is taken behind that of the queue."""

    epoch: int
    session: Session
    buffer: WriteBuffer
    lane: Lane
    _lock: LockType

    @property
    def manager(self) -> Server: ...
    @property
    def client(self) -> IoTClient | None: ...
    @property
    def is_open(self) -> bool: ...
    @property
    def name(self) -> str: ...
    @property
    def counters(self) -> dict[str, int]: ...
    def pending(self) -> int: ...
    def write(self, data: bytes) -> None: ...
    def send(self, frame: bytes) -> str: ...
    def close(self, reason: DisconnectReason) -> None: ...
    def flush_session(self) -> None: ...
    def handle(self, event: Any) -> None: ...


class DurableChannel:
    """Be the connection, as the durable queue of its device sees it (`iotio.core.ports.DurableLink`).

    Attributes:
        epoch: of the connection.
        stream: the name of the stream of durable messages that the device sends; None if it sends none.
        takes: how much the device takes.

    Args:
        connection: of a device that is let in.
        device_id: the device's.
        greeting: what the device said of its streams.
    """

    __slots__ = ("_announced", "_connection", "_device_id", "_heard", "epoch", "stream", "takes")

    def __init__(self, connection: Carrier, device_id: str, greeting: Greeting) -> None:
        self.epoch = connection.epoch
        self.stream = greeting.sends
        self.takes = greeting.takes
        self._heard = greeting.heard
        self._connection = connection
        self._device_id = device_id
        self._announced: DurableQueue | None = None  # that WELCOME has named

    # -- the queue, for the connection -----------------------------------------------------------------

    def announce(self) -> dict[str, object]:
        """Return the fields of WELCOME that name both streams. The queue of the device is the one of now, for good."""
        self._announced = self._connection.manager.durable_messages.queue(self._device_id)
        return self._announced.greet(self.stream, self.epoch)

    @property
    def announced(self) -> DurableQueue:
        """The queue that WELCOME has named. Once the device is forgotten it is closed, and there may be another."""
        assert self._announced is not None
        return self._announced

    @property
    def queue(self) -> DurableQueue | None:
        """The queue that WELCOME has named; below v2 the device's current one, if any."""
        if self._announced is not None:
            return self._announced
        return self._connection.manager.durable_messages.known_queue(self._device_id)

    def resume(self) -> None:
        """Let messages flow: this is the connection of the device."""
        queue = self._connection.manager.durable_messages.known_queue(self._device_id)
        if self._announced is not None and queue is not self._announced:
            self._connection.close(DisconnectReason.REMOVED)  # it was forgotten, and what it was told is not so
        elif queue is not None:
            queue.resume(self, *self._heard)

    def suspend(self) -> None:
        """Let no message pass any more."""
        queue = self.queue
        if queue is not None:
            queue.suspend(self, too_big=self._connection.session.close_code == TOO_BIG)

    # -- the connection, for the queue -----------------------------------------------------------------

    @property
    def version(self) -> int:
        """The protocol version."""
        return self._connection.session.version

    @property
    def sent(self) -> int:
        """How many events, calls and answers the device was sent."""
        return self._connection.counters["sent"]

    def encode(self, event: str, value: Value) -> bytes:
        """See `Session.encode`; the value of an endpoint goes as `IoTClient.as_sent` has it."""
        client = self._connection.client
        if client is not None and client.declared:
            value = client.as_sent(event, value)
        return self._connection.session.encode(event, value)

    def send(self, frame: bytes) -> str:
        """See `Connection.send`."""
        return self._connection.send(frame)

    def has_room_for_durable(self, size: int) -> bool:
        """Ask whether one more durable message of so many bytes may be sent: they shall not fill the write buffer."""
        connection = self._connection
        options, waiting = connection.manager.options, connection.pending()
        if not waiting:
            return True
        return connection.buffer.fits(waiting + size, options.max_outbox // 2, options.max_outbox_messages // 2 + 1)

    def acknowledge(self, frame: bytes) -> None:
        """Send an acknowledgement of durable messages. It is no event: a slow reader gets it, too."""
        connection = self._connection
        with connection._lock:
            if connection.is_open:
                connection.write(frame)

    def probe(self, upto: int) -> None:
        """Find out whether a device without acknowledgements has read what was sent."""
        probe(self._connection, v2.Ack(upto))

    def cannot_store(self, error: Exception) -> None:
        """Close, so that the device sends again over another connection what cannot be written to the store."""
        connection = self._connection
        connection.manager.log_throttle.warning("store", "device %r is to come again: %s", connection.name, error)
        connection.close(DisconnectReason.STORE_UNAVAILABLE)
