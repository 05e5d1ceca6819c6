"""What the parts of the core ask of each other: small interfaces, so that imports point one way."""

from __future__ import annotations

from _thread import LockType
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import Context
from datetime import datetime
from typing import Any, Protocol

from iotio_protocol import v2
from iotio_protocol.endpoints import Endpoint
from iotio_protocol.options import Options
from iotio_protocol.reasons import DisconnectReason
from iotio_protocol.session import Session
from iotio_protocol.twin import State
from iotio_protocol.values import Value

from .primitives import Signal
from .readings import HistoryRequest, Series
from .results import EmitResult, SetResult
from .storage.records import TwinRecord
from .target import Outgoing, Target

__all__ = [
    "DurableLink",
    "Effect",
    "HistoryPort",
    "Link",
    "Operations",
    "PresencePort",
    "ReadingSink",
    "ServerPort",
    "TwinLink",
    "TwinsOfDevice",
    "TwinsPort",
]

Effect = Callable[[Any], object]
"""What is done in the transaction that notes a durable message as handled; see `Message.transaction`."""


class DurableLink(Protocol):
    """A connection, as the queue of durable messages sees it."""

    @property
    def epoch(self) -> int: ...
    @property
    def version(self) -> int: ...
    @property
    def takes(self) -> v2.Takes: ...
    @property
    def sent(self) -> int: ...
    def send(self, frame: bytes) -> str: ...
    def encode(self, event: str, value: Value) -> bytes: ...
    def has_room_for_durable(self, size: int) -> bool: ...
    def acknowledge(self, frame: bytes) -> None: ...
    def probe(self, upto: int) -> None: ...
    def cannot_store(self, error: Exception) -> None: ...


class CallsPort(Protocol):
    """The calls to a device over its connection."""

    def begin(self, event: str, value: Value) -> Any: ...


class ReadingSink(Protocol):
    """Where readings of endpoints are recorded; any thread."""

    def record(self, device_id: str, endpoint: Endpoint, readings: Sequence[tuple[int, Value]]) -> None:
        """Record readings: each a time in ms since 1970 and a value that the endpoint has taken. Never blocks."""

    def record_durably(self, device_id: str, endpoint: Endpoint, readings: Sequence[tuple[int, Value]]) -> Effect:
        """Record readings of a durable message.

        Returns:
            What writes them, in the transaction that notes the message as handled.
        """

    def forget(self, device_id: str) -> None:
        """Drop all series of a device."""


class TwinLink(Protocol):
    """A connection, as the twins of its device see it.

    Attributes:
        epoch: which of two connections of a device is the later one.
        reported: what the device has said of its endpoints in HELLO, or None; taken once.
        n_invalid_reports: reports that no endpoint of the device takes.
        n_wrong_clock: times of the device that are more than a day ahead.
    """

    epoch: int
    session: Session
    n_invalid_reports: int
    n_wrong_clock: int
    lane: Any
    _lock: LockType

    reported: dict[str, Value] | None

    @property
    def client(self) -> Any: ...
    @property
    def manager(self) -> Any: ...
    @property
    def is_open(self) -> bool: ...
    @property
    def name(self) -> str: ...
    @property
    def calls(self) -> CallsPort: ...
    def send(self, frame: bytes) -> str: ...
    def flush_session(self) -> None: ...
    def handle(self, event: Any) -> None: ...
    def complain(self, error: Any) -> None: ...


class TwinsOfDevice(Protocol):
    """The twins of one device, as its handle has them.

    Attributes:
        size: bytes that they count for `Options.max_devices_bytes`.
    """

    size: int

    @property
    def are_desired(self) -> bool: ...


