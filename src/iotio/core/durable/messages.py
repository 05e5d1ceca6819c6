"""Durable messages of all devices: how many may wait, how long, and where they are written down."""

from __future__ import annotations

import heapq
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from iotio_protocol import v2
from iotio_protocol.errors import TooLarge

from ..ports import ServerPort
from ..primitives import allocate_lock
from ..registry import Registry
from ..storage.contract import DropMessages, Heard, PutMessage, Run, StoreUnavailable
from ..storage.records import DeviceRecord, DeviceState, MessageRecord
from ..target import Outgoing
from .delivery import Delivery, DeliveryState
from .incoming import Effect, IncomingStream
from .outgoing import OutgoingQueue
from .queue import DurableQueue

if TYPE_CHECKING:
    from ..handles import DeviceHandle
    from ..storage.writer import StoreWriter, Ticket

__all__ = ["DurableMessages", "new_stream"]


_AS_IT_IS: Mapping[str, Any] = MappingProxyType({})
_NO_STREAMS = ("", 0, None, 0)
_LATER = 5.0  # seconds until a message that was on its way when its time was over is looked at again
_MOST = 1000  # messages that a sweep looks at, as it may be on a loop; none is sent when its time is over
_SLACK = 64  # times to live, beside one a message, before those of messages that are over are cleared out


def new_stream() -> str:
    """Make a name for a stream whose numbers begin with 1."""
    return os.urandom(8).hex()


