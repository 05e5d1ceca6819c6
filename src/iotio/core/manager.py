"""The manager: device types, emit, rooms and the callbacks of a whole server."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar

from iotio_protocol import v2
from iotio_protocol.encoder import DefaultPacketEncoder, codec_of
from iotio_protocol.endpoints import Endpoint, ValidationResponse
from iotio_protocol.errors import CallDisconnected, EncodeError, InvalidPacket, UnknownEndpoint
from iotio_protocol.handshake import size_of
from iotio_protocol.log_throttle import LogThrottle
from iotio_protocol.logs import get_logger
from iotio_protocol.options import DEFAULT_OPTIONS, Options, check_wait
from iotio_protocol.presence import Presence, PresenceReason
from iotio_protocol.reasons import DisconnectReason
from iotio_protocol.session import Session
from iotio_protocol.twin import State, Status

from .background import Background
from .callbacks import Callbacks
from .calls import DEFAULT_TIMEOUT
from .connection import Scope
from .connections import Connections, Phase
from .device_type import DeviceType, DeviceTypes
from .directory import Directory
from .dispatch import step_of
from .durable.delivery import Delivery
from .durable.messages import DurableMessages
from .emitter import Emitter
from .gate import Gate
from .handlers import default_callback
from .handles import Addressee, Addressees, DeviceHandle, IoTClient, addressees, ids_of
from .lifecycle import Lifecycle
from .ports import HistoryPort, HostLoop, TwinsPort
from .presence import PresenceMonitor
from .presence_notifier import PresenceNotifier
from .primitives import Signal, allocate_lock, wait
from .registry import Registry
from .remembered import Remembered
from .results import EmitResult, SetResult
from .storage.contract import DropDevice, Record, Snapshot, Store
from .storage.recorder import NoHistory, StoreBackup, StoreExport, StoreRecorder
from .storage.records import MessageRecord
from .storage.writer import StoreWriter
from .target import Outgoing, Target, check_only_target
from .waiting import check_no_loop

__all__ = ["Manager"]

Function = TypeVar("Function", bound=Callable[..., Any])

_PRESENCES = frozenset(Presence)
_STATUSES = frozenset(Status)
_NO_DEVICE = "the device has no row that could be used"
_NOBODY: frozenset[str] = frozenset()
# Errors begin with the words of iot.io 0.4.10.
_MEMBER = "'client' must be the ID of the client as a str, an IoTClient"
_REMOVED = "client must be either the id of a client as a str, or an instance of an IoTClient"


class Manager:
    """Everything that the devices of one server share. Every method may be called from any thread.

    Attributes:
        devices: those that are known, connected or away; see `Directory`.
        backup: copies the store to a file; see `StoreBackup.__call__`.
        export: writes what the store holds to a file that any store can be made of; see `StoreExport.__call__`.
        history: records the readings of endpoints, and answers; without a store it raises errors.

    Args:
        logging_level: level for the logger "iotio.manager". ERROR, the default of iot.io 0.4, leaves the level
            to your logging configuration.
        client_logging_level: the same for "iotio.client".
        encoder: a class with static methods `encode(event, value)` and `decode(packet)` that replaces the v1 codec.
        options: limits and timings.
        store: where devices, durable messages and twins outlive the process, open; None: in memory only.
        make_twins: makes what keeps the twins of devices; None: they have none.
        clock: monotonic time in seconds; tests pass their own.
        wall: the date, in seconds since 1970; the same.
    """

    session_factory: type[Session] = Session  # a test that is about frames only puts its own here

    def __init__(
        self,
        *,
        logging_level: int = logging.ERROR,
        client_logging_level: int = logging.ERROR,
        encoder: Any = DefaultPacketEncoder,
        options: Options = DEFAULT_OPTIONS,
        store: Store | None = None,
        make_twins: Callable[[Any], TwinsPort] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.logger = get_logger("iotio.manager")
        self.client_logging_level = client_logging_level
        self.encoder = encoder
        self.options = options
        self.clock = clock
        self.wall = wall
        self.codec = codec_of(encoder)
        self.types = DeviceTypes(options)
        self.callbacks = Callbacks(self)
        self.scope: Scope | None = None  # for hosts that know of no request: what handlers run in
        # A test may put another clock there.
        self.log_throttle = LogThrottle(lambda: self.clock(), allocate_lock())
        self.background = Background(self)
        self.registry = Registry()
        self.durable_messages = DurableMessages(self, self.registry)
        self.notifier = PresenceNotifier(self)
        self.recorder = StoreRecorder(self.registry, self.durable_messages)
        remembered = Remembered(self, self.registry, self.durable_messages)
        self.presence = PresenceMonitor(self, self.registry, self.notifier, self.recorder, remembered)
        self.devices = Directory(self.registry, self.presence)
        self.twins: TwinsPort | None = None if make_twins is None else make_twins(self)
        self.recorder.twins = self.twins
        self._disowned = ""  # why this process cannot use it, such as a child that was forked
        self.backup = StoreBackup(self.recorder, lambda signal, timeout: self.wait_here(signal, timeout))
        self.export = StoreExport(self.recorder, lambda signal, timeout: self.wait_here(signal, timeout))
        self.store_writer: StoreWriter | None = None
        self.history: HistoryPort = NoHistory()
        self.loops: list[HostLoop] = []  # of the hosts that have one
        self.connections = Connections(options, lambda: self.clock(), self.log_throttle)
        self.gate = Gate(self)
        self.lifecycle = Lifecycle(self)
        self.step_of = step_of
        self.epochs: Iterator[int] = itertools.count()
        self.emitter = Emitter(
            self.registry,
            self.devices,
            self.durable_messages,
            self.callbacks,
            self.codec,
            self.log_update,
            self.log_throttle,
            self.loops,
        )
        for name, level in (("iotio.manager", logging_level), ("iotio.client", client_logging_level)):
            if level != logging.ERROR:
                get_logger(name).setLevel(level)
        if store is not None:
            _begin_store(self, store)

    def __repr__(self) -> str:
        types = ", ".join(map(repr, self.device_types)) or "none"
        return f"<{type(self).__name__}: types {types}, {len(self.clients)} of {len(self.devices)} devices connected>"

    def make_store_writer(self, store: Store) -> StoreWriter:
        """Create the background writer of a store."""
        return StoreWriter(store, self.recorder.snapshot, self.recorder.record, self.recorder.twin_records)

    # -- device types ----------------------------------------------------------------------------------

    def add_type(self, device: DeviceType) -> None:
        """Add a device type; one of the same name is replaced.

        Raises:
            ValueError: not a DeviceType, or one whose constructor did not run; its type name is not a str, or begins
                with "$"; one of its timings is wrong; its endpoints are too many, or two have one id.
            TypeError: one of its handlers cannot be called the way handlers are; its `endpoints` are no list of these.
        """
        self.types.add(device, self)

    @property
    def device_types(self) -> list[str]:
        """The names of the types that were added."""
        return self.types.names

    # -- sending ---------------------------------------------------------------------------------------

    def emit(
        self,
        event: str,
        data: Any = None,
        client_id: Addressees | None = None,
        client_type: str | None = None,
        room: str | None = None,
        trigger_update: bool = True,
        *,
        to: Addressees | None = None,
        broadcast: bool = False,
        skip: Addressees | None = None,
        durable: bool = False,
        ttl: float | None = None,
        coalesce: str | None = None,
    ) -> EmitResult:
        """Send an event to some devices, to a room, to a type, to a type within a room, or to every device.

        Args:
            event: the event's name.
            data: bytes, bool, int, str, dict or list (see docs/protocol for v0); float and None, which is what an event
                has that says no more than its name, to v2 devices. For devices with an endpoint of the
                event's name it is checked and converted; of several, those that do not take it are `dropped`.
            client_id: as `to`, in the words of iot.io 0.4: `client_type` and `room` are then ignored.
            client_type: every device of this type; together with `room`, only those in the room.
            room: every device in this room; those that are away are `offline` in the result.
            trigger_update: whether `on_update` hears of it.
            to: an id, an IoTClient, a DeviceHandle, or several of them. It is the device that is meant: a later
                connection of it does as well. There is no other target beside it.
            broadcast: True for every device. There is no other target beside it.
            skip: devices to leave out, named as in `to`.
            durable: keep it for each device until it has it: a device that is away gets it when it comes back. With a
                store it outlives the server; in a thread without an event loop `emit` returns when it is written, in
                a coroutine there is `await result.written()`.
            ttl: with `durable`, seconds after which it is of no use any more.
            coalesce: with `durable`, a word: it takes the place of an earlier message with this word that was not sent.

        Returns:
            What became of it.

        Raises:
            ValueError: no target; event is empty; `ttl` or `coalesce` without `durable`, or a `ttl` not above 0.
            StoreUnavailable: a durable message cannot be written to the store; it is not sent later. Of several
                devices, some may get it.
            TypeError: event or coalesce is not a str; to, client_id or skip names no device; two targets where one is
                `to` or `broadcast`.
            EncodeError: no addressed device can be sent the value (a ValueError).
            InvalidData: one device is named, and its endpoint of that name does not take the value (a ValueError).
        """
        outgoing = Outgoing.of(event, data, durable=durable, ttl=ttl, coalesce=coalesce, trigger_update=trigger_update)
        skipped = _NOBODY if skip is None else frozenset(ids_of(skip, "skip"))
        if to is None and not broadcast:
            ids = None if client_id is None else ids_of(client_id, "client_id")
            target = Target.of(ids, client_type, room, skipped)
        else:
            check_only_target(to, broadcast=broadcast, client_id=client_id, client_type=client_type, room=room)
            target = Target(None if to is None else ids_of(to, "to"), skip=skipped)
        return self.emitter.emit(target, outgoing)

    def delivery(self, delivery_id: str) -> Delivery | None:
        """Return the durable message of that id, after a restart too; None once it is done, or if there is none."""
        return self.durable_messages.find(delivery_id)

    def call(self, client_id: Addressee, event: str, data: Any = None, *, timeout: float = DEFAULT_TIMEOUT) -> Any:
        """Call a device's handler, and wait in this thread for what it returns; see `IoTClient.call`.

        A call goes to one device, by its id, an IoTClient or a DeviceHandle. Over which connection the device is there
        now does not matter.

        Raises:
            TypeError: client_id names no device, or several.
            CallDisconnected: the device is not connected, or went before it answered.
            CallError: there is no result for another reason.
            RuntimeError: an event loop runs in this thread; write `await manager.acall(...)` there.
        """
        check_no_loop("call()", "await manager.acall(...)")
        return _connected(self.registry, client_id).call(event, data, timeout=timeout)

    async def acall(
        self, client_id: Addressee, event: str, data: Any = None, *, timeout: float = DEFAULT_TIMEOUT
    ) -> Any:
        """Call a device's handler in a coroutine; arguments, result and errors are those of `call`."""
        return await _connected(self.registry, client_id).acall(event, data, timeout=timeout)

    def set(
        self,
        client_id: Addressee,
        values: Mapping[str, Any] | str,
        value: Any = None,
        *,
        if_version: Mapping[str, int] | int | None = None,
        ttl: float | None = None,
        by: str = "program",
    ) -> SetResult:
        """Set endpoints of one device, connected or away; see `DeviceHandle.set`.

        Raises:
            TypeError: client_id names no device.
            UnknownEndpoint: the device is not known, or has no such endpoint.
        """
        (one,) = addressees(client_id, "client_id")
        device = _device_of(self.registry, one)
        if device is None:
            raise UnknownEndpoint(f"no device {one!r} has ever been connected")
        return device.set(values, value, if_version=if_version, ttl=ttl, by=by)

    def log_update(self, client_id: str, event: str, data: Any) -> None:
        """Tell `on_update` that an event was sent; what it raises is logged."""
        self.callbacks.notify_update(client_id, event, data)

    # -- rooms -----------------------------------------------------------------------------------------

    def join(self, client: Addressees, room: str) -> bool:
        """Put devices into a room, which is made when the first enters it. They stay in there when they are away.

        Args:
            client: an id, an IoTClient, a DeviceHandle, or several of them.
            room: the room.

        Returns:
            Whether all of them are in the room now; False if one is not known.

        Raises:
            TypeError: room is not a str, client names no device.
            ValueError: the room's name has more than `max_room` bytes, or what is known of devices, with their rooms,
                would have more than `max_devices_bytes`. Of several devices, some may be in the room then.
        """
        members = _members(self.registry, client, room)
        _check_room_size(room, self.options.max_room)
        joined = [member is not None and self.registry.join(member, room) for member in members]
        return all(joined)

    def leave(self, client: Addressees, room: str) -> bool:
        """Take devices out of a room; see `join`.

        Returns:
            Whether any of them was in there.

        Raises:
            TypeError: room is not a str, client names no device.
        """
        members = _members(self.registry, client, room)
        left = [member is not None and self.registry.leave(member, room) for member in members]
        return any(left)

    def close_room(self, room: str) -> int:
        """Take every device out of a room. Returns how many that were. TypeError if room is not a str."""
        _check_room(room)
        return self.registry.close_room(room)

    def rooms_of(self, client: IoTClient | DeviceHandle) -> list[str]:
        """Return the rooms of a device, sorted."""
        return self.registry.rooms_of(client)

    @property
    def rooms(self) -> dict[str, list[str]]:
        """All rooms with the ids in them, connected or away; a copy."""
        return self.registry.rooms()

    # -- devices ---------------------------------------------------------------------------------------

    @property
    def clients(self) -> list[str]:
        """The ids of all connected devices; a copy."""
        return self.registry.ids()

    @property
    def connected_clients(self) -> list[str]:
        """The same under its name in iot.io 0.3."""
        return self.clients

    def client(self, client_id: str) -> IoTClient | None:
        """Return the connected device of that id, or None."""
        return self.registry.get(client_id)

    def device(self, device_id: str) -> DeviceHandle | None:
        """Return the device of that id, connected or away; None if it was never let in, or is forgotten."""
        return self.registry.device(device_id)

    def forget(self, client: Addressees) -> bool:
        """Forget devices, by an id, an IoTClient, a DeviceHandle, or several of them; see `DeviceHandle.forget`.

        Returns:
            Whether any of them was known.

        Raises:
            TypeError: client names no device.
        """
        devices = [_device_of(self.registry, one) for one in addressees(client, "client")]
        forgotten = [device is not None and self.presence.forget(device) for device in devices]
        return any(forgotten)

    @property
    def counters(self) -> dict[str, int]:
        """Events received and sent, invalid packets, events without a handler, drops: all devices since the start."""
        return self.connections.counters

    @property
    def refusals(self) -> dict[str, int]:
        """How many devices were refused since the start, by error code; a copy."""
        return self.connections.refusals

    def add(self, client: IoTClient) -> None:
        """Enter a client by hand, in the place of one of the same id; connections do this themselves.

        Raises:
            TypeError: not an IoTClient.
        """
        if not isinstance(client, IoTClient):
            raise TypeError("client must be an instance of IoTClient")
        client.epoch = next(self.epochs)
        before = self.registry.swap(client)
        if before is not None and before is not client:
            self.connections.evict(before)

    def remove(self, client: Addressees | None) -> bool:
        """End the connections of devices: CLOSE 1000 for the device, reason `removed` for `on_disconnect`.

        Args:
            client: an id, a DeviceHandle, an IoTClient, whose own connection is meant and no later one, or several of
                them; None for nobody.

        Returns:
            Whether any of them was connected.

        Raises:
            TypeError: client names no device.
        """
        found = [
            _connection_of(self.registry, one)
            for one in ([] if client is None else addressees(client, "client", _REMOVED))
        ]
        for one in found:
            if one is not None:
                one.socket.dismiss(DisconnectReason.REMOVED)
        return any(one is not None for one in found)

    def remove_client(self, client: IoTClient) -> bool:
        """End a device's connection; `remove` under its name in iot.io 0.3."""
        return self.remove(client)

    def remove_client_by_id(self, client_id: str) -> bool:
        """End a device's connection; `remove` under its name in iot.io 0.3."""
        return self.remove(client_id)

    def get_validator(self, client_id: str, endpoint_id: str) -> Endpoint | ValidationResponse:
        """Return the endpoint of a device, or why there is none.

        Of a device that is away, `on_get_offline_validator` decides if the program has one, as in iot.io 0.4. Without
        it, the endpoint is what the device is known to have.
        """
        client = self.registry.get(client_id)
        if client is not None:
            return client.get_validator(endpoint_id)
        if self.on_get_offline_validator is not Manager.on_get_offline_validator:
            found: object = self.on_get_offline_validator(client_id, endpoint_id)
            if isinstance(found, (Endpoint, ValidationResponse)):
                return found
            return ValidationResponse.CLIENT_NOT_CONNECTED  # as in iot.io 0.4, whatever else a program returned
        device = self.registry.device(client_id)
        if device is None:
            return ValidationResponse.CLIENT_NOT_CONNECTED
        return device.endpoint(endpoint_id) or ValidationResponse.ENDPOINT_NOT_DEFINED_BY_CLIENT

    # -- what a program may override or set with `event` -----------------------------------------------

    def event(self, coroutine: Callable[..., Any]) -> Any:
        """Set a callback of the manager by its function's name; works as a decorator.

        Args:
            coroutine: a function of any kind, named on_connect, on_disconnect, on_presence, on_state, on_update,
                on_get_offline_validator, on_start or on_stop.

        Returns:
            The function itself; False for another name, which is logged too (iot.io 0.4 returned a bool).

        Raises:
            TypeError: no function, an `async def` where only a `def` can run, or one that cannot be called the way its
                callback is.
        """
        return coroutine if self.callbacks.set(coroutine) else False

    @default_callback
    def on_connect(self, client: IoTClient) -> Any:
        """Run when any device has connected, after the `on_connect` of its type."""

    if TYPE_CHECKING:
        on_disconnect: Callable[..., Any]  # two signatures are right, which a method cannot say
    else:

        @default_callback
        def on_disconnect(self, client: IoTClient) -> Any:
            """Run when any device is gone, after the `on_disconnect` of its type. May take the reason, too."""

    @default_callback
    def on_presence(
        self, client: DeviceHandle, old: Presence, new: Presence, reason: DisconnectReason | PresenceReason
    ) -> Any:
        """Run when the presence of any device has changed, after the `on_presence` of its type; see `DeviceType`."""

    @default_callback
    def on_state(self, device: DeviceHandle, endpoint_id: str, old: State, new: State) -> Any:
        """Run when an endpoint of any device has changed, after the `on_state` of its type; see `DeviceType`."""

    @default_callback
    def on_update(self, client_id: str, event: str, data: Any) -> Any:
        """Run when an event was sent to a device, or to one that is away. `def` only: it runs in the sender."""

    @staticmethod
    def on_get_offline_validator(client_id: str, endpoint_id: str) -> Endpoint | ValidationResponse:
        """Return the endpoint that checks a value for a device that is away; by default there is none."""
        return ValidationResponse.CLIENT_NOT_CONNECTED

    # -- work beside the devices -----------------------------------------------------------------------

    def every(self, seconds: float) -> Callable[[Function], Function]:
        """Call a function every so many seconds while the server serves; a decorator.

        The first call is that many seconds after the start, behind `on_start`, and the others are multiples of them. A
        function is never called twice at once: one that still runs misses its turn. What it raises is logged, and its
        next turn comes. When the server ends, an `async def` is cancelled, and a `def` waited for.

        Args:
            seconds: between the beginnings of two calls.

        Returns:
            A decorator for a `def` or `async def` without parameters; it returns the function.

        Raises:
            ValueError: seconds is no number above 0.
            TypeError: the function cannot be called without arguments, or there are no seconds.
        """
        return self.background.every(seconds)

    def begin(self) -> None:
        """Begin the work beside the devices: `on_start`, then `every`. Returns when `on_start` has ended.

        `run`, `start` and an ASGI server do this by themselves when they start. gevent, Flask and gunicorn do not tell
        of their start: there the first request of any kind does it, if the program has not. A second call does nothing.
        """
        self.wait_here(self.background.begin(), None)

    @default_callback
    def on_start(self) -> Any:
        """Run when the server starts, before the first device is served. What it raises is logged."""

    @default_callback
    def on_stop(self) -> Any:
        """Run when the server ends, behind the last `on_disconnect`."""

    # -- for hosts -------------------------------------------------------------------------------------

    @property
    def closing(self) -> bool:
        """Whether the server goes down: nothing is expected of devices any longer."""
        return self.connections.phase is not Phase.SERVING

    def wait_here(self, signal: Signal, timeout: float | None) -> bool:
        """Wait in this thread. Returns whether the signal was set."""
        return wait(signal, timeout)

    def explain(self, error: BaseException) -> str:
        """Return what to do about an error that a handler has raised, for the log; "" if there is nothing to add."""
        return ""

    def sweep(self, now: float) -> bool:
        """Do what is due for background work, connections, presence and durable messages, a few times a second.

        Returns:
            Whether a few milliseconds were not enough, and it is to be called again soon.
        """
        self.background.sweep(now)
        self.log_throttle.sweep(now)
        if self.connections.sweep(now):
            return True
        self.presence.sweep(now)
        self.durable_messages.sweep()
        if self.twins is not None:
            self.twins.sweep(now)
        return False

    def run_awaitable(self, awaitable: Awaitable[Any], context: Context) -> Any:
        """Run an awaitable on a host's loop, in a context or a copy of it, and wait for its result.

        Not to be called on a loop's own thread.
        """
        return self.loops[-1].run_awaitable(awaitable, context)

    def close(self, timeout: float = 3.0, *, wait: Callable[[Signal, float], bool] = wait) -> None:
        """Close every connection: devices get CLOSE 1001, `on_disconnect` the reason `server_shutdown`.

        New devices are turned away in the same manner from now on. Who comes meanwhile is held until the end: a 0.4.1
        device comes back at once, and would be in the middle of a handshake when the program goes.

        Args:
            timeout: seconds to wait for devices to answer and for handlers to end.
            wait: how to wait in this thread.

        Raises:
            ValueError: so many seconds cannot be waited.
        """
        check_wait(timeout)
        try:
            self.connections.begin_close(timeout, wait)
        finally:
            self.connections.finish_close()
            self.background.end(timeout, wait)
            self.log_throttle.sweep(self.clock(), ends=True)
            if self.twins is not None:
                self.twins.close()
            if self.store_writer is not None:
                self.store_writer.close(wait=wait)
            self.history.close(wait=wait)