class TwinsPort(Protocol):
    """The twins of all devices. Any thread may call any method.

    Attributes:
        writer: the store writer; None without one.
    """

    writer: Any

    @property
    def threads(self) -> Any:
        """The threads that call `on_state`."""

    # For handles.
    def states(self, device: Any) -> dict[str, State]: ...
    def set(
        self,
        device: Any,
        values: Mapping[str, Any] | str,
        value: Any,
        *,
        if_version: Mapping[str, int] | int | None,
        ttl: float | None,
        by: str,
    ) -> SetResult: ...
    def unset(self, device: Any, endpoint_id: str) -> bool: ...
    def report(self, device: Any, values: Mapping[str, Any], time: datetime | None) -> None: ...

    # For connections.
    def begin(self, connection: Any) -> None:
        """Take what the device has reported with its HELLO, and send what is outstanding."""

    def end(self, connection: Any) -> None:
        """Note that a connection has ended, if it is the device's present one."""

    def reporting(self, connection: Any, endpoint: Endpoint, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap the handler of an event that has the name of an endpoint."""

    def reserved(self, connection: Any, event: str) -> Callable[..., Any] | None:
        """Return what takes value and client of an event that begins with `$`; None if there is no such event."""

    def was_read(self, connection: Any, number: int) -> None:
        """Note that the device has read what was sent before a probe."""

    # For the store.
    def restore(self, records: Iterable[TwinRecord]) -> None: ...
    def record(self, device_id: str, endpoint_ids: Iterable[str]) -> list[TwinRecord]: ...
    def records(self) -> list[TwinRecord]: ...
    def drop(self, device: Any) -> None:
        """Note that a device is forgotten. The registry's lock is held."""

    # For the manager.
    def sweep(self, now: float) -> None: ...
    def close(self) -> None:
        """Have all that is not written yet written, as the server ends."""


class Outcome(Protocol):
    """The result of an awaitable that runs on a loop.

    Attributes:
        done: set when it is there.
        error: what the awaitable raised; None if it returned.
    """

    done: Signal
    error: BaseException | None

    def cancel(self) -> None:
        """Cancel it, if it runs; from any thread."""


class WorkPlace(Protocol):
    """Where the program's background work runs."""

    def run_def(self, function: Callable[[], None], label: str) -> None:
        """Run a function where `def` handlers run; from any thread. `label` says what it is, for the log."""

    def submit(self, awaitable: Awaitable[Any], context: Context) -> Outcome:
        """Run an awaitable on the loop of `async def` handlers, in a context; from any thread."""


class HostLoop(WorkPlace, Protocol):
    """The loop of a host that serves devices."""

    def run_awaitable(self, awaitable: Awaitable[Any], context: Context) -> Any:
        """Run an awaitable and wait for its result; from another thread only."""

    def give_way(self) -> None:
        """Let the loop have its turn, if the calling thread has held it up by emitting. Called behind each emit."""


class Link(Protocol):
    """A connection, as the handle of a connected device sees it."""

    since: float
    held_back: bool
    epoch: int
    session: Session

    @property
    def durable(self) -> DurableLink | None: ...

    @property
    def counters(self) -> dict[str, int]: ...
    @property
    def is_open(self) -> bool: ...
    @property
    def gone(self) -> DisconnectReason | None: ...
    @property
    def calls(self) -> CallsPort: ...
    @property
    def teardown_done(self) -> Signal: ...
    def send(self, frame: bytes) -> str: ...
    def dismiss(self, reason: DisconnectReason) -> None: ...
    def abandon(self) -> None: ...


class EmitterPort(Protocol):
    """What sends events for the handles of devices."""

    def emit(self, target: Target, outgoing: Outgoing) -> EmitResult: ...
    def emit_to(self, client: Any, outgoing: Outgoing) -> EmitResult: ...


class HistoryPort(Protocol):
    """The history of endpoints, as a manager sees it."""

    @property
    def sink(self) -> ReadingSink | None: ...
    def history(self, request: HistoryRequest) -> Series: ...
    async def ahistory(self, request: HistoryRequest) -> Series: ...
    def close(self, *, wait: Callable[[Signal, float], bool]) -> None: ...


class Operations(Protocol):
    """What handles of devices can have done; the manager does it, and so may a client of another process.

    Attributes:
        clock: monotonic seconds.
        wall: the date, in seconds since 1970.
    """

    clock: Callable[[], float]
    wall: Callable[[], float]
    twins: TwinsPort | None
    _disowned: str  # why this process cannot use it: it is a child that was forked

    @property
    def emitter(self) -> EmitterPort: ...
    @property
    def history(self) -> HistoryPort: ...
    @property
    def presence(self) -> Announcements: ...
    @property
    def types(self) -> TypesPort: ...
    def emit(
        self,
        event: str,
        data: Any = None,
        client_id: Any = None,
        client_type: str | None = None,
        room: str | None = None,
        trigger_update: bool = True,
        *,
        to: Any = None,
        broadcast: bool = False,
        skip: Any = None,
        durable: bool = False,
        ttl: float | None = None,
        coalesce: str | None = None,
    ) -> EmitResult: ...
    def call(self, client_id: Any, event: str, data: Any = None, *, timeout: float = ...) -> Any: ...
    async def acall(self, client_id: str, event: str, data: Any = None, *, timeout: float = ...) -> Any: ...
    def join(self, client: Any, room: str) -> bool: ...
    def leave(self, client: Any, room: str) -> bool: ...
    def close_room(self, room: str) -> int: ...
    def rooms_of(self, client: Any) -> list[str]: ...
    def remove(self, client: Any) -> bool: ...
    def forget(self, client: Any) -> bool: ...
    def explain(self, error: BaseException) -> str: ...


class TypeOptions(Protocol):
    """A device type, as presence, twins and the handles of devices see it."""

    @property
    def options(self) -> Options: ...
    @property
    def on_presence(self) -> Callable[..., Any] | None: ...
    @property
    def endpoints(self) -> dict[str, Endpoint]: ...
    @property
    def on_state(self) -> Callable[..., Any] | None: ...
    @property
    def hold(self) -> frozenset[str]: ...
    @property
    def max_age(self) -> float | None: ...
    @property
    def confirm_timeout(self) -> float: ...


class TypesPort(Protocol):
    """The device types of the server."""

    def get(self, name: str) -> TypeOptions | None: ...


class CallbacksPort(Protocol):
    """The callbacks of the whole server, as presence and twins see them."""

    @property
    def presence_handler(self) -> Callable[..., Any] | None: ...
    @property
    def state_handler(self) -> Callable[..., Any] | None: ...


class Announcements(Protocol):
    """What takes what is said of devices: that they will go, and what people call them."""

    def announce_sleep(self, device: Any, seconds: float) -> None: ...
    def announce_farewell(self, device: Any) -> None: ...
    def describe(self, device: Any, *, name: str | None = None, note: str | None = None) -> None: ...


class Warnings(Protocol):
    """What logs what peers can cause at will."""

    @property
    def tells_news(self) -> bool: ...
    def info(self, kind: str, text: str, *args: object) -> None: ...
    def warning(self, kind: str, text: str, *args: object) -> None: ...
    def error(self, error: BaseException, kind: str, text: str, *args: object) -> None: ...


class PresencePort(Protocol):
    """What telling of presence and of states needs of the server."""

    clock: Callable[[], float]
    scope: Callable[[Any], AbstractContextManager[object]] | None

    @property
    def types(self) -> TypesPort: ...
    @property
    def callbacks(self) -> CallbacksPort: ...
    @property
    def log_throttle(self) -> Warnings: ...
    def run_awaitable(self, awaitable: Awaitable[Any], context: Context) -> Any: ...


class WorkCallbacks(Protocol):
    """The callbacks of the whole server, as its background work sees them."""

    @property
    def start_handler(self) -> Callable[[], Any] | None: ...
    @property
    def stop_handler(self) -> Callable[[], Any] | None: ...


class BackgroundPort(Protocol):
    """What background work needs of the server."""

    clock: Callable[[], float]
    scope: Callable[[Any], AbstractContextManager[object]] | None

    @property
    def callbacks(self) -> WorkCallbacks: ...
    @property
    def loops(self) -> Sequence[HostLoop]: ...


class ServerPort(Operations, PresencePort, Protocol):
    """What devices and durable messages need of the server."""

    clock: Callable[[], float]
    options: Options

    @property
    def closing(self) -> bool: ...
    def wait_here(self, signal: Signal, timeout: float | None) -> bool: ...
