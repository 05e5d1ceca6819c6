"""What a program holds of a device: an `IoTClient` is one connection, a `DeviceHandle` is there in between, too."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any, cast

from iotio_protocol.calls import check_timeout
from iotio_protocol.encoder import DefaultPacketEncoder
from iotio_protocol.endpoints import (
    DeclarationError,
    Endpoint,
    EndpointParseResponse,
    ValidationResponse,
    parse_endpoints,
)
from iotio_protocol.errors import ConnectionEnded, UnknownEndpoint
from iotio_protocol.logs import get_logger
from iotio_protocol.presence import Presence, Tracker
from iotio_protocol.twin import State

from .calls import DEFAULT_TIMEOUT, PendingCall
from .endpoint_check import Checks, share
from .message import Message, current_message
from .ports import Link, Operations, TwinsOfDevice, TwinsPort
from .readings import Every, HistoryRequest, Series
from .results import EmitResult, SetResult
from .storage.records import DeviceState, read_json, write_json
from .target import Outgoing, check_event, options_of
from .waiting import check_no_loop

__all__ = [
    "Addressee",
    "Addressees",
    "DeviceHandle",
    "IoTClient",
    "addressees",
    "current_client",
    "ids_of",
    "last_seen",
]

logger = get_logger("iotio.client")

MAX_NAME = 200
"""Characters of a device's name."""

MAX_NOTE = 2000
"""Characters of what people note of a device."""

_UNREAD = object()
_SMALL = 512  # bytes of JSON; as objects they may take 24 times as much, about what a connection takes anyway


_VALID = EndpointParseResponse.VALID  # to look up a member of an Enum takes its time