class DurableMessages:
    """The queues of a manager.

    Attributes:
        writer: where all is written down, or None.

    Args:
        server: whose it is.
        registry: which devices are known.
    """

    def __init__(self, server: ServerPort, registry: Registry) -> None:
        self._server = server
        self._registry = registry
        self.writer: StoreWriter | None = None
        self._lock = allocate_lock()  # for what follows; taken by who holds a queue's
        self._queues: dict[str, DurableQueue] = {}
        self._kept: dict[str, tuple[OutgoingQueue, Delivery]] = {}  # by the id of the delivery
        self._expiries: list[tuple[float, int, str]] = []  # a heap: when, and the id; some are over
        self._numbers = itertools.count()
        self._stalled: set[OutgoingQueue] = set()  # their devices read too slowly when it was their turn
        self._unconfirmed: set[IncomingStream] = set()  # the store could not be written when it was their turn
        self._closed: list[DurableQueue] = []  # of devices that are forgotten
        self._emptied: set[str] = set()  # ids of devices for which no message waits any more

    def send(
        self, devices: Sequence[DeviceHandle], outgoing: Outgoing, converted: Mapping[str, Any] = _AS_IT_IS
    ) -> dict[str, Delivery]:
        """Keep a message for each of these devices until it has it.

        Args:
            devices: connected or away.
            outgoing: the message; its value is bytes, bool, int, float, str, dict, list or None.
            converted: by the ids of devices, what takes the place of the value for them.

        Raises:
            EncodeError: it cannot travel in v2.
            StoreUnavailable: it cannot be written down, and goes to nobody else of these.

        Returns:
            The handles by the ids of the devices; some may be dropped by now.
        """
        event, coalesce = outgoing.event, outgoing.coalesce
        bodies = {device_id: v2.encode_value(value) for device_id, value in converted.items()}
        general = v2.encode_value(outgoing.value) if len(bodies) < len(devices) or not devices else None
        v2.encode_head(v2.NULL, event)
        created = self._server.wall()
        expires = None if outgoing.ttl is None else created + outgoing.ttl
        deadline = None if outgoing.ttl is None else self._server.clock() + outgoing.ttl
        deliveries = {}
        for device in devices:
            kind, body = bodies[device.id] if device.id in bodies else cast("tuple[int, bytes]", general)
            record = MessageRecord(device.id, 0, os.urandom(8).hex(), event, kind, body, created, expires, coalesce)
            delivery = Delivery(self._server.wait_here, record, deadline)
            self._queue_of(device.id).outgoing.put(delivery)
            deliveries[device.id] = delivery
        return deliveries

    def clock(self) -> float:
        """Return monotonic seconds, in which messages expire."""
        return self._server.clock()

    def find(self, delivery_id: str) -> Delivery | None:
        """Find the message of an id whose state can still change."""
        with self._lock:
            found = self._kept.get(delivery_id)
        return None if found is None else found[1]

    @property
    def waiting(self) -> int:
        """Messages that are kept."""
        return len(self._kept)

    # -- for connections -------------------------------------------------------------------------------

    def queue(self, device_id: str) -> DurableQueue:
        """Get or create the queue of a device that is known, or about to be let in."""
        with self._lock:
            found = self._queues.get(device_id)
            if found is None:
                found = self._queues[device_id] = DurableQueue(self, device_id, new_stream())
        return found

    def _queue_of(self, device_id: str) -> DurableQueue:
        """Get or create the queue of a device. It is closed if the device is not known, or has just been forgotten."""
        found = self.known_queue(device_id)
        if found is not None:
            return found
        registry = self._registry
        with registry.lock:  # a device is forgotten under it
            device = registry.find(device_id)
            if device is None:
                found = DurableQueue(self, device_id, "")
                found.closed = True
                return found
            found = self.queue(device_id)
            registry.listener.changed(device)  # the store is to know the name of the stream
        client = registry.get(device_id)
        link = None if client is None else client.socket.durable
        if link is not None and link.version != 2:  # who speaks v2 begins by itself
            found.resume(link)
        return found

    def known_queue(self, device_id: str) -> DurableQueue | None:
        """Find the queue of a device, if it has one."""
        with self._lock:
            return self._queues.get(device_id)

    def drop(self, device_id: str) -> None:
        """Close the queue of a forgotten device. The registry's lock is held: `drop_forgotten` drops its messages."""
        with self._lock:
            queue = self._queues.pop(device_id, None)
            self._emptied.discard(device_id)
            if queue is not None:
                queue.closed = True
                self._closed.append(queue)

    def drop_forgotten(self) -> None:
        """Drop the messages of forgotten devices."""
        with self._lock:
            closed, self._closed = self._closed, []
        for queue in closed:
            queue.drop_all()

    def waits(self, device_id: str) -> bool:
        """Ask whether messages wait for a device."""
        queue = self.known_queue(device_id)
        return queue is not None and queue.waiting > 0

    def take_emptied(self) -> set[str]:
        """Return the ids of devices for which no message waits any more, since the last time."""
        with self._lock:
            found, self._emptied = self._emptied, set()
        return found

    # -- for queues ---------------------------------------------------------------------------------

    def no_room(self, count: int, size: int) -> str:
        """Say why one more message cannot be kept for a device; "" if it can.

        Args:
            count: messages that are kept for it.
            size: their bytes, with the new one's.
        """
        options = self._server.options
        if count >= options.max_queued:
            return f"{count} messages wait for the device already (max_queued)"
        if size > options.max_queued_bytes:
            return f"more than {options.max_queued_bytes} bytes would wait for the device (max_queued_bytes)"
        return ""

    def keep(self, queue: OutgoingQueue, delivery: Delivery) -> None:
        """Enter a message that is queued."""
        with self._lock:
            self._kept[delivery.id] = (queue, delivery)
            if delivery.deadline is not None:
                self._expect(delivery.deadline, delivery.id)

    def _expect(self, when: float, delivery_id: str) -> None:
        """Look at a message when its time is over. The lock is held."""
        heapq.heappush(self._expiries, (when, next(self._numbers), delivery_id))
        if len(self._expiries) > 2 * len(self._kept) + _SLACK:
            self._expiries = [item for item in self._expiries if item[2] in self._kept]
            heapq.heapify(self._expiries)

    def removed(self, queue: OutgoingQueue, deliveries: list[Delivery], *, write: bool = True) -> None:
        """Remove messages whose state can change no more."""
        with self._lock:
            for delivery in deliveries:
                self._kept.pop(delivery.id, None)
            if not queue.waiting and not queue.closed:
                self._emptied.add(queue.device_id)
            if write and self.writer is not None and not queue.closed:
                with suppress(StoreUnavailable):  # it is closed; a device that comes later says again what it has
                    numbers = tuple(delivery.number for delivery in deliveries)
                    self.writer.submit(DropMessages(queue.device_id, numbers))

    def stalled(self, queue: OutgoingQueue) -> None:
        """Have `sweep` go on with a queue whose device reads too slowly."""
        with self._lock:
            self._stalled.add(queue)

    def log_too_large(self, delivery: Delivery, why: str) -> None:
        """Log, rate-limited, that a message is dropped because its device does not take so much."""
        self._server.log_throttle.warning(
            TooLarge.reason, "durable %r for device %r is dropped: %s", delivery.event, delivery.device_id, why
        )

    def confirm_later(self, stream: IncomingStream) -> None:
        """Have `sweep` confirm a stream again: the store could not be written."""
        with self._lock:
            if not stream.closed:
                self._unconfirmed.add(stream)

    def log_refused(self, device_id: str, error: Exception) -> None:
        """Log, rate-limited, that acknowledgements to a device are delayed because the store cannot be written."""
        self._server.log_throttle.warning(
            "store",
            "what handlers of device %r want written has to wait, and so has its acknowledgement: %s",
            device_id,
            error,
        )

    def log_lost(self, device_id: str, number: int, error: BaseException) -> None:
        """Log, rate-limited, that what the handler of a message wanted written raised, and will not be."""
        text = "what message %d of device %r wanted written cannot be"
        self._server.log_throttle.error(error, "effects", text, number, device_id)

    def write(self, queue: OutgoingQueue, delivery: Delivery) -> Ticket | None:
        """Write a message down; not if the queue is closed. Raises StoreUnavailable."""
        if self.writer is None:
            return None
        with self._lock:  # nothing of a device may be written behind its end
            return None if queue.closed else self.writer.submit(PutMessage(delivery.record))

    def write_heard(self, device_id: str, stream: str, number: int, effects: list[Effect]) -> Ticket | None:
        """Write down that messages of a device up to this one are handled. Raises StoreUnavailable.

        Without a store the effects take place at once.
        """
        if self.writer is None:
            for effect in effects:
                try:
                    _contained(effect)(None)
                except Exception as error:
                    self.log_lost(device_id, number, error)
            return None
        return self.writer.submit(*(Run(_contained(effect)) for effect in effects), Heard(device_id, stream, number))

    # -- for the manager -------------------------------------------------------------------------------

    def restore(self, record: DeviceRecord) -> None:
        """Put back how far a store knows the streams of a device."""
        if record.stream:
            self._queues[record.id] = DurableQueue(
                self, record.id, record.stream, record.counter, record.heard_stream, record.heard
            )

    def record(self, state: DeviceState) -> DeviceRecord:
        """Make the record of a device from a copy of its state."""
        queue = self.known_queue(state.id)
        return DeviceRecord.of(state, *(_NO_STREAMS if queue is None else queue.position))

    def records(self) -> list[MessageRecord]:
        """List the records of all messages; those of one device in order."""
        with self._lock:
            queues = list(self._queues.values())
        return [delivery.record for queue in queues if queue.waiting for delivery in queue.outgoing.kept()]

    def restore_messages(self, records: Iterable[MessageRecord]) -> set[str]:
        """Put back what a store has kept; behind `restore`, when the devices are known.

        While the program was down, only the date tells how much time has passed. A message gets no more than it had at
        first, whatever the date is now.

        Returns:
            The ids of devices that are not.
        """
        unknown = set()
        now, date = self._server.clock(), self._server.wall()
        for record in records:
            if self._registry.device(record.device_id) is None:
                unknown.add(record.device_id)
                continue
            left = None if record.expires is None else min(record.expires - date, record.expires - record.created)
            delivery = Delivery(self._server.wait_here, record, None if left is None else now + left)
            self.queue(record.device_id).outgoing.restore(delivery)
        return unknown

    @property
    def next_due(self) -> float:
        """When a message may expire, at the earliest; infinity for never."""
        with self._lock:
            return self._expiries[0][0] if self._expiries else float("inf")

    def sweep(self) -> None:
        """Drop what has expired; go on where a device or the store was too slow before."""
        now = self.clock()
        for _ in range(_MOST):
            found = self._take_expired(now)
            if found is None:
                break
            queue, delivery = found
            if not queue.withdraw(delivery, DeliveryState.EXPIRED) and not delivery.is_over:  # it is on its way
                with self._lock:
                    self._expect(now + _LATER, delivery.id)
        with self._lock:
            stalled, self._stalled = self._stalled, set()
            unconfirmed, self._unconfirmed = self._unconfirmed, set()
        for queue in stalled:
            queue.send_on()
        for stream in unconfirmed:
            stream.confirm()

    def _take_expired(self, now: float) -> tuple[OutgoingQueue, Delivery] | None:
        with self._lock:
            while self._expiries and self._expiries[0][0] <= now:
                found = self._kept.get(heapq.heappop(self._expiries)[2])
                if found is not None:
                    return found
        return None


def _contained(effect: Effect) -> Effect:
    """Wrap what a program wants written: `sys.exit()` in there is an error as any other, or it would end the writer."""

    def run(connection: Any) -> None:
        try:
            effect(connection)
        except Exception:
            raise
        except BaseException as error:
            raise RuntimeError(f"a transaction has raised {type(error).__name__}") from error

    return run