def _check_room(room: object) -> None:
    if not isinstance(room, str):
        raise TypeError("'room' must be an instance of str")


def _check_room_size(room: str, most: int) -> None:
    size = size_of(room)
    if size > most:
        raise ValueError(f"the name of a room may have {most} bytes (max_room), this one has {size}")


def _begin_store(manager: Manager, store: Store) -> None:
    """Read the devices and messages of a store, then have the store writer write down what changes."""
    snapshot = _usable(store)
    for record in snapshot.devices:
        manager.durable_messages.restore(record)
    manager.presence.restore(snapshot.devices)
    unknown = manager.durable_messages.restore_messages(snapshot.messages)
    if manager.twins is not None:
        manager.twins.restore(snapshot.twins)
    manager.presence.make_room()  # behind the messages: who has some is not forgotten
    manager.store_writer = manager.durable_messages.writer = manager.recorder.writer = manager.make_store_writer(store)
    if manager.twins is not None:
        manager.twins.writer = manager.store_writer
    unknown.update(record.id for record in snapshot.devices)
    for device_id in unknown:  # more are stored than are remembered
        if manager.registry.device(device_id) is None:
            manager.store_writer.submit(DropDevice(device_id))


def _usable(store: Store) -> Snapshot:
    """Read what a store holds, and have it set aside what cannot be used: nothing of a device can be without it."""
    snapshot = store.load()
    bad: list[tuple[Record, str]] = []
    devices, messages, twins = [], [], []
    for device in snapshot.devices:
        if device.presence in _PRESENCES:
            devices.append(device)
        else:
            bad.append((device, f"presence is {device.presence[:100]!r}, which is none"))
    known = {device.id for device in devices}
    for message in snapshot.messages:
        why = _problem_of(message) if message.device_id in known else _NO_DEVICE
        if why:
            bad.append((message, why))
        else:
            messages.append(message)
    for twin in snapshot.twins:
        why = "" if twin.status in _STATUSES else f"status is {twin.status[:100]!r}, which is none"
        why = why if twin.device_id in known else _NO_DEVICE
        if why:
            bad.append((twin, why))
        else:
            twins.append(twin)
    if bad:
        store.set_aside(bad)
    return Snapshot(tuple(devices), tuple(messages), tuple(twins))