class IoTClient:
    """One connection of a device: what the device is, and how to reach it.

    The server makes these; a program gets them in handlers and from the manager. When the device connects again,
    it gets a new one. All properties are snapshots or never change, so any thread may read them.

    Args:
        ws: the connection that carries it.
        client_id: the device id.
        client_type: the name of its device type.
        client_data: what it said of itself at the handshake: any JSON value (v1), the raw text (v0).
        manager: whose device it is.
        logging_level: as the manager's `client_logging_level`.
        encoder: the manager's.
    """

    def __init__(
        self,
        ws: Link,
        client_id: str,
        client_type: str,
        client_data: Any,
        manager: Operations,
        logging_level: int = logging.ERROR,
        encoder: Any = DefaultPacketEncoder,
    ) -> None:
        self._id = client_id
        self._type = client_type
        self.written_data = write_json(client_data)
        # Large data is read when somebody looks: most programs never do, and then only its JSON is kept.
        self._data = client_data if len(self.written_data) <= _SMALL else _UNREAD
        # Its endpoints by id, those of its type among them; a hot path asks for each emit.
        self.declared: dict[str, Endpoint] | None = None
        self.declaration: bytes | None = None  # what it has declared itself, as JSON; None if that is nothing
        self.socket = ws
        self.epoch: int = getattr(ws, "epoch", -1)  # which of two connections of one id is the later one
        self.manager = manager
        self.encoder = encoder
        self.logger = logger
        self.logging_level = logging_level
        self.device: DeviceHandle | None = None  # what lasts of it; the registry sets it when the device is let in

    def __repr__(self) -> str:
        return f"<IoTClient {self._id!r} type={self._type!r}>"

    @property
    def id(self) -> str:
        """The device id."""
        return self._id

    @property
    def type(self) -> str:
        """The name of the device type."""
        return self._type

    @property
    def data(self) -> Any:
        """What the device said of itself at the handshake; one object for the time of the connection."""
        if self._data is _UNREAD:
            self._data = read_json(self.written_data)
        return self._data

    @property
    def rooms(self) -> list[str]:
        """The rooms its device is in, sorted; a copy."""
        return self.manager.rooms_of(self)

    @property
    def endpoints(self) -> list[dict[str, Any]]:
        """The declarations of its endpoints, those of its type among them; a copy."""
        return [endpoint.describe() for endpoint in (self.declared or {}).values()]

    @property
    def info(self) -> dict[str, Any]:
        """Id, type, data and endpoints, as JSON can carry them; a copy."""
        data = read_json(self.written_data)
        return {"id": self._id, "type": self._type, "data": data, "endpoints": self.endpoints}

    @property
    def counters(self) -> dict[str, int]:
        """Events received and sent, invalid packets, events without a handler, drops, on this connection; a copy."""
        return self.socket.counters

    @property
    def connected(self) -> bool:
        """Whether an emit could reach it now."""
        return self.socket.is_open

    @property
    def connected_since(self) -> datetime:
        """When it was let in; in UTC. At the handshake: now."""
        return self._date(self.socket.since or self.manager.clock())

    @property
    def last_seen(self) -> datetime:
        """When anything came from it last, pongs included; in UTC."""
        return self._date(self.socket.session.last_received)

    @property
    def rtt(self) -> float | None:
        """Seconds that the answer to the last ping took; None before the first."""
        return self.socket.session.rtt

    def _date(self, when: float) -> datetime:
        """Return a time on the manager's clock as a date."""
        return datetime.fromtimestamp(self.manager.wall() - (self.manager.clock() - when), UTC)

    @property
    def message(self) -> Message | None:
        """More about the message whose handler is running: of one that is durable or of another time; else None."""
        return current_message.get()

    def emit(
        self,
        event: str,
        data: Any = None,
        trigger_update: bool = True,
        *,
        durable: bool = False,
        ttl: float | None = None,
        coalesce: str | None = None,
    ) -> EmitResult:
        """Send an event to this device.

        Args:
            event: the event's name.
            data: bytes, bool, int, str, dict or list (see docs/protocol for v0); float and None to v2 devices.
                If the device has an endpoint of the event's name, it is checked and converted.
            trigger_update: whether the manager's `on_update` hears of it.
            durable: keep it until the device has it, over this connection or a later one; see `Manager.emit`.
            ttl: with `durable`, seconds after which it is of no use any more.
            coalesce: with `durable`, takes the place of an earlier message with this word that was not sent.

        Returns:
            What became of it: a device that is gone is in `offline`.

        Raises:
            TypeError: event is not a str.
            ValueError: event is empty; `ttl` or `coalesce` is of no use.
            EncodeError: the device's protocol cannot carry the value (a ValueError).
            InvalidData: the device has an endpoint of that name, and it does not take the value (a ValueError).
            StoreUnavailable: a durable message cannot be written to the store.
        """
        outgoing = Outgoing.of(event, data, durable=durable, ttl=ttl, coalesce=coalesce, trigger_update=trigger_update)
        if durable:  # it goes by the manager's public emit, which a program may have overridden
            return self.manager.emit(event, data, self.id, **options_of(outgoing))
        return self.manager.emitter.emit_to(self, outgoing)

    def call(self, event: str, data: Any = None, *, timeout: float = DEFAULT_TIMEOUT) -> Any:
        """Call the device's handler of an event, and wait in this thread for what it returns.

        Works in `def` handlers, Flask views and threads of your own; for coroutines there is `acall`.

        Args:
            event: the event's name. If the device has an endpoint of that name, the value is checked and converted.
            data: bytes, bool, int, float, str, dict, list or None.
            timeout: seconds to wait for the answer.

        Returns:
            The handler's return value.

        Raises:
            CallTimeout: no answer in time.
            CallDisconnected: the device is gone, or went before it answered; at once, not after the time-out.
            RemoteError: the handler raised.
            NoHandler: the device has no handler for the event.
            InvalidData: the value breaks the device's endpoint of that name, and nothing was sent; or the device
                refused it, or its result cannot travel.
            TooManyCalls: as many calls as may be are on their way to it.
            CallsUnsupported: it speaks protocol v0 or v1.
            EncodeError: the value cannot travel (a ValueError).
            RuntimeError: an event loop runs in this thread; write `await client.acall(...)` there.
        """
        check_no_loop("call()", "await client.acall(...)")
        return self._begin_call(event, data, timeout).wait(timeout)

    async def acall(self, event: str, data: Any = None, *, timeout: float = DEFAULT_TIMEOUT) -> Any:
        """`call` for coroutines: arguments, result and errors are the same."""
        return await self._begin_call(event, data, timeout).wait_async(timeout)

    def _begin_call(self, event: str, data: Any, timeout: float) -> PendingCall:
        check_timeout(timeout)
        check_event(event)
        pending: PendingCall = self.socket.calls.begin(event, self.checked(event, data))
        return pending

    def checked(self, event: str, value: Any) -> Any:
        """Return a value as it is to be sent, converted if the device has an endpoint of the event's name.

        Raises:
            InvalidData: the endpoint does not take it.
        """
        endpoint = self.declared.get(event) if self.declared else None
        return value if endpoint is None else Checks(value).of(endpoint, self._id)

    def as_sent(self, event: str, value: Any) -> Any:
        """Return a value that `checked` has returned as the device's protocol carries it.

        Protocol v1 has no floats, so its devices are sent the numeral of a float endpoint as text: those of iot.io 0.4
        send back what they get, and fail with a float.
        """
        if type(value) is not float or self.socket.session.version != 1:
            return value
        return repr(value) if self.declared and event in self.declared else value

    def send(self, event: str, message: Any, encoding: str | None = None, error_handling: str | None = None) -> None:
        """Send an event, under the name and with the error of iot.io 0.3; text is always UTF-8 now.

        Args:
            event: the event's name.
            message: the value.
            encoding: not used any more.
            error_handling: not used any more.

        Raises:
            ConnectionEnded: the device is gone.
        """
        if not self.emit(event, message):
            raise ConnectionEnded

    @property
    def state(self) -> dict[str, State]:
        """What the device's endpoints are and what they should be; see `DeviceHandle.state`."""
        return self._lasting().state

    def set(
        self,
        values: Mapping[str, Any] | str,
        value: Any = None,
        *,
        if_version: Mapping[str, int] | int | None = None,
        ttl: float | None = None,
        by: str = "program",
    ) -> SetResult:
        """Set endpoints of the device; see `DeviceHandle.set`."""
        return self._lasting().set(values, value, if_version=if_version, ttl=ttl, by=by)

    def _lasting(self) -> DeviceHandle:
        device = self.device
        if device is None:
            raise UnknownEndpoint(f"device {self._id!r} is not let in yet")
        return device

    def join(self, room: str) -> bool:
        """Put the device into a room, where it stays when it is away. Returns False if the device is forgotten."""
        return self.manager.join(self, room)

    def leave(self, room: str) -> bool:
        """Take the device out of a room. Returns whether it was in there."""
        return self.manager.leave(self, room)

    def close(self) -> None:
        """End the connection: the device gets a CLOSE frame (1000), `on_disconnect` the reason `removed`."""
        self.manager.remove(self)

    def get_validator(self, endpoint_id: str) -> Endpoint | ValidationResponse:
        """Return the endpoint of an id, or the reason why there is none."""
        if self.declared is None:
            return ValidationResponse.CLIENT_ENDPOINTS_NOT_INITIALIZED
        return self.declared.get(endpoint_id, ValidationResponse.ENDPOINT_NOT_DEFINED_BY_CLIENT)

    def inherit(self, endpoints: dict[str, Endpoint]) -> None:
        """Add the endpoints of its type, by id, but for those that it has declared itself."""
        self.declared = {**endpoints, **self.declared} if self.declared else endpoints

    def parse_endpoints(self, endpoints: object) -> tuple[Any, EndpointParseResponse]:
        """Read the device's endpoint declarations; if one is wrong, none counts.

        Returns:
            ("", VALID), or the id in the wrong declaration and what is wrong with it.
        """
        try:
            declared = parse_endpoints(endpoints)
            self.declared = share(declared) if declared else {}
            self.declaration = write_json(endpoints) if declared else None
        except DeclarationError as error:
            return error.endpoint_id, error.problem
        return "", _VALID


