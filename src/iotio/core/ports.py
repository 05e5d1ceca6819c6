"""What the parts of the core ask of each other: small interfaces, so that imports point one way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import Context
from datetime import datetime, tzinfo
from typing import Any, Protocol

from iotio_protocol import v2
from iotio_protocol.endpoints import Endpoint
from iotio_protocol.options import Options
from iotio_protocol.reasons import DisconnectReason
from iotio_protocol.session import Session
from iotio_protocol.values import Value

from .primitives import Signal
from .readings import Every, Series
from .results import EmitResult
from .target import Outgoing, Target

__all__ = ["DurableLink", "HistoryPort", "Link", "Operations", "PresencePort", "ReadingSink", "ServerPort"]


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


class ReadingSink(Protocol):
    """Where readings of endpoints are recorded; any thread."""

    def record(self, device_id: str, endpoint: Endpoint, readings: Sequence[tuple[int, Value]]) -> None:
        """Record readings: each a time in ms since 1970 and a value that the endpoint has taken. Never blocks."""

    def record_durably(
        self, device_id: str, endpoint: Endpoint, readings: Sequence[tuple[int, Value]]
    ) -> Callable[[Any], object]:
        """Record readings of a durable message.

        Returns:
            What writes them, in the transaction that notes the message as handled.
        """

    def forget(self, device_id: str) -> None:
        """Drop all series of a device."""


class HistoryPort(Protocol):
    """The history of endpoints, as a manager sees it."""

    @property
    def sink(self) -> ReadingSink | None: ...
    def history(
        self,
        device_id: str,
        endpoint: str,
        start: datetime | None,
        end: datetime | None,
        points: int | None,
        every: Every | None,
        tz: str | tzinfo | None,
        unit: str | None,
    ) -> Series: ...
    async def ahistory(
        self,
        device_id: str,
        endpoint: str,
        start: datetime | None,
        end: datetime | None,
        points: int | None,
        every: Every | None,
        tz: str | tzinfo | None,
        unit: str | None,
    ) -> Series: ...
    def close(self, *, wait: Callable[[Signal, float], bool]) -> None: ...


class Operations(Protocol):
    """What handles of devices can have done; the manager does it, and so may a client of another process.

    Attributes:
        clock: monotonic seconds.
        wall: the date, in seconds since 1970.
    """

    clock: Callable[[], float]
    wall: Callable[[], float]
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
    """A device type, as presence and the handles of devices see it."""

    @property
    def options(self) -> Options: ...
    @property
    def on_presence(self) -> Callable[..., Any] | None: ...
    @property
    def endpoints(self) -> dict[str, Endpoint]: ...


class TypesPort(Protocol):
    """The device types of the server."""

    def get(self, name: str) -> TypeOptions | None: ...


class CallbacksPort(Protocol):
    """The callbacks of the whole server, as presence sees them."""

    @property
    def presence_handler(self) -> Callable[..., Any] | None: ...


class Announcements(Protocol):
    """What takes the announcements of devices that will go."""

    def announce_sleep(self, device: Any, seconds: float) -> None: ...
    def announce_farewell(self, device: Any) -> None: ...


class Warnings(Protocol):
    """What logs what peers can cause at will."""

    @property
    def tells_news(self) -> bool: ...
    def info(self, kind: str, text: str, *args: object) -> None: ...
    def warning(self, kind: str, text: str, *args: object) -> None: ...
    def error(self, error: BaseException, kind: str, text: str, *args: object) -> None: ...


class PresencePort(Protocol):
    """What telling of presence needs of the server."""

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