def _problem_of(message: MessageRecord) -> str:
    """Say why a message could not be sent to any device; "" if it could."""
    try:
        v2.decode_value(message.kind, message.value)
        v2.encode_head(message.kind, message.event)
    except (InvalidPacket, EncodeError) as error:
        return str(error)
    return ""


def _connected(registry: Registry, target: Addressee) -> IoTClient:
    named = ids_of(target, "client_id")
    if not isinstance(target, (str, IoTClient, DeviceHandle)):
        raise TypeError(f"a call goes to one device: 'client_id' must be one, not {type(target).__name__}")
    client_id = named[0]
    client = registry.get(client_id)
    if client is None:
        raise CallDisconnected(f"device {client_id!r} is not connected")
    return client


def _members(registry: Registry, target: Addressees, room: object) -> list[IoTClient | DeviceHandle | None]:
    """Return the devices that are to enter or leave a room; None for an id that is not known."""
    _check_room(room)
    return [registry.device(one) if isinstance(one, str) else one for one in addressees(target, "client", _MEMBER)]


def _device_of(registry: Registry, one: Addressee) -> DeviceHandle | None:
    if isinstance(one, str):
        return registry.device(one)
    return one.device if isinstance(one, IoTClient) else one


def _connection_of(registry: Registry, one: Addressee) -> IoTClient | None:
    """Return the connection that is there; None if it is another one than a program holds, or another device's."""
    current = registry.get(one if isinstance(one, str) else one.id)
    if isinstance(one, str) or current is None:
        return current
    return current if one in (current, current.device) else None