class DeviceHandle:
    """A device that the server knows: from its first connection on, until it is forgotten.

    The manager makes these, see `Manager.device`. All properties are snapshots, so any thread may read them.

    Args:
        manager: whose device it is.
        state: what is known of it; from now on the device's own.

    Attributes:
        current: its connection, or None while it is away.
        lasting: what outlives the process of it.
        tracker: follows its presence.
        size: its bytes, as `Remembered` counts them; 0 while it does not.
        counted: its declaration, while `Remembered` counts that.
        twins: what is known of its endpoints, None while that is nothing.
    """

    # All but `id` and `manager` are the registry's, and change under its lock only.
    __slots__ = ("counted", "current", "id", "lasting", "manager", "size", "tracker", "twins")

    def __init__(self, manager: Operations, state: DeviceState) -> None:
        self.id = state.id
        self.manager = manager
        self.lasting = state
        self.current: IoTClient | None = None
        self.size = 0
        self.counted: bytes | None = None
        self.twins: TwinsOfDevice | None = None
        self.tracker = Tracker(Presence(state.presence))

    def __repr__(self) -> str:
        return f"<DeviceHandle {self.id!r} type={self.type!r} {self.presence}>"

    @property
    def type(self) -> str:
        """The name of its device type; that of its last connection."""
        return self.lasting.type

    @property
    def data(self) -> Any:
        """What it said of itself at its last handshake; while it is away, read anew at each look."""
        client = self.current
        return read_json(self.lasting.data) if client is None else client.data

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """Its endpoints by id, also while it is away; a copy.

        They are those that it has declared when it connected last, and those that its type lists under other ids.
        """
        client = self.current
        if client is not None:
            return dict(client.declared or ())
        written = self.lasting.declaration
        return {**self._of_type, **(_declared(written) if written is not None else {})}

    def endpoint(self, event: str) -> Endpoint | None:
        """Return the endpoint of that name, or None; see `endpoints`."""
        client, written = self.current, self.lasting.declaration
        if client is not None:
            return client.declared.get(event) if client.declared else None
        own = None
        if written is not None and write_json(event) in written:  # most need not be read to see that it is not there
            own = _declared(written).get(event)
        return self._of_type.get(event) if own is None else own

    @property
    def _of_type(self) -> dict[str, Endpoint]:
        """The endpoints that its type lists; none if there is no such type (any more)."""
        found = self.manager.types.get(self.lasting.type)
        return {} if found is None else found.endpoints

    @property
    def client(self) -> IoTClient | None:
        """Its connection, or None while it is away."""
        return self.current

    @property
    def connected(self) -> bool:
        """Whether an emit could reach it now."""
        client = self.current
        return client is not None and client.connected

    @property
    def presence(self) -> Presence:
        """Whether it is there; a device that is away for less than its grace time still is."""
        return self.tracker.presence

    @property
    def since(self) -> datetime:
        """Since when its presence is what it is; in UTC."""
        return datetime.fromtimestamp(self.lasting.since, UTC)

    @property
    def last_seen(self) -> datetime:
        """When anything came from it last, pongs included; in UTC."""
        client = self.current
        return datetime.fromtimestamp(self.lasting.last_seen, UTC) if client is None else client.last_seen

    @property
    def rooms(self) -> list[str]:
        """The rooms it is in, sorted; a copy."""
        return self.manager.rooms_of(self)

    def snapshot(self) -> DeviceState:
        """Return a copy of the state as it is now; the caller holds the lock of the registry."""
        state = self.lasting.copy()
        if self.current is not None:
            state.last_seen = last_seen(self.current)
        return state

    @property
    def name(self) -> str:
        """What people call the device; "" as long as nobody has given it a name. Assign to it to change it.

        At most 200 characters. It counts for `Options.max_devices_bytes`, and is kept with the device.
        """
        return self.lasting.name

    @name.setter
    def name(self, text: str) -> None:
        _check_text("name", text, MAX_NAME)
        self.manager.presence.describe(self, name=text)

    @property
    def note(self) -> str:
        """What people note of the device, as `name`; at most 2000 characters."""
        return self.lasting.note

    @note.setter
    def note(self, text: str) -> None:
        _check_text("note", text, MAX_NOTE)
        self.manager.presence.describe(self, note=text)

    @property
    def state(self) -> dict[str, State]:
        """What each of its endpoints is and what it should be, by their ids; also while it is away; a copy."""
        return self._twins().states(self)

    def set(
        self,
        values: Mapping[str, Any] | str,
        value: Any = None,
        *,
        if_version: Mapping[str, int] | int | None = None,
        ttl: float | None = None,
        by: str = "program",
    ) -> SetResult:
        """Set endpoints, all of them or none: `device.set("target", 21)`, `device.set({"target": 21, "mode": "eco"})`.

        What is set is desired until the device has it. If the device is away it is kept, and sent when it comes back;
        of several sets of one endpoint only the last one is. With a store it outlives the server: in a thread without
        an event loop `set` returns when it is written, in a coroutine there is `await result.written()`. It is not
        sent before.

        Args:
            values: values by endpoint; or the id of one.
            value: its value, which is checked and converted.
            if_version: set only if what is desired has this version (`State.version`); of several endpoints, a mapping.
            ttl: seconds after which it is of no use any more, and is rejected as "expired".
            by: who sets it, for `State.desired_by`; at most 200 characters.

        Returns:
            What becomes of it.

        Raises:
            UnknownEndpoint: the device has no such endpoint, or is forgotten.
            ReadOnly: the endpoint is a sensor.
            InvalidData: the endpoint does not take the value.
            VersionConflict: it was set since; `current` is how it is.
            StoreUnavailable: it cannot be written to the store.
            ValueError: an argument is of no use.
        """
        return self._twins().set(self, values, value, if_version=if_version, ttl=ttl, by=by)

    def unset(self, endpoint_id: str) -> bool:
        """Withdraw what is desired of an endpoint: it is not sent any more, and what the device reports counts.

        Returns:
            Whether anything was desired.

        Raises:
            UnknownEndpoint: the device has no such endpoint, or is forgotten.
            StoreUnavailable: it cannot be written to the store.
        """
        return self._twins().unset(self, endpoint_id)

    def report(self, values: Mapping[str, Any], time: datetime | None = None) -> None:
        """Report values for the device: for programs that read them out of events of their own.

        Args:
            values: by endpoint.
            time: when they were so; None: now. What is older than the last report is recorded, and changes nothing.

        Raises:
            UnknownEndpoint: the device has no such endpoint.
            InvalidData: a value has another type than its endpoint.
        """
        self._twins().report(self, values, time)

    def _twins(self) -> TwinsPort:
        twins = self.manager.twins
        if twins is None:
            raise RuntimeError("this manager keeps no state of endpoints: IoTManager does")
        return twins

    def emit(
        self,
        event: str,
        data: Any = None,
        trigger_update: bool = True,
        *,
        durable: bool = False,
        ttl: float | None = None,
        coalesce: str | None = None,
    ) -> EmitResult:
        """Send an event to this device, if it is connected; a durable one else when it comes back.

        Args:
            event: the event's name.
            data: bytes, bool, int, str, dict or list (see docs/protocol for v0); float and None to v2 devices.
                If the device has an endpoint of the event's name, it is checked and converted.
            trigger_update: whether the manager's `on_update` hears of it.
            durable: keep it until the device has it; see `Manager.emit`.
            ttl: with `durable`, seconds after which it is of no use any more.
            coalesce: with `durable`, takes the place of an earlier message with this word that was not sent.

        Returns:
            What became of it: a device that is away is in `offline`.

        Raises:
            TypeError: event is not a str.
            ValueError: event is empty; `ttl` or `coalesce` is of no use.
            EncodeError: the device's protocol cannot carry the value (a ValueError).
            InvalidData: the device has an endpoint of that name, and it does not take the value (a ValueError).
            StoreUnavailable: a durable message cannot be written to the store.
        """
        outgoing = Outgoing.of(event, data, durable=durable, ttl=ttl, coalesce=coalesce, trigger_update=trigger_update)
        return self.manager.emit(event, data, self.id, **options_of(outgoing))

    def call(self, event: str, data: Any = None, *, timeout: float = DEFAULT_TIMEOUT) -> Any:
        """Call the device's handler of an event; see `IoTClient.call`. CallDisconnected if it is away."""
        return self.manager.call(self.id, event, data, timeout=timeout)

    async def acall(self, event: str, data: Any = None, *, timeout: float = DEFAULT_TIMEOUT) -> Any:
        """`call` for coroutines."""
        return await self.manager.acall(self.id, event, data, timeout=timeout)

    def history(
        self,
        endpoint: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        points: int | None = 200,
        every: Every | None = None,
        tz: str | tzinfo | None = None,
        unit: str | None = None,
    ) -> Series:
        """Ask what an endpoint of the device was, and wait for the answer; connected or away.

        Args:
            endpoint: the id of the endpoint.
            start: when the time begins; None for a day before its end. Without a time zone it is of `tz`.
            end: when it ends; None for now.
            points: buckets of one length, at most; those of a quarter of an hour and more are whole quarters. None for
                each reading.
            every: buckets of the calendar in their place: "15m", "1h", "1d" or "1mo".
            tz: the time zone of calendar and answer, such as "Europe/Berlin"; None for UTC.
            unit: the unit whose readings are meant, if it has changed; None for that of the last reading.

        Returns:
            Buckets for numbers, spans for states; nothing if nothing was recorded.

        Raises:
            StoreError: no history is recorded, the store cannot be read, or too many queries wait.
            TimeoutError: it took more than 10 s.
            ValueError: there is no such time, time zone or kind of bucket, or the answer would be too long.
            TypeError: start or end is no datetime.
            RuntimeError: an event loop runs in this thread; write `await device.ahistory(...)` there.
        """
        check_no_loop("history()", "await device.ahistory(...)")
        return self.manager.history.history(HistoryRequest(self.id, endpoint, start, end, points, every, tz, unit))

    async def ahistory(
        self,
        endpoint: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        points: int | None = 200,
        every: Every | None = None,
        tz: str | tzinfo | None = None,
        unit: str | None = None,
    ) -> Series:
        """`history` for coroutines: arguments, result and errors are the same."""
        request = HistoryRequest(self.id, endpoint, start, end, points, every, tz, unit)
        return await self.manager.history.ahistory(request)

    def join(self, room: str) -> bool:
        """Put the device into a room, connected or not. Returns False if the device is forgotten."""
        return self.manager.join(self, room)

    def leave(self, room: str) -> bool:
        """Take the device out of a room. Returns whether it was in there."""
        return self.manager.leave(self, room)

    def forget(self) -> bool:
        """Forget the device: it leaves all rooms and is offline at once; its connection ends with the reason `removed`.

        If it comes back, it is a new device.

        Returns:
            Whether it was known.
        """
        return self.manager.forget(self)

    def sleeps(self, seconds: float) -> None:
        """Note that the device has announced a sleep: it will go, and be back within so many seconds from now.

        The device is `sleeping` once its connection has ended. 0 withdraws the sleep, and so does its next connection.

        Args:
            seconds: until the device should be back.

        Raises:
            ValueError: seconds is negative or no finite number.
        """
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"a device cannot sleep for {seconds} seconds")
        self.manager.presence.announce_sleep(self, seconds)

    def says_goodbye(self) -> None:
        """Note that the device has announced to go for long: it is offline as soon as its connection has ended."""
        self.manager.presence.announce_farewell(self)


def _check_text(what: str, text: object, most: int) -> None:
    """Raise an error for a text that cannot be a device's name or note."""
    if not isinstance(text, str):
        raise TypeError(f"the {what} of a device is a str, not {type(text).__name__}")
    if len(text) > most:
        raise ValueError(f"the {what} of a device may have {most} characters, this one has {len(text)}")


@lru_cache(maxsize=16)
def _declared(written: bytes) -> dict[str, Endpoint]:
    """Return the endpoints that devices have declared which are away: thousands may have declared the same.

    Empty if this version cannot read them: a newer one has stored them, or the store is damaged.
    """
    try:
        return share(parse_endpoints(read_json(written)))
    except (ValueError, RecursionError):  # DeclarationError is a ValueError
        return {}


current_client: ContextVar[IoTClient] = ContextVar("iotio_current_client")
"""Set in each connection's own context, which every handler of the device runs in."""


def last_seen(client: IoTClient) -> float:
    """Return when anything came over a connection last, in seconds since 1970."""
    return client.manager.wall() - (client.manager.clock() - client.socket.session.last_received)


Addressee = str | IoTClient | DeviceHandle
"""What names a device: its id, one of its connections, or what lasts of it."""

Addressees = Addressee | Iterable[Addressee]


def addressees(target: object, name: str, must: str = "{name!r} must be an id, an IoTClient") -> list[Addressee]:
    """Return the devices that a program names. Here is decided what may name a device, for all that take one.

    Args:
        target: an id, an IoTClient, a DeviceHandle, or an iterable of these.
        name: the argument's name, for the error.
        must: the first words of the error, where iot.io 0.4 had others.

    Raises:
        TypeError: something else.
    """
    if isinstance(target, (str, IoTClient, DeviceHandle)):
        return [target]
    several = isinstance(target, Iterable) and not isinstance(target, (bytes, bytearray))
    found: list[Any] = list(cast("Iterable[Any]", target)) if several else [target]
    for one in found:
        if not isinstance(one, (str, IoTClient, DeviceHandle)):
            words = must.format(name=name)
            raise TypeError(f"{words}, a DeviceHandle, or several of these, not {type(one).__name__}")
    return found


def ids_of(target: object, name: str) -> tuple[str, ...]:
    """Return the ids of the devices that a program names, each once; see `addressees`."""
    return tuple(dict.fromkeys(one if isinstance(one, str) else one.id for one in addressees(target, name)))
